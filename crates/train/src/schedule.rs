//! How the learning rate goes over a run.

use serde::{Deserialize, Serialize};

/// Linear warm-up, then half a cosine down to a share of the peak (Loshchilov and Hutter, arXiv:1608.03983).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Largest learning rate.
    pub peak: f64,
    /// Steps until it is reached.
    pub warm_up: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Share of the peak that is left at the end.
    pub floor: f64,
}

impl Schedule {
    /// The same rate at every step.
    pub fn constant(rate: f64) -> Self {
        Self {
            peak: rate,
            warm_up: 0,
            steps: 0,
            floor: 1.0,
        }
    }

    /// The rate of a step, the first of which is 1.
    pub fn rate(&self, step: u64) -> f64 {
        if step <= self.warm_up {
            return self.peak * step as f64 / self.warm_up.max(1) as f64;
        }
        let rest = self.steps.saturating_sub(self.warm_up).max(1);
        let done = ((step - self.warm_up) as f64 / rest as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.peak * (self.floor + (1.0 - self.floor) * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_then_down() {
        let schedule = Schedule {
            peak: 2.0,
            warm_up: 10,
            steps: 110,
            floor: 0.1,
        };
        assert_eq!(schedule.rate(1), 0.2);
        assert_eq!(schedule.rate(10), 2.0);
        assert!((schedule.rate(60) - 1.1).abs() < 1e-9);
        assert!((schedule.rate(110) - 0.2).abs() < 1e-9);
        assert!((schedule.rate(500) - 0.2).abs() < 1e-9);
        assert_eq!(Schedule::constant(0.5).rate(1), 0.5);
        assert_eq!(Schedule::constant(0.5).rate(77), 0.5);
    }
}
