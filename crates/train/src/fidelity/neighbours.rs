//! What lies nearest, to find copies.

use medley_kernels::pool::parallel_chunks;
use serde::Serialize;

/// For each row of `from` `[n, dim]` the number of the nearest row of `to` `[m, dim]` and the root mean square of what is
/// between them. Empty where `to` is.
pub fn nearest(from: &[f32], to: &[f32], dim: usize) -> Vec<(usize, f64)> {
    if to.is_empty() || dim == 0 {
        return Vec::new();
    }
    let mut found = vec![(0, 0.0); from.len() / dim];
    parallel_chunks(&mut found, 1, |i, out| {
        let row = &from[i * dim..][..dim];
        let square = |other: &[f32]| -> f64 {
            // Parts of 32, so that the sum of each stays exact enough in f32.
            let parts = row.chunks(32).zip(other.chunks(32));
            let part = |(a, b): (&[f32], &[f32])| {
                let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
                f64::from(squares.sum::<f32>())
            };
            parts.map(part).sum()
        };
        let all = to.chunks_exact(dim).map(square).enumerate();
        let best = all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
        out[0] = (best.0, (best.1 / dim as f64).sqrt());
    });
    found
}

/// How numbers lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub least: f64,
    /// A twentieth is below.
    pub p5: f64,
    /// A quarter is below.
    pub p25: f64,
    /// Half is below.
    pub median: f64,
    /// Three quarters are below.
    pub p75: f64,
}

impl Spread {
    /// Of these numbers; all 0 where there are none.
    pub fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * sorted.len().saturating_sub(1) as f64;
            sorted.get(place.round() as usize).copied().unwrap_or(0.0)
        };
        Self {
            least: at(0.0),
            p5: at(0.05),
            p25: at(0.25),
            median: at(0.5),
            p75: at(0.75),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_with_its_distance() {
        let to = [0.0, 0.0, 1.0, 1.0, 5.0, 5.0];
        let found = nearest(&[1.0, 0.5, 5.0, 5.0], &to, 2);
        assert_eq!(found[0].0, 1);
        assert!((found[0].1 - (0.25f64 / 2.0).sqrt()).abs() < 1e-12);
        assert_eq!(found[1], (2, 0.0));
        assert!(nearest(&[1.0], &[], 1).is_empty());
    }

    #[test]
    fn spreads_are_those_of_sorted_numbers() {
        let spread = Spread::of((0..=100).rev().map(f64::from));
        assert_eq!(
            (
                spread.least,
                spread.p5,
                spread.p25,
                spread.median,
                spread.p75
            ),
            (0.0, 5.0, 25.0, 50.0, 75.0)
        );
        assert_eq!(Spread::of(std::iter::empty()), Spread::default());
    }
}
