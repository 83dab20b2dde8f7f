//! F32, F16 and BF16 matrices: one fused multiply-add chain per output, in column order.
#![allow(unsafe_code)] // one body compiled for each instruction set

use super::layout::{FLOAT_ROWS, Layout};
use super::output::OutPart;
use crate::BlockType;
use crate::simd::{LANES, Simd, simd_fn};

/// Columns that are turned into f32 before the activations meet them.
const TILE: usize = 512;

simd_fn! {
    /// `out[t][r] = x[t] · w[r]` for the rows of `out`.
    pub(super) fn matmul(s, layout: &Layout, data: &[u8], x: &[f32], out: &mut OutPart<'_>) {
        let mut tile = vec![0f32; TILE.min(layout.cols) * FLOAT_ROWS];
        for panel in out.panels(FLOAT_ROWS) {
            let bytes = &data[panel * layout.panel_bytes..][..layout.panel_bytes];
            for first in (0..layout.cols).step_by(TILE) {
                let count = TILE.min(layout.cols - first);
                widen(s, layout.ty, bytes, first, &mut tile[..count * FLOAT_ROWS]);
                for t in 0..out.n() {
                    let x = &x[t * layout.cols + first..][..count];
                    let mut sum = [s.zero(); 2];
                    if first > 0 {
                        sum = [0, 1].map(|h| s.set(out.get(t, panel * FLOAT_ROWS + h * LANES)));
                    }
                    for (w, &x) in tile.chunks_exact(FLOAT_ROWS).zip(x) {
                        let x = s.splat(x);
                        sum[0] = s.fma(s.load(&w[..LANES]), x, sum[0]);
                        sum[1] = s.fma(s.load(&w[LANES..]), x, sum[1]);
                    }
                    for (h, sum) in sum.into_iter().enumerate() {
                        out.set(t, panel * FLOAT_ROWS + h * LANES, s.to_array(sum));
                    }
                }
            }
        }
    }
}

/// Columns `first ..` of a panel as f32.
#[inline(always)]
fn widen<S: Simd>(s: S, ty: BlockType, panel: &[u8], first: usize, tile: &mut [f32]) {
    let size = ty.block_bytes();
    let bytes = &panel[first * FLOAT_ROWS * size..][..tile.len() * size];
    let lanes = tile.chunks_exact_mut(LANES);
    for (from, to) in bytes.chunks_exact(LANES * size).zip(lanes) {
        // SAFETY: eight elements of `size` bytes by the chunking; any alignment.
        #[allow(unsafe_code)]
        let w = unsafe {
            match ty {
                BlockType::F16 => s.load_f16(from.as_ptr().cast()),
                BlockType::BF16 => s.load_bf16(from.as_ptr().cast()),
                _ => s.load_ptr(from.as_ptr().cast()),
            }
        };
        s.store(to, w);
    }
}
