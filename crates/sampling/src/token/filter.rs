//! Top-k, typical, top-p and min-p over one row of logits, and the draw from what they leave.

use super::config::SamplerConfig;
use super::select::{self, BLOCK, Candidate, Sums};
use crate::math;

/// Buffers that every step reuses: after the first steps none of them grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// The greatest logit of each block of the row that is filtered.
    pub(super) maxima: Vec<f32>,
    /// The candidates that the filters left.
    pub(super) list: Vec<Candidate>,
    order: Vec<f32>,
    by_surprise: Vec<(u64, u32)>,
    kept: Vec<Candidate>,
    /// Weights of the candidates, or mass of each block.
    pub(super) masses: Vec<f64>,
}

/// What the filters left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Every token of the row.
    All,
    /// The tokens in [`Scratch::list`].
    List,
}

/// Runs the filters in order. `top` is the row's greatest logit, `scratch.maxima` its blocks'.
pub(super) fn filter(config: &SamplerConfig, row: &[f32], top: f32, scratch: &mut Scratch) -> Left {
    let Scratch {
        maxima,
        list,
        order,
        ..
    } = scratch;
    // What is known about the whole row, when it is the whole row that is filtered.
    let (mut sums, mut all_mass) = (None, None);
    list.clear();
    if config.top_k > 0 && config.top_k < row.len() {
        select::top_k(row, maxima, config.top_k, order, list);
    } else {
        // Tokens that no later filter can keep are not even looked at.
        let mut floor = f64::NEG_INFINITY;
        if config.typical_p < 1.0 {
            let all = select::sums(row, top);
            floor = typical_floor(&all, config.typical_p, row.len());
            sums = Some(all);
        } else {
            if config.top_p < 1.0 {
                let mass = select::mass(row, top);
                floor = tail_floor(mass, config.top_p, row.len());
                all_mass = Some(mass);
            }
            floor = floor.max(math::ln(f64::from(config.min_p)));
        }
        if floor == f64::NEG_INFINITY {
            return Left::All;
        }
        let floor = round_down(f64::from(top) + floor);
        select::gather(row, maxima, floor, usize::MAX, list);
    }
    if config.typical_p < 1.0 {
        keep_typical(config.typical_p, sums, top, scratch);
    }
    let list = &mut scratch.list;
    if config.top_p < 1.0 {
        let mass = all_mass.unwrap_or_else(|| list.iter().map(|c| c.weight(top)).sum());
        let wanted = f64::from(config.top_p) * mass;
        select::keep_first(list, |c| c.weight(top), |sum| sum >= wanted);
    }
    if config.min_p > 0.0 {
        // Typical may have dropped the likeliest token.
        let best = list.iter().min().map_or(top, |c| c.logit());
        let floor = f64::from(best) + math::ln(f64::from(config.min_p));
        list.retain(|c| f64::from(c.logit()) >= floor);
    }
    Left::List
}

/// Tokens this far below the likeliest are in no top-p set: with fewer than (1-p)/n of the mass
/// each, all of them together do not make up what top-p leaves out. Halved against rounding.
fn tail_floor(mass: f64, p: f32, tokens: usize) -> f64 {
    let share = (1.0 - f64::from(p)) / tokens as f64;
    math::ln(0.5 * share * mass)
}

/// As [`tail_floor`] for typical sampling, which takes tokens in the order of their distance from
/// the entropy H: those rarer than e^-2H are further from it than any likelier token.
fn typical_floor(sums: &Sums, p: f32, tokens: usize) -> f64 {
    let rarest = -2.0 * sums.entropy() - 0.01 + math::ln(sums.mass);
    tail_floor(sums.mass, p, tokens).min(rarest)
}

/// The greatest f32 not above `x`.
fn round_down(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) > x {
        near.next_down()
    } else {
        near
    }
}

fn keep_typical(p: f32, sums: Option<Sums>, top: f32, scratch: &mut Scratch) {
    let Scratch {
        list,
        by_surprise,
        kept,
        masses,
        ..
    } = scratch;
    let sums = sums.unwrap_or_else(|| {
        let mut sums = Sums::default();
        for candidate in list.iter() {
            let below = (f64::from(candidate.logit()) - f64::from(top)).max(-1e4);
            let weight = math::exp(below);
            sums.mass += weight;
            sums.moment += weight * below;
        }
        sums
    });
    let entropy = sums.entropy();
    let ln_mass = math::ln(sums.mass);
    by_surprise.clear();
    masses.clear();
    for (candidate, index) in list.iter().zip(0u32..) {
        let below = f64::from(candidate.logit()) - f64::from(top);
        let distance = (ln_mass - below - entropy).abs();
        // Of numbers that are not negative the bits order as the numbers do.
        by_surprise.push((distance.to_bits(), index));
        masses.push(math::exp(below));
    }
    let wanted = f64::from(p) * sums.mass;
    select::keep_first(by_surprise, |s| masses[s.1 as usize], |sum| sum > wanted);
    kept.clear();
    kept.extend(by_surprise.iter().map(|&(_, index)| list[index as usize]));
    kept.sort_unstable();
    std::mem::swap(list, kept);
}

/// Draws a token from what the filters left. `uniform` is in [0, 1).
pub(super) fn draw(
    left: Left,
    row: &[f32],
    top: f32,
    temperature: f32,
    uniform: f64,
    scratch: &mut Scratch,
) -> Option<u32> {
    match left {
        Left::List => draw_from_list(temperature, uniform, scratch),
        Left::All => draw_from_row(row, top, temperature, uniform, &mut scratch.masses),
    }
}

fn draw_from_list(temperature: f32, uniform: f64, scratch: &mut Scratch) -> Option<u32> {
    list_weights(temperature, &scratch.list, &mut scratch.masses);
    let mut rest = uniform * scratch.masses.iter().sum::<f64>();
    for (candidate, &mass) in scratch.list.iter().zip(&scratch.masses) {
        rest -= mass;
        if rest < 0.0 {
            return Some(candidate.id());
        }
    }
    // Rounding may leave a crumb past the last one: the likeliest takes it.
    scratch.list.iter().min().map(|c| c.id())
}

/// Writes the weight of every token that is left to `scratch.masses`: by list place or by id.
pub(super) fn weights(left: Left, row: &[f32], top: f32, temperature: f32, scratch: &mut Scratch) {
    if left == Left::List {
        return list_weights(temperature, &scratch.list, &mut scratch.masses);
    }
    let scale = scale(temperature);
    let each = row
        .iter()
        .map(|&logit| f64::from(math::exp2_or_zero((logit - top) * scale)));
    scratch.masses.clear();
    scratch.masses.extend(each);
}

/// Probability of each candidate relative to the likeliest, after the temperature.
fn list_weights(temperature: f32, list: &[Candidate], weights: &mut Vec<f64>) {
    let best = list.iter().min().map_or(0.0, |c| c.logit());
    weights.clear();
    weights.extend(list.iter().map(|candidate| {
        let below = f64::from(candidate.logit()) - f64::from(best);
        math::exp(below / f64::from(temperature))
    }));
}

/// What turns a distance of logits into a power of two; finite also for the least temperature.
fn scale(temperature: f32) -> f32 {
    (std::f32::consts::LOG2_E / temperature).min(f32::MAX)
}

fn draw_from_row(
    row: &[f32],
    top: f32,
    temperature: f32,
    uniform: f64,
    masses: &mut Vec<f64>,
) -> Option<u32> {
    let scale = scale(temperature);
    masses.clear();
    masses.extend(
        row.chunks(BLOCK)
            .map(|block| select::block_mass(block, top, scale)),
    );
    let mut rest = uniform * masses.iter().sum::<f64>();
    for (index, (block, &mass)) in row.chunks(BLOCK).zip(masses.iter()).enumerate() {
        if rest >= mass {
            rest -= mass;
            continue;
        }
        let mut last = None;
        for (offset, &logit) in block.iter().enumerate() {
            let weight = f64::from(math::exp2_or_zero((logit - top) * scale));
            if weight > 0.0 {
                last = Some((index * BLOCK + offset) as u32);
                rest -= weight;
                if rest < 0.0 {
                    break;
                }
            }
        }
        if last.is_some() {
            return last;
        }
    }
    let first = row.iter().position(|&x| x == top)?;
    u32::try_from(first).ok()
}
