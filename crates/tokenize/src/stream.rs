//! Detokenising while tokens come in.

use crate::tokenizer::Tokenizer;

/// Turns ids into text as they arrive, in whole UTF-8 characters only. Special tokens are left out.
///
/// It continues a text: a space at its start is kept.
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    tokenizer: Tokenizer,
    /// Bytes of a character that has not ended yet; never a whole one.
    pending: Vec<u8>,
    /// Special tokens that are shown.
    visible: Vec<u32>,
}

impl StreamDecoder {
    /// A decoder with nothing pending.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self {
            tokenizer: tokenizer.clone(),
            pending: Vec::new(),
            visible: Vec::new(),
        }
    }

    /// The same, with these special tokens in the text, for whoever reads it by them.
    #[must_use]
    pub fn showing(self, visible: Vec<u32>) -> Self {
        Self { visible, ..self }
    }

    /// Takes one id; gives the characters that are complete now. Bytes that can no longer become a character are
    /// U+FFFD, as in [`String::from_utf8_lossy`].
    pub fn push(&mut self, id: u32) -> String {
        if !self.tokenizer.is_special(id) || self.visible.contains(&id) {
            self.pending.extend_from_slice(self.tokenizer.piece(id));
        }
        self.take(false)
    }

    /// Ends the text: bytes of an unfinished character become U+FFFD.
    pub fn finish(&mut self) -> String {
        self.take(true)
    }

    fn take(&mut self, end: bool) -> String {
        let mut text = String::new();
        let mut kept = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            kept += chunk.valid().len();
            let broken = chunk.invalid();
            if broken.is_empty() {
                continue;
            }
            let unfinished = kept + broken.len() == self.pending.len()
                && std::str::from_utf8(broken).is_err_and(|e| e.error_len().is_none());
            if unfinished && !end {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            kept += broken.len();
        }
        self.pending.drain(..kept);
        text
    }
}
