//! WAV: the recipe as the comment of the `INFO` list, the packet in a `_PMX` chunk
//! ([XMP specification, part 3, section 1.1.8](https://github.com/adobe/XMP-Toolkit-SDK/blob/main/docs/XMPSpecificationPart3.pdf)).

use super::riff::{RIFF_HEADER, chunks as riff_chunks, push_chunk};
use super::{COMMENT, Found};

/// Whether a file begins as WAV files do.
pub(super) fn is_wav(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE")
}

/// The chunks to put into a file; none if they are too long for it.
pub(super) fn chunks(recipe: Option<&str>, packet: &[u8]) -> Option<Vec<u8>> {
    let mut info = b"INFO".to_vec();
    push_chunk(&mut info, b"ISFT", b"medley\0")?;
    if let Some(recipe) = recipe {
        // Texts in this list end with a zero.
        let comment = [COMMENT, recipe.as_bytes(), b"\0"].concat();
        push_chunk(&mut info, b"ICMT", &comment)?;
    }
    let mut out = Vec::new();
    push_chunk(&mut out, b"LIST", &info)?;
    push_chunk(&mut out, b"_PMX", packet)?;
    Some(out)
}

pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    for (name, data) in riff_chunks(bytes.get(RIFF_HEADER..).unwrap_or_default()) {
        match &name {
            b"_PMX" => found.packet = Some(data.to_vec()),
            b"LIST" => {
                let Some(info) = data.strip_prefix(b"INFO") else {
                    continue;
                };
                for (name, text) in riff_chunks(info) {
                    if let (b"ICMT", Some(recipe)) = (&name, text.strip_prefix(COMMENT)) {
                        found.add_recipe(recipe.strip_suffix(b"\0").unwrap_or(recipe));
                    }
                }
            }
            _ => {}
        }
    }
    found
}
