//! WebP: an `XMP ` chunk, which asks for the extended form of the file
//! ([container specification](https://developers.google.com/speed/webp/docs/riff_container)).

use super::Found;
use super::riff::{RIFF_HEADER, chunks as riff_chunks, push_chunk};

const HAS_ALPHA: u8 = 0x10;
const HAS_XMP: u8 = 0x04;

/// `bytes` is what the encoders here write: the simple form, one `VP8L` chunk without loss or one `VP8 ` chunk with, or
/// the extended form that lossy pictures with transparency have.
pub(super) fn write(bytes: &[u8], packet: &[u8]) -> Option<Vec<u8>> {
    let chunks = bytes.get(RIFF_HEADER..)?;
    let mut out = bytes[..RIFF_HEADER].to_vec();
    if chunks.get(..4)? == b"VP8X" {
        out.extend_from_slice(chunks);
        // The flags are the first byte behind the chunk's head.
        *out.get_mut(RIFF_HEADER + 8)? |= HAS_XMP;
    } else {
        let (alpha, width, height) = sides(chunks)?;
        let mut extended = vec![if alpha { HAS_ALPHA } else { 0 } | HAS_XMP, 0, 0, 0];
        extended.extend_from_slice(&width.checked_sub(1)?.to_le_bytes()[..3]);
        extended.extend_from_slice(&height.checked_sub(1)?.to_le_bytes()[..3]);
        push_chunk(&mut out, b"VP8X", &extended)?;
        out.extend_from_slice(chunks);
    }
    push_chunk(&mut out, b"XMP ", packet)?;
    let size = u32::try_from(out.len() - 8).ok()?;
    out[4..8].copy_from_slice(&size.to_le_bytes());
    Some(out)
}

/// Whether a picture chunk has transparency, its width and its height.
fn sides(chunk: &[u8]) -> Option<(bool, u32, u32)> {
    match chunk.get(..4)? {
        // Behind the head and a signature byte: width - 1 and height - 1 in 14 bits each, then whether there
        // is transparency.
        b"VP8L" => {
            let bits = u32::from_le_bytes(*chunk.get(9..)?.first_chunk::<4>()?);
            let (width, height) = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1);
            Some((bits >> 28 & 1 == 1, width, height))
        }
        // Behind the head, three bytes of the frame and three of its start code (RFC 6386, section 9.1): width and
        // height in 14 bits of two bytes each.
        b"VP8 " => {
            let [w0, w1, h0, h1] = *chunk.get(14..)?.first_chunk::<4>()?;
            let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
            Some((false, side(w0, w1), side(h0, h1)))
        }
        _ => None,
    }
}

pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    for (name, data) in riff_chunks(bytes.get(RIFF_HEADER..).unwrap_or_default()) {
        // Some writers leave out the blank.
        if name.starts_with(b"XMP") {
            found.packet = Some(data.to_vec());
        }
    }
    found
}
