//! How much noise is not heard beside the sound: what masks it, in each band of frequencies.
//!
//! Every band masks noise 24 dB below itself, less in its neighbours by 10 dB a bark upwards and 25 dB downwards, as
//! measured by Zwicker and used by most encoders since (Painter and Spanias, "Perceptual coding of digital audio", 2000).

/// Below the masking band, in dB.
const BELOW: f64 = 24.0;
/// By how much it falls, in dB a bark.
const UPWARDS: f64 = 10.0;
const DOWNWARDS: f64 = 25.0;

/// Noise that rounding to 16 bits has anyway, in squares of a line.
const FLOOR: f64 = 500.0;

/// Bands of a sample rate.
pub(super) struct Bands {
    /// The first line of each, and the end of the last.
    pub edges: Vec<usize>,
    /// Fractions of a band's energy that each other one hides, row by row.
    spread: Vec<Vec<f64>>,
}

impl Bands {
    /// `edges` in lines, of 1024 up to half of `rate`.
    pub(super) fn new(edges: Vec<usize>, rate: u32) -> Self {
        let bark = |line: f64| {
            let hertz = line * f64::from(rate) / 2048.0;
            13.0 * (0.000_76 * hertz).atan() + 3.5 * (hertz / 7500.0).powi(2).atan()
        };
        let middles: Vec<f64> = edges
            .windows(2)
            .map(|w| bark((w[0] + w[1]) as f64 / 2.0))
            .collect();
        let spread = middles.iter().map(|here| {
            let row = middles.iter().map(|from| {
                let distance = here - from;
                let fall = if distance > 0.0 {
                    distance * UPWARDS
                } else {
                    -distance * DOWNWARDS
                };
                10f64.powf(-(BELOW + fall) / 10.0)
            });
            row.collect()
        });
        Self {
            spread: spread.collect(),
            edges,
        }
    }

    /// The most noise in each line of each band, as a square.
    pub(super) fn hidden(&self, lines: &[f32]) -> Vec<f64> {
        let energies: Vec<f64> = self.each(lines).map(|band| mean(band, |x| x * x)).collect();
        let most = |row: &Vec<f64>| {
            let masked = row
                .iter()
                .zip(&energies)
                .map(|(part, energy)| part * energy);
            masked.fold(FLOOR, f64::max)
        };
        self.spread.iter().map(most).collect()
    }

    /// The lines of each band.
    pub(super) fn each<'a, T>(&'a self, lines: &'a [T]) -> impl Iterator<Item = &'a [T]> {
        self.edges.windows(2).map(|edge| &lines[edge[0]..edge[1]])
    }

    pub(super) fn count(&self) -> usize {
        self.edges.len() - 1
    }
}

/// The mean of something over lines.
pub(super) fn mean(lines: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    lines.iter().map(|&x| of(f64::from(x))).sum::<f64>() / lines.len().max(1) as f64
}
