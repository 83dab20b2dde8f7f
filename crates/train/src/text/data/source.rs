//! Which texts there are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;
use walkdir::WalkDir;

use super::document::Document;
use crate::table::{Groups, Holds, Table, object};
use crate::{Error, Result, random};

/// Longest piece of a text file that is one document; longer files are cut at the ends of lines.
const PIECE: u64 = 1 << 18;
/// Longest line of a JSONL file.
const LINE: usize = 16 << 20;
/// Bad files and lines that are kept by name.
const NAMED: usize = 20;
/// Folders that hold no texts of their own.
const SKIPPED: &[&str] = &["__pycache__", "node_modules", "target"];

/// Bytes of unpacked row groups of tables that are kept.
const KEPT: usize = 512 << 20;
/// Columns of a table that documents are made of.
const COLUMNS: [(&str, Holds); 2] = [("text", Holds::Text), ("messages", Holds::List)];

/// What a document is cut out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Bytes of a text file.
    Text,
    /// A line of JSON.
    Line,
    /// A row of a table: `start` is its number in its row group, `len` the number of the group.
    Row,
}

/// Where a document lies.
#[derive(Clone, Copy, Debug)]
struct Location {
    file: u32,
    form: Form,
    start: u64,
    len: u32,
}

/// What could not be used.
#[derive(Clone, Debug, Default)]
pub struct Bad {
    count: usize,
    names: Vec<String>,
    told: usize,
}

impl Bad {
    /// Counts one and keeps its name, if there are not too many.
    pub fn add(&mut self, what: String) {
        self.count += 1;
        if self.names.len() < NAMED {
            self.names.push(what);
        }
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first of them, each with its reason.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Those that came since the last call.
    pub fn news(&mut self) -> Vec<String> {
        let from = std::mem::replace(&mut self.told, self.names.len());
        self.names[from..].to_vec()
    }
}

/// How many documents are of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Text and source files.
    pub files: usize,
    /// Files of JSON lines, and tables.
    pub lists: usize,
    /// Lines or rows of those.
    pub lines: usize,
    /// Bytes of all documents.
    pub bytes: u64,
}

/// Which documents are kept for evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HoldOut {
    /// Share of all documents, 0 to 1. Pieces of one file stay together.
    pub share: f64,
    /// Draws them.
    pub seed: u64,
}

/// An index of documents; their text is read when it is wanted.
pub struct TextSource {
    root: PathBuf,
    files: Vec<PathBuf>,
    documents: Vec<Location>,
    /// Those of the files that are tables.
    tables: HashMap<u32, Table>,
    unpacked: Groups<Result<Document, String>>,
    kinds: Kinds,
    bad: Bad,
}

impl TextSource {
    /// What is in a folder, and the folders in it, or in one file: `.jsonl` files have a document a line (`{"text": …}` or
    /// `{"messages": […]}`), `.parquet` tables one a row, in a column `text` or `messages`; every other file that is UTF-8
    /// text is a document. Hidden files are left out.
    pub fn open(path: &Path) -> Result<Self> {
        let mut source = Self {
            root: path.to_owned(),
            files: Vec::new(),
            documents: Vec::new(),
            tables: HashMap::new(),
            unpacked: Groups::new(KEPT),
            kinds: Kinds::default(),
            bad: Bad::default(),
        };
        let about = std::fs::metadata(path).map_err(|e| Error::io(path, "read", e))?;
        if about.is_file() {
            source.add(path.to_owned());
        } else {
            let walk = WalkDir::new(path).sort_by_file_name().into_iter();
            for entry in walk.filter_entry(|e| e.depth() == 0 || is_wanted(e.file_name())) {
                match entry {
                    Ok(entry) if entry.file_type().is_file() => source.add(entry.into_path()),
                    Ok(_) => {}
                    Err(e) => source.bad.add(e.to_string()),
                }
            }
        }
        if source.documents.is_empty() {
            let found = match source.bad.names.first() {
                Some(first) => format!("no text that can be used; {first}"),
                None => "no text files, nor .jsonl or .parquet files with \"text\" or \"messages\""
                    .into(),
            };
            return Err(Error::Text {
                path: path.to_owned(),
                reason: format!("there is {found}"),
            });
        }
        Ok(source)
    }

    fn add(&mut self, path: PathBuf) {
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let before = self.documents.len();
        let form = match path.extension() {
            Some(e) if e.eq_ignore_ascii_case("jsonl") || e.eq_ignore_ascii_case("ndjson") => {
                Form::Line
            }
            Some(e) if e.eq_ignore_ascii_case("parquet") => Form::Row,
            _ => Form::Text,
        };
        let found = match form {
            Form::Line => lines_of(&path),
            Form::Row => self.rows_of(&path, number),
            Form::Text => pieces_of(&path),
        };
        let name = self.name_of(&path);
        match found {
            Ok((parts, complaints)) => {
                for (line, why) in complaints {
                    self.bad.add(format!("{name}, line {line}: {why}"));
                }
                let location = |(start, len)| Location {
                    file: number,
                    form,
                    start,
                    len,
                };
                self.documents.extend(parts.into_iter().map(location));
            }
            Err(why) => return self.bad.add(format!("{name}: {why}")),
        }
        let added = &self.documents[before..];
        if form != Form::Row {
            self.kinds.bytes += added.iter().map(|d| u64::from(d.len)).sum::<u64>();
        }
        match form {
            Form::Line | Form::Row => {
                self.kinds.lists += 1;
                self.kinds.lines += added.len();
            }
            Form::Text => self.kinds.files += 1,
        }
        self.files.push(path);
    }

    /// Rows of a table, whose texts are read later.
    fn rows_of(&mut self, path: &Path, number: u32) -> Result<Parts, String> {
        let table = Table::open(path)?;
        if !COLUMNS.iter().any(|(name, what)| table.has(name, *what)) {
            let names: Vec<&str> = table.columns.iter().map(|(n, _)| n.as_str()).collect();
            return Err(format!(
                "a table has its texts in a column \"text\" or \"messages\"; there are {}",
                names.join(", ")
            ));
        }
        self.kinds.bytes += table.bytes_of(&COLUMNS.map(|(name, _)| name))?;
        let groups = (0u32..).zip(&table.groups);
        let parts = groups.flat_map(|(group, &rows)| (0..rows as u64).map(move |row| (row, group)));
        let parts = parts.collect();
        self.tables.insert(number, table);
        Ok((parts, Vec::new()))
    }

    /// The document of a row.
    fn row(&self, at: Location) -> Result<Document, String> {
        let missing = || "the row is not there".to_owned();
        let table = self.tables.get(&at.file).ok_or_else(missing)?;
        let rows = self.unpacked.get((at.file, at.len), || {
            let (mut documents, mut bytes) = (Vec::new(), 0);
            table.rows(at.len as usize, &COLUMNS.map(|(name, _)| name), |row| {
                let mut fields = object(&row);
                fields.retain(|_, value| !value.is_null());
                bytes += fields.values().map(length).sum::<usize>();
                documents.push(Document::from_fields(fields));
            })?;
            Ok((documents, bytes))
        })?;
        rows.get(at.start as usize).cloned().ok_or_else(missing)?
    }

    /// What a file is called in its folder, wherever that lies: what is held out goes by it.
    fn name_of(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(inside) if !inside.as_os_str().is_empty() => inside.display().to_string(),
            _ => Path::new(path.file_name().unwrap_or(path.as_os_str()))
                .display()
                .to_string(),
        }
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// What there is of which kind.
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// What could not be used.
    pub fn bad(&mut self) -> &mut Bad {
        &mut self.bad
    }

    /// Reads a document; `None`, and a complaint, where it cannot be used.
    pub fn read(&mut self, number: usize) -> Option<Document> {
        let at = self.documents[number];
        let read = match at.form {
            Form::Row => self.row(at),
            _ => read_part(&self.files[at.file as usize], at),
        };
        match read {
            Ok(document) => Some(document),
            Err(why) => {
                let name = self.name_of(&self.files[at.file as usize]);
                let place = match at.form {
                    Form::Line => format!(", byte {}", at.start),
                    Form::Row => format!(", row {} of group {}", at.start, at.len),
                    Form::Text => String::new(),
                };
                self.bad.add(format!("{name}{place}: {why}"));
                None
            }
        }
    }

    /// Numbers of the documents to train on, and of those kept for evaluation: at least one of each where there are two
    /// files or lines. A document's side depends on its name and the seed alone.
    pub fn split(&self, hold: &HoldOut) -> (Vec<usize>, Vec<usize>) {
        let key = |number: usize| {
            let at = &self.documents[number];
            let name = self.name_of(&self.files[at.file as usize]);
            let line = match at.form {
                Form::Text => 0,
                Form::Line => at.start + 1,
                Form::Row => (u64::from(at.len) << 32 | at.start) + 1,
            };
            let name = random::of_text(&name);
            random::bits(hold.seed, random::Purpose::HoldOut, name, line)
        };
        let limit = (hold.share.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        let all = 0..self.documents.len();
        let (mut held, mut train): (Vec<usize>, Vec<usize>) = all.partition(|&n| key(n) < limit);
        let alone = |list: &[usize]| list.first().map(|&n| key(n));
        if hold.share > 0.0 && held.is_empty() {
            // The document with the lowest draw, with the other pieces of its file.
            let lowest = train.iter().map(|&n| key(n)).min();
            let whole = train.iter().all(|&n| Some(key(n)) == alone(&train));
            if !whole {
                (held, train) = train.into_iter().partition(|&n| Some(key(n)) == lowest);
            }
        }
        (train, held)
    }
}

fn is_wanted(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    !name.starts_with('.') && !SKIPPED.contains(&name.as_ref())
}

type Parts = (Vec<(u64, u32)>, Vec<(usize, &'static str)>);

/// Lines of a JSONL file that are not empty, and what is wrong with those that cannot be kept.
fn lines_of(path: &Path) -> Result<Parts, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut parts, mut bad, mut start) = (Vec::new(), Vec::new(), 0u64);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let limit = LINE as u64 + 1;
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut line);
        let mut read = read.map_err(|e| e.to_string())? as u64;
        if read == 0 {
            break;
        }
        if read == limit && line.last() != Some(&b'\n') {
            bad.push((number, "it is longer than 16 MiB"));
            read += skip_line(&mut reader).map_err(|e| e.to_string())?;
        } else if !line.trim_ascii().is_empty() {
            parts.push((start, read as u32));
        }
        start += read;
    }
    Ok((parts, bad))
}

fn skip_line(reader: &mut impl BufRead) -> std::io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|&b| b == b'\n');
        let taken = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(taken);
        skipped += taken as u64;
        if end.is_some() || taken == 0 {
            return Ok(skipped);
        }
    }
}

/// Pieces of a text file, cut at ends of lines.
fn pieces_of(path: &Path) -> Result<Parts, String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let size = file.metadata().map_err(|e| e.to_string())?.len();
    let mut head = Vec::new();
    file.by_ref()
        .take(8192)
        .read_to_end(&mut head)
        .map_err(|e| e.to_string())?;
    if head.contains(&0) {
        return Err("it is no text".into());
    }
    if let Err(e) = std::str::from_utf8(&head)
        && (e.error_len().is_some() || head.len() < 8192)
    {
        return Err(format!("it is no UTF-8 text (byte {})", e.valid_up_to()));
    }
    if size == 0 {
        return Err("it is empty".into());
    }
    let (mut parts, mut start) = (Vec::new(), 0);
    while size - start > PIECE {
        let near = start + PIECE;
        file.seek(SeekFrom::Start(near))
            .map_err(|e| e.to_string())?;
        let mut reader = BufReader::new(&mut file).take(PIECE);
        let mut rest = Vec::new();
        let read = reader
            .read_until(b'\n', &mut rest)
            .map_err(|e| e.to_string())?;
        // Where there is no line's end near, a character's must do.
        let end = match rest.last() {
            Some(b'\n') => near + read as u64,
            _ => near + rest.iter().take_while(|&&b| b & 0xc0 == 0x80).count() as u64,
        };
        let end = end.min(size);
        parts.push((start, (end - start) as u32));
        start = end;
    }
    if start < size {
        parts.push((start, (size - start) as u32));
    }
    Ok((parts, Vec::new()))
}

fn read_part(path: &Path, at: Location) -> Result<Document, String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    file.seek(SeekFrom::Start(at.start))
        .map_err(|e| e.to_string())?;
    let mut bytes = vec![0; at.len as usize];
    file.read_exact(&mut bytes).map_err(|e| e.to_string())?;
    let text = String::from_utf8(bytes).map_err(|e| {
        format!(
            "it is no UTF-8 text (byte {})",
            e.utf8_error().valid_up_to()
        )
    })?;
    match at.form {
        Form::Line => Document::from_json(&text),
        _ => Ok(Document::Text(text)),
    }
}

/// Bytes of all texts in a value.
fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(length).sum(),
        Value::Object(fields) => fields.values().map(length).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        put("b.txt", b"two");
        put("a/code.py", "print('größe')\n".as_bytes());
        put("empty.txt", b"");
        put("binary.bin", b"ab\0cd");
        put("latin.txt", b"gr\xf6\xdfe");
        put(".hidden/x.txt", b"no");
        put("__pycache__/x.txt", b"no");
        put("list.jsonl", b"{\"text\": \"line one\"}\n\n{\"text\": 5}\nnonsense\n{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"ho\"}]}");
        folder
    }

    #[test]
    fn texts_are_found_and_bad_ones_named() {
        let folder = folder();
        let mut source = TextSource::open(folder.path()).unwrap();
        assert_eq!(source.len(), 6);
        let texts: Vec<Option<Document>> = (0..6).map(|n| source.read(n)).collect();
        assert_eq!(texts[0], Some(Document::Text("print('größe')\n".into())));
        assert_eq!(texts[1], Some(Document::Text("two".into())));
        assert_eq!(texts[2], Some(Document::Text("line one".into())));
        assert_eq!((&texts[3], &texts[4]), (&None, &None));
        assert!(matches!(&texts[5], Some(Document::Chat(m)) if m.len() == 2));
        let bad = source.bad();
        assert_eq!(bad.count(), 5, "{:?}", bad.names());
        for name in ["binary.bin", "empty.txt", "latin.txt", "list.jsonl, byte"] {
            assert!(bad.names().iter().any(|n| n.contains(name)), "{name}");
        }
        assert_eq!(bad.news().len(), 5);
        assert!(bad.news().is_empty());
        let kinds = source.kinds();
        assert_eq!((kinds.files, kinds.lists, kinds.lines), (2, 1, 4));
    }

    #[test]
    fn long_files_are_cut_at_line_ends_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.txt");
        let mut text = String::new();
        for line in 0..60_000 {
            text.push_str(&format!("line {line} with a grüßchen\n"));
        }
        text.push_str(&"ü".repeat(700_000));
        std::fs::write(&path, &text).unwrap();
        let mut source = TextSource::open(&path).unwrap();
        assert!(source.len() > 5);
        let mut joined = String::new();
        for n in 0..source.len() {
            let Some(Document::Text(part)) = source.read(n) else {
                panic!("a part that is no text");
            };
            joined.push_str(&part);
        }
        assert!(joined == text);
        // Pieces of one file are on one side.
        let hold = HoldOut {
            share: 0.5,
            seed: 1,
        };
        let (train, held) = source.split(&hold);
        assert!(train.is_empty() || held.is_empty());
    }

    #[test]
    fn the_split_is_stable_and_has_two_sides() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..400 {
            std::fs::write(folder.path().join(format!("{n}.txt")), "x").unwrap();
        }
        let source = TextSource::open(folder.path()).unwrap();
        let hold = HoldOut {
            share: 0.1,
            seed: 1,
        };
        let (train, held) = source.split(&hold);
        assert!((20..60).contains(&held.len()), "{}", held.len());
        assert_eq!(train.len() + held.len(), 400);
        assert_eq!(source.split(&hold), (train, held));
        let (train, held) = source.split(&HoldOut {
            share: 1e-9,
            seed: 1,
        });
        assert_eq!((train.len(), held.len()), (399, 1));
        let (train, held) = source.split(&HoldOut {
            share: 0.0,
            seed: 1,
        });
        assert_eq!((train.len(), held.len()), (400, 0));
    }

    #[test]
    fn nothing_to_learn_from_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = TextSource::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("no text files"), "{error}");
        let error = TextSource::open(&folder.path().join("missing"))
            .err()
            .unwrap();
        assert!(error.to_string().contains("missing"));
    }
}
