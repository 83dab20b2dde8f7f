use medley_tokenize::Tokenizer;

use super::Dialect;

/// Follows whether a text is within thoughts, so that they can be ended.
#[derive(Debug)]
pub(in crate::text) struct Watch {
    open: &'static str,
    close: &'static str,
    /// The tokens of the closing mark.
    ids: Vec<u32>,
    state: State,
    /// The end of the text, as far as it matters.
    tail: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Thoughts may still begin.
    Before,
    /// Within them, so many tokens of the closing mark having come.
    Within(usize),
    Past,
}

impl Dialect {
    /// A watch over a text that begins; `thinking` says whether the prompt ends within thoughts.
    pub(in crate::text) fn watch(&self, tokenizer: &Tokenizer, thinking: bool) -> Watch {
        let (open, close) = self.thoughts;
        let special = tokenizer.token_id(close);
        let spelled = || {
            tokenizer
                .encode_bytes(close.as_bytes(), false, false)
                .unwrap_or_default()
        };
        let ids = special.map_or_else(spelled, |id| vec![id]);
        // An encoding that adds to the text is of no use.
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|&id| tokenizer.token_bytes(id))
            .collect();
        let usable = bytes == close.as_bytes();
        Watch {
            open,
            close,
            ids,
            state: match (usable && (self.thinks || thinking), thinking) {
                (false, _) => State::Past,
                (true, true) => State::Within(0),
                (true, false) => State::Before,
            },
            tail: Vec::new(),
        }
    }
}

impl Watch {
    /// The next token of the mark that ends the thoughts, within them.
    pub(in crate::text) fn closing(&self) -> Option<u32> {
        match self.state {
            State::Within(come) => self.ids.get(come).copied(),
            _ => None,
        }
    }

    /// This token came.
    pub(in crate::text) fn take(&mut self, id: u32, bytes: &[u8]) {
        if self.state == State::Past {
            return;
        }
        self.tail.extend_from_slice(bytes);
        match self.state {
            State::Before => {
                let text = self.tail.trim_ascii_start();
                if text.starts_with(self.open.as_bytes()) {
                    self.state = State::Within(0);
                    self.tail.clear();
                } else if !self.open.as_bytes().starts_with(text) {
                    self.state = State::Past;
                }
            }
            State::Within(come) => {
                if self.tail.ends_with(self.close.as_bytes()) {
                    self.state = State::Past;
                    return;
                }
                let next = self.ids.get(come) == Some(&id);
                self.state = State::Within(if next { come + 1 } else { 0 });
                let keep = self.tail.len().saturating_sub(self.close.len());
                self.tail.drain(..keep);
            }
            State::Past => {}
        }
    }
}
