//! The parts of `cargo metadata` that the checks look at.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// `cargo metadata --format-version 1`.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    pub workspace_members: Vec<String>,
    pub resolve: Option<Resolve>,
}

/// One package of the graph.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub id: String,
    pub license: Option<String>,
    pub repository: Option<String>,
    pub source: Option<String>,
    pub manifest_path: std::path::PathBuf,
    pub dependencies: Vec<Dependency>,
}

/// One entry of a package's dependency tables.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `None` for ordinary dependencies, else `dev` or `build`.
    pub kind: Option<String>,
    pub path: Option<String>,
}

impl Dependency {
    /// Whether the dependency serves only tests.
    pub fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

/// The resolved graph.
#[derive(Debug, Deserialize)]
pub struct Resolve {
    pub nodes: Vec<Node>,
}

/// One package with the packages it was resolved to use.
#[derive(Debug, Deserialize)]
pub struct Node {
    pub id: String,
    pub deps: Vec<NodeDep>,
}

/// One resolved edge.
#[derive(Debug, Deserialize)]
pub struct NodeDep {
    pub pkg: String,
    pub dep_kinds: Vec<DepKind>,
}

/// Why an edge exists.
#[derive(Debug, Deserialize)]
pub struct DepKind {
    pub kind: Option<String>,
}

impl Metadata {
    /// Ask cargo. `--locked` keeps a check from changing Cargo.lock.
    pub fn load() -> Result<Self> {
        let text = process::capture(process::cargo().args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
        ]))?;
        serde_json::from_str(&text).context("cargo metadata printed something unexpected")
    }

    /// The workspace's own packages.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Everything that ends up in, or helps to build, the package called `root`: no dev-dependencies.
    pub fn shipped_with(&self, root: &str) -> Vec<&Package> {
        let nodes: HashMap<&str, &Node> = self
            .resolve
            .iter()
            .flat_map(|resolve| &resolve.nodes)
            .map(|node| (node.id.as_str(), node))
            .collect();
        let mut queue: Vec<&str> = self
            .members()
            .filter(|package| package.name == root)
            .map(|package| package.id.as_str())
            .collect();
        let mut seen: HashSet<&str> = queue.iter().copied().collect();
        while let Some(id) = queue.pop() {
            for dep in nodes.get(id).iter().flat_map(|node| &node.deps) {
                let only_dev = dep
                    .dep_kinds
                    .iter()
                    .all(|kind| kind.kind.as_deref() == Some("dev"));
                if !only_dev && seen.insert(&dep.pkg) {
                    queue.push(&dep.pkg);
                }
            }
        }
        self.packages
            .iter()
            .filter(|package| seen.contains(package.id.as_str()))
            .collect()
    }
}
