//! Files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Writes a file under a temporary name in its folder, and renames it when it is on disk.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |e| Error::io(path, "write", e);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
    // As `File::create` would make it; temporary files are private by default.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
