//! Event files that TensorBoard reads: records of TensorFlow's framing around `Event` messages in protocol buffers.
//!
//! Framing: <https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details>; messages:
//! `tensorflow/core/util/event.proto` and `summary.proto`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// An event file that grows.
pub struct EventFile {
    file: File,
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |d| d.as_secs_f64())
}

impl EventFile {
    /// A new file in `folder`.
    pub fn create(folder: &Path) -> std::io::Result<Self> {
        let seconds = now();
        let mut number = 0;
        // Two runs within a second have two files.
        let file = loop {
            let name = format!("events.out.tfevents.{seconds:.0}.{number}.medley");
            match File::create_new(PathBuf::from(folder).join(name)) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                other => break other?,
            }
        };
        let mut events = Self { file };
        let mut message = Vec::new();
        double(&mut message, 1, seconds);
        bytes(&mut message, 3, b"brain.Event:2");
        events.record(&message)?;
        Ok(events)
    }

    /// Numbers of a step, by name.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> std::io::Result<()> {
        let mut summary = Vec::new();
        for (name, value) in values {
            let mut one = Vec::new();
            bytes(&mut one, 1, name.as_bytes());
            float(&mut one, 2, *value as f32);
            bytes(&mut summary, 1, &one);
        }
        let mut message = Vec::new();
        double(&mut message, 1, now());
        key(&mut message, 2, 0);
        varint(&mut message, step);
        bytes(&mut message, 5, &summary);
        self.record(&message)
    }

    fn record(&mut self, message: &[u8]) -> std::io::Result<()> {
        let length = (message.len() as u64).to_le_bytes();
        let mut all = Vec::with_capacity(message.len() + 16);
        all.extend(length);
        all.extend(masked(&length).to_le_bytes());
        all.extend(message);
        all.extend(masked(message).to_le_bytes());
        self.file.write_all(&all)?;
        self.file.flush()
    }
}

/// The checksum of a record, rotated so that checksums of checksums are no matter.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, 1);
    out.extend(value.to_le_bytes());
}

fn float(out: &mut Vec<u8>, field: u64, value: f32) {
    key(out, field, 5);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, 2);
    varint(out, value.len() as u64);
    out.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of a file, checksums checked as a reader checks them.
    fn messages(mut data: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while !data.is_empty() {
            let number = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
            let length = u64::from_le_bytes(data[..8].try_into().unwrap()) as usize;
            assert_eq!(number(8), masked(&data[..8]));
            assert_eq!(number(12 + length), masked(&data[12..12 + length]));
            all.push(data[12..12 + length].to_vec());
            data = &data[16 + length..];
        }
        all
    }

    #[test]
    fn checksums_are_those_of_castagnoli() {
        // The check value of CRC-32C, and TensorFlow's rotation of it.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        let crc = 0xe306_9283u32;
        let expected = crc.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked(b"123456789"), expected);
    }

    #[test]
    fn a_file_begins_with_its_version_and_holds_numbers_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path()).unwrap();
        let other = EventFile::create(folder.path());
        assert!(other.is_ok(), "two files in one second");
        file.scalars(300, &[("loss", 1.5), ("rate", -2.0)]).unwrap();
        drop(file);
        let mut sizes: Vec<Vec<u8>> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|e| std::fs::read(e.unwrap().path()).unwrap())
            .collect();
        sizes.sort_by_key(Vec::len);
        let found = messages(&sizes[1]);
        assert_eq!(found.len(), 2);
        assert!(found[0].ends_with(b"\x1a\x0dbrain.Event:2"));
        let scalars = &found[1][9..];
        let mut expected = vec![0x10, 0xac, 0x02, 0x2a, 24];
        expected.extend(b"\x0a\x0b\x0a\x04loss\x15\x00\x00\xc0\x3f");
        expected.extend(b"\x0a\x09\x0a\x04rate\x15\x00\x00\x00\xc0");
        expected[4] = (expected.len() - 5) as u8;
        // The lengths that stand before the values count name, number and keys.
        expected[6] = 11;
        expected[19] = 11;
        assert_eq!(scalars, expected);
    }
}
