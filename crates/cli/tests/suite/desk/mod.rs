//! The program as a user calls it, in a folder of its own.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use medley_media::{Format, Limits, Picture};
use serde_json::Value;
use tempfile::TempDir;

/// A folder to work in, with models and a home of its own.
pub struct Desk {
    folder: TempDir,
}

impl Desk {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medley"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("MEDLEY_HOME", self.path("home"))
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!text.contains("panicked"), "{args:?}: {text}");
        output
    }

    /// The JSON object of a run that succeeds.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let notes = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {text}{notes}");
        serde_json::from_str(&text).unwrap()
    }

    /// A run that is refused: its code and one line with each of `words`; no file is left behind.
    pub fn refuses(&self, args: &[&str], code: i32, words: &[&str]) {
        let before = self.files();
        let output = self.run(&[args, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        let message = value["error"]["message"].as_str().unwrap();
        let line = format!(
            "{message} ({})",
            value["error"]["hint"].as_str().unwrap_or("")
        );
        assert!(!line.contains('\n'), "{line}");
        for word in words {
            assert!(line.contains(word), "{args:?}: {word:?} is not in {line:?}");
        }
        assert_eq!(self.files(), before, "{args:?}");
    }

    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    pub fn picture(&self, name: &str) -> Picture {
        medley_media::read(&self.path(name), &Limits::default()).unwrap()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn save(&self, name: &str, picture: &Picture) {
        let bytes = medley_media::encode(picture, Format::Png, medley_media::Origin::Collected);
        std::fs::write(self.path(name), bytes.unwrap()).unwrap();
    }
}

pub fn sides(picture: &Picture) -> (u32, u32) {
    (picture.width(), picture.height())
}
