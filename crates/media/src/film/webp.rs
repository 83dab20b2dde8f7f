//! Animated WebP out of frames, each coded as a still picture is
//! ([container specification](https://developers.google.com/speed/webp/docs/riff_container)).

use std::time::Duration;

use crate::error::MediaError;
use crate::format::Format;
use crate::label::{Origin, webp_label};
use crate::picture::{Layout, Picture};
use crate::write::{encode, encode_lossy};

/// Bytes before the first chunk.
const RIFF_HEADER: usize = 12;
const EXTENDED: &[u8; 4] = b"VP8X";
const HAS_ALPHA: u8 = 0x10;
const ANIMATED: u8 = 0x02;
/// A frame replaces what was there.
const NO_BLENDING: u8 = 0x02;

/// Puts coded frames together.
pub(super) struct WebPAnimation {
    width: u32,
    height: u32,
    quality: u8,
    transparent: bool,
    frames: Vec<u8>,
}

impl WebPAnimation {
    pub(super) fn new(width: u32, height: u32, quality: u8) -> Self {
        Self {
            width,
            height,
            quality,
            transparent: false,
            frames: Vec::new(),
        }
    }

    /// One more frame, shown for so long.
    pub(super) fn push(&mut self, picture: &Picture, shown: Duration) -> Result<(), MediaError> {
        let broken = || MediaError::encode(Format::WebP, "its encoder wrote an unexpected head");
        let coded = match self.quality {
            100 => encode(picture, Format::WebP, Origin::Collected)?,
            quality => encode_lossy(picture, Format::WebP, quality, Origin::Collected)?,
        };
        let mut chunks = coded.get(RIFF_HEADER..).ok_or_else(broken)?;
        // The extended head belongs to the whole file; transparency and picture behind it to the frame.
        if chunks.starts_with(EXTENDED) {
            chunks = chunks.get(8 + 10..).ok_or_else(broken)?;
        }
        self.transparent |= picture.layout() == Layout::Rgba;
        let milliseconds = shown.as_millis().min(0xFF_FFFF) as u32;
        let mut frame = vec![0; 6];
        for value in [self.width - 1, self.height - 1, milliseconds] {
            frame.extend_from_slice(&value.to_le_bytes()[..3]);
        }
        frame.push(NO_BLENDING);
        frame.extend_from_slice(chunks);
        put(&mut self.frames, b"ANMF", &frame);
        Ok(())
    }

    /// The file; it goes round for ever.
    pub(super) fn finish(self, origin: Origin<'_>) -> Result<Vec<u8>, MediaError> {
        let too_long = || MediaError::encode(Format::WebP, "it is longer than 4 GiB");
        let alpha = if self.transparent { HAS_ALPHA } else { 0 };
        let mut head = vec![ANIMATED | alpha, 0, 0, 0];
        head.extend_from_slice(&(self.width - 1).to_le_bytes()[..3]);
        head.extend_from_slice(&(self.height - 1).to_le_bytes()[..3]);
        let mut out = b"RIFF\0\0\0\0WEBP".to_vec();
        put(&mut out, EXTENDED, &head);
        // Nothing behind it, no end of repeating.
        put(&mut out, b"ANIM", &[0; 6]);
        out.extend_from_slice(&self.frames);
        let length = u32::try_from(out.len() - 8).map_err(|_| too_long())?;
        out[4..8].copy_from_slice(&length.to_le_bytes());
        webp_label(&out, origin)?.ok_or_else(too_long)
    }
}

fn put(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    out.extend_from_slice(kind);
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(data);
    if data.len() % 2 == 1 {
        out.push(0);
    }
}
