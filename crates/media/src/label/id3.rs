//! MP3: the recipe as the comment of an ID3v2.4 tag, after `medley:`, the packet in a `PRIV` frame
//! ([ID3v2.4](https://id3.org/id3v2.4.0-frames); [XMP specification, part 3, section 1.1.6](https://github.com/adobe/XMP-Toolkit-SDK/blob/main/docs/XMPSpecificationPart3.pdf)).

use super::{COMMENT, Found, Origin, check_length, take, xmp};
use crate::error::MediaError;

/// Who the packet belongs to.
const OWNER: &[u8] = b"XMP\0";

/// Before a comment: UTF-8, no language, no description.
const UNTITLED: &[u8] = b"\x03und\0";

/// The tag that a file begins with.
pub(crate) fn mp3_label(origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
    let Origin::Generated { recipe } = origin else {
        return Ok(Vec::new());
    };
    check_length(recipe)?;
    let mut frames = Vec::new();
    frame(&mut frames, b"TSSE", b"\x03medley");
    if let Some(recipe) = recipe {
        let comment = [UNTITLED, COMMENT, recipe.as_bytes()].concat();
        frame(&mut frames, b"COMM", &comment);
    }
    frame(&mut frames, b"PRIV", &[OWNER, &xmp::packet(None)].concat());
    let mut out = b"ID3\x04\x00\x00".to_vec();
    out.extend(spread(frames.len()));
    out.extend(frames);
    Ok(out)
}

fn frame(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    out.extend(name);
    out.extend(spread(data.len()));
    out.extend([0, 0]);
    out.extend(data);
}

/// A length of 28 bits as four bytes of seven.
fn spread(length: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (length >> shift) as u8 & 0x7F)
}

fn gathered(bytes: &[u8]) -> usize {
    let add = |sum: usize, byte: &u8| sum << 7 | usize::from(byte & 0x7F);
    bytes.iter().take(4).fold(0, add)
}

pub(super) fn is_id3(bytes: &[u8]) -> bool {
    bytes.starts_with(b"ID3")
}

/// The label of a file with a tag of version 2.4.
pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let mut at = 0;
    let Some(head) = take(bytes, &mut at, 10).filter(|head| head[3] == 4) else {
        return found;
    };
    let Some(tag) = take(bytes, &mut at, gathered(&head[6..])) else {
        return found;
    };
    let mut at = 0;
    while let Some(head) = take(tag, &mut at, 10) {
        let Some(data) = take(tag, &mut at, gathered(&head[4..8])) else {
            break;
        };
        match &head[..4] {
            b"PRIV" if data.starts_with(OWNER) => found.packet = Some(data[OWNER.len()..].to_vec()),
            b"COMM" => {
                let recipe = data.strip_prefix(UNTITLED);
                if let Some(recipe) = recipe.and_then(|text| text.strip_prefix(COMMENT)) {
                    found.add_recipe(recipe);
                }
            }
            _ => {}
        }
    }
    found
}
