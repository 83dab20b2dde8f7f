//! The flags of music and speech.

use std::path::PathBuf;

use clap::Args;

/// `medley music`
#[derive(Args, Debug, Clone)]
pub struct MusicArgs {
    /// What is to be heard, such as "a slow waltz in D minor"; - reads it from standard input
    #[arg(required_unless_present = "init")]
    pub prompt: Option<String>,
    /// Name in the catalog, or folder [default: tunes]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// How long it lasts [default: the tune with its repeats]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seconds: Option<f64>,
    /// Seed of melody and accompaniment [default: a new one each time]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// How freely the melody is drawn; 0 takes the likeliest note each time [default: 0.9]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// A tune to go on with; .abc or .mid
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// A SoundFont (.sf2) whose instruments play [default: the built-in ones]
    #[arg(long, value_name = "FILE")]
    pub soundfont: Option<PathBuf>,
    /// Write to this file; .wav, .mid or .abc [default: words of the prompt and the seed, .wav]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `medley speech`
#[derive(Args, Debug, Clone)]
pub struct SpeechArgs {
    /// What is to be said; - reads it from standard input
    pub text: String,
    /// Name in the catalog, or folder [default: hibari]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// Name of the voice [default: the model's first]
    #[arg(long, value_name = "V")]
    pub voice: Option<String>,
    /// How fast: 0.25 to 4, 1 as the voice learned it
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub speed: Option<f64>,
    /// Seconds of silence between sentences, beside the voice's own
    #[arg(
        long,
        value_name = "SECONDS",
        allow_negative_numbers = true,
        default_value_t = 0.0
    )]
    pub pause: f64,
    /// Loudness of the whole in LUFS [default: -18]
    #[arg(long, value_name = "LUFS", allow_negative_numbers = true)]
    pub loudness: Option<f64>,
    /// Seed of the noise in breath and hiss
    #[arg(
        long,
        value_name = "S",
        allow_negative_numbers = true,
        default_value_t = 0
    )]
    pub seed: u64,
    /// Write captions with the times of words to this file; .srt or .vtt
    #[arg(long, value_name = "FILE")]
    pub captions: Option<PathBuf>,
    /// Write to this file; .wav [default: the first words, .wav]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
