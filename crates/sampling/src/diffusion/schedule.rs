//! How much noise a training timestep has: beta schedules and flow shifts.

use super::error::{DiffusionError, in_range};
use super::names::named;
use super::table::Point;

named! {
    /// How the variance β that each training timestep adds grows over the timesteps.
    BetaShape, "beta schedule" {
        /// β from its start to its end in equal steps ([Ho et al. 2020](https://arxiv.org/abs/2006.11239)).
        Linear = "linear",
        /// √β in equal steps ([Rombach et al. 2021](https://arxiv.org/abs/2112.10752)).
        ScaledLinear = "scaled_linear",
        /// ᾱ as a squared cosine ([Nichol and Dhariwal 2021](https://arxiv.org/abs/2102.09672)).
        Cosine = "cosine",
    }
}

/// The noise of a variance-preserving diffusion model: x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    alphas_cumprod: Vec<f32>,
}

impl NoiseSchedule {
    /// The schedule of `timesteps` training timesteps (1 to 100000) with β between `start` and `end`
    /// (unused by [`BetaShape::Cosine`]), 0 < start ≤ end < 1.
    ///
    /// The arithmetic is f32 where PyTorch's is, since 1-ᾱ keeps few digits of a small β.
    ///
    /// # Errors
    /// [`DiffusionError::OutOfRange`].
    pub fn new(
        shape: BetaShape,
        timesteps: usize,
        start: f64,
        end: f64,
    ) -> Result<Self, DiffusionError> {
        in_range(
            (1..=100_000).contains(&timesteps),
            "the number of training timesteps",
            timesteps,
            "1 to 100000",
        )?;
        let ordered = 0.0 < start && start <= end && end < 1.0;
        in_range(
            ordered,
            "beta",
            format!("{start} to {end}"),
            "from above 0 up to below 1",
        )?;
        let betas = match shape {
            BetaShape::Linear => linspace(start, end, timesteps),
            BetaShape::ScaledLinear => linspace(start.sqrt(), end.sqrt(), timesteps)
                .into_iter()
                .map(|root| root * root)
                .collect(),
            BetaShape::Cosine => cosine_betas(timesteps),
        };
        let mut product = 1.0;
        let alphas_cumprod = betas.iter().map(|beta| {
            product *= f64::from(1.0 - beta);
            product as f32
        });
        let alphas_cumprod: Vec<f32> = alphas_cumprod.collect();
        // A subnormal ᾱ has too few digits to divide by.
        in_range(
            alphas_cumprod[timesteps - 1] >= f32::MIN_POSITIVE,
            "the signal left at the last timestep",
            alphas_cumprod[timesteps - 1],
            "above 1e-38: use fewer timesteps or a smaller beta",
        )?;
        Ok(Self { alphas_cumprod })
    }

    /// The schedule of Stable Diffusion 1, 2 and XL: scaled linear, 1000 timesteps, 0.00085 to 0.012.
    ///
    /// # Errors
    /// None that can happen.
    pub fn stable_diffusion() -> Result<Self, DiffusionError> {
        Self::new(BetaShape::ScaledLinear, 1000, 0.00085, 0.012)
    }

    /// The schedule stretched so that the last timestep is noise alone
    /// ([Lin et al. 2023](https://arxiv.org/abs/2305.08891), algorithm 1), for models trained so.
    /// ᾱ there is 2^-24 instead of 0, so that σ stays finite.
    pub fn with_zero_terminal_snr(mut self) -> Self {
        let roots: Vec<f32> = self.alphas_cumprod.iter().map(|a| a.sqrt()).collect();
        let (first, last) = (roots[0], roots[roots.len() - 1]);
        if first > last {
            let stretch = first / (first - last);
            let (mut before, mut product) = (1.0, 1.0);
            for (alpha, root) in self.alphas_cumprod.iter_mut().zip(&roots) {
                let stretched = ((root - last) * stretch).powi(2);
                let beta = 1.0 - stretched / before;
                product *= f64::from(1.0 - beta);
                before = stretched;
                *alpha = product.max(2f64.powi(-24)) as f32;
            }
        }
        self
    }

    /// Number of training timesteps.
    pub fn timesteps(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// ᾱ by training timestep.
    pub fn alphas_cumprod(&self) -> &[f32] {
        &self.alphas_cumprod
    }

    /// Signal √ᾱ and noise √(1-ᾱ) by training timestep.
    pub fn points(&self) -> Vec<Point> {
        let of = |&alpha: &f32| Point {
            alpha: f64::from(alpha).sqrt(),
            sigma: f64::from(1.0 - alpha).sqrt(),
        };
        self.alphas_cumprod.iter().map(of).collect()
    }

    /// Noise over signal √((1-ᾱ)/ᾱ) by training timestep, rising.
    pub fn sigmas(&self) -> Vec<f64> {
        let of = |&alpha: &f32| f64::from(((1.0 - alpha) / alpha).sqrt());
        self.alphas_cumprod.iter().map(of).collect()
    }
}

/// `count` values from `start` to `end` as `torch.linspace` rounds them.
fn linspace(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    if count == 1 {
        return vec![start];
    }
    let step = (end - start) / (count - 1) as f32;
    let value = |i: usize| {
        if i < count / 2 {
            start + step * i as f32
        } else {
            end - step * (count - 1 - i) as f32
        }
    };
    (0..count).map(value).collect()
}

fn cosine_betas(count: usize) -> Vec<f32> {
    const OFFSET: f64 = 0.008;
    const LARGEST: f64 = 0.999;
    let alpha_bar = |i: usize| {
        let t = i as f64 / count as f64;
        ((t + OFFSET) / (1.0 + OFFSET) * std::f64::consts::FRAC_PI_2)
            .cos()
            .powi(2)
    };
    (0..count)
        .map(|i| (1.0 - alpha_bar(i + 1) / alpha_bar(i)).min(LARGEST) as f32)
        .collect()
}

/// How the noise levels of a flow model are moved towards noise for larger pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FlowShift {
    /// σ' = s·σ / (1 + (s-1)·σ) ([Esser et al. 2024](https://arxiv.org/abs/2403.03206), section 5.3.2);
    /// s = 1 leaves σ as it is.
    Static(f64),
    /// The same with s = e^μ, where μ depends on the picture's size: see [`FlowShift::for_tokens`].
    Dynamic {
        /// The exponent μ.
        mu: f64,
    },
}

impl FlowShift {
    /// The shift of FLUX.1 for a picture of `tokens` latent tokens: μ goes in a straight line from
    /// 0.5 at 256 tokens to 1.15 at 4096
    /// ([its reference](https://github.com/black-forest-labs/flux/blob/main/src/flux/sampling.py)).
    pub fn for_tokens(tokens: usize) -> Self {
        Self::along(tokens, (256, 0.5), (4096, 1.15))
    }

    /// [`FlowShift::Dynamic`] with μ on the line through two points (tokens, μ).
    pub fn along(tokens: usize, low: (usize, f64), high: (usize, f64)) -> Self {
        let slope = (high.1 - low.1) / (high.0 as f64 - low.0 as f64);
        let mu = low.1 + slope * (tokens as f64 - low.0 as f64);
        Self::Dynamic { mu }
    }

    /// The factor s.
    pub fn factor(self) -> f64 {
        match self {
            Self::Static(factor) => factor,
            Self::Dynamic { mu } => mu.exp(),
        }
    }

    /// The shifted noise level of `sigma`, both in [0, 1].
    pub fn apply(self, sigma: f64) -> f64 {
        let factor = self.factor();
        factor * sigma / (1.0 + (factor - 1.0) * sigma)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_told() {
        let of = |timesteps, start, end| {
            NoiseSchedule::new(BetaShape::Linear, timesteps, start, end)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            of(0, 0.1, 0.2),
            "the number of training timesteps is 0, but it must be 1 to 100000"
        );
        assert_eq!(
            of(10, 0.3, 0.2),
            "beta is 0.3 to 0.2, but it must be from above 0 up to below 1"
        );
        assert!(of(10, f64::NAN, 0.2).contains("NaN"));
        assert!(of(100_000, 0.1, 0.2).contains("fewer timesteps"));
        let error = "sigmoid".parse::<BetaShape>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no beta schedule \"sigmoid\"; there are linear, scaled_linear, cosine"
        );
    }

    #[test]
    fn shifts_keep_the_ends() {
        for shift in [
            FlowShift::Static(1.0),
            FlowShift::Static(3.0),
            FlowShift::for_tokens(4096),
        ] {
            assert_eq!(shift.apply(0.0), 0.0);
            assert!((shift.apply(1.0) - 1.0).abs() < 1e-15);
            assert!(shift.apply(0.5) >= 0.5);
        }
        assert!((FlowShift::for_tokens(256).factor() - 0.5f64.exp()).abs() < 1e-12);
    }

    #[test]
    fn zero_terminal_snr_moves_only_the_end() {
        let plain = NoiseSchedule::stable_diffusion().unwrap();
        let moved = plain.clone().with_zero_terminal_snr();
        assert_eq!(plain.alphas_cumprod()[0], moved.alphas_cumprod()[0]);
        assert_eq!(moved.alphas_cumprod()[999], 2f32.powi(-24));
    }
}
