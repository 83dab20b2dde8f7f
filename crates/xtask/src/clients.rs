//! `prove service`: the vendors' own clients against the served starter model.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::bench::machine::Description;
use crate::process;
use crate::python::Venv;
use crate::serving::Server;
use crate::smoke::{self, Program};

/// The clients for Python, in the versions that the proof was made with.
const PYTHON: [&str; 2] = ["openai==3.57.0", "anthropic==2.14.0"];

/// The client for Node.
const NODE: &str = "openai@6.49.0";

const KEY: &str = "proof";

/// Runs every script of golden/clients and keeps what came of it.
pub fn prove(file: &Path) -> Result<()> {
    smoke::pull_models()?;
    let program = Program::build()?;
    let venv = Venv::open()?;
    process::run(venv.pip(&["install", "--quiet"])?.args(PYTHON))?;
    let node = node_packages()?;
    let mut server = Server::medley(program.binary(), program.home(), &["--api-key", KEY])?;
    let url = format!("http://{}/v1", server.address);
    let scripts = process::root().join("golden/clients");
    let mut records = Vec::new();
    for script in ["openai_client.py", "anthropic_client.py"] {
        let mut command = venv.command(venv.python())?;
        command.arg(scripts.join(script)).args([&url, KEY]);
        records.push(record(&mut command)?);
        server.check()?;
    }
    let mut command = Command::new("node");
    command
        .arg(scripts.join("openai_client.mjs"))
        .arg(&node)
        .args([&url, KEY]);
    records.push(record(&mut command)?);
    server.check()?;
    let holds = |record: &Value| {
        let cases = record["cases"].as_object();
        cases.is_some_and(|cases| !cases.is_empty() && cases.values().all(|case| case == "held"))
    };
    let all = records.iter().all(holds);
    let report = json!({
        "command": "cargo xtask prove service",
        "machine": Description::read(),
        "model": "smollm2-135m",
        "clients": records,
        "holds": all,
    });
    process::write_record(file, &report)?;
    ensure!(
        all,
        "some cases do not hold; they are above, and in {}",
        file.display()
    );
    Ok(())
}

/// The folder with the package for Node, which is installed first where it is missing.
fn node_packages() -> Result<PathBuf> {
    if !process::available("node", "--version") {
        bail!("this proof needs Node.js: node cannot be started");
    }
    let folder = process::ref_dir()?.join("node");
    std::fs::create_dir_all(&folder)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", NODE]);
    process::run(npm.arg("--prefix").arg(&folder).current_dir(&folder))?;
    Ok(folder)
}

/// What a script prints last: its cases with their outcome. What fails is in the record.
fn record(command: &mut Command) -> Result<Value> {
    let described = process::describe(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{described} cannot be started"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text
        .lines()
        .last()
        .with_context(|| format!("{described} printed nothing"))?;
    serde_json::from_str(last).with_context(|| format!("{described} printed no record"))
}
