//! Spectrograms as recognisers of speech take them.
//!
//! Those of Whisper: transformers'
//! [WhisperFeatureExtractor](https://github.com/huggingface/transformers/blob/main/src/transformers/models/whisper/feature_extraction_whisper.py),
//! with the filters of librosa (Slaney's scale and norm).

use std::f64::consts::PI;

use realfft::RealFftPlanner;

use crate::error::{MediaError, size};

/// Samples a second that a spectrogram is made of.
pub const MEL_RATE: u32 = 16_000;
/// Samples from one frame to the next: 10 ms.
pub const MEL_HOP: usize = 160;
/// Samples that a frame sees.
const WINDOW: usize = 400;
const BINS: usize = WINDOW / 2 + 1;
/// Powers below this count as this.
const FLOOR: f64 = 1e-10;
/// How far the quietest lies below the loudest, in tens of decibels.
const RANGE: f32 = 8.0;

/// The weights of one band on neighbouring frequencies, from the first on.
struct Band {
    first: usize,
    weights: Vec<f32>,
}

/// The logarithm of the power in `bands` bands of `samples` (one channel at [`MEL_RATE`]), followed by silence up to
/// `total` samples: `[total / 160, bands]`, at most 2 between the loudest and the quietest.
///
/// # Errors
/// [`MediaError::Size`] for a number of bands that cannot be, or more samples than `total`.
pub fn log_mel(samples: &[f32], total: usize, bands: usize) -> Result<Vec<f32>, MediaError> {
    size(
        (1..=256).contains(&bands),
        "the number of bands",
        bands,
        "1 to 256",
    )?;
    let fits = total > WINDOW && samples.len() <= total;
    size(
        fits,
        "the number of samples",
        samples.len(),
        format!("at most {total}"),
    )?;
    let filters = filters(bands);
    let window: Vec<f32> = (0..WINDOW)
        .map(|i| (0.5 - 0.5 * (2.0 * PI * i as f64 / WINDOW as f64).cos()) as f32)
        .collect();
    let fft = RealFftPlanner::<f32>::new().plan_fft_forward(WINDOW);
    let (mut input, mut spectrum) = (fft.make_input_vec(), fft.make_output_vec());
    let mut scratch = fft.make_scratch_vec();
    let quiet = FLOOR.log10() as f32;
    let mut out = vec![quiet; total / MEL_HOP * bands];
    let mut power = [0.0f32; BINS];
    for (frame, row) in out.chunks_exact_mut(bands).enumerate() {
        let first = (frame * MEL_HOP) as isize - (WINDOW / 2) as isize;
        let ends_at = first + WINDOW as isize;
        if first > samples.len() as isize && ends_at < total as isize {
            continue;
        }
        for (i, (x, w)) in input.iter_mut().zip(&window).enumerate() {
            let at = mirrored(first + i as isize, total);
            *x = samples.get(at).copied().unwrap_or(0.0) * w;
        }
        // Lengths are those of the plan, the only thing that can be wrong.
        if fft
            .process_with_scratch(&mut input, &mut spectrum, &mut scratch)
            .is_err()
        {
            continue;
        }
        for (p, x) in power.iter_mut().zip(&spectrum) {
            *p = x.norm_sqr();
        }
        for (value, band) in row.iter_mut().zip(&filters) {
            let sum: f32 = band
                .weights
                .iter()
                .zip(&power[band.first..])
                .map(|(w, p)| w * p)
                .sum();
            *value = f64::from(sum).max(FLOOR).log10() as f32;
        }
    }
    let loudest = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    out.iter_mut()
        .for_each(|x| *x = (x.max(loudest - RANGE) + 4.0) / 4.0);
    Ok(out)
}

/// Beyond both ends the sound runs back.
fn mirrored(at: isize, total: usize) -> usize {
    let at = at.unsigned_abs();
    if at < total {
        at
    } else {
        (2 * (total - 1)).saturating_sub(at)
    }
}

fn filters(bands: usize) -> Vec<Band> {
    let top = to_mel(f64::from(MEL_RATE) / 2.0);
    let edge = |i: usize| to_hertz(top * i as f64 / (bands + 1) as f64);
    (0..bands)
        .map(|band| {
            let (low, mid, high) = (edge(band), edge(band + 1), edge(band + 2));
            let weight = |bin: usize| {
                let hertz = bin as f64 * f64::from(MEL_RATE) / WINDOW as f64;
                let slope = ((hertz - low) / (mid - low)).min((high - hertz) / (high - mid));
                (slope.max(0.0) * 2.0 / (high - low)) as f32
            };
            let all: Vec<f32> = (0..BINS).map(weight).collect();
            let first = all.iter().position(|&w| w > 0.0).unwrap_or(0);
            let last = all
                .iter()
                .rposition(|&w| w > 0.0)
                .map_or(first, |last| last + 1);
            Band {
                first,
                weights: all[first..last].to_vec(),
            }
        })
        .collect()
}

/// Slaney's scale: straight up to 1000 Hz, logarithmic above.
fn to_mel(hertz: f64) -> f64 {
    match hertz < 1000.0 {
        true => hertz * 3.0 / 200.0,
        false => 15.0 + (hertz / 1000.0).ln() * 27.0 / 6.4f64.ln(),
    }
}

fn to_hertz(mel: f64) -> f64 {
    match mel < 15.0 {
        true => mel * 200.0 / 3.0,
        false => 1000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp(),
    }
}
