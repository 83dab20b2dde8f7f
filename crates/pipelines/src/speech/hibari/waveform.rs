//! Spectra to samples.
//!
//! Each frame of 12.5 ms is the sum of three parts: a train of pulses at the pitch, whose spectrum is scaled and
//! turned; noise with the size of each frequency; and a part whose size and phase are free. Frames overlap by three
//! quarters and are summed (inverse STFT with a Hann window). This is the synthesis of the voice's own package
//! (`dsp.py` of hibari-tts 0.2.1), formula by formula; only the noise comes out of another generator.

use std::cell::RefCell;
use std::f32::consts::PI;
use std::sync::Arc;

use medley_kernels::{Activation, activate, polar, pool, sin};
use medley_models::hibari::Spectrum;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Samples a second.
pub const RATE: u32 = 24_000;
/// Samples of a window.
const WINDOW: usize = 1200;
/// Samples from frame to frame.
const HOP: usize = 300;
/// Frequencies of a frame.
pub(super) const BINS: usize = WINDOW / 2 + 1;
/// Frames that are computed together.
const BLOCK: usize = 32;
/// Logarithms of sizes are cut here.
const LOUDEST: f32 = 7.0;
/// The pitch below which a frame has no voice, in Hz.
const VOICED: f32 = 40.0;
/// The highest harmonic, in Hz.
const HIGHEST: f32 = 11_000.0;

/// Where the noise comes from: two numbers for each frequency of each frame.
pub trait Noise: Sync {
    /// Real and imaginary parts for the frequencies of `frame`, each of mean 0 and variance 1.
    fn fill(&self, frame: usize, parts: &mut [[f32; 2]; BINS]);
}

/// Noise from a seed: any frame is reached at once, so threads change nothing. A number is the sum of four even ones,
/// near enough to a normal one for ears.
pub struct Seeded(pub u64);

impl Noise for Seeded {
    fn fill(&self, frame: usize, parts: &mut [[f32; 2]; BINS]) {
        // SplitMix64 over a counter (Steele et al. 2014).
        let step = 0x9E37_79B9_7F4A_7C15u64;
        let mut state = self.0.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ (frame as u64) << 32;
        let mut next = || {
            state = state.wrapping_add(step);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        // Four numbers from 0 to 65535: mean 131070, variance 4 · (65536² - 1) / 12.
        const SCALE: f32 = 1.0 / 37_837.23;
        let mut normal = || {
            let z = next();
            let sum = (z & 0xFFFF) + (z >> 16 & 0xFFFF) + (z >> 32 & 0xFFFF) + (z >> 48);
            (sum as f32 - 131_070.0) * SCALE
        };
        for part in parts {
            *part = [normal(), normal()];
        }
    }
}

thread_local! {
    /// Windows of a sentence, kept for the next one.
    static WINDOWS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// What every synthesis needs once.
pub struct Synthesizer {
    window: Vec<f32>,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

impl Default for Synthesizer {
    fn default() -> Self {
        let mut planner = RealFftPlanner::new();
        let hann = |i: usize| {
            let turn = std::f64::consts::TAU * i as f64 / WINDOW as f64;
            (0.5 - 0.5 * turn.cos()) as f32
        };
        Self {
            window: (0..WINDOW).map(hann).collect(),
            forward: planner.plan_fft_forward(WINDOW),
            inverse: planner.plan_fft_inverse(WINDOW),
        }
    }
}

impl Synthesizer {
    /// The samples of a spectrum, 300 for each frame; none where it has other frequencies than 601.
    pub fn synthesize(&self, spectrum: &Spectrum, noise: &dyn Noise) -> Option<Vec<f32>> {
        let frames = spectrum.pitch.len();
        let fits = spectrum.bins == BINS && spectrum.parts.len() == frames * 5 * BINS;
        if !fits || frames == 0 {
            return None;
        }
        let source = reflected(&pulses(&spectrum.pitch));
        WINDOWS.with_borrow_mut(|windows| {
            windows.resize(frames * WINDOW, 0.0);
            self.windows(spectrum, &source, noise, windows);
            Some(self.overlapped(windows, frames))
        })
    }

    /// The windowed frames one behind the other.
    fn windows(&self, spectrum: &Spectrum, source: &[f32], noise: &dyn Noise, out: &mut [f32]) {
        pool::parallel_chunks(out, BLOCK * WINDOW, |block, out| {
            let mut scratch = Scratch::new(self);
            for (i, out) in out.chunks_exact_mut(WINDOW).enumerate() {
                let frame = block * BLOCK + i;
                let parts = &spectrum.parts[frame * 5 * BINS..(frame + 1) * 5 * BINS];
                let input = &source[frame * HOP..frame * HOP + WINDOW];
                noise.fill(frame, &mut scratch.noise);
                self.frame(input, parts, &mut scratch, out);
            }
        });
    }

    /// One windowed frame.
    fn frame(&self, input: &[f32], parts: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
        for ((x, input), w) in scratch.real.iter_mut().zip(input).zip(&self.window) {
            // A cosine of size 1 then has a peak of size 1.
            *x = input * (w / HOP as f32);
        }
        let Scratch {
            real,
            bins,
            noise,
            work,
            angles,
            sizes,
            re,
            im,
        } = scratch;
        // Lengths are those of the plan, the only thing that can be wrong.
        let _ = self.forward.process_with_scratch(real, bins, work);
        let part = |i: usize| &parts[i * BINS..(i + 1) * BINS];
        let (size, turn, hiss, free, phase) = (part(0), part(1), part(2), part(3), part(4));
        angles.copy_from_slice(turn);
        activate(Activation::Tanh, angles);
        angles.iter_mut().for_each(|angle| *angle *= PI);
        polar(size, angles, LOUDEST, re, im);
        for (bin, (re, im)) in bins.iter_mut().zip(re.iter().zip(im.iter())) {
            *bin *= Complex::new(*re, *im);
        }
        polar(free, phase, LOUDEST, re, im);
        for (bin, (re, im)) in bins.iter_mut().zip(re.iter().zip(im.iter())) {
            *bin += Complex::new(*re, *im);
        }
        angles.fill(0.0);
        polar(hiss, angles, LOUDEST, sizes, im);
        for ((bin, noise), size) in bins.iter_mut().zip(noise.iter()).zip(sizes.iter()) {
            *bin += Complex::new(noise[0], noise[1]) * *size;
        }
        // A real signal has none there.
        bins[0].im = 0.0;
        bins[BINS - 1].im = 0.0;
        let _ = self.inverse.process_with_scratch(bins, out, work);
        for (x, w) in out.iter_mut().zip(&self.window) {
            *x *= w / WINDOW as f32;
        }
    }

    /// Windows, one hop apart, summed and divided by the sum of the squared windows. The first window's middle is the
    /// first sample.
    fn overlapped(&self, windows: &[f32], frames: usize) -> Vec<f32> {
        let mut out = vec![0.0; frames * HOP];
        pool::parallel_chunks(&mut out, BLOCK * HOP, |block, out| {
            for (i, out) in out.chunks_exact_mut(HOP).enumerate() {
                // A hop of the samples sees up to four windows, the earliest first.
                let hop = block * BLOCK + i + WINDOW / HOP / 2;
                let mut weight = [0.0f32; HOP];
                for frame in (hop + 1).saturating_sub(WINDOW / HOP)..=hop.min(frames - 1) {
                    let part = (hop - frame) * HOP..(hop - frame + 1) * HOP;
                    let window = &windows[frame * WINDOW..(frame + 1) * WINDOW];
                    let both = window[part.clone()].iter().zip(&self.window[part]);
                    for ((sum, weight), (x, w)) in out.iter_mut().zip(&mut weight).zip(both) {
                        *sum += x;
                        *weight += w * w;
                    }
                }
                for (sum, weight) in out.iter_mut().zip(&weight) {
                    *sum /= weight.max(1e-11);
                }
            }
        });
        out
    }
}

/// Memory of a task.
struct Scratch {
    real: Vec<f32>,
    bins: Vec<Complex<f32>>,
    noise: Box<[[f32; 2]; BINS]>,
    work: Vec<Complex<f32>>,
    angles: Vec<f32>,
    sizes: Vec<f32>,
    re: Vec<f32>,
    im: Vec<f32>,
}

impl Scratch {
    fn new(of: &Synthesizer) -> Self {
        let work = of
            .forward
            .get_scratch_len()
            .max(of.inverse.get_scratch_len());
        Self {
            real: vec![0.0; WINDOW],
            bins: vec![Complex::default(); BINS],
            noise: Box::new([[0.0; 2]; BINS]),
            work: vec![Complex::default(); work],
            angles: vec![0.0; BINS],
            sizes: vec![0.0; BINS],
            re: vec![0.0; BINS],
            im: vec![0.0; BINS],
        }
    }
}

/// Pulses at the pitch: all harmonics below 11 kHz at size 1, by the closed form of their sum,
/// `Σ cos(h t) = sin((H + 1/2) t) / (2 sin(t / 2)) - 1/2`. Frames without voice are silent.
fn pulses(pitch: &[f32]) -> Vec<f32> {
    let last = pitch.len() - 1;
    // The pitch stands in the middle of its frame, and goes straight from one to the next.
    let shares: [(bool, f32); HOP] = std::array::from_fn(|j| {
        let at = (j as f64 + 0.5) / HOP as f64 - 0.5;
        match at < 0.0 {
            true => (true, (at + 1.0) as f32),
            false => (false, at as f32),
        }
    });
    let mut phases = Vec::with_capacity(pitch.len() * HOP);
    let mut heights = vec![0.0f32; pitch.len() * HOP];
    let mut phase = 0.0f64;
    for (frame, heights) in heights.chunks_exact_mut(HOP).enumerate() {
        let near = [frame.saturating_sub(1), frame, (frame + 1).min(last)].map(|i| pitch[i]);
        for (height, (before, share)) in heights.iter_mut().zip(shares) {
            let [from, to] = match before {
                true => [near[0], near[1]],
                false => [near[1], near[2]],
            };
            *height = from * (1.0 - share) + to * share;
            phase += f64::from(height.max(VOICED));
            phases.push(phase);
        }
    }
    pool::parallel_chunks(&mut heights, BLOCK * HOP, |block, heights| {
        sum_harmonics(heights, &phases[block * BLOCK * HOP..]);
    });
    heights
}

/// From pitches in Hz to samples. `phases` are turns times the rate.
fn sum_harmonics(heights: &mut [f32], phases: &[f64]) {
    // Of each sample half the angle, and the angle times the harmonics and a half; no harmonics without voice.
    let (mut halves, mut wholes) = (Vec::new(), Vec::new());
    for (height, phase) in heights.iter_mut().zip(phases) {
        let hz = *height;
        *height = match hz > VOICED {
            true => (HIGHEST / hz).floor() + 0.5,
            false => 0.0,
        };
        let t = ((phase / f64::from(RATE)).fract() * std::f64::consts::TAU) as f32;
        halves.push(t * 0.5);
        wholes.push(*height * t);
    }
    sin(&mut halves);
    sin(&mut wholes);
    for (most, (half, whole)) in heights.iter_mut().zip(halves.iter().zip(&wholes)) {
        let below = half * 2.0;
        *most = match () {
            () if *most == 0.0 => 0.0,
            () if below.abs() <= 2e-3 => *most - 0.5,
            () => whole / below - 0.5,
        };
    }
}

/// With half a window before and behind, mirrored at the first and last sample.
fn reflected(x: &[f32]) -> Vec<f32> {
    let half = WINDOW / 2;
    let at = |i: isize| -> f32 {
        let last = x.len() as isize - 1;
        let mut i = i;
        // A signal shorter than half a window is mirrored more than once.
        while last > 0 && !(0..=last).contains(&i) {
            i = if i < 0 { -i } else { 2 * last - i };
        }
        x.get(i.max(0) as usize).copied().unwrap_or(0.0)
    };
    let half = half as isize;
    (-half..x.len() as isize + half).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Still;

    impl Noise for Still {
        fn fill(&self, _: usize, parts: &mut [[f32; 2]; BINS]) {
            *parts = [[0.0; 2]; BINS];
        }
    }

    fn spectrum(frames: usize, pitch: f32, size: f32) -> Spectrum {
        let mut parts = Vec::new();
        for _ in 0..frames {
            for value in [size, 0.0, -20.0, -20.0, 0.0] {
                parts.extend([value; BINS]);
            }
        }
        Spectrum {
            bins: BINS,
            parts,
            pitch: vec![pitch; frames],
            durations: vec![frames],
        }
    }

    #[test]
    fn pulses_come_at_the_pitch() {
        // 200 Hz are 120 samples apart.
        let sound = Synthesizer::default()
            .synthesize(&spectrum(20, 200.0, 0.0), &Still)
            .unwrap();
        assert_eq!(sound.len(), 20 * HOP);
        let middle = &sound[1200..4800];
        let peaks: Vec<usize> = (1..middle.len() - 1)
            .filter(|&i| middle[i] > 0.1 && middle[i] >= middle[i - 1] && middle[i] > middle[i + 1])
            .collect();
        assert!(peaks.len() >= 29, "{} peaks", peaks.len());
        assert!(peaks.windows(2).all(|p| p[1] - p[0] == 120), "{peaks:?}");
    }

    #[test]
    fn without_voice_there_is_only_noise() {
        let synthesizer = Synthesizer::default();
        let mut quiet = spectrum(20, 0.0, 0.0);
        let sound = synthesizer.synthesize(&quiet, &Still).unwrap();
        assert!(sound.iter().all(|s| s.abs() < 1e-4));
        for frame in quiet.parts.chunks_exact_mut(5 * BINS) {
            frame[2 * BINS..3 * BINS].fill(0.0);
        }
        let hiss = |seed| synthesizer.synthesize(&quiet, &Seeded(seed)).unwrap();
        assert_eq!(hiss(1), hiss(1));
        assert_ne!(hiss(1), hiss(2));
        let mean = hiss(1).iter().map(|s| s * s).sum::<f32>() / hiss(1).len() as f32;
        // Each of 1200 complex values has the power 2, and a window's mean square is 3/8.
        assert!(
            (0.5..2.0).contains(&(mean / (2.0 * 1200.0 / 1200f32.powi(2)))),
            "{mean}"
        );
    }

    #[test]
    fn noise_is_even_and_of_variance_one() {
        let (mut sum, mut squares, mut count) = (0.0f64, 0.0f64, 0.0f64);
        let mut parts = [[0.0; 2]; BINS];
        for frame in 0..200 {
            Seeded(7).fill(frame, &mut parts);
            for x in parts.iter().flatten() {
                sum += f64::from(*x);
                squares += f64::from(*x).powi(2);
                count += 1.0;
            }
        }
        assert!((sum / count).abs() < 0.01);
        assert!((squares / count - 1.0).abs() < 0.01);
    }

    #[test]
    fn other_shapes_are_refused() {
        let mut odd = spectrum(2, 100.0, 0.0);
        odd.parts.pop();
        assert!(Synthesizer::default().synthesize(&odd, &Still).is_none());
        assert!(
            Synthesizer::default()
                .synthesize(&spectrum(1, 100.0, 0.0), &Still)
                .is_some()
        );
    }
}
