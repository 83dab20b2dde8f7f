//! Plain text: paragraphs between empty lines, headings by how they look.

use super::{Content, Kind};

/// Reads a text.
pub(super) fn read(text: &str) -> Content {
    let mut content = Content::default();
    let lines: Vec<&str> = text.lines().collect();
    let mut paragraph = Paragraph::default();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let trimmed = line.trim();
        let below = lines.get(at + 1).map_or("", |line| line.trim());
        if trimmed.is_empty() {
            paragraph.end(&mut content);
        } else if let Some(level) = underlined(trimmed, below) {
            paragraph.end(&mut content);
            content.push(Kind::Heading(level), trimmed, Some(number));
            at += 1;
        } else if rule(trimmed).is_some() {
            paragraph.end(&mut content);
        } else if paragraph.text.is_empty() && below.is_empty() && is_heading(line) {
            content.push(Kind::Heading(numbered(trimmed)), trimmed, Some(number));
        } else {
            paragraph.add(line, number, &mut content);
        }
        at += 1;
    }
    paragraph.end(&mut content);
    content.title = content
        .blocks
        .first()
        .filter(|block| matches!(block.kind, Kind::Heading(_)))
        .map(|block| block.text.clone());
    content
}

#[derive(Default)]
struct Paragraph {
    text: String,
    line: u32,
    kind: Option<Kind>,
}

impl Paragraph {
    fn add(&mut self, line: &str, number: u32, content: &mut Content) {
        let item = is_item(line.trim());
        let code = line.starts_with("    ") || line.starts_with('\t');
        if item {
            self.end(content);
        }
        if self.kind.is_none() {
            self.line = number;
            self.kind = Some(match (item, code) {
                (true, _) => Kind::Item,
                (false, true) => Kind::Code,
                (false, false) => Kind::Text,
            });
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line);
    }

    fn end(&mut self, content: &mut Content) {
        if let Some(kind) = self.kind.take() {
            content.push(kind, &self.text, Some(self.line));
        }
        self.text.clear();
    }
}

/// Whether a line begins a point of a list.
pub(super) fn is_item(line: &str) -> bool {
    let mut chars = line.chars();
    match chars.next() {
        Some('-' | '*' | '•' | '–') => chars.next() == Some(' '),
        Some(c) if c.is_ascii_digit() => {
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
            rest.starts_with(". ") || rest.starts_with(") ")
        }
        _ => false,
    }
}

/// The sign of a line that is nothing but a rule.
fn rule(line: &str) -> Option<char> {
    let first = line.chars().next()?;
    let rule = line.len() >= 3 && "=-~^*_#+".contains(first);
    (rule && line.chars().all(|c| c == first)).then_some(first)
}

/// The level of a heading by the rule below it.
fn underlined(line: &str, below: &str) -> Option<u8> {
    let sign = rule(below)?;
    let (line, below) = (line.chars().count(), below.chars().count());
    if line > 120 || below + 3 < line {
        return None;
    }
    Some(match sign {
        '=' | '#' | '*' => 1,
        '-' | '_' => 2,
        _ => 3,
    })
}

/// A short line by itself that ends no sentence, in capitals or with a number before it.
fn is_heading(line: &str) -> bool {
    let text = line.trim();
    if line.starts_with([' ', '\t']) || text.chars().count() > 80 {
        return false;
    }
    let letters: Vec<char> = text.chars().filter(|c| c.is_alphabetic()).collect();
    let capitals = letters.len() > 2 && letters.iter().all(|c| c.is_uppercase());
    let counted = text.starts_with(|c: char| c.is_ascii_digit())
        && text.contains(' ')
        && letters.first().is_some_and(|c| c.is_uppercase());
    (capitals || counted) && !text.ends_with(['.', ',', ';', ':', '?', '!'])
}

/// The level of `2.1.3 Heading`; 1 without a number.
pub(super) fn numbered(text: &str) -> u8 {
    let number = text.split(' ').next().unwrap_or_default();
    let counted = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let dots = number.trim_end_matches('.').matches('.').count();
    if counted {
        u8::try_from(dots + 1).unwrap_or(6).min(6)
    } else {
        1
    }
}
