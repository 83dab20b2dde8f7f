//! What a run will take, before it begins.

use std::time::Instant;

use medley_nn::{Device, Linear, Tensor, Weights};
use medley_types::ImagePlan;

use super::parts::Cost;
use crate::PipelineError;

/// Part of the speed of a plain product that whole networks reach, norms and attention included.
const EFFICIENCY: f64 = 0.5;

/// Bytes of the program itself and of buffers that no model accounts for.
const BASE_BYTES: u64 = 64 << 20;

/// How fast this machine multiplies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Floating-point operations of a plain product in a second.
    pub flops_per_s: f64,
}

impl Speed {
    /// Multiplies for a few milliseconds.
    ///
    /// # Errors
    /// [`PipelineError::Model`] from the tensor library.
    pub fn measure(device: &Device) -> Result<Self, PipelineError> {
        const WIDTH: usize = 384;
        const ROWS: usize = 256;
        const ROUNDS: usize = 4;
        let matrix = vec![0.01; WIDTH * WIDTH];
        let tensors = [("layer.weight".to_owned(), (vec![WIDTH, WIDTH], matrix))];
        let layer = Weights::from_tensors(tensors.into(), device)
            .linear("layer", WIDTH, WIDTH)
            .map_err(medley_models::ConfigError::from)?;
        let x = super::parts::tensor(vec![0.5; ROWS * WIDTH], &[ROWS, WIDTH], device)?;
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            best = best.min(time(&layer, &x)?);
        }
        Ok(Self {
            flops_per_s: (2 * ROWS * WIDTH * WIDTH) as f64 / best.max(1e-9),
        })
    }
}

/// Seconds of one product, its result fetched.
fn time(layer: &Linear, x: &Tensor) -> Result<f64, PipelineError> {
    let start = Instant::now();
    let y = layer.forward(x).map_err(medley_models::ConfigError::from)?;
    super::parts::numbers(&y)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Costs as they are put together.
pub(super) struct Plan {
    weights: u64,
    largest: u64,
    flops: f64,
}

impl Plan {
    pub fn new(weights: u64) -> Self {
        Self {
            weights,
            largest: 0,
            flops: 0.0,
        }
    }

    /// `times` passes, one after the other.
    pub fn add(&mut self, cost: Cost, times: f64) {
        if times > 0.0 {
            self.largest = self.largest.max(cost.bytes);
            self.flops += cost.flops * times;
        }
    }

    /// Another network that is loaded.
    pub fn weights(&mut self, bytes: u64) {
        self.weights = self.weights.saturating_add(bytes);
    }

    /// Pictures of which all exist until they are written.
    pub fn pictures(&mut self, [width, height]: [u32; 2], upscale: u32, count: f64) {
        let pixels = f64::from(width) * f64::from(height) * f64::from(upscale).powi(2);
        self.weights((3.0 * pixels * count) as u64);
    }

    pub fn finish(self, speed: &Speed) -> ImagePlan {
        ImagePlan {
            memory_bytes: self
                .weights
                .saturating_add(self.largest)
                .saturating_add(BASE_BYTES),
            flops: self.flops,
            seconds: self.flops / (speed.flops_per_s * EFFICIENCY),
        }
    }
}

/// Refuses what does not fit into `available` bytes; 0 stands for "the system does not tell".
///
/// # Errors
/// [`PipelineError::TooLarge`].
pub fn check_memory(plan: &ImagePlan, available: u64) -> Result<(), PipelineError> {
    if available == 0 || plan.memory_bytes <= available {
        return Ok(());
    }
    Err(PipelineError::TooLarge {
        needed: plan.memory_bytes,
        available,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_pass_counts_for_memory_and_all_for_time() {
        let mut plan = Plan::new(100);
        let cost = |flops, bytes| Cost { flops, bytes };
        plan.add(cost(1e9, 5000), 10.0);
        plan.add(cost(3e9, 2000), 2.0);
        plan.add(cost(1e30, u64::MAX), 0.0);
        plan.weights(11);
        plan.pictures([8, 4], 2, 3.0);
        let plan = plan.finish(&Speed { flops_per_s: 1e9 });
        assert_eq!(plan.memory_bytes, 5111 + 3 * 4 * 32 * 3 + BASE_BYTES);
        assert!((plan.seconds - 16.0 / EFFICIENCY).abs() < 1e-9);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_one_line() {
        let plan = ImagePlan {
            memory_bytes: 3 << 30,
            ..ImagePlan::default()
        };
        assert!(check_memory(&plan, 3 << 30).is_ok());
        assert!(check_memory(&plan, 0).is_ok());
        let text = check_memory(&plan, 1 << 30).unwrap_err().to_string();
        assert_eq!(
            text,
            "this needs about 3.0 GiB of memory, but 1.0 GiB is free"
        );
    }
}
