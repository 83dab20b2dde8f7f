//! Films: pictures in time, with sound.
//!
//! - [`Clip`]: frames of one size at a constant [`Rate`] in memory, with or without a sound.
//! - [`FilmReader`], [`read_clip`]: MP4 with H.264 and AAC, GIF, animated WebP and PNG, folders of pictures; safe on hostile
//!   files.
//! - [`FilmWriter`], [`write_clip`]: the same, frame by frame into a file that appears whole or not at all.
//! - [`interpolate`](mod@interpolate): frames between frames by optical flow; how steady a clip is.
//! - [`FilmInfo`]: what the head of an MP4 file says.
//! - [`timeline`]: the compositor, which makes one film of titles, stills, clips, captions and sounds.
//!
//! ## What players need
//! MP4 files are H.264 (Constrained Baseline, 4:2:0, BT.709 in the limited range, said so in both the stream and the container)
//! with AAC-LC, or AV1 where [`Codec::Av1`] is asked for; `moov` before `mdat`, one constant rate: they play in browsers, on phones and televisions. Sound is AAC rather
//! than Opus because Apple's and Microsoft's own players do not read Opus in MP4. The patents of AAC-LC have run out; those of
//! H.264 have not everywhere. Cisco pays the licence for the binaries that Cisco hands out, not for builds from source such as this
//! one: who sells films or devices at scale looks at the terms of Via LA's AVC pool. AV1 is free of such terms and smaller, but takes
//! many times as long to write, and televisions and telephones of before 2020 do not play it. It is not read here.

mod aac;
mod access;
mod av1;
mod clip;
mod folder;
mod format;
mod h264;
pub mod interpolate;
mod look;
pub(crate) mod mp4;
mod rate;
mod read;
pub mod timeline;
mod turn;
mod webp;
mod write;
mod yuv;

pub use clip::{Clip, Fit};
pub use format::FilmFormat;
pub use interpolate::{consistency, flicker, interpolate};
pub use look::FilmInfo;
pub use rate::{Rate, rate_words};
pub use read::{FilmReader, Shown, film_limits, read_clip};
pub use write::{Codec, FilmOptions, FilmWriter, Written, write_clip};
