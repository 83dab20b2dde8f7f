//! The Fréchet distance of features.

use super::eigen::{eigen, product, square_root};
use crate::{Error, Result};

/// Mean and covariance of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    /// `[dim]`
    pub mean: Vec<f64>,
    /// `[dim, dim]`
    pub covariance: Vec<f64>,
}

impl Gaussian {
    /// Of features `[rows, dim]`; the covariance is divided by one less than the rows, as numpy's `cov` is.
    ///
    /// # Errors
    /// [`Error::Setting`] for fewer than two rows, or numbers that are not finite.
    pub fn of(features: &[f32], dim: usize) -> Result<Self> {
        let rows = features.len() / dim.max(1);
        if rows < 2 || rows * dim != features.len() {
            return Err(Error::Setting(format!(
                "a Fréchet distance needs at least 2 pictures on either side, not {rows}"
            )));
        }
        if features.iter().any(|x| !x.is_finite()) {
            return Err(Error::Setting(
                "features of a picture are not finite".into(),
            ));
        }
        let mut mean = vec![0.0; dim];
        for row in features.chunks_exact(dim) {
            mean.iter_mut()
                .zip(row)
                .for_each(|(m, &x)| *m += f64::from(x));
        }
        mean.iter_mut().for_each(|m| *m /= rows as f64);
        let mut covariance = vec![0.0; dim * dim];
        for row in features.chunks_exact(dim) {
            let off: Vec<f64> = row
                .iter()
                .zip(&mean)
                .map(|(&x, m)| f64::from(x) - m)
                .collect();
            for (&x, sums) in off.iter().zip(covariance.chunks_exact_mut(dim)) {
                sums.iter_mut().zip(&off).for_each(|(sum, y)| *sum += x * y);
            }
        }
        covariance.iter_mut().for_each(|c| *c /= (rows - 1) as f64);
        Ok(Self { mean, covariance })
    }
}

/// The squared Fréchet distance of two Gaussians (Dowson and Landau 1982), as FID takes it of features (Heusel et al.
/// 2017): `|m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½)`. The trace of the root is that of the symmetric
/// `(C₁^½ C₂ C₁^½)^½`, whose eigenvalues are no less than 0.
pub fn frechet(a: &Gaussian, b: &Gaussian) -> f64 {
    let n = a.mean.len();
    let between = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b).powi(2));
    let trace = |m: &[f64]| -> f64 { (0..n).map(|i| m[i * n + i]).sum() };
    let root = square_root(&a.covariance, n);
    let inner = product(&product(&root, &b.covariance, n), &root, n);
    let (values, _) = eigen(&inner, n);
    let shared: f64 = values.iter().map(|x| x.max(0.0).sqrt()).sum();
    between.sum::<f64>() + trace(&a.covariance) + trace(&b.covariance) - 2.0 * shared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(mean: &[f64], covariance: &[f64]) -> Gaussian {
        Gaussian {
            mean: mean.to_vec(),
            covariance: covariance.to_vec(),
        }
    }

    #[test]
    fn diagonal_gaussians_have_a_closed_form() {
        let a = gaussian(&[1.0, -2.0], &[4.0, 0.0, 0.0, 9.0]);
        let b = gaussian(&[0.0, 2.0], &[1.0, 0.0, 0.0, 25.0]);
        // |m|² = 1 + 16, and the squared differences of deviations: (2 − 1)² + (3 − 5)².
        assert!((frechet(&a, &b) - 22.0).abs() < 1e-12);
        assert!(frechet(&a, &a).abs() < 1e-12);
    }

    #[test]
    fn full_ones_give_what_scipy_gives() {
        // numpy and scipy.linalg.sqrtm: see the comment of each value.
        let a = gaussian(
            &[0.1, 0.2, -0.3],
            &[2.0, 0.5, 0.3, 0.5, 1.0, -0.2, 0.3, -0.2, 0.7],
        );
        let b = gaussian(
            &[0.0, -0.1, 0.4],
            &[1.5, -0.4, 0.1, -0.4, 2.0, 0.6, 0.1, 0.6, 0.9],
        );
        let found = frechet(&a, &b);
        assert!((found - SCIPY).abs() < 1e-9, "{found}");
        assert!((frechet(&b, &a) - found).abs() < 1e-10);
    }

    /// `((m1-m2)**2).sum() + trace(c1 + c2 - 2 sqrtm(c1 @ c2).real)` of the two above.
    const SCIPY: f64 = 1.411_748_193_488_19;

    #[test]
    fn moments_are_those_of_numpy() {
        let g = Gaussian::of(&[1.0, 2.0, 3.0, 6.0, 5.0, 1.0], 2).unwrap();
        assert_eq!(g.mean, [3.0, 3.0]);
        // np.cov([[1, 3, 5], [2, 6, 1]])
        assert_eq!(g.covariance, [4.0, -1.0, -1.0, 7.0]);
        assert!(Gaussian::of(&[1.0, 2.0], 2).is_err());
        assert!(Gaussian::of(&[1.0, f32::NAN, 0.0, 1.0], 2).is_err());
    }

    #[test]
    fn features_that_span_little_do_not_break_it() {
        // Three rows in five dimensions: the covariance has no inverse.
        let rows: Vec<f32> = (0..15).map(|i| (i as f32 * 1.3).cos()).collect();
        let other: Vec<f32> = rows.iter().map(|x| x + 2.0).collect();
        let (a, b) = (
            Gaussian::of(&rows, 5).unwrap(),
            Gaussian::of(&other, 5).unwrap(),
        );
        assert!((frechet(&a, &b) - 20.0).abs() < 1e-5);
    }
}
