//! Products in whole numbers: activations quantised as they come, all with one scale, weights in signed bytes.
//!
//! This is what ONNX calls
//! [DynamicQuantizeLinear](https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html) and
//! [MatMulInteger](https://onnx.ai/onnx/operators/onnx__MatMulInteger.html). Sums are exact, so results are the same
//! bits with every instruction set and number of threads.
#![allow(unsafe_code)] // tasks write disjoint parts of one slice; loads through pointers

use std::ops::Range;

use crate::activation::apply;
use crate::onnx::{Bounds, joined};
use crate::pool::{self, SharedMut};
use crate::rowwise::{rows, same_len};
#[cfg(target_arch = "x86_64")]
use crate::simd::Avx512;
use crate::simd::{Simd, simd_fn};
use crate::{Activation, Isa, KernelError, isa};

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

/// Activations in bytes, all with one scale: `x = scale · (byte − zero)`.
#[derive(Debug)]
pub struct Bytes {
    rows: usize,
    cols: usize,
    /// Rows padded to whole groups.
    bytes: Vec<u8>,
    scale: f32,
    zero: i32,
}

/// What happens to the outputs of a product before they are stored.
#[derive(Clone, Copy, Debug)]
pub enum Then<'a> {
    /// Nothing.
    Store,
    /// The activation of the same name.
    Gelu,
    /// They are multiplied by `gain`, one number of each output, and added to `to`.
    Add {
        /// As long as the output.
        to: &'a [f32],
        /// None for ones.
        gain: Option<&'a [f32]>,
    },
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
        let bytes = Bytes::quantize(x, self.cols, None);
        self.product(&bytes, bias, Then::Store, out);
    }

    /// The same of activations that are quantised already, with what comes `then`. Gives the bounds of the result.
    ///
    /// # Panics
    /// When rows of `x` or another slice have another length.
    pub fn product(
        &self,
        x: &Bytes,
        bias: Option<&[f32]>,
        then: Then<'_>,
        out: &mut [f32],
    ) -> Bounds {
        let n = x.rows;
        assert!(x.cols == self.cols, "{} columns for {}", x.cols, self.cols);
        same_len("out", out.len(), n * self.rows);
        if let Some(bias) = bias {
            same_len("bias", bias.len(), self.rows);
        }
        if let Then::Add { to, gain } = then {
            same_len("what is added to", to.len(), out.len());
            same_len("gain", gain.map_or(self.rows, <[f32]>::len), self.rows);
        }
        if n == 0 {
            return [0.0; 2];
        }
        let isa = isa();
        let panels = self.rows.div_ceil(PANEL);
        // Four panels at a time, as many as registers hold; tiles of rows within.
        let (split, tiles) = (panels.div_ceil(4), n.div_ceil(TILE));
        let strips = pool::split(tiles, 8.max(TILE));
        let mut bounds = vec![[0.0; 2]; split * strips.len()];
        let (out, each) = (SharedMut::new(out), SharedMut::new(&mut bounds));
        pool::parallel_for(split * strips.len(), |task| {
            let strip = strips.range(task / split);
            let first = task % split * 4;
            let mut all = [0.0f32; 2];
            let last = (first + 4).min(panels);
            for panel in (first..last).step_by(2) {
                // Two at a time: each group of inputs is read once for both.
                let pair = panel..(panel + 2).min(last);
                let finishes = pair.clone().map(|p| Finish::new(self, x, p, bias, then));
                let finishes: Vec<Finish<'_>> = finishes.collect();
                for tile in strip.clone() {
                    let rows = tile * TILE..((tile + 1) * TILE).min(n);
                    let bounds = self.tile(isa, &x.bytes, rows, &finishes, pair.clone(), &out);
                    all = joined(&[all, bounds]);
                }
            }
            // SAFETY: each task has its own element.
            unsafe { each.slice(task..task + 1)[0] = all };
        });
        joined(&bounds)
    }

    /// A tile of rows with one panel of outputs, or with two; the bounds of what is stored.
    fn tile(
        &self,
        isa: Isa,
        bytes: &[u8],
        rows: Range<usize>,
        finishes: &[Finish<'_>],
        panels: Range<usize>,
        out: &SharedMut<'_, f32>,
    ) -> Bounds {
        let width = self.groups() * GROUP;
        let weights = &self.data[panels.start * width * PANEL..panels.end * width * PANEL];
        let x = &bytes[rows.start * width..rows.end * width];
        let ends = Ends {
            finishes,
            first: rows.start,
            stride: self.rows,
            out,
        };
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Avx512 {
            // SAFETY: this set reaches a kernel only where the processor has VNNI; there are as many rows and panels.
            return unsafe {
                match (panels.len(), rows.len()) {
                    (2, 6) => vnni::<2, 6>(x, weights, width, &ends),
                    (2, 5) => vnni::<2, 5>(x, weights, width, &ends),
                    (2, 4) => vnni::<2, 4>(x, weights, width, &ends),
                    (2, 3) => vnni::<2, 3>(x, weights, width, &ends),
                    (2, 2) => vnni::<2, 2>(x, weights, width, &ends),
                    (2, _) => vnni::<2, 1>(x, weights, width, &ends),
                    (_, 6) => vnni::<1, 6>(x, weights, width, &ends),
                    (_, 5) => vnni::<1, 5>(x, weights, width, &ends),
                    (_, 4) => vnni::<1, 4>(x, weights, width, &ends),
                    (_, 3) => vnni::<1, 3>(x, weights, width, &ends),
                    (_, 2) => vnni::<1, 2>(x, weights, width, &ends),
                    _ => vnni::<1, 1>(x, weights, width, &ends),
                }
            };
        }
        let mut all = [0.0f32; 2];
        for (i, weights) in weights.chunks_exact((width * PANEL).max(1)).enumerate() {
            let mut sums = [[0i32; PANEL]; TILE];
            plain(isa, x, weights, width, &mut sums);
            for (r, sums) in sums.iter().enumerate().take(rows.len()) {
                all = joined(&[all, finished(isa, &ends, i, r, sums)]);
            }
        }
        all
    }
}

/// Where the sums of a tile go.
struct Ends<'a> {
    /// Of each panel.
    finishes: &'a [Finish<'a>],
    /// The first row.
    first: usize,
    /// Outputs of a row.
    stride: usize,
    /// All rows, of which a task writes its panels.
    out: &'a SharedMut<'a, f32>,
}

/// How the sums of a panel become floats.
struct Finish<'a> {
    outs: Range<usize>,
    /// What the zero point of the activations adds to each sum.
    shifts: [i32; PANEL],
    scales: [f32; PANEL],
    bias: [f32; PANEL],
    gains: [f32; PANEL],
    then: Then<'a>,
}

impl<'a> Finish<'a> {
    fn new(of: &Int8Matrix, x: &Bytes, panel: usize, bias: Option<&[f32]>, then: Then<'a>) -> Self {
        let outs = panel * PANEL..((panel + 1) * PANEL).min(of.rows);
        let mut finish = Self {
            shifts: [0; PANEL],
            scales: [0.0; PANEL],
            bias: [0.0; PANEL],
            gains: [1.0; PANEL],
            then,
            outs: outs.clone(),
        };
        for (i, o) in outs.enumerate() {
            finish.shifts[i] = x.zero * of.sums[o];
            finish.scales[i] = x.scale * of.scales[o];
            finish.bias[i] = bias.map_or(0.0, |bias| bias[o]);
            if let Then::Add {
                gain: Some(gain), ..
            } = then
            {
                finish.gains[i] = gain[o];
            }
        }
        finish
    }
}

/// What is done with a vector of outputs of row `r`, panel `panel`, from lane `at` on, before it is stored.
#[inline(always)]
fn store<S: Simd>(s: S, ends: &Ends<'_>, [panel, r]: [usize; 2], at: usize, mut v: S::V) -> S::V {
    let by = &ends.finishes[panel];
    let start = (ends.first + r) * ends.stride + by.outs.start + at;
    let span = start..start + S::LANES.min(by.outs.len().saturating_sub(at));
    match by.then {
        Then::Store => {}
        Then::Gelu => v = apply(s, Activation::Gelu, v),
        Then::Add { to, .. } => {
            let scaled = s.mul(v, s.load(&by.gains[at..]));
            v = s.add(s.load_part(&to[span.clone()], 0.0), scaled);
        }
    }
    // SAFETY: each panel of a row is written by one task.
    s.store_part(unsafe { ends.out.slice(span) }, v);
    v
}

simd_fn! {
    /// Sums to floats, a row of a panel; their bounds.
    fn finished(s, ends: &Ends<'_>, panel: usize, r: usize, sums: &[i32; PANEL]) -> Bounds {
        let by = &ends.finishes[panel];
        let mut y = [0.0f32; PANEL];
        for (i, y) in y.iter_mut().enumerate() {
            *y = (sums[i] - by.shifts[i]) as f32 * by.scales[i] + by.bias[i];
        }
        let (mut low, mut high) = (s.zero(), s.zero());
        for at in (0..by.outs.len()).step_by(S::LANES) {
            let v = store(s, ends, [panel, r], at, s.load(&y[at..]));
            low = s.min(low, v);
            high = s.max(high, v);
        }
        [-s.hmax(s.sub(s.zero(), low)), s.hmax(high)]
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

/// The bounds of what is stored.
///
/// # Safety
/// The processor has AVX-512 F and VNNI; `x` holds `R` rows of `width` bytes, `weights` `P` panels.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn vnni<const P: usize, const R: usize>(
    x: &[u8],
    weights: &[i8],
    width: usize,
    ends: &Ends<'_>,
) -> Bounds {
    use std::arch::x86_64::{
        _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32,
        _mm512_setzero_si512, _mm512_sub_epi32,
    };
    debug_assert!(x.len() >= R * width && weights.len() >= P * width * PANEL);
    let mut acc = [[_mm512_setzero_si512(); P]; R];
    let groups = width / GROUP;
    for g in 0..groups {
        let mut w = [_mm512_setzero_si512(); P];
        for (p, w) in w.iter_mut().enumerate() {
            // SAFETY: within panel `p`.
            *w = unsafe {
                _mm512_loadu_si512(
                    weights
                        .as_ptr()
                        .add((p * groups + g) * PANEL * GROUP)
                        .cast(),
                )
            };
        }
        for (r, acc) in acc.iter_mut().enumerate() {
            // SAFETY: within row `r`.
            let four = unsafe {
                x.as_ptr()
                    .add(r * width + g * GROUP)
                    .cast::<i32>()
                    .read_unaligned()
            };
            let four = _mm512_set1_epi32(four);
            for (acc, &w) in acc.iter_mut().zip(&w) {
                *acc = _mm512_dpbusd_epi32(*acc, four, w);
            }
        }
    }
    // SAFETY: this function is compiled for, and so only called with, AVX-512.
    let s = unsafe { Avx512::new() };
    let (mut low, mut high) = (s.zero(), s.zero());
    for (p, by) in ends.finishes.iter().enumerate().take(P) {
        let (scale, bias) = (s.load(&by.scales), s.load(&by.bias));
        // SAFETY: sixteen numbers.
        let shift = unsafe { _mm512_loadu_si512(by.shifts.as_ptr().cast()) };
        for (r, acc) in acc.iter().enumerate() {
            let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(acc[p], shift));
            let v = store(s, ends, [p, r], 0, s.add(s.mul(sum, scale), bias));
            low = s.min(low, v);
            high = s.max(high, v);
        }
    }
    [-s.hmax(s.sub(s.zero(), low)), s.hmax(high)]
}

impl Bytes {
    /// All of `x`, rows of `cols`, with one scale. Its bounds are looked for where they are not known.
    ///
    /// # Panics
    /// When `x` is not whole rows.
    pub fn quantize(x: &[f32], cols: usize, known: Option<Bounds>) -> Self {
        let (isa, n) = (isa(), rows("x", x.len(), cols));
        let [low, high] = known.unwrap_or_else(|| {
            let parts = pool::split(x.len(), 1 << 12);
            let mut each = vec![[0.0; 2]; parts.len()];
            pool::parallel_chunks(&mut each, 1, |i, each| {
                each[0] = bounds(isa, &x[parts.range(i)])
            });
            joined(&each)
        });
        let scale = if low == high {
            1.0
        } else {
            (high - low) / 255.0
        };
        let zero = (-low / scale).clamp(0.0, 255.0).round_ties_even();
        let width = cols.div_ceil(GROUP) * GROUP;
        let mut bytes = vec![0u8; n * width];
        let some = ((1 << 14) / width.max(1)).max(1);
        pool::parallel_chunks(&mut bytes, (some * width).max(1), |i, bytes| {
            let x = x[i * some * cols..].chunks_exact(cols.max(1));
            for (x, bytes) in x.zip(bytes.chunks_exact_mut(width)) {
                to_bytes(isa, x, scale, zero, bytes);
            }
        });
        Self {
            rows: n,
            cols,
            bytes,
            scale,
            zero: zero as i32,
        }
    }
}

simd_fn! {
    /// Smallest and largest number, 0 among them.
    fn bounds(s, x: &[f32]) -> Bounds {
        let (mut low, mut high) = (s.zero(), s.zero());
        for part in x.chunks(S::LANES) {
            let v = s.load_part(part, 0.0);
            low = s.min(v, low);
            high = s.max(v, high);
        }
        [-s.hmax(s.sub(s.zero(), low)), s.hmax(high)]
    }
}

fn to_bytes(isa: Isa, x: &[f32], scale: f32, zero: f32, bytes: &mut [u8]) {
    let whole = x.len() / PANEL * PANEL;
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 {
        // SAFETY: this set reaches a kernel only where the processor has it.
        unsafe { sixteen_bytes(&x[..whole], scale, zero, &mut bytes[..whole]) };
        return to_bytes_plain(isa, &x[whole..], scale, zero, &mut bytes[whole..]);
    }
    let _ = whole;
    to_bytes_plain(isa, x, scale, zero, bytes);
}

simd_fn! {
    fn to_bytes_plain(s, x: &[f32], scale: f32, zero: f32, bytes: &mut [u8]) {
        for (&x, byte) in x.iter().zip(bytes) {
            *byte = ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) as u8;
        }
    }
}

/// # Safety
/// The processor has AVX-512 F; `bytes` is as long as `x`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn sixteen_bytes(x: &[f32], scale: f32, zero: f32, bytes: &mut [u8]) {
    use std::arch::x86_64::{
        _mm_storeu_si128, _mm512_add_epi32, _mm512_cvtps_epi32, _mm512_cvtusepi32_epi8,
        _mm512_div_ps, _mm512_loadu_ps, _mm512_max_epi32, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_setzero_si512,
    };
    let (scale, zero) = (_mm512_set1_ps(scale), _mm512_set1_epi32(zero as i32));
    for (x, bytes) in x.chunks_exact(16).zip(bytes.chunks_exact_mut(16)) {
        // SAFETY: sixteen numbers and as many bytes.
        unsafe {
            let whole = _mm512_cvtps_epi32(_mm512_div_ps(_mm512_loadu_ps(x.as_ptr()), scale));
            let moved = _mm512_max_epi32(_mm512_add_epi32(whole, zero), _mm512_setzero_si512());
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtusepi32_epi8(moved));
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
            let (to, gain) = (random.normal(n * rows, 1.0), random.normal(rows, 1.0));
            let then = Then::Add {
                to: &to,
                gain: Some(&gain),
            };
            each_isa(|| {
                let mut out = vec![0.0; n * rows];
                let bytes = Bytes::quantize(&x, cols, None);
                let bounds = matrix.product(&bytes, Some(&bias), then, &mut out);
                for (i, (out, want)) in out.iter().zip(&want).enumerate() {
                    assert_eq!(*out, to[i] + want * gain[i % rows]);
                }
                let widest = |m: Bounds, &v: &f32| [v.min(m[0]), v.max(m[1])];
                assert_eq!(bounds, out.iter().fold([0.0; 2], widest));
                matrix.product(&bytes, Some(&bias), Then::Gelu, &mut out);
                let mut gelu = want.clone();
                crate::activate(Activation::Gelu, &mut gelu);
                assert_eq!(out, gelu);
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
