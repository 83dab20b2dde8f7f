//! What a model said, thought and wants to be called, out of the texts that come.

use medley_engine::dialect::{self, Dialect, Piece};
use medley_engine::serving::Part;
use medley_types::{FinishReason, TextWork, TokenLogprob, ToolCall};

use crate::error::{Answer, ApiError};
use crate::service::Running;

/// One text, read while it comes.
pub(crate) struct Voice {
    reader: dialect::Reader,
    dialect: Option<Dialect>,
    pub(crate) said: Said,
}

/// All of a text so far.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) work: Option<TextWork>,
}

/// What came anew.
#[derive(Debug)]
pub(crate) enum News {
    Text(String),
    Reasoning(String),
    /// A call begins, of this number; its id and name are known.
    Call(usize),
    /// Its arguments go on.
    Arguments(usize, String),
}

impl Voice {
    /// The voices of texts that begin.
    pub(crate) fn all(running: &mut Running) -> Vec<Self> {
        let dialect = running.dialect.clone();
        let voices = std::mem::take(&mut running.voices).into_iter();
        let voice = |reader| Self {
            reader,
            dialect: dialect.clone(),
            said: Said::default(),
        };
        voices.map(voice).collect()
    }

    /// Takes in what came; what is new, in order, and the tokens of it.
    pub(crate) fn take(
        &mut self,
        part: Part,
        field: &str,
    ) -> Answer<(Vec<News>, Vec<TokenLogprob>)> {
        let mut pieces = self.reader.push(&part.text);
        match part.end {
            None => {}
            Some(Ok(work)) => {
                pieces.extend(self.reader.finish());
                self.said.work = Some(work);
            }
            Some(Err(error)) => return Err(ApiError::of_serving(&error, field)),
        }
        let news = pieces.into_iter().map(|piece| self.note(piece)).collect();
        Ok((news, part.tokens))
    }

    fn note(&mut self, piece: Piece) -> News {
        match piece {
            Piece::Text(text) => {
                self.said.text.push_str(&text);
                News::Text(text)
            }
            Piece::Reasoning(text) => {
                self.said.reasoning.push_str(&text);
                News::Reasoning(text)
            }
            Piece::Call { index, name } => {
                let id = self.dialect.as_ref().map(Dialect::call_id);
                let id = id.unwrap_or_else(|| new_id("call_"));
                self.said.calls.push(ToolCall {
                    id,
                    name,
                    arguments: String::new(),
                });
                News::Call(index)
            }
            Piece::Arguments { index, text } => {
                if let Some(call) = self.said.calls.get_mut(index) {
                    call.arguments.push_str(&text);
                }
                News::Arguments(index, text)
            }
        }
    }
}

impl Said {
    /// Why it ended; nothing as long as it has not.
    pub(crate) fn reason(&self) -> Option<FinishReason> {
        self.work.as_ref().map(|work| work.finish_reason)
    }

    /// Tokens that were written.
    pub(crate) fn tokens(&self) -> usize {
        self.work.as_ref().map_or(0, |work| work.tokens)
    }
}

/// Tokens of a request and its texts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) prompt: usize,
    pub(crate) cached: usize,
    pub(crate) written: usize,
    pub(crate) reasoning: usize,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt += other.prompt;
        self.cached += other.cached;
        self.written += other.written;
        self.reasoning += other.reasoning;
    }
}

impl Usage {
    /// The count of all texts, `n` of which each prompt has.
    pub(crate) fn of<'s>(
        running: &Running,
        said: impl Iterator<Item = &'s Said>,
        n: usize,
    ) -> Self {
        let mut usage = Self {
            prompt: running.prompt_tokens,
            ..Self::default()
        };
        for (index, said) in said.enumerate() {
            usage.written += said.tokens();
            if let Some(work) = said.work.as_ref().filter(|_| index % n == 0) {
                usage.cached += work.cached_tokens;
            }
            if !said.reasoning.is_empty() {
                let ids = running.tokenizer.encode(&said.reasoning, false, false);
                usage.reasoning += ids.map_or(0, |ids| ids.len()).min(said.tokens());
            }
        }
        usage
    }
}

/// All texts at their end.
pub(crate) async fn whole(
    running: &mut Running,
    field: &str,
) -> Answer<Vec<(Said, Vec<TokenLogprob>)>> {
    let mut voices = Voice::all(running);
    let mut tokens: Vec<Vec<TokenLogprob>> = voices.iter().map(|_| Vec::new()).collect();
    while let Some(parts) = running.reader.next().await {
        for (text, part) in parts {
            let (_, new) = voices[text].take(part, field)?;
            tokens[text].extend(new);
        }
    }
    Ok(voices.into_iter().map(|v| v.said).zip(tokens).collect())
}

/// A new name for something, with this before it.
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}{:032x}", rand::random::<u128>())
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed();
    now.map_or(0, |since| since.as_secs())
}
