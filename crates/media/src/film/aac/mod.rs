//! Sound as films carry it: AAC-LC, in packets of 1024 moments (ISO/IEC 14496-3).
//!
//! The encoder of `oxideav-aac` takes twice as long as the sound lasts, as its transform is the plain sum; so it is its tables that
//! are used here, under a transform and a choice of steps of our own.

mod mdct;
mod noise;
mod packet;

use oxideav_aac::swb_offset::long_window_offsets;
use symphonia::core::audio::SampleBuffer;
use symphonia::core::codecs::{CODEC_TYPE_AAC, CodecParameters, Decoder, DecoderOptions};
use symphonia::core::formats::Packet;

use self::mdct::Mdct;
use self::noise::Bands;
use self::packet::{Bits, Channel, write_info};
use crate::audio::Audio;
use crate::error::{MediaError, size};

/// Moments in a packet, and how many the encoder puts before the first of the sound.
pub(super) const PACKET: usize = 1024;
pub(super) const PRIMING: usize = 1024;

/// The rates that the format has, by their index.
const RATES: [u32; 12] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
];

/// The most bits of a packet for each channel (ISO/IEC 14496-3, 4.5.3).
const MOST_BITS: usize = 6144;

/// Makes packets out of a sound, in order: long windows, each as many bits as it takes for its noise to stay hidden.
pub(super) struct AacEncoder {
    audio: Audio,
    mdct: Mdct,
    bands: Bands,
    /// The moments of the packet before, channel by channel.
    before: Vec<Vec<f32>>,
    /// The first moment that was not encoded yet.
    at: usize,
    finished: bool,
}

impl AacEncoder {
    /// # Errors
    /// [`MediaError::Size`] for a rate or number of channels that films do not have,
    /// [`MediaError::SampleNotFinite`].
    pub(super) fn new(audio: Audio) -> Result<Self, MediaError> {
        let index = RATES.iter().position(|&rate| rate == audio.rate());
        size(
            index.is_some(),
            "the sample rate of a film's sound",
            audio.rate(),
            "8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200 or 96000",
        )?;
        size(
            (1..=2).contains(&audio.channels()),
            "the number of channels of a film's sound",
            audio.channels(),
            "1 or 2",
        )?;
        if let Some(index) = audio.samples().iter().position(|s| !s.is_finite()) {
            let value = audio.samples()[index].to_string();
            return Err(MediaError::SampleNotFinite { index, value });
        }
        let edges = long_window_offsets(index.unwrap_or_default() as u8);
        let edges = edges.map_err(|e| MediaError::encode_film("sound", e))?;
        Ok(Self {
            mdct: Mdct::new(),
            bands: Bands::new(
                edges.iter().map(|&edge| usize::from(edge)).collect(),
                audio.rate(),
            ),
            before: vec![vec![0.0; PACKET]; usize::from(audio.channels())],
            audio,
            at: 0,
            finished: false,
        })
    }

    pub(super) fn rate(&self) -> u32 {
        self.audio.rate()
    }

    pub(super) fn channels(&self) -> u16 {
        self.audio.channels()
    }

    /// Moments of the sound.
    pub(super) fn moments(&self) -> usize {
        self.audio.frames()
    }

    /// The configuration that decoders read (`AudioSpecificConfig`): AAC-LC, the rate's index, the channels.
    pub(super) fn config(&self) -> [u8; 2] {
        const LOW_COMPLEXITY: u16 = 2;
        let index = RATES.iter().position(|&r| r == self.audio.rate());
        let index = index.unwrap_or_default() as u16;
        (LOW_COMPLEXITY << 11 | index << 7 | self.audio.channels() << 3).to_be_bytes()
    }

    /// The next packet; none behind the last.
    pub(super) fn next_packet(&mut self) -> Result<Option<Vec<u8>>, MediaError> {
        if self.finished {
            return Ok(None);
        }
        // One more behind the end, for the second half of the last window.
        self.finished = self.at >= self.audio.frames();
        let channels = usize::from(self.audio.channels());
        let mut lines = Vec::new();
        for (channel, before) in self.before.iter_mut().enumerate() {
            let moment = |i: usize| {
                let sample = self.audio.samples().get(i * channels + channel);
                sample.map_or(0.0, |s| s.clamp(-1.0, 1.0) * 32767.0)
            };
            let now: Vec<f32> = (self.at..self.at + PACKET).map(moment).collect();
            lines.push(self.mdct.forward(before, &now));
            *before = now;
        }
        self.at += PACKET;
        // Coarser until it fits, which it nearly always does at once.
        for coarser in (0..).step_by(2) {
            let packet = encode(&lines, &self.bands, coarser)
                .map_err(|e| MediaError::encode_film("sound", e))?;
            if packet.len() * 8 <= MOST_BITS * channels {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }
}

/// A packet of one or two channels (`raw_data_block`, tables 4.3 to 4.5).
fn encode(lines: &[Vec<f32>], bands: &Bands, coarser: i32) -> Result<Vec<u8>, oxideav_aac::Error> {
    const SINGLE: u32 = 0;
    const PAIR: u32 = 1;
    const END: u32 = 7;
    let mut bits = Bits::default();
    match lines {
        [left, right] => {
            let (coded, hidden, joint) = join(left, right, bands);
            let first = Channel::quantised(&coded[0], bands, &hidden[0], coarser)?;
            let second = Channel::quantised(&coded[1], bands, &hidden[1], coarser)?;
            let count = first.bands().max(second.bands());
            bits.put(PAIR, 3);
            bits.put(0, 4);
            // One description of the window for both.
            bits.put(1, 1);
            write_info(&mut bits, count);
            if joint[..count].iter().any(|&joint| joint) {
                bits.put(1, 2);
                joint[..count]
                    .iter()
                    .for_each(|&joint| bits.put(u32::from(joint), 1));
            } else {
                bits.put(0, 2);
            }
            first.write(&mut bits, bands, count, false)?;
            second.write(&mut bits, bands, count, false)?;
        }
        [only, ..] => {
            let channel = Channel::quantised(only, bands, &bands.hidden(only), coarser)?;
            bits.put(SINGLE, 3);
            bits.put(0, 4);
            channel.write(&mut bits, bands, channel.bands(), true)?;
        }
        [] => {}
    }
    bits.put(END, 3);
    Ok(bits.finish())
}

/// What is coded of a pair, how much noise it hides, and which bands are coded as middle and side: those where one of the two is
/// much quieter than left and right are.
fn join(left: &[f32], right: &[f32], bands: &Bands) -> ([Vec<f32>; 2], [Vec<f64>; 2], Vec<bool>) {
    let mut hidden = [bands.hidden(left), bands.hidden(right)];
    let mut coded = [left.to_vec(), right.to_vec()];
    let mut joint = vec![false; bands.count()];
    for (band, edge) in bands.edges.windows(2).enumerate() {
        let (l, r) = (&left[edge[0]..edge[1]], &right[edge[0]..edge[1]]);
        let energy = |of: fn(f32, f32) -> f32| {
            l.iter()
                .zip(r)
                .map(|(&l, &r)| of(l, r).powi(2))
                .sum::<f32>()
        };
        let (middle, side) = (energy(|l, r| (l + r) / 2.0), energy(|l, r| (l - r) / 2.0));
        let (loud, quiet) = (energy(|l, _| l), energy(|_, r| r));
        if middle.min(side) * 8.0 > loud.min(quiet) {
            continue;
        }
        joint[band] = true;
        for i in edge[0]..edge[1] {
            coded[0][i] = (left[i] + right[i]) / 2.0;
            coded[1][i] = (left[i] - right[i]) / 2.0;
        }
        // The noise of both is in both ears.
        let least = hidden[0][band].min(hidden[1][band]) / 2.0;
        hidden[0][band] = least;
        hidden[1][band] = least;
    }
    (coded, hidden, joint)
}

/// Turns packets into a sound again.
pub(super) struct AacDecoder {
    decoder: Box<dyn Decoder>,
    samples: Vec<f32>,
    shape: Option<(u32, u16)>,
    limit: usize,
}

impl AacDecoder {
    /// For packets with this `AudioSpecificConfig`; at most `limit` samples are decoded.
    pub(super) fn new(config: &[u8], limit: usize) -> Result<Self, MediaError> {
        let mut parameters = CodecParameters::new();
        parameters
            .for_codec(CODEC_TYPE_AAC)
            .with_extra_data(config.into());
        let decoder = symphonia::default::get_codecs()
            .make(&parameters, &DecoderOptions::default())
            .map_err(|e| {
                MediaError::film_unsupported(format!("its sound is another kind of AAC ({e})"))
            })?;
        Ok(Self {
            decoder,
            samples: Vec::new(),
            shape: None,
            limit,
        })
    }

    pub(super) fn push(&mut self, packet: &[u8]) -> Result<(), MediaError> {
        let packet = Packet::new_from_slice(0, 0, PACKET as u64, packet);
        let decoded = self
            .decoder
            .decode(&packet)
            .map_err(MediaError::damaged_sound)?;
        let spec = *decoded.spec();
        let shape = (spec.rate, spec.channels.count() as u16);
        if *self.shape.get_or_insert(shape) != shape {
            return Err(MediaError::damaged_sound(
                "its rate or channels change on the way",
            ));
        }
        let mut buffer = SampleBuffer::<f32>::new(decoded.capacity() as u64, spec);
        buffer.copy_interleaved_ref(decoded);
        self.check_length(self.samples.len() + buffer.samples().len())?;
        let finite = |s: &f32| if s.is_finite() { *s } else { 0.0 };
        self.samples.extend(buffer.samples().iter().map(finite));
        Ok(())
    }

    fn check_length(&self, samples: usize) -> Result<(), MediaError> {
        size(
            samples <= self.limit,
            "the length of the sound",
            format!("more than {} samples", self.limit),
            format!("at most {} samples", self.limit),
        )
    }

    /// Samples a second, once something was decoded.
    pub(super) fn rate(&self) -> Option<u32> {
        self.shape.map(|(rate, _)| rate)
    }

    /// The sound without its first `skip` moments, at most `count` of them; `pause` moments of silence before.
    pub(super) fn finish(
        self,
        pause: usize,
        skip: usize,
        count: usize,
    ) -> Result<Option<Audio>, MediaError> {
        let Some((rate, channels)) = self.shape else {
            return Ok(None);
        };
        let width = usize::from(channels.max(1));
        let total = self.samples.len() / width;
        let start = skip.min(total);
        let end = start.saturating_add(count).min(total);
        let length = pause.saturating_add(end - start);
        self.check_length(length.saturating_mul(width))?;
        let mut samples = vec![0.0; pause * width];
        samples.extend_from_slice(&self.samples[start * width..end * width]);
        Audio::new(rate, channels, samples).map(Some)
    }
}
