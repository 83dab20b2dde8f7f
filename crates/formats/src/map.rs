//! The bytes of a file: memory-mapped, or in memory.
#![allow(unsafe_code)] // Mapping a file is unsafe by nature; this module is the only place.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;

use crate::error::{FormatError, Problem};

/// Read-only bytes of a whole file.
pub(crate) enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a regular file that is not empty.
    pub(crate) fn map(path: &Path) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(|e| FormatError::io(path, "open", e))?;
        let kind = file
            .metadata()
            .map_err(|e| FormatError::io(path, "read", e))?;
        if !kind.is_file() {
            return Err(
                Problem::invalid("the path", "not a regular file", "a weight file").at(path),
            );
        }
        if kind.len() == 0 {
            return Err(
                Problem::invalid("the file", "empty", "a weight file; fetch it again").at(path),
            );
        }
        // SAFETY: the mapping is private and read-only, and is only handed out as `&[u8]`, for which
        // every bit pattern is valid. What remains is the hazard of every memory map: another process
        // that truncates the file raises SIGBUS here, and one that overwrites it changes the bytes
        // under us. Weight files are replaced by renaming (as our own writers do), never in place; what
        // must stay valid once checked (names, metadata, tokens) is copied out of the map.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| FormatError::io(path, "map", e))?;
        Ok(Self::Mapped(map))
    }

    /// Lets the system take back the memory that backs `range`; it is read again when touched.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self
            && !range.is_empty()
            && range.end <= map.len()
        {
            // SAFETY: MADV_DONTNEED loses data only where pages were written or are anonymous. This map
            // is read-only and backed by a file, so that pages dropped here are read from it again.
            let _advice = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.end - range.start,
                )
            };
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Asks the system to have `range` ready soon. A hint; failure changes nothing.
    pub(crate) fn prefetch(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self
            && !range.is_empty()
            && range.end <= map.len()
        {
            let _advice = map.advise_range(
                memmap2::Advice::WillNeed,
                range.start,
                range.end - range.start,
            );
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}
