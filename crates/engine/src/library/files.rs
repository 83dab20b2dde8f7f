//! The files of works: `ab/abcdef….png`, where `abcdef…` is the SHA-256 of what is in it; small pictures of them in
//! `thumbnails`.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::{EngineError, Result};

const THUMBNAILS: &str = "thumbnails";

/// A file that gives its room back where the disk is full, so that it can still be said why a job failed.
const RESERVE: &str = "reserve";

/// Bytes of that file.
const RESERVED: usize = 1 << 20;

/// Writes a file whole or not at all.
pub(super) type Write = fn(&Path, &[u8]) -> Result<()>;

pub(super) struct Files {
    folder: PathBuf,
    pub(super) write: Write,
}

impl Files {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let thumbnails = folder.join(THUMBNAILS);
        fs::create_dir_all(&thumbnails).map_err(EngineError::io("create", &thumbnails))?;
        let files = Self {
            folder: folder.to_owned(),
            write: crate::work_file::write,
        };
        files.reserve();
        Ok(files)
    }

    /// Where a work's file lies.
    pub(super) fn path(&self, sha256: &str, mime: &str) -> PathBuf {
        let group = sha256.get(..2).unwrap_or("00");
        self.folder
            .join(group)
            .join(format!("{sha256}.{}", ending(mime)))
    }

    /// Where its small picture lies, if it has one.
    pub(super) fn thumbnail(&self, sha256: &str) -> PathBuf {
        self.folder.join(THUMBNAILS).join(format!("{sha256}.png"))
    }

    /// Where the sheet of its frames lies, once somebody has looked at it.
    pub(super) fn sheet(&self, sha256: &str) -> PathBuf {
        let name = format!("{sha256}.sheet.jpg");
        self.folder.join(THUMBNAILS).join(name)
    }

    /// Writes a work's file and its small picture; false where the file was there already.
    pub(super) fn put(
        &self,
        sha256: &str,
        mime: &str,
        bytes: &[u8],
        thumbnail: Option<&[u8]>,
    ) -> Result<bool> {
        let path = self.path(sha256, mime);
        let there = fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64);
        if there {
            return Ok(false);
        }
        let written = self.put_new(&path, sha256, bytes, thumbnail);
        if written.is_err() {
            let _ = self.remove(sha256, mime);
            // From here on what says that the disk is full has room.
            let _ = fs::remove_file(self.folder.join(RESERVE));
        }
        written.map(|()| true)
    }

    fn put_new(
        &self,
        path: &Path,
        sha256: &str,
        bytes: &[u8],
        thumbnail: Option<&[u8]>,
    ) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(EngineError::io("create", folder))?;
        }
        (self.write)(path, bytes)?;
        if let Some(thumbnail) = thumbnail {
            (self.write)(&self.thumbnail(sha256), thumbnail)?;
        }
        self.reserve();
        Ok(())
    }

    /// Takes a work's file and its small pictures away, where they are there.
    pub(super) fn remove(&self, sha256: &str, mime: &str) -> Result<()> {
        let small = [self.thumbnail(sha256), self.sheet(sha256)];
        for path in small.into_iter().chain([self.path(sha256, mime)]) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(EngineError::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes all files away but those of these contents.
    pub(super) fn keep_only(&self, known: &HashSet<String>) -> Result<()> {
        for folder in entries(&self.folder)? {
            if !folder.is_dir() {
                continue;
            }
            for file in entries(&folder)? {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let sha256 = name.split('.').next().unwrap_or_default();
                if file.is_file() && !known.contains(sha256) {
                    fs::remove_file(&file).map_err(EngineError::io("remove", &file))?;
                }
            }
        }
        Ok(())
    }

    /// Sets some room aside, if there is any.
    fn reserve(&self) {
        let path = self.folder.join(RESERVE);
        if !path.is_file() && fs::write(&path, vec![0xA5; RESERVED]).is_err() {
            let _ = fs::remove_file(&path);
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder);
    let paths = read.and_then(|items| {
        items
            .map(|item| Ok(item?.path()))
            .collect::<io::Result<_>>()
    });
    paths.map_err(EngineError::io("read", folder))
}

fn ending(mime: &str) -> &'static str {
    match mime {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/webp" => "webp",
        "image/gif" => "gif",
        "video/mp4" => "mp4",
        "audio/flac" => "flac",
        "audio/wav" => "wav",
        "audio/ogg" => "opus",
        "audio/mpeg" => "mp3",
        "text/plain" => "txt",
        "application/json" => "json",
        _ => "bin",
    }
}
