//! MP4: a `uuid` box for XMP at the top of the file
//! ([XMP specification, part 3](https://github.com/adobe/XMP-Toolkit-SDK/blob/main/docs/XMPSpecificationPart3.pdf),
//! "MPEG-4").

use std::io::{Read, Result, Seek, SeekFrom};
use std::ops::{ControlFlow, Range};

use super::{Found, MAX_RECIPE};
use crate::film::mp4::top_boxes;

const UUID: [u8; 16] = [
    0xBE, 0x7A, 0xCF, 0xCB, 0x97, 0xA9, 0x42, 0xE8, 0x9C, 0x71, 0x99, 0x94, 0x91, 0xE3, 0xAF, 0xAC,
];

/// Bytes of a box before its contents.
const HEAD: usize = 8;

/// The longest packet that is read: every letter of a recipe written as an entity, and room for the rest.
const MAX_PACKET: u64 = MAX_RECIPE as u64 * 6 + (64 << 10);

/// The most boxes of the kind that are looked into.
const MOST: usize = 16;

pub(super) fn is_mp4(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"ftyp")
}

/// The box around the packet.
pub(super) fn label_box(packet: &[u8]) -> Vec<u8> {
    let length = (HEAD + UUID.len() + packet.len()) as u32;
    [&length.to_be_bytes()[..], b"uuid", &UUID, packet].concat()
}

/// Only what may be the label is read, of however long a film.
pub(super) fn read(source: &mut (impl Read + Seek)) -> Result<Found> {
    let mut places: Vec<Range<u64>> = Vec::new();
    top_boxes(source, |kind, contents| {
        if kind == b"uuid" && places.len() < MOST && contents.end - contents.start <= MAX_PACKET {
            places.push(contents);
        }
        ControlFlow::Continue(())
    })?;
    let mut found = Found::default();
    for Range { start, end } in places {
        let mut contents = vec![0; (end - start) as usize];
        source.seek(SeekFrom::Start(start))?;
        source.read_exact(&mut contents)?;
        if let Some(packet) = contents.strip_prefix(&UUID) {
            found.packet = Some(packet.to_vec());
        }
    }
    Ok(found)
}
