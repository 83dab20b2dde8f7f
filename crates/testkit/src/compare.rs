//! Comparisons of values: by element, by direction, and between distributions.

use std::fmt;

/// How far two elements may lie apart: `|actual - expected| <= absolute + relative * |expected|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Allowed difference at an expected value of 0.
    pub absolute: f32,
    /// Allowed difference as a part of the expected value.
    pub relative: f32,
}

impl Tolerance {
    /// The same bits' worth of values: no difference at all (-0 equals 0).
    pub const EXACT: Self = Self::absolute(0.0);

    /// An absolute tolerance only.
    pub const fn absolute(absolute: f32) -> Self {
        Self::new(absolute, 0.0)
    }

    /// Absolute and relative tolerance together.
    pub const fn new(absolute: f32, relative: f32) -> Self {
        Self { absolute, relative }
    }

    fn allows(self, actual: f32, expected: f32) -> bool {
        // Infinities of one sign have no difference to measure.
        actual == expected
            || (actual - expected).abs() <= self.absolute + self.relative * expected.abs()
    }
}

/// Summary of the element-wise difference between two slices of one length.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Difference {
    /// Elements compared.
    pub count: usize,
    /// Largest `|actual - expected|`; NaN where only one side is NaN counts as infinite.
    pub max_abs: f32,
    /// Where it is.
    pub at: usize,
    /// Mean `|actual - expected|`.
    pub mean_abs: f64,
    /// Root mean square of the difference over that of the expected values; 0 for all-zero pairs.
    pub relative_rms: f64,
}

/// Why two slices are not close.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Mismatch {
    /// The slices do not have one length.
    #[error("{label}: {actual} values, expected {expected}")]
    Length {
        /// What was compared.
        label: String,
        /// Length of the actual values.
        actual: usize,
        /// Length of the expected values.
        expected: usize,
    },
    /// Some elements lie further apart than allowed.
    #[error(
        "{label}: {outside} of {} values differ by more than {} + {}·|expected|; first at {first}; \
         {worst}: {actual} instead of {expected}",
        .worst.count, .tolerance.absolute, .tolerance.relative
    )]
    Values {
        /// What was compared.
        label: String,
        /// Number of elements outside the tolerance.
        outside: usize,
        /// Index of the first of them.
        first: usize,
        /// The actual value where the difference is largest.
        actual: f32,
        /// The expected value there.
        expected: f32,
        /// The allowed difference.
        tolerance: Tolerance,
        /// All elements in figures.
        worst: Difference,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "max |difference| {:.3e} at {}, mean {:.3e}, relative rms {:.3e}",
            self.max_abs, self.at, self.mean_abs, self.relative_rms
        )
    }
}

fn apart(actual: f32, expected: f32) -> f32 {
    if actual == expected || (actual.is_nan() && expected.is_nan()) {
        0.0
    } else if actual.is_nan() || expected.is_nan() {
        f32::INFINITY
    } else {
        (actual - expected).abs()
    }
}

/// The difference of two slices in figures; the shorter length decides how far it looks.
pub fn difference(actual: &[f32], expected: &[f32]) -> Difference {
    let mut d = Difference {
        count: actual.len().min(expected.len()),
        ..Difference::default()
    };
    let (mut error, mut square_error, mut square) = (0.0f64, 0.0f64, 0.0f64);
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let gap = apart(a, e);
        if gap > d.max_abs {
            (d.max_abs, d.at) = (gap, i);
        }
        error += f64::from(gap);
        square_error += f64::from(gap).powi(2);
        square += f64::from(e).powi(2);
    }
    d.mean_abs = error / d.count.max(1) as f64;
    d.relative_rms = if square_error == 0.0 {
        0.0
    } else {
        (square_error / square).sqrt()
    };
    d
}

/// Compares element by element.
///
/// # Errors
/// [`Mismatch`] says how many elements are outside, where the first one and the worst one are.
/// A NaN agrees with nothing, not even with a NaN.
pub fn check_close(
    label: &str,
    actual: &[f32],
    expected: &[f32],
    tolerance: Tolerance,
) -> Result<Difference, Mismatch> {
    if actual.len() != expected.len() {
        return Err(Mismatch::Length {
            label: label.to_owned(),
            actual: actual.len(),
            expected: expected.len(),
        });
    }
    let pairs = || actual.iter().zip(expected).enumerate();
    let outside = || pairs().filter(|(_, (a, e))| !tolerance.allows(**a, **e));
    let worst = difference(actual, expected);
    let Some((first, _)) = outside().next() else {
        return Ok(worst);
    };
    Err(Mismatch::Values {
        label: label.to_owned(),
        outside: outside().count(),
        first,
        actual: actual[worst.at],
        expected: expected[worst.at],
        tolerance,
        worst,
    })
}

/// [`check_close`] that panics with the [`Mismatch`], at the caller's line.
#[track_caller]
pub fn assert_close(label: &str, actual: &[f32], expected: &[f32], tolerance: Tolerance) {
    if let Err(mismatch) = check_close(label, actual, expected, tolerance) {
        panic!("{mismatch}");
    }
}

/// Cosine of the angle between two vectors of one length, in f64; NaN if one of them is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Log-probabilities of `logits`, in f64.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits
        .iter()
        .fold(f64::NEG_INFINITY, |m, x| m.max(f64::from(*x)));
    let sum: f64 = logits.iter().map(|x| (f64::from(*x) - max).exp()).sum();
    logits
        .iter()
        .map(|x| f64::from(*x) - max - sum.ln())
        .collect()
}

/// Kullback-Leibler divergence KL(reference ‖ actual) in nats of the distributions that two rows of
/// logits describe. Not below 0 but for rounding.
pub fn kl_divergence(reference: &[f32], actual: &[f32]) -> f64 {
    let (p, q) = (log_softmax(reference), log_softmax(actual));
    p.iter()
        .zip(&q)
        .filter(|(p, _)| p.is_finite())
        .map(|(p, q)| p.exp() * (p - q))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_names_the_worst_element() {
        let expected = [1.0, 2.0, 3.0, 4.0];
        let error = check_close(
            "logits",
            &[1.0, 2.25, 3.0, 3.0],
            &expected,
            Tolerance::absolute(0.1),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "logits: 2 of 4 values differ by more than 0.1 + 0·|expected|; first at 1; max |difference| \
             1.000e0 at 3, mean 3.125e-1, relative rms 1.882e-1: 3 instead of 4"
        );
        let short = check_close("x", &[1.0], &expected, Tolerance::EXACT).unwrap_err();
        assert_eq!(short.to_string(), "x: 1 values, expected 4");
    }

    #[test]
    fn tolerances_add_up() {
        let tolerance = Tolerance::new(0.5, 0.1);
        assert!(check_close("", &[11.4], &[10.0], tolerance).is_ok());
        assert!(check_close("", &[11.6], &[10.0], tolerance).is_err());
        assert!(check_close("", &[0.0], &[-0.0], Tolerance::EXACT).is_ok());
        assert!(check_close("", &[f32::INFINITY], &[f32::INFINITY], Tolerance::EXACT).is_ok());
        assert!(check_close("", &[f32::NAN], &[1.0], Tolerance::absolute(9.0)).is_err());
        assert!(check_close("", &[f32::NAN], &[f32::NAN], Tolerance::absolute(9.0)).is_err());
        assert!(check_close("", &[], &[], Tolerance::EXACT).is_ok());
    }

    #[test]
    #[should_panic(expected = "x: 1 of 1 values differ")]
    fn assert_close_panics() {
        assert_close("x", &[1.0], &[2.0], Tolerance::EXACT);
    }

    #[test]
    fn cosine_of_known_angles() {
        assert!((cosine(&[1.0, 0.0], &[3.0, 0.0]) - 1.0).abs() < 1e-12);
        assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]) - 0.5f64.sqrt()).abs() < 1e-12);
        assert!(cosine(&[1.0, 0.0], &[0.0, -2.0]).abs() < 1e-12);
    }

    #[test]
    fn kl_of_known_distributions() {
        let row = |p: &[f64]| p.iter().map(|p| p.ln() as f32 + 7.0).collect::<Vec<f32>>();
        let (p, q) = ([0.5, 0.25, 0.25], [0.25, 0.25, 0.5]);
        let expected = 0.5 * 2f64.ln() + 0.25 * 0.5f64.ln();
        assert!((kl_divergence(&row(&p), &row(&q)) - expected).abs() < 1e-6);
        assert!(kl_divergence(&row(&p), &row(&p)).abs() < 1e-12);
        // A token that the reference rules out costs nothing.
        let ruled_out = [0.0, 0.0, f32::NEG_INFINITY];
        assert!((kl_divergence(&ruled_out, &row(&[0.4, 0.4, 0.2])) - 1.25f64.ln()).abs() < 1e-6);
    }
}
