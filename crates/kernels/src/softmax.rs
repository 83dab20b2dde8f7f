//! Softmax over the last dimension.
#![allow(unsafe_code)] // tasks write disjoint rows of one slice

use crate::isa;
use crate::pool::SharedMut;
use crate::rowwise::{for_ranges, rows};
use crate::simd::{LANES, Simd, math, simd_fn};

/// Replaces each row of `width` elements by its softmax, taken about the row's largest element.
///
/// # Panics
/// When `x` is not whole rows.
pub fn softmax(x: &mut [f32], width: usize) {
    let n = rows("x", x.len(), width);
    let (isa, x) = (isa(), SharedMut::new(x));
    for_ranges(n, width, |range| {
        for r in range {
            // SAFETY: each row is written by one task.
            softmax_row(isa, unsafe { x.slice(r * width..(r + 1) * width) });
        }
    });
}

/// The largest element of a row.
#[inline(always)]
pub(crate) fn row_max<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut largest = s.splat(f32::NEG_INFINITY);
    for part in x.chunks(LANES) {
        largest = s.max(largest, s.load_part(part, f32::NEG_INFINITY));
    }
    s.hmax(largest)
}

simd_fn! {
    fn softmax_row(s, x: &mut [f32]) {
        let largest = s.splat(row_max(s, x));
        let mut sum = s.zero();
        for part in x.chunks_mut(LANES) {
            let e = math::exp(s, s.sub(s.load_part(part, f32::NEG_INFINITY), largest));
            sum = s.add(sum, e);
            s.store_part(part, e);
        }
        let scale = s.splat(1.0 / s.sum(sum));
        for part in x.chunks_mut(LANES) {
            let p = s.mul(s.load_part(part, 0.0), scale);
            s.store_part(part, p);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa};

    #[test]
    fn matches_double_precision() {
        let mut random = Random::new(1);
        for width in [1, 3, 8, 17, 49_152] {
            for scale in [0.0, 1e-30, 1.0, 30.0, 1e30] {
                let mut x = random.normal(2 * width, scale);
                if width > 3 {
                    x[2] = f32::NEG_INFINITY;
                }
                let want: Vec<f64> = x
                    .chunks(width)
                    .flat_map(|row| {
                        let m = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                        let e: Vec<f64> = row
                            .iter()
                            .map(|&x| (f64::from(x) - f64::from(m)).exp())
                            .collect();
                        let sum: f64 = e.iter().sum();
                        e.into_iter().map(move |e| e / sum).collect::<Vec<_>>()
                    })
                    .collect();
                each_isa(|| {
                    let mut got = x.clone();
                    softmax(&mut got, width);
                    // Beside 1e30 every distance is rounded to a multiple of 1e22.
                    assert_close(&got, &want, 1e-5, 1e-7);
                });
            }
        }
    }
}
