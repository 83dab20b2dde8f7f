//! Boxes: a length, four letters, contents.

/// The box `kind` around `parts`.
pub(super) fn put(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(kind);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A box with a version and flags.
pub(super) fn put_full(kind: &[u8; 4], version: u8, flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    let head = (u32::from(version) << 24 | flags).to_be_bytes();
    let mut all: Vec<&[u8]> = vec![&head];
    all.extend_from_slice(parts);
    put(kind, &all)
}

/// Numbers as the format has them, one behind another.
pub(super) fn numbers(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

/// The boxes that lie in `bytes`, as far as they are whole: four letters and contents.
pub(super) fn children(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (head, behind) = head(rest)?;
        let contents = match head.length {
            Some(length) => rest.get(behind..usize::try_from(length).ok()?)?,
            None => &rest[behind..],
        };
        rest = &rest[behind + contents.len()..];
        Some((head.kind, contents))
    })
}

/// The contents of the first box `kind` in `bytes`.
pub(super) fn child<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    children(bytes)
        .find(|(found, _)| found == kind)
        .map(|(_, contents)| contents)
}

/// The contents at the end of a path of boxes.
pub(super) fn descend<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(bytes, |within, kind| child(within, kind))
}

/// The head of a box.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub kind: [u8; 4],
    /// With the head itself; none where the box reaches to the end.
    pub length: Option<u64>,
}

/// The head at the start of `bytes`, and how long it is; none if there is none or it cannot be.
pub(super) fn head(bytes: &[u8]) -> Option<(Head, usize)> {
    let length = u32_at(bytes, 0)?;
    let kind = *bytes.get(4..8)?.as_array::<4>()?;
    let (length, behind) = match length {
        0 => (None, 8),
        1 => (Some(u64_at(bytes, 8)?), 16),
        length => (Some(u64::from(length)), 8),
    };
    if length.is_some_and(|length| length < behind as u64) {
        return None;
    }
    Some((Head { kind, length }, behind))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
