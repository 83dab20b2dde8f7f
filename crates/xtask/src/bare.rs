//! `prove dist`: the archive of `cargo xtask dist`, unpacked in a bare Debian root, makes every kind of work there: without a
//! network, without /proc, and with nothing installed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::bench::machine::Description;
use crate::create::{BRIEFS, duration, opened, sha256};
use crate::process;

/// Where the archive is unpacked within the root.
const PLACE: &str = "opt";

/// What its commands write there.
const WORKS: &str = "works";

/// Runs the archive and keeps what came of it.
pub fn prove(file: &Path) -> Result<()> {
    let archive = archive()?;
    for (program, probe) in [
        ("debootstrap", "--version"),
        ("ffprobe", "-version"),
        ("unshare", "--version"),
        ("chroot", "--version"),
    ] {
        ensure!(
            process::available(program, probe),
            "{program} is not installed"
        );
    }
    let root = BareRoot::make(&archive)?;
    let runs = commands(&root)?;
    let record = json!({
        "command": "cargo xtask prove dist",
        "machine": Description::read(),
        "archive": { "file": archive.file_name().map(|name| name.to_string_lossy()), "bytes": archive.metadata()?.len(), "sha256": sha256(&archive)? },
        "root": { "release": root.release, "packages": root.packages()?, "network": "none", "proc": "not mounted" },
        "runs": runs,
    });
    process::write_record(file, &record)
}

/// The newest archive; none is built here, for that takes a quarter of an hour.
fn archive() -> Result<PathBuf> {
    let folder = process::target_dir().join("dist");
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let archives = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("medley-") && name.ends_with(".tar.gz")
    });
    let newest = archives.max_by_key(|path| path.metadata().and_then(|meta| meta.modified()).ok());
    newest.with_context(|| {
        format!(
            "there is no archive in {}; `cargo xtask dist` makes one",
            folder.display()
        )
    })
}

/// What the system that is run on calls its release.
fn release() -> Result<String> {
    let text = std::fs::read_to_string("/etc/os-release").context("this is no Linux")?;
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(found
        .context("/etc/os-release names no release")?
        .trim_matches('"')
        .to_owned())
}

/// A Debian of essential packages alone, with the archive unpacked.
struct BareRoot {
    folder: tempfile::TempDir,
    release: String,
    /// The program, as a path within.
    program: String,
}

impl BareRoot {
    fn make(archive: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let release = release()?;
        let mut bootstrap = Command::new("debootstrap");
        bootstrap
            .arg("--variant=minbase")
            .arg(&release)
            .arg(folder.path());
        let output = bootstrap.output().context("debootstrap does not start")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            bail!(
                "debootstrap: {}",
                said.lines()
                    .last()
                    .unwrap_or("it failed (it needs to be root)")
            );
        }
        let place = folder.path().join(PLACE);
        tar::Archive::new(GzDecoder::new(File::open(archive)?))
            .unpack(&place)
            .with_context(|| format!("cannot unpack {}", archive.display()))?;
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        let program = format!("/{PLACE}/{}/bin/medley", name.trim_end_matches(".tar.gz"));
        ensure!(
            folder.path().join(&program[1..]).is_file(),
            "the archive holds no {program}"
        );
        std::fs::create_dir(folder.path().join(WORKS))?;
        ensure!(
            std::fs::read_dir(folder.path().join("proc"))?
                .next()
                .is_none(),
            "/proc is mounted"
        );
        Ok(Self {
            folder,
            release,
            program,
        })
    }

    /// How many packages are installed in it.
    fn packages(&self) -> Result<usize> {
        let status = std::fs::read_to_string(self.folder.path().join("var/lib/dpkg/status"))?;
        Ok(status
            .lines()
            .filter(|line| line.starts_with("Package: "))
            .count())
    }

    /// Runs the program within, and gives what it printed and the seconds that it took.
    fn run(&self, args: &[&str]) -> Result<(String, f64)> {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "chroot"])
            .arg(self.folder.path())
            .arg(&self.program)
            .args(args)
            .env_clear()
            .envs([("HOME", "/root"), ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")]);
        let begun = Instant::now();
        let output = command.output().context("unshare does not start")?;
        let seconds = begun.elapsed().as_secs_f64();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "medley {}: {}",
            args.join(" "),
            said.trim()
        );
        Ok((
            String::from_utf8_lossy(&output.stdout).into_owned(),
            seconds,
        ))
    }

    /// A file of what was written, as this system sees it.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(WORKS).join(name)
    }
}

/// A campaign, a prompt without a command, a text, and a work of each other medium.
fn commands(root: &BareRoot) -> Result<Vec<Value>> {
    let mut runs = Vec::new();
    let told = |run: Value| {
        println!("    {run}");
        run
    };
    let at = |name: &str| format!("/{WORKS}/{name}");
    let (folder, brief) = (at("ember"), BRIEFS[0].1);
    let (made, seconds) = root.run(&["create", brief, "-o", &folder, "--seed", "5", "--json"])?;
    let made: Value = serde_json::from_str(&made).context("create prints one JSON object")?;
    let works = made["works"].as_array().context("works were made")?;
    ensure!(
        !works.is_empty() && works.iter().all(|work| work["state"] == "done"),
        "not every work was made: {made}"
    );
    let plays = opened(&root.file("ember"))?;
    runs.push(told(json!({ "command": format!("medley create {brief:?}"), "seconds": seconds, "works": works.len(), "seconds_of": plays })));
    let (text, seconds) = root.run(&[
        "text",
        "What is a campfire?",
        "--max-tokens",
        "40",
        "--seed",
        "1",
    ])?;
    ensure!(text.split_whitespace().count() > 5, "the text is {text:?}");
    runs.push(told(
        json!({ "command": "medley text", "seconds": seconds, "text": text.trim() }),
    ));
    let files: [(&str, &[&str]); 5] = [
        ("anything.png", &["a red apple, 3d icon"]),
        ("heart.png", &["image", "a red heart"]),
        ("waltz.wav", &["music", "a calm waltz", "--seconds", "8"]),
        ("hello.wav", &["speech", "Good morning."]),
        ("clip.mp4", &["video", "a beating red heart"]),
    ];
    for (name, args) in files {
        let output = at(name);
        let (_, seconds) = root.run(&[args, &["-o", &output, "--seed", "1"][..]].concat())?;
        let plays = duration(&root.file(name))?;
        runs.push(told(json!({ "command": format!("medley {}", args.join(" ")), "file": name, "seconds": seconds, "plays": plays })));
    }
    Ok(runs)
}
