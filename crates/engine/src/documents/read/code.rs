//! Source code: pieces between empty lines, each with its line.

use super::{Content, Kind};

/// Lines of a piece at most.
const LINES: usize = 40;

/// Bytes of a line, on the average, of what people write; more has what programs write for programs.
const WRITTEN: usize = 200;

/// Reads a program.
///
/// # Errors
/// Where a program wrote it: minified scripts, indexes, data.
pub(super) fn read(text: &str) -> Result<Content, String> {
    let mut content = Content::default();
    if text.len() > WRITTEN * text.lines().count().max(4) {
        return Err("its lines are a program's, not a person's".to_owned());
    }
    let mut piece: Vec<&str> = Vec::new();
    let mut first = 1;
    let mut end = |piece: &mut Vec<&str>, first: usize| {
        let line = u32::try_from(first).unwrap_or(u32::MAX);
        content.push(Kind::Code, &piece.join("\n"), Some(line));
        piece.clear();
    };
    for (index, line) in text.lines().enumerate() {
        let apart = line.trim().is_empty() || piece.len() >= LINES;
        if apart && !piece.is_empty() {
            end(&mut piece, first);
        }
        if !line.trim().is_empty() {
            if piece.is_empty() {
                first = index + 1;
            }
            piece.push(line);
        }
    }
    end(&mut piece, first);
    Ok(content)
}
