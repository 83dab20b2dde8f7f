//! The committed corpora of the fuzz targets, as ordinary tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::path::PathBuf;

use medley_formats::{FormatError, fuzzing};

fn run(target: &str, read: fn(&[u8]) -> Result<(), FormatError>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut named = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let result = read(&std::fs::read(&path).unwrap());
        match name.split('-').next() {
            Some("ok") => result.unwrap_or_else(|e| panic!("{name} should be accepted: {e}")),
            Some("bad") => assert!(result.is_err(), "{name} should be refused"),
            _ => continue,
        }
        named += 1;
    }
    assert!(named > 10, "{} files in {}", named, folder.display());
}

#[test]
fn gguf() {
    run("gguf", fuzzing::gguf);
}

#[test]
fn safetensors() {
    run("safetensors", fuzzing::safetensors);
}

#[test]
fn whisper() {
    run("whisper", fuzzing::whisper);
}

#[test]
fn pytorch() {
    run("pytorch", fuzzing::pytorch);
}

#[test]
fn onnx() {
    run("onnx", fuzzing::onnx);
}
