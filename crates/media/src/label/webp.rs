//! WebP: an `XMP ` chunk, which asks for the extended form of the file
//! ([container specification](https://developers.google.com/speed/webp/docs/riff_container)).

use super::{Found, take};

const RIFF_HEADER: usize = 12;
const HAS_ALPHA: u8 = 0x10;
const HAS_XMP: u8 = 0x04;

/// `bytes` is the simple form: one `VP8L` chunk, as the encoder here writes it.
pub(super) fn write(bytes: &[u8], packet: &[u8]) -> Option<Vec<u8>> {
    let chunk = bytes.get(RIFF_HEADER..)?;
    if chunk.get(..4)? != b"VP8L" {
        return None;
    }
    // Behind the chunk's head and a signature byte: width - 1 and height - 1 in 14 bits each, then
    // whether there is transparency.
    let bits = u32::from_le_bytes(*chunk.get(9..)?.first_chunk::<4>()?);
    let (width, height) = (bits & 0x3FFF, (bits >> 14) & 0x3FFF);
    let alpha = if bits >> 28 & 1 == 1 { HAS_ALPHA } else { 0 };
    let mut extended = vec![alpha | HAS_XMP, 0, 0, 0];
    extended.extend_from_slice(&width.to_le_bytes()[..3]);
    extended.extend_from_slice(&height.to_le_bytes()[..3]);
    let mut out = bytes[..RIFF_HEADER].to_vec();
    push_chunk(&mut out, b"VP8X", &extended)?;
    out.extend_from_slice(chunk);
    push_chunk(&mut out, b"XMP ", packet)?;
    let size = u32::try_from(out.len() - 8).ok()?;
    out[4..8].copy_from_slice(&size.to_le_bytes());
    Some(out)
}

fn push_chunk(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) -> Option<()> {
    out.extend_from_slice(name);
    out.extend_from_slice(&u32::try_from(data.len()).ok()?.to_le_bytes());
    out.extend_from_slice(data);
    if data.len() % 2 == 1 {
        out.push(0);
    }
    Some(())
}

pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let mut at = RIFF_HEADER;
    while let Some(head) = take(bytes, &mut at, 8) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some(data) = take(bytes, &mut at, length) else {
            break;
        };
        // Some writers leave out the blank.
        if head.starts_with(b"XMP") {
            found.packet = Some(data.to_vec());
        }
        at = at.saturating_add(length % 2);
    }
    found
}
