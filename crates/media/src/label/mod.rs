//! What a file says about its own making: the recipe, and the mark of synthetic media.
//!
//! The mark is the IPTC property
//! [DigitalSourceType](https://iptc.org/std/photometadata/specification/IPTC-PhotoMetadata#digital-source-type)
//! with the value `trainedAlgorithmicMedia`, in an XMP packet where each format keeps one
//! ([XMP specification, part 3](https://github.com/adobe/XMP-Toolkit-SDK/blob/main/docs/XMPSpecificationPart3.pdf)).
//! The recipe is JSON text: in PNG an `iTXt` chunk with the keyword `medley`, in JPEG and GIF comments that
//! begin with `medley:`, in WebP (which has no comments) a property in the XMP packet, in WAV the comment of the
//! `INFO` list, again after `medley:`, in FLAC and Ogg the field `COMMENT`, in MP3 the comment of the tag, in MIDI a text of
//! the first track, in ABC a comment, in MP4 (whose XMP lies in a `uuid` box) a property as in WebP.

pub(crate) mod abc;
mod gif;
mod id3;
mod jpeg;
pub(crate) mod midi;
mod mp4;
mod png;
mod riff;
mod vorbis;
mod wav;
mod webp;
mod xmp;

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use crate::error::MediaError;
use crate::format::Format;

pub(crate) use id3::mp3_label;
pub(crate) use jpeg::is_whole as jpeg_is_whole;
pub(crate) use vorbis::{flac_with_label, opus_tags};

/// The longest recipe that is written or read, in bytes.
pub const MAX_RECIPE: usize = 1 << 20;

/// What the recipe's comments begin with.
const COMMENT: &[u8] = b"medley:";

/// How a picture or a sound came to be: what is written into its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A model made it: the file carries the mark of synthetic media and, unless it is left out, the
    /// recipe.
    Generated {
        /// The request as JSON.
        recipe: Option<&'a str>,
    },
    /// It shows what was there before, such as a sheet of training pictures: nothing is written.
    Collected,
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The recipe as it was written, if there is one.
    pub recipe: Option<String>,
    /// Whether the file says that a model made it.
    pub synthetic: bool,
}

impl Label {
    /// Reads the label of a PNG, JPEG, WebP, GIF, WAV, FLAC, Ogg, MP3, MP4, MIDI or ABC file. Damaged files and those of other formats have
    /// none, or what could be read of it.
    pub fn of(bytes: &[u8]) -> Self {
        let found = match Format::of_bytes(bytes) {
            Some(Format::Png) => png::read(bytes),
            Some(Format::Jpeg) => jpeg::read(bytes),
            Some(Format::WebP) => webp::read(bytes),
            Some(Format::Gif) => gif::read(bytes),
            None if wav::is_wav(bytes) => wav::read(bytes),
            None if vorbis::is_flac(bytes) => vorbis::read_flac(bytes),
            None if vorbis::is_ogg(bytes) => vorbis::read_ogg(bytes),
            None if id3::is_id3(bytes) => id3::read(bytes),
            None if mp4::is_mp4(bytes) => mp4::read(&mut Cursor::new(bytes)).unwrap_or_default(),
            None if midi::is_midi(bytes) => midi::read(bytes),
            None if abc::is_abc(bytes) => abc::read(bytes),
            None => Found::default(),
        };
        Self::of_parts(found)
    }

    /// Reads the label of an MP4 file, however long it is; none of a file of another kind.
    ///
    /// # Errors
    /// [`MediaError::Io`].
    pub fn of_mp4(path: &Path) -> Result<Option<Self>, MediaError> {
        let io = |e| MediaError::io(path, "read", e);
        let mut file = File::open(path).map_err(io)?;
        let mut start = Vec::new();
        file.by_ref().take(8).read_to_end(&mut start).map_err(io)?;
        if !mp4::is_mp4(&start) {
            return Ok(None);
        }
        let found = mp4::read(&mut file).map_err(io)?;
        Ok(Some(Self::of_parts(found)))
    }

    fn of_parts(found: Found) -> Self {
        let recipe = found
            .recipe
            .filter(|recipe| !recipe.is_empty() && recipe.len() <= MAX_RECIPE)
            .and_then(|recipe| String::from_utf8(recipe).ok());
        let packet = found.packet.as_deref().unwrap_or_default();
        Self {
            recipe: recipe.or_else(|| xmp::recipe(packet)),
            synthetic: xmp::is_marked(packet),
        }
    }
}

/// The raw parts of a label.
#[derive(Default)]
struct Found {
    recipe: Option<Vec<u8>>,
    packet: Option<Vec<u8>>,
}

impl Found {
    /// One more piece of the recipe.
    fn add_recipe(&mut self, piece: &[u8]) {
        let recipe = self.recipe.get_or_insert_default();
        // A byte more than allowed marks it as too long.
        let room = (MAX_RECIPE + 1).saturating_sub(recipe.len());
        recipe.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// `bytes`, a whole file of `format` as the encoders here write it, with its label.
pub(crate) fn embed(
    bytes: Vec<u8>,
    format: Format,
    origin: Origin<'_>,
) -> Result<Vec<u8>, MediaError> {
    let Origin::Generated { recipe } = origin else {
        return Ok(bytes);
    };
    check_length(recipe)?;
    let written = match format {
        Format::Png => png::write(&bytes, recipe, &xmp::packet(None)),
        Format::Jpeg => jpeg::write(&bytes, recipe, &xmp::packet(None)),
        Format::WebP => webp::write(&bytes, &xmp::packet(recipe)),
        Format::Gif => gif::write(&bytes, recipe, &xmp::packet(None)),
    };
    written.ok_or_else(|| MediaError::encode(format, "its encoder wrote an unexpected header"))
}

/// The chunks of a WAV file that hold its label.
pub(crate) fn wav_chunks(origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    let Origin::Generated { recipe } = origin else {
        return Ok(Vec::new());
    };
    check_length(recipe)?;
    wav::chunks(recipe, &xmp::packet(None)).ok_or(MediaError::RecipeTooLong {
        bytes: recipe.map_or(0, str::len),
        allowed: MAX_RECIPE,
    })
}

/// The box of an MP4 file that holds its label; nothing where none is written.
pub(crate) fn mp4_box(origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    let Origin::Generated { recipe } = origin else {
        return Ok(Vec::new());
    };
    check_length(recipe)?;
    Ok(mp4::label_box(&xmp::packet(recipe)))
}

/// An animated WebP file with its label; none if its head is not as expected.
pub(crate) fn webp_label(bytes: &[u8], origin: Origin<'_>) -> Result<Option<Vec<u8>>, MediaError> {
    let Origin::Generated { recipe } = origin else {
        return Ok(Some(bytes.to_vec()));
    };
    check_length(recipe)?;
    Ok(webp::write(bytes, &xmp::packet(recipe)))
}

pub(crate) fn check_length(recipe: Option<&str>) -> Result<(), MediaError> {
    let bytes = recipe.map_or(0, str::len);
    if bytes > MAX_RECIPE {
        return Err(MediaError::RecipeTooLong {
            bytes,
            allowed: MAX_RECIPE,
        });
    }
    Ok(())
}

/// The next `count` bytes at `*at`, which moves on; none if they are not there.
fn take<'a>(bytes: &'a [u8], at: &mut usize, count: usize) -> Option<&'a [u8]> {
    let end = at.checked_add(count)?;
    let part = bytes.get(*at..end)?;
    *at = end;
    Some(part)
}
