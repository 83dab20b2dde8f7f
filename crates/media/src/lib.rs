//! Files people open: pictures, animations and sound, read within limits, written whole, with the recipe and
//! the mark of synthetic media inside.
//!
//! - [`Picture`]: pixels; cropping, resizing, sheets of several.
//! - [`read`], [`decode`], [`decode_frames`]: PNG, JPEG, WebP and GIF, safe on hostile files.
//! - [`encode`], [`encode_lossy`], [`encode_animation`]: the same four, and GIF or animated PNG; [`write_file`] puts bytes
//!   into their place whole or not at all.
//! - [`Audio`]: samples; [`audio::read`] takes WAV, FLAC, MP3, Vorbis and AAC, [`audio::encode_wav`] writes WAV.
//! - [`film`]: clips with sound; MP4, GIF, animated WebP and PNG, folders of frames, read and written.
//! - [`score`]: music as it is written down; [`abc`] and [`midi`] read and write it.
//! - [`Origin`] says what is written inside, [`Label::of`] reads it.
//!
//! The same picture and recipe give the same bytes, always.

pub mod abc;
pub mod audio;
pub mod design;
mod error;
mod file;
pub mod film;
mod format;
pub mod label;
pub mod midi;
mod palette;
mod picture;
mod read;
mod resize;
pub mod score;
mod sheet;
mod write;

pub use audio::Audio;
pub use error::MediaError;
pub use file::write_file;
pub use format::Format;
pub use label::{Label, Origin};
pub use picture::{Layout, Picture};
pub use read::{Limits, decode, decode_frames, read};
pub use resize::Filter;
pub use sheet::{contact_sheet, grid};
pub use write::{Frame, encode, encode_animation, encode_lossy};
