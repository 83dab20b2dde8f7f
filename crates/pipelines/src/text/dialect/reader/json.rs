//! Calls that are JSON: `{"name": …, "arguments": {…}}`, alone or in a list, between marks or bare.

use super::super::JsonCalls;
use super::{Piece, Went};

/// Deepest nesting that is followed; nobody's arguments are deeper.
const DEEPEST: u32 = 200;

/// Keys of a call.
const CALL_KEYS: [&str; 5] = ["name", "type", "id", "arguments", "parameters"];

#[derive(Debug)]
pub(super) struct JsonReader {
    marks: JsonCalls,
    place: Place,
    call: ObjectReader,
    /// What was read since the mark, as long as it may turn out to be no call.
    raw: String,
    /// Whether the objects stand in a list.
    listed: bool,
    /// Calls that were read since the mark.
    complete: usize,
    /// How much of the closing mark was read.
    close: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the list or the first object.
    Before,
    /// Within the list, before an object.
    List,
    /// Within an object.
    Call,
    /// Behind an object of the list.
    Comma,
    /// Behind all of it, before the closing mark.
    Close,
}

impl JsonReader {
    pub(super) fn new(marks: JsonCalls) -> Self {
        Self {
            marks,
            place: Place::Before,
            call: ObjectReader::default(),
            raw: String::new(),
            listed: false,
            complete: 0,
            close: String::new(),
        }
    }

    pub(super) fn read(&mut self, text: &str, count: &mut usize, pieces: &mut Vec<Piece>) -> Went {
        for (at, c) in text.char_indices() {
            let after = at + c.len_utf8();
            let white = matches!(c, ' ' | '\n' | '\r' | '\t');
            match self.place {
                Place::Before | Place::List | Place::Comma if white => self.raw.push(c),
                Place::Before if c == '[' => {
                    self.listed = true;
                    self.go(Place::List, c);
                }
                Place::Before | Place::List if c == '{' => {
                    self.go(Place::Call, c);
                    self.call = ObjectReader::default();
                }
                Place::List | Place::Comma if c == ']' => self.go(Place::Close, c),
                Place::Comma if c == ',' => self.go(Place::List, c),
                Place::Call => {
                    self.raw.push(c);
                    match self.call.push(c, *count, pieces) {
                        // What has no mark is a call by its keys alone.
                        Ok(false) if self.marks.open.is_empty() && self.call.is_strange() => {
                            return self.broken(count, after);
                        }
                        Ok(false) => {}
                        Ok(true) => {
                            *count += 1;
                            self.complete += 1;
                            self.raw.clear();
                            self.place = match self.listed {
                                true => Place::Comma,
                                false => Place::Close,
                            };
                        }
                        Err(NotACall) => return self.broken(count, after),
                    }
                }
                Place::Close => match self.close(c) {
                    Some(true) => return Went::Ended(after),
                    Some(false) => {}
                    None => return Went::Ended(at),
                },
                _ if self.complete > 0 => return Went::Ended(at),
                _ => return self.broken(count, at),
            }
        }
        Went::On
    }

    fn go(&mut self, place: Place, c: char) {
        self.raw.push(c);
        self.place = place;
    }

    /// Behind the calls: whether the closing mark is complete; nothing where something else comes.
    fn close(&mut self, c: char) -> Option<bool> {
        let mark = self.marks.close;
        if self.close.is_empty() && c.is_whitespace() {
            return Some(false);
        }
        self.close.push(c);
        let fits = !mark.is_empty() && mark.starts_with(&self.close);
        fits.then_some(self.close.len() == mark.len())
    }

    /// It was no call. What stands before it was, perhaps.
    fn broken(&mut self, count: &mut usize, at: usize) -> Went {
        if self.call.announced {
            *count += 1;
            return Went::Ended(at);
        }
        let raw = std::mem::take(&mut self.raw);
        match self.complete {
            0 => Went::Broken(format!("{}{raw}", self.marks.open), at),
            _ => Went::Ended(at),
        }
    }

    /// The text ends here. What is given back is text that was taken for a call.
    pub(super) fn finish(&mut self, count: &mut usize) -> Option<String> {
        if self.place == Place::Call && self.call.announced {
            *count += 1;
            return None;
        }
        // A bare object that never became a call is what the model had to say.
        let bare = self.marks.open.is_empty() && self.complete == 0;
        let call = self.call.key.is_empty() || CALL_KEYS.contains(&self.call.key.as_str());
        (bare && !call).then(|| std::mem::take(&mut self.raw))
    }
}

/// The object is no call: it has no name, or is no JSON.
struct NotACall;

/// Reads one object, giving its name and arguments as soon as they are known.
#[derive(Debug, Default)]
struct ObjectReader {
    state: State,
    key: String,
    name: Option<String>,
    value: String,
    depth: u32,
    quoted: bool,
    escaped: bool,
    /// Arguments that came before the name.
    early: String,
    /// Whether the name was told.
    announced: bool,
    /// Whether arguments were seen.
    argued: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    BeforeKey,
    Key,
    Colon,
    BeforeValue,
    Value,
    AfterValue,
}

impl ObjectReader {
    /// Takes in the next character behind the opening brace; true at the closing one.
    fn push(&mut self, c: char, index: usize, pieces: &mut Vec<Piece>) -> Result<bool, NotACall> {
        let white = matches!(c, ' ' | '\n' | '\r' | '\t');
        match self.state {
            State::BeforeKey | State::Colon | State::BeforeValue | State::AfterValue if white => {}
            State::BeforeKey if c == '"' => {
                self.key.clear();
                self.state = State::Key;
            }
            State::BeforeKey | State::AfterValue if c == '}' => {
                return self.end(index, pieces).map(|()| true);
            }
            State::AfterValue if c == ',' => self.state = State::BeforeKey,
            State::Key => match c {
                '"' => self.state = State::Colon,
                '\\' => return Err(NotACall),
                _ => self.key.push(c),
            },
            State::Colon if c == ':' => self.state = State::BeforeValue,
            State::BeforeValue => {
                self.value.clear();
                self.depth = 0;
                self.state = State::Value;
                return self.value(c, index, pieces);
            }
            State::Value => return self.value(c, index, pieces),
            _ => return Err(NotACall),
        }
        Ok(false)
    }

    fn value(&mut self, c: char, index: usize, pieces: &mut Vec<Piece>) -> Result<bool, NotACall> {
        let first = self.value.is_empty();
        let mut ends = false;
        if self.quoted {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' => self.escaped = true,
                '"' => {
                    self.quoted = false;
                    ends = self.depth == 0;
                }
                _ => {}
            }
        } else {
            match c {
                '"' if first || self.depth > 0 => self.quoted = true,
                '{' | '[' if first || self.depth > 0 => self.depth += 1,
                '}' | ']' if self.depth > 0 => {
                    self.depth -= 1;
                    ends = self.depth == 0;
                }
                // A number or a word ends before what follows it.
                ',' | '}' | ' ' | '\n' | '\r' | '\t' if self.depth == 0 && !first => {
                    self.complete(index, pieces)?;
                    return self.push(c, index, pieces);
                }
                _ if self.depth == 0 && !(c.is_ascii_alphanumeric() || "+-.".contains(c)) => {
                    return Err(NotACall);
                }
                _ => {}
            }
        }
        if self.depth > DEEPEST {
            return Err(NotACall);
        }
        self.value.push(c);
        if self.is_arguments() && self.value.starts_with('{') {
            self.argued = true;
            self.argue(c.encode_utf8(&mut [0; 4]), index, pieces);
        }
        if ends {
            self.complete(index, pieces)?;
        }
        Ok(false)
    }

    /// Whether it has a key that no call has.
    fn is_strange(&self) -> bool {
        let known = CALL_KEYS.contains(&self.key.as_str());
        self.state == State::Colon && !known && !self.announced
    }

    fn is_arguments(&self) -> bool {
        matches!(self.key.as_str(), "arguments" | "parameters")
    }

    fn argue(&mut self, text: &str, index: usize, pieces: &mut Vec<Piece>) {
        if !self.announced {
            self.early.push_str(text);
        } else if let Some(Piece::Arguments {
            index: last,
            text: before,
        }) = pieces.last_mut()
            && *last == index
        {
            before.push_str(text);
        } else {
            pieces.push(Piece::Arguments {
                index,
                text: text.to_owned(),
            });
        }
    }

    /// A value is at its end.
    fn complete(&mut self, index: usize, pieces: &mut Vec<Piece>) -> Result<(), NotACall> {
        self.state = State::AfterValue;
        if self.key == "name" && !self.announced {
            let name: String = serde_json::from_str(&self.value).map_err(|_| NotACall)?;
            pieces.push(Piece::Call {
                index,
                name: name.clone(),
            });
            self.name = Some(name);
            self.announced = true;
            let early = std::mem::take(&mut self.early);
            if !early.is_empty() {
                self.argue(&early, index, pieces);
            }
        } else if self.is_arguments() && self.value.starts_with('"') {
            // Some models write the object as a text.
            let text: String = serde_json::from_str(&self.value).map_err(|_| NotACall)?;
            self.argued = !text.trim().is_empty();
            if self.argued {
                self.argue(text.trim(), index, pieces);
            }
        }
        Ok(())
    }

    fn end(&mut self, index: usize, pieces: &mut Vec<Piece>) -> Result<(), NotACall> {
        if !self.announced {
            return Err(NotACall);
        }
        if !self.argued {
            self.argue("{}", index, pieces);
        }
        Ok(())
    }
}
