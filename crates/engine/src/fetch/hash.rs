use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::CancelFlag;
use crate::{EngineError, Result};

/// SHA-256 as bytes come.
pub(crate) type Hasher = Sha256;

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// SHA-256 of bytes, in lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Length and SHA-256 of a file. `progress` is told the bytes that were read.
pub fn sha256_file(
    path: &Path,
    cancel: &CancelFlag,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, String)> {
    let mut file = File::open(path).map_err(EngineError::io("read", path))?;
    let mut hasher = Sha256::new();
    let length = feed(&mut file, path, &mut hasher, cancel, progress)?;
    Ok((length, hex(&hasher.finalize())))
}

/// Feeds what is left of a file to a hasher and returns its length.
pub(super) fn feed(
    file: &mut File,
    path: &Path,
    hasher: &mut Sha256,
    cancel: &CancelFlag,
    progress: &mut dyn FnMut(u64),
) -> Result<u64> {
    let mut buffer = vec![0; 1 << 18];
    let mut length = 0;
    loop {
        cancel.check()?;
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(EngineError::io("read", path)(error)),
        };
        hasher.update(buffer.get(..n).unwrap_or_default());
        length += n as u64;
        progress(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_example() {
        // FIPS 180-4, "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expected);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), b"abc").unwrap();
        let got = sha256_file(&dir.path().join("x"), &CancelFlag::new(), &mut |_| {}).unwrap();
        assert_eq!(got, (3, expected.to_owned()));
    }
}
