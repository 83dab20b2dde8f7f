//! PNG: `iTXt` chunks ([PNG specification](https://www.w3.org/TR/png-3/#11iTXt)).

use super::{Found, take};

/// The keyword of XMP packets.
const XMP: &[u8] = b"XML:com.adobe.xmp";
const RECIPE: &[u8] = b"medley";
const SIGNATURE: usize = 8;
/// The signature and the IHDR chunk, which comes first.
const HEADER: usize = SIGNATURE + 4 + 4 + 13 + 4;

/// The label goes right behind the header.
pub(super) fn write(bytes: &[u8], recipe: Option<&str>, packet: &[u8]) -> Option<Vec<u8>> {
    if bytes.get(SIGNATURE + 4..SIGNATURE + 8)? != b"IHDR" {
        return None;
    }
    let mut out = bytes.get(..HEADER)?.to_vec();
    push_text(&mut out, XMP, packet);
    if let Some(recipe) = recipe {
        push_text(&mut out, RECIPE, recipe.as_bytes());
    }
    out.extend_from_slice(&bytes[HEADER..]);
    Some(out)
}

fn push_text(out: &mut Vec<u8>, keyword: &[u8], text: &[u8]) {
    // Uncompressed, no language, no translated keyword.
    let data = [b"iTXt", keyword, &[0; 5], text].concat();
    out.extend_from_slice(&((data.len() - 4) as u32).to_be_bytes());
    out.extend_from_slice(&data);
    out.extend_from_slice(&crc32(&data).to_be_bytes());
}

pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let mut at = SIGNATURE;
    while let Some(head) = take(bytes, &mut at, 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(data) = take(bytes, &mut at, length) else {
            break;
        };
        match text_of(&head[4..], data) {
            Some((XMP, text)) => found.packet = Some(text.to_vec()),
            Some((RECIPE, text)) => found.add_recipe(text),
            _ => {}
        }
        at = at.saturating_add(4);
    }
    found
}

/// Keyword and text of an uncompressed `iTXt` chunk.
fn text_of<'a>(kind: &[u8], data: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    if kind != b"iTXt" {
        return None;
    }
    let (keyword, rest) = split_at_zero(data)?;
    let ([0, _], rest) = rest.split_first_chunk::<2>()? else {
        return None;
    };
    let (_language, rest) = split_at_zero(rest)?;
    let (_translated, text) = split_at_zero(rest)?;
    Some((keyword, text))
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..zero], &bytes[zero + 1..]))
}

/// The CRC of PNG chunks, bit by bit: labels are short.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| {
        if crc & 1 == 1 {
            0xEDB8_8320 ^ (crc >> 1)
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_a_known_chunk() {
        assert_eq!(crc32(b"IEND"), 0xAE42_6082);
    }
}
