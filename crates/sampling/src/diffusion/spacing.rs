//! Which timesteps and noise levels a run of few steps visits.

use super::error::{DiffusionError, in_range};
use super::names::named;
use super::schedule::{FlowShift, NoiseSchedule};

named! {
    /// How the steps of a run are spread over the training timesteps
    /// ([Lin et al. 2023](https://arxiv.org/abs/2305.08891), table 2).
    TimestepSpacing, "timestep spacing" {
        /// From the last to the first training timestep, both included.
        Linspace = "linspace",
        /// Multiples of a whole stride from the first timestep on; the last one is not reached.
        Leading = "leading",
        /// Equal strides down from the last timestep; the first one is not reached.
        Trailing = "trailing",
    }
}

named! {
    /// How the noise levels of a run lie between the largest and the smallest.
    SigmaSpacing, "sigma spacing" {
        /// The levels of the timesteps.
        Native = "native",
        /// σ^(1/7) in equal steps ([Karras et al. 2022](https://arxiv.org/abs/2206.00364), equation 5).
        Karras = "karras",
        /// log σ in equal steps ([k-diffusion](https://github.com/crowsonkb/k-diffusion)).
        Exponential = "exponential",
        /// Quantiles of the Beta(0.6, 0.6) distribution ([Lee et al. 2024](https://arxiv.org/abs/2407.12173)).
        Beta = "beta",
    }
}

/// One stop of a run: what the network is told and the noise level (noise over signal; for flow
/// models the share of noise).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Level {
    pub timestep: f64,
    pub sigma: f64,
}

/// `count` values from `start` to `end`; `start` where there is only one.
fn linspace(start: f64, end: f64, count: usize) -> impl Iterator<Item = f64> {
    let step = (end - start) / (count.max(2) - 1) as f64;
    (0..count).map(move |i| {
        if i > 0 && i + 1 == count {
            end
        } else {
            start + step * i as f64
        }
    })
}

/// Whole timesteps, falling, for methods that step between training timesteps.
pub(crate) fn whole_timesteps(
    spacing: TimestepSpacing,
    total: usize,
    steps: usize,
    offset: usize,
) -> Vec<usize> {
    let last = total - 1;
    match spacing {
        TimestepSpacing::Linspace => linspace(last as f64, 0.0, steps)
            .map(|t| t.round_ties_even() as usize)
            .collect(),
        TimestepSpacing::Leading => {
            let stride = total / steps;
            let timestep = |i: usize| (i * stride + offset).min(last);
            (0..steps).rev().map(timestep).collect()
        }
        TimestepSpacing::Trailing => trailing(total, steps),
    }
}

fn trailing(total: usize, steps: usize) -> Vec<usize> {
    let stride = total as f64 / steps as f64;
    (0..steps)
        .map(|i| (total as f64 - stride * i as f64).round_ties_even() as usize)
        .map(|t| t.saturating_sub(1))
        .collect()
}

/// Whole timesteps for the multistep solvers, which see the run's end as one more stop.
pub(crate) fn multistep_timesteps(
    spacing: TimestepSpacing,
    total: usize,
    steps: usize,
    offset: usize,
) -> Vec<usize> {
    if spacing == TimestepSpacing::Trailing {
        return trailing(total, steps);
    }
    let mut timesteps = whole_timesteps(spacing, total, steps + 1, offset);
    timesteps.pop();
    timesteps
}

/// Timesteps that need not be whole, for methods that step along noise levels.
pub(crate) fn timesteps(
    spacing: TimestepSpacing,
    total: usize,
    steps: usize,
    offset: usize,
) -> Vec<f64> {
    if spacing == TimestepSpacing::Linspace {
        return linspace((total - 1) as f64, 0.0, steps)
            .map(|t| f64::from(t as f32))
            .collect();
    }
    let whole = whole_timesteps(spacing, total, steps, offset);
    whole.into_iter().map(|t| t as f64).collect()
}

/// The noise levels of `timesteps`, then spread anew by `spacing` between their first and last (or,
/// for `whole_range`, between those of the schedule), with the timesteps that have these levels.
pub(crate) fn diffusion_levels(
    schedule: &NoiseSchedule,
    timesteps: &[f64],
    spacing: SigmaSpacing,
    whole_range: bool,
) -> Vec<Level> {
    let sigmas = schedule.sigmas();
    let at = |timestep: f64| interpolate(&sigmas, timestep);
    if spacing == SigmaSpacing::Native {
        let level = |&timestep: &f64| Level {
            timestep,
            sigma: at(timestep),
        };
        return timesteps.iter().map(level).collect();
    }
    let last = timesteps.len() - 1;
    let (largest, smallest) = if whole_range {
        (sigmas[sigmas.len() - 1], sigmas[0])
    } else {
        (at(timesteps[0]), at(timesteps[last]))
    };
    let logs: Vec<f64> = sigmas.iter().map(|sigma| sigma.ln()).collect();
    spread(spacing, largest, smallest, timesteps.len())
        .into_iter()
        .map(|sigma| Level {
            timestep: timestep_of(&logs, sigma),
            sigma,
        })
        .collect()
}

/// The noise levels of a flow model, falling from 1, and timesteps σ·`total`.
///
/// [`TimestepSpacing::Linspace`] ends at the smallest level trained, which a static shift moves twice,
/// as it does in diffusers; [`TimestepSpacing::Trailing`] are the levels 1, 1-1/n, … 1/n of FLUX.1.
pub(crate) fn flow_levels(
    spacing: TimestepSpacing,
    sigma_spacing: SigmaSpacing,
    shift: FlowShift,
    total: usize,
    steps: usize,
) -> Result<Vec<Level>, DiffusionError> {
    let smallest = match shift {
        FlowShift::Static(_) => shift.apply(1.0 / total as f64),
        FlowShift::Dynamic { .. } => 1.0 / total as f64,
    };
    let even: Vec<f64> = match spacing {
        TimestepSpacing::Linspace => linspace(1.0, smallest, steps).collect(),
        TimestepSpacing::Trailing => (0..steps).map(|i| 1.0 - i as f64 / steps as f64).collect(),
        TimestepSpacing::Leading => {
            let allowed = "linspace or trailing for a flow model";
            in_range(false, "the timestep spacing", spacing, allowed)?;
            Vec::new()
        }
    };
    let mut sigmas: Vec<f64> = even.into_iter().map(|sigma| shift.apply(sigma)).collect();
    if sigma_spacing != SigmaSpacing::Native {
        sigmas = spread(sigma_spacing, sigmas[0], sigmas[steps - 1], steps);
    }
    let level = |sigma: f64| Level {
        timestep: sigma * total as f64,
        sigma,
    };
    Ok(sigmas.into_iter().map(level).collect())
}

fn spread(spacing: SigmaSpacing, largest: f64, smallest: f64, count: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    match spacing {
        SigmaSpacing::Karras => linspace(largest.powf(1.0 / RHO), smallest.powf(1.0 / RHO), count)
            .map(|root| root.powf(RHO))
            .collect(),
        SigmaSpacing::Exponential => linspace(largest.ln(), smallest.ln(), count)
            .map(f64::exp)
            .collect(),
        SigmaSpacing::Native => linspace(largest, smallest, count).collect(),
        SigmaSpacing::Beta => linspace(1.0, 0.0, count)
            .map(|p| smallest + beta_quantile(p) * (largest - smallest))
            .collect(),
    }
}

/// Linear interpolation of `values` at a fractional index, constant beyond its ends.
fn interpolate(values: &[f64], at: f64) -> f64 {
    let last = values.len() - 1;
    let low = (at.max(0.0) as usize).min(last);
    let high = (low + 1).min(last);
    let weight = (at - low as f64).clamp(0.0, 1.0);
    values[low] + (values[high] - values[low]) * weight
}

/// The fractional timestep whose noise level is `sigma`, interpolated in log σ; `logs` rises.
pub(crate) fn timestep_of(logs: &[f64], sigma: f64) -> f64 {
    let log = sigma.max(1e-10).ln();
    let above = logs.partition_point(|&known| known <= log);
    let low = above.saturating_sub(1).min(logs.len().saturating_sub(2));
    let high = (low + 1).min(logs.len() - 1);
    if logs[high] <= logs[low] {
        return low as f64;
    }
    low as f64 + ((log - logs[low]) / (logs[high] - logs[low])).clamp(0.0, 1.0)
}

/// Shape of the Beta distribution of [`SigmaSpacing::Beta`], both parameters.
const SHAPE: f64 = 0.6;

/// The incomplete beta integral ∫₀ˣ (t·(1-t))^(SHAPE-1) dt for x ≤ 1/2, by its power series.
fn incomplete_beta(x: f64) -> f64 {
    let (mut sum, mut coefficient) = (0.0, 1.0);
    for n in 0..64 {
        let n = f64::from(n);
        sum += coefficient / (SHAPE + n);
        coefficient *= x * (1.0 - SHAPE + n) / (n + 1.0);
    }
    sum * x.powf(SHAPE)
}

/// The `p`-quantile of Beta(SHAPE, SHAPE), which is symmetric about 1/2.
fn beta_quantile(p: f64) -> f64 {
    if p > 0.5 {
        return 1.0 - beta_quantile(1.0 - p);
    }
    let target = p * 2.0 * incomplete_beta(0.5);
    let (mut low, mut high) = (0.0, 0.5);
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if incomplete_beta(middle) < target {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_quantiles_are_known() {
        // scipy.stats.beta.ppf(p, 0.6, 0.6).
        for (p, want) in [
            (0.0, 0.0),
            (0.1, 0.039_584_405_588_780_85),
            (0.25, 0.175_680_378_652_694_98),
            (0.5, 0.5),
            (0.9, 0.960_415_594_411_219_2),
        ] {
            assert!(
                (beta_quantile(p) - want).abs() < 1e-9,
                "{p}: {}",
                beta_quantile(p)
            );
        }
    }

    #[test]
    fn one_step_starts_at_the_noisiest_level() {
        use TimestepSpacing::{Linspace, Trailing};
        for spacing in [Linspace, Trailing] {
            assert_eq!(whole_timesteps(spacing, 1000, 1, 0), [999]);
            assert_eq!(timesteps(spacing, 1000, 1, 0), [999.0]);
            assert_eq!(multistep_timesteps(spacing, 1000, 1, 0), [999]);
        }
    }

    #[test]
    fn timesteps_stay_within_the_training() {
        for &spacing in TimestepSpacing::ALL {
            for steps in 1..=50 {
                for list in [
                    whole_timesteps(spacing, 50, steps, 1),
                    multistep_timesteps(spacing, 50, steps.min(49), 1),
                ] {
                    assert!(list.iter().all(|&t| t < 50), "{spacing} {steps} {list:?}");
                    assert!(list.is_sorted_by(|a, b| a >= b), "{spacing} {steps}");
                }
            }
        }
    }

    #[test]
    fn levels_and_timesteps_are_inverse() {
        let logs: Vec<f64> = (0..10).map(|i| f64::from(i * i).max(0.1).ln()).collect();
        for (i, log) in logs.iter().enumerate() {
            assert!((timestep_of(&logs, log.exp()) - i as f64).abs() < 1e-9);
        }
        assert_eq!(timestep_of(&logs, 1e-30), 0.0);
        assert_eq!(timestep_of(&logs, 1e30), 9.0);
    }
}
