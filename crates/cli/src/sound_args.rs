//! The flags of music and speech.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
    /// Samples a second of the sound [default: 44100]
    #[arg(long, value_name = "HZ")]
    pub sample_rate: Option<u32>,
    /// Write to this file; .wav, .flac, .opus, .mp3, .mid or .abc [default: words of the prompt and the seed, .wav]
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
    /// Name of the voice, name or number of a speaker, or a file (.onnx) or folder [default: the model's first]
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
    /// Samples a second [default: the voice's]
    #[arg(long, value_name = "HZ")]
    pub sample_rate: Option<u32>,
    /// Write to this file; .wav, .flac, .opus or .mp3 [default: the first words, .wav]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `medley transcribe`
#[derive(Args, Debug, Clone)]
pub struct TranscribeArgs {
    /// Sound to listen to (.wav, .flac, .mp3, .ogg, .m4a …); - reads one from standard input
    pub file: PathBuf,
    /// Name in the catalog, folder, or ggml-*.bin [default: whisper-base]
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
    /// The language that is spoken, such as en or german [default: found out]
    #[arg(long, value_name = "L")]
    pub language: Option<String>,
    /// What to print or write [default: text, or what the output file's ending says]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<TranscriptFormatName>,
    /// Text in the spoken language, or in English
    #[arg(long, value_name = "TASK", default_value = "transcribe")]
    pub task: TaskName,
    /// Names and words that are likely to come, or what was said before
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// Find out the times of single words too; JSON always has them
    #[arg(long)]
    pub words: bool,
    /// 0 takes the likeliest token, 1 draws freely [default: 0, and more where that gives nonsense]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// How many texts are followed side by side; more is slower, and a little more exact [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub beam: Option<usize>,
    /// Seed of the draws
    #[arg(
        long,
        value_name = "S",
        allow_negative_numbers = true,
        default_value_t = 0
    )]
    pub seed: u64,
    /// Write to this file; .txt, .json, .srt, .vtt or .tsv
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A form of transcripts.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TranscriptFormatName {
    /// A line for each sentence or so
    Text,
    /// Text, language, duration, segments and words
    Json,
    /// SubRip
    Srt,
    /// WebVTT
    Vtt,
    /// A table
    Tsv,
}

/// What is made of speech.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskName {
    /// Text in the spoken language
    Transcribe,
    /// English text
    Translate,
}
