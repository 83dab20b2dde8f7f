//! Output files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use crate::error::MediaError;

/// Writes `bytes` to a temporary name in the folder of `path` and renames it, so that no half-written
/// file is ever seen. A file that is there already is replaced.
///
/// # Errors
/// [`MediaError::Io`]; nothing is left behind then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), MediaError> {
    let mut file = temporary(path)?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_data())
        .map_err(|e| MediaError::io(path, "write", e))?;
    file.persist(path)
        .map_err(|e| MediaError::io(path, "replace", e.error))?;
    Ok(())
}

/// The folder that `path` lies in.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file beside `path` that will be renamed to it, and is gone if it is not.
pub(crate) fn temporary(path: &Path) -> Result<tempfile::NamedTempFile, MediaError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
    // As `File::create` would make it; temporary files are private by default.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
        .tempfile_in(folder(path))
        .map_err(|e| MediaError::io(path, "create", e))
}
