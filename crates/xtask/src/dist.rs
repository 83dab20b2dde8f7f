//! `cargo xtask dist`: the optimised program with its data, manual, completions and licences in one archive.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use flate2::{Compression, GzBuilder};

use crate::metadata::{Metadata, Package};
use crate::process;
use crate::smoke;

/// Models beside the starter's, so that everything works with no network: what writes, and what speaks.
const WITH_IT: [&str; 2] = ["smollm2-135m", "hibari"];

#[derive(Args)]
pub struct DistArgs {
    /// Folder for the archive
    #[arg(long, default_value = "target/dist")]
    out: PathBuf,
}

pub fn run(args: &DistArgs) -> Result<()> {
    process::run(process::cargo().args(["build", "--profile", "dist", "--bin", "medley"]))?;
    let program = format!("medley{}", std::env::consts::EXE_SUFFIX);
    let binary = process::target_dir().join("dist").join(&program);
    let name = format!(
        "medley-{}-{}-{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    let out = process::root().join(&args.out);
    std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let archive = out.join(format!("{name}.tar.gz"));
    let stage = tempfile::tempdir_in(&out)?;
    let root = stage.path().join(&name);
    stage_files(&root, &binary, &program)?;
    pack(&root, &name, &archive)?;
    println!("{}", archive.display());
    Ok(())
}

fn stage_files(root: &Path, binary: &Path, program: &str) -> Result<()> {
    let put = |inside: &str, bytes: &[u8]| -> Result<()> {
        let path = root.join(inside);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    let installed = format!("bin/{program}");
    put(&installed, b"")?;
    std::fs::copy(binary, root.join(installed))
        .with_context(|| format!("cannot copy {}", binary.display()))?;
    for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        put(file, &std::fs::read(process::root().join(file))?)?;
    }
    for (shell, file) in [
        ("bash", "share/bash-completion/completions/medley"),
        ("zsh", "share/zsh/site-functions/_medley"),
        ("fish", "share/fish/vendor_completions.d/medley.fish"),
    ] {
        let text = process::capture(Command::new(binary).args(["completions", shell]))?;
        put(file, text.as_bytes())?;
    }
    let manual = process::capture(Command::new(binary).arg("man"))?;
    put("share/man/man1/medley.1", manual.as_bytes())?;
    let starter = process::root().join("starter");
    if starter.is_dir() {
        copy_folder(&starter, &root.join("share/medley"))?;
    }
    for name in WITH_IT {
        let model = smoke::home()?.join("models").join(name);
        process::run(
            Command::new(binary)
                .args(["models", "pull", name])
                .env("MEDLEY_HOME", smoke::home()?),
        )?;
        copy_folder(&model, &root.join("share/medley").join(name))?;
    }
    let metadata = Metadata::load()?;
    let packages: Vec<&Package> = metadata
        .shipped_with("medley-cli")
        .into_iter()
        .filter(|package| package.source.is_some())
        .collect();
    put(
        "share/doc/medley/THIRD-PARTY-LICENSES.md",
        third_party(&packages).as_bytes(),
    )
}

/// A folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Name, licence and licence texts of every package that is built into the program.
fn third_party(packages: &[&Package]) -> String {
    let mut text = String::from(
        "# Third-party software\n\nMedley contains these packages, under their licences.\n",
    );
    for package in packages {
        let _ = write!(
            text,
            "\n## {} {}\n\nLicence: {}",
            package.name,
            package.version,
            package.license.as_deref().unwrap_or("see below")
        );
        if let Some(repository) = &package.repository {
            let _ = write!(text, " · {repository}");
        }
        text.push('\n');
        if let Some(folder) = package.manifest_path.parent() {
            add_licences(&mut text, folder);
        }
    }
    text.push_str("\n## Libraries of the studio's pages\n\nPreact, htm and marked.\n");
    add_licences(&mut text, &process::root().join("web/vendor"));
    text
}

fn add_licences(text: &mut String, folder: &Path) {
    for (file, licence) in licence_files(folder) {
        let _ = write!(
            text,
            "\n### {file}\n\n```text\n{}\n```\n",
            licence.trim_end()
        );
    }
}

/// Licence and notice files in a folder, sorted by name.
fn licence_files(folder: &Path) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let upper = name.to_uppercase();
            let wanted = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"]
                .iter()
                .any(|start| upper.starts_with(start));
            let text = wanted
                .then(|| std::fs::read_to_string(entry.path()).ok())
                .flatten()?;
            Some((name, text))
        })
        .collect();
    found.sort();
    found
}

/// A tar.gz of one folder that is the same, byte for byte, for the same content.
fn pack(folder: &Path, name: &str, archive: &Path) -> Result<()> {
    let file =
        File::create(archive).with_context(|| format!("cannot write {}", archive.display()))?;
    let encoder = GzBuilder::new().mtime(0).write(file, Compression::best());
    let mut builder = tar::Builder::new(encoder);
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    for path in files {
        let inside = Path::new(name).join(path.strip_prefix(folder)?);
        let mut header = tar::Header::new_gnu();
        header.set_size(std::fs::metadata(&path)?.len());
        header.set_mtime(0);
        let runs = inside
            .components()
            .nth(1)
            .is_some_and(|part| part.as_os_str() == "bin");
        header.set_mode(if runs { 0o755 } else { 0o644 });
        builder.append_data(&mut header, inside, File::open(&path)?)?;
    }
    builder.into_inner()?.finish()?;
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn archives_are_reproducible_and_keep_modes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("medley");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(root.join("bin/medley"), b"program").unwrap();
        std::fs::write(root.join("README.md"), b"words").unwrap();
        let [one, two] = ["one", "two"].map(|name| {
            let archive = folder.path().join(name);
            pack(&root, "medley-1", &archive).unwrap();
            std::fs::read(archive).unwrap()
        });
        assert_eq!(one, two);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(one.as_slice()));
        let entries: Vec<(String, u32, String)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                let path = entry.path().unwrap().display().to_string();
                (path, entry.header().mode().unwrap(), text)
            })
            .collect();
        assert_eq!(
            entries,
            [
                ("medley-1/README.md".to_owned(), 0o644, "words".to_owned()),
                (
                    "medley-1/bin/medley".to_owned(),
                    0o755,
                    "program".to_owned()
                ),
            ]
        );
    }
}
