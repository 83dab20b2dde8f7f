//! PyTorch checkpoints: what torch.save writes is read value by value, nothing is run, and what is
//! wrong is refused by name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use common::{counting, fixture, raw_zip, refusal, values};
use medley_formats::{Container, DType, WeightFile, fuzzing};

#[test]
fn tensors_of_torch_save() {
    for name in ["state.pt", "legacy.pt", "protocol4.pt"] {
        let file = WeightFile::open(&fixture(name)).unwrap();
        assert_eq!(file.kind(), Container::PyTorch);
        assert_eq!(file.tensors().len(), 19, "{name}");
        assert_eq!(file.info("f32").unwrap().shape, [2, 3, 5]);
        for (tensor, dtype, elements) in [
            ("f32", DType::F32, 30),
            ("f64", DType::F64, 3),
            ("f16", DType::F16, 32),
            ("bf16", DType::BF16, 32),
            ("base", DType::F32, 24),
            ("tied", DType::F32, 24),
            ("parameter", DType::F32, 3),
        ] {
            assert_eq!(file.info(tensor).unwrap().dtype, dtype);
            assert_eq!(
                file.to_f32(tensor).unwrap(),
                values(elements),
                "{name} {tensor}"
            );
        }
        for tensor in ["i64", "i32", "i16", "i8", "u8"] {
            assert_eq!(file.to_f32(tensor).unwrap(), counting(4), "{name} {tensor}");
        }
        assert_eq!(file.to_f32("bool").unwrap(), [1.0, 0.0, 1.0]);
        assert_eq!(file.to_f32("scalar").unwrap(), [0.5]);
        assert_eq!(file.info("empty").unwrap().shape, [0, 4]);
        assert!(file.to_f32("empty").unwrap().is_empty());
    }
}

#[test]
fn strided_views_become_contiguous() {
    for name in ["state.pt", "legacy.pt", "protocol4.pt"] {
        let file = WeightFile::open(&fixture(name)).unwrap();
        let base = values(24);
        let at = |row: usize, column: usize| base[row * 6 + column];
        assert_eq!(file.to_f32("row").unwrap(), base[6..12]);
        assert_eq!(file.info("transposed").unwrap().shape, [6, 4]);
        let transposed: Vec<f32> = (0..24).map(|i| at(i % 4, i / 4)).collect();
        assert_eq!(file.to_f32("transposed").unwrap(), transposed);
        assert_eq!(
            file.to_f32("sliced").unwrap(),
            [at(1, 0), at(1, 3), at(3, 0), at(3, 3)]
        );
        let v = values(3);
        assert_eq!(
            file.to_f32("expanded").unwrap(),
            [v[0], v[0], v[1], v[1], v[2], v[2]]
        );
        // Asked twice, and released in between.
        file.release("transposed");
        assert_eq!(file.to_f32("transposed").unwrap(), transposed);
    }
}

#[test]
fn types_over_untyped_storages() {
    let file = WeightFile::open(&fixture("float8.pt")).unwrap();
    assert_eq!(file.info("f8_e4m3").unwrap().dtype, DType::F8E4M3);
    assert_eq!(file.to_f32("f8_e4m3").unwrap(), values(15));
    assert_eq!(file.info("u16").unwrap().dtype, DType::U16);
    assert_eq!(file.to_f32("u16").unwrap(), counting(4));
}

#[test]
fn weights_are_found_beside_everything_else() {
    let file = WeightFile::open(&fixture("training.pt")).unwrap();
    let names: Vec<&str> = file.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["weight", "bias"]);
    assert_eq!(file.to_f32("weight").unwrap(), values(6));
    let file = WeightFile::open(&fixture("nested.pt")).unwrap();
    let names: Vec<&str> = file.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["layers.0.weight", "layers.0.bias", "step.0"]);
    assert_eq!(file.to_f32("layers.0.bias").unwrap(), values(2));
}

#[test]
fn no_code_runs_and_the_name_is_told() {
    let ran = std::path::Path::new("/tmp/medley-pickle-ran");
    let before = ran.exists();
    for (name, expected) in [
        (
            "evil.pt",
            "the checkpoint needs \"posix.system\" of Python, which is not on the list of harmless names",
        ),
        (
            "module.pt",
            "the checkpoint needs \"torch.nn.modules.linear.Linear\" of Python",
        ),
        (
            "complex.pt",
            "a tensor of torch.ComplexFloatStorage is not supported; save it as float32",
        ),
        (
            "cycle.pt",
            "the value at \"self\" is a container that contains itself",
        ),
        (
            "bomb.pt",
            "the number of names that the checkpoint gives its 1 tensors is 1089; at most 1088",
        ),
        (
            "no-tensors.pt",
            "the checkpoint is without any tensor; it should be a state dict",
        ),
        (
            "script.pt",
            "a TorchScript program is not supported; save its state dict",
        ),
    ] {
        let message = refusal(WeightFile::open(&fixture(name)).map(|_| ()));
        assert!(
            message.contains(expected),
            "{message}\nshould contain\n{expected}"
        );
    }
    assert_eq!(ran.exists(), before);
}

/// The pickle of a dictionary with one tensor "w" over a storage of `numel` floats.
fn program(numel: u8, offset: &str, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let ints = |items: &[u8]| {
        let mut out = b"(".to_vec();
        out.extend(items.iter().flat_map(|&i| [b'K', i]));
        out.push(b't');
        out
    };
    let mut out = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    out.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK");
    out.push(numel);
    out.extend(b"tQ");
    out.extend(offset.bytes());
    out.extend(ints(shape));
    out.extend(ints(strides));
    out.extend(b"\x89}tRs.");
    out
}

#[test]
fn views_stay_within_their_storage() {
    let ok = program(6, "K\0", &[2, 3], &[3, 1]);
    fuzzing::pytorch(&ok).unwrap();
    let minus_one = "J\u{7f}\u{7f}\u{7f}\u{7f}";
    for (program, expected) in [
        (
            program(6, "K\0", &[2, 4], &[4, 1]),
            "the view of its storage of tensor \"w\" is shape [2, 4] with strides [4, 1] from element 0; it should be within the 6 elements",
        ),
        (program(6, "K\x01", &[2, 3], &[3, 1]), "from element 1"),
        (
            program(6, minus_one, &[2, 3], &[3, 1]),
            "from element 2139062143",
        ),
        (
            program(6, "K\0", &[2, 2], &[255, 1]),
            "with strides [255, 1]",
        ),
        (
            program(6, "K\0", &[2, 2], &[1]),
            "the number of strides of a tensor is 1; it should be 2, one for each dimension",
        ),
        (
            program(6, "K\0", &[1; 65], &[1; 65]),
            "the rank of a tensor is 65; at most 64",
        ),
        (
            program(1, "K\0", &[255; 9], &[0; 9]),
            "the shape of tensor \"w\"",
        ),
        (
            program(1, "K\0", &[255, 255, 255], &[0, 0, 0]),
            "the expanded size of tensor \"w\" is 66325500; at most 1048576",
        ),
        (
            program(6, "N", &[1], &[1]),
            "the offset of a tensor is None; it should be an integer",
        ),
        (
            program(6, "\u{8}", &[1], &[1]),
            "pickle instruction 0x08 at byte",
        ),
    ] {
        let message = refusal(fuzzing::pytorch(&program));
        assert!(
            message.contains(expected),
            "{message}\nshould contain\n{expected}"
        );
    }
}

#[test]
fn damaged_archives_are_named() {
    let pickle = program(6, "K\0", &[2, 3], &[3, 1]);
    let floats: Vec<u8> = values(6).iter().flat_map(|x| x.to_le_bytes()).collect();
    let zip = |files: &[(&str, &[u8])]| fuzzing::pytorch(&raw_zip(files));
    let (pkl, storage) = (("a/data.pkl", &pickle[..]), ("a/data/0", &floats[..]));
    zip(&[pkl, storage]).unwrap();
    zip(&[pkl, storage, ("a/byteorder", b"little")]).unwrap();
    for (result, expected) in [
        (zip(&[storage]), "the zip archive is without data.pkl"),
        (
            zip(&[pkl]),
            "the file \"a/data/0\" is missing; it should be in the archive",
        ),
        (
            zip(&[pkl, ("a/data/0", &floats[1..])]),
            "storage \"a/data/0\" is 23 bytes long; it should be 6 elements of F32",
        ),
        (
            zip(&[pkl, storage, storage]),
            "file of the archive \"a/data/0\" occurs twice",
        ),
        (
            zip(&[pkl, storage, ("a/byteorder", b"big")]),
            "byte order \"big\" is not supported",
        ),
    ] {
        let message = refusal(result);
        assert!(
            message.contains(expected),
            "{message}\nshould contain\n{expected}"
        );
    }
    let good = raw_zip(&[pkl, storage]);
    // Both entries of the directory point to the first file: names differ from those at the place.
    let directory = good.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    let mut moved = good.clone();
    moved[directory + 42..directory + 46].fill(0);
    assert!(refusal(fuzzing::pytorch(&moved)).contains("is named \"a/data.pkl\" at its place"));
    let mut far = good.clone();
    far[directory + 42..directory + 46].fill(0x7f);
    assert!(refusal(fuzzing::pytorch(&far)).contains("\"a/data/0\" lies at bytes 2139062143.."));
    let mut packed = good.clone();
    packed[directory + 10] = 8;
    let message = refusal(fuzzing::pytorch(&packed));
    assert!(
        message.contains("compressed or encrypted file \"a/data/0\""),
        "{message}"
    );
    let mut long = good.clone();
    long[directory + 20..directory + 28].fill(0x7f);
    assert!(refusal(fuzzing::pytorch(&long)).contains("\"a/data/0\" lies at bytes"));
    let cut = &good[..good.len() - 1];
    assert!(
        refusal(fuzzing::pytorch(cut))
            .contains("the zip archive is without its directory at the end; it should be whole")
    );
}
