//! Where every pixel went.

use super::coarse;
use super::planes::{Place, Planes};
use super::refine::refine;

/// The longest side of the coarsest level.
const COARSEST: usize = 40;

/// Shifts of the pixels of a picture, in pixels to the right (`u`) and down (`v`); rows from top to bottom.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub width: usize,
    pub height: usize,
    pub u: Vec<f32>,
    pub v: Vec<f32>,
}

impl Field {
    /// Nothing moves.
    pub fn still(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            u: vec![0.0; width * height],
            v: vec![0.0; width * height],
        }
    }

    /// The shift at a point.
    pub fn at(&self, x: f32, y: f32) -> (f32, f32) {
        let place = Place::new(x, y, self.width, self.height);
        (place.linear(&self.u), place.linear(&self.v))
    }

    /// The same on a level of twice the size.
    fn doubled(&self, width: usize, height: usize) -> Self {
        let mut field = Self::still(width, height);
        for y in 0..height {
            for x in 0..width {
                let (u, v) = self.at(x as f32 * 0.5 - 0.25, y as f32 * 0.5 - 0.25);
                field.u[y * width + x] = u * 2.0;
                field.v[y * width + x] = v * 2.0;
            }
        }
        field
    }
}

/// A picture at its size, blurred a little, and at halves of it, down to 40 pixels.
pub(super) fn pyramid(picture: &Planes) -> Vec<Planes> {
    let mut levels = vec![picture.smoothed()];
    while let Some(last) = levels.last().filter(|l| l.width.max(l.height) > COARSEST) {
        let next = last.halved();
        levels.push(next);
    }
    levels
}

/// Where the pixels of the one picture are in the other, both as [`pyramid`]s of one size.
pub(super) fn flow(from: &[Planes], to: &[Planes]) -> Field {
    let mut field: Option<Field> = None;
    for (level, (a, b)) in from.iter().zip(to).enumerate().rev() {
        let start = match &field {
            Some(coarser) => coarser.doubled(a.width, a.height),
            None => coarse::search(a, b),
        };
        field = Some(refine(a, b, start, level == 0));
    }
    field.unwrap_or_else(|| Field::still(1, 1))
}
