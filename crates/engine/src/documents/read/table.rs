//! Values between commas, semicolons or tabs: each row a line, its values behind the names of their columns.

use super::{Block, Content, Kind};

/// Most rows of a table.
const ROWS: usize = 1_000_000;

/// Reads a table whose first row names the columns.
pub(super) fn read(bytes: &[u8]) -> Result<Content, String> {
    let text = super::text_of(bytes)?;
    let first = text.lines().next().unwrap_or_default();
    let count = |sign: char| first.matches(sign).count();
    let mut delimiter = ',';
    for sign in [';', '\t'] {
        if count(sign) > count(delimiter) {
            delimiter = sign;
        }
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(u8::try_from(delimiter).unwrap_or(b','))
        .flexible(true)
        .from_reader(text.as_bytes());
    let names = reader.headers().map_err(|e| e.to_string())?.clone();
    let mut content = Content::default();
    for record in reader.records().take(ROWS) {
        let record = record.map_err(|error| error.to_string())?;
        let mut row = String::new();
        for (index, value) in record.iter().enumerate() {
            let value = super::squeezed(value);
            if value.is_empty() {
                continue;
            }
            if !row.is_empty() {
                row.push_str("; ");
            }
            match names.get(index).map(str::trim).filter(|n| !n.is_empty()) {
                Some(name) => row.push_str(&format!("{name}: {value}")),
                None => row.push_str(&value),
            }
        }
        if !row.is_empty() {
            let line = record.position().map(csv::Position::line);
            content.blocks.push(Block {
                kind: Kind::Table,
                text: row,
                page: None,
                line: line.and_then(|line| u32::try_from(line).ok()),
            });
        }
    }
    Ok(content)
}
