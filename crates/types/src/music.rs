use serde::{Deserialize, Serialize};

use crate::InputFile;

/// A request for music. What is absent is read out of the prompt, or drawn; a generator fills it in, so that the recipe in a
/// file holds every value that counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MusicRequest {
    /// Name in the catalog; for a model in a folder of the user's, that folder's own name.
    pub model: String,
    /// What is to be heard: "a slow waltz in D minor".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// How long the sound lasts; the tune as often as it is written where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Seed of the melody and of the accompaniment.
    pub seed: u64,
    /// How freely the melody is drawn; 0 takes the likeliest note each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Key: `D minor`, `Bb major`, `E dorian` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Metre: `3/4`, `6/8` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metre: Option<String>,
    /// Quarters a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tempo: Option<f64>,
    /// Style: `reel`, `jig`, `waltz`, `air` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    /// The tune that is gone on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InputFile>,
    /// The SoundFont whose instruments play; the built-in ones where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soundfont: Option<InputFile>,
}

/// Where the time went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MusicTimings {
    /// Loading the model; 0 where it was there already.
    pub load_s: f64,
    /// Writing the melody.
    pub write_s: f64,
    /// Making it sound; 0 for notes alone.
    pub render_s: f64,
    /// All of it but the loading.
    pub total_s: f64,
}

/// What is known of music that was made; notes and samples are the generator's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MusicWork {
    /// How long it lasts.
    pub seconds: f64,
    /// Bars that are written.
    pub bars: usize,
    /// Notes of the melody that are written.
    pub notes: usize,
    /// Tokens that the model wrote, those of tunes that were not taken included.
    pub tokens: usize,
    /// Where the time went.
    pub timings: MusicTimings,
}
