//! MP4: a `uuid` box for XMP at the top of the file
//! ([XMP specification, part 3](https://github.com/adobe/XMP-Toolkit-SDK/blob/main/docs/XMPSpecificationPart3.pdf),
//! "MPEG-4").

use super::{Found, take};

const UUID: [u8; 16] = [
    0xBE, 0x7A, 0xCF, 0xCB, 0x97, 0xA9, 0x42, 0xE8, 0x9C, 0x71, 0x99, 0x94, 0x91, 0xE3, 0xAF, 0xAC,
];

/// Bytes of a box before its contents.
const HEAD: usize = 8;

pub(super) fn is_mp4(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"ftyp")
}

/// The box around the packet.
pub(super) fn label_box(packet: &[u8]) -> Vec<u8> {
    let length = (HEAD + UUID.len() + packet.len()) as u32;
    [&length.to_be_bytes()[..], b"uuid", &UUID, packet].concat()
}

pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let mut at = 0;
    while read_box(bytes, &mut at, &mut found).is_some() {}
    found
}

fn read_box(bytes: &[u8], at: &mut usize, found: &mut Found) -> Option<()> {
    let start = *at;
    let short = u32::from_be_bytes(*take(bytes, at, 4)?.first_chunk()?);
    let kind = take(bytes, at, 4)?;
    let length = match short {
        // To the end of the file.
        0 => bytes.len() - start,
        1 => usize::try_from(u64::from_be_bytes(*take(bytes, at, 8)?.first_chunk()?)).ok()?,
        length => length as usize,
    };
    let contents = length.checked_sub(*at - start)?;
    let contents = take(bytes, at, contents)?;
    if kind == b"uuid" && contents.starts_with(&UUID) {
        found.packet = Some(contents[UUID.len()..].to_vec());
    }
    Some(())
}
