//! Folders: lists and archives within them, sidecars, and names that are captions.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{
    Dataset, Item, Kind, Place, captions_of, extension, is_compressed_archive, is_film,
    is_other_picture, is_picture, read_text, stem,
};
use crate::data::DataError;

/// Deepest folder within folders that is looked into.
const MAX_DEPTH: usize = 32;
/// Endings of caption files.
const SIDECARS: [&str; 2] = ["txt", "caption"];
/// Words in names that say where a picture is from, not what it shows.
const NO_WORDS: [&str; 20] = [
    "copy",
    "data",
    "dsc",
    "dscf",
    "dscn",
    "file",
    "frame",
    "gif",
    "image",
    "images",
    "img",
    "jpeg",
    "jpg",
    "photo",
    "pic",
    "picture",
    "png",
    "pxl",
    "screenshot",
    "untitled",
];

/// What a walk through a folder found.
#[derive(Default)]
struct Found {
    pictures: Vec<PathBuf>,
    archives: Vec<PathBuf>,
    tables: Vec<PathBuf>,
    rows: Vec<PathBuf>,
    compressed: Option<PathBuf>,
}

impl Dataset {
    pub(super) fn open_folder(&mut self) -> Result<(), DataError> {
        let root = self.root.clone();
        let lines = root.join("metadata.jsonl");
        if lines.is_file() {
            return self.read_lines(&lines);
        }
        let found = self.walk(&root)?;
        let table = [
            "metadata.csv",
            "metadata.tsv",
            "captions.csv",
            "captions.tsv",
        ]
        .into_iter()
        .map(|name| root.join(name))
        .find(|path| path.is_file())
        .or_else(|| match found.tables.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        });
        if let Some(table) = table {
            return self.read_table(&table);
        }
        if found.pictures.is_empty() && !found.archives.is_empty() {
            return self.read_archives(found.archives);
        }
        if found.pictures.is_empty() && !found.rows.is_empty() {
            return self.read_tables(found.rows);
        }
        if found.pictures.is_empty()
            && let Some(path) = found.compressed
        {
            return Err(DataError::Compressed { path });
        }
        let pictures = match self.films {
            true => with_folders(&root, found.pictures),
            false => found.pictures,
        };
        self.caption(pictures)
    }

    /// Everything in the folder and those within it, in the order of names. Links are followed; what begins
    /// with a dot is not looked at.
    fn walk(&mut self, root: &Path) -> Result<Found, DataError> {
        let mut found = Found::default();
        let walk = WalkDir::new(root)
            .follow_links(true)
            .max_depth(MAX_DEPTH)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|entry| {
                let name = entry.file_name().to_string_lossy();
                entry.depth() == 0 || !(name.starts_with('.') || name == "__MACOSX")
            });
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.depth() == 0 => {
                    return Err(DataError::io(root, "list")(error.into()));
                }
                Err(error) => {
                    let name = error.path().map(|path| relative(root, path));
                    self.bad.push(name.unwrap_or_default(), error.to_string());
                    continue;
                }
            };
            if !entry.file_type().is_file() {
                continue;
            }
            let path = entry.into_path();
            if is_picture(&path) || self.films && is_film(&path) {
                found.pictures.push(path);
            } else if is_other_picture(&path) {
                let reason = format!(
                    ".{} pictures are not read; make it PNG or JPEG",
                    extension(&path)
                );
                self.bad.push(relative(root, &path), reason);
            } else if extension(&path) == "tar" {
                found.archives.push(path);
            } else if extension(&path) == "parquet" {
                found.rows.push(path);
            } else if path.parent() == Some(root)
                && matches!(extension(&path).as_str(), "csv" | "tsv")
            {
                found.tables.push(path);
            } else if is_compressed_archive(&path) {
                found.compressed.get_or_insert(path);
            }
        }
        Ok(found)
    }

    /// Captions from sidecars, or from names where there is none at all.
    fn caption(&mut self, pictures: Vec<PathBuf>) -> Result<(), DataError> {
        let root = self.root.clone();
        let sidecars: Vec<Option<PathBuf>> = pictures.iter().map(|path| sidecar(path)).collect();
        if sidecars.iter().any(Option::is_some) {
            self.kind = Kind::Sidecars;
            for (path, sidecar) in pictures.iter().zip(sidecars) {
                let name = relative(&root, path);
                match sidecar.as_deref().map(read_sidecar) {
                    None if !self.needs_captions => self.push_silent(&name),
                    None => self.bad.push(name, "no .txt or .caption lies beside it"),
                    Some(Err(reason)) => self.bad.push(name, reason),
                    Some(Ok(captions)) => self.push(Item::new(&name, Place::File, captions, None)),
                }
            }
            return Ok(());
        }
        self.kind = Kind::FileNames;
        let mut without = Vec::new();
        for path in &pictures {
            let name = relative(&root, path);
            match caption_of_name(&name) {
                Some(caption) => self.push(Item::new(&name, Place::File, vec![caption], None)),
                None => without.push(name),
            }
        }
        if !self.needs_captions {
            without.iter().for_each(|name| self.push_silent(name));
            return Ok(());
        }
        if without.len() * 2 > pictures.len() {
            return Err(DataError::NoCaptions {
                path: self.path.clone(),
                pictures: pictures.len(),
            });
        }
        for name in without {
            self.bad
                .push(name, "its name says nothing about what it shows");
        }
        Ok(())
    }

    /// A picture about which nothing is said.
    fn push_silent(&mut self, name: &str) {
        self.push(Item::new(name, Place::File, vec![String::new()], None));
    }
}

/// The files with each folder of frames in the place of its pictures: one below `root` that holds several pictures whose names
/// say nothing but a number.
fn with_folders(root: &Path, files: Vec<PathBuf>) -> Vec<PathBuf> {
    let wordless = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        words(stem(&name)).is_none()
    };
    let mut folders: BTreeMap<PathBuf, (usize, bool)> = BTreeMap::new();
    for file in &files {
        let of = folders.entry(file.parent().unwrap_or(root).to_owned());
        let (count, frames) = of.or_insert((0, true));
        *count += 1;
        *frames &= wordless(file) && sidecar(file).is_none();
    }
    folders.retain(|folder, (count, frames)| folder != root && *count > 1 && *frames);
    let in_none = |file: &PathBuf| file.parent().is_none_or(|f| !folders.contains_key(f));
    let mut all: Vec<PathBuf> = files.into_iter().filter(in_none).collect();
    all.extend(folders.into_keys());
    all.sort();
    all
}

fn sidecar(picture: &Path) -> Option<PathBuf> {
    SIDECARS
        .iter()
        .map(|ending| picture.with_extension(ending))
        .find(|path| path.is_file())
}

fn read_sidecar(path: &Path) -> Result<Vec<String>, String> {
    let file = File::open(path).map_err(|e| format!("its caption cannot be read: {e}"))?;
    let captions = captions_of(&read_text(file)?);
    if captions.is_empty() {
        return Err("its caption file is empty".to_owned());
    }
    Ok(captions)
}

/// The name within the dataset, with `/` between folders.
pub(super) fn relative(root: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = inner.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// The words of a file's name, or else of the folder it lies in: "fruit/red_apple-02.png" → "red apple",
/// "red apple/0002.png" → "red apple".
fn caption_of_name(name: &str) -> Option<String> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let folder = folder.rsplit('/').next().unwrap_or("");
    words(stem(file)).or_else(|| words(folder))
}

fn words(name: &str) -> Option<String> {
    let pieces: Vec<&str> = name
        .split(|c: char| c.is_whitespace() || "_-.,()[]+".contains(c))
        .filter(|piece| !piece.is_empty())
        .collect();
    let is_word = |piece: &&&str| {
        let letters = piece.chars().filter(|c| c.is_alphabetic()).count();
        let wide = piece.chars().any(|c| u32::from(c) > 0x2E80);
        // Half of it letters, which hashes and times are not.
        (letters >= 2 || wide)
            && letters * 2 > piece.chars().count()
            && !NO_WORDS.contains(
                &piece
                    .to_lowercase()
                    .trim_end_matches(|c: char| c.is_ascii_digit()),
            )
    };
    pieces.iter().find(is_word)?;
    // Numbers at the end count the pictures of one thing.
    let end = pieces
        .iter()
        .rposition(|piece| !piece.chars().all(|c| c.is_ascii_digit()))?;
    Some(pieces[..=end].join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_captions_where_they_have_words() {
        let cases = [
            ("red_apple.png", Some("red apple")),
            ("fruit/red-apple-02.jpg", Some("red apple")),
            ("red apple/0002.png", Some("red apple")),
            ("a/b/Two dogs (3).webp", Some("Two dogs")),
            ("7 dwarfs.png", Some("7 dwarfs")),
            ("苹果.png", Some("苹果")),
            ("IMG_0001.jpg", None),
            ("images/IMG_0001.jpg", None),
            ("DSC01234.jpg", None),
            ("0001.png", None),
            ("3f2a9c81.png", None),
            ("Screenshot 2024-01-01.png", None),
        ];
        for (name, caption) in cases {
            assert_eq!(caption_of_name(name).as_deref(), caption, "{name}");
        }
    }
}
