//! Mistral's later calls: `[TOOL_CALLS]name[CALL_ID]id[ARGS]{…}`.

use super::{Piece, Went};

pub(super) const OPEN: &str = "[TOOL_CALLS]";
const ARGS: &str = "[ARGS]";
const ID: &str = "[CALL_ID]";

/// Longest name or id that is read.
const LONGEST: usize = 300;

#[derive(Debug, Default)]
pub(super) struct NamedReader {
    /// Name and id, up to the arguments.
    head: String,
    announced: bool,
    depth: u32,
    quoted: bool,
    escaped: bool,
}

impl NamedReader {
    /// Whether a call was begun and is not at its end.
    pub(super) fn is_open(&self) -> bool {
        self.announced
    }

    pub(super) fn read(&mut self, text: &str, count: &mut usize, pieces: &mut Vec<Piece>) -> Went {
        let index = *count;
        let mut from = 0;
        for (at, c) in text.char_indices() {
            let after = at + c.len_utf8();
            if !self.announced {
                self.head.push(c);
                let Some(head) = self.head.strip_suffix(ARGS) else {
                    if self.head.len() > LONGEST {
                        return Went::Broken(format!("{OPEN}{}", self.head), after);
                    }
                    continue;
                };
                let name = head.split(ID).next().unwrap_or_default().trim().to_owned();
                pieces.push(Piece::Call { index, name });
                self.announced = true;
                from = after;
                continue;
            }
            if self.depth == 0 && c.is_whitespace() {
                from = after;
                continue;
            }
            if self.depth == 0 && c != '{' {
                // No object follows.
                pieces.push(Piece::Arguments {
                    index,
                    text: "{}".into(),
                });
                *count += 1;
                return Went::Ended(at);
            }
            if self.follow(c) {
                pieces.push(Piece::Arguments {
                    index,
                    text: text[from..after].to_owned(),
                });
                *count += 1;
                return Went::Ended(after);
            }
        }
        if self.announced && from < text.len() && self.depth > 0 {
            pieces.push(Piece::Arguments {
                index,
                text: text[from..].to_owned(),
            });
        }
        Went::On
    }

    /// Whether the object ends with this character.
    fn follow(&mut self, c: char) -> bool {
        if self.quoted {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' => self.escaped = true,
                '"' => self.quoted = false,
                _ => {}
            }
            return false;
        }
        match c {
            '"' => self.quoted = true,
            '{' | '[' => self.depth += 1,
            '}' | ']' => self.depth -= 1,
            _ => {}
        }
        self.depth == 0
    }
}
