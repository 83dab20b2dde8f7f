//! The works of a folder in one file.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::folder::{Folder, PLAN};
use super::plan::{Make, Plan};
use crate::{EngineError, Result};

/// A ZIP archive with the plan and all works that are there, in a folder of this name; the same, byte for byte, for the same
/// works.
///
/// # Errors
/// [`EngineError::Io`], [`EngineError::Plan`] for what cannot be packed.
pub fn zip(folder: &Folder, plan: &Plan, name: &str) -> Result<Vec<u8>> {
    let failed = |error: zip::result::ZipError| super::plan::wrong("zip", error);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let own = |file: &str| (file.to_owned(), true);
    let of_works = plan.works.iter().flat_map(|work| {
        let packs = matches!(work.make, Make::Text { .. } | Make::Page { .. });
        work.files().into_iter().map(move |file| (file, packs))
    });
    for (file, packs) in [own(PLAN)].into_iter().chain(of_works) {
        let path = folder.file(&file);
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(EngineError::io("read", &path))?;
        // Pictures, films and the like are packed already.
        let method = match packs {
            true => CompressionMethod::Deflated,
            false => CompressionMethod::Stored,
        };
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644);
        archive
            .start_file(format!("{name}/{file}"), options)
            .map_err(failed)?;
        let written = archive.write_all(&bytes);
        written.map_err(EngineError::io("pack", &path))?;
    }
    Ok(archive.finish().map_err(failed)?.into_inner())
}
