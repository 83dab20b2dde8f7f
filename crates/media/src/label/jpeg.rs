//! JPEG: an APP1 segment for XMP and COM segments for the recipe
//! ([ITU-T T.81](https://www.w3.org/Graphics/JPEG/itu-t81.pdf), annex B).

use super::{COMMENT, Found, take};

/// What an APP1 segment with an XMP packet begins with.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const APP0: u8 = 0xE0;
const APP1: u8 = 0xE1;
const COM: u8 = 0xFE;
const SOS: u8 = 0xDA;
const EOI: u8 = 0xD9;
/// The most that a segment holds beside its own length.
const SEGMENT: usize = 65_533;

/// The label goes behind the JFIF segment, which must stay first.
pub(super) fn write(bytes: &[u8], recipe: Option<&str>, packet: &[u8]) -> Option<Vec<u8>> {
    let mut at = 2;
    if bytes.get(2..4)? == [0xFF, APP0] {
        at = 4 + usize::from(u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]));
    }
    let mut out = bytes.get(..at)?.to_vec();
    push_segment(&mut out, APP1, &[XMP, packet])?;
    if let Some(recipe) = recipe {
        for piece in recipe.as_bytes().chunks(SEGMENT - COMMENT.len()) {
            push_segment(&mut out, COM, &[COMMENT, piece])?;
        }
    }
    out.extend_from_slice(&bytes[at..]);
    Some(out)
}

fn push_segment(out: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) -> Option<()> {
    let data = parts.concat();
    let length = u16::try_from(data.len() + 2).ok()?;
    out.extend_from_slice(&[0xFF, marker]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&data);
    Some(())
}

pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    walk(bytes, |marker, data| match marker {
        APP1 if data.starts_with(XMP) => found.packet = Some(data[XMP.len()..].to_vec()),
        COM if data.starts_with(COMMENT) => found.add_recipe(&data[COMMENT.len()..]),
        _ => {}
    });
    found
}

/// Visits the segments before the first scan; gives where that scan begins.
fn walk(bytes: &[u8], mut visit: impl FnMut(u8, &[u8])) -> Option<usize> {
    let mut at = 2;
    loop {
        let mut marker = *take(bytes, &mut at, 2)?.last()?;
        while marker == 0xFF {
            marker = *take(bytes, &mut at, 1)?.first()?;
        }
        // Restart marks and the like stand alone.
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        if marker == EOI {
            return None;
        }
        let head = take(bytes, &mut at, 2)?;
        let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
        let data = take(bytes, &mut at, length.checked_sub(2)?)?;
        if marker == SOS {
            return Some(at);
        }
        visit(marker, data);
    }
}

/// Whether the file goes on to the mark of its end, which cut-off files do not.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    walk(bytes, |_, _| {})
        .is_some_and(|scan| bytes[scan..].windows(2).any(|pair| pair == [0xFF, EOI]))
}
