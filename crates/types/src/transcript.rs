use serde::{Deserialize, Serialize};

/// What is made of speech.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TranscriptTask {
    /// Text in the language that is spoken.
    #[default]
    Transcribe,
    /// English text, whatever is spoken.
    Translate,
}

/// A request for what is said in a sound; the sound itself goes beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TranscriptRequest {
    /// Name in the catalog; for a model in a folder of the user's, that folder's own name.
    pub model: String,
    /// Text in the spoken language, or English.
    #[serde(default)]
    pub task: TranscriptTask,
    /// The language that is spoken, as a code such as `en`; found out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Text that goes before: names and words to come, or what was said so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// How freely tokens are drawn. Without it the likeliest, and freer ones where they come out as nonsense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// How many texts are followed side by side; 1 takes the likeliest token each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beam: Option<usize>,
    /// Whether the times of single words are found out.
    #[serde(default)]
    pub words: bool,
    /// Seed of the draws.
    #[serde(default)]
    pub seed: u64,
}

/// A stretch of what was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TranscriptSegment {
    /// Its number, from 0.
    pub id: usize,
    /// Where the window began that it was heard in, in frames of 10 ms.
    pub seek: usize,
    /// Its beginning in seconds.
    pub start: f64,
    /// Its end in seconds.
    pub end: f64,
    /// What was said.
    pub text: String,
    /// The model's tokens, those of times included.
    pub tokens: Vec<u32>,
    /// Temperature that it was drawn at.
    pub temperature: f64,
    /// Mean log-probability of the window's tokens.
    pub avg_logprob: f64,
    /// Bytes of the window's text by the bytes that it is compressed to: repetitions have much.
    pub compression_ratio: f64,
    /// Probability that nobody speaks in the window.
    pub no_speech_prob: f64,
}

/// A word that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeardWord {
    /// The word with the marks that touch it.
    pub word: String,
    /// Its beginning in seconds.
    pub start: f64,
    /// Its end in seconds.
    pub end: f64,
    /// How sure the model is of it.
    pub probability: f64,
}

/// What was said in a sound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// All of it.
    pub text: String,
    /// Code of the language that was spoken.
    pub language: String,
    /// How sure that is; 1 where the request said it.
    pub language_probability: f64,
    /// Length of the sound in seconds.
    pub duration: f64,
    /// Stretch by stretch.
    pub segments: Vec<TranscriptSegment>,
    /// Word by word, where that was asked for.
    pub words: Vec<HeardWord>,
    /// Tokens that were written, drafts included.
    #[serde(skip)]
    pub tokens: usize,
}
