//! Finding the likeliest of many tokens without sorting them all.
//!
//! One pass takes the maximum of each block of logits. Whatever is asked for afterwards (the k
//! likeliest, all above a floor, the likeliest) then only looks into the few blocks that reach it.

use std::f32::consts::LOG2_E;

use crate::{TokenMask, math};

/// Logits in a block. 262144 logits make 4096 blocks.
pub(super) const BLOCK: usize = 64;
const LANES: usize = 16;

/// A token and its logit in one word, ordered from the likeliest to the unlikeliest; of equal
/// logits the lower id comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate(u64);

impl Candidate {
    pub(super) fn new(logit: f32, id: u32) -> Self {
        // Adding 0 makes -0 and 0 the same, so that they tie.
        let bits = (logit + 0.0).to_bits();
        let rising = if bits >> 31 == 0 {
            bits | 1 << 31
        } else {
            !bits
        };
        Self(u64::from(!rising) << 32 | u64::from(id))
    }

    pub(super) fn id(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn logit(self) -> f32 {
        let rising = !((self.0 >> 32) as u32);
        f32::from_bits(if rising >> 31 == 1 {
            rising & !(1 << 31)
        } else {
            !rising
        })
    }

    /// Probability relative to that of a token with the logit `top`.
    pub(super) fn weight(self, top: f32) -> f64 {
        math::exp(f64::from(self.logit()) - f64::from(top))
    }
}

/// Writes the maximum of each block to `maxima`. False when a logit is NaN or +∞.
pub(super) fn block_maxima(logits: &[f32], maxima: &mut Vec<f32>) -> bool {
    maxima.clear();
    let mut flags = [1u32; LANES];
    for block in logits.chunks(BLOCK) {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let mut parts = block.chunks_exact(LANES);
        for part in &mut parts {
            for ((lane, flag), &x) in lanes.iter_mut().zip(&mut flags).zip(part) {
                *lane = if x > *lane { x } else { *lane };
                *flag &= u32::from(x < f32::INFINITY);
            }
        }
        for ((lane, flag), &x) in lanes.iter_mut().zip(&mut flags).zip(parts.remainder()) {
            *lane = if x > *lane { x } else { *lane };
            *flag &= u32::from(x < f32::INFINITY);
        }
        maxima.push(highest(&lanes));
    }
    flags == [1; LANES]
}

/// Brings the maxima up to date after `mask` was applied.
pub(super) fn refresh_masked(logits: &[f32], maxima: &mut [f32], mask: &TokenMask) {
    for (index, (block, max)) in logits.chunks(BLOCK).zip(maxima).enumerate() {
        match mask.word64(index) {
            u64::MAX => {}
            0 => *max = f32::NEG_INFINITY,
            _ => *max = highest(block),
        }
    }
}

/// Brings the maxima up to date after the logits of `ids` were changed.
pub(super) fn refresh(logits: &[f32], maxima: &mut [f32], ids: impl Iterator<Item = u32>) {
    for block in ids.map(|id| id as usize / BLOCK) {
        let start = block * BLOCK;
        if let (Some(max), Some(rest)) = (maxima.get_mut(block), logits.get(start..)) {
            *max = highest(&rest[..rest.len().min(BLOCK)]);
        }
    }
}

/// The greatest value; -∞ for none.
pub(super) fn highest(values: &[f32]) -> f32 {
    values.iter().fold(
        f32::NEG_INFINITY,
        |best, &x| if x > best { x } else { best },
    )
}

/// The lowest id whose logit is `top`, the greatest of all.
pub(super) fn first_at(logits: &[f32], maxima: &[f32], top: f32) -> Option<u32> {
    let block = maxima.iter().position(|&m| m == top)?;
    let start = block * BLOCK;
    let within = logits.get(start..)?.iter().position(|&x| x == top)?;
    u32::try_from(start + within).ok()
}

/// Appends every token of at least `floor` in rising id order. Those of -∞ are left out. Of the
/// tokens that are exactly at the floor only the first `ties` are taken.
pub(super) fn gather(
    logits: &[f32],
    maxima: &[f32],
    floor: f32,
    mut ties: usize,
    out: &mut Vec<Candidate>,
) {
    for (index, (block, &max)) in logits.chunks(BLOCK).zip(maxima).enumerate() {
        if max < floor || max == f32::NEG_INFINITY {
            continue;
        }
        for (offset, &logit) in block.iter().enumerate() {
            let wanted = logit > floor || (logit == floor && ties > 0);
            if wanted && logit > f32::NEG_INFINITY {
                ties -= usize::from(logit == floor);
                out.push(Candidate::new(logit, (index * BLOCK + offset) as u32));
            }
        }
    }
}

/// Puts the `k` likeliest tokens into `out`, likeliest first.
pub(super) fn top_k(
    logits: &[f32],
    maxima: &[f32],
    k: usize,
    order: &mut Vec<f32>,
    out: &mut Vec<Candidate>,
) {
    out.clear();
    if k == 0 {
        return;
    }
    // The k-th greatest block maximum: at least k logits reach it, so none below it is wanted.
    let mut floor = f32::NEG_INFINITY;
    if k < maxima.len() {
        order.clear();
        order.extend_from_slice(maxima);
        let (_, kth, _) = order.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        floor = *kth;
    }
    gather(logits, maxima, floor, k, out);
    if out.len() > k {
        out.select_nth_unstable(k - 1);
        out.truncate(k);
    }
    out.sort_unstable();
}

/// Keeps the least items, in order, of which the masses just sum to what `enough` asks for, and
/// drops the rest: all are kept when it is never enough. Linear in the number of items, and little
/// more than linear in the number that is looked at when few are needed.
pub(super) fn keep_first<T: Ord + Copy>(
    items: &mut Vec<T>,
    mass: impl Fn(T) -> f64,
    enough: impl Fn(f64) -> bool,
) {
    const FEW: usize = 64;
    // The first `start` items are kept and weigh `sum`; whether those up to `end` are enough is
    // known when `bounded`.
    let (mut start, mut sum, mut step) = (0, 0.0, FEW);
    let mut end = items.len();
    let mut bounded = false;
    while end - start > FEW {
        let size = if bounded { (end - start) / 2 } else { step };
        let open = &mut items[start..end];
        if size < open.len() {
            open.select_nth_unstable(size);
        }
        let part = &open[..size.min(open.len())];
        let with_part = sum + part.iter().map(|&item| mass(item)).sum::<f64>();
        if enough(with_part) {
            end = start + part.len();
            bounded = true;
        } else {
            start += part.len();
            sum = with_part;
            step *= 16;
        }
    }
    items[start..end].sort_unstable();
    let missing = items[start..end].iter().position(|&item| {
        sum += mass(item);
        enough(sum)
    });
    items.truncate(missing.map_or(end, |at| start + at + 1));
    items[..start].sort_unstable();
}

/// Sums over a whole row of logits, relative to its greatest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Σ e^(x-top): the softmax's denominator.
    pub(super) mass: f64,
    /// Σ e^(x-top)·(x-top).
    pub(super) moment: f64,
}

impl Sums {
    /// Entropy in nats of the distribution whose sums these are.
    pub(super) fn entropy(&self) -> f64 {
        math::ln(self.mass) - self.moment / self.mass
    }
}

/// The mass of a row.
pub(super) fn mass(row: &[f32], top: f32) -> f64 {
    let blocks = row.chunks(BLOCK);
    blocks.map(|b| block_mass(b, top, LOG2_E)).sum()
}

/// Mass and moment of a row.
pub(super) fn sums(row: &[f32], top: f32) -> Sums {
    let mut total = Sums::default();
    for block in row.chunks(BLOCK) {
        let mut mass = [0.0f32; LANES];
        let mut moment = [0.0f32; LANES];
        let mut add = |lane: usize, x: f32| {
            let below = (x - top) * LOG2_E;
            let weight = math::exp2(below);
            mass[lane] += weight;
            let finite = math::EXP2_FLOOR;
            moment[lane] += weight * if below > finite { below } else { finite };
        };
        let (parts, rest) = block.as_chunks::<LANES>();
        for part in parts {
            for (lane, &x) in part.iter().enumerate() {
                add(lane, x);
            }
        }
        for (lane, &x) in rest.iter().enumerate() {
            add(lane, x);
        }
        total.mass += lane_sum(&mass);
        total.moment += lane_sum(&moment) * std::f64::consts::LN_2;
    }
    total
}

/// Σ 2^((x-top)·scale) over one block.
#[inline]
pub(super) fn block_mass(block: &[f32], top: f32, scale: f32) -> f64 {
    let mut lanes = [0.0f32; LANES];
    let (parts, rest) = block.as_chunks::<LANES>();
    for part in parts {
        for (lane, x) in lanes.iter_mut().zip(part) {
            *lane += math::exp2((x - top) * scale);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += math::exp2((x - top) * scale);
    }
    lane_sum(&lanes)
}

fn lane_sum(lanes: &[f32; LANES]) -> f64 {
    lanes.iter().map(|&x| f64::from(x)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_order_by_logit_then_id_and_give_both_back() {
        let logits = [f32::MAX, 3.5, 1e-40, 0.0, -1e-40, -2.0, f32::MIN];
        for pair in logits.windows(2) {
            assert!(Candidate::new(pair[0], 9) < Candidate::new(pair[1], 3));
        }
        for logit in logits {
            let candidate = Candidate::new(logit, 77);
            assert_eq!((candidate.logit(), candidate.id()), (logit, 77));
        }
        assert_eq!(Candidate::new(-0.0, 5), Candidate::new(0.0, 5));
        assert!(Candidate::new(1.0, 2) < Candidate::new(1.0, 3));
    }

    #[test]
    fn broken_logits_are_found_in_every_place() {
        let mut maxima = Vec::new();
        for len in [1, 15, 16, 63, 64, 65, 200] {
            for place in 0..len {
                for (value, good) in [
                    (f32::NAN, false),
                    (f32::INFINITY, false),
                    (-f32::INFINITY, true),
                ] {
                    let mut logits = vec![0.5; len];
                    logits[place] = value;
                    assert_eq!(block_maxima(&logits, &mut maxima), good);
                }
            }
        }
    }

    #[test]
    fn top_k_of_all_equal_logits_takes_the_lowest_ids_only() {
        let logits = vec![1.25; 100_000];
        let (mut maxima, mut order, mut out) = (Vec::new(), Vec::new(), Vec::new());
        assert!(block_maxima(&logits, &mut maxima));
        top_k(&logits, &maxima, 40, &mut order, &mut out);
        let ids: Vec<u32> = out.iter().map(|c| c.id()).collect();
        assert_eq!(ids, (0..40).collect::<Vec<_>>());
        // Not a hundred thousand: the ties beyond k are never gathered.
        assert!(out.capacity() < 1000);
    }

    #[test]
    fn sums_agree_with_a_plain_computation() {
        let logits: Vec<f32> = (0..1000)
            .map(|i| ((i * 37) % 211) as f32 * 0.1 - 9.0)
            .collect();
        let top = highest(&logits);
        let exact: Vec<f64> = logits.iter().map(|&x| f64::from(x - top)).collect();
        let mass: f64 = exact.iter().map(|x| x.exp()).sum();
        let entropy: f64 = exact
            .iter()
            .map(|x| (x.exp() / mass, x - mass.ln()))
            .map(|(p, ln_p)| -p * ln_p)
            .sum();
        let got = sums(&logits, top);
        assert!((got.mass / mass - 1.0).abs() < 1e-6);
        assert!((got.entropy() - entropy).abs() < 1e-5);
        let want = mass;
        assert!((super::mass(&logits, top) / want - 1.0).abs() < 1e-6);
        let masked = [1.0, f32::NEG_INFINITY, f32::MIN];
        assert!(sums(&masked, 1.0).entropy() < 1e-30);
    }
}
