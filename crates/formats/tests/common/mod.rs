//! Shared by the tests: where fixtures are, what is in them, and files built byte by byte.
#![allow(dead_code)] // Each test binary uses its part.

use std::path::PathBuf;

/// A committed file; `make.py` beside it wrote it.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub fn read(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// Every committed fixture, by name and contents.
pub fn all_fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = fixture("");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if ["gguf", "safetensors", "pt"].contains(&&*extension) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.push((name, std::fs::read(path).unwrap()));
        }
    }
    found.sort();
    assert!(found.len() > 10);
    found
}

/// The floats that `make.py` fills tensors with.
pub fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i % 15) as f32 - 7.0) / 8.0).collect()
}

/// The integers that `make.py` fills tensors with.
pub fn counting(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

/// A GGUF file in the making, in which anything may be wrong.
#[derive(Clone)]
pub struct RawGguf {
    pub magic: [u8; 4],
    pub version: u32,
    pub pairs: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
    pub pair_count: Option<u64>,
    pub tensor_count: Option<u64>,
    pub data: usize,
}

impl RawGguf {
    pub fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            pairs: Vec::new(),
            tensors: Vec::new(),
            pair_count: None,
            tensor_count: None,
            data: 0,
        }
    }

    pub fn pair(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        let mut pair = string(key.as_bytes());
        pair.extend(kind.to_le_bytes());
        pair.extend(value);
        self.pairs.push(pair);
        self
    }

    /// Dimensions in file order, fastest first.
    pub fn tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let mut tensor = string(name.as_bytes());
        tensor.extend((dims.len() as u32).to_le_bytes());
        tensor.extend(dims.iter().flat_map(|d| d.to_le_bytes()));
        tensor.extend(kind.to_le_bytes());
        tensor.extend(offset.to_le_bytes());
        self.tensors.push(tensor);
        self
    }

    /// Bytes of data after the header and its padding to 32.
    pub fn data(mut self, bytes: usize) -> Self {
        self.data = bytes;
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(
            self.tensor_count
                .unwrap_or(self.tensors.len() as u64)
                .to_le_bytes(),
        );
        out.extend(
            self.pair_count
                .unwrap_or(self.pairs.len() as u64)
                .to_le_bytes(),
        );
        out.extend(self.pairs.concat());
        out.extend(self.tensors.concat());
        let start = out.len().next_multiple_of(32);
        out.resize(start + self.data, 0);
        out
    }
}

/// A GGUF string: length and bytes.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u64).to_le_bytes().to_vec();
    out.extend(bytes);
    out
}

/// The head of a GGUF array.
pub fn array(kind: u32, count: u64) -> Vec<u8> {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend(count.to_le_bytes());
    out
}

/// A safetensors file with this header and so many bytes of data.
pub fn raw_safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + data, 0);
    out
}

/// A zip archive of stored files.
pub fn raw_zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, data) in files {
        let start = out.len() as u32;
        let mut about = Vec::new();
        about.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // version, flags, method, time, date
        about.extend([0; 4]); // CRC
        about.extend((data.len() as u32).to_le_bytes());
        about.extend((data.len() as u32).to_le_bytes());
        about.extend((name.len() as u16).to_le_bytes());
        about.extend([0; 2]); // extra
        out.extend(b"PK\x03\x04");
        out.extend(&about);
        out.extend(name.as_bytes());
        out.extend(*data);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&about);
        directory.extend([0; 10]); // comment, disk, attributes
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = out.len() as u32;
    let len = directory.len() as u32;
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend((files.len() as u16).to_le_bytes());
    out.extend((files.len() as u16).to_le_bytes());
    out.extend(len.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out
}

/// What a file is refused with, the path left out.
pub fn refusal(result: Result<(), medley_formats::FormatError>) -> String {
    let message = result.expect_err("the file should be refused").to_string();
    assert!(!message.contains('\n'), "{message}");
    message.split_once(": ").unwrap().1.to_owned()
}
