//! The picture at a time between two.
//!
//! A pixel of it lies on the way of one of the first picture and of one of the second. As backward warping needs the flow at that very
//! time (Super SloMo: Jiang et al., [2018](https://arxiv.org/abs/1712.00080)), the pixels of both pictures carry their flow to where
//! they are then, each with a weight (as softmax splatting does with colours: Niklaus and Liu,
//! [2020](https://arxiv.org/abs/2003.05534)): much if flow there and back agree, and more for what stands out from the
//! background and for what moves, which is in front of what it passes. Where none arrives the flow is Super SloMo's
//! mean of both.
//!
//! Then both pictures are read where that flow says, and each counts as far as its own flow agrees that it is the source: what is hidden
//! in one of them comes from the other. Where neither agrees and they differ, the two are faded into each other unmoved.

use super::flow::Field;
use super::planes::{Place, Planes};
use super::refine::median;

/// Differences of flow, in pixels, and of values that count as small.
const NEAR: f32 = 0.5;
const ALIKE: f32 = 0.08;

/// The weight of background that moves, beside things that stand out.
const BEHIND: f32 = 0.1;

/// Weights of arriving flow below this are none.
const NONE: f32 = 1e-2;

/// How often the flow is filtered by its median: neighbours that come from different places else look like dust.
const MEDIANS: usize = 2;

/// Two neighbours with their flows.
pub(super) struct Pair {
    pub first: Planes,
    pub second: Planes,
    /// From the first to the second, and back.
    pub there: Field,
    pub back: Field,
    /// Weights of the pixels' flows where several meet.
    there_weights: Vec<f32>,
    back_weights: Vec<f32>,
}

impl Pair {
    pub fn new(first: Planes, second: Planes, there: Field, back: Field) -> Self {
        let ground = background(&first, &second);
        let there_weights = importance(&first, &second, &there, &back, &ground);
        let back_weights = importance(&second, &first, &back, &there, &ground);
        Self {
            first,
            second,
            there,
            back,
            there_weights,
            back_weights,
        }
    }

    /// The flow from the first to the second picture of what is at each pixel at time `t`, 0 to 1.
    pub fn flow_at(&self, t: f32) -> Field {
        let (w, h) = (self.there.width, self.there.height);
        let mut field = Field::still(w, h);
        let mut sums = vec![0.0; w * h];
        carry(
            &self.there,
            &self.there_weights,
            t,
            1.0 - t,
            1.0,
            &mut field,
            &mut sums,
        );
        carry(
            &self.back,
            &self.back_weights,
            1.0 - t,
            t,
            -1.0,
            &mut field,
            &mut sums,
        );
        for (i, &sum) in sums.iter().enumerate() {
            if sum > NONE {
                field.u[i] /= sum;
                field.v[i] /= sum;
            } else {
                field.u[i] = (1.0 - t) * self.there.u[i] - t * self.back.u[i];
                field.v[i] = (1.0 - t) * self.there.v[i] - t * self.back.v[i];
            }
        }
        for _ in 0..MEDIANS {
            field = median(&field);
        }
        field
    }

    /// The values of the pixel at (`x`, `y`) at time `t`, where the flow is (`u`, `v`).
    pub fn blend(&self, x: usize, y: usize, t: f32, (u, v): (f32, f32)) -> [f32; 4] {
        let (w, h) = (self.there.width, self.there.height);
        let (x0, y0) = (x as f32 - t * u, y as f32 - t * v);
        let (x1, y1) = (x as f32 + (1.0 - t) * u, y as f32 + (1.0 - t) * v);
        let (a, b) = (self.first.cubic(x0, y0), self.second.cubic(x1, y1));
        let reach = NEAR + 0.1 * (u * u + v * v).sqrt();
        let source = |x: f32, y: f32, field: &Field, sign: f32| {
            if x < -0.5 || y < -0.5 || x > w as f32 - 0.5 || y > h as f32 - 0.5 {
                return 0.0;
            }
            let (fu, fv) = field.at(x, y);
            fall(fu - sign * u, fv - sign * v, reach)
        };
        let first = source(x0, y0, &self.there, 1.0);
        let second = source(x1, y1, &self.back, -1.0);
        let shares = ((1.0 - t) * (first + 1e-3), t * (second + 1e-3));
        let share = shares.1 / (shares.0 + shares.1);
        let differ: f32 = (0..4).map(|c| (a[c] - b[c]).abs()).fold(0.0, f32::max);
        let trust = first.max(second).max(fall(differ, 0.0, ALIKE)).min(1.0);
        let i = y * w + x;
        let mut out = [0.0; 4];
        for (c, (p, q)) in self
            .first
            .planes
            .iter()
            .zip(&self.second.planes)
            .enumerate()
        {
            let faded = p[i] + (q[i] - p[i]) * t;
            let moved = a[c] + (b[c] - a[c]) * share;
            out[c] = faded + (moved - faded) * trust;
        }
        out
    }
}

/// 1 at nothing, falling fast beyond `reach`.
fn fall(x: f32, y: f32, reach: f32) -> f32 {
    let ratio = (x * x + y * y) / (reach * reach);
    1.0 / (1.0 + ratio * ratio)
}

/// What most of the border of both pictures is: the median of each plane.
fn background(first: &Planes, second: &Planes) -> [f32; 4] {
    let (w, h) = (first.width, first.height);
    let mut ground = [0.0; 4];
    for (value, (a, b)) in ground
        .iter_mut()
        .zip(first.planes.iter().zip(&second.planes))
    {
        let mut border: Vec<f32> = Vec::with_capacity(4 * (w + h));
        for plane in [a, b] {
            border.extend_from_slice(&plane[..w]);
            border.extend_from_slice(&plane[(h - 1) * w..]);
            border.extend((0..h).flat_map(|y| [plane[y * w], plane[y * w + w - 1]]));
        }
        border.sort_unstable_by(f32::total_cmp);
        *value = border[border.len() / 2];
    }
    ground
}

/// How much each pixel's flow counts where several meet.
fn importance(a: &Planes, b: &Planes, there: &Field, back: &Field, ground: &[f32]) -> Vec<f32> {
    let (w, h) = (a.width, a.height);
    let mut weights = Vec::with_capacity(w * h);
    for i in 0..w * h {
        let (u, v) = (there.u[i], there.v[i]);
        let (x, y) = ((i % w) as f32 + u, (i / w) as f32 + v);
        let (bu, bv) = back.at(x, y);
        let speed = (u * u + v * v).sqrt();
        let agree = fall(u + bu, v + bv, NEAR + 0.1 * speed);
        let alike = fall(a.difference(i, b, Place::new(x, y, w, h)), 0.0, ALIKE);
        let planes = a.planes.iter().zip(ground);
        let out = planes.map(|(p, g)| (p[i] - g).abs()).fold(0.0, f32::max);
        let trust = agree * alike;
        weights.push(trust * trust * (BEHIND + out) * (1.0 + speed));
    }
    weights
}

/// Adds each pixel's flow, times `sign`, to the four pixels around where it is at `time`; weights are scaled by `near`.
fn carry(
    from: &Field,
    weights: &[f32],
    time: f32,
    near: f32,
    sign: f32,
    onto: &mut Field,
    sums: &mut [f32],
) {
    let (w, h) = (from.width, from.height);
    for (i, &weight) in weights.iter().enumerate() {
        let (u, v) = (from.u[i], from.v[i]);
        let (x, y) = ((i % w) as f32 + time * u, (i / w) as f32 + time * v);
        let (left, top) = (x.floor(), y.floor());
        let (right_part, lower_part) = (x - left, y - top);
        for (dx, dy, part) in [
            (0.0, 0.0, (1.0 - right_part) * (1.0 - lower_part)),
            (1.0, 0.0, right_part * (1.0 - lower_part)),
            (0.0, 1.0, (1.0 - right_part) * lower_part),
            (1.0, 1.0, right_part * lower_part),
        ] {
            let (column, row) = (left + dx, top + dy);
            if column < 0.0 || row < 0.0 || column >= w as f32 || row >= h as f32 {
                continue;
            }
            let at = row as usize * w + column as usize;
            let weight = weight * near * part;
            onto.u[at] += weight * sign * u;
            onto.v[at] += weight * sign * v;
            sums[at] += weight;
        }
    }
}
