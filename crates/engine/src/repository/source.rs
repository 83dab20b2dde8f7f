//! A source file as it is read, so that it can be written again with the ends of its lines and its mode.

use super::outline::{self, Definition};
use crate::documents::Format;
use crate::documents::read;

/// What stands before some texts in UTF-8.
const MARK: &str = "\u{feff}";

/// A source file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path below the root, with slashes.
    pub path: String,
    /// Its text, with line feeds alone where all of its lines end with a carriage return before.
    pub text: String,
    /// What it defines, in order.
    pub definitions: Vec<Definition>,
    /// Its runs of lines without an empty one between.
    pub(super) pieces: Vec<Piece>,
    pub(super) form: Form,
    /// Whether it can be executed.
    pub(super) executable: bool,
}

/// Lines that stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The first line, from 0.
    pub first: usize,
    /// How many.
    pub lines: usize,
}

/// How a text is kept in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    /// Whether the mark of UTF-8 stands before it.
    mark: bool,
    /// Whether its lines end with carriage return and line feed.
    returns: bool,
}

impl Form {
    /// The text of a file, and how it is kept there.
    pub fn read(stored: &str) -> (Self, String) {
        let (mark, text) = match stored.strip_prefix(MARK) {
            Some(rest) => (true, rest),
            None => (false, stored),
        };
        let pairs = text.matches("\r\n").count();
        let returns = pairs > 0 && pairs == text.matches('\n').count();
        let text = match returns {
            true => text.replace("\r\n", "\n"),
            false => text.to_owned(),
        };
        (Self { mark, returns }, text)
    }

    /// What a file with this text holds.
    pub fn written(self, text: &str) -> String {
        let mut all = String::with_capacity(text.len() + 3);
        if self.mark {
            all.push_str(MARK);
        }
        match self.returns {
            true => all.push_str(&text.replace('\n', "\r\n")),
            false => all.push_str(text),
        }
        all
    }
}

impl SourceFile {
    /// A file of this path; nothing where a program has written it for programs.
    pub(super) fn new(path: String, stored: &str, executable: bool) -> Option<Self> {
        let (form, text) = Form::read(stored);
        let content = read::parse(Format::Code, text.as_bytes()).ok()?;
        let pieces = content.blocks.iter().filter_map(|block| {
            Some(Piece {
                first: block.line?.checked_sub(1)? as usize,
                lines: block.text.lines().count(),
            })
        });
        Some(Self {
            pieces: pieces.collect(),
            definitions: outline::outline(&path, &text),
            path,
            text,
            form,
            executable,
        })
    }

    /// What its file holds, as it was read.
    pub(super) fn stored(&self) -> String {
        self.form.written(&self.text)
    }
}

/// The words of a text as languages of programs have them: letters, digits and underscores.
pub(super) fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_word(c))
        .filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}

/// Whether a character can stand within a name.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_as_it_was_kept() {
        for stored in [
            "a\nb\n",
            "a\r\nb\r\n",
            "a\r\nb\n",
            "\u{feff}a\r\nb",
            "\u{feff}\u{feff}x",
            "",
            "no end",
        ] {
            let (form, text) = Form::read(stored);
            assert_eq!(form.written(&text), stored);
        }
        assert_eq!(Form::read("a\r\nb\r\n").1, "a\nb\n");
        assert_eq!(Form::read("a\r\nb\n").1, "a\r\nb\n", "mixed ends stay");
    }
}
