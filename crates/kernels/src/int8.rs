//! Products in whole numbers: activations quantised as they come, all with one scale, weights in signed bytes.
//!
//! This is what ONNX calls
//! [DynamicQuantizeLinear](https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html) and
//! [MatMulInteger](https://onnx.ai/onnx/operators/onnx__MatMulInteger.html). Sums are exact, so results are the same
//! bits with every instruction set and number of threads.
#![allow(unsafe_code)] // tasks write disjoint parts of one slice; loads through pointers

use std::ops::Range;

use crate::pool::{self, SharedMut};
use crate::rowwise::{rows, same_len};
use crate::simd::simd_fn;
use crate::{Isa, KernelError, isa};

/// So many products of bytes fit into 32 bits, whatever they are.
const MAX_COLS: usize = (i32::MAX / (255 * 128)) as usize;
/// Outputs that are computed side by side.
const PANEL: usize = 16;
/// Inputs that lie side by side for one output.
const GROUP: usize = 4;
/// Rows of activations that are multiplied at a time.
const TILE: usize = 6;

/// A matrix of signed bytes with `rows` outputs and `cols` inputs.
#[derive(Debug)]
pub struct Int8Matrix {
    rows: usize,
    cols: usize,
    /// Panels of 16 outputs; in each, groups of 4 inputs, output by output.
    data: Vec<i8>,
    /// The sum of each output's weights.
    sums: Vec<i32>,
    /// What each output is multiplied by.
    scales: Vec<f32>,
}

/// Activations in bytes: `x = scale · (byte − zero)`.
struct Quantized {
    bytes: Vec<u8>,
    scale: f32,
    zero: i32,
}

impl Int8Matrix {
    /// Packs `values` (row after row) for this machine. `scales` holds one number, or one of each output.
    ///
    /// # Errors
    /// [`KernelError::Length`] where a slice has another length than the shape asks for, [`KernelError::Overflow`] for
    /// so many inputs that their sum may not fit.
    pub fn pack(
        rows: usize,
        cols: usize,
        values: &[i8],
        scales: &[f32],
    ) -> Result<Self, KernelError> {
        let length = |what, expected, got| KernelError::Length {
            what,
            expected,
            got,
        };
        let expected = rows.saturating_mul(cols);
        if values.len() != expected {
            return Err(length("an int8 matrix", expected, values.len()));
        }
        if scales.len() != 1 && scales.len() != rows {
            return Err(length("the scales of an int8 matrix", rows, scales.len()));
        }
        if cols > MAX_COLS {
            return Err(KernelError::Overflow {
                what: "the sums of an int8 matrix",
            });
        }
        let (groups, panels) = (cols.div_ceil(GROUP), rows.div_ceil(PANEL));
        let mut data = vec![0; panels * groups * PANEL * GROUP];
        for (r, row) in values.chunks_exact(cols.max(1)).enumerate() {
            let panel = r / PANEL * groups * PANEL * GROUP;
            for (c, &value) in row.iter().enumerate() {
                data[panel + (c / GROUP * PANEL + r % PANEL) * GROUP + c % GROUP] = value;
            }
        }
        let sum = |row: &[i8]| row.iter().map(|&v| i32::from(v)).sum();
        Ok(Self {
            rows,
            cols,
            data,
            sums: values.chunks_exact(cols.max(1)).map(sum).collect(),
            scales: match scales {
                &[one] => vec![one; rows],
                each => each.to_vec(),
            },
        })
    }

    /// Number of outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.data.len() + 4 * (self.sums.len() + self.scales.len())
    }

    /// The weights of output `row` as floats, to `out`.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        let panel = row / PANEL * self.groups() * PANEL * GROUP;
        for (c, out) in out.iter_mut().enumerate().take(self.cols) {
            let at = panel + (c / GROUP * PANEL + row % PANEL) * GROUP + c % GROUP;
            *out = f32::from(self.data[at]) * self.scales[row];
        }
    }

    fn groups(&self) -> usize {
        self.cols.div_ceil(GROUP)
    }

    /// `out = quantised(x) Wᵀ + bias`, the activations `x` `[n, cols]` quantised over all rows together.
    ///
    /// # Panics
    /// When `x` is not whole rows or `out` or `bias` has another length.
    pub fn matmul(&self, x: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        let n = rows("x", x.len(), self.cols);
        same_len("out", out.len(), n * self.rows);
        if let Some(bias) = bias {
            same_len("bias", bias.len(), self.rows);
        }
        if n == 0 {
            return;
        }
        let isa = isa();
        let x = quantized(isa, x, self.cols);
        let panels = self.rows.div_ceil(PANEL);
        // Four panels at a time, as many as registers hold; tiles of rows within.
        let (split, tiles) = (panels.div_ceil(4), n.div_ceil(TILE));
        let strips = pool::split(tiles, 8.max(TILE));
        let out = SharedMut::new(out);
        pool::parallel_for(split * strips.len(), |task| {
            let strip = strips.range(task / split);
            let first = task % split * 4;
            for panel in first..(first + 4).min(panels) {
                for tile in strip.clone() {
                    let rows = tile * TILE..((tile + 1) * TILE).min(n);
                    let mut sums = [[0i32; PANEL]; TILE];
                    self.tile(isa, &x.bytes, rows.clone(), panel, &mut sums);
                    for (row, sums) in rows.zip(&sums) {
                        let outs = panel * PANEL..((panel + 1) * PANEL).min(self.rows);
                        let at = row * self.rows;
                        // SAFETY: each panel of a row is written by one task.
                        let out = unsafe { out.slice(at + outs.start..at + outs.end) };
                        self.finish(&x, outs, sums, bias, out);
                    }
                }
            }
        });
    }

    /// Sums of products of a tile of rows with a panel of outputs.
    fn tile(
        &self,
        isa: Isa,
        bytes: &[u8],
        rows: Range<usize>,
        panel: usize,
        sums: &mut [[i32; PANEL]; TILE],
    ) {
        let width = self.groups() * GROUP;
        let weights = &self.data[panel * width * PANEL..(panel + 1) * width * PANEL];
        let x = &bytes[rows.start * width..rows.end * width];
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Avx512 {
            // SAFETY: this set reaches a kernel only where the processor has VNNI.
            return unsafe {
                match rows.len() {
                    6 => vnni::<6>(x, weights, width, sums),
                    5 => vnni::<5>(x, weights, width, sums),
                    4 => vnni::<4>(x, weights, width, sums),
                    3 => vnni::<3>(x, weights, width, sums),
                    2 => vnni::<2>(x, weights, width, sums),
                    _ => vnni::<1>(x, weights, width, sums),
                }
            };
        }
        plain(isa, x, weights, width, sums);
    }

    /// Sums to floats.
    fn finish(
        &self,
        x: &Quantized,
        outs: Range<usize>,
        sums: &[i32; PANEL],
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) {
        for ((out, o), &sum) in out.iter_mut().zip(outs).zip(sums) {
            let scaled = (sum - x.zero * self.sums[o]) as f32 * (x.scale * self.scales[o]);
            *out = scaled + bias.map_or(0.0, |bias| bias[o]);
        }
    }
}

simd_fn! {
    /// The plain form, which the compiler vectorises for each instruction set.
    fn plain(s, x: &[u8], weights: &[i8], width: usize, sums: &mut [[i32; PANEL]; TILE]) {
        for (x, sums) in x.chunks_exact(width.max(1)).zip(sums.iter_mut()) {
            let groups = x.as_chunks::<GROUP>().0.iter();
            for (x, w) in groups.zip(weights.as_chunks::<{ PANEL * GROUP }>().0) {
                let x = x.map(i32::from);
                for (o, sum) in sums.iter_mut().enumerate() {
                    let w = &w[o * GROUP..(o + 1) * GROUP];
                    *sum += x[0] * i32::from(w[0])
                        + x[1] * i32::from(w[1])
                        + x[2] * i32::from(w[2])
                        + x[3] * i32::from(w[3]);
                }
            }
        }
    }
}

/// # Safety
/// The processor has AVX-512 F and VNNI; `x` holds `R` rows of `width` bytes, `weights` a panel.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn vnni<const R: usize>(
    x: &[u8],
    weights: &[i8],
    width: usize,
    sums: &mut [[i32; PANEL]; TILE],
) {
    use std::arch::x86_64::{
        _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512,
        _mm512_storeu_si512,
    };
    debug_assert!(x.len() >= R * width && weights.len() >= width * PANEL);
    // Two chains each, so that the multiplier need not wait for its own result.
    let mut acc = [[_mm512_setzero_si512(); 2]; R];
    let groups = width / GROUP;
    for g in 0..groups {
        // SAFETY: within the panel.
        let w = unsafe { _mm512_loadu_si512(weights.as_ptr().add(g * PANEL * GROUP).cast()) };
        for (r, acc) in acc.iter_mut().enumerate() {
            // SAFETY: within row `r`.
            let four = unsafe {
                x.as_ptr()
                    .add(r * width + g * GROUP)
                    .cast::<i32>()
                    .read_unaligned()
            };
            let acc = &mut acc[g % 2];
            *acc = _mm512_dpbusd_epi32(*acc, _mm512_set1_epi32(four), w);
        }
    }
    for (acc, sums) in acc.iter().zip(sums.iter_mut()) {
        let sum = std::arch::x86_64::_mm512_add_epi32(acc[0], acc[1]);
        // SAFETY: sixteen numbers.
        unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), sum) };
    }
}

/// All of `x` with one scale, rows padded to whole groups.
fn quantized(isa: Isa, x: &[f32], cols: usize) -> Quantized {
    let (low, high) = bounds(isa, x);
    let scale = if low == high {
        1.0
    } else {
        (high - low) / 255.0
    };
    let zero = (-low / scale).clamp(0.0, 255.0).round_ties_even();
    let width = cols.div_ceil(GROUP) * GROUP;
    let mut bytes = vec![0u8; x.len() / cols.max(1) * width];
    for (row, bytes) in x
        .chunks_exact(cols.max(1))
        .zip(bytes.chunks_exact_mut(width))
    {
        to_bytes(isa, row, scale, zero, bytes);
    }
    Quantized {
        bytes,
        scale,
        zero: zero as i32,
    }
}

simd_fn! {
    /// Smallest and largest number, 0 among them.
    fn bounds(s, x: &[f32]) -> (f32, f32) {
        let (mut low, mut high) = (s.splat(0.0), s.splat(0.0));
        let mut chunks = x.chunks_exact(S::LANES);
        for chunk in &mut chunks {
            let v = s.load(chunk);
            low = s.min(v, low);
            high = s.max(v, high);
        }
        let ((a, b), (c, d)) = (s.split(low), s.split(high));
        let smaller = |m: f32, &v: &f32| if v < m { v } else { m };
        let larger = |m: f32, &v: &f32| if v > m { v } else { m };
        let rest = chunks.remainder();
        (
            a.iter().chain(&b).chain(rest).fold(0.0, smaller),
            c.iter().chain(&d).chain(rest).fold(0.0, larger),
        )
    }
}

simd_fn! {
    fn to_bytes(s, x: &[f32], scale: f32, zero: f32, bytes: &mut [u8]) {
        for (&x, byte) in x.iter().zip(bytes) {
            *byte = ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, each_isa};

    /// In whole numbers, one product after the other.
    fn reference(x: &[f32], w: &[i8], scale: f32, bias: &[f32], cols: usize) -> Vec<f32> {
        let low = x.iter().fold(0.0f32, |m, &v| m.min(v));
        let high = x.iter().fold(0.0f32, |m, &v| m.max(v));
        let step = (high - low) / 255.0;
        let zero = (-low / step).round_ties_even() as i32;
        let byte = |v: f32| ((v / step).round_ties_even() as i32 + zero).clamp(0, 255) - zero;
        let mut out = Vec::new();
        for x in x.chunks(cols) {
            for (w, bias) in w.chunks(cols).zip(bias) {
                let sum: i32 = x.iter().zip(w).map(|(&x, &w)| byte(x) * i32::from(w)).sum();
                out.push(sum as f32 * (step * scale) + bias);
            }
        }
        out
    }

    #[test]
    fn every_instruction_set_gives_the_reference() {
        let mut random = Random::new(1);
        for (n, rows, cols) in [(1, 1, 1), (7, 33, 130), (13, 64, 256), (6, 3005, 64)] {
            let w: Vec<i8> = (0..rows * cols)
                .map(|_| (random.below(255) as i32 - 127) as i8)
                .collect();
            let (x, bias) = (random.normal(n * cols, 2.0), random.normal(rows, 1.0));
            let want = reference(&x, &w, 0.01, &bias, cols);
            let matrix = Int8Matrix::pack(rows, cols, &w, &[0.01]).unwrap();
            each_isa(|| {
                let mut out = vec![0.0; n * rows];
                matrix.matmul(&x, Some(&bias), &mut out);
                assert_eq!(out, want, "{n} x {rows} x {cols}");
            });
            let mut row = vec![0.0; cols];
            matrix.row(rows - 1, &mut row);
            assert_eq!(row[0], f32::from(w[(rows - 1) * cols]) * 0.01);
        }
    }

    #[test]
    fn nothing_but_zeros_and_no_rows_are_fine() {
        let matrix = Int8Matrix::pack(2, 3, &[1, 2, 3, 4, 5, 6], &[1.0, 2.0]).unwrap();
        let mut out = vec![9.0; 2];
        matrix.matmul(&[0.0; 3], None, &mut out);
        assert_eq!(out, [0.0, 0.0]);
        matrix.matmul(&[], None, &mut []);
        assert!(Int8Matrix::pack(2, 3, &[1, 2], &[1.0]).is_err());
        assert!(Int8Matrix::pack(1, 1, &[1], &[]).is_err());
    }
}
