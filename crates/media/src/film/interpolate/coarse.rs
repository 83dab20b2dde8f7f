//! Where the things of a small picture went, found over all shifts at once.
//!
//! A pyramid alone loses what moves further than it is wide. So at the coarsest level every pixel is compared under every shift
//! up to a quarter of the picture, and the costs are made to agree with their neighbours' along rows and columns, both ways: semi-global
//! matching (Hirschmüller, [2008](https://doi.org/10.1109/TPAMI.2007.1166)) over shifts in two dimensions, as in Full Flow (Chen and
//! Koltun, [2016](https://arxiv.org/abs/1604.03513)), with the lower envelope of Felzenszwalb and Huttenlocher
//! ([2012](https://doi.org/10.4086/toc.2012.v008a019)) for the cost of differing shifts.

use super::flow::Field;
use super::planes::Planes;

/// The furthest shift, in pixels of the coarsest level.
const FURTHEST: usize = 8;

/// The most that one pixel's difference may cost: what is hidden in one picture is like nothing.
const MOST: f32 = 0.35;

/// The cost of neighbours whose shifts differ, for a pixel of difference, and at most.
const STEP: f32 = 0.03;
const JUMP: f32 = 0.2;

/// How much less that is across an edge of the picture, for a difference of 1.
const EDGE: f32 = 8.0;

/// The cost of a shift by a pixel: where all is the same, nothing moves.
const MOVE: f32 = 0.002;

/// Costs of shifts by -`reach` to `reach` in both directions, of every pixel.
struct Shifts {
    reach: usize,
    width: usize,
    height: usize,
}

impl Shifts {
    fn side(&self) -> usize {
        2 * self.reach + 1
    }

    fn count(&self) -> usize {
        self.side() * self.side()
    }

    fn offset(&self, label: usize) -> (i32, i32) {
        let reach = self.reach as i32;
        let side = self.side();
        ((label % side) as i32 - reach, (label / side) as i32 - reach)
    }
}

/// For every pixel of `from` the shift, in whole pixels, to where it is in `to`.
pub(super) fn search(from: &Planes, to: &Planes) -> Field {
    let (width, height) = (from.width, from.height);
    let reach = (width.max(height) / 4).min(FURTHEST);
    let shifts = Shifts {
        reach,
        width,
        height,
    };
    let costs = costs(&shifts, from, to);
    let total = agree(&shifts, from, &costs);
    let mut field = Field::still(width, height);
    for (i, costs) in total.chunks_exact(shifts.count()).enumerate() {
        let mut best = shifts.count() / 2;
        for (label, &cost) in costs.iter().enumerate() {
            if cost < costs[best] {
                best = label;
            }
        }
        let (x, y) = shifts.offset(best);
        field.u[i] = x as f32;
        field.v[i] = y as f32;
    }
    field
}

/// Pixels × shifts: the mean difference over 3 × 3 pixels.
fn costs(shifts: &Shifts, from: &Planes, to: &Planes) -> Vec<f32> {
    let (w, h, count) = (shifts.width, shifts.height, shifts.count());
    let mut costs = vec![0.0; w * h * count];
    let mut here = vec![0.0f32; w * h];
    let inside = |at: i32, side: usize| at.clamp(0, side as i32 - 1) as usize;
    for label in 0..count {
        let (dx, dy) = shifts.offset(label);
        here.fill(0.0);
        for (a, b) in from.planes.iter().zip(&to.planes) {
            for y in 0..h {
                let row = &b[inside(y as i32 + dy, h) * w..][..w];
                for x in 0..w {
                    here[y * w + x] += (a[y * w + x] - row[inside(x as i32 + dx, w)]).abs();
                }
            }
        }
        let moved = MOVE * ((dx * dx + dy * dy) as f32).sqrt();
        let share = 1.0 / from.planes.len() as f32;
        for y in 0..h {
            for x in 0..w {
                let mut sum = 0.0;
                for j in [y.saturating_sub(1), y, (y + 1).min(h - 1)] {
                    for i in [x.saturating_sub(1), x, (x + 1).min(w - 1)] {
                        sum += here[j * w + i];
                    }
                }
                costs[(y * w + x) * count + label] = (sum * share / 9.0).min(MOST) + moved;
            }
        }
    }
    costs
}

/// The sum of what the paths from four sides say.
fn agree(shifts: &Shifts, from: &Planes, costs: &[f32]) -> Vec<f32> {
    let (w, h) = (shifts.width, shifts.height);
    let mut total = vec![0.0; costs.len()];
    for y in 0..h {
        let row: Vec<usize> = (y * w..(y + 1) * w).collect();
        follow(shifts, from, costs, &mut total, row.iter().copied());
        follow(shifts, from, costs, &mut total, row.into_iter().rev());
    }
    for x in 0..w {
        let column: Vec<usize> = (0..h).map(|y| y * w + x).collect();
        follow(shifts, from, costs, &mut total, column.iter().copied());
        follow(shifts, from, costs, &mut total, column.into_iter().rev());
    }
    total
}

/// Adds the costs along one path to `total`: of a pixel its own and the least that its forerunner allows.
fn follow(
    shifts: &Shifts,
    from: &Planes,
    costs: &[f32],
    total: &mut [f32],
    path: impl Iterator<Item = usize>,
) {
    let count = shifts.count();
    let mut last = vec![0.0f32; count];
    let mut before: Option<usize> = None;
    for at in path {
        if let Some(before) = before {
            let difference: f32 = from.planes.iter().map(|p| (p[at] - p[before]).abs()).sum();
            let ease = 1.0 / (1.0 + EDGE * difference / from.planes.len() as f32);
            envelope(&mut last, shifts.side(), STEP * ease, JUMP * ease);
        }
        before = Some(at);
        let own = &costs[at * count..][..count];
        let sums = &mut total[at * count..][..count];
        for ((last, &own), sum) in last.iter_mut().zip(own).zip(sums) {
            *last += own;
            *sum += *last;
        }
    }
}

/// Of every shift the least of all shifts' costs plus `step` for every pixel of difference, but at most `jump`; the least of all
/// becomes 0.
fn envelope(costs: &mut [f32], side: usize, step: f32, jump: f32) {
    let least = costs.iter().copied().fold(f32::INFINITY, f32::min);
    let cap = least + jump;
    for row in costs.chunks_exact_mut(side) {
        for x in 1..side {
            row[x] = row[x].min(row[x - 1] + step);
        }
        for x in (1..side).rev() {
            row[x - 1] = row[x - 1].min(row[x] + step);
        }
    }
    for at in side..costs.len() {
        costs[at] = costs[at].min(costs[at - side] + step);
    }
    for at in (side..costs.len()).rev() {
        costs[at - side] = costs[at - side].min(costs[at] + step);
    }
    for cost in costs {
        *cost = cost.min(cap) - least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_the_least_over_all_shifts() {
        let costs: Vec<f32> = (0..25).map(|i| ((i * 7) % 11) as f32 * 0.1).collect();
        let mut got = costs.clone();
        envelope(&mut got, 5, 0.125, 0.3);
        let least = costs.iter().copied().fold(f32::INFINITY, f32::min);
        for (i, &got) in got.iter().enumerate() {
            let reach = |j: usize| (i % 5).abs_diff(j % 5) + (i / 5).abs_diff(j / 5);
            let want = (0..25)
                .map(|j| costs[j] + (0.125 * reach(j) as f32).min(0.3))
                .fold(f32::INFINITY, f32::min)
                - least;
            assert!((got - want).abs() < 1e-6, "{i}: {got} {want}");
        }
    }

    #[test]
    fn a_small_thing_is_found_further_than_it_is_wide() {
        let square = |left: usize, top: usize| Planes {
            width: 32,
            height: 32,
            planes: (0..3)
                .map(|c| {
                    let inside = |i: usize| {
                        (left..left + 4).contains(&(i % 32)) && (top..top + 4).contains(&(i / 32))
                    };
                    (0..1024)
                        .map(|i| if inside(i) { c as f32 * 0.3 } else { 1.0 })
                        .collect()
                })
                .collect(),
        };
        let field = search(&square(6, 9), &square(13, 6));
        let middle = 11 * 32 + 8;
        assert_eq!((field.u[middle], field.v[middle]), (7.0, -3.0));
        assert_eq!((field.u[30 * 32 + 30], field.v[30 * 32 + 30]), (0.0, 0.0));
    }
}
