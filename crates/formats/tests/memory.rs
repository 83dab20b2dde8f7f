//! What a hostile file may make the reader allocate: a small multiple of its own size. The only test
//! of its binary, so that nothing else allocates meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use std::path::Path;

use common::{RawGguf, all_fixtures, array, raw_safetensors, string};
use medley_formats::{WeightFile, fuzzing};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Allowed above the multiple, for the reader itself.
const BASE: usize = 1 << 20;

fn bounded(what: &str, times: usize, bytes: &[u8], read: impl Fn(&[u8])) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    read(bytes);
    let peak = ALLOCATOR.peak_usage() - before;
    let bound = BASE + times * bytes.len();
    assert!(
        peak <= bound,
        "{what}: {peak} bytes for a file of {}",
        bytes.len()
    );
}

/// Reads a file and all its tensors. The copy of the file itself counts, once.
fn file(bytes: &[u8]) {
    if let Ok(file) = WeightFile::from_bytes(Path::new("hostile"), bytes.to_vec()) {
        for tensor in file.tensors() {
            let _either = file.bytes(&tensor.name);
        }
    }
}

/// Runs a pickle that is in no archive.
fn program(bytes: &[u8]) {
    let _either = fuzzing::pytorch(bytes);
}

fn huge_counts() {
    const ARRAY: u32 = 9;
    for count in [1u64 << 20, 1 << 32, 1 << 40, 1 << 60, u64::MAX] {
        for kind in 0..13 {
            let bytes = RawGguf::new()
                .pair("k", ARRAY, &array(kind, count))
                .data(4096);
            bounded("array", 8, &bytes.build(), file);
        }
        let pairs = RawGguf {
            pair_count: Some(count),
            ..RawGguf::new().data(4096)
        };
        bounded("pairs", 8, &pairs.build(), file);
        let tensors = RawGguf {
            tensor_count: Some(count),
            ..RawGguf::new().data(4096)
        };
        bounded("tensors", 8, &tensors.build(), file);
        let mut header = raw_safetensors("{}", 4096);
        header[..8].copy_from_slice(&count.to_le_bytes());
        bounded("header", 8, &header, file);
        for op in [0x8b, b'X', b'B', 0x8d, 0x8e, 0x96, b'T'] {
            let mut literal = vec![op];
            literal.extend(count.to_le_bytes());
            literal.extend([0; 4096]);
            bounded("literal", 8, &literal, program);
        }
    }
}

/// Files that are all structure: what takes the most memory for its bytes.
fn dense_structure() {
    const ARRAY: u32 = 9;
    let empty_strings = [array(8, 100_000), vec![0; 800_000]].concat();
    let bytes = RawGguf::new().pair("k", ARRAY, &empty_strings);
    bounded("empty strings", 4, &bytes.build(), file);
    let inner = array(8, 0).repeat(65_000);
    let bytes = RawGguf::new().pair("k", ARRAY, &[array(9, 65_000), inner].concat());
    bounded("empty arrays", 48, &bytes.build(), file);
    let mut many = RawGguf::new();
    for i in 0..20_000 {
        many = many.pair(&format!("{i}"), 0, &[0]);
    }
    for i in 0..20_000 {
        many = many.tensor(&format!("{i}"), &[], 24, 0);
    }
    bounded("pairs and tensors", 40, &many.build(), file);
    let text = RawGguf::new().pair("k", 8, &string(&vec![b'x'; 1 << 20]));
    bounded("text", 4, &text.build(), file);

    let entry =
        |i: usize| format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    let entries: Vec<String> = (0..20_000).map(entry).collect();
    let bytes = raw_safetensors(&format!("{{{}}}", entries.join(",")), 0);
    bounded("entries", 16, &bytes, file);

    for (what, op) in [
        ("lists", &b"]"[..]),
        ("marks", b"("),
        ("tuples", b"]\x85"),
        ("memo", b"]\x94"),
    ] {
        bounded(what, 64, &op.repeat(500_000), program);
    }
}

fn copies() {
    // One list of many items, copied by call after call.
    let mut bytes = b"(".to_vec();
    bytes.extend(vec![b'N'; 1 << 16]);
    bytes.extend(b"tq\0");
    bytes.extend(b"cbuiltins\nset\nh\0\x85R".repeat(1 << 12));
    bounded("copies", 1024, &bytes, program);
}

#[test]
fn allocations_are_bounded_by_the_file() {
    huge_counts();
    dense_structure();
    copies();
    // The bomb has 2 to the power of 40 paths and is not walked along them.
    for (name, bytes) in all_fixtures() {
        bounded(&name, 64, &bytes, file);
    }
}
