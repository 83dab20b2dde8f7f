//! Classifier-free guidance.

use super::error::{DiffusionError, in_range, same_length};

/// How the outputs with and without the prompt become one
/// ([Ho and Salimans 2022](https://arxiv.org/abs/2207.12598)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guidance {
    /// Scale w: output = without + w·(with - without). 1 is the output with the prompt alone.
    pub scale: f64,
    /// How far the result is brought back to the standard deviation of the output with the prompt, φ from
    /// 0 (not at all) to 1 ([Lin et al. 2023](https://arxiv.org/abs/2305.08891), section 3.4).
    pub rescale: f64,
    /// Part of the run that is guided, as shares of it from 0 (start) to 1 (end); outside it the
    /// output with the prompt stands alone ([Kynkäänniemi et al. 2024](https://arxiv.org/abs/2404.07724)).
    pub interval: (f64, f64),
}

impl Guidance {
    /// Guidance by `scale` over the whole run, not rescaled.
    ///
    /// # Errors
    /// [`DiffusionError::OutOfRange`] unless 0 ≤ scale ≤ 1000.
    pub fn new(scale: f64) -> Result<Self, DiffusionError> {
        let guidance = Self {
            scale,
            rescale: 0.0,
            interval: (0.0, 1.0),
        };
        guidance.check()?;
        Ok(guidance)
    }

    /// Whether every setting is in its range.
    ///
    /// # Errors
    /// [`DiffusionError::OutOfRange`] names the one that is not.
    pub fn check(&self) -> Result<(), DiffusionError> {
        let Self {
            scale,
            rescale,
            interval: (start, end),
        } = *self;
        let unit = 0.0..=1.0;
        in_range(
            (0.0..=1000.0).contains(&scale),
            "the guidance scale",
            scale,
            "0 to 1000",
        )?;
        in_range(
            unit.contains(&rescale),
            "the guidance rescale",
            rescale,
            "0 to 1",
        )?;
        in_range(
            unit.contains(&start) && unit.contains(&end) && start <= end,
            "the guidance interval",
            format!("{start} to {end}"),
            "within 0 to 1, its start first",
        )
    }

    /// Whether evaluation `at` of `evaluations` needs the output without the prompt as well.
    pub fn is_needed(&self, at: usize, evaluations: usize) -> bool {
        let share = at as f64 / evaluations.max(1) as f64;
        let (start, end) = self.interval;
        self.scale != 1.0 && start <= share && (share < end || end == 1.0)
    }

    /// The guided output of one picture, over the output `with` the prompt; `without` is that of the
    /// negative or empty prompt. One picture at a time, as the rescaling looks at the whole of it.
    ///
    /// # Errors
    /// [`DiffusionError::Length`] if the two differ in length.
    pub fn apply(&self, with: &mut [f32], without: &[f32]) -> Result<(), DiffusionError> {
        same_length("the output without the prompt", without.len(), with.len())?;
        let wanted = deviation(with);
        for (x, &base) in with.iter_mut().zip(without) {
            let base = f64::from(base);
            *x = (base + self.scale * (f64::from(*x) - base)) as f32;
        }
        let got = deviation(with);
        if self.rescale > 0.0 && got > 0.0 {
            let factor = self.rescale * (wanted / got) + 1.0 - self.rescale;
            for x in with {
                *x = (f64::from(*x) * factor) as f32;
            }
        }
        Ok(())
    }
}

/// Standard deviation with Bessel's correction, as `torch.std`; 0 for fewer than two values.
fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    if values.len() < 2 {
        return 0.0;
    }
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let square = |&x: &f32| (f64::from(x) - mean).powi(2);
    (values.iter().map(square).sum::<f64>() / (count - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_one_is_the_prompt_alone() {
        let mut with = [1.0, -2.0, 0.5];
        Guidance::new(1.0)
            .unwrap()
            .apply(&mut with, &[9.0, 9.0, 9.0])
            .unwrap();
        assert_eq!(with, [1.0, -2.0, 0.5]);
        assert!(!Guidance::new(1.0).unwrap().is_needed(0, 10));
    }

    #[test]
    fn full_rescale_keeps_the_deviation() {
        let mut guidance = Guidance::new(7.5).unwrap();
        guidance.rescale = 1.0;
        let mut with = [1.0, -2.0, 0.5, 4.0];
        let wanted = deviation(&with);
        guidance.apply(&mut with, &[0.5, -1.0, 1.5, 1.0]).unwrap();
        assert!((deviation(&with) - wanted).abs() < 1e-6);
    }

    #[test]
    fn the_interval_leaves_out_both_ends() {
        let mut guidance = Guidance::new(4.0).unwrap();
        guidance.interval = (0.2, 0.8);
        let needed: Vec<usize> = (0..10).filter(|&i| guidance.is_needed(i, 10)).collect();
        assert_eq!(needed, [2, 3, 4, 5, 6, 7]);
        guidance.interval = (0.0, 1.0);
        assert!((0..10).all(|i| guidance.is_needed(i, 10)));
    }

    #[test]
    fn wrong_settings_are_told() {
        let error = Guidance::new(-1.0).unwrap_err().to_string();
        assert_eq!(error, "the guidance scale is -1, but it must be 0 to 1000");
        let mut guidance = Guidance::new(2.0).unwrap();
        guidance.interval = (0.6, 0.5);
        assert!(guidance.check().is_err());
        assert!(guidance.apply(&mut [0.0], &[]).is_err());
    }
}
