//! Speech to text.
//!
//! Sound is heard in windows of half a minute, each from where the last sentence of the one before ended. A window gives
//! tokens with times; what comes out as nonsense is written again with freer draws. The method is OpenAI's
//! [transcribe.py](https://github.com/openai/whisper/blob/main/whisper/transcribe.py) (Radford et al. 2022, section 4.5).

mod align;
mod decode;
mod load;
mod request;
mod rules;
mod silence;
mod window;
pub mod write;

use medley_models::whisper::Whisper;
use medley_tokenize::WhisperTokenizer;
use medley_types::{Transcript, TranscriptRequest};

use crate::{PipelineError, Run};

pub use load::load;
pub use request::{MAX_PROMPT, validate};

/// Longest sound that is heard, in seconds: a working day.
pub const MAX_SECONDS: f64 = 12.0 * 3600.0;

/// Turns sound into text.
pub trait Listener: Send + Sync {
    /// Completes a request: what it leaves open becomes this model's value.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`] for what the model cannot do.
    fn complete(&self, request: &TranscriptRequest) -> Result<TranscriptRequest, PipelineError>;

    /// Writes down what is said in `samples`, one channel at 16000 samples a second. Each stretch is reported as a
    /// chunk of text as soon as it is there.
    ///
    /// # Errors
    /// [`PipelineError::Cancelled`], [`PipelineError::InvalidRequest`], [`PipelineError::Model`].
    fn listen(
        &self,
        samples: &[f32],
        request: &TranscriptRequest,
        run: &mut Run,
    ) -> Result<Transcript, PipelineError>;

    /// The language of the first half minute, with its probability.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    fn language(&self, samples: &[f32]) -> Result<(String, f64), PipelineError>;

    /// Bytes of memory that weights and one request take.
    fn bytes(&self) -> u64;
}

/// A Whisper model, ready to listen.
pub(crate) struct Ear {
    model: Whisper,
    tokenizer: WhisperTokenizer,
    /// Tokens that are never written.
    suppressed: Vec<u32>,
    /// Heads (layer and number) that look where a word is heard.
    alignment: Vec<(usize, usize)>,
    bytes: u64,
}

impl Ear {
    /// The logits that may never be chosen at this place of a text.
    fn rules(&self) -> rules::Rules<'_> {
        rules::Rules {
            tokens: self.tokenizer.tokens(),
            suppressed: &self.suppressed,
        }
    }
}
