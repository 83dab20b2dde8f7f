//! The transform of AAC: 2048 moments to 1024 frequencies (ISO/IEC 14496-3, 4.6.11.3.1), by a Fourier transform of a quarter of
//! that.

use std::f64::consts::PI;
use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

/// Frequencies of a packet.
pub(super) const LINES: usize = 1024;

/// The transform with its tables.
pub(super) struct Mdct {
    fft: Arc<dyn Fft<f32>>,
    window: Vec<f32>,
    twist: Vec<Complex<f32>>,
}

impl Mdct {
    pub(super) fn new() -> Self {
        let length = 2 * LINES;
        let window = (0..length).map(|n| (PI * (n as f64 + 0.5) / length as f64).sin() as f32);
        let twist = (0..LINES / 2).map(|n| {
            let angle = -PI * (8 * n + 1) as f64 / (8 * LINES) as f64;
            Complex::new(angle.cos() as f32, angle.sin() as f32)
        });
        Self {
            fft: FftPlanner::new().plan_fft_forward(LINES / 2),
            window: window.collect(),
            twist: twist.collect(),
        }
    }

    /// The frequencies of `before` and `now`, 1024 moments each, under the sine window.
    pub(super) fn forward(&self, before: &[f32], now: &[f32]) -> Vec<f32> {
        let half = LINES / 2;
        let at = |n: usize| {
            let moment = if n < LINES { before[n] } else { now[n - LINES] };
            moment * self.window[n]
        };
        // Folded where the windows of neighbours overlap: an even and an odd half.
        let folded = |n: usize| {
            if n < half {
                -at(3 * half - 1 - n) - at(3 * half + n)
            } else {
                at(n - half) - at(3 * half - 1 - n)
            }
        };
        let mut turned: Vec<Complex<f32>> = (0..half)
            .map(|n| Complex::new(folded(2 * n), folded(LINES - 1 - 2 * n)) * self.twist[n])
            .collect();
        self.fft.process(&mut turned);
        let mut lines = vec![0.0; LINES];
        for (k, (turned, twist)) in turned.iter().zip(&self.twist).enumerate() {
            let value = turned * twist;
            lines[2 * k] = 2.0 * value.re;
            lines[LINES - 1 - 2 * k] = -2.0 * value.im;
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_of_the_standard() {
        let moments: Vec<f32> = (0..2 * LINES)
            .map(|n| ((n * n) as f32 * 0.013).sin() * 900.0)
            .collect();
        let mdct = Mdct::new();
        let got = mdct.forward(&moments[..LINES], &moments[LINES..]);
        let length = 2 * LINES;
        for k in [0, 1, 2, 500, 1022, 1023] {
            let sum: f64 = (0..length)
                .map(|n| {
                    let window = (PI * (n as f64 + 0.5) / length as f64).sin();
                    let phase = 2.0 * PI / length as f64
                        * (n as f64 + (LINES as f64 + 1.0) / 2.0)
                        * (k as f64 + 0.5);
                    2.0 * f64::from(moments[n]) * window * phase.cos()
                })
                .sum();
            assert!(
                (f64::from(got[k]) - sum).abs() < 1.0,
                "{k}: {} for {sum}",
                got[k]
            );
        }
    }
}
