//! Rotary position embedding. Su et al., arXiv:2104.09864.
#![allow(unsafe_code)] // tasks write disjoint rows of one slice

use crate::isa;
use crate::pool::SharedMut;
use crate::rowwise::{for_ranges, rows, same_len};
use crate::simd::simd_fn;

/// Which elements of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RopeStyle {
    /// Element `i` with `i + rot_dim / 2` (GPT-NeoX; transformers' `rotate_half`).
    Neox,
    /// Element `2i` with `2i + 1` (GPT-J; the original llama weights).
    Interleaved,
}

/// Rotates the first `rot_dim` elements of every head of `x` (rows × `heads` × `head_dim`) in
/// place by the angles whose cosines and sines are given (rows × `rot_dim / 2` each). The other
/// elements stay.
///
/// # Panics
/// When `rot_dim` is odd or larger than `head_dim`, or a slice has another length.
#[allow(clippy::too_many_arguments)]
pub fn rope(
    x: &mut [f32],
    heads: usize,
    head_dim: usize,
    rot_dim: usize,
    style: RopeStyle,
    cos: &[f32],
    sin: &[f32],
) {
    rotate(x, heads, head_dim, rot_dim, style, cos, sin, 1.0);
}

/// The backward pass of [`rope`]: rotates gradients in place by the opposite angles.
///
/// # Panics
/// As [`rope`].
#[allow(clippy::too_many_arguments)]
pub fn rope_backward(
    dx: &mut [f32],
    heads: usize,
    head_dim: usize,
    rot_dim: usize,
    style: RopeStyle,
    cos: &[f32],
    sin: &[f32],
) {
    rotate(dx, heads, head_dim, rot_dim, style, cos, sin, -1.0);
}

/// Rotates by `direction` (1 or -1) times the angles.
#[allow(clippy::too_many_arguments)]
fn rotate(
    x: &mut [f32],
    heads: usize,
    head_dim: usize,
    rot_dim: usize,
    style: RopeStyle,
    cos: &[f32],
    sin: &[f32],
    direction: f32,
) {
    assert!(
        rot_dim.is_multiple_of(2) && rot_dim <= head_dim,
        "rot_dim {rot_dim} must be even and at most head_dim {head_dim}"
    );
    let width = heads * head_dim;
    let half = rot_dim / 2;
    let n = rows("x", x.len(), width);
    same_len("cos", cos.len(), n * half);
    same_len("sin", sin.len(), n * half);
    let (isa, x) = (isa(), SharedMut::new(x));
    for_ranges(n, width, |range| {
        for r in range {
            // SAFETY: each row is written by one task.
            let row = unsafe { x.slice(r * width..(r + 1) * width) };
            let angles = r * half..(r + 1) * half;
            let (cos, sin) = (&cos[angles.clone()], &sin[angles]);
            for head in row.chunks_exact_mut(head_dim) {
                match style {
                    RopeStyle::Neox => neox(isa, &mut head[..rot_dim], cos, sin, direction),
                    RopeStyle::Interleaved => {
                        interleaved(&mut head[..rot_dim], cos, sin, direction)
                    }
                }
            }
        }
    });
}

simd_fn! {
    fn neox(s, head: &mut [f32], cos: &[f32], sin: &[f32], direction: f32) {
        let direction = s.splat(direction);
        let (low, high) = head.split_at_mut(cos.len());
        let halves = low.chunks_mut(S::LANES).zip(high.chunks_mut(S::LANES));
        let angles = cos.chunks(S::LANES).zip(sin.chunks(S::LANES));
        for ((low, high), (cos, sin)) in halves.zip(angles) {
            let (a, b) = (s.load_part(low, 0.0), s.load_part(high, 0.0));
            let (cos, sin) = (s.load_part(cos, 0.0), s.mul(s.load_part(sin, 0.0), direction));
            s.store_part(low, s.sub(s.mul(a, cos), s.mul(b, sin)));
            s.store_part(high, s.add(s.mul(b, cos), s.mul(a, sin)));
        }
    }
}

fn interleaved(head: &mut [f32], cos: &[f32], sin: &[f32], direction: f32) {
    for ((pair, cos), sin) in head.chunks_exact_mut(2).zip(cos).zip(sin) {
        let (a, b, sin) = (pair[0], pair[1], sin * direction);
        pair[0] = a * cos - b * sin;
        pair[1] = b * cos + a * sin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa};

    #[test]
    fn rotates_the_right_pairs_by_the_right_angle() {
        let mut random = Random::new(1);
        for (rows, heads, head_dim, rot_dim) in [
            (1, 1, 2, 2),
            (3, 2, 8, 8),
            (2, 3, 20, 14),
            (5, 3, 64, 64),
            (90, 8, 80, 32),
            (1, 2, 6, 0),
        ] {
            let x = random.normal(rows * heads * head_dim, 1.0);
            let half = rot_dim / 2;
            let angles = random.normal(rows * half, 3.0);
            let cos: Vec<f32> = angles.iter().map(|a| a.cos()).collect();
            let sin: Vec<f32> = angles.iter().map(|a| a.sin()).collect();
            for style in [RopeStyle::Neox, RopeStyle::Interleaved] {
                let mut want: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                for (at, head) in want.chunks_exact_mut(head_dim).enumerate() {
                    let old = head.to_vec();
                    for i in 0..half {
                        let angle = f64::from(angles[at / heads * half + i]);
                        let (a, b) = match style {
                            RopeStyle::Neox => (i, i + half),
                            RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                        };
                        head[a] = old[a] * angle.cos() - old[b] * angle.sin();
                        head[b] = old[b] * angle.cos() + old[a] * angle.sin();
                    }
                }
                each_isa(|| {
                    let mut got = x.clone();
                    rope(&mut got, heads, head_dim, rot_dim, style, &cos, &sin);
                    assert_close(&got, &want, 1e-6, 1e-6);
                    rope_backward(&mut got, heads, head_dim, rot_dim, style, &cos, &sin);
                    let back: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                    assert_close(&got, &back, 1e-6, 1e-6);
                });
            }
        }
    }
}
