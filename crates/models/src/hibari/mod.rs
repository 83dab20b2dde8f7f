//! [Hibari](https://pypi.org/project/hibari-tts/): phonemes to the spectrum and pitch of speech.
//!
//! One encoder with its durations and prosody says how long each phoneme is and how high and loud the voice goes; a
//! second, with a decoder, gives for each 12.5 ms the five parts of a spectrum that signal processing makes a waveform
//! of. Blocks are those of ConvNeXt (Liu et al. 2022) along time;
//! the one attention layer of each encoder is applied several times over with the same weights. Matrices are whole
//! numbers, as the published file has them.

mod blocks;
mod letters;

use std::cell::RefCell;

use medley_kernels::{Then, onnx};
use medley_nn::Weights;

use crate::{ConfigError, Result};
use blocks::{Conv, ConvNext, Dense, Encoder, LayerNorm, Room, gelu};

pub use letters::{Letters, LettersConfig};

/// Frames of pitch for each frame of prosody.
const FRAMES: usize = 2;
/// Frames of spectrum a second.
pub const FRAME_RATE: u32 = 80;
/// Parts of the spectrum.
const PARTS: usize = 5;
/// Longest sequence of phonemes: more than ten sentences.
pub const MAX_PHONEMES: usize = 4096;
/// Longest duration of one phoneme that is believed, in frames of prosody: ten seconds.
const MAX_DURATION: f32 = 400.0;

/// Shape of a voice.
#[derive(Clone, Debug, PartialEq)]
pub struct HibariConfig {
    /// Phonemes of the alphabet.
    pub symbols: usize,
    /// Width of the encoder of the spectrum.
    pub width: usize,
    /// Width of its decoder.
    pub decoder_width: usize,
    /// Width of the encoder of durations and pitch.
    pub prosody_width: usize,
    /// Frequencies of a spectrum.
    pub bins: usize,
    /// How often the attention layers of the two encoders are applied.
    pub turns: [usize; 2],
    /// Blocks of the decoder.
    pub decoder_blocks: usize,
    /// Blocks of the prosody, by their dilation.
    pub dilations: Vec<usize>,
}

impl HibariConfig {
    /// Reads the shape out of a voice's tensors; what is in none of them is as published.
    ///
    /// # Errors
    /// [`ConfigError`] where they are those of another model.
    pub fn from_weights(weights: &Weights) -> Result<Self> {
        let dims = |name: &str| -> Result<Vec<usize>> { Ok(weights.shape(name)?) };
        let two = |name: &str| -> Result<[usize; 2]> {
            dims(name)?
                .try_into()
                .map_err(|_| ConfigError::missing(&format!("{name}, a matrix")))
        };
        let [symbols, width] = two("m.text.emb.weight")?;
        let [_, prosody_width] = two("pn.text.emb.weight")?;
        let [outputs, decoder_width] = two("m.head.weight")?;
        if !outputs.is_multiple_of(PARTS) {
            let expected = "it must be five parts of a spectrum";
            return Err(ConfigError::invalid("m.head.weight", outputs, expected));
        }
        let blocks = |prefix: &str| {
            let there = |i: &usize| weights.has(&format!("{prefix}.{i}.gamma"));
            (0..64).take_while(there).count()
        };
        Ok(Self {
            symbols,
            width,
            decoder_width,
            prosody_width,
            bins: outputs / PARTS,
            turns: [4, 6],
            decoder_blocks: blocks("m.dec"),
            dilations: (0..blocks("pn.pro")).map(|i| 1 << (i % 4)).collect(),
        })
    }
}

/// The spectrum of a piece of speech, frame after frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spectrum {
    /// Frequencies of a frame.
    pub bins: usize,
    /// `[frames, 5 · bins]`: logarithm of the harmonic part's size, its turn before the hyperbolic tangent, logarithms
    /// of the noise's and the free part's size, and the free part's phase.
    pub parts: Vec<f32>,
    /// Pitch of each frame in Hz; 40 and less is a frame without voice.
    pub pitch: Vec<f32>,
    /// Frames of each phoneme.
    pub durations: Vec<usize>,
}

thread_local! {
    /// What a sentence needs, kept for the next one.
    static ROOM: RefCell<Room> = RefCell::default();
}

/// A voice with its weights.
pub struct Hibari {
    config: HibariConfig,
    text: Encoder,
    dec_in: Conv,
    dec: Vec<ConvNext>,
    dec_norm: LayerNorm,
    head: Dense,
    prosody_text: Encoder,
    dur: [Conv; 2],
    pro_in: Conv,
    pro: Vec<ConvNext>,
    pro_out: Conv,
}

impl Hibari {
    /// Makes every layer of `config` out of `weights`, which run on the CPU.
    ///
    /// # Errors
    /// [`ConfigError`] where a weight is missing or has another shape.
    pub fn new(config: HibariConfig, weights: &Weights) -> Result<Self> {
        let (c, w, p) = (&config, config.decoder_width, config.prosody_width);
        let conv = |name: &str, sizes, taps| Conv::new(weights, name, sizes, taps);
        let block =
            |name: String, width, dilation| ConvNext::new(weights, &name, width, 7, dilation);
        Ok(Self {
            text: Encoder::new(weights, "m.text", [c.symbols, c.width], c.turns[0])?,
            // Beside the states go the logarithm of the pitch and the energy.
            dec_in: conv("m.dec_in", [c.width + 2, w], 7)?,
            dec: (0..c.decoder_blocks)
                .map(|i| block(format!("m.dec.{i}"), w, 1))
                .collect::<Result<_>>()?,
            dec_norm: LayerNorm::new(weights, "m.dec_norm", w)?,
            head: Dense::new(weights, "m.head", [w, PARTS * c.bins])?,
            prosody_text: Encoder::new(weights, "pn.text", [c.symbols, p], c.turns[1])?,
            dur: [conv("pn.dur.0", [p, p], 3)?, conv("pn.dur.2", [p, 1], 1)?],
            pro_in: conv("pn.pro_in", [p, p], 1)?,
            pro: c
                .dilations
                .iter()
                .enumerate()
                .map(|(i, &dilation)| block(format!("pn.pro.{i}"), p, dilation))
                .collect::<Result<_>>()?,
            pro_out: conv("pn.pro_out", [p, 2 * FRAMES], 1)?,
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &HibariConfig {
        &self.config
    }

    /// Phonemes by number, with the silence (0) at both ends, to a spectrum. `speed` divides every duration.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for too many phonemes, a number outside of the alphabet or a speed that is none.
    pub fn forward(&self, ids: &[u32], speed: f32) -> Result<Spectrum> {
        let mut spectrum = Spectrum::default();
        self.forward_into(ids, speed, &mut spectrum)?;
        Ok(spectrum)
    }

    /// The same, in the memory of an earlier spectrum.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_into(&self, ids: &[u32], speed: f32, spectrum: &mut Spectrum) -> Result<()> {
        if ids.len() > MAX_PHONEMES || ids.is_empty() {
            let expected = format!("1 to {MAX_PHONEMES} are spoken at a time");
            return Err(ConfigError::invalid("phonemes", ids.len(), &expected));
        }
        if !(speed.is_finite() && speed > 0.0) {
            return Err(ConfigError::invalid("speed", speed, "it must be positive"));
        }
        ROOM.with_borrow_mut(|room| self.spectrum(ids, speed, room, spectrum))
    }

    fn spectrum(
        &self,
        ids: &[u32],
        speed: f32,
        room: &mut Room,
        spectrum: &mut Spectrum,
    ) -> Result<()> {
        let prosody = self.prosody_text.forward(ids, room)?; // [phonemes, prosody_width]
        let durations = self.durations(&prosody, speed);
        let stretched = stretch(&prosody, self.config.prosody_width, &durations, 1);
        let (pitch, energy) = self.prosody(&stretched, room);
        let (width, frames) = (self.config.width, pitch.len());
        let states = self.text.forward(ids, room)?;
        let states = stretch(&states, width, &durations, FRAMES); // [frames, width]
        let mut heights: Vec<f32> = pitch.iter().map(|f| 1.0 + f.max(0.0)).collect();
        onnx::logs(&mut heights);
        let mut beside = Vec::with_capacity(frames * (width + 2));
        for ((states, height), e) in states.chunks_exact(width).zip(&heights).zip(&energy) {
            beside.extend_from_slice(states);
            // The graph multiplies and divides the energy, which rounds it.
            beside.extend([height / 5.0, e * 5.0 / 5.0]);
        }
        let mut x = self.dec_in.forward(&beside);
        for block in &self.dec {
            block.forward(&mut x, room);
        }
        let mut normed = Vec::new();
        let bounds = self.dec_norm.forward(&x, &mut normed);
        let parts = &mut spectrum.parts; // [frames, 5 · bins]
        self.head.forward(&normed, Some(bounds), Then::Store, parts);
        spectrum.bins = self.config.bins;
        spectrum.pitch = pitch;
        spectrum.durations = durations.iter().map(|d| d * FRAMES).collect();
        Ok(())
    }

    /// Frames of prosody of each phoneme, at least one.
    fn durations(&self, prosody: &[f32], speed: f32) -> Vec<usize> {
        let [first, second] = &self.dur;
        let mut hidden = first.forward(prosody);
        gelu(&mut hidden);
        let frames = |log: &f32| ((log.exp() - 1.0) / speed).round_ties_even();
        let logs = second.forward(&hidden);
        logs.iter()
            .map(|log| frames(log).clamp(1.0, MAX_DURATION) as usize)
            .collect()
    }

    /// Pitch in Hz and energy, for every frame.
    fn prosody(&self, x: &[f32], room: &mut Room) -> (Vec<f32>, Vec<f32>) {
        let mut x = self.pro_in.forward(x);
        for block in &self.pro {
            block.forward(&mut x, room);
        }
        let (mut pitch, mut energy) = (Vec::new(), Vec::new());
        for frame in self.pro_out.forward(&x).chunks_exact(2 * FRAMES) {
            // The two frames of the pitch, then those of the energy.
            pitch.extend(frame[..FRAMES].iter().map(|f| f * 100.0));
            energy.extend_from_slice(&frame[FRAMES..]);
        }
        (pitch, energy)
    }
}

/// Each row as often as its duration says, times `frames`.
fn stretch(x: &[f32], width: usize, durations: &[usize], frames: usize) -> Vec<f32> {
    let total: usize = durations.iter().sum::<usize>() * frames;
    let mut out = Vec::with_capacity(total * width);
    for (row, &duration) in x.chunks_exact(width.max(1)).zip(durations) {
        for _ in 0..duration * frames {
            out.extend_from_slice(row);
        }
    }
    out
}
