//! Pixels.

use crate::error::{MediaError, size};

/// What a pixel is made of, 8 bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue and opacity, not premultiplied.
    Rgba,
}

impl Layout {
    /// Bytes of a pixel.
    pub const fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// The longest side a picture may have.
pub(crate) const MAX_SIDE: u32 = 65_535;

/// A picture of at least one pixel; rows from top to bottom, no padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    layout: Layout,
    pixels: Vec<u8>,
}

impl Picture {
    /// A picture of these pixels: height × width × channels.
    ///
    /// # Errors
    /// [`MediaError::Size`] if a side is 0 or beyond 65535, or the pixels are not as many.
    pub fn new(
        width: u32,
        height: u32,
        layout: Layout,
        pixels: Vec<u8>,
    ) -> Result<Self, MediaError> {
        check_sides(width, height)?;
        let count = width as usize * height as usize * layout.channels();
        let matching = pixels.len() == count;
        size(
            matching,
            "the number of bytes",
            pixels.len(),
            count.to_string(),
        )?;
        Ok(Self {
            width,
            height,
            layout,
            pixels,
        })
    }

    /// A picture of one colour.
    ///
    /// # Errors
    /// [`MediaError::Size`] if a side is 0 or beyond 65535.
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Result<Self, MediaError> {
        check_sides(width, height)?;
        let pixels = colour.repeat(width as usize * height as usize);
        Self::new(width, height, Layout::Rgb, pixels)
    }

    /// A picture from what models give: 3 × height × width in [-1, 1], clamped and rounded.
    ///
    /// # Errors
    /// [`MediaError::NotFinite`], or [`MediaError::Size`] if the values are not as many.
    pub fn from_planes(planes: &[f32], width: u32, height: u32) -> Result<Self, MediaError> {
        check_sides(width, height)?;
        let plane = width as usize * height as usize;
        let matching = planes.len() == 3 * plane;
        size(
            matching,
            "the number of values",
            planes.len(),
            (3 * plane).to_string(),
        )?;
        if let Some(index) = planes.iter().position(|value| !value.is_finite()) {
            let value = planes[index].to_string();
            return Err(MediaError::NotFinite { index, value });
        }
        let byte = |value: f32| ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
        let pixels = (0..plane).flat_map(|i| [0, 1, 2].map(|c| byte(planes[c * plane + i])));
        Self::new(width, height, Layout::Rgb, pixels.collect())
    }

    /// What models take: 3 × height × width in [-1, 1], transparency over white.
    pub fn to_planes(&self) -> Vec<f32> {
        let opaque = self.over([255; 3]);
        let plane = self.width as usize * self.height as usize;
        let mut planes = vec![0.0; 3 * plane];
        for (i, pixel) in opaque.pixels.as_chunks::<3>().0.iter().enumerate() {
            for (c, &byte) in pixel.iter().enumerate() {
                planes[c * plane + i] = f32::from(byte) / 127.5 - 1.0;
            }
        }
        planes
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// What a pixel is made of.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The pixels: height × width × channels.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels themselves.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The picture without transparency, over `background`.
    pub fn over(&self, background: [u8; 3]) -> Self {
        if self.layout == Layout::Rgb {
            return self.clone();
        }
        let blend = |&[r, g, b, a]: &[u8; 4]| {
            let mix = |colour: u8, behind: u8| {
                let sum =
                    u32::from(colour) * u32::from(a) + u32::from(behind) * (255 - u32::from(a));
                ((sum + 127) / 255) as u8
            };
            [
                mix(r, background[0]),
                mix(g, background[1]),
                mix(b, background[2]),
            ]
        };
        let (pixels, _) = self.pixels.as_chunks::<4>();
        Self {
            layout: Layout::Rgb,
            pixels: pixels.iter().flat_map(blend).collect(),
            ..*self
        }
    }

    /// The picture with an opacity to each pixel.
    pub fn to_rgba(&self) -> Self {
        if self.layout == Layout::Rgba {
            return self.clone();
        }
        let (pixels, _) = self.pixels.as_chunks::<3>();
        Self {
            layout: Layout::Rgba,
            pixels: pixels
                .iter()
                .flat_map(|&[r, g, b]| [r, g, b, 255])
                .collect(),
            ..*self
        }
    }

    /// The part whose left upper corner is at (`x`, `y`).
    ///
    /// # Errors
    /// [`MediaError::Size`] if it is empty or reaches beyond the picture.
    pub fn crop(&self, x: u32, y: u32, width: u32, height: u32) -> Result<Self, MediaError> {
        let inside = |start: u32, length: u32, whole: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= whole)
        };
        size(
            inside(x, width, self.width) && inside(y, height, self.height),
            "the part",
            format!("{width}x{height} at {x},{y}"),
            format!("within {}x{}", self.width, self.height),
        )?;
        let channels = self.layout.channels();
        let line = self.width as usize * channels;
        let (left, length) = (x as usize * channels, width as usize * channels);
        let rows = self.pixels.chunks_exact(line);
        let pixels: Vec<u8> = rows
            .skip(y as usize)
            .take(height as usize)
            .flat_map(|row| &row[left..left + length])
            .copied()
            .collect();
        Self::new(width, height, self.layout, pixels)
    }

    /// The largest part in the middle with the proportions of `width` to `height`.
    ///
    /// # Errors
    /// [`MediaError::Size`] if a side is 0.
    pub fn crop_to_ratio(&self, width: u32, height: u32) -> Result<Self, MediaError> {
        check_sides(width, height)?;
        let (w, h) = (u64::from(self.width), u64::from(self.height));
        let (rw, rh) = (u64::from(width), u64::from(height));
        let (cut_w, cut_h) = if w * rh > h * rw {
            (((h * rw + rh / 2) / rh).clamp(1, w), h)
        } else {
            (w, ((w * rh + rw / 2) / rw).clamp(1, h))
        };
        let (x, y) = ((w - cut_w) / 2, (h - cut_h) / 2);
        self.crop(x as u32, y as u32, cut_w as u32, cut_h as u32)
    }

    /// Puts `other`, which must have the same layout, over this one at (`x`, `y`); what lies outside is
    /// left out.
    pub(crate) fn paste(&mut self, other: &Self, x: u32, y: u32) {
        let channels = self.layout.channels();
        let visible = other.width.min(self.width.saturating_sub(x)) as usize * channels;
        if self.layout != other.layout || visible == 0 {
            return;
        }
        let line = self.width as usize * channels;
        let rows = self.pixels.chunks_exact_mut(line).skip(y as usize);
        let source = other.pixels.chunks_exact(other.width as usize * channels);
        for (row, from) in rows.zip(source) {
            let left = x as usize * channels;
            row[left..left + visible].copy_from_slice(&from[..visible]);
        }
    }
}

pub(crate) fn check_sides(width: u32, height: u32) -> Result<(), MediaError> {
    size(
        (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height),
        "the size",
        format!("{width}x{height}"),
        format!("1 to {MAX_SIDE} pixels a side"),
    )
}
