//! Output files that appear whole or not at all.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::FormatError;
use crate::safetensors::folder_of;

/// Writes to a temporary name in the same folder; [`commit`](Self::commit) renames it. Dropped before
/// that, it leaves nothing behind.
pub(crate) struct AtomicFile {
    path: PathBuf,
    out: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    pub(crate) fn create(path: &Path) -> Result<Self, FormatError> {
        const BUFFER: usize = 1 << 20;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".partial");
        // As `File::create` would make it; temporary files are private by default.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder
            .tempfile_in(folder_of(path))
            .map_err(|e| FormatError::io(path, "create", e))?;
        Ok(Self {
            path: path.to_owned(),
            out: BufWriter::with_capacity(BUFFER, file),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let written = self.out.write_all(bytes);
        written.map_err(|e| FormatError::io(&self.path, "write", e))
    }

    pub(crate) fn zeros(&mut self, count: usize) -> Result<(), FormatError> {
        const ZEROS: [u8; 64] = [0; 64];
        let mut left = count;
        while left > 0 {
            let n = left.min(ZEROS.len());
            self.write(&ZEROS[..n])?;
            left -= n;
        }
        Ok(())
    }

    /// Puts the file into its place, on disk.
    pub(crate) fn commit(self) -> Result<(), FormatError> {
        let Self { path, out } = self;
        let io = |e| FormatError::io(&path, "write", e);
        let file = out.into_inner().map_err(|e| io(e.into_error()))?;
        file.as_file().sync_data().map_err(io)?;
        file.persist(&path)
            .map_err(|e| FormatError::io(&path, "replace", e.error))?;
        Ok(())
    }
}
