//! Portable documents, page by page.

use std::collections::HashMap;

use super::plain::{is_item, numbered};
use super::{Block, Content, Kind};

/// Lines that stand on so large a part of the pages are no text of theirs.
const REPEATED: f64 = 0.5;

/// Reads a document; to be called in a process of its own.
pub(super) fn read(bytes: &[u8]) -> Result<Content, String> {
    let pages = std::panic::catch_unwind(|| pdf_extract::extract_text_from_mem_by_pages(bytes))
        .map_err(|_| "its pages cannot be read".to_owned())?
        .map_err(|error| error.to_string())?;
    let content = of_pages(&pages);
    if content.blocks.is_empty() {
        return Err("its pages hold no text: they may be pictures of pages".to_owned());
    }
    Ok(content)
}

fn of_pages(pages: &[String]) -> Content {
    let repeated = repeated(pages);
    let mut content = Content::default();
    for (index, page) in pages.iter().enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let mut paragraph = String::new();
        let mut end = |paragraph: &mut String| {
            let text = super::squeezed(paragraph);
            paragraph.clear();
            let kind = kind_of(&text);
            if !text.is_empty() {
                content.blocks.push(Block {
                    kind,
                    text,
                    page: Some(number),
                    line: None,
                });
            }
        };
        for line in page.lines().map(str::trim) {
            if line.is_empty() || repeated.contains_key(&stripped(line)) {
                end(&mut paragraph);
                continue;
            }
            if is_item(line) || kind_of(line) != Kind::Text && paragraph.is_empty() {
                end(&mut paragraph);
            }
            // A word that was broken at the end of its line is one word.
            if paragraph.ends_with('-') && line.starts_with(char::is_lowercase) {
                paragraph.pop();
            } else if !paragraph.is_empty() {
                paragraph.push('\n');
            }
            paragraph.push_str(line);
            if matches!(kind_of(&paragraph), Kind::Heading(_)) {
                end(&mut paragraph);
            }
        }
        end(&mut paragraph);
    }
    content
}

/// A line without its numbers: those of pages change.
fn stripped(line: &str) -> String {
    line.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// First and last lines that stand on many pages: running titles.
fn repeated(pages: &[String]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for page in pages {
        let lines: Vec<&str> = page
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        let ends = lines.iter().take(2).chain(lines.iter().rev().take(2));
        let mut seen: Vec<String> = ends.map(|line| stripped(line)).collect();
        seen.sort();
        seen.dedup();
        for line in seen {
            *counts.entry(line).or_insert(0) += 1;
        }
    }
    let most = (pages.len() as f64 * REPEATED).max(2.0);
    counts.retain(|_, count| *count as f64 > most);
    counts
}

/// A heading where it is numbered as one: `3.2 Terms of payment`.
fn kind_of(text: &str) -> Kind {
    if is_item(text) && text.len() > 60 {
        return Kind::Item;
    }
    let number = text.split(' ').next().unwrap_or_default();
    let counted = number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.')
        && number.len() <= 8;
    let rest = text.get(number.len()..).unwrap_or_default().trim();
    let title = rest.starts_with(char::is_uppercase)
        && rest.chars().count() <= 80
        && !rest.ends_with(['.', ',', ';', ':', '?']);
    match (counted && title, is_item(text)) {
        (true, _) => Kind::Heading(numbered(text)),
        (false, true) => Kind::Item,
        (false, false) => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_titles_go_and_broken_words_are_joined() {
        let page = |n: usize, text: &str| format!("The Shop\n\n{text}\n\nPage {n}");
        let pages = [
            page(1, "1.2 Terms of payment\nYou pay with-\nin 14 days."),
            page(2, "You may send goods back."),
            page(3, "Write to us."),
        ];
        let content = of_pages(&pages);
        let seen: Vec<(Kind, &str, Option<u32>)> = content
            .blocks
            .iter()
            .map(|b| (b.kind, b.text.as_str(), b.page))
            .collect();
        assert_eq!(
            seen,
            [
                (Kind::Heading(2), "1.2 Terms of payment", Some(1)),
                (Kind::Text, "You pay within 14 days.", Some(1)),
                (Kind::Text, "You may send goods back.", Some(2)),
                (Kind::Text, "Write to us.", Some(3)),
            ]
        );
    }
}
