//! GGUF: what gguf-py writes is read value by value, what is wrong is refused by name, and what the
//! writer writes is read again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use common::{RawGguf, array, counting, fixture, refusal, string, values};
use medley_formats::gguf::{Array, Gguf, Header, Metadata, StringArray, Value, Writer};
use medley_formats::{Container, DType, TensorInfo, WeightFile, fuzzing};
use medley_kernels::BlockType;

const I32: u32 = 5;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const F32_TENSOR: u32 = 0;

#[test]
fn metadata_of_gguf_py() {
    let file = Gguf::open(&fixture("tiny.gguf")).unwrap();
    assert_eq!(file.version(), 3);
    let m = file.metadata();
    assert_eq!(m.str("general.architecture"), Some("llama"));
    assert_eq!(m.get("test.u8"), Some(&Value::U8(200)));
    assert_eq!(m.get("test.i8"), Some(&Value::I8(-100)));
    assert_eq!(m.get("test.u16"), Some(&Value::U16(60000)));
    assert_eq!(m.get("test.i16"), Some(&Value::I16(-30000)));
    assert_eq!(m.get("test.u32"), Some(&Value::U32(4_000_000_000)));
    assert_eq!(m.get("test.i32"), Some(&Value::I32(-2_000_000_000)));
    assert_eq!(m.get("test.u64"), Some(&Value::U64(1 << 63)));
    assert_eq!(m.get("test.i64"), Some(&Value::I64(-(1 << 62))));
    assert_eq!(m.get("test.f64"), Some(&Value::F64(-2.25)));
    assert_eq!(m.f32("test.f32"), Some(1.5));
    assert_eq!(m.f32("test.f64"), Some(-2.25));
    assert_eq!(m.bool("test.bool"), Some(true));
    assert_eq!(m.str("test.string"), Some("naïve 日本"));
    assert_eq!(m.i32s("test.ints"), Some(&[3, 1, 2][..]));
    assert_eq!(m.ints("test.bools"), Some(vec![1, 0, 1]));
    assert_eq!(m.f32s("test.floats"), Some(&[0.5, -0.5][..]));
    let strings = ["", "a", "é", "日本"].map(String::from);
    assert_eq!(m.strings("test.strings"), Some(&strings[..]));
    // Any integer width, as long as the value fits; nothing is taken for what it is not.
    assert_eq!(m.u64("test.u8"), Some(200));
    assert_eq!(m.u64("test.i8"), None);
    assert_eq!(m.i64("test.u64"), None);
    assert_eq!(m.u32("test.u64"), None);
    assert_eq!(m.u64("test.f32"), None);
    assert_eq!(m.str("test.u8"), None);
    assert_eq!(m.get("missing"), None);
}

#[test]
fn strings_that_are_not_utf8_stay_bytes() {
    let file = Gguf::open(&fixture("tiny.gguf")).unwrap();
    let m = file.metadata();
    let bytes = m.string_array("test.bytes").unwrap();
    assert_eq!(bytes.get(0), Some(&b"\xff\xfe"[..]));
    assert_eq!((bytes.get_str(0), bytes.get_str(1)), (None, Some("ok")));
    assert_eq!(m.strings("test.bytes"), None);
    assert_eq!(
        m.byte_strings("test.bytes"),
        Some(&[b"\xff\xfe".to_vec(), b"ok".to_vec()][..])
    );
    // Two halves of one character are UTF-8 together and not apart.
    let halves: StringArray = ["é".as_bytes()[..1].to_vec(), "é".as_bytes()[1..].to_vec()]
        .into_iter()
        .collect();
    assert!(!halves.is_utf8());
}

#[test]
fn tensors_of_gguf_py() {
    let file = WeightFile::open(&fixture("tiny.gguf")).unwrap();
    assert_eq!(file.kind(), Container::Gguf);
    assert_eq!(file.info("f32").unwrap().shape, [2, 3, 5]);
    assert_eq!(file.to_f32("f32").unwrap(), values(30));
    assert_eq!(file.to_f32("f16").unwrap(), values(32));
    assert_eq!(file.to_f32("f64").unwrap(), values(3));
    assert_eq!(file.to_f32("i8").unwrap(), counting(6));
    for name in ["i16", "i32", "i64"] {
        assert_eq!(file.to_f32(name).unwrap(), counting(4), "{name}");
    }
    for ty in BlockType::ALL {
        let name = ty.name().to_lowercase();
        let info = file.info(&name).unwrap();
        assert_eq!(info.dtype, DType::Block(*ty));
        let data = file.bytes(&name).unwrap();
        assert_eq!(Some(data.len()), info.byte_len(), "{name}");
    }
    assert_eq!(file.to_f32("bf16").unwrap(), values(128));
    for (name, error) in [
        ("q4_0", 0.11),
        ("q4_1", 0.06),
        ("q5_0", 0.055),
        ("q5_1", 0.03),
        ("q8_0", 0.004),
    ] {
        let worst = file
            .to_f32(name)
            .unwrap()
            .iter()
            .zip(values(128))
            .fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs()));
        assert!(worst > 0.0 && worst <= error, "{name}: {worst}");
    }
    assert_eq!(file.to_f32("q4_k").unwrap(), vec![0.0; 512]);
}

#[test]
fn version_2_differs_in_its_number_only() {
    let mut bytes = common::read("tiny.gguf");
    bytes[4] = 2;
    let header = Header::parse(&bytes).unwrap();
    assert_eq!(header.version, 2);
    assert_eq!(header.tensors.len(), 21);
}

#[test]
fn what_is_wrong_is_named() {
    let base = RawGguf::new();
    let one = |dims: &[u64], kind, offset| base.clone().tensor("w", dims, kind, offset).data(64);
    let pair = |kind, value: &[u8]| base.clone().pair("k", kind, value);
    let long = "k".repeat(70_000);
    let version = |version| RawGguf {
        version,
        ..base.clone()
    };
    let cases: Vec<(RawGguf, &str)> = vec![
        (
            version(1),
            "GGUF version 1 is not supported; convert the model again",
        ),
        (
            version(4),
            "GGUF version 4 is not supported; versions 2 and 3 are",
        ),
        (version(0), "GGUF version 0 is not supported"),
        (
            version(3u32.swap_bytes()),
            "big-endian GGUF is not supported",
        ),
        (
            RawGguf {
                tensor_count: Some(u64::MAX),
                ..base.clone()
            },
            "the tensor count is 18446744073709551615; at most",
        ),
        (
            RawGguf {
                pair_count: Some(1 << 40),
                ..base.clone()
            },
            "the metadata count is 1099511627776; at most",
        ),
        (
            RawGguf {
                pair_count: Some(1),
                ..base.clone()
            },
            "a metadata key is empty; it should be a name",
        ),
        (
            base.clone().pair("", I32, &[0; 4]),
            "a metadata key is empty",
        ),
        (
            base.clone().pair(&long, I32, &[0; 4]),
            "the length of a metadata key is 70000; at most 65535",
        ),
        (pair(13, &[0; 8]), "the type of metadata value \"k\" is 13"),
        (pair(7, &[2]), "the boolean \"k\" is 2; it should be 0 or 1"),
        (
            pair(STRING, &u64::MAX.to_le_bytes()),
            "needs 18446744073709551615 bytes",
        ),
        (
            pair(ARRAY, &array(I32, u64::MAX)),
            "needs 18446744073709551615 bytes",
        ),
        (
            pair(ARRAY, &array(STRING, 1 << 61)),
            "needs 18446744073709551615 bytes",
        ),
        (
            pair(ARRAY, &array(STRING, 1 << 32)),
            "needs 34359738368 bytes",
        ),
        (
            pair(ARRAY, &array(ARRAY, u64::MAX)),
            "the number of arrays in arrays at \"k\"",
        ),
        (
            pair(ARRAY, &array(ARRAY, 1).repeat(6)),
            "the depth of arrays in \"k\" is 5; at most 4",
        ),
        (
            pair(ARRAY, &array(14, 1)),
            "the type of metadata value \"k\" is 14",
        ),
        (
            pair(I32, &[0; 4]).pair("k", I32, &[1; 4]),
            "metadata key \"k\" occurs twice",
        ),
        (
            base.clone()
                .pair("general.alignment", 4, &24u32.to_le_bytes()),
            "general.alignment is 24; it should be a power of two",
        ),
        (
            base.clone()
                .pair("general.alignment", 4, &0u32.to_le_bytes()),
            "general.alignment is 0;",
        ),
        (
            base.clone()
                .pair("general.alignment", 4, &(1u32 << 31).to_le_bytes()),
            "general.alignment is 2147483648;",
        ),
        (
            base.clone()
                .pair("general.alignment", STRING, &string(b"32")),
            "general.alignment is of another type",
        ),
        (
            one(&[1; 5], F32_TENSOR, 0),
            "the number of dimensions of tensor \"w\" is 5; at most 4",
        ),
        (
            one(&[1 << 40, 1 << 40], F32_TENSOR, 0),
            "the shape of tensor \"w\" is [1099511627776, 1099511627776]",
        ),
        (
            one(&[u64::MAX / 2], F32_TENSOR, 0),
            "the shape of tensor \"w\"",
        ),
        (
            one(&[16, 2], 2, 0),
            "it should be rows of whole blocks of 32",
        ),
        (
            one(&[4], 16, 0),
            "type 16 (IQ2_XXS) of tensor \"w\" is not supported",
        ),
        (one(&[4], 5, 0), "type 5 (a type that ggml has removed)"),
        (one(&[4], 99, 0), "type 99 (unknown)"),
        (
            one(&[4], F32_TENSOR, 4),
            "the offset of tensor \"w\" is 4; it should be a multiple of the alignment, 32",
        ),
        (
            one(&[17], F32_TENSOR, 0),
            "tensor \"w\" lies at bytes 64..132 but the file ends at 128",
        ),
        (
            one(&[4], F32_TENSOR, u64::MAX - 31),
            "tensor \"w\" lies at bytes 18446744073709551615",
        ),
        (
            one(&[4], F32_TENSOR, 0).tensor("w", &[4], F32_TENSOR, 32),
            "tensor \"w\" occurs twice",
        ),
        (
            one(&[9], F32_TENSOR, 0).tensor("v", &[4], F32_TENSOR, 32),
            "tensors \"w\" and \"v\" share bytes",
        ),
        (
            one(&[4], F32_TENSOR, 0).tensor("v", &[4], F32_TENSOR, 0),
            "share bytes",
        ),
        (
            base.clone().tensor("", &[4], F32_TENSOR, 0).data(32),
            "a tensor name is empty",
        ),
        (
            base.clone()
                .tensor(&long[..2000], &[4], F32_TENSOR, 0)
                .data(32),
            "the length of a tensor name is 2000",
        ),
    ];
    for (file, expected) in cases {
        let message = refusal(fuzzing::gguf(&file.build()));
        assert!(
            message.contains(expected),
            "{message}\nshould contain\n{expected}"
        );
    }
}

#[test]
fn names_must_be_utf8_and_print_on_one_line() {
    let mut file = RawGguf::new().tensor("w\n\u{1b}", &[4], 99, 0).data(32);
    let message = refusal(fuzzing::gguf(&file.build()));
    assert!(message.contains("\"w\\n\\u{1b}\""), "{message}");
    file.tensors[0][8] = 0xff;
    let message = refusal(fuzzing::gguf(&file.build()));
    assert!(message.starts_with("a tensor name is"), "{message}");
}

#[test]
fn what_is_odd_but_allowed_is_read() {
    let file = RawGguf::new()
        .pair(
            "nested",
            ARRAY,
            &[
                array(ARRAY, 2),
                array(I32, 1),
                vec![7, 0, 0, 0],
                array(STRING, 0),
            ]
            .concat(),
        )
        .pair("raw", STRING, &string(b"\xff"))
        .pair("general.alignment", 4, &64u32.to_le_bytes())
        .tensor("scalar", &[], F32_TENSOR, 64)
        .tensor("none", &[0, 3], F32_TENSOR, 0)
        .tensor("first", &[16], F32_TENSOR, 0)
        .data(192);
    let file = WeightFile::from_bytes("odd".as_ref(), file.build()).unwrap();
    let m = file.metadata().unwrap();
    assert_eq!(
        m.array("nested"),
        Some(&Array::Arrays(vec![
            Array::I32(vec![7]),
            Array::Strings(StringArray::default())
        ]))
    );
    assert_eq!(m.get("raw"), Some(&Value::Bytes(vec![0xff])));
    assert_eq!(file.to_f32("scalar").unwrap(), [0.0]);
    assert!(file.to_f32("none").unwrap().is_empty());
    assert_eq!(file.info("none").unwrap().shape, [3, 0]);
}

fn info(name: &str, dtype: DType, shape: &[usize]) -> TensorInfo {
    TensorInfo {
        name: name.into(),
        dtype,
        shape: shape.to_vec(),
    }
}

/// Everything of the fixture, written again, gives the same metadata and tensors.
#[test]
fn writer_and_reader_agree() {
    let source = WeightFile::open(&fixture("tiny.gguf")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.gguf");
    let mut metadata = source.metadata().unwrap().clone();
    metadata.insert("general.alignment", 128u32);
    metadata.insert(
        "nested",
        Array::Arrays(vec![Array::U8(vec![1]), Array::Bool(vec![true])]),
    );
    metadata.insert("raw", Value::Bytes(vec![0xff]));
    let mut writer = Writer::create(&path, &metadata, source.tensors()).unwrap();
    for tensor in source.tensors() {
        // In pieces, as a converter writes what it makes.
        for piece in source.bytes(&tensor.name).unwrap().chunks(50) {
            writer.write(&tensor.name, piece).unwrap();
        }
        assert!(!path.exists());
    }
    writer.finish().unwrap();
    let copy = WeightFile::open(&path).unwrap();
    assert_eq!(copy.metadata(), Some(&metadata));
    assert_eq!(copy.tensors(), source.tensors());
    for tensor in source.tensors() {
        assert_eq!(
            copy.bytes(&tensor.name).unwrap(),
            source.bytes(&tensor.name).unwrap()
        );
    }
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing but the file is left");
}

#[test]
fn writer_refuses_what_readers_would() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.gguf");
    let none = Metadata::default();
    let create = |tensors: &[TensorInfo]| Writer::create(&path, &none, tensors).map(|_| ());
    let f32 = |name: &str, shape: &[usize]| info(name, DType::F32, shape);
    for (tensors, expected) in [
        (
            vec![f32("a", &[1]), f32("a", &[1])],
            "tensor \"a\" occurs twice",
        ),
        (vec![f32("", &[1])], "a tensor name is empty"),
        (
            vec![f32("a", &[1; 5])],
            "the number of dimensions of tensor \"a\" is 5",
        ),
        (
            vec![info("a", DType::F8E4M3, &[1])],
            "type F8_E4M3 of tensor \"a\" in GGUF is not supported",
        ),
        (
            vec![info("a", DType::Block(BlockType::Q4K), &[8, 128])],
            "rows of whole blocks of 256",
        ),
    ] {
        let message = refusal(create(&tensors));
        assert!(message.contains(expected), "{message}");
    }
    let mut writer = Writer::create(&path, &none, &[f32("a", &[2]), f32("b", &[1])]).unwrap();
    assert!(refusal(writer.write("b", &[0; 4])).contains("should be \"a\", as announced"));
    assert!(refusal(writer.write("a", &[0; 9])).contains("9 bytes of \"a\"; it should be 8 bytes"));
    writer.write("a", &[0; 8]).unwrap();
    let message = refusal(writer.finish());
    assert!(message.contains("0 of 4 bytes of \"b\""), "{message}");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
    let missing = folder.path().join("no/such/w.gguf");
    let message = Writer::create(&missing, &none, &[])
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(message.contains("cannot create"), "{message}");
}

/// Three files as llama.cpp's gguf-split makes them, and what can be wrong with the set.
#[test]
fn split_files_open_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |number: u32| folder.path().join(format!("m-{number:05}-of-00003.gguf"));
    let write = |number: u32, split_no: u16| {
        let mut metadata = Metadata::default();
        metadata.insert("split.no", split_no);
        metadata.insert("split.count", 3u16);
        metadata.insert("split.tensors.count", 3i32);
        let name = format!("t{number}");
        let tensor = info(&name, DType::F32, &[1]);
        let mut writer = Writer::create(&path(number), &metadata, &[tensor]).unwrap();
        writer.write(&name, &(number as f32).to_le_bytes()).unwrap();
        writer.finish().unwrap();
    };
    (1..=3).for_each(|number| write(number, number as u16 - 1));
    for opened in [WeightFile::open(&path(1)), WeightFile::open(folder.path())] {
        let file = opened.unwrap();
        assert_eq!(file.tensors().len(), 3);
        assert_eq!(file.to_f32("t3").unwrap(), [3.0]);
        assert_eq!(file.files().count(), 3);
    }
    let open = |number| refusal(WeightFile::open(&path(number)).map(|_| ()));
    assert!(open(2).contains("it is file 2 of 3; open the first one"));
    write(3, 1);
    assert!(open(1).contains("its split.no is Some(1) and not 2"));
    std::fs::remove_file(path(3)).unwrap();
    assert!(open(1).contains("the file \"m-00003-of-00003.gguf\" that belongs to it is missing"));
    let alone = folder.path().join("renamed.gguf");
    std::fs::rename(path(1), &alone).unwrap();
    let message = refusal(WeightFile::open(&alone).map(|_| ()));
    assert!(message.contains("its name does not say which"), "{message}");
}
