//! Every fixture, cut and flipped everywhere: an answer or an error of one line, never a panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use std::path::Path;

use common::all_fixtures;
use medley_formats::{FormatError, WeightFile, fuzzing};

fn check(name: &str, bytes: &[u8]) -> Result<(), FormatError> {
    let extension = Path::new(name).extension().unwrap_or_default();
    let result = match extension.to_str() {
        Some("gguf") => fuzzing::gguf(bytes),
        Some("safetensors") => fuzzing::safetensors(bytes),
        _ => fuzzing::pytorch(bytes),
    };
    if let Err(error) = &result {
        let message = error.to_string();
        assert!(
            !message.contains('\n') && message.len() < 1000,
            "{name}: {message}"
        );
    }
    result
}

#[test]
fn cut_at_every_byte() {
    for (name, bytes) in all_fixtures() {
        for len in 0..bytes.len() {
            let result = check(&name, &bytes[..len]);
            // Behind the last tensor of a GGUF file there is only padding.
            let may_be_whole = name.ends_with(".gguf") && bytes.len() - len < 64;
            assert!(result.is_err() || may_be_whole, "{name} cut to {len} bytes");
        }
    }
}

/// Every bit of the small files; of the others two bits of each byte, which ones moving along.
#[test]
fn bits_flipped() {
    for (name, mut bytes) in all_fixtures() {
        let bits = if bytes.len() < 2500 { 8 } else { 2 };
        for at in 0..bytes.len() {
            for bit in 0..bits {
                let flip = 1 << ((at + bit * (8 / bits)) % 8);
                bytes[at] ^= flip;
                let _either = check(&name, &bytes);
                bytes[at] ^= flip;
            }
        }
    }
}

/// Every aligned and unaligned field of 4 and 8 bytes, set to what overflows.
#[test]
fn fields_set_to_extremes() {
    const EXTREMES: [u64; 5] = [u64::MAX, 1 << 32, 1 << 63, 0, u64::MAX / 8];
    for (name, bytes) in all_fixtures() {
        for at in 0..bytes.len().saturating_sub(8) {
            let mut bytes = bytes.clone();
            bytes[at..at + 8].copy_from_slice(&EXTREMES[at % EXTREMES.len()].to_le_bytes());
            let _either = check(&name, &bytes);
            bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
            let _either = check(&name, &bytes);
        }
    }
}

/// The same through a memory map, where reading past the end would be fatal.
#[test]
fn cut_files_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in all_fixtures() {
        let path = folder.path().join(&name);
        for len in (0..bytes.len()).step_by(101) {
            std::fs::write(&path, &bytes[..len]).unwrap();
            let error = WeightFile::open(&path).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(&*path.to_string_lossy()), "{error}");
        }
    }
}
