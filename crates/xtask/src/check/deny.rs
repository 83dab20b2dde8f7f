//! The three offline checks of cargo-deny (licences, bans, sources), read from the same deny.toml.
//!
//! Building cargo-deny takes longer than everything else in a cold run, so these checks never wait for it;
//! where it is installed, `cargo xtask check` runs it as well.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::metadata::{Metadata, Package};
use crate::process;

/// The keys of deny.toml that matter here; cargo-deny reads the others.
#[derive(Debug, Deserialize)]
pub struct Policy {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<LicenceException>,
}

#[derive(Debug, Deserialize)]
struct LicenceException {
    allow: Vec<String>,
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Debug, Deserialize)]
struct Bans {
    #[serde(default)]
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: Option<String>,
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
    #[serde(default)]
    allow_git: Vec<String>,
}

impl Policy {
    /// Read deny.toml at the root.
    pub fn load() -> Result<Self> {
        Self::read(&process::root().join("deny.toml"))
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a deny.toml", path.display()))
    }

    /// Packages whose licence expression the allowed licences do not satisfy.
    pub fn licence_violations(&self, metadata: &Metadata) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for package in &metadata.packages {
            if let Some(problem) = self.licence_problem(package) {
                found.push(format!("{} {}: {problem}", package.name, package.version));
            }
        }
        Ok(found)
    }

    fn licence_problem(&self, package: &Package) -> Option<String> {
        let Some(text) = &package.license else {
            return Some("names no licence in its manifest".into());
        };
        let expression = match Expression::parse_mode(text, ParseMode::LAX) {
            Ok(expression) => expression,
            Err(error) => {
                return Some(format!("licence {text:?} is no SPDX expression: {error}"));
            }
        };
        let own: Vec<&str> = self
            .licenses
            .exceptions
            .iter()
            .filter(|exception| exception.name == package.name)
            .flat_map(|exception| &exception.allow)
            .chain(&self.licenses.allow)
            .map(String::as_str)
            .collect();
        let allowed = expression.evaluate(|requirement| {
            let wanted = requirement.to_string();
            own.iter().any(|licence| *licence == wanted)
        });
        (!allowed).then(|| format!("licence {text:?} is not allowed by deny.toml"))
    }

    /// Banned packages anywhere in the graph.
    pub fn ban_violations(&self, metadata: &Metadata) -> Vec<String> {
        let mut found = Vec::new();
        for package in &metadata.packages {
            for used in &package.dependencies {
                let ban = self
                    .bans
                    .deny
                    .iter()
                    .find(|ban| ban.name == used.name && !ban.wrappers.contains(&package.name));
                let resolved = || {
                    metadata
                        .packages
                        .iter()
                        .any(|other| other.name == used.name)
                };
                if let Some(ban) = ban
                    && resolved()
                    && uses(metadata, package, &used.name)
                {
                    let reason = ban.reason.as_deref().unwrap_or("banned");
                    found.push(format!("{} uses {}: {reason}", package.name, used.name));
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Packages from somewhere else than the allowed registries and repositories.
    pub fn source_violations(&self, metadata: &Metadata) -> Vec<String> {
        metadata
            .packages
            .iter()
            .filter_map(|package| {
                let source = package.source.as_deref()?;
                let known = match source.split_once('+') {
                    Some(("registry" | "sparse", url)) => {
                        self.sources.allow_registry.iter().any(|own| own == url)
                    }
                    Some(("git", url)) => self
                        .sources
                        .allow_git
                        .iter()
                        .any(|own| url.starts_with(own.as_str())),
                    _ => false,
                };
                (!known).then(|| {
                    format!(
                        "{} {} comes from {source}, which deny.toml does not allow",
                        package.name, package.version
                    )
                })
            })
            .collect()
    }
}

/// Whether the resolved graph really has the edge (an optional dependency that is off has none).
fn uses(metadata: &Metadata, package: &Package, used: &str) -> bool {
    let Some(resolve) = &metadata.resolve else {
        return true;
    };
    resolve
        .nodes
        .iter()
        .filter(|node| node.id == package.id)
        .flat_map(|node| &node.deps)
        .any(|dep| {
            metadata
                .packages
                .iter()
                .any(|other| other.id == dep.pkg && other.name == used)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const POLICY: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Unicode-3.0"]
        exceptions = [{ allow = ["MPL-2.0"], crate = "special" }]
        [bans]
        deny = [{ crate = "openssl-sys", reason = "rustls is enough", wrappers = ["trusted"] }]
        [sources]
        allow-registry = ["https://github.com/rust-lang/crates.io-index"]
    "#;

    fn graph(name: &str, license: Option<&str>, source: Option<&str>, used: &[&str]) -> Metadata {
        let mut packages = vec![
            json!({"name": name, "version": "1.0.0", "id": name, "license": license,
            "repository": null, "source": source, "manifest_path": "Cargo.toml",
            "dependencies": used.iter().map(|used| json!({"name": used, "kind": null, "path": null})).collect::<Vec<_>>()}),
        ];
        for used in used {
            packages.push(json!({"name": used, "version": "1.0.0", "id": used, "license": "MIT",
                "repository": null, "source": null, "manifest_path": "Cargo.toml", "dependencies": []}));
        }
        serde_json::from_value(
            json!({"packages": packages, "workspace_members": [], "resolve": null}),
        )
        .unwrap()
    }

    fn policy() -> Policy {
        toml::from_str(POLICY).unwrap()
    }

    fn licence(name: &str, text: Option<&str>) -> usize {
        policy()
            .licence_violations(&graph(name, text, None, &[]))
            .unwrap()
            .len()
    }

    #[test]
    fn licences_are_evaluated_as_expressions() {
        assert_eq!(licence("a", Some("MIT OR GPL-3.0-only")), 0);
        assert_eq!(licence("a", Some("MIT/Apache-2.0")), 0);
        assert_eq!(licence("a", Some("(MIT OR Apache-2.0) AND Unicode-3.0")), 0);
        assert_eq!(licence("a", Some("MIT AND LGPL-2.1-or-later")), 1);
        assert_eq!(licence("a", Some("AGPL-3.0-only")), 1);
        assert_eq!(licence("a", None), 1);
        assert_eq!(licence("a", Some("MPL-2.0")), 1);
        assert_eq!(licence("special", Some("MPL-2.0")), 0);
    }

    #[test]
    fn bans_know_their_wrappers() {
        let banned = graph("a", Some("MIT"), None, &["openssl-sys"]);
        assert_eq!(
            policy().ban_violations(&banned),
            ["a uses openssl-sys: rustls is enough"]
        );
        let wrapped = graph("trusted", Some("MIT"), None, &["openssl-sys"]);
        assert!(policy().ban_violations(&wrapped).is_empty());
    }

    #[test]
    fn sources_are_the_known_registry() {
        let known = "registry+https://github.com/rust-lang/crates.io-index";
        for (source, expected) in [
            (Some(known), 0),
            (None, 0),
            (Some("git+https://example.org/x#1"), 1),
            (Some("registry+https://example.org/index"), 1),
        ] {
            let found = policy().source_violations(&graph("a", Some("MIT"), source, &[]));
            assert_eq!(found.len(), expected, "{source:?}");
        }
    }

    #[test]
    fn the_committed_policy_reads() {
        let policy = Policy::load().unwrap();
        assert!(policy.licenses.allow.iter().any(|own| own == "MIT"));
        for licence in &policy.licenses.allow {
            Expression::parse(licence).unwrap();
            assert!(!licence.contains("GPL") && !licence.contains("SSPL"));
        }
    }
}
