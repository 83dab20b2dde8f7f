//! Pictures into AV1, by rav1e
//! ([AV1 in ISO files](https://aomediacodec.github.io/av1-isobmff/), [AV1](https://aomediacodec.github.io/av1-spec/)).

use rav1e::prelude::*;

use super::access::{Access, JUMP_SECONDS};
use super::rate::Rate;
use super::yuv::Planes;
use crate::error::{MediaError, size};

/// The fastest of rav1e's presets but one.
const SPEED: u8 = 9;

/// What decoders in browsers and telephones can hold, and the smallest side, in pixels.
const LONGEST_SIDE: u32 = 4096;
const SHORTER_SIDE: u32 = 2304;
const LEAST_SIDE: u32 = 16;

/// Kinds of units (`obu_type`).
const SEQUENCE: u8 = 1;
const DELIMITER: u8 = 2;

/// Encodes pictures of one size, in order. They come out in the order in which they go in, some of them later.
pub(super) struct Av1Encoder {
    context: Context<u8>,
    /// The header of the stream, once a picture came out.
    sequence: Vec<u8>,
}

impl Av1Encoder {
    /// For pictures of this size. `quality` is 1 to 100: the lower, the smaller and the further from the pictures.
    ///
    /// # Errors
    /// [`MediaError::Size`] for a size that players would not show.
    pub(super) fn new(
        width: u32,
        height: u32,
        rate: Rate,
        quality: u8,
    ) -> Result<Self, MediaError> {
        let (long, short) = (width.max(height), width.min(height));
        size(
            long <= LONGEST_SIDE && (LEAST_SIDE..=SHORTER_SIDE).contains(&short),
            "the size of an AV1 film",
            format!("{width}x{height}"),
            format!("{LEAST_SIDE}x{LEAST_SIDE} to {LONGEST_SIDE}x{SHORTER_SIDE}"),
        )?;
        let mut settings = EncoderConfig::with_speed_preset(SPEED);
        (settings.width, settings.height) = (width as usize, height as usize);
        settings.time_base = Rational::new(rate.seconds().into(), rate.frames().into());
        settings.low_latency = true;
        settings.quantizer = quantiser(quality);
        let between = (rate.per_second() * JUMP_SECONDS).ceil().max(1.0) as u64;
        settings.set_key_frame_interval(between, between);
        settings.speed_settings.scene_detection_mode = SceneDetectionSpeed::None;
        // As the planes are made: BT.709, the limited range, colours on the even columns between the rows.
        settings.chroma_sample_position = color::ChromaSamplePosition::Vertical;
        settings.color_description = Some(color::ColorDescription {
            color_primaries: color::ColorPrimaries::BT709,
            transfer_characteristics: color::TransferCharacteristics::BT709,
            matrix_coefficients: color::MatrixCoefficients::BT709,
        });
        let config = |level: u8| {
            let mut settings = settings.clone();
            settings.level_idx = Some(level);
            Config::new().with_encoder_config(settings).with_threads(1)
        };
        // The lowest level that such pictures are within; the last is without bounds.
        let level = (0..31).find(|&level| config(level).validate().is_ok());
        let context = config(level.unwrap_or(31)).new_context().map_err(failed)?;
        Ok(Self {
            context,
            sequence: Vec::new(),
        })
    }

    /// Takes the next picture in; what is ready by then.
    pub(super) fn push(&mut self, planes: &Planes) -> Result<Vec<Access>, MediaError> {
        let mut frame = self.context.new_frame();
        for (to, (from, stride)) in frame.planes.iter_mut().zip(planes.rows()) {
            to.copy_from_raw_u8(from, stride, 1);
        }
        self.context.send_frame(frame).map_err(failed)?;
        self.ready()
    }

    /// What is left behind the last picture.
    pub(super) fn finish(&mut self) -> Result<Vec<Access>, MediaError> {
        self.context.flush();
        self.ready()
    }

    fn ready(&mut self) -> Result<Vec<Access>, MediaError> {
        let mut out = Vec::new();
        loop {
            match self.context.receive_packet() {
                Ok(packet) => {
                    let mut data = Vec::with_capacity(packet.data.len());
                    for (kind, unit) in units(&packet.data) {
                        match kind {
                            // The container says where a picture begins.
                            DELIMITER => continue,
                            SEQUENCE => self.sequence = unit.to_vec(),
                            _ => {}
                        }
                        data.extend_from_slice(unit);
                    }
                    out.push(Access {
                        data,
                        key: packet.frame_type == FrameType::KEY,
                    });
                }
                Err(EncoderStatus::Encoded) => {}
                Err(EncoderStatus::NeedMoreData | EncoderStatus::LimitReached) => return Ok(out),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// What decoders need before the first picture (`AV1CodecConfigurationRecord`); empty before one was encoded.
    pub(super) fn config(&self) -> Vec<u8> {
        /// 4:2:0, colours on the even columns.
        const SAMPLING: u8 = 0b0000_1101;
        // Behind head and length, as rav1e writes them: three bits of profile, and the level after 24.
        let [_, _, profile, _, _, level, ..] = self.sequence[..] else {
            return Vec::new();
        };
        let mut record = vec![0x81, profile & 0xE0 | level >> 3, SAMPLING, 0];
        record.extend_from_slice(&self.sequence);
        record
    }
}

/// The units of a packet with their kinds, as far as they are whole.
fn units(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let &head = data.first()?;
        let mut at = 1 + usize::from(head >> 2 & 1);
        let mut length = 0usize;
        // Seven bits a byte, the lowest first; without a length the unit reaches to the end.
        if head & 2 == 0 {
            length = data.len().checked_sub(at)?;
        } else {
            for shift in (0..35).step_by(7) {
                let &byte = data.get(at)?;
                at += 1;
                length |= usize::from(byte & 0x7F) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        let (unit, rest) = data.split_at_checked(at.checked_add(length)?)?;
        data = rest;
        Some((head >> 3 & 0xF, unit))
    })
}

fn failed(error: impl ToString) -> MediaError {
    MediaError::encode_film("picture", error)
}

/// The quantiser of a quality, of 255: 30 at 100, 228 at 1; 70 at 80.
fn quantiser(quality: u8) -> usize {
    230 - usize::from(quality.clamp(1, 100)) * 2
}
