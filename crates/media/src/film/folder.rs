//! Folders of pictures, one a frame.

use std::path::Path;

use super::clip::{Clip, same_size};
use super::rate::Rate;
use crate::error::MediaError;
use crate::format::Format;
use crate::picture::Picture;
use crate::read::{Limits, decode, read_bytes};

/// The pictures of a folder in the order of their names, numbers in them by value; `limits` are for all of them together.
pub(super) fn read_folder(
    path: &Path,
    limits: &Limits,
    rate: Option<Rate>,
) -> Result<Clip, MediaError> {
    const PER_SECOND: u32 = 8;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| MediaError::io(path, "read", e))? {
        let file = entry.map_err(|e| MediaError::io(path, "read", e))?.path();
        let hidden = file
            .file_name()
            .is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && Format::from_path(&file).is_ok() {
            names.push(file);
        }
        if names.len() > limits.frames {
            let (got, allowed) = (
                format!("more than {} frames", limits.frames),
                format!("{} frames", limits.frames),
            );
            return Err(MediaError::TooLarge { got, allowed }.in_file(path));
        }
    }
    names.sort_by_key(|name| in_order(&name.to_string_lossy()));
    let mut frames: Vec<Picture> = Vec::new();
    let mut left = *limits;
    for name in &names {
        let bytes = read_bytes(name, &left)?;
        left.file_bytes -= bytes.len() as u64;
        let picture = decode(&bytes, &left).map_err(|e| e.in_file(name))?;
        left.pixels -= u64::from(picture.width()) * u64::from(picture.height());
        if let Some(first) = frames.first() {
            same_size((first.width(), first.height()), &picture).map_err(|e| e.in_file(name))?;
        }
        frames.push(picture);
    }
    if frames.is_empty() {
        return Err(MediaError::damaged_film("there are no pictures in this folder").in_file(path));
    }
    let rate = rate.map_or_else(|| Rate::new(PER_SECOND, 1), Ok)?;
    Clip::new(frames, rate, None)
}

/// A key that puts `frame-10` behind `frame-9`: runs of figures by length, then by figures.
fn in_order(name: &str) -> Vec<(usize, String)> {
    let mut key: Vec<(usize, String)> = Vec::new();
    let mut figures = false;
    for letter in name.chars() {
        if letter.is_ascii_digit() != figures || key.is_empty() {
            figures = letter.is_ascii_digit();
            key.push((0, String::new()));
        }
        if let Some((length, part)) = key.last_mut() {
            let leading = figures && letter == '0' && part.is_empty();
            if !leading {
                part.push(letter);
            }
            *length = if figures { part.len() } else { 0 };
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn frames_are_in_the_order_of_their_numbers() {
        let mut names = ["f10.png", "f9.png", "f0100.png", "a2.png", "f09b.png"];
        names.sort_by_key(|name| in_order(name));
        assert_eq!(
            names,
            ["a2.png", "f9.png", "f09b.png", "f10.png", "f0100.png"]
        );
    }
}
