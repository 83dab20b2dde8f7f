//! A document in passages: as its headings part it, and of a size that an encoder reads whole.

use super::read::{Block, Content, Kind};

/// Bytes that a passage is filled to.
const FILL: usize = 800;

/// Bytes of a passage at most: what is longer is parted between sentences, lines or words.
const MOST: usize = 1200;

/// What stands between the headings that a passage lies under.
pub const UNDER: &str = " › ";

/// A passage of a document's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The headings that it lies under, the outermost first, [`UNDER`] between them.
    pub heading: String,
    /// The page that it begins on.
    pub page: Option<u32>,
    /// The line that it begins on.
    pub line: Option<u32>,
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// Its bytes.
    pub bytes: usize,
    /// Where it begins in the text, in characters.
    pub at: usize,
}

/// A document's text and its passages, which do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// All pieces, headings included, with empty lines between them.
    pub text: String,
    /// The passages in order.
    pub pieces: Vec<Piece>,
}

/// Parts a document.
pub fn split(content: &Content) -> Split {
    let mut splitter = Splitter::default();
    let mut before = None;
    for block in &content.blocks {
        splitter.space(before, block.kind);
        before = Some(block.kind);
        match block.kind {
            Kind::Heading(level) => splitter.heading(level, &block.text),
            _ => splitter.block(block),
        }
    }
    splitter.end();
    splitter.split
}

#[derive(Default)]
struct Splitter {
    split: Split,
    /// Characters of the text so far.
    characters: usize,
    headings: Vec<(u8, String)>,
    open: Option<Piece>,
}

impl Splitter {
    fn write(&mut self, text: &str) {
        self.split.text.push_str(text);
        self.characters += text.chars().count();
    }

    fn space(&mut self, before: Option<Kind>, kind: Kind) {
        let close = matches!(
            (before, kind),
            (Some(Kind::Item), Kind::Item) | (Some(Kind::Table), Kind::Table)
        );
        match before {
            None => {}
            Some(_) if close => self.write("\n"),
            Some(_) => self.write("\n\n"),
        }
    }

    fn heading(&mut self, level: u8, text: &str) {
        self.end();
        self.headings.retain(|(above, _)| *above < level);
        self.headings.push((level, text.to_owned()));
        self.write(text);
    }

    fn block(&mut self, block: &Block) {
        for part in parts(&block.text, MOST) {
            let full = |open: &Piece| {
                let bytes = self.split.text.len() - open.start;
                bytes >= FILL || bytes + part.len() > MOST
            };
            if self.open.as_ref().is_some_and(full) {
                self.end();
            }
            if self.open.is_none() {
                let headings: Vec<&str> = self.headings.iter().map(|(_, h)| h.as_str()).collect();
                self.open = Some(Piece {
                    heading: headings.join(UNDER),
                    page: block.page,
                    line: block.line,
                    start: self.split.text.len(),
                    bytes: 0,
                    at: self.characters,
                });
            }
            self.write(part);
            if let Some(open) = &mut self.open {
                open.bytes = self.split.text.len() - open.start;
            }
        }
    }

    fn end(&mut self) {
        if let Some(piece) = self.open.take()
            && let Some(text) = self.split.text.get(piece.start..piece.start + piece.bytes)
            && !text.trim().is_empty()
        {
            self.split.pieces.push(piece);
        }
    }
}

/// A text in parts of at most `most` bytes, which together are the text.
fn parts(text: &str, most: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > most {
        let end = rest.floor_char_boundary(most);
        let head = &rest[..end];
        let after = |sign: &str| head.rfind(sign).map(|at| at + sign.len());
        let late = |at: &usize| *at > most / 3;
        let at = [". ", "\n", "; ", " "]
            .iter()
            .find_map(|sign| after(sign).filter(late));
        let (part, left) = rest.split_at(at.unwrap_or(end));
        parts.push(part);
        rest = left;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: Kind, text: &str) -> Block {
        Block {
            kind,
            text: text.into(),
            page: Some(3),
            line: None,
        }
    }

    #[test]
    fn passages_lie_under_their_headings_and_are_slices_of_the_text() {
        let long = "Ä sentence that says something of no weight. ".repeat(80);
        let content = Content {
            title: None,
            blocks: vec![
                block(Kind::Heading(1), "Shop"),
                block(Kind::Text, "Welcome."),
                block(Kind::Heading(2), "Returns"),
                block(Kind::Text, long.trim()),
                block(Kind::Item, "one"),
                block(Kind::Item, "two"),
                block(Kind::Heading(2), "Payment"),
                block(Kind::Text, "By card."),
            ],
        };
        let split = split(&content);
        let of = |piece: &Piece| split.text[piece.start..piece.start + piece.bytes].to_owned();
        let first: Vec<String> = split.pieces.iter().map(of).collect();
        assert_eq!(
            (first[0].as_str(), split.pieces[0].heading.as_str()),
            ("Welcome.", "Shop")
        );
        assert!(first.iter().all(|text| text.len() <= MOST), "{first:?}");
        let last = split.pieces.last().unwrap();
        assert_eq!(
            (of(last), last.heading.as_str()),
            ("By card.".into(), "Shop › Payment")
        );
        assert!(
            split.pieces.iter().any(|p| of(p).ends_with("one\ntwo")),
            "{first:?}"
        );
        for piece in &split.pieces {
            let at: String = split.text.chars().skip(piece.at).take(3).collect();
            assert!(of(piece).starts_with(&at));
            assert_eq!(piece.page, Some(3));
        }
        let joined: String = first[1..first.len() - 1].concat();
        assert!(joined.starts_with(long.trim()), "nothing is lost");
    }
}
