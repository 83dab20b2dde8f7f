//! The compositor: a timeline as JSON in, one film out.
//!
//! ```json
//! {
//!   "size": [1280, 720], "rate": 30, "background": "#101014", "fade_out": 0.5,
//!   "scenes": [
//!     {"title": {"text": "Red Hearts", "subtitle": "made by hand"}, "seconds": 3, "fade": 0.5},
//!     {"still": {"file": "key.png", "zoom": [1.0, 1.2], "towards": [0.5, 0.3]}, "seconds": 4, "fade": 1},
//!     {"clip": {"file": "heart.mp4", "repeat": true, "fit": "pad", "volume": -6}, "seconds": 4, "fade": 0.5}
//!   ],
//!   "sounds": [
//!     {"file": "voice.wav", "role": "voice", "start": 1.0},
//!     {"file": "jingle.wav", "role": "music", "repeat": true, "fade_in": 0.5, "fade_out": 2}
//!   ],
//!   "captions": {"words": [{"word": "Red", "start": 1.0, "end": 1.3}]},
//!   "loudness": -16
//! }
//! ```
//!
//! Scenes follow one another; `fade` is how many seconds a scene lies over the end of the one before it (of the first: over the
//! background). Files are looked for beside the timeline. Music goes down by `duck` decibels while a voice speaks, the mix is
//! brought to `loudness` (LUFS, EBU R 128), and its peaks are kept below -1.5 dBFS.

mod check;
pub(crate) mod font;
mod mix;
pub(crate) mod paint;
mod render;
mod scene;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::write::Codec;

pub use font::Font;
pub use render::{Compositor, Step, render};

/// A whole film.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// Width and height in pixels.
    #[serde(default = "size")]
    pub size: [u32; 2],
    /// Frames a second, 1 to 60.
    #[serde(default = "rate")]
    pub rate: u32,
    /// What is seen behind titles and beside padded pictures: `#rrggbb`.
    #[serde(default = "background")]
    pub background: String,
    /// A TrueType or OpenType file for titles and captions; Inter where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub font: Option<PathBuf>,
    /// What is seen, in order.
    pub scenes: Vec<Scene>,
    /// Seconds in which the end goes over into the background.
    #[serde(default)]
    pub fade_out: f64,
    /// What is heard, at once.
    #[serde(default)]
    pub sounds: Vec<Sound>,
    /// What is written at the bottom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<Captions>,
    /// How loud the whole is, in LUFS.
    #[serde(default = "loudness")]
    pub loudness: f64,
    /// By how many decibels music goes down under a voice.
    #[serde(default = "duck")]
    pub duck: f64,
    /// How pictures are coded, for .mp4: `h264` or `av1`.
    #[serde(default, skip_serializing_if = "is_h264")]
    pub codec: Codec,
}

fn is_h264(codec: &Codec) -> bool {
    *codec == Codec::H264
}

/// One scene: exactly one of `title`, `still` and `clip`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// Words on a card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// A picture, slowly enlarged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still: Option<Still>,
    /// A film.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<ClipScene>,
    /// How long it is seen, both fades included; of a clip its own length where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Seconds in which it comes over the scene before.
    #[serde(default)]
    pub fade: f64,
}

/// A title card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Title {
    /// In large letters; lines break where they must, or at `\n`.
    pub text: String,
    /// Below it, smaller.
    #[serde(default)]
    pub subtitle: String,
    /// Of the letters: `#rrggbb`.
    #[serde(default = "white")]
    pub colour: String,
    /// Of the card; the timeline's where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<String>,
}

/// A picture with a slow zoom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Still {
    /// PNG, JPEG, WebP or GIF.
    pub file: PathBuf,
    /// How much it is enlarged at first and at last, 1 to 4: 1 fills the film's size.
    #[serde(default = "zoom")]
    pub zoom: [f64; 2],
    /// The point that stays in place, from left and from top, 0 to 1.
    #[serde(default = "middle")]
    pub towards: [f64; 2],
    /// How another aspect comes to the film's.
    #[serde(default)]
    pub fit: Placing,
    /// Whether its white becomes the background, as that of a drawing on coloured paper.
    #[serde(default)]
    pub multiply: bool,
}

/// A film within the film.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipScene {
    /// MP4, GIF, animated WebP or PNG, or a folder of frames.
    pub file: PathBuf,
    /// Seconds of it that are left out at its start.
    #[serde(default)]
    pub start: f64,
    /// Whether it begins again at its end; its last frame stays otherwise.
    #[serde(default)]
    pub repeat: bool,
    /// How another aspect comes to the film's.
    #[serde(default)]
    pub fit: Placing,
    /// Whether its white becomes the background.
    #[serde(default)]
    pub multiply: bool,
    /// Decibels of its own sound; silent where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<f64>,
}

/// How a picture of another aspect comes to a size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placing {
    /// It fills the size; what stands over is cut off.
    #[default]
    Crop,
    /// It lies within the size, over the background.
    Pad,
}

/// A sound on its track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sound {
    /// WAV, FLAC, MP3, Ogg Vorbis or AAC.
    pub file: PathBuf,
    /// What it is to the others.
    pub role: Role,
    /// When it begins, in seconds.
    #[serde(default)]
    pub start: f64,
    /// How much louder it is made, in decibels.
    #[serde(default)]
    pub gain: f64,
    /// Whether it begins again at its end until the film ends.
    #[serde(default)]
    pub repeat: bool,
    /// Seconds in which it comes.
    #[serde(default)]
    pub fade_in: f64,
    /// Seconds in which it goes, before its end or the film's.
    #[serde(default)]
    pub fade_out: f64,
}

/// What a sound is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Speech: music goes down under it.
    Voice,
    /// Music.
    Music,
    /// Neither.
    Effect,
}

/// Words with their times, shown some at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Captions {
    /// In order; a new caption begins after a pause, a full stop, or when the line is full.
    pub words: Vec<Word>,
    /// Seconds that all of them come later: where the voice begins.
    #[serde(default)]
    pub start: f64,
}

/// A word and when it is heard, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// With its punctuation.
    pub word: String,
    /// When it begins.
    pub start: f64,
    /// When it ends.
    pub end: f64,
}

fn size() -> [u32; 2] {
    [1280, 720]
}

fn rate() -> u32 {
    30
}

fn background() -> String {
    "#101014".to_owned()
}

fn white() -> String {
    "#ffffff".to_owned()
}

fn loudness() -> f64 {
    -16.0
}

fn duck() -> f64 {
    12.0
}

fn zoom() -> [f64; 2] {
    [1.0, 1.15]
}

fn middle() -> [f64; 2] {
    [0.5, 0.5]
}
