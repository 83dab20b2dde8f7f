//! The index of a dataset: which pictures there are, where, and what is said about each.

mod archive;
mod folder;
mod list;
mod rows;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use medley_media::film::{Clip, FilmFormat, read_clip};
use medley_media::{Format, Limits, MediaError, Picture, decode_frames};
use serde::Serialize;

use super::{DataError, Side, Split};
use crate::table::Groups;

/// Longest caption file, and longest line of a list.
const MAX_TEXT: u64 = 1 << 20;
/// How many bad pictures are remembered by name.
const MAX_NAMED: usize = 100;

/// What a dataset was recognised as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Pictures with captions in files beside them.
    Sidecars,
    /// Pictures named by what they show, or in folders named so.
    FileNames,
    /// A `metadata.jsonl`.
    Lines,
    /// A table with commas or tabs.
    Table,
    /// WebDataset archives.
    Archives,
    /// Parquet tables.
    Rows,
}

impl Kind {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Sidecars => "pictures with caption files beside them",
            Self::FileNames => "pictures named by what they show",
            Self::Lines => "a list in metadata.jsonl",
            Self::Table => "a table",
            Self::Archives => "WebDataset archives",
            Self::Rows => "Parquet tables",
        }
    }
}

/// A picture that cannot be used, or a line that names none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// File, member or line.
    pub name: String,
    /// Why, in one line.
    pub reason: String,
}

/// All that could not be used: the first hundred by name, the others by their number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BadList {
    /// How many.
    pub count: usize,
    /// The first ones.
    pub named: Vec<Bad>,
}

impl BadList {
    pub(crate) fn push(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(Bad {
                name: name.into(),
                reason: reason.into(),
            });
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    File,
    Member {
        archive: u32,
        offset: u64,
        bytes: u64,
    },
    Row {
        table: u32,
        group: u32,
        row: u32,
    },
}

/// A picture and what is said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    name: Box<str>,
    place: Place,
    captions: Box<[Box<str>]>,
    group: Option<Box<str>>,
}

impl Item {
    fn new(name: &str, place: Place, captions: Vec<String>, group: Option<String>) -> Self {
        Self {
            name: name.into(),
            place,
            captions: captions.into_iter().map(String::into_boxed_str).collect(),
            group: group.map(String::into_boxed_str),
        }
    }

    /// Its file within the dataset, with `/` between folders.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// At least one caption.
    pub fn captions(&self) -> impl ExactSizeIterator<Item = &str> {
        self.captions.iter().map(AsRef::as_ref)
    }

    /// What stays on one side of a split with it: the group that the dataset names, or its own name without
    /// the ending.
    pub fn group(&self) -> &str {
        match &self.group {
            Some(group) => group,
            None => stem(&self.name),
        }
    }

    fn caption(&self, i: usize) -> &str {
        self.captions.get(i).map_or("", AsRef::as_ref)
    }

    pub(super) fn chosen(&self, bits: u64) -> &str {
        let count = self.captions.len().max(1) as u64;
        self.caption(crate::random::below(count, bits) as usize)
    }
}

/// The index of a dataset.
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    root: PathBuf,
    kind: Kind,
    /// Whether a picture about which nothing is said is of no use.
    needs_captions: bool,
    /// Whether films and folders of frames count as well as pictures.
    films: bool,
    archives: Vec<PathBuf>,
    tables: Vec<rows::PictureTable>,
    /// Row groups that were read last.
    unpacked: Groups<Option<Vec<u8>>>,
    items: Vec<Item>,
    bad: BadList,
}

impl Dataset {
    /// Indexes a folder, list or archive; see the module's beginning for what is understood.
    ///
    /// # Errors
    /// One line, with a hint, where nothing is there, nothing is said about the pictures, or the list or archive
    /// cannot be read. Single entries that cannot be used are in [`Dataset::bad`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Self::open_as(path, true, false)
    }

    /// The same for those who look at pictures alone: one of a folder that has no caption has the empty one.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open_pictures(path: &Path) -> Result<Self, DataError> {
        Self::open_as(path, false, false)
    }

    /// The same for clips: animated pictures, MP4 files, and folders whose pictures are frames, numbered in their names. A
    /// folder's caption is its name, or in a `FOLDER.txt` beside it.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open_films(path: &Path, needs_captions: bool) -> Result<Self, DataError> {
        Self::open_as(path, needs_captions, true)
    }

    fn open_as(path: &Path, needs_captions: bool, films: bool) -> Result<Self, DataError> {
        let meta = std::fs::metadata(path).map_err(DataError::io(path, "read"))?;
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut dataset = Self {
            path: path.to_owned(),
            root: if meta.is_dir() {
                path.to_owned()
            } else {
                parent
            },
            kind: Kind::FileNames,
            needs_captions,
            films,
            archives: Vec::new(),
            tables: Vec::new(),
            unpacked: Groups::new(rows::KEPT),
            items: Vec::new(),
            bad: BadList::default(),
        };
        if meta.is_dir() {
            dataset.open_folder()?;
        } else {
            match extension(path).as_str() {
                "jsonl" | "ndjson" => dataset.read_lines(path)?,
                "csv" | "tsv" => dataset.read_table(path)?,
                "tar" => dataset.read_archives(vec![path.to_owned()])?,
                "parquet" => dataset.read_tables(vec![path.to_owned()])?,
                _ if is_compressed_archive(path) => {
                    return Err(DataError::Compressed {
                        path: path.to_owned(),
                    });
                }
                _ => {
                    return Err(DataError::UnknownKind {
                        path: path.to_owned(),
                    });
                }
            }
        }
        if dataset.items.is_empty() {
            return Err(match dataset.bad.named.first() {
                Some(bad) => DataError::AllBad {
                    path: path.to_owned(),
                    pictures: dataset.bad.count,
                    first: format!("{}: {}", bad.name, bad.reason),
                },
                None => DataError::NoPictures {
                    path: path.to_owned(),
                },
            });
        }
        Ok(dataset)
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it was recognised as.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The pictures, in the order of their names or lines.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Entries that cannot be used, as far as the index shows it.
    pub fn bad(&self) -> &BadList {
        &self.bad
    }

    /// Indices of one side's pictures.
    ///
    /// # Errors
    /// [`DataError::EmptySplit`] if there are none.
    pub fn side(&self, split: Split, side: Side) -> Result<Vec<u32>, DataError> {
        let numbered = self.items.iter().zip(0u32..);
        let chosen: Vec<u32> = numbered
            .filter(|(item, _)| split.side(item.group()) == side)
            .map(|(_, number)| number)
            .collect();
        if chosen.is_empty() {
            return Err(DataError::EmptySplit {
                path: self.path.clone(),
                side: match side {
                    Side::Train => "left to train on",
                    Side::HeldOut => "held out",
                },
                share: split.held_out(),
            });
        }
        Ok(chosen)
    }

    /// The bytes of a picture's file.
    ///
    /// # Errors
    /// [`MediaError::Io`], or [`MediaError::TooLarge`] beyond the limits.
    pub fn bytes(&self, item: &Item, limits: &Limits) -> Result<Vec<u8>, MediaError> {
        let (path, offset, expected) = match item.place {
            Place::File => (self.root.join(&*item.name), 0, None),
            Place::Member {
                archive,
                offset,
                bytes,
            } => {
                let path = self.archives.get(archive as usize).cloned();
                (path.unwrap_or_default(), offset, Some(bytes))
            }
            Place::Row { table, group, row } => return self.row([table, group, row], item, limits),
        };
        let io = |source| MediaError::Io {
            path: path.clone(),
            action: "read",
            source,
        };
        let most = limits.file_bytes;
        let too_large = || MediaError::TooLarge {
            got: format!("more than {most} bytes"),
            allowed: format!("{most} bytes"),
        };
        if expected.is_some_and(|bytes| bytes > most) {
            return Err(too_large());
        }
        let mut file = File::open(&path).map_err(io)?;
        file.seek(SeekFrom::Start(offset)).map_err(io)?;
        let mut bytes = Vec::new();
        file.take(expected.unwrap_or(most.saturating_add(1)))
            .read_to_end(&mut bytes)
            .map_err(io)?;
        if bytes.len() as u64 > most {
            return Err(too_large());
        }
        Ok(bytes)
    }

    /// The picture of a row of a table.
    fn row(
        &self,
        [table, group, row]: [u32; 3],
        item: &Item,
        limits: &Limits,
    ) -> Result<Vec<u8>, MediaError> {
        let failed = |reason: String| MediaError::Io {
            path: PathBuf::from(item.name()),
            action: "read",
            source: std::io::Error::other(reason),
        };
        let read = || match self.tables.get(table as usize) {
            Some(table) => table.pictures(group as usize),
            None => Err("there is no such table".to_owned()),
        };
        let pictures = self.unpacked.get((table, group), read).map_err(failed)?;
        let picture = pictures.get(row as usize).and_then(Option::as_ref);
        let picture = picture.ok_or_else(|| failed("the row has no picture in it".to_owned()))?;
        if picture.len() as u64 > limits.file_bytes {
            return Err(MediaError::TooLarge {
                got: format!("{} bytes", picture.len()),
                allowed: format!("{} bytes", limits.file_bytes),
            });
        }
        Ok(picture.clone())
    }

    /// A picture, decoded within the limits.
    ///
    /// # Errors
    /// As [`medley_media::decode`], and what [`Dataset::bytes`] says.
    pub fn picture(&self, item: &Item, limits: &Limits) -> Result<Picture, MediaError> {
        medley_media::decode(&self.bytes(item, limits)?, limits)
    }

    /// A clip, decoded within the limits.
    ///
    /// # Errors
    /// As [`read_clip`] and [`decode_frames`], and what [`Dataset::bytes`] says.
    pub fn clip(&self, item: &Item, limits: &Limits) -> Result<Clip, MediaError> {
        if item.place == Place::File {
            return read_clip(&self.root.join(&*item.name), *limits, None);
        }
        let frames = decode_frames(&self.bytes(item, limits)?, limits)?;
        Clip::of_animation(frames, limits.frames)
    }

    fn push(&mut self, item: Item) {
        self.items.push(item);
    }
}

/// The captions of a text: its lines that are not empty.
fn captions_of(text: &str) -> Vec<String> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A small text file, or why it is none.
fn read_text(source: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    source
        .take(MAX_TEXT + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_TEXT {
        return Err(format!("its caption is longer than {MAX_TEXT} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "its caption is no UTF-8 text".to_owned())
}

fn extension(path: &Path) -> String {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    extension.to_ascii_lowercase()
}

fn is_compressed_archive(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let name = name.to_ascii_lowercase();
    [".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

fn is_picture(path: &Path) -> bool {
    Format::from_path(path).is_ok()
}

fn is_film(path: &Path) -> bool {
    path.extension().is_some() && FilmFormat::from_path(path).is_ok()
}

/// A picture of a format that is not read, by its ending.
fn is_other_picture(path: &Path) -> bool {
    const OTHERS: [&str; 9] = [
        "avif", "bmp", "heic", "heif", "jxl", "svg", "tga", "tif", "tiff",
    ];
    OTHERS.contains(&extension(path).as_str())
}

/// A name without its ending.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && !ending.contains('/') => stem,
        _ => name,
    }
}
