//! Pre-tokenizers: how byte-level vocabularies cut text into words before any pair is merged.
//!
//! A kind is a list of steps; each step cuts every piece that the one before it left. The kinds and what they do
//! are those of llama.cpp (`src/llama-vocab.cpp`), including where it reads a model's published pattern more
//! loosely than the model's authors, because model files in GGUF are made and tested with it.

mod kinds;
mod scan;

use fancy_regex::Regex;

use crate::error::{Result, TokenizeError};
pub(crate) use kinds::{Kind, Named, kind};
use scan::{Cl100k, O200k, Scan};

/// One cut.
pub(crate) enum Step {
    Gpt2,
    Cl100k(Cl100k),
    O200k(O200k),
    SingleNumbers,
    GroupedNumbers,
    Lines,
    /// Matches and what lies between them both become pieces.
    Pattern(Box<Regex>),
}

impl Step {
    fn pattern(pattern: &str) -> Result<Self> {
        let regex = Regex::new(pattern).map_err(|e| TokenizeError::Invalid {
            what: "pre-tokenizer pattern",
            detail: e.to_string(),
        })?;
        Ok(Self::Pattern(Box::new(regex)))
    }

    fn apply(&self, text: &str, mut piece: impl FnMut(usize)) -> Result<()> {
        let scan = Scan::new(text);
        match self {
            Self::Gpt2 => scan.gpt2(piece),
            Self::Cl100k(how) => scan.cl100k(*how, piece),
            Self::O200k(how) => scan.o200k(*how, piece),
            Self::SingleNumbers => scan.single_numbers(piece),
            Self::GroupedNumbers => scan.grouped_numbers(piece),
            Self::Lines => scan.lines(piece),
            Self::Pattern(regex) => {
                let mut last = 0;
                for found in regex.find_iter(text) {
                    let found = found.map_err(|e| TokenizeError::Encode {
                        detail: e.to_string(),
                    })?;
                    if found.start() > last {
                        piece(found.start());
                    }
                    if found.end() > found.start() {
                        piece(found.end());
                    }
                    last = found.end();
                }
                if last < text.len() {
                    piece(text.len());
                }
            }
        }
        Ok(())
    }
}

/// A kind of pre-tokenizer, ready to cut.
pub(crate) struct PreTokenizer {
    steps: Vec<Step>,
}

impl PreTokenizer {
    pub(crate) fn new(kind: Kind) -> Result<Self> {
        Ok(Self {
            steps: kinds::steps(kind)?,
        })
    }

    /// Cuts `text`; `ends` receives the end of each word, in order.
    pub(crate) fn split(&self, text: &str, ends: &mut Vec<usize>) -> Result<()> {
        ends.clear();
        if text.is_empty() {
            return Ok(());
        }
        ends.push(text.len());
        let mut next = Vec::new();
        for step in &self.steps {
            let mut start = 0;
            for &end in ends.iter() {
                step.apply(&text[start..end], |at| next.push(start + at))?;
                start = end;
            }
            std::mem::swap(ends, &mut next);
            next.clear();
        }
        Ok(())
    }
}
