//! Resampling.
//!
//! Each output pixel is a weighted mean over the source pixels under a filter that is as wide as the
//! scale demands, so that shrinking does not alias; rows first, rounded to bytes, then columns. This is what
//! Pillow does ([its documentation](https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters)),
//! and with it most training data.

use std::f64::consts::PI;

use crate::error::MediaError;
use crate::picture::{Layout, Picture, check_sides};

/// How pixels between pixels are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// A triangle, one pixel to each side.
    Bilinear,
    /// A cubic with a = -1/2, two pixels to each side.
    Bicubic,
    /// A windowed sinc, three pixels to each side.
    #[default]
    Lanczos,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        if x >= self.support() {
            return 0.0;
        }
        match self {
            Self::Nearest => 1.0,
            Self::Bilinear => 1.0 - x,
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Lanczos => sinc(x) * sinc(x / 3.0),
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// For one output position: the first source position and the weights from there on, which sum to 1.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

fn taps(from: u32, to: u32, filter: Filter) -> Vec<Taps> {
    let scale = f64::from(from) / f64::from(to);
    let last = from as usize - 1;
    let stretch = scale.max(1.0);
    let of = |i: u32| {
        if filter == Filter::Nearest {
            // In whole numbers, so that a centre between two pixels is always the later one's.
            let first = (u64::from(2 * i + 1) * u64::from(from) / u64::from(2 * to)) as usize;
            return Taps {
                first: first.min(last),
                weights: vec![1.0],
            };
        }
        let centre = (f64::from(i) + 0.5) * scale;
        let reach = filter.support() * stretch;
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(last + 1);
        let weights: Vec<f64> = (first..end)
            .map(|source| filter.weight((source as f64 + 0.5 - centre) / stretch))
            .collect();
        let sum: f64 = weights.iter().sum();
        let weights = weights.iter().map(|weight| (weight / sum) as f32);
        Taps {
            first,
            weights: weights.collect(),
        }
    };
    (0..to).map(of).collect()
}

impl Picture {
    /// The picture at another size.
    ///
    /// # Errors
    /// [`MediaError::Size`] if a side is 0 or beyond 65535.
    pub fn resize(&self, width: u32, height: u32, filter: Filter) -> Result<Self, MediaError> {
        check_sides(width, height)?;
        if (width, height) == (self.width(), self.height()) {
            return Ok(self.clone());
        }
        let channels = self.layout().channels();
        let columns = taps(self.width(), width, filter);
        let rows = taps(self.height(), height, filter);
        // Rows first, each kept only while the columns need it.
        let line = width as usize * channels;
        let mut pixels = Vec::with_capacity(line * height as usize);
        let mut kept: Vec<Vec<f32>> = Vec::new();
        let mut kept_from = 0;
        for row in &rows {
            let unneeded = (row.first - kept_from).min(kept.len());
            kept.drain(..unneeded);
            kept_from = row.first;
            while kept.len() < row.weights.len() {
                kept.push(self.resized_row(kept_from + kept.len(), &columns));
            }
            let mut sums = vec![0.0; line];
            for (source, &weight) in kept.iter().zip(&row.weights) {
                for (sum, &value) in sums.iter_mut().zip(source) {
                    *sum += weight * value;
                }
            }
            push_row(&sums, self.layout(), &mut pixels);
        }
        Self::new(width, height, self.layout(), pixels)
    }

    /// Row `y` at the new width, colours premultiplied by the opacity.
    fn resized_row(&self, y: usize, columns: &[Taps]) -> Vec<f32> {
        let channels = self.layout().channels();
        let line = self.width() as usize * channels;
        let mut source: Vec<f32> = self.pixels()[y * line..][..line]
            .iter()
            .map(|&byte| f32::from(byte))
            .collect();
        if self.layout() == Layout::Rgba {
            for [r, g, b, a] in source.as_chunks_mut::<4>().0 {
                for colour in [r, g, b] {
                    *colour *= *a / 255.0;
                }
            }
        }
        let mut row = Vec::with_capacity(columns.len() * channels);
        for column in columns {
            let mut sums = [0.0f32; 4];
            let pixels = source[column.first * channels..].chunks_exact(channels);
            for (pixel, &weight) in pixels.zip(&column.weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += weight * value;
                }
            }
            let sums = sums.map(|sum| f32::from(byte(sum)));
            row.extend_from_slice(&sums[..channels]);
        }
        row
    }

    /// The picture scaled to cover `width` × `height`, and what stands over cut off on both sides.
    ///
    /// # Errors
    /// [`MediaError::Size`] if a side is 0 or beyond 65535.
    pub fn cover(&self, width: u32, height: u32, filter: Filter) -> Result<Self, MediaError> {
        self.crop_to_ratio(width, height)?
            .resize(width, height, filter)
    }

    /// The picture scaled to lie within `width` × `height`, in the middle of `background`, without
    /// transparency.
    ///
    /// # Errors
    /// [`MediaError::Size`] if a side is 0 or beyond 65535.
    pub fn fit(
        &self,
        width: u32,
        height: u32,
        background: [u8; 3],
        filter: Filter,
    ) -> Result<Self, MediaError> {
        let mut canvas = Self::filled(width, height, background)?;
        let scale = (f64::from(width) / f64::from(self.width()))
            .min(f64::from(height) / f64::from(self.height()));
        let scaled =
            |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
        let (w, h) = (scaled(self.width(), width), scaled(self.height(), height));
        let inner = self.over(background).resize(w, h, filter)?;
        canvas.paste(&inner, (width - w) / 2, (height - h) / 2);
        Ok(canvas)
    }
}

/// The nearest byte; without `round`, which is a call of the mathematical library for every sample.
fn byte(value: f32) -> u8 {
    let value = value.clamp(0.0, 255.0);
    let whole = value as i32;
    (whole + i32::from(value - whole as f32 >= 0.5)) as u8
}

fn push_row(sums: &[f32], layout: Layout, pixels: &mut Vec<u8>) {
    match layout {
        Layout::Rgb => pixels.extend(sums.iter().map(|&sum| byte(sum))),
        Layout::Rgba => {
            for &[r, g, b, a] in sums.as_chunks::<4>().0 {
                let opacity = a.clamp(0.0, 255.0);
                let back = if opacity > 0.0 { 255.0 / opacity } else { 0.0 };
                pixels.extend([r * back, g * back, b * back, a].map(byte));
            }
        }
    }
}
