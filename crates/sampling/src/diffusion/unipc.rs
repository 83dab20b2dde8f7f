//! UniPC ([Zhao et al. 2023](https://arxiv.org/abs/2302.04867)): a predictor and, from the next model
//! evaluation on, a corrector of the same order, over the estimate of x₀ and with B(h) = e^h - 1.

use super::error::DiffusionError;
use super::noise::NormalSource;
use super::scheduler::Scheduler;
use super::table::{Table, blend};

/// The highest order that is offered.
pub(super) const MAX_ORDER: usize = 3;

#[derive(Debug)]
pub(super) struct UniPc {
    pub table: Table,
    pub order: usize,
    /// The last estimates of x₀, newest last, at most `order`.
    pub history: Vec<Vec<f32>>,
    /// The sample that the last predictor started from, and its order.
    pub start: Vec<f32>,
    pub last_order: usize,
}

/// Weights of one update from `points[base]`, over estimates of x₀ there and before.
struct Update {
    keep: f64,
    /// Factor of x₀ at the base, then of x₀ one, two … steps before it.
    of_history: Vec<f64>,
    /// Factor of x₀ at the target, which only the corrector knows.
    of_target: f64,
}

impl UniPc {
    /// The update from `base` to the point after it.
    fn update(&self, base: usize, order: usize, corrector: bool) -> Update {
        let points = &self.table.points;
        let (from, to) = (points[base], points[base + 1]);
        let keep = to.sigma / from.sigma;
        let step = to.lambda() - from.lambda();
        let gain = -(-step).exp_m1();
        // Where earlier estimates lie, in steps: negative numbers; the target itself is 1.
        let mut nodes: Vec<f64> = (1..order)
            .map(|back| (points[base - back].lambda() - from.lambda()) / step)
            .collect();
        let rho = if corrector {
            nodes.push(1.0);
            solve(&nodes, -step, order, order == 1)
        } else {
            solve(&nodes, -step, order - 1, order == 2)
        };
        let mut of_history = vec![0.0; order];
        let mut of_target = 0.0;
        let mut of_base = gain;
        for (i, weight) in rho.iter().enumerate() {
            let slope = to.alpha * gain * weight / nodes[i];
            of_base -= slope / to.alpha;
            if corrector && i + 1 == order {
                of_target = slope;
            } else {
                of_history[i + 1] = slope;
            }
        }
        of_history[0] = of_base * to.alpha;
        Update {
            keep,
            of_history,
            of_target,
        }
    }

    fn apply(&self, update: &Update, sample: &mut [f32], newest: usize) {
        for (back, &weight) in update.of_history.iter().enumerate() {
            let keep = if back == 0 { update.keep } else { 1.0 };
            blend(sample, keep, &self.history[newest - back], weight);
        }
    }
}

/// ρ with Σ_k nodes_k^(i-1)·ρ_k = b_i, where b_i = i!·φ_i(h)/B(h) (the paper's equation 5), for `count`
/// unknowns; `half` asks for the paper's ρ = 1/2, which stands for a single unknown.
fn solve(nodes: &[f64], h: f64, count: usize, half: bool) -> Vec<f64> {
    if half {
        return vec![0.5; count];
    }
    let base = h.exp_m1();
    let (mut phi, mut factorial) = (base / h - 1.0, 1.0);
    let mut rows = Vec::with_capacity(count);
    for i in 0..count {
        let mut row: Vec<f64> = nodes[..count].iter().map(|r| r.powi(i as i32)).collect();
        row.push(phi * factorial / base);
        rows.push(row);
        factorial *= (i + 2) as f64;
        phi = phi / h - 1.0 / factorial;
    }
    eliminate(rows)
}

/// Gauss's elimination of a small augmented matrix of full rank.
fn eliminate(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let count = rows.len();
    for column in 0..count {
        let largest = (column..count).max_by(|&a, &b| {
            let size = |row: usize| rows[row][column].abs();
            size(a).total_cmp(&size(b))
        });
        rows.swap(column, largest.unwrap_or(column));
        let pivot = rows[column].clone();
        for (index, row) in rows.iter_mut().enumerate() {
            if index != column {
                let factor = row[column] / pivot[column];
                for (value, above) in row.iter_mut().zip(&pivot) {
                    *value -= factor * above;
                }
            }
        }
    }
    (0..count).map(|i| rows[i][count] / rows[i][i]).collect()
}

impl Scheduler for UniPc {
    fn table(&self) -> &Table {
        &self.table
    }

    fn step(
        &mut self,
        output: &[f32],
        sample: &mut [f32],
        _: &mut dyn NormalSource,
    ) -> Result<(), DiffusionError> {
        let at = self.table.take_clipped(output, sample)?;
        if at > 0 {
            let update = self.update(at - 1, self.last_order, true);
            sample.copy_from_slice(&self.start);
            self.apply(&update, sample, self.history.len() - 1);
            blend(sample, 1.0, &self.table.denoised, update.of_target);
        }
        if self.history.len() == self.order {
            self.history.remove(0);
        }
        self.history.push(self.table.denoised.clone());
        // Lower orders at both ends: there is no history yet, and no room for an error at the end.
        let left = self.table.timesteps.len() - at;
        let order = self.order.min(left).min(at + 1);
        self.start.clear();
        self.start.extend_from_slice(sample);
        self.last_order = order;
        let update = self.update(at, order, false);
        self.apply(&update, sample, self.history.len() - 1);
        Ok(())
    }
}
