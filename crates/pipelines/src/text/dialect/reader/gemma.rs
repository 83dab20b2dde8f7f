//! Gemma 4's calls, `<|tool_call>call:name{key:value,…}<tool_call|>`, whose texts stand between marks instead of quotes:
//! turned into JSON as they come.

use super::{Piece, Went};

pub(super) const OPEN: &str = "<|tool_call>";
const CLOSE: &str = "<tool_call|>";

/// Around texts.
pub(in super::super) const QUOTE: &str = "<|\"|>";

const CALL: &str = "call:";

/// Longest name, and deepest nesting, that is read.
const LONGEST: usize = 300;
const DEEPEST: usize = 200;

#[derive(Debug, Default)]
pub(super) struct GemmaReader {
    state: State,
    /// What may still become a mark, or a name, a key or a word that has not ended.
    held: String,
    announced: bool,
    /// Of each object or list that is open, whether it is an object.
    open: Vec<bool>,
    /// Whether a key, and not a value, comes next.
    key: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Name,
    Value,
    Text,
    Close,
}

impl GemmaReader {
    /// Whether a call was begun and is not at its end.
    pub(super) fn is_open(&self) -> bool {
        self.announced
    }

    pub(super) fn read(&mut self, text: &str, count: &mut usize, pieces: &mut Vec<Piece>) -> Went {
        let index = *count;
        let mut out = String::new();
        let mut went = Went::On;
        for (at, c) in text.char_indices() {
            let after = at + c.len_utf8();
            match self.push(c, &mut out) {
                Ok(Some(name)) => pieces.push(Piece::Call { index, name }),
                Ok(None) => {}
                Err(Stop::Ended) => {
                    went = Went::Ended(after);
                    break;
                }
                Err(Stop::Before) => {
                    went = Went::Ended(at);
                    break;
                }
                Err(Stop::Broken) if self.announced => {
                    went = Went::Ended(after);
                    break;
                }
                Err(Stop::Broken) => {
                    return Went::Broken(format!("{OPEN}{}", self.held), after);
                }
            }
        }
        if !out.is_empty() {
            pieces.push(Piece::Arguments { index, text: out });
        }
        if self.announced && !matches!(went, Went::On) {
            *count += 1;
        }
        went
    }

    /// Takes in a character, adding to the JSON; the name where it is known now.
    fn push(&mut self, c: char, out: &mut String) -> Result<Option<String>, Stop> {
        match self.state {
            State::Name => return self.name(c, out),
            State::Text => self.text(c, out),
            State::Value => self.value(c, out)?,
            State::Close => {
                if self.held.is_empty() && c.is_whitespace() {
                    return Ok(None);
                }
                self.held.push(c);
                if self.held == CLOSE {
                    return Err(Stop::Ended);
                }
                if !CLOSE.starts_with(&self.held) {
                    return Err(Stop::Before);
                }
            }
        }
        Ok(None)
    }

    fn name(&mut self, c: char, out: &mut String) -> Result<Option<String>, Stop> {
        if c != '{' {
            self.held.push(c);
            let begun = self.held.trim_start();
            let fits = CALL.starts_with(begun) || begun.starts_with(CALL);
            return match fits && self.held.len() <= LONGEST {
                true => Ok(None),
                false => Err(Stop::Broken),
            };
        }
        let name = self.held.trim().strip_prefix(CALL).ok_or(Stop::Broken)?;
        let name = name.to_owned();
        self.held.clear();
        self.announced = true;
        self.state = State::Value;
        self.begin(true, out);
        Ok(Some(name))
    }

    fn begin(&mut self, object: bool, out: &mut String) {
        self.open.push(object);
        self.key = object;
        out.push(if object { '{' } else { '[' });
    }

    fn text(&mut self, c: char, out: &mut String) {
        self.held.push(c);
        if self.held.ends_with(QUOTE) {
            self.held.truncate(self.held.len() - QUOTE.len());
            escape(&std::mem::take(&mut self.held), out);
            out.push('"');
            self.state = State::Value;
            return;
        }
        let keep = crate::text::writer::overlap(&self.held, QUOTE);
        let ready: String = self.held.drain(..self.held.len() - keep).collect();
        escape(&ready, out);
    }

    fn value(&mut self, c: char, out: &mut String) -> Result<(), Stop> {
        match c {
            '{' | '[' if self.held.trim().is_empty() => {
                if self.open.len() >= DEEPEST {
                    return Err(Stop::Broken);
                }
                self.held.clear();
                self.begin(c == '{', out);
            }
            ':' if self.key => {
                let key = std::mem::take(&mut self.held);
                // A key that stood between marks is written already.
                if !key.trim().is_empty() {
                    out.push('"');
                    escape(key.trim(), out);
                    out.push('"');
                }
                out.push(':');
                self.key = false;
            }
            ',' => {
                self.word(out);
                out.push(',');
                self.key = self.open.last().copied().unwrap_or(false);
            }
            '}' | ']' => {
                self.word(out);
                out.push(c);
                self.open.pop();
                self.key = false;
                if self.open.is_empty() {
                    self.state = State::Close;
                }
            }
            _ => {
                self.held.push(c);
                if self.held.trim_start() == QUOTE {
                    self.held.clear();
                    out.push('"');
                    self.state = State::Text;
                }
            }
        }
        Ok(())
    }

    /// A number, `true`, `false` or `null`; anything else becomes a text.
    fn word(&mut self, out: &mut String) {
        let word = std::mem::take(&mut self.held);
        let word = word.trim();
        if word.is_empty() || self.key {
            return;
        }
        if serde_json::from_str::<serde_json::Value>(word).is_ok() {
            out.push_str(word);
        } else {
            out.push('"');
            escape(word, out);
            out.push('"');
        }
    }
}

enum Stop {
    /// With this character.
    Ended,
    /// Before it.
    Before,
    Broken,
}

/// As in a JSON string, without quotes.
fn escape(text: &str, out: &mut String) {
    let quoted = serde_json::Value::from(text).to_string();
    out.push_str(&quoted[1..quoted.len() - 1]);
}
