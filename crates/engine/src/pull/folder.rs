//! Models out of a folder.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::stage::{Stage, Writing};
use super::{Pull, PullStage};
use crate::catalog::ModelEntry;
use crate::{EngineError, Result};

impl Pull<'_> {
    /// Copies the files of a model out of a folder, and checks each on the way.
    pub(super) fn via_folder(
        &mut self,
        entry: &ModelEntry,
        folder: &Path,
        stage: &Stage,
    ) -> Result<()> {
        let from = format!("folder {}", folder.display());
        for expected in &entry.files {
            if self.is_staged(stage, expected)? {
                continue;
            }
            let path = folder.join(&expected.name);
            // What cannot be read is a fault of this source, and another may do better.
            let unreadable = |error: std::io::Error| EngineError::FolderSource {
                folder: folder.to_owned(),
                reason: format!("{} cannot be read: {error}", expected.name),
            };
            let mut file = File::open(&path).map_err(unreadable)?;
            let actual = file.metadata().map_err(unreadable)?.len();
            if actual != expected.size {
                return Err(EngineError::SizeMismatch {
                    file: expected.name.clone(),
                    from,
                    expected: expected.size,
                    actual,
                });
            }
            let mut writing = Writing::create(stage.prepare(&expected.name)?)?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                self.options.cancel.check()?;
                let n = file.read(&mut buffer).map_err(unreadable)?;
                if n == 0 || writing.length() > expected.size {
                    break;
                }
                writing.append(buffer.get(..n).unwrap_or_default())?;
                self.reporter.progress(
                    PullStage::Copy,
                    &expected.name,
                    writing.length(),
                    Some(expected.size),
                );
            }
            writing.finish(expected, &from)?;
        }
        Ok(())
    }
}
