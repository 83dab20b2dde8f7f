//! Rotary position embeddings (Su et al. 2021) and the published ways to stretch them over longer contexts.
//!
//! Formulas follow transformers' `modeling_rope_utils.py`, whose results the golden cases hold.

use std::f32::consts::PI;

pub use medley_kernels::RopeStyle;

/// How frequencies change so that a model reads further than it was trained for.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Frequencies as trained.
    None,
    /// Positions divided by `factor` (Chen et al. 2023).
    Linear {
        /// Stretch, > 0.
        factor: f32,
    },
    /// The base grows once the sequence is longer than `original` ("dynamic NTK").
    Dynamic {
        /// Stretch, > 0.
        factor: f32,
        /// Positions that the model was trained with.
        original: usize,
    },
    /// Interpolates low frequencies, keeps high ones (Peng et al. 2023).
    Yarn {
        /// Stretch, > 0.
        factor: f32,
        /// Positions that the model was trained with.
        original: usize,
        /// Rotations above which a frequency is kept (32).
        beta_fast: f32,
        /// Rotations below which a frequency is interpolated (1).
        beta_slow: f32,
        /// Factor on the rotated vectors; `0.1 ln(factor) + 1` where the file names none.
        attention_factor: Option<f32>,
        /// Whether the correction range is rounded to whole dimensions.
        truncate: bool,
    },
    /// The Llama 3.1 form: wavelengths beyond the trained context are stretched, a ramp between.
    Llama3 {
        /// Stretch, > 0.
        factor: f32,
        /// Below this share of the context a frequency is stretched.
        low: f32,
        /// Above this share a frequency is kept.
        high: f32,
        /// Positions that the model was trained with.
        original: usize,
    },
    /// One divisor per frequency, a short and a long set (Ding et al. 2024).
    LongRope {
        /// `[rot_dim / 2]`, up to `original` positions.
        short: Vec<f32>,
        /// `[rot_dim / 2]`, beyond.
        long: Vec<f32>,
        /// Positions that the model was trained with.
        original: usize,
        /// Factor on the rotated vectors.
        attention_factor: f32,
    },
    /// One divisor per frequency, read from the file (`rope_freqs.weight` of GGUF).
    Divisors(Vec<f32>),
}

/// What a model says of its rotary positions.
#[derive(Clone, Debug)]
pub struct RopeSpec {
    /// Base of the geometric series of wavelengths.
    pub theta: f32,
    /// Dimensions of a head that turn; the rest stays.
    pub rot_dim: usize,
    /// Which dimensions form a pair.
    pub style: RopeStyle,
    /// Stretching.
    pub scaling: RopeScaling,
}

/// Angles for the positions of one step.
#[derive(Clone, Debug)]
pub struct Rope {
    spec: RopeSpec,
    frequencies: Vec<f32>,
    factor: f32,
}

impl Rope {
    /// Frequencies of `spec`, as far as they do not depend on the length of the sequence.
    pub fn new(spec: RopeSpec) -> Self {
        let (frequencies, factor) = frequencies(&spec, 0);
        Self {
            spec,
            frequencies,
            factor,
        }
    }

    /// What it was made from.
    pub fn spec(&self) -> &RopeSpec {
        &self.spec
    }

    /// Cosines and sines `[positions, rot_dim / 2]` for a sequence that is `length` long after this step.
    pub fn angles(
        &self,
        positions: &[usize],
        length: usize,
        cos: &mut Vec<f32>,
        sin: &mut Vec<f32>,
    ) {
        let depends = match &self.spec.scaling {
            RopeScaling::Dynamic { original, .. } | RopeScaling::LongRope { original, .. } => {
                length > *original
            }
            _ => false,
        };
        let stretched = depends.then(|| frequencies(&self.spec, length));
        let (table, factor) = stretched
            .as_ref()
            .map_or((&self.frequencies, self.factor), |(f, a)| (f, *a));
        for &position in positions {
            for &frequency in table {
                let (s, c) = (position as f32 * frequency).sin_cos();
                cos.push(c * factor);
                sin.push(s * factor);
            }
        }
    }
}

/// Frequencies `[rot_dim / 2]` and the factor on the rotated vectors for a sequence of `length` positions.
fn frequencies(spec: &RopeSpec, length: usize) -> (Vec<f32>, f32) {
    let half = spec.rot_dim / 2;
    let dim = spec.rot_dim as f32;
    let plain = |theta: f32| -> Vec<f32> {
        (0..half)
            .map(|i| 1.0 / theta.powf(2.0 * i as f32 / dim))
            .collect()
    };
    let base = plain(spec.theta);
    match &spec.scaling {
        RopeScaling::None => (base, 1.0),
        RopeScaling::Linear { factor } => (base.iter().map(|f| f / factor).collect(), 1.0),
        RopeScaling::Dynamic { factor, original } => {
            let length = length.max(*original) as f32;
            let growth = factor * length / *original as f32 - (factor - 1.0);
            (plain(spec.theta * growth.powf(dim / (dim - 2.0))), 1.0)
        }
        RopeScaling::Yarn {
            factor,
            original,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate,
        } => {
            let correction = |rotations: f32| {
                dim * (*original as f32 / (rotations * 2.0 * PI)).ln() / (2.0 * spec.theta.ln())
            };
            let (mut low, mut high) = (correction(*beta_fast), correction(*beta_slow));
            if *truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            (low, high) = (low.max(0.0), high.min(dim - 1.0));
            if low == high {
                high += 0.001;
            }
            let mixed = base.iter().enumerate().map(|(i, f)| {
                let kept = 1.0 - ((i as f32 - low) / (high - low)).clamp(0.0, 1.0);
                f / factor * (1.0 - kept) + f * kept
            });
            let default = if *factor <= 1.0 {
                1.0
            } else {
                0.1 * factor.ln() + 1.0
            };
            (mixed.collect(), attention_factor.unwrap_or(default))
        }
        RopeScaling::Llama3 {
            factor,
            low,
            high,
            original,
        } => {
            let original = *original as f32;
            let scaled = base.iter().map(|&f| {
                let wavelength = 2.0 * PI / f;
                if wavelength < original / high {
                    f
                } else if wavelength > original / low {
                    f / factor
                } else {
                    let smooth = (original / wavelength - low) / (high - low);
                    (1.0 - smooth) * f / factor + smooth * f
                }
            });
            (scaled.collect(), 1.0)
        }
        RopeScaling::LongRope {
            short,
            long,
            original,
            attention_factor,
        } => {
            let divisors = if length > *original { long } else { short };
            (
                base.iter().zip(divisors).map(|(f, d)| f / d).collect(),
                *attention_factor,
            )
        }
        RopeScaling::Divisors(divisors) => {
            (base.iter().zip(divisors).map(|(f, d)| f / d).collect(), 1.0)
        }
    }
}

/// What each plain frequency is divided by, `[rot_dim / 2]`: the form in which GGUF files hold a stretching.
pub fn divisors(spec: &RopeSpec) -> Vec<f32> {
    let plain = RopeSpec {
        scaling: RopeScaling::None,
        ..spec.clone()
    };
    frequencies(&plain, 0)
        .0
        .iter()
        .zip(frequencies(spec, 0).0)
        .map(|(f, s)| f / s)
        .collect()
}
