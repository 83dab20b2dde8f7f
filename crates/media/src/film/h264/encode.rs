//! Pictures into H.264.

use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, QpRange,
    RateControlMode, UsageType, VuiConfig,
};

use crate::error::{MediaError, size};
use crate::film::access::{Access, JUMP_SECONDS};
use crate::film::rate::Rate;
use crate::film::yuv::Planes;

/// What the encoder can hold.
const LONGEST_SIDE: u32 = 3840;
const SHORTER_SIDE: u32 = 2160;
/// The smallest side, in pixels.
const LEAST_SIDE: u32 = 16;

/// Encodes pictures of one size, in order; nothing is reordered, so that each comes out as it goes in.
pub(in crate::film) struct FrameEncoder {
    encoder: Encoder,
    sps: Vec<u8>,
    pps: Vec<u8>,
}

impl FrameEncoder {
    /// For pictures of this size. `quality` is 1 to 100: the lower, the smaller and the further from the pictures.
    ///
    /// # Errors
    /// [`MediaError::Size`] for a size beyond the codec's.
    pub(in crate::film) fn new(
        width: u32,
        height: u32,
        rate: Rate,
        quality: u8,
    ) -> Result<Self, MediaError> {
        let (long, short) = (width.max(height), width.min(height));
        size(
            long <= LONGEST_SIDE && (LEAST_SIDE..=SHORTER_SIDE).contains(&short),
            "the size of an H.264 film",
            format!("{width}x{height}"),
            format!("{LEAST_SIDE}x{LEAST_SIDE} to {LONGEST_SIDE}x{SHORTER_SIDE}"),
        )?;
        let step = quantiser(quality);
        let per_second = rate.per_second();
        // Only the level is chosen by it. This mode with one quantiser to choose from keeps to it.
        let bits = f64::from(width) * f64::from(height) * per_second * 0.15;
        let config = EncoderConfig::new()
            .rate_control_mode(RateControlMode::Bufferbased)
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            .qp(QpRange::new(step, step))
            .bitrate(BitRate::from_bps(bits.clamp(64_000.0, 60_000_000.0) as u32))
            .max_frame_rate(FrameRate::from_hz(per_second.clamp(1.0, 60.0) as f32))
            .intra_frame_period(IntraFramePeriod::from_num_frames(
                (per_second * JUMP_SECONDS).ceil().max(1.0) as u32,
            ))
            .skip_frames(false)
            .scene_change_detect(false)
            .adaptive_quantization(false)
            .background_detection(false)
            .num_threads(1)
            .vui(VuiConfig::bt709());
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config)
            .map_err(|e| MediaError::encode_film("picture", e))?;
        Ok(Self {
            encoder,
            sps: Vec::new(),
            pps: Vec::new(),
        })
    }

    /// The next picture: its slices, each behind its length in four bytes.
    pub(in crate::film) fn encode(&mut self, planes: &Planes) -> Result<Access, MediaError> {
        let failed = |e: openh264::Error| MediaError::encode_film("picture", e);
        let stream = self.encoder.encode(&planes.slices()).map_err(failed)?;
        let key = matches!(stream.frame_type(), FrameType::IDR);
        let mut data = Vec::new();
        for layer in 0..stream.num_layers() {
            let Some(layer) = stream.layer(layer) else {
                continue;
            };
            for unit in (0..layer.nal_count()).filter_map(|i| layer.nal_unit(i)) {
                let unit = without_start(unit);
                match unit.first().map(|head| head & 0x1F) {
                    Some(SPS) => self.sps = unit.to_vec(),
                    Some(PPS) => self.pps = unit.to_vec(),
                    Some(_) => {
                        data.extend_from_slice(&(unit.len() as u32).to_be_bytes());
                        data.extend_from_slice(unit);
                    }
                    None => {}
                }
            }
        }
        if data.is_empty() {
            return Err(MediaError::encode_film(
                "picture",
                "the encoder left it out",
            ));
        }
        Ok(Access { data, key })
    }

    /// What decoders need before the first picture (`AVCDecoderConfigurationRecord`, ISO/IEC 14496-15, 5.3.3.1);
    /// empty before it was encoded.
    pub(in crate::film) fn config(&self) -> Vec<u8> {
        let [_, profile, compatibility, level, ..] = self.sps[..] else {
            return Vec::new();
        };
        // Lengths take four bytes; one of each header.
        let mut record = vec![1, profile, compatibility, level, 0xFF, 0xE1];
        record.extend_from_slice(&(self.sps.len() as u16).to_be_bytes());
        record.extend_from_slice(&self.sps);
        record.push(1);
        record.extend_from_slice(&(self.pps.len() as u16).to_be_bytes());
        record.extend_from_slice(&self.pps);
        record
    }
}

/// Kinds of units.
pub(super) const SPS: u8 = 7;
const PPS: u8 = 8;

/// The unit behind its start code.
fn without_start(unit: &[u8]) -> &[u8] {
    let zeros = unit.iter().take_while(|&&byte| byte == 0).count();
    unit.get(zeros + 1..).unwrap_or_default()
}

/// The quantiser of a quality: 14 at 100, 40 at 1; 24 at 62. The codec takes none below 12.
fn quantiser(quality: u8) -> u8 {
    40 - (u32::from(quality.clamp(1, 100)) * 26 / 100) as u8
}
