//! safetensors: files of the reference implementation are read value by value, it reads ours, and what
//! is wrong is refused by name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use std::path::Path;

use common::{counting, fixture, raw_safetensors, refusal, values};
use medley_formats::safetensors::{Header, TensorData, write};
use medley_formats::{Container, DType, WeightFile, fuzzing};
use medley_kernels::BlockType;

#[test]
fn tensors_of_the_reference_writer() {
    let file = WeightFile::open(&fixture("tiny.safetensors")).unwrap();
    assert_eq!(file.kind(), Container::SafeTensors);
    let mut notes = file.notes().to_vec();
    notes.sort();
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(notes, [pair("format", "pt"), pair("note", "é")]);
    assert_eq!(file.info("f32").unwrap().shape, [2, 3, 5]);
    assert_eq!(file.to_f32("f32").unwrap(), values(30));
    assert_eq!(file.to_f32("f64").unwrap(), values(3));
    assert_eq!(file.to_f32("f16").unwrap(), values(32));
    assert_eq!(file.to_f32("bf16").unwrap(), values(32));
    assert_eq!(file.to_f32("f8_e4m3").unwrap(), values(15));
    assert_eq!(
        file.to_f32("f8_e5m2").unwrap(),
        [-1.0, -0.5, 0.0, 0.25, 2.0]
    );
    for name in ["i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8"] {
        assert_eq!(file.to_f32(name).unwrap(), counting(4), "{name}");
        assert_eq!(file.info(name).unwrap().dtype.name(), name.to_uppercase());
    }
    assert_eq!(file.to_f32("bool").unwrap(), [1.0, 0.0, 1.0]);
    assert_eq!(file.to_f32("scalar").unwrap(), [0.5]);
    assert_eq!(file.info("scalar").unwrap().shape, [0usize; 0]);
    assert_eq!(file.info("empty").unwrap().shape, [0, 4]);
    assert!(file.bytes("empty").unwrap().is_empty());
}

#[test]
fn a_missing_tensor_is_named_with_its_neighbour() {
    let file = WeightFile::open(&fixture("sharded")).unwrap();
    let message = file.to_f32("a.weigth").unwrap_err().to_string();
    assert!(
        message.ends_with("there is no tensor \"a.weigth\"; the nearest name is \"a.weight\""),
        "{message}"
    );
    let message = file.bytes("zzz").unwrap_err().to_string();
    assert!(message.ends_with("there is no tensor \"zzz\""), "{message}");
}

#[test]
fn summaries_count_elements() {
    let file = WeightFile::open(&fixture("tiny.safetensors")).unwrap();
    assert_eq!(
        file.parameter_count(),
        3 + 30 + 32 + 32 + 15 + 5 + 8 * 4 + 3 + 1
    );
    assert_eq!(
        file.total_bytes(),
        24 + 4 * 31 + 2 * 64 + 20 + 2 * (32 + 16 + 8 + 4) + 3
    );
    assert_eq!(file.dominant_type(), Some(DType::BF16));
    assert_eq!(file.type_name(), Some("BF16"));
    let file = WeightFile::open(&fixture("tiny.gguf")).unwrap();
    assert_eq!(file.dominant_type(), Some(DType::Block(BlockType::IQ4XS)));
}

#[test]
fn what_is_wrong_is_named() {
    let t = |fields: &str| format!("{{\"w\":{{{fields}}}}}");
    let ok = "\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]";
    let huge = format!("[{}]", vec!["1"; 65].join(","));
    let deep = format!("{{\"w\":{}", "[".repeat(100_000));
    let cases: Vec<(String, usize, &str)> = vec![
        (
            "[]".into(),
            0,
            "the header is something else; it should be a JSON object",
        ),
        ("{".into(), 0, "the header is unreadable (EOF"),
        (deep, 0, "the header is unreadable"),
        (
            "{\"w\":3}".into(),
            0,
            "the header is unreadable (invalid type",
        ),
        (
            t("\"dtype\":\"F32\",\"shape\":[2]"),
            8,
            "missing field `data_offsets`",
        ),
        (
            t("\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]"),
            8,
            "the header is unreadable",
        ),
        (
            t("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,1e30]"),
            8,
            "the header is unreadable",
        ),
        (
            t("\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]"),
            1,
            "the type of tensor \"w\", \"F4\", is not supported; F32, F16",
        ),
        (
            t("\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]"),
            8,
            "the place of tensor \"w\" is bytes 0..8; it should be 12 bytes long, for [3] of F32",
        ),
        (
            t("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]"),
            8,
            "the place of tensor \"w\" is bytes 8..0",
        ),
        (
            t("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]"),
            8,
            "the shape of tensor \"w\" is [4294967296, 4294967296]",
        ),
        (
            t(&format!(
                "\"dtype\":\"F32\",\"shape\":{huge},\"data_offsets\":[0,4]"
            )),
            4,
            "the rank of tensor \"w\" is 65; at most 64",
        ),
        (
            t(
                "\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[18446744073709551607,18446744073709551615]",
            ),
            8,
            "lies at bytes 18446744073709551615..",
        ),
        (t(ok), 4, "but the file ends at"),
        (
            t(ok),
            12,
            "the length of the file is 74 bytes; it should be 70, where its last tensor ends",
        ),
        (
            t("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"),
            8,
            "the start of tensor \"w\" is byte 4; it should be byte 0",
        ),
        (
            format!("{{\"w\":{{{ok}}},\"w\":{{{ok}}}}}"),
            8,
            "tensor \"w\" occurs twice",
        ),
        (
            format!(
                "{{\"w\":{{{ok}}},\"v\":{{{}}}}}",
                ok.replace("[0,8]", "[4,12]")
            ),
            12,
            "tensors \"w\" and \"v\" share bytes",
        ),
        (
            format!("{{\"w\":{{{ok}}},\"v\":{{{ok}}}}}"),
            8,
            "share bytes",
        ),
        (
            "{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}".into(),
            0,
            "metadata key \"a\" occurs twice",
        ),
        (
            "{\"__metadata__\":{},\"__metadata__\":{}}".into(),
            0,
            "__metadata__ occurs twice",
        ),
        (
            "{\"__metadata__\":{\"a\":1}}".into(),
            0,
            "the header is unreadable",
        ),
    ];
    for (header, data, expected) in cases {
        let message = refusal(fuzzing::safetensors(&raw_safetensors(&header, data)));
        assert!(
            message.contains(expected),
            "{message}\nshould contain\n{expected}"
        );
    }
    let mut long = raw_safetensors("{}", 0);
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let message = refusal(fuzzing::safetensors(&long));
    assert!(
        message.contains("the header at byte 8 needs 18446744073709551615 bytes"),
        "{message}"
    );
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// What we write, the reference reads; what it reads is what we meant.
#[test]
fn the_reference_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let (floats, bytes) = (f32_bytes(&values(6)), [1u8, 2, 3]);
    let tensors = [
        TensorData {
            name: "bytes",
            dtype: DType::U8,
            shape: &[3],
            bytes: &bytes,
        },
        TensorData {
            name: "flöats",
            dtype: DType::F32,
            shape: &[2, 3],
            bytes: &floats,
        },
        TensorData {
            name: "a half",
            dtype: DType::F16,
            shape: &[],
            bytes: &[0, 0x3c],
        },
    ];
    write(&path, &tensors, &[("format", "pt"), ("why", "a \"test\"")]).unwrap();
    let written = std::fs::read(&path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&written).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["why"], "a \"test\"");
    let reference = safetensors::SafeTensors::deserialize(&written).unwrap();
    assert_eq!(reference.len(), 3);
    let floats_there = reference.tensor("flöats").unwrap();
    assert_eq!(floats_there.dtype(), safetensors::Dtype::F32);
    assert_eq!(floats_there.shape(), [2, 3]);
    assert_eq!(floats_there.data(), floats);
    assert_eq!(reference.tensor("bytes").unwrap().data(), bytes);
    assert_eq!(reference.tensor("a half").unwrap().shape(), [0usize; 0]);
    // Data starts at multiples of the element size.
    let header = u64::from_le_bytes(written[..8].try_into().unwrap());
    assert_eq!(header % 8, 0);
    let ours = WeightFile::open(&path).unwrap();
    assert_eq!(ours.to_f32("flöats").unwrap(), values(6));
    assert_eq!(ours.to_f32("a half").unwrap(), [1.0]);
    assert_eq!(ours.tensors()[0].name, "flöats");
}

#[test]
fn writer_refuses_what_readers_would() {
    let path = Path::new("never-written.safetensors");
    let tensor = |name, dtype, shape, bytes| TensorData {
        name,
        dtype,
        shape,
        bytes,
    };
    let one = tensor("w", DType::U8, &[1], &[0]);
    for (tensors, expected) in [
        (vec![one, one], "tensor \"w\" occurs twice"),
        (
            vec![tensor("__metadata__", DType::U8, &[1], &[0])],
            "occurs twice",
        ),
        (
            vec![tensor("w", DType::F32, &[1], &[0; 3])],
            "the data of tensor \"w\" is 3 bytes",
        ),
        (
            vec![tensor("w", DType::Block(BlockType::Q8_0), &[32], &[0; 34])],
            "type Q8_0 of tensor \"w\" in safetensors is not supported",
        ),
    ] {
        let message = refusal(write(path, &tensors, &[]));
        assert!(message.contains(expected), "{message}");
    }
    let message = refusal(write(path, &[], &[("a", "1"), ("a", "2")]));
    assert!(
        message.contains("metadata key \"a\" occurs twice"),
        "{message}"
    );
    assert!(!path.exists());
    assert!(
        Header::parse(&raw_safetensors("{}", 0))
            .unwrap()
            .tensors
            .is_empty()
    );
}

/// Copies the sharded fixture, so that it can be spoilt.
fn sharded() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("sharded")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

const INDEX: &str = "model.safetensors.index.json";

#[test]
fn shards_open_as_one() {
    for path in [fixture("sharded"), fixture("sharded").join(INDEX)] {
        let file = WeightFile::open(&path).unwrap();
        assert_eq!(file.tensors().len(), 3);
        assert_eq!(file.to_f32("a.weight").unwrap(), values(6));
        assert_eq!(file.to_f32("b.weight").unwrap(), values(6));
        assert_eq!(file.info("b.weight").unwrap().shape, [3, 2]);
    }
}

#[test]
fn shards_that_do_not_fit_are_refused() {
    let spoil = |change: &dyn Fn(&Path), expected: &str| {
        let folder = sharded();
        change(folder.path());
        let message = refusal(WeightFile::open(folder.path()).map(|_| ()));
        assert!(
            message.contains(expected),
            "{message}\nshould contain\n{expected}"
        );
    };
    let edit = |from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let text = std::fs::read_to_string(folder.join(INDEX)).unwrap();
            assert!(text.contains(from));
            std::fs::write(folder.join(INDEX), text.replace(from, to)).unwrap();
        }
    };
    let second = "model-00002-of-00002.safetensors";
    spoil(
        &|f| std::fs::remove_file(f.join(second)).unwrap(),
        "the file \"model-00002-of-00002.safetensors\" that it names is missing; put it into",
    );
    spoil(
        &|f| _ = std::fs::copy(f.join(second), f.join("model-00003-of-00002.safetensors")).unwrap(),
        "the file \"model-00003-of-00002.safetensors\" beside it is not in its weight_map",
    );
    spoil(
        &edit(second, "../model-00002-of-00002.safetensors"),
        "it should be a plain name beside the index",
    );
    spoil(
        &edit(second, "/etc/passwd"),
        "the file name of a shard is \"/etc/passwd\"",
    );
    spoil(
        &edit("\"b.weight\"", "\"c.weight\""),
        "the index does not place tensor \"b.weight\" here",
    );
    spoil(
        &edit(
            "\"b.weight\"",
            "\"c.weight\": \"model-00001-of-00002.safetensors\", \"b.weight\"",
        ),
        "tensor \"c.weight\" is not in \"model-00001-of-00002.safetensors\", where the index places it",
    );
    spoil(
        &edit(
            "\"b.weight\"",
            "\"a.bias\": \"model-00001-of-00002.safetensors\", \"b.weight\"",
        ),
        "tensor \"a.bias\" occurs twice",
    );
    spoil(
        &edit("\"weight_map\"", "\"weights\""),
        "the index is unreadable (missing field `weight_map`",
    );
    spoil(
        &|f| std::fs::write(f.join(INDEX), "{\"weight_map\":{}}").unwrap(),
        "weight_map is empty",
    );
    spoil(
        &|f| {
            let path = f.join(second);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        },
        "tensor \"b.weight\" lies at bytes",
    );
    spoil(
        &|f| _ = std::fs::copy(fixture("state.pt"), f.join(second)).unwrap(),
        "the index does not place tensor",
    );
}

#[test]
fn what_is_no_weight_file_is_told() {
    let read =
        |bytes: &[u8]| refusal(WeightFile::from_bytes(Path::new("x"), bytes.to_vec()).map(|_| ()));
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, expected) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\noid"[..],
            "a pointer of Git LFS",
        ),
        (
            b"\n<!DOCTYPE html><html>",
            "a web page is not supported; fetch the weight file itself",
        ),
        (&tar, "a tar archive"),
        (
            b"\x89HDF\r\n\x1a\n",
            "HDF5 is not supported; convert it to safetensors",
        ),
        (b"tjgg\x03\0\0\0", "the GGML format before GGUF"),
        (b"\x80\x04N.", "a pickle that is no PyTorch checkpoint"),
        (
            b"hello",
            "the start of the file is \"hello\"; it should be that of a GGUF, safetensors or PyTorch file",
        ),
        (b"", "the start of the file is \"\""),
    ] {
        let message = read(bytes);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn paths_that_hold_no_weights_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| WeightFile::open(&folder.path().join(name)).map(|_| ());
    let none = open("none.gguf").unwrap_err().to_string();
    assert!(
        none.contains("none.gguf: cannot open: No such file"),
        "{none}"
    );
    assert!(
        refusal(open("")).contains("the folder holds no weights; it should hold model.safetensors")
    );
    std::fs::write(folder.path().join("empty.gguf"), "").unwrap();
    assert!(refusal(open("empty.gguf")).contains("the file is empty"));
    std::fs::copy(fixture("tiny.gguf"), folder.path().join("b.gguf")).unwrap();
    assert!(refusal(open("")).contains(
        "the folder holds 2 .gguf files, such as \"b.gguf\" and \"empty.gguf\"; name one"
    ));
    std::fs::remove_file(folder.path().join("empty.gguf")).unwrap();
    open("").unwrap();
}
