//! Vorbis comments, which FLAC and Opus have: the recipe as the comment, after `medley:`, and the mark as a field of
//! IPTC's name ([the format](https://www.xiph.org/vorbis/doc/v-comment.html)).

use super::xmp::SYNTHETIC;
use super::{COMMENT, Found, Origin, check_length, take};
use crate::error::MediaError;

const VENDOR: &[u8] = b"medley";

/// Fields of a file that are looked at.
const MOST: usize = 1000;

/// The fields as they stand in a file, behind what names the block or the packet.
fn fields(recipe: Option<&str>, generated: bool) -> Vec<u8> {
    let mut list: Vec<Vec<u8>> = Vec::new();
    if generated {
        list.push(format!("DigitalSourceType={SYNTHETIC}").into_bytes());
    }
    if let Some(recipe) = recipe {
        list.push([b"COMMENT=".as_slice(), COMMENT, recipe.as_bytes()].concat());
    }
    // Lengths are those of recipes, which are short.
    let put = |out: &mut Vec<u8>, text: &[u8]| {
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text);
    };
    let mut out = Vec::new();
    put(&mut out, VENDOR);
    out.extend((list.len() as u32).to_le_bytes());
    list.iter().for_each(|field| put(&mut out, field));
    out
}

fn of_origin(origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    match origin {
        Origin::Generated { recipe } => {
            check_length(recipe)?;
            Ok(fields(recipe, true))
        }
        _ => Ok(fields(None, false)),
    }
}

/// The second packet of an Opus file.
pub(crate) fn opus_tags(origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    let mut out = b"OpusTags".to_vec();
    out.extend(of_origin(origin)?);
    Ok(out)
}

/// A FLAC file, as encoders write it, with a block of comments behind its first block.
pub(crate) fn flac_with_label(bytes: &[u8], origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    let odd = || MediaError::EncodeSound {
        format: "FLAC",
        reason: "its encoder wrote an unexpected header".into(),
    };
    let comments = of_origin(origin)?;
    let mut at = 4;
    let head = take(bytes, &mut at, 4).ok_or_else(odd)?;
    let (kind, length) = (head[0] & 0x7F, block_length(head));
    let info = take(bytes, &mut at, length).ok_or_else(odd)?;
    let sizes = info.get(2..4).ok_or_else(odd)?;
    if !bytes.starts_with(b"fLaC") || kind != 0 {
        return Err(odd());
    }
    // All blocks are of one size but the last, which does not count; a size is 16 at least.
    let size = u16::from_be_bytes([sizes[0], sizes[1]])
        .max(16)
        .to_be_bytes();
    let last = head[0] & 0x80;
    let mut out = b"fLaC".to_vec();
    out.extend([0]);
    out.extend(&head[1..]);
    out.extend([size, size].concat());
    out.extend(&info[4..]);
    // Kind 4, with the sign of the last block where the first one had it.
    out.extend([4 | last]);
    out.extend(&(comments.len() as u32).to_be_bytes()[1..]);
    out.extend(comments);
    out.extend(&bytes[at..]);
    Ok(out)
}

fn block_length(head: &[u8]) -> usize {
    u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize
}

pub(super) fn is_flac(bytes: &[u8]) -> bool {
    bytes.starts_with(b"fLaC")
}

/// The label of a FLAC file.
pub(super) fn read_flac(bytes: &[u8]) -> Found {
    let mut at = 4;
    while let Some(head) = take(bytes, &mut at, 4) {
        let Some(block) = take(bytes, &mut at, block_length(head)) else {
            break;
        };
        if head[0] & 0x7F == 4 {
            return read(block);
        }
        if head[0] & 0x80 != 0 {
            break;
        }
    }
    Found::default()
}

pub(super) fn is_ogg(bytes: &[u8]) -> bool {
    bytes.starts_with(b"OggS")
}

/// The label of an Ogg file with Opus or Vorbis in it.
pub(super) fn read_ogg(bytes: &[u8]) -> Found {
    let mut reader = ogg::PacketReader::new(std::io::Cursor::new(bytes));
    let mut next = || reader.read_packet().ok().flatten();
    let (_, second) = (next(), next());
    let Some(second) = second else {
        return Found::default();
    };
    let comments = second.data.strip_prefix(b"OpusTags");
    let comments = comments.or_else(|| second.data.strip_prefix(b"\x03vorbis"));
    comments.map(read).unwrap_or_default()
}

fn read(block: &[u8]) -> Found {
    let mut found = Found::default();
    let mut at = 0;
    let number = |at: &mut usize| {
        let four = take(block, at, 4)?;
        Some(u32::from_le_bytes([four[0], four[1], four[2], four[3]]) as usize)
    };
    let mut fields = || {
        let vendor = number(&mut at)?;
        take(block, &mut at, vendor)?;
        let count = number(&mut at)?;
        for _ in 0..count.min(MOST) {
            let length = number(&mut at)?;
            let field = take(block, &mut at, length)?;
            let split = field.iter().position(|&b| b == b'=')?;
            let (name, value) = (&field[..split], &field[split + 1..]);
            if name.eq_ignore_ascii_case(b"DigitalSourceType") {
                found.packet = Some([b"DigitalSourceType=", value].concat());
            } else if name.eq_ignore_ascii_case(b"COMMENT")
                && let Some(recipe) = value.strip_prefix(COMMENT)
            {
                found.add_recipe(recipe);
            }
        }
        Some(())
    };
    let _ = fields();
    found
}
