//! Writing, with the label inside.

use std::time::Duration;

use image::codecs::{jpeg::JpegEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::error::{MediaError, size};
use crate::format::Format;
use crate::label::{Origin, embed};
use crate::palette;
use crate::picture::{Layout, Picture};

/// Quality of JPEG pictures, 1 to 100.
const JPEG_QUALITY: u8 = 92;

/// Longest side of a WebP picture.
const WEBP_SIDE: u32 = 16_383;

/// The bytes of a JPEG or WebP file with loss, at a quality of 1 to 100: the lower, the smaller and the further from
/// the picture. JPEG lies over white; WebP keeps transparency.
///
/// # Errors
/// [`MediaError::Size`] for another quality, [`MediaError::Encode`] for a format that loses nothing by choice and one that
/// cannot hold the picture, [`MediaError::RecipeTooLong`].
pub fn encode_lossy(
    picture: &Picture,
    format: Format,
    quality: u8,
    origin: Origin<'_>,
) -> Result<Vec<u8>, MediaError> {
    size(
        (1..=100).contains(&quality),
        "the quality",
        quality,
        "1 to 100",
    )?;
    let bytes = match format {
        Format::Jpeg => jpeg_bytes(picture, quality)?,
        Format::WebP => lossy_webp_bytes(picture, quality)?,
        Format::Png | Format::Gif => {
            let reason = "it has no quality to choose; JPEG and WebP have";
            return Err(MediaError::encode(format, reason));
        }
    };
    embed(bytes, format, origin)
}

fn jpeg_bytes(picture: &Picture, quality: u8) -> Result<Vec<u8>, MediaError> {
    let opaque = picture.over([255; 3]);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .write_image(
            opaque.pixels(),
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgb8,
        )
        .map_err(|e| MediaError::encode(Format::Jpeg, e))?;
    Ok(bytes)
}

fn lossy_webp_bytes(picture: &Picture, quality: u8) -> Result<Vec<u8>, MediaError> {
    let (width, height) = webp_sides(picture)?;
    let encoder = match picture.layout() {
        Layout::Rgb => webp::Encoder::from_rgb(picture.pixels(), width, height),
        Layout::Rgba => webp::Encoder::from_rgba(picture.pixels(), width, height),
    };
    let encoded = encoder.encode_simple(false, f32::from(quality));
    let encoded = encoded.map_err(|e| MediaError::encode(Format::WebP, format!("{e:?}")))?;
    Ok(encoded.to_vec())
}

/// Width and height, if WebP can hold them.
fn webp_sides(picture: &Picture) -> Result<(u32, u32), MediaError> {
    let (width, height) = (picture.width(), picture.height());
    if width.max(height) > WEBP_SIDE {
        let reason = format!("{width}x{height} pixels are more than {WEBP_SIDE} a side");
        return Err(MediaError::encode(Format::WebP, reason));
    }
    Ok((width, height))
}

/// One picture of an animation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What is shown.
    pub picture: Picture,
    /// For how long; GIF rounds it to hundredths of a second.
    pub delay: Duration,
}

/// The bytes of a file with this picture: PNG and WebP without loss, JPEG at quality 92 over white, GIF
/// in 256 colours. `origin` says what is written inside.
///
/// # Errors
/// [`MediaError::Encode`] if the format cannot hold the picture, [`MediaError::RecipeTooLong`].
pub fn encode(
    picture: &Picture,
    format: Format,
    origin: Origin<'_>,
) -> Result<Vec<u8>, MediaError> {
    let failed = |e| MediaError::encode(format, e);
    let (width, height) = (picture.width(), picture.height());
    let mut bytes = Vec::new();
    match format {
        Format::Png | Format::Gif => {
            let frame = Frame {
                picture: picture.clone(),
                delay: Duration::ZERO,
            };
            bytes = animation(std::slice::from_ref(&frame), format)?;
        }
        Format::Jpeg => bytes = jpeg_bytes(picture, JPEG_QUALITY)?,
        Format::WebP => {
            webp_sides(picture)?;
            let colour = match picture.layout() {
                Layout::Rgb => ExtendedColorType::Rgb8,
                Layout::Rgba => ExtendedColorType::Rgba8,
            };
            WebPEncoder::new_lossless(&mut bytes)
                .write_image(picture.pixels(), width, height, colour)
                .map_err(failed)?;
        }
    }
    embed(bytes, format, origin)
}

/// The bytes of an animation that goes round for ever: [`Format::Gif`], or [`Format::Png`] as APNG.
/// Frames have one size.
///
/// # Errors
/// [`MediaError::Size`] if there are no frames or their sizes differ, [`MediaError::Encode`] for the other
/// formats, [`MediaError::RecipeTooLong`].
pub fn encode_animation(
    frames: &[Frame],
    format: Format,
    origin: Origin<'_>,
) -> Result<Vec<u8>, MediaError> {
    if !matches!(format, Format::Gif | Format::Png) {
        let reason = "animations are written as GIF or PNG";
        return Err(MediaError::encode(format, reason));
    }
    embed(animation(frames, format)?, format, origin)
}

fn animation(frames: &[Frame], format: Format) -> Result<Vec<u8>, MediaError> {
    let Some(first) = frames.first() else {
        return Err(MediaError::Size {
            what: "the number of frames",
            got: "0".to_owned(),
            allowed: "at least 1".to_owned(),
        });
    };
    let sides = |frame: &Frame| (frame.picture.width(), frame.picture.height());
    let (width, height) = sides(first);
    for frame in frames {
        let (w, h) = sides(frame);
        size(
            (w, h) == (width, height),
            "the size of a frame",
            format!("{w}x{h}"),
            format!("{width}x{height} as the first one"),
        )?;
    }
    match format {
        Format::Png => png_bytes(frames, width, height).map_err(|e| MediaError::encode(format, e)),
        _ => gif_bytes(frames, width, height),
    }
}

fn png_bytes(frames: &[Frame], width: u32, height: u32) -> Result<Vec<u8>, png::EncodingError> {
    let transparent = frames
        .iter()
        .any(|frame| frame.picture.layout() == Layout::Rgba);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(if transparent {
        png::ColorType::Rgba
    } else {
        png::ColorType::Rgb
    });
    encoder.set_compression(png::Compression::Balanced);
    if frames.len() > 1 {
        encoder.set_animated(frames.len() as u32, 0)?;
    }
    let mut writer = encoder.write_header()?;
    for frame in frames {
        if frames.len() > 1 {
            let milliseconds = frame.delay.as_millis().min(u128::from(u16::MAX)) as u16;
            writer.set_frame_delay(milliseconds, 1000)?;
        }
        if transparent {
            writer.write_image_data(frame.picture.to_rgba().pixels())?;
        } else {
            writer.write_image_data(frame.picture.pixels())?;
        }
    }
    writer.finish()?;
    Ok(bytes)
}

fn gif_bytes(frames: &[Frame], width: u32, height: u32) -> Result<Vec<u8>, MediaError> {
    let failed = |e: gif::EncodingError| MediaError::encode(Format::Gif, e);
    let side = |pixels: u32| u16::try_from(pixels).map_err(|e| MediaError::encode(Format::Gif, e));
    let (width, height) = (side(width)?, side(height)?);
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, width, height, &[]).map_err(failed)?;
    if frames.len() > 1 {
        encoder.set_repeat(gif::Repeat::Infinite).map_err(failed)?;
    }
    for shown in frames {
        let indexed = palette::index(&shown.picture);
        let mut frame = gif::Frame::from_palette_pixels(
            width,
            height,
            indexed.indices,
            indexed.palette,
            indexed.transparent,
        );
        let hundredths = (shown.delay.as_millis() + 5) / 10;
        frame.delay = hundredths.min(u128::from(u16::MAX)) as u16;
        frame.dispose = gif::DisposalMethod::Background;
        encoder.write_frame(&frame).map_err(failed)?;
    }
    drop(encoder);
    Ok(bytes)
}
