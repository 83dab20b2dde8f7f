//! Reads thoughts and calls out of a text while it comes.

mod gemma;
mod json;
mod named;

use super::{Calls, Dialect, LLAMA, PYTHON_TAG, THINK, Thoughts};
use json::JsonReader;

pub(super) use gemma::QUOTE;

/// A piece of what a model says, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What it says.
    Text(String),
    /// What it thinks.
    Reasoning(String),
    /// It asks for a function to be called; the arguments follow.
    Call {
        /// Number of the call in this text.
        index: usize,
        /// The function.
        name: String,
    },
    /// The arguments go on.
    Arguments {
        /// Number of the call.
        index: usize,
        /// More of a JSON object.
        text: String,
    },
}

/// Where the text is.
#[derive(Debug)]
enum Place {
    /// Nothing but white space came yet.
    Start,
    /// Within thoughts.
    Thoughts,
    /// What is said.
    Body,
    /// Within calls.
    Calls(Box<CallReader>),
}

/// Reads one stretch of calls.
#[derive(Debug)]
enum CallReader {
    Json(JsonReader),
    Named(named::NamedReader),
    Gemma(gemma::GemmaReader),
}

/// What became of calls.
enum Went {
    /// All was taken in.
    On,
    /// They ended before these bytes of the input.
    Ended(usize),
    /// They are none: this is what was taken for them, and where the input goes on.
    Broken(String, usize),
}

/// Reads what a model writes, piece by piece. Whatever comes, and wherever it is cut off, marks of thoughts never come
/// out as text, and calls come out as far as they were written.
#[derive(Debug)]
pub struct Reader {
    calls: Option<Calls>,
    thoughts: Thoughts,
    /// Whether thoughts may come anywhere, and not only at the beginning.
    thinks: bool,
    place: Place,
    /// What may still become a mark.
    held: String,
    /// White space that is only said if something follows it.
    white: String,
    /// Whether something was said or thought in this stretch, so that white space counts.
    begun: bool,
    /// Calls so far.
    count: usize,
    pieces: Vec<Piece>,
}

impl Reader {
    pub(super) fn new(dialect: &Dialect, calls: bool, thinking: bool) -> Self {
        Self {
            calls: calls.then_some(dialect.calls),
            thoughts: dialect.thoughts,
            thinks: dialect.thinks,
            place: if thinking {
                Place::Thoughts
            } else {
                Place::Start
            },
            held: String::new(),
            white: String::new(),
            begun: false,
            count: 0,
            pieces: Vec::new(),
        }
    }

    /// A reader of text in which nothing is a mark.
    pub fn plain() -> Self {
        Self {
            calls: None,
            thoughts: THINK,
            thinks: false,
            place: Place::Body,
            held: String::new(),
            white: String::new(),
            begun: true,
            count: 0,
            pieces: Vec::new(),
        }
    }

    /// Calls that were found so far.
    pub fn calls(&self) -> usize {
        self.count
    }

    /// Takes in more text.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        while self.step(false) {}
        std::mem::take(&mut self.pieces)
    }

    /// The text is at its end.
    pub fn finish(&mut self) -> Vec<Piece> {
        while self.step(true) {}
        if let Place::Calls(reader) = &mut self.place {
            let (rest, open) = match &mut **reader {
                CallReader::Json(reader) => (reader.finish(&mut self.count), false),
                CallReader::Named(reader) => (None, reader.is_open()),
                CallReader::Gemma(reader) => (None, reader.is_open()),
            };
            self.count += usize::from(open);
            if let Some(rest) = rest {
                self.say(&rest);
            }
        }
        // White space at the very end is said where nothing was read out of the text.
        if self.calls.is_none() && matches!(self.place, Place::Body) {
            let white = std::mem::take(&mut self.white);
            self.piece(&white, false);
        }
        std::mem::take(&mut self.pieces)
    }

    /// One step through what is held; false where more text is needed.
    fn step(&mut self, end: bool) -> bool {
        if self.held.is_empty() {
            return false;
        }
        match self.place {
            Place::Start => self.start(end),
            Place::Thoughts => self.think(end),
            Place::Body => self.body(end),
            Place::Calls(_) => self.call(),
        }
    }

    fn start(&mut self, end: bool) -> bool {
        let text = self.held.trim_start();
        let white = self.held.len() - text.len();
        if text.is_empty() && !end {
            return false;
        }
        let (open, _) = self.thoughts;
        if text.starts_with(open) {
            self.held.drain(..white + open.len());
            self.enter(Place::Thoughts);
        } else if open.starts_with(text) && !end && !text.is_empty() {
            return false;
        } else {
            // White space before what is said is the model's own, save where calls are looked for.
            self.enter(Place::Body);
            self.begun = self.calls.is_none();
        }
        true
    }

    fn think(&mut self, end: bool) -> bool {
        let (_, close) = self.thoughts;
        match find(&self.held, &[close], false) {
            Found::Mark(at, _) => {
                let before: String = self.held.drain(..at).collect();
                self.held.drain(..close.len());
                self.piece(&before, true);
                self.enter(Place::Body);
                true
            }
            Found::Until(at) => {
                let before: String = self.held.drain(..at).collect();
                self.piece(&before, true);
                if end {
                    // The beginning of a mark that was cut off.
                    self.held.clear();
                }
                false
            }
        }
    }

    fn body(&mut self, end: bool) -> bool {
        let mut marks: Vec<&str> = Vec::new();
        if self.thinks {
            marks.extend([self.thoughts.0, self.thoughts.1]);
        }
        match self.calls {
            Some(Calls::Json(json)) if json == LLAMA && !self.begun => {
                return self.bare_call(end);
            }
            Some(Calls::Json(json)) => marks.push(json.open),
            Some(Calls::Named { .. }) => marks.push(named::OPEN),
            Some(Calls::Gemma) => marks.push(gemma::OPEN),
            None => {}
        }
        match find(&self.held, &marks, end) {
            Found::Mark(at, mark) => {
                let before: String = self.held.drain(..at).collect();
                self.held.drain(..mark.len());
                self.say(&before);
                let mark = mark.to_owned();
                self.enter_by(&mark);
                true
            }
            Found::Until(at) => {
                let before: String = self.held.drain(..at).collect();
                self.say(&before);
                false
            }
        }
    }

    /// Where nothing was said yet: a call that has no mark, or what is said.
    fn bare_call(&mut self, end: bool) -> bool {
        let text = self.held.trim_start();
        let white = self.held.len() - text.len();
        let undecided = text.is_empty() || (PYTHON_TAG.starts_with(text) && text != PYTHON_TAG);
        if undecided && !end {
            return false;
        }
        let tag = if text.starts_with(PYTHON_TAG) {
            PYTHON_TAG.len()
        } else {
            0
        };
        if tag > 0 || text.starts_with('{') {
            self.held.drain(..white + tag);
            let reader = CallReader::Json(JsonReader::new(LLAMA));
            self.place = Place::Calls(Box::new(reader));
        } else {
            self.begun = true;
        }
        true
    }

    fn enter_by(&mut self, mark: &str) {
        if mark == self.thoughts.0 {
            return self.enter(Place::Thoughts);
        }
        if mark == self.thoughts.1 {
            // Closed without having been opened; there is nothing to it.
            return self.enter(Place::Body);
        }
        let reader = match self.calls {
            Some(Calls::Json(json)) => CallReader::Json(JsonReader::new(json)),
            Some(Calls::Named { .. }) => CallReader::Named(named::NamedReader::default()),
            _ => CallReader::Gemma(gemma::GemmaReader::default()),
        };
        self.place = Place::Calls(Box::new(reader));
    }

    fn call(&mut self) -> bool {
        let Place::Calls(reader) = &mut self.place else {
            return false;
        };
        let (count, pieces) = (&mut self.count, &mut self.pieces);
        let went = match &mut **reader {
            CallReader::Json(reader) => reader.read(&self.held, count, pieces),
            CallReader::Named(reader) => reader.read(&self.held, count, pieces),
            CallReader::Gemma(reader) => reader.read(&self.held, count, pieces),
        };
        match went {
            Went::On => {
                self.held.clear();
                false
            }
            Went::Ended(at) => {
                self.held.drain(..at);
                self.white.clear();
                self.enter(Place::Body);
                true
            }
            Went::Broken(text, at) => {
                self.held.drain(..at);
                self.enter(Place::Body);
                self.begun = true;
                self.say(&text);
                true
            }
        }
    }

    fn enter(&mut self, place: Place) {
        self.place = place;
        self.white.clear();
        self.begun = false;
    }

    fn say(&mut self, text: &str) {
        self.piece(text, false);
    }

    /// Says or thinks, but for white space at the beginning, and at the end as long as nothing follows it: around calls and
    /// thoughts it is nobody's.
    fn piece(&mut self, text: &str, thought: bool) {
        let text = if self.begun { text } else { text.trim_start() };
        if text.is_empty() {
            return;
        }
        self.begun = true;
        let held_back = thought || self.calls.is_some();
        let solid = if held_back { text.trim_end() } else { text };
        if !solid.is_empty() {
            let whole = std::mem::take(&mut self.white) + solid;
            self.pieces.push(match thought {
                true => Piece::Reasoning(whole),
                false => Piece::Text(whole),
            });
        }
        self.white.push_str(&text[solid.len()..]);
    }
}

/// What a text has of marks.
enum Found<'a> {
    /// The first of them, and which it is.
    Mark(usize, &'a str),
    /// None, and up to here there cannot be one.
    Until(usize),
}

fn find<'a>(text: &str, marks: &[&'a str], end: bool) -> Found<'a> {
    let marks = marks.iter().filter(|mark| !mark.is_empty());
    let first = marks
        .clone()
        .filter_map(|&mark| Some((text.find(mark)?, mark)));
    if let Some((at, mark)) = first.min_by_key(|&(at, mark)| (at, std::cmp::Reverse(mark.len()))) {
        return Found::Mark(at, mark);
    }
    let open = marks
        .map(|mark| crate::text::writer::overlap(text, mark))
        .max();
    let held = if end { 0 } else { open.unwrap_or(0) };
    Found::Until(text.len() - held)
}
