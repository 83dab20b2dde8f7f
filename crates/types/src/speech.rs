use serde::{Deserialize, Serialize};

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

/// A request for spoken words. What is absent is the model's default; a generator fills it in, so that the recipe in a
/// file holds every value that counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpeechRequest {
    /// Name in the catalog; for a model in a folder of the user's, that folder's own name.
    pub model: String,
    /// What is said.
    pub text: String,
    /// Name of the voice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// How fast: 1 as the voice learned it, 2 twice as fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Seconds of silence between sentences, beside the voice's own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pause: f64,
    /// Loudness in LUFS (ITU-R BS.1770) that the whole is brought to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loudness: Option<f64>,
    /// Seed of the noise in breath and hiss.
    pub seed: u64,
}

/// When a word is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WordTime {
    /// The word as it is written in the text, with the marks that touch it.
    pub word: String,
    /// Its beginning in seconds.
    pub start: f64,
    /// Its end in seconds.
    pub end: f64,
    /// Which sentence it belongs to, counted from 0.
    pub sentence: usize,
}

/// Where the time went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpeechTimings {
    /// Loading the model; 0 where it was there already.
    pub load_s: f64,
    /// From text to phonemes.
    pub text_s: f64,
    /// The network.
    pub model_s: f64,
    /// From spectra to samples.
    pub wave_s: f64,
    /// From the request to the first sound.
    pub first_s: f64,
    /// All of it but the loading.
    pub total_s: f64,
}

/// What is known of words that were spoken; the samples are the generator's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpeechWork {
    /// How long they sound.
    pub seconds: f64,
    /// Samples a second.
    pub sample_rate: u32,
    /// Sentences that were said.
    pub sentences: usize,
    /// When each word is said.
    pub words: Vec<WordTime>,
    /// Characters that the voice has no sound for, each once.
    pub skipped: String,
    /// Where the time went.
    pub timings: SpeechTimings,
}
