//! Reading, within limits that hold before anything is allocated.

use std::io::{Cursor, Read};
use std::path::Path;
use std::time::Duration;

use image::codecs::{gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{AnimationDecoder, DynamicImage, Frames, ImageDecoder};

use crate::error::MediaError;
use crate::format::Format;
use crate::label::jpeg_is_whole;
use crate::picture::{Layout, Picture};
use crate::write::Frame;

/// How large a file may be that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Pixels of a picture, or of all frames of an animation together.
    pub pixels: u64,
    /// Frames of an animation.
    pub frames: usize,
}

impl Default for Limits {
    /// 256 MiB, 64 million pixels, 1000 frames.
    fn default() -> Self {
        Self {
            file_bytes: 256 << 20,
            pixels: 64_000_000,
            frames: 1000,
        }
    }
}

impl Limits {
    fn check_pixels(&self, pixels: u64, got: impl FnOnce() -> String) -> Result<(), MediaError> {
        if pixels <= self.pixels {
            return Ok(());
        }
        Err(MediaError::TooLarge {
            got: got(),
            allowed: format!("{} pixels", self.pixels),
        })
    }

    fn check_sides(&self, (width, height): (u32, u32)) -> Result<(), MediaError> {
        let pixels = u64::from(width) * u64::from(height);
        self.check_pixels(pixels, || format!("{width}x{height} pixels"))
    }

    /// That there are enough bytes for so many pixels, however well they are compressed: deflate makes
    /// at most 1032 bytes of one and a PNG pixel has at least a bit; a JPEG block of 64 pixels takes at
    /// least a bit, and may be spread over four times as many. The other formats can say "all the same"
    /// in a few bytes, so that only the limit on pixels holds there.
    fn check_plausible(
        format: Format,
        (width, height): (u32, u32),
        bytes: usize,
    ) -> Result<(), MediaError> {
        let per_byte = match format {
            Format::Png => 8 * 1032,
            Format::Jpeg => 8 * 64 * 4,
            Format::WebP | Format::Gif => return Ok(()),
        };
        if u64::from(width) * u64::from(height) / per_byte <= bytes as u64 {
            return Ok(());
        }
        let reason = format!("{bytes} bytes cannot hold {width}x{height} pixels");
        Err(MediaError::damaged(format, reason))
    }

    /// What the decoders may allocate beside: a few times the pixels at their widest.
    fn of_decoder(&self) -> image::Limits {
        let mut limits = image::Limits::no_limits();
        limits.max_alloc = Some(self.pixels.saturating_mul(16).saturating_add(16 << 20));
        limits
    }
}

/// Reads a picture from a file; of an animation the first frame.
///
/// # Errors
/// [`MediaError::Io`], or [`MediaError::InFile`] around what [`decode`] says.
pub fn read(path: &Path, limits: &Limits) -> Result<Picture, MediaError> {
    let in_file = |source| MediaError::InFile {
        path: path.to_owned(),
        source: Box::new(source),
    };
    decode(&read_bytes(path, limits)?, limits).map_err(in_file)
}

pub(crate) fn read_bytes(path: &Path, limits: &Limits) -> Result<Vec<u8>, MediaError> {
    let io = |e| MediaError::io(path, "read", e);
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    let most = limits.file_bytes.saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limits.file_bytes {
        let source = Box::new(MediaError::TooLarge {
            got: format!("more than {} bytes", limits.file_bytes),
            allowed: format!("{} bytes", limits.file_bytes),
        });
        return Err(MediaError::InFile {
            path: path.to_owned(),
            source,
        });
    }
    Ok(bytes)
}

/// A picture from the bytes of a PNG, JPEG, WebP or GIF file; of an animation the first frame. Turned
/// upright where the file says how; 16-bit colours are rounded to 8, grey ones widened, and an opacity
/// that is full everywhere is left out.
///
/// # Errors
/// [`MediaError::UnknownFormat`], [`MediaError::TooLarge`], [`MediaError::Damaged`].
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, MediaError> {
    let format = Format::of_bytes(bytes).ok_or(MediaError::UnknownFormat)?;
    let damaged = |e| MediaError::damaged(format, e);
    let source = Cursor::new(bytes);
    match format {
        Format::Png => {
            let decoder = PngDecoder::with_limits(source, limits.of_decoder()).map_err(damaged)?;
            still(decoder, format, limits, bytes.len())
        }
        Format::Jpeg if !jpeg_is_whole(bytes) => {
            Err(MediaError::damaged(format, "it ends too early"))
        }
        Format::Jpeg => still(
            JpegDecoder::new(source).map_err(damaged)?,
            format,
            limits,
            bytes.len(),
        ),
        Format::WebP => still(
            WebPDecoder::new(source).map_err(damaged)?,
            format,
            limits,
            bytes.len(),
        ),
        Format::Gif => still(
            GifDecoder::new(source).map_err(damaged)?,
            format,
            limits,
            bytes.len(),
        ),
    }
}

fn still(
    mut decoder: impl ImageDecoder,
    format: Format,
    limits: &Limits,
    bytes: usize,
) -> Result<Picture, MediaError> {
    limits.check_sides(decoder.dimensions())?;
    Limits::check_plausible(format, decoder.dimensions(), bytes)?;
    let damaged = |e| MediaError::damaged(format, e);
    decoder.set_limits(limits.of_decoder()).map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    picture(image)
}

fn picture(image: DynamicImage) -> Result<Picture, MediaError> {
    let (width, height) = (image.width(), image.height());
    if image.color().has_alpha() {
        let pixels = image.into_rgba8().into_raw();
        let opaque = pixels
            .as_chunks::<4>()
            .0
            .iter()
            .all(|pixel| pixel[3] == 255);
        let picture = Picture::new(width, height, Layout::Rgba, pixels)?;
        Ok(if opaque {
            picture.over([0; 3])
        } else {
            picture
        })
    } else {
        let pixels = image.into_rgb8().into_raw();
        Picture::new(width, height, Layout::Rgb, pixels)
    }
}

/// The frames of a GIF, an animated PNG or WebP, each as it is shown; of a still picture the one.
///
/// # Errors
/// As [`decode`].
pub fn decode_frames(bytes: &[u8], limits: &Limits) -> Result<Vec<Frame>, MediaError> {
    let format = Format::of_bytes(bytes).ok_or(MediaError::UnknownFormat)?;
    let damaged = |e| MediaError::damaged(format, e);
    let source = Cursor::new(bytes);
    match format {
        Format::Gif => {
            let mut decoder = GifDecoder::new(source).map_err(damaged)?;
            limits.check_sides(decoder.dimensions())?;
            decoder.set_limits(limits.of_decoder()).map_err(damaged)?;
            collect(decoder.into_frames(), format, limits)
        }
        Format::Png => {
            let decoder = PngDecoder::with_limits(source, limits.of_decoder()).map_err(damaged)?;
            limits.check_sides(decoder.dimensions())?;
            if !decoder.is_apng().map_err(damaged)? {
                return Ok(vec![still_frame(still(
                    decoder,
                    format,
                    limits,
                    bytes.len(),
                )?)]);
            }
            Limits::check_plausible(format, decoder.dimensions(), bytes.len())?;
            let frames = decoder.apng().map_err(damaged)?.into_frames();
            collect(frames, format, limits)
        }
        Format::WebP => {
            let mut decoder = WebPDecoder::new(source).map_err(damaged)?;
            limits.check_sides(decoder.dimensions())?;
            if !decoder.has_animation() {
                return Ok(vec![still_frame(still(
                    decoder,
                    format,
                    limits,
                    bytes.len(),
                )?)]);
            }
            if decoder.color_type().has_alpha() {
                // The decoder takes frames away that ask for it only if it is told what is then seen.
                let nothing = image::Rgba([0; 4]);
                decoder.set_background_color(nothing).map_err(damaged)?;
            }
            collect(decoder.into_frames(), format, limits)
        }
        Format::Jpeg => Ok(vec![still_frame(decode(bytes, limits)?)]),
    }
}

fn still_frame(picture: Picture) -> Frame {
    Frame {
        picture,
        delay: Duration::ZERO,
    }
}

fn collect(frames: Frames<'_>, format: Format, limits: &Limits) -> Result<Vec<Frame>, MediaError> {
    let mut shown = Vec::new();
    let mut pixels = 0;
    for frame in frames {
        let frame = frame.map_err(|e| MediaError::damaged(format, e))?;
        if shown.len() == limits.frames {
            return Err(MediaError::TooLarge {
                got: format!("more than {} frames", limits.frames),
                allowed: format!("{} frames", limits.frames),
            });
        }
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let delay = f64::from(numerator) / f64::from(denominator.max(1)) / 1000.0;
        let buffer = frame.into_buffer();
        let (width, height) = buffer.dimensions();
        pixels += u64::from(width) * u64::from(height);
        limits.check_pixels(pixels, || format!("{pixels} pixels in its frames"))?;
        shown.push(Frame {
            picture: Picture::new(width, height, Layout::Rgba, buffer.into_raw())?,
            delay: Duration::from_secs_f64(delay),
        });
    }
    if shown.is_empty() {
        return Err(MediaError::damaged(format, "it has no frames"));
    }
    Ok(shown)
}
