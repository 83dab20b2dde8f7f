//! Several pictures on one.

use crate::error::{MediaError, size};
use crate::picture::Picture;
use crate::resize::Filter;

/// The pictures in rows of `columns`, each in the middle of a cell of the largest width and height
/// among them, `gap` pixels apart, over `background`.
///
/// # Errors
/// [`MediaError::Size`] if there are no pictures or columns, or the sheet would be too large.
pub fn grid(
    pictures: &[Picture],
    columns: usize,
    gap: u32,
    background: [u8; 3],
) -> Result<Picture, MediaError> {
    size(
        !pictures.is_empty(),
        "the number of pictures",
        0,
        "at least 1",
    )?;
    size(columns > 0, "the number of columns", 0, "at least 1")?;
    let columns = columns.min(pictures.len());
    let rows = pictures.len().div_ceil(columns);
    let widest = pictures.iter().map(Picture::width).max().unwrap_or(1);
    let tallest = pictures.iter().map(Picture::height).max().unwrap_or(1);
    let side = |cell: u32, count: usize| {
        let total = (u64::from(cell) + u64::from(gap)) * count as u64 - u64::from(gap);
        u32::try_from(total).unwrap_or(u32::MAX)
    };
    let (width, height) = (side(widest, columns), side(tallest, rows));
    let mut sheet = Picture::filled(width, height, background)?;
    for (i, picture) in pictures.iter().enumerate() {
        let (column, row) = ((i % columns) as u32, (i / columns) as u32);
        let x = column * (widest + gap) + (widest - picture.width()) / 2;
        let y = row * (tallest + gap) + (tallest - picture.height()) / 2;
        sheet.paste(&picture.over(background), x, y);
    }
    Ok(sheet)
}

/// A [`grid`] on white with every picture scaled to lie within `cell` × `cell`.
///
/// # Errors
/// As [`grid`].
pub fn contact_sheet(
    pictures: &[Picture],
    columns: usize,
    cell: u32,
) -> Result<Picture, MediaError> {
    const GAP: u32 = 4;
    const WHITE: [u8; 3] = [255; 3];
    let cells: Result<Vec<Picture>, MediaError> = pictures
        .iter()
        .map(|picture| picture.fit(cell, cell, WHITE, Filter::default()))
        .collect();
    grid(&cells?, columns, GAP, WHITE)
}
