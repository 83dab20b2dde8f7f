//! H.264 into pictures.

use openh264::OpenH264API;
use openh264::decoder::{DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

use super::encode::SPS;
use super::sps::Sps;
use crate::error::MediaError;
use crate::film::yuv::{Colour, Decoded};
use crate::picture::Picture;
use crate::read::Limits;

const START: [u8; 4] = [0, 0, 0, 1];

/// What a film says of its stream (`AVCDecoderConfigurationRecord`, ISO/IEC 14496-15, 5.3.3.1).
#[derive(Clone, Debug)]
pub(in crate::film) struct AvcConfig {
    /// Bytes of a length before a unit.
    length_size: usize,
    /// Its headers, behind start codes.
    headers: Vec<u8>,
    sps: Sps,
}

impl AvcConfig {
    pub(in crate::film) fn parse(record: &[u8], limits: &Limits) -> Result<Self, MediaError> {
        let damaged = || MediaError::damaged_film("its H.264 configuration ends too early");
        let length_size = usize::from(record.get(4).ok_or_else(damaged)? & 3) + 1;
        let mut at = 5;
        let mut headers = Vec::new();
        let mut first = None;
        for mask in [0x1F, 0xFF] {
            let count = record.get(at).ok_or_else(damaged)? & mask;
            at += 1;
            for _ in 0..count {
                let &[high, low] = record
                    .get(at..at + 2)
                    .and_then(<[u8]>::as_array)
                    .ok_or_else(damaged)?;
                let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
                let unit = record.get(at + 2..end).ok_or_else(damaged)?;
                if unit.first().map(|head| head & 0x1F) == Some(SPS) {
                    first = Some(checked(unit, limits)?);
                }
                headers.extend_from_slice(&START);
                headers.extend_from_slice(unit);
                at = end;
            }
        }
        let sps = first.ok_or_else(|| MediaError::damaged_film("its H.264 has no header"))?;
        Ok(Self {
            length_size,
            headers,
            sps,
        })
    }

    /// Width and height of what is shown.
    pub(in crate::film) fn size(&self) -> (u32, u32) {
        (self.sps.shown.0 as u32, self.sps.shown.1 as u32)
    }
}

/// The header, unless its pictures are larger than the limits or the codec allow.
fn checked(unit: &[u8], limits: &Limits) -> Result<Sps, MediaError> {
    const PIXELS: u64 = 4096 * 2304;
    let sps = Sps::parse(unit)?;
    let (width, height) = sps.coded;
    let most = PIXELS.min(limits.pixels);
    if width.saturating_mul(height) > most {
        return Err(MediaError::TooLarge {
            got: format!("frames of {width}x{height} pixels"),
            allowed: format!("{most} pixels a frame"),
        });
    }
    Ok(sps)
}

/// Decodes one film, picture by picture in the order of the file; they come out in the order in which they are shown.
pub(in crate::film) struct FrameDecoder {
    decoder: Decoder,
    config: AvcConfig,
    limits: Limits,
    started: bool,
    packet: Vec<u8>,
}

impl FrameDecoder {
    pub(in crate::film) fn new(config: AvcConfig, limits: Limits) -> Result<Self, MediaError> {
        let settings = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let decoder = Decoder::with_api_config(OpenH264API::from_source(), settings)
            .map_err(MediaError::damaged_film)?;
        Ok(Self {
            decoder,
            config,
            limits,
            started: false,
            packet: Vec::new(),
        })
    }

    /// Takes in one access unit; a picture, if one is ready.
    pub(in crate::film) fn push(&mut self, sample: &[u8]) -> Result<Option<Picture>, MediaError> {
        self.packet.clear();
        if !self.started {
            self.packet.extend_from_slice(&self.config.headers);
            self.started = true;
        }
        self.unpack(sample)?;
        let (size, colour) = (self.config.size(), self.config.sps.colour());
        match self
            .decoder
            .decode(&self.packet)
            .map_err(MediaError::damaged_film)?
        {
            Some(decoded) => picture(&decoded, size, colour).map(Some),
            None => Ok(None),
        }
    }

    /// What is left behind the last access unit.
    pub(in crate::film) fn finish(&mut self) -> Result<Vec<Picture>, MediaError> {
        let (size, colour) = (self.config.size(), self.config.sps.colour());
        let left = self
            .decoder
            .flush_remaining()
            .map_err(MediaError::damaged_film)?;
        left.iter()
            .map(|decoded| picture(decoded, size, colour))
            .collect()
    }

    /// The units of a sample behind start codes. Headers among them are looked at before the decoder sees them.
    fn unpack(&mut self, sample: &[u8]) -> Result<(), MediaError> {
        let damaged = || MediaError::damaged_film("a frame of it is cut off");
        let width = self.config.length_size;
        let mut rest = sample;
        while !rest.is_empty() {
            let head = rest.get(..width).ok_or_else(damaged)?;
            let length = head
                .iter()
                .fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
            let unit = rest
                .get(width..)
                .and_then(|r| r.get(..length))
                .ok_or_else(damaged)?;
            rest = &rest[width + length..];
            if unit.first().map(|head| head & 0x1F) == Some(SPS) {
                let sps = checked(unit, &self.limits)?;
                if sps.shown != self.config.sps.shown {
                    return Err(MediaError::film_unsupported("its size changes on the way"));
                }
            }
            self.packet.extend_from_slice(&START);
            self.packet.extend_from_slice(unit);
        }
        Ok(())
    }
}

fn picture(
    decoded: &DecodedYUV<'_>,
    size: (u32, u32),
    colour: Colour,
) -> Result<Picture, MediaError> {
    let (width, height) = decoded.dimensions();
    if (width, height) != (size.0 as usize, size.1 as usize) {
        return Err(MediaError::damaged_film(
            "its frames have another size than it says",
        ));
    }
    let (luma, chroma, _) = decoded.strides();
    Decoded {
        planes: [decoded.y(), decoded.u(), decoded.v()],
        strides: [luma, chroma],
        width,
        height,
        colour,
    }
    .to_picture()
}
