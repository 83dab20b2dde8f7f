//! The studio in a browser: Playwright, with Debian's Chromium.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Program;
use super::serve::{KEY, Server};
use crate::process;
use crate::python::Venv;

/// Names of Chromium, as distributions have it.
const CHROMIUM: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A chat that streams and stops, a reload that keeps it, the look inside, and every page on a phone.
pub fn studio(program: &Program) -> Result<()> {
    let browser = Browser::open()?;
    let server = Server::start(program, program.home(), &["--api-key", KEY])?;
    browser.drive(&server, &["--key", KEY])?;
    server.end()
}

/// What drives the pages.
pub struct Browser {
    venv: Venv,
    chromium: PathBuf,
}

impl Browser {
    /// Finds Chromium and Playwright, and installs what is missing.
    pub fn open() -> Result<Self> {
        let venv = Venv::open()?;
        venv.need_requirements(&folder().join("requirements.txt"))?;
        Ok(Self {
            venv,
            chromium: chromium()?,
        })
    }

    /// Runs `drive.py` against a server; what it found.
    pub fn drive(&self, server: &Server, flags: &[&str]) -> Result<Value> {
        self.run(&folder().join("drive.py"), server.address(), &[], flags)
    }

    /// Runs a script over what it is given first, with words before Chromium's path and after it; the JSON that it prints.
    pub fn run(
        &self,
        script: &Path,
        over: impl AsRef<OsStr>,
        before: &[&str],
        after: &[&str],
    ) -> Result<Value> {
        let output = self
            .venv
            .command(self.venv.python())?
            .arg(script)
            .arg(over)
            .args(before)
            .arg(&self.chromium)
            .args(after)
            .output()
            .context("the browser's driver does not start")?;
        ensure!(
            output.status.success(),
            "not as it should be: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout).context("the browser's driver said no JSON")
    }
}

fn folder() -> PathBuf {
    process::root().join("crates/xtask/studio")
}

/// The Chromium that `MEDLEY_CHROMIUM` names, one that is there, or Debian's, which is installed.
fn chromium() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("MEDLEY_CHROMIUM") {
        return Ok(PathBuf::from(named));
    }
    let found = || {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders)
            .flat_map(|folder| CHROMIUM.map(|name| folder.join(name)))
            .find(|path| path.is_file())
    };
    if let Some(path) = found() {
        return Ok(path);
    }
    install()?;
    found().context("Debian's chromium was installed, but none of its names is in PATH")
}

/// `apt-get install chromium`, as root, or with sudo where it asks for no password.
fn install() -> Result<()> {
    let how = "the studio is tested in Chromium: install it, or name one in MEDLEY_CHROMIUM";
    if !process::available("apt-get", "--version") {
        bail!("{how}");
    }
    println!("installing Debian's chromium with apt-get, for the tests of the studio");
    let root = process::capture(Command::new("id").arg("-u"))?.trim() == "0";
    let apt = |args: &[&str]| {
        let mut command = Command::new(if root { "apt-get" } else { "sudo" });
        if !root {
            command.args(["-n", "apt-get"]);
        }
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        process::capture(&mut command)
    };
    apt(&["update", "-q"])
        .and_then(|_| apt(&["install", "-q", "-y", "--no-install-recommends", "chromium"]))
        .context(how)?;
    Ok(())
}
