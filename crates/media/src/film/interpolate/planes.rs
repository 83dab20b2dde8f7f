//! Pictures as numbers, and the values between their pixels.

use crate::picture::{Layout, Picture};

/// Planes of one size, each height × width in rows, in 0 to 1: red, green, blue, or those premultiplied by the opacity and the
/// opacity.
#[derive(Clone, Debug)]
pub(super) struct Planes {
    pub width: usize,
    pub height: usize,
    pub planes: Vec<Vec<f32>>,
}

/// The place of a point between pixels: of the four around it the first, the steps to the next column and row (0 at the last),
/// and how far it is on the way to them. Points outside have the nearest place inside.
#[derive(Clone, Copy)]
pub(super) struct Place {
    first: usize,
    right: usize,
    down: usize,
    x: f32,
    y: f32,
}

impl Place {
    pub fn new(x: f32, y: f32, width: usize, height: usize) -> Self {
        let x = x.clamp(0.0, (width - 1) as f32);
        let y = y.clamp(0.0, (height - 1) as f32);
        let (column, row) = (x as usize, y as usize);
        Self {
            first: row * width + column,
            right: usize::from(column + 1 < width),
            down: if row + 1 < height { width } else { 0 },
            x: x - column as f32,
            y: y - row as f32,
        }
    }

    /// The value there, linear between the four around it.
    pub fn linear(self, plane: &[f32]) -> f32 {
        let mix = |at: usize| plane[at] + (plane[at + self.right] - plane[at]) * self.x;
        let (above, below) = (mix(self.first), mix(self.first + self.down));
        above + (below - above) * self.y
    }
}

impl Planes {
    /// The planes of a picture; four of them if `opacity` is asked for or the picture has it.
    pub fn of(picture: &Picture, opacity: bool) -> Self {
        let with = opacity || picture.layout() == Layout::Rgba;
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let mut planes = vec![vec![0.0; width * height]; if with { 4 } else { 3 }];
        let channels = picture.layout().channels();
        for (i, pixel) in picture.pixels().chunks_exact(channels).enumerate() {
            let alpha = pixel.get(3).map_or(1.0, |&a| f32::from(a) / 255.0);
            for c in 0..3 {
                planes[c][i] = f32::from(pixel[c]) / 255.0 * alpha;
            }
            if with {
                planes[3][i] = alpha;
            }
        }
        Self {
            width,
            height,
            planes,
        }
    }

    /// Half the size, rounded up; each value the mean of up to four.
    pub fn halved(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let half = |plane: &Vec<f32>| {
            let mut out = Vec::with_capacity(width * height);
            for y in 0..height {
                let above = &plane[2 * y * self.width..][..self.width];
                let below = &plane[(2 * y + 1).min(self.height - 1) * self.width..][..self.width];
                for x in 0..width {
                    let (left, right) = (2 * x, (2 * x + 1).min(self.width - 1));
                    out.push((above[left] + above[right] + below[left] + below[right]) * 0.25);
                }
            }
            out
        };
        Self {
            width,
            height,
            planes: self.planes.iter().map(half).collect(),
        }
    }

    /// Blurred by 1 2 1 in both directions, so that derivatives can be taken.
    pub fn smoothed(&self) -> Self {
        let (w, h) = (self.width, self.height);
        let smooth = |plane: &Vec<f32>| {
            let mut rows = vec![0.0; w * h];
            for (out, row) in rows.chunks_exact_mut(w).zip(plane.chunks_exact(w)) {
                for x in 0..w {
                    let (left, right) = (row[x.saturating_sub(1)], row[(x + 1).min(w - 1)]);
                    out[x] = (left + right + 2.0 * row[x]) * 0.25;
                }
            }
            let mut out = vec![0.0; w * h];
            for (y, line) in out.chunks_exact_mut(w).enumerate() {
                let above = &rows[y.saturating_sub(1) * w..][..w];
                let here = &rows[y * w..][..w];
                let below = &rows[(y + 1).min(h - 1) * w..][..w];
                for x in 0..w {
                    line[x] = (above[x] + below[x] + 2.0 * here[x]) * 0.25;
                }
            }
            out
        };
        Self {
            width: w,
            height: h,
            planes: self.planes.iter().map(smooth).collect(),
        }
    }

    /// Mean absolute difference over the planes between pixel `here` of this and a point of `other`.
    pub fn difference(&self, here: usize, other: &Self, there: Place) -> f32 {
        let pairs = self.planes.iter().zip(&other.planes);
        let sum: f32 = pairs.map(|(a, b)| (a[here] - there.linear(b)).abs()).sum();
        sum / self.planes.len() as f32
    }

    /// The values at a point, by the cubic of Catmull and Rom over 4 × 4 pixels, within what those hold: as sharp as the picture and
    /// without the dark seams that a cubic draws beside edges.
    pub fn cubic(&self, x: f32, y: f32) -> [f32; 4] {
        let (w, h) = (self.width, self.height);
        let x = x.clamp(0.0, (w - 1) as f32);
        let y = y.clamp(0.0, (h - 1) as f32);
        let (column, row) = (x as usize, y as usize);
        let (across, down) = (weights(x - column as f32), weights(y - row as f32));
        let columns: [usize; 4] =
            std::array::from_fn(|i| (column + i).saturating_sub(1).min(w - 1));
        let rows: [usize; 4] = std::array::from_fn(|i| (row + i).saturating_sub(1).min(h - 1) * w);
        let mut out = [0.0; 4];
        for (value, plane) in out.iter_mut().zip(&self.planes) {
            let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
            for (i, &row) in rows.iter().enumerate() {
                let mut sum = 0.0;
                for (j, &column) in columns.iter().enumerate() {
                    let sample = plane[row + column];
                    sum += across[j] * sample;
                    if matches!((i, j), (1 | 2, 1 | 2)) {
                        least = least.min(sample);
                        most = most.max(sample);
                    }
                }
                *value += down[i] * sum;
            }
            *value = value.clamp(least, most);
        }
        out
    }
}

/// Catmull and Rom's weights of the four samples around a point `t` behind the second.
fn weights(t: f32) -> [f32; 4] {
    [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slope(width: usize, height: usize) -> Planes {
        let value = |i: usize| ((i % width) + 2 * (i / width)) as f32 / 64.0;
        Planes {
            width,
            height,
            planes: vec![(0..width * height).map(value).collect(); 3],
        }
    }

    #[test]
    fn slopes_are_read_exactly_between_pixels() {
        let planes = slope(9, 7);
        for (x, y) in [(3.0f32, 2.0f32), (3.25, 2.5), (4.75, 3.125)] {
            let want = (x + 2.0 * y) / 64.0;
            let linear = Place::new(x, y, 9, 7).linear(&planes.planes[0]);
            assert!((linear - want).abs() < 1e-6, "{linear} {want}");
            let cubic = planes.cubic(x, y)[1];
            assert!((cubic - want).abs() < 1e-6, "{cubic} {want}");
        }
        // Outside, the nearest inside.
        assert_eq!(planes.cubic(-5.0, -5.0)[0], 0.0);
        assert_eq!(planes.cubic(50.0, 50.0)[0], 20.0 / 64.0);
    }

    #[test]
    fn halves_and_blurs_keep_what_is_flat() {
        for (w, h) in [(1, 1), (1, 5), (7, 2), (8, 8)] {
            let flat = Planes {
                width: w,
                height: h,
                planes: vec![vec![0.375; w * h]; 4],
            };
            let half = flat.halved();
            assert_eq!((half.width, half.height), (w.div_ceil(2), h.div_ceil(2)));
            for planes in [half, flat.smoothed()] {
                assert!(planes.planes.iter().flatten().all(|&v| v == 0.375));
            }
        }
        assert_eq!(slope(4, 2).halved().planes[0], [1.5 / 64.0, 3.5 / 64.0]);
    }
}
