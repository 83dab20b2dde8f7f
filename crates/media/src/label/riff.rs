//! The chunks of RIFF files, which WebP and WAV are.

use super::take;

/// `RIFF`, the size of what follows, the kind of file.
pub(super) const RIFF_HEADER: usize = 12;

/// Appends a chunk; none if its data is too long for the format.
pub(super) fn push_chunk(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) -> Option<()> {
    out.extend_from_slice(name);
    out.extend_from_slice(&u32::try_from(data.len()).ok()?.to_le_bytes());
    out.extend_from_slice(data);
    if data.len() % 2 == 1 {
        out.push(0);
    }
    Some(())
}

/// Names and data of the chunks that `bytes` begins with, up to the first that is cut off.
pub(super) fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = take(bytes, &mut at, 8)?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let data = take(bytes, &mut at, length)?;
        at = at.saturating_add(length % 2);
        Some(([head[0], head[1], head[2], head[3]], data))
    })
}
