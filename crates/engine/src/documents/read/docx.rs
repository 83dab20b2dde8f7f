//! Word's documents: paragraphs with their styles, and tables.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{Block, Content, Kind, LIMIT};

/// Reads a document; to be called in a process of its own.
pub(super) fn read(bytes: &[u8]) -> Result<Content, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))
        .map_err(|_| "it is no Word document: those are ZIP archives".to_owned())?;
    let styles = match part(&mut archive, "word/styles.xml") {
        Ok(text) => styles(&text)?,
        Err(_) => HashMap::new(),
    };
    let text = part(&mut archive, "word/document.xml")?;
    let mut body = Body::new(&styles);
    let mut reader = Reader::from_str(&text);
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(tag) => body.open(&tag, false),
            Event::Empty(tag) => body.open(&tag, true),
            Event::End(tag) => body.close(tag.local_name().as_ref()),
            Event::Text(text) if body.in_text => {
                body.text.push_str(&text);
            }
            Event::GeneralRef(name) if body.in_text => body.text.push_str(&entity(&name)),
            Event::Eof => break,
            _ => {}
        }
    }
    Ok(body.content)
}

/// A part of the archive, within the limit.
fn part(archive: &mut zip::ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<String, String> {
    let file = archive
        .by_name(name)
        .map_err(|_| format!("it is no Word document: it has no {name}"))?;
    let mut text = String::new();
    let read = file.take(LIMIT + 1).read_to_string(&mut text);
    read.map_err(|error| format!("{name}: {error}"))?;
    if text.len() as u64 > LIMIT {
        return Err(format!("{name} has more than {LIMIT} bytes"));
    }
    Ok(text)
}

/// A character that XML has a name or a number for.
fn entity(name: &str) -> String {
    let number = match name.strip_prefix("#x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => name
            .strip_prefix('#')
            .and_then(|digits| digits.parse().ok()),
    };
    let named = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    };
    let found = named.or(number.and_then(char::from_u32));
    found.map(String::from).unwrap_or_default()
}

/// An attribute by its name without a prefix.
fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = tag.attributes().flatten();
    let mut found = found.filter(|a| a.key.local_name().as_ref() == name);
    found.next().map(|a| a.value.into_owned())
}

/// What the styles of a document stand for: a level of headings.
fn styles(text: &str) -> Result<HashMap<String, u8>, String> {
    let mut levels = HashMap::new();
    let mut style = None;
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(tag) | Event::Empty(tag) => match tag.local_name().as_ref() {
                "style" => style = attribute(&tag, "styleId"),
                "outlineLvl" => {
                    let level = attribute(&tag, "val").and_then(|text| text.parse::<u8>().ok());
                    if let (Some(style), Some(level)) = (&style, level.filter(|l| *l < 9)) {
                        levels.insert(style.clone(), level.min(5) + 1);
                    }
                }
                _ => {}
            },
            Event::Eof => return Ok(levels),
            _ => {}
        }
    }
}

struct Body<'s> {
    styles: &'s HashMap<String, u8>,
    content: Content,
    text: String,
    in_text: bool,
    kind: Kind,
    page: u32,
    /// Cells of the open row, and how many tables are open.
    cells: Vec<String>,
    rows: String,
    tables: usize,
}

impl<'s> Body<'s> {
    fn new(styles: &'s HashMap<String, u8>) -> Self {
        Self {
            styles,
            content: Content::default(),
            text: String::new(),
            in_text: false,
            kind: Kind::Text,
            page: 1,
            cells: Vec::new(),
            rows: String::new(),
            tables: 0,
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>, empty: bool) {
        match tag.local_name().as_ref() {
            "p" => self.kind = Kind::Text,
            "pStyle" => {
                let style = attribute(tag, "val").unwrap_or_default();
                if let Some(level) = self.level(&style) {
                    self.kind = Kind::Heading(level);
                } else if style.to_ascii_lowercase().contains("list") {
                    self.kind = Kind::Item;
                }
            }
            "numPr" if self.kind == Kind::Text => self.kind = Kind::Item,
            "t" => self.in_text = !empty,
            "tab" | "cr" if self.tables == 0 || !empty => self.text.push(' '),
            "br" if attribute(tag, "type").as_deref() == Some("page") => self.page += 1,
            "br" => self.text.push('\n'),
            "lastRenderedPageBreak" => self.page += 1,
            "tbl" => {
                self.paragraph();
                self.tables += 1;
            }
            "tc" if self.tables == 1 => self.cells.push(String::new()),
            _ => {}
        }
    }

    /// The level of a heading by its style; the title of a document is its outermost.
    fn level(&self, style: &str) -> Option<u8> {
        let named = |prefix: &str| {
            let rest = style.to_ascii_lowercase();
            let rest = rest.strip_prefix(prefix)?.trim().to_owned();
            rest.parse::<u8>()
                .ok()
                .filter(|level| (1..=6).contains(level))
        };
        let known = self.styles.get(style).copied();
        let title = style.eq_ignore_ascii_case("title").then_some(1);
        known.or_else(|| named("heading")).or(title)
    }

    fn close(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "p" if self.tables == 0 => self.paragraph(),
            "p" => {
                let text = std::mem::take(&mut self.text);
                if let Some(cell) = self.cells.last_mut() {
                    cell.push(' ');
                    cell.push_str(&text);
                }
            }
            "tr" if self.tables == 1 => {
                let cells: Vec<String> =
                    self.cells.drain(..).map(|c| super::squeezed(&c)).collect();
                self.rows.push_str(&cells.join(" | "));
                self.rows.push('\n');
            }
            "tbl" => {
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    let rows = std::mem::take(&mut self.rows);
                    self.add(Kind::Table, &rows);
                }
            }
            _ => {}
        }
    }

    fn paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.add(self.kind, &text);
    }

    fn add(&mut self, kind: Kind, text: &str) {
        let mut read = Content::default();
        read.push(kind, text, None);
        for block in read.blocks {
            if self.content.title.is_none() && kind == Kind::Heading(1) {
                self.content.title = Some(block.text.clone());
            }
            self.content.blocks.push(Block {
                page: Some(self.page),
                ..block
            });
        }
    }
}
