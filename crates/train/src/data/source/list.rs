//! Lists that say what each picture shows: JSON lines and tables.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path};

use serde_json::{Map, Value};

use super::{Dataset, Item, Kind, MAX_TEXT, Place, extension};
use crate::data::DataError;

/// Names of the field with the picture's file, the first that is there counts.
const FILE: [&str; 6] = [
    "file_name",
    "file",
    "filename",
    "image",
    "path",
    "image_path",
];
/// Names of the field with what it shows.
pub(super) const TEXT: [&str; 6] = ["text", "captions", "caption", "texts", "prompt", "title"];
/// Name of the field with the group.
const GROUP: &str = "group";

impl Dataset {
    /// `metadata.jsonl`: an object a line.
    pub(super) fn read_lines(&mut self, path: &Path) -> Result<(), DataError> {
        self.kind = Kind::Lines;
        let file = File::open(path).map_err(DataError::io(path, "read"))?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let most = MAX_TEXT + 1;
            let read = (&mut reader)
                .take(most)
                .read_until(b'\n', &mut line)
                .map_err(DataError::io(path, "read"))?;
            if read == 0 {
                break;
            }
            let name = || format!("line {number}");
            if read as u64 == most && line.last() != Some(&b'\n') {
                self.bad
                    .push(name(), format!("it is longer than {MAX_TEXT} bytes"));
                reader
                    .skip_until(b'\n')
                    .map_err(DataError::io(path, "read"))?;
                continue;
            }
            let text = line.trim_ascii();
            let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
            if text.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Map<String, Value>>(text) {
                Ok(object) => {
                    self.entry(&name(), file_of(&object), captions(&object), group(&object))
                }
                Err(error) => self
                    .bad
                    .push(name(), format!("it is no JSON object: {error}")),
            }
        }
        self.usable(path)
    }

    /// A table whose first line names the columns.
    pub(super) fn read_table(&mut self, path: &Path) -> Result<(), DataError> {
        self.kind = Kind::Table;
        let file = File::open(path).map_err(DataError::io(path, "read"))?;
        let tabs = extension(path) == "tsv";
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(if tabs { b'\t' } else { b',' })
            .flexible(true)
            .from_reader(BufReader::new(file));
        let damaged = |e: csv::Error| DataError::list(path, format!("it is no table: {e}"));
        let headers: Vec<String> = reader
            .byte_headers()
            .map_err(damaged)?
            .iter()
            .map(|field| {
                String::from_utf8_lossy(field)
                    .trim_start_matches('\u{feff}')
                    .trim()
                    .to_lowercase()
            })
            .collect();
        let column = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| headers.iter().position(|h| h == name))
        };
        let missing = |what: &str, names: &[&str]| {
            let reason = format!(
                "no column holds {what}; one of its columns ({}) must be called {}",
                headers.join(", "),
                names.join(", ")
            );
            DataError::list(path, reason)
        };
        let of_file = column(&FILE).ok_or_else(|| missing("the pictures' files", &FILE))?;
        let of_text = column(&TEXT).ok_or_else(|| missing("captions", &TEXT))?;
        let of_group = column(&[GROUP]);
        let mut record = csv::ByteRecord::new();
        loop {
            let line = reader.position().line();
            match reader.read_byte_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(damaged(error)),
            }
            let field = |i: usize| {
                let text = std::str::from_utf8(record.get(i)?).ok()?.trim();
                (!text.is_empty()).then(|| text.to_owned())
            };
            let file = field(of_file);
            let captions = field(of_text).into_iter().collect();
            self.entry(
                &format!("line {line}"),
                file,
                captions,
                of_group.and_then(field),
            );
        }
        self.usable(path)
    }

    fn entry(
        &mut self,
        place: &str,
        file: Option<String>,
        captions: Vec<String>,
        group: Option<String>,
    ) {
        let Some(file) = file else {
            return self
                .bad
                .push(place, format!("it names no picture ({})", FILE[0]));
        };
        let file = file.replace('\\', "/");
        let file = file.trim_start_matches("./");
        let inside = Path::new(file)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside || file.is_empty() {
            return self.bad.push(file, "it does not lie within the dataset");
        }
        if captions.is_empty() {
            return self.bad.push(file, "nothing is said about it");
        }
        let path = self.root.join(file);
        if !(path.is_file() || self.films && path.is_dir()) {
            return self.bad.push(file, "there is no such file");
        }
        self.push(Item::new(file, Place::File, captions, group));
    }

    /// That some line could be used.
    fn usable(&self, path: &Path) -> Result<(), DataError> {
        if !self.items.is_empty() {
            return Ok(());
        }
        let reason = match self.bad.named.first() {
            Some(bad) => format!(
                "none of its {} lines can be used; {}: {}",
                self.bad.count, bad.name, bad.reason
            ),
            None => "it is empty".to_owned(),
        };
        Err(DataError::list(path, reason))
    }
}

fn file_of(object: &Map<String, Value>) -> Option<String> {
    FILE.iter()
        .find_map(|name| object.get(*name)?.as_str())
        .map(str::to_owned)
}

/// What an object says about a picture: a text or a list of them.
pub(super) fn captions(object: &Map<String, Value>) -> Vec<String> {
    let clean = |text: &str| {
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    match TEXT.iter().find_map(|name| object.get(*name)) {
        Some(Value::String(text)) => clean(text).into_iter().collect(),
        Some(Value::Array(texts)) => {
            let texts = texts.iter().filter_map(Value::as_str);
            texts.filter_map(clean).collect()
        }
        _ => Vec::new(),
    }
}

pub(super) fn group(object: &Map<String, Value>) -> Option<String> {
    match object.get(GROUP)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
