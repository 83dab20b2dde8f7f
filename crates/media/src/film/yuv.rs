//! Pictures as video codecs have them: brightness in full, colour at half the size (4:2:0).
//!
//! The matrices are those of ITU-R BT.601, BT.709 and BT.2020 for 8 bits; colour samples lie where H.264 puts them by default, on
//! the even columns and between the rows (ITU-T H.264, annex E, `chroma_sample_loc_type` 0).

use openh264::formats::YUVSlices;

use crate::error::MediaError;
use crate::picture::{Layout, Picture};

/// How colours became brightness and two differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour {
    pub matrix: Matrix,
    /// 0 to 255 rather than 16 to 235.
    pub full_range: bool,
}

/// What red and blue weigh in the brightness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matrix {
    Bt601,
    Bt709,
    Bt2020,
}

impl Matrix {
    fn weights(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
        }
    }
}

const BITS: i32 = 16;
const HALF: i32 = 1 << (BITS - 1);

fn fixed(value: f64) -> i32 {
    (value * f64::from(1 << BITS)).round() as i32
}

/// Brightness and colour differences of one picture with even sides.
#[derive(Clone, Debug)]
pub(super) struct Planes {
    width: usize,
    height: usize,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

/// The weights of red, green and blue in the three planes of BT.709's limited range, in 15 bits: products of 16-bit numbers are what
/// every processor has many of at once.
struct Weights {
    y: [i16; 3],
    u: [i16; 3],
    v: [i16; 3],
}

impl Weights {
    const BITS: i32 = 15;

    fn bt709() -> Self {
        let (kr, kb) = Matrix::Bt709.weights();
        let kg = 1.0 - kr - kb;
        let (luma, chroma) = (219.0 / 255.0, 112.0 / 255.0);
        let (blue, red) = (chroma / (1.0 - kb), chroma / (1.0 - kr));
        let fixed = |value: f64| (value * f64::from(1 << Self::BITS)).round() as i16;
        Self {
            y: [kr, kg, kb].map(|k| fixed(k * luma)),
            u: [-kr * blue, -kg * blue, (1.0 - kb) * blue].map(fixed),
            v: [(1.0 - kr) * red, -kg * red, -kb * red].map(fixed),
        }
    }
}

impl Planes {
    /// The opaque picture in BT.709, limited range. Odd sides are continued by one row or column of what lies at the edge.
    pub(super) fn of(picture: &Picture) -> Self {
        let (w, h) = (picture.width() as usize, picture.height() as usize);
        let (width, height) = (w.next_multiple_of(2), h.next_multiple_of(2));
        let mut planes = Self {
            width,
            height,
            y: vec![0; width * height],
            u: vec![0; width * height / 4],
            v: vec![0; width * height / 4],
        };
        let weights = Weights::bt709();
        let line = w * 3;
        let row = |y: usize| &picture.pixels()[y.min(h - 1) * line..][..line];
        let (mut upper, mut lower) = (Colours::new(width), Colours::new(width));
        let mut wide = Colours::new(width / 2);
        for y in (0..height).step_by(2) {
            upper.take(row(y));
            lower.take(row(y + 1));
            let (first, second) = planes.y[y * width..][..2 * width].split_at_mut(width);
            upper.weigh(&weights.y, Weights::BITS, 16, first);
            lower.weigh(&weights.y, Weights::BITS, 16, second);
            wide.narrow(&upper, &lower);
            let start = y / 2 * (width / 2);
            // Eight times a colour.
            let bits = Weights::BITS + 3;
            wide.weigh(&weights.u, bits, 128, &mut planes.u[start..][..width / 2]);
            wide.weigh(&weights.v, bits, 128, &mut planes.v[start..][..width / 2]);
        }
        planes
    }

    /// Brightness and the two colour differences, with the bytes of a row.
    pub(super) fn rows(&self) -> [(&[u8], usize); 3] {
        let half = self.width / 2;
        [(&self.y, self.width), (&self.u, half), (&self.v, half)]
    }

    /// For the encoder of H.264.
    pub(super) fn slices(&self) -> YUVSlices<'_> {
        YUVSlices::new(
            (&self.y, &self.u, &self.v),
            (self.width, self.height),
            (self.width, self.width / 2, self.width / 2),
        )
    }
}

/// Red, green and blue of a row, apart.
struct Colours([Vec<i16>; 3]);

impl Colours {
    fn new(width: usize) -> Self {
        Self([(); 3].map(|()| vec![0; width]))
    }

    /// The pixels of a row; the last once more where it is one short.
    fn take(&mut self, row: &[u8]) {
        let (pixels, _) = row.as_chunks::<3>();
        for (c, plane) in self.0.iter_mut().enumerate() {
            for (value, pixel) in plane.iter_mut().zip(pixels) {
                *value = i16::from(pixel[c]);
            }
            if let Some(&last) = plane.get(pixels.len().wrapping_sub(1)) {
                plane[pixels.len()..].fill(last);
            }
        }
    }

    /// Two rows to one of half the width: a quarter, a half and a quarter of three neighbours, times eight.
    fn narrow(&mut self, upper: &Self, lower: &Self) {
        for (out, (a, b)) in self.0.iter_mut().zip(upper.0.iter().zip(&lower.0)) {
            let pairs = a.as_chunks::<2>().0.iter().zip(b.as_chunks::<2>().0);
            let mut before = None;
            for (out, (a, b)) in out.iter_mut().zip(pairs) {
                let (even, odd) = (a[0] + b[0], a[1] + b[1]);
                *out = before.unwrap_or(even) + 2 * even + odd;
                before = Some(odd);
            }
        }
    }

    /// The weighted sums, without `bits` of fraction, above `zero`.
    fn weigh(&self, weights: &[i16; 3], bits: i32, zero: i32, out: &mut [u8]) {
        let [r, g, b] = &self.0;
        let weights = weights.map(i32::from);
        let half = 1 << (bits - 1);
        for (out, ((&r, &g), &b)) in out.iter_mut().zip(r.iter().zip(g).zip(b)) {
            let sum =
                weights[0] * i32::from(r) + weights[1] * i32::from(g) + weights[2] * i32::from(b);
            *out = (((sum + half) >> bits) + zero) as u8;
        }
    }
}

/// A decoded picture as the decoder lends it: planes with strides, of which a part is shown.
pub(super) struct Decoded<'a> {
    pub planes: [&'a [u8]; 3],
    /// Bytes of a row of brightness and of colour.
    pub strides: [usize; 2],
    pub width: usize,
    pub height: usize,
    pub colour: Colour,
}

impl Decoded<'_> {
    /// The picture in RGB, colours between their samples by straight lines.
    pub(super) fn to_picture(&self) -> Result<Picture, MediaError> {
        let (w, h) = (self.width, self.height);
        let cw = w.div_ceil(2);
        let damaged = || MediaError::damaged_film("the decoder gave too few rows");
        let enough = self.planes[0].len() >= self.strides[0] * (h - 1) + w
            && self.planes[1..]
                .iter()
                .all(|p| p.len() >= self.strides[1] * (h.div_ceil(2) - 1) + cw);
        if w == 0 || h == 0 || !enough {
            return Err(damaged());
        }
        let table = Table::new(self.colour);
        let mut pixels = vec![0; w * h * 3];
        // Four times the colour differences of a row, then the same per column, eight times.
        let mut rows = [vec![0i32; cw + 1], vec![0i32; cw + 1]];
        for (y, out) in pixels.chunks_exact_mut(w * 3).enumerate() {
            for (row, plane) in rows.iter_mut().zip(&self.planes[1..]) {
                self.chroma_row(plane, y, row);
            }
            let luma = &self.planes[0][y * self.strides[0]..][..w];
            let [u, v] = [&rows[0], &rows[1]];
            for (x, (pixel, &luma)) in out.as_chunks_mut::<3>().0.iter_mut().zip(luma).enumerate() {
                let i = x / 2;
                let at = |row: &[i32]| {
                    if x.is_multiple_of(2) {
                        2 * row[i]
                    } else {
                        row[i] + row[i + 1]
                    }
                };
                *pixel = table.rgb(luma, at(u), at(v));
            }
        }
        Picture::new(w as u32, h as u32, Layout::Rgb, pixels)
    }

    fn chroma_row(&self, plane: &[u8], y: usize, out: &mut [i32]) {
        let (stride, last) = (self.strides[1], self.height.div_ceil(2) - 1);
        let near = (y / 2).min(last);
        let far = if y.is_multiple_of(2) {
            near.saturating_sub(1)
        } else {
            (near + 1).min(last)
        };
        let count = out.len() - 1;
        let (a, b) = (
            &plane[near * stride..][..count],
            &plane[far * stride..][..count],
        );
        for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
            *out = 3 * i32::from(a) + i32::from(b);
        }
        out[count] = out[count - 1];
    }
}

/// The way back, in whole numbers; colour differences come eightfold.
struct Table {
    black: i32,
    luma: i32,
    red: i32,
    green: [i32; 2],
    blue: i32,
}

impl Table {
    fn new(colour: Colour) -> Self {
        let (kr, kb) = colour.matrix.weights();
        let kg = 1.0 - kr - kb;
        let (luma, chroma) = if colour.full_range {
            (1.0, 1.0)
        } else {
            (255.0 / 219.0, 255.0 / 224.0)
        };
        let (red, blue) = (2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma);
        Self {
            black: if colour.full_range { 0 } else { 16 },
            luma: fixed(luma),
            red: fixed(red / 8.0),
            green: [fixed(blue * kb / kg / 8.0), fixed(red * kr / kg / 8.0)],
            blue: fixed(blue / 8.0),
        }
    }

    fn rgb(&self, y: u8, u: i32, v: i32) -> [u8; 3] {
        let (u, v) = (u - 8 * 128, v - 8 * 128);
        let y = (i32::from(y) - self.black) * self.luma + HALF;
        let byte = |value: i32| (value >> BITS).clamp(0, 255) as u8;
        [
            byte(y + self.red * v),
            byte(y - self.green[0] * u - self.green[1] * v),
            byte(y + self.blue * u),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(picture: &Picture) -> Picture {
        let planes = Planes::of(picture);
        Decoded {
            planes: [&planes.y, &planes.u, &planes.v],
            strides: [planes.width, planes.width / 2],
            width: picture.width() as usize,
            height: picture.height() as usize,
            colour: Colour {
                matrix: Matrix::Bt709,
                full_range: false,
            },
        }
        .to_picture()
        .unwrap()
    }

    #[test]
    fn plain_colours_come_back() {
        for colour in [
            [0, 0, 0],
            [255; 3],
            [255, 0, 0],
            [0, 255, 0],
            [0, 0, 255],
            [200, 90, 13],
        ] {
            for (w, h) in [(4, 4), (3, 5), (1, 1)] {
                let picture = Picture::filled(w, h, colour).unwrap();
                let got = back(&picture);
                for (a, b) in got.pixels().iter().zip(picture.pixels()) {
                    assert!(
                        a.abs_diff(*b) <= 2,
                        "{colour:?} {w}x{h}: {:?}",
                        &got.pixels()[..3]
                    );
                }
            }
        }
    }

    #[test]
    fn the_numbers_are_those_of_bt_709() {
        // EBU bars, 100 %: ITU-R BT.709, table of digital values.
        for (colour, want) in [
            ([255, 255, 255], [235, 128, 128]),
            ([255, 255, 0], [219, 16, 138]),
            ([0, 255, 255], [188, 154, 16]),
            ([255, 0, 0], [63, 102, 240]),
            ([0, 0, 255], [32, 240, 118]),
        ] {
            let planes = Planes::of(&Picture::filled(2, 2, colour).unwrap());
            assert_eq!([planes.y[0], planes.u[0], planes.v[0]], want, "{colour:?}");
        }
    }

    #[test]
    fn slopes_of_colour_stay_in_place() {
        // A ramp in red: misplaced colour samples would shift it by a step or more.
        let pixels = (0..16u8).flat_map(|_| (0..32u8).flat_map(|x| [60 + 4 * x, 80, 90]));
        let picture = Picture::new(32, 16, Layout::Rgb, pixels.collect()).unwrap();
        let got = back(&picture);
        for x in 2..29 {
            let at = (8 * 32 + x) * 3;
            assert!(
                got.pixels()[at].abs_diff(picture.pixels()[at]) <= 2,
                "column {x}"
            );
        }
    }
}
