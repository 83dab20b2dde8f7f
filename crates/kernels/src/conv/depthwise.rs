//! Convolution along a sequence, each channel by itself.
#![allow(unsafe_code)] // tasks write disjoint rows of one slice

use crate::isa;
use crate::pool::SharedMut;
use crate::rowwise::{for_ranges, rows, same_len};
use crate::simd::simd_fn;

/// `x` and `out` are `[n, channels]`, `weight` `[taps, channels]` and `bias` `[channels]`. Row `t` of `out` is
/// `bias + Σ weight[k] · x[t + (k - taps / 2) · dilation]`, where rows beyond the ends are zeros.
///
/// # Panics
/// When `x` is not whole rows of `bias.len()`, `weight` is not, or `out` is not as long as `x`.
pub fn depthwise_conv1d(x: &[f32], weight: &[f32], bias: &[f32], dilation: usize, out: &mut [f32]) {
    let channels = bias.len();
    let n = rows("x", x.len(), channels);
    let taps = rows("weight", weight.len(), channels);
    same_len("out", out.len(), x.len());
    let reach = taps / 2 * dilation;
    let (isa, out) = (isa(), SharedMut::new(out));
    for_ranges(n, channels * taps, |range| {
        for t in range {
            // SAFETY: each row is written by one task.
            let out = unsafe { out.slice(t * channels..(t + 1) * channels) };
            out.copy_from_slice(bias);
            for (k, weight) in weight.chunks_exact(channels.max(1)).enumerate() {
                let Some(from) = (t + k * dilation).checked_sub(reach).filter(|&r| r < n) else {
                    continue;
                };
                add_products(isa, &x[from * channels..(from + 1) * channels], weight, out);
            }
        }
    });
}

simd_fn! {
    fn add_products(s, x: &[f32], weight: &[f32], out: &mut [f32]) {
        for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
            *out += x * w;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, each_isa};

    #[test]
    fn rows_see_their_neighbours_and_zeros_beyond() {
        let mut random = Random::new(3);
        for (n, channels, taps, dilation) in [(1, 3, 5, 1), (9, 19, 7, 1), (9, 19, 7, 4)] {
            let x = random.normal(n * channels, 1.0);
            let weight = random.normal(taps * channels, 1.0);
            let bias = random.normal(channels, 1.0);
            let mut want = Vec::new();
            for t in 0..n {
                for c in 0..channels {
                    let mut sum = f64::from(bias[c]);
                    for k in 0..taps {
                        let at = (t + k * dilation) as isize - (taps / 2 * dilation) as isize;
                        if (0..n as isize).contains(&at) {
                            let value = x[at as usize * channels + c];
                            sum += f64::from(weight[k * channels + c]) * f64::from(value);
                        }
                    }
                    want.push(sum);
                }
            }
            each_isa(|| {
                let mut out = vec![0.0; n * channels];
                depthwise_conv1d(&x, &weight, &bias, dilation, &mut out);
                assert_close(&out, &want, 1e-5, 1e-5);
            });
        }
    }
}
