//! Captions as the ids that a scorer reads.

use std::path::Path;

use medley_tokenize::Tokenizer;

use crate::Result;
use crate::text::vocabulary;

/// A tokenizer of captions: small letters, and a space before the first word so that it is spelled as within a caption.
pub struct CaptionReader {
    tokenizer: Tokenizer,
    limit: usize,
}

/// Captions of a batch, padded to one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// `[captions × tokens]`
    pub ids: Vec<u32>,
    /// Tokens of the longest; at least 1.
    pub tokens: usize,
    /// Tokens of each that count.
    pub lengths: Vec<usize>,
}

fn spelled(caption: &str) -> String {
    format!(" {}", caption.trim().to_lowercase())
}

impl CaptionReader {
    /// Learns a vocabulary of captions and writes it into `folder`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for one that is too small.
    pub fn learn<'a>(
        captions: impl Iterator<Item = &'a str>,
        size: usize,
        folder: &Path,
    ) -> Result<()> {
        let texts: Vec<String> = captions.map(spelled).collect();
        vocabulary::learn(&texts, size, false, folder)
    }

    /// The tokenizer in `folder`; at most `limit` tokens of a caption are read.
    ///
    /// # Errors
    /// [`Error::Tokenize`](crate::Error::Tokenize).
    pub fn open(folder: &Path, limit: usize) -> Result<Self> {
        Ok(Self {
            tokenizer: Tokenizer::from_file(folder)?,
            limit,
        })
    }

    /// Tokens of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.tokenizer.vocab_size()
    }

    /// The ids of captions.
    ///
    /// # Errors
    /// [`Error::Tokenize`](crate::Error::Tokenize) for a caption that no tokenizer would read.
    pub fn read(&self, captions: &[&str]) -> Result<Ids> {
        let mut each = Vec::with_capacity(captions.len());
        for caption in captions {
            let mut ids = self.tokenizer.encode(&spelled(caption), false, false)?;
            ids.truncate(self.limit);
            each.push(ids);
        }
        let lengths: Vec<usize> = each.iter().map(Vec::len).collect();
        let tokens = lengths.iter().copied().max().unwrap_or(0).max(1);
        let padded = each.into_iter().flat_map(|mut ids| {
            ids.resize(tokens, 0);
            ids
        });
        Ok(Ids {
            ids: padded.collect(),
            tokens,
            lengths,
        })
    }
}
