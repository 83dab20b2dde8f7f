//! Flow to fractions of a pixel.
//!
//! What is minimised is the variational energy of Brox et al. ([2004](https://doi.org/10.1007/978-3-540-24673-2_3)): a robust
//! (Charbonnier) difference of all planes between a picture and the other one as the flow warps it, and a robust change of the flow from
//! pixel to pixel; the differences are measured in pixels of motion (normalised by the slopes: Zimmer, Bruhn and Weickert,
//! [2011](https://doi.org/10.1007/s11263-011-0422-6)), and the flow may change more across edges of the picture. Each warp is
//! followed by a few rounds of fixed weights, each solved by successive over-relaxation.

use super::flow::Field;
use super::planes::{Place, Planes};

/// How much smoothness counts beside the data.
const SMOOTH: f32 = 0.2;

/// Slopes below this are noise.
const SLOPE: f32 = 0.05;

/// How much less smoothness counts across an edge, for a slope of 1 squared.
const EDGE: f32 = 100.0;

/// Where the robust functions turn from squares into slopes, in pixels of motion.
const DATA_TURN: f32 = 0.05;
const FLOW_TURN: f32 = 0.01;

const WARPS: usize = 4;
const ROUNDS: usize = 2;
const SWEEPS: usize = 6;
const RELAXATION: f32 = 1.8;

/// The data term at one pixel as a quadratic form in the flow: xx·u² + 2·xy·u·v + yy·v² + 2·x·u + 2·y·v + one.
#[derive(Clone, Copy, Default)]
struct Form {
    xx: f32,
    xy: f32,
    yy: f32,
    x: f32,
    y: f32,
    one: f32,
}

/// The flow from `a` to `b` that a nearby one leads to.
pub(super) fn refine(a: &Planes, b: &Planes, start: Field, last: bool) -> Field {
    let mut field = start;
    let ease = ease(a);
    let mut forms = vec![Form::default(); a.width * a.height];
    let mut stiffness = vec![0.0; forms.len()];
    let mut weights = vec![0.0; forms.len()];
    for _ in 0..if last { WARPS - 1 } else { WARPS } {
        linearise(a, b, &field, &mut forms);
        for _ in 0..ROUNDS {
            stiffen(&field, &ease, &mut stiffness);
            weigh(&forms, &field, &mut weights);
            for _ in 0..SWEEPS {
                sweep(&forms, &weights, &stiffness, &mut field);
            }
        }
        field = median(&field);
    }
    field
}

/// 1 where the picture is flat, less at edges.
fn ease(a: &Planes) -> Vec<f32> {
    let (w, h) = (a.width, a.height);
    let mut out = Vec::with_capacity(w * h);
    for y in 0..h {
        for x in 0..w {
            let sum: f32 = a
                .planes
                .iter()
                .map(|plane| {
                    let (dx, dy) = slopes(plane, x, y, w, h);
                    dx * dx + dy * dy
                })
                .sum();
            out.push(1.0 / (1.0 + EDGE * sum / a.planes.len() as f32));
        }
    }
    out
}

fn slopes(plane: &[f32], x: usize, y: usize, w: usize, h: usize) -> (f32, f32) {
    let row = &plane[y * w..][..w];
    let dx = (row[(x + 1).min(w - 1)] - row[x.saturating_sub(1)]) * 0.5;
    let dy = (plane[(y + 1).min(h - 1) * w + x] - plane[y.saturating_sub(1) * w + x]) * 0.5;
    (dx, dy)
}

/// The data term around the flow. What the flow carries out of the picture has none.
fn linearise(a: &Planes, b: &Planes, field: &Field, forms: &mut [Form]) {
    let (w, h) = (a.width, a.height);
    forms.fill(Form::default());
    let mut mean = vec![0.0; w * h];
    let mut change = vec![0.0; w * h];
    let (right, bottom) = ((w - 1) as f32, (h - 1) as f32);
    for (plane, other) in a.planes.iter().zip(&b.planes) {
        for y in 0..h {
            for x in 0..w {
                let i = y * w + x;
                let place = Place::new(x as f32 + field.u[i], y as f32 + field.v[i], w, h);
                let warped = place.linear(other);
                mean[i] = (plane[i] + warped) * 0.5;
                change[i] = warped - plane[i];
            }
        }
        for y in 0..h {
            for x in 0..w {
                let i = y * w + x;
                let (u, v) = (field.u[i], field.v[i]);
                let (to_x, to_y) = (x as f32 + u, y as f32 + v);
                if !((0.0..=right).contains(&to_x) && (0.0..=bottom).contains(&to_y)) {
                    continue;
                }
                let (dx, dy) = slopes(&mean, x, y, w, h);
                let share = 1.0 / (dx * dx + dy * dy + SLOPE * SLOPE);
                // Of the flow itself, not of what is added to it.
                let rest = change[i] - dx * u - dy * v;
                let form = &mut forms[i];
                form.xx += share * dx * dx;
                form.xy += share * dx * dy;
                form.yy += share * dy * dy;
                form.x += share * dx * rest;
                form.y += share * dy * rest;
                form.one += share * rest * rest;
            }
        }
    }
}

/// The weight of each pixel's data: less, the worse it fits.
fn weigh(forms: &[Form], field: &Field, weights: &mut [f32]) {
    for (i, (form, weight)) in forms.iter().zip(weights).enumerate() {
        let (u, v) = (field.u[i], field.v[i]);
        let across = (form.xx * u + 2.0 * (form.xy * v + form.x)) * u;
        let down = (form.yy * v + 2.0 * form.y) * v;
        let misfit = (across + down + form.one).max(0.0);
        *weight = 1.0 / (misfit + DATA_TURN * DATA_TURN).sqrt();
    }
}

/// The weight of smoothness at each pixel: less, the more the flow changes there.
fn stiffen(field: &Field, ease: &[f32], stiffness: &mut [f32]) {
    let (w, h) = (field.width, field.height);
    for y in 0..h {
        for x in 0..w {
            let i = y * w + x;
            let (ux, uy) = slopes(&field.u, x, y, w, h);
            let (vx, vy) = slopes(&field.v, x, y, w, h);
            let change = ux * ux + uy * uy + vx * vx + vy * vy;
            stiffness[i] = SMOOTH * ease[i] / (change + FLOW_TURN * FLOW_TURN).sqrt();
        }
    }
}

/// One pass of over-relaxation, pixel by pixel.
fn sweep(forms: &[Form], weights: &[f32], stiffness: &[f32], field: &mut Field) {
    let (w, h) = (field.width, field.height);
    for y in 0..h {
        for x in 0..w {
            let i = y * w + x;
            let (mut sum, mut u, mut v) = (1e-6, 0.0, 0.0);
            let mut join = |j: usize| {
                let weight = (stiffness[i] + stiffness[j]) * 0.5;
                sum += weight;
                u += weight * field.u[j];
                v += weight * field.v[j];
            };
            if x > 0 {
                join(i - 1);
            }
            if x + 1 < w {
                join(i + 1);
            }
            if y > 0 {
                join(i - w);
            }
            if y + 1 < h {
                join(i + w);
            }
            let (form, data) = (&forms[i], weights[i]);
            let new = (u - data * (form.x + form.xy * field.v[i])) / (sum + data * form.xx);
            field.u[i] += RELAXATION * (new - field.u[i]);
            let new = (v - data * (form.y + form.xy * field.u[i])) / (sum + data * form.yy);
            field.v[i] += RELAXATION * (new - field.v[i]);
        }
    }
}

/// The median over 3 × 3 pixels, which takes out what stands alone.
pub(super) fn median(field: &Field) -> Field {
    let (w, h) = (field.width, field.height);
    let of = |plane: &[f32]| {
        let mut out = plane.to_vec();
        for y in 1..h.saturating_sub(1) {
            for x in 1..w.saturating_sub(1) {
                let i = y * w + x;
                let mut nine = [0.0; 9];
                for (row, three) in nine.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                    three.copy_from_slice(&plane[i + row * w - w - 1..][..3]);
                }
                out[i] = middle(nine);
            }
        }
        out
    };
    Field {
        u: of(&field.u),
        v: of(&field.v),
        ..*field
    }
}

/// The fifth of nine, by the network of Paeth (Graphics Gems, 1990).
fn middle(mut p: [f32; 9]) -> f32 {
    const PAIRS: [(usize, usize); 19] = [
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 1),
        (3, 4),
        (6, 7),
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 3),
        (5, 8),
        (4, 7),
        (3, 6),
        (1, 4),
        (2, 5),
        (4, 7),
        (4, 2),
        (6, 4),
        (4, 2),
    ];
    for (a, b) in PAIRS {
        (p[a], p[b]) = (p[a].min(p[b]), p[a].max(p[b]));
    }
    p[4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_nine() {
        let mut state = 1u32;
        for _ in 0..500 {
            let nine: [f32; 9] = std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 28) as f32
            });
            let mut sorted = nine;
            sorted.sort_by(f32::total_cmp);
            assert_eq!(middle(nine), sorted[4], "{nine:?}");
        }
    }
}
