//! GIF: an application extension for XMP and a comment for the recipe
//! ([GIF89a](https://www.w3.org/Graphics/GIF/spec-gif89a.txt)).

use super::{COMMENT, Found, take};

const EXTENSION: u8 = 0x21;
const COMMENT_LABEL: u8 = 0xFE;
const APPLICATION_LABEL: u8 = 0xFF;
const IMAGE: u8 = 0x2C;
const XMP: &[u8] = b"XMP DataXMP";
/// Behind the packet, which is not cut into blocks: however far a reader of blocks jumps into it, it
/// ends at its last byte.
const TRAILER: usize = 258;

/// The label goes right behind the colours.
pub(super) fn write(bytes: &[u8], recipe: Option<&str>, packet: &[u8]) -> Option<Vec<u8>> {
    let at = colours_end(bytes)?;
    let mut out = bytes.get(..at)?.to_vec();
    out.extend_from_slice(&[EXTENSION, APPLICATION_LABEL, XMP.len() as u8]);
    out.extend_from_slice(XMP);
    out.extend_from_slice(packet);
    out.push(1);
    out.extend((0..=255).rev());
    out.push(0);
    if let Some(recipe) = recipe {
        out.extend_from_slice(&[EXTENSION, COMMENT_LABEL]);
        for block in [COMMENT, recipe.as_bytes()].concat().chunks(255) {
            out.push(block.len() as u8);
            out.extend_from_slice(block);
        }
        out.push(0);
    }
    out.extend_from_slice(&bytes[at..]);
    Some(out)
}

/// Where the header, the screen descriptor and the global colours end.
fn colours_end(bytes: &[u8]) -> Option<usize> {
    Some(13 + colours(*bytes.get(10)?))
}

/// Bytes of the colours that a descriptor's flags announce.
fn colours(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    if let Some(mut at) = colours_end(bytes) {
        while read_block(bytes, &mut at, &mut found).is_some() {}
    }
    found
}

fn read_block(bytes: &[u8], at: &mut usize, found: &mut Found) -> Option<()> {
    match take(bytes, at, 1)?[0] {
        EXTENSION => {
            let label = take(bytes, at, 1)?[0];
            let start = *at;
            let blocks = sub_blocks(bytes, at)?;
            match label {
                COMMENT_LABEL if blocks.concat().starts_with(COMMENT) => {
                    found.add_recipe(&blocks.concat()[COMMENT.len()..]);
                }
                APPLICATION_LABEL if blocks.first() == Some(&XMP) => {
                    let packet = start + 1 + XMP.len()..at.checked_sub(TRAILER)?;
                    found.packet = bytes.get(packet).map(<[u8]>::to_vec);
                }
                _ => {}
            }
        }
        IMAGE => {
            let descriptor = take(bytes, at, 9)?;
            // The image's own colours, and the width of its codes.
            take(bytes, at, colours(descriptor[8]) + 1)?;
            sub_blocks(bytes, at)?;
        }
        _ => return None,
    }
    Some(())
}

fn sub_blocks<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Vec<&'a [u8]>> {
    let mut blocks = Vec::new();
    loop {
        let length = usize::from(take(bytes, at, 1)?[0]);
        if length == 0 {
            return Some(blocks);
        }
        blocks.push(take(bytes, at, length)?);
    }
}
