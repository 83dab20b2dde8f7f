//! What a model's output means.

use super::names::named;
use super::table::Point;

named! {
    /// What the model was trained to give for x = α·x₀ + σ·ε.
    Prediction, "prediction" {
        /// The noise ε ([Ho et al. 2020](https://arxiv.org/abs/2006.11239)).
        Epsilon = "epsilon",
        /// v = α·ε - σ·x₀ with α² + σ² = 1 ([Salimans and Ho 2022](https://arxiv.org/abs/2202.00512)).
        V = "v_prediction",
        /// The clean data x₀.
        Sample = "sample",
        /// The velocity ε - x₀ of the straight path ([Lipman et al. 2022](https://arxiv.org/abs/2210.02747)).
        Flow = "flow_prediction",
    }
}

impl Prediction {
    /// The weights (of the sample, of the output) whose sum is x₀.
    pub(super) fn weights(self, point: Point) -> (f64, f64) {
        let Point { alpha, sigma } = point;
        match self {
            Self::Epsilon => (1.0 / alpha, -sigma / alpha),
            // In unit variance, whatever the sample's own.
            Self::V => (alpha / point.norm().powi(2), -sigma / point.norm()),
            Self::Sample => (0.0, 1.0),
            Self::Flow => (1.0 / (alpha + sigma), -sigma / (alpha + sigma)),
        }
    }

    /// What a model must learn to give for `original` mixed with `noise` at `point`: the target of
    /// training. Slices of one length; the shortest decides.
    pub fn target(self, point: Point, original: &[f32], noise: &[f32]) -> Vec<f32> {
        let (of_original, of_noise) = match self {
            Self::Epsilon => (0.0, 1.0),
            Self::V => (-point.sigma / point.norm(), point.alpha / point.norm()),
            Self::Sample => (1.0, 0.0),
            Self::Flow => (-1.0, 1.0),
        };
        let mix =
            |(&x, &n): (&f32, &f32)| (of_original * f64::from(x) + of_noise * f64::from(n)) as f32;
        original.iter().zip(noise).map(mix).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_leads_back_to_the_data() {
        let (original, noise) = ([0.3f32, -1.5], [0.8f32, 0.1]);
        for point in [
            Point::preserving(0.7),
            Point::exploding(3.0),
            Point::flow(0.4),
        ] {
            for &prediction in Prediction::ALL {
                let target = prediction.target(point, &original, &noise);
                let (of_sample, of_output) = prediction.weights(point);
                for i in 0..2 {
                    let x =
                        point.alpha * f64::from(original[i]) + point.sigma * f64::from(noise[i]);
                    let back = of_sample * x + of_output * f64::from(target[i]);
                    assert!(
                        (back - f64::from(original[i])).abs() < 1e-6,
                        "{prediction} {point:?}"
                    );
                }
            }
        }
    }
}
