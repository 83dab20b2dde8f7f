//! Activations in 8 bits: blocks of 32 with one f32 scale each, which is ggml's `Q8_0` with a scale
//! that is not rounded.

use std::cell::Cell;

use crate::Isa;
use crate::pool::{self, SharedMut};

/// Elements that share a scale.
pub(super) const BLOCK: usize = 32;

/// Below this magnitude a block is zero: its inverse scale would overflow.
const TINY: f32 = 1e-35;

/// Rows are handed to threads when there are at least this many elements.
const PARALLEL: usize = 1 << 15;

/// 32 activations `q * d`, in one line of the cache.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct XBlock {
    pub(super) q: [i8; BLOCK],
    pub(super) d: f32,
    /// `d` times the sum of all `q`: what a minimum or an offset of the weights is multiplied by.
    pub(super) sum: f32,
    /// `d` times the sums of `q[..16]` and `q[16..]`.
    pub(super) half_sums: [f32; 2],
    /// Sums of `q[..16]` and `q[16..]`.
    pub(super) halves: [i16; 2],
    /// The sum of all `q` with the other sign, and those of the halves: a sum of products starts
    /// at a multiple of them where the weights have an offset.
    pub(super) minus: i32,
    pub(super) minus_halves: [i32; 2],
}

impl XBlock {
    /// Fills in all but `q` from the scale and the sums of `q[..16]` and `q[16..]`.
    #[inline(always)]
    pub(super) fn finish(&mut self, d: f32, halves: [i32; 2]) {
        let sum = halves[0] + halves[1];
        self.d = d;
        self.sum = d * sum as f32;
        self.half_sums = halves.map(|h| d * h as f32);
        self.halves = halves.map(|h| h as i16);
        self.minus = -sum;
        self.minus_halves = halves.map(|h| -h);
    }
}

thread_local! {
    // One buffer per calling thread, taken while in use, so that a step allocates nothing.
    static SCRATCH: Cell<Vec<XBlock>> = const { Cell::new(Vec::new()) };
}

/// Quantises the rows of `x` (`n` × `cols`, `cols` whole blocks) and passes the blocks, row by row,
/// to `f`.
pub(super) fn with_quantized<R>(
    isa: Isa,
    x: &[f32],
    n: usize,
    cols: usize,
    f: impl FnOnce(&[XBlock]) -> R,
) -> R {
    let per_row = cols / BLOCK;
    let mut blocks = SCRATCH.take();
    blocks.resize(n * per_row, XBlock::default());
    if n * cols < PARALLEL {
        quantize_rows(isa, x, &mut blocks);
    } else {
        let split = pool::split(n, 1);
        let shared = SharedMut::new(&mut blocks);
        pool::parallel_for(split.len(), |i| {
            let rows = split.range(i);
            let x = &x[rows.start * cols..rows.end * cols];
            let range = rows.start * per_row..rows.end * per_row;
            // SAFETY: the ranges of a split do not overlap.
            #[allow(unsafe_code)]
            quantize_rows(isa, x, unsafe { shared.slice(range) });
        });
    }
    let result = f(&blocks);
    SCRATCH.set(blocks);
    result
}

fn quantize_rows(isa: Isa, x: &[f32], out: &mut [XBlock]) {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 {
        return super::avx512::quantize_rows(x, out);
    }
    #[cfg(target_arch = "x86_64")]
    if isa.has_avx2() {
        return super::avx2::quantize_rows(x, out);
    }
    let _ = isa;
    let (chunks, _) = x.as_chunks::<BLOCK>();
    for (x, out) in chunks.iter().zip(out) {
        *out = quantize_block(x);
    }
}

/// The scale and its inverse for a block with this largest magnitude. A NaN goes on into the scale.
#[inline(always)]
pub(super) fn scales_for(largest: f32) -> (f32, f32) {
    if largest < TINY {
        (0.0, 0.0)
    } else {
        (largest / 127.0, 127.0 / largest)
    }
}

/// The scalar reference: rounds to nearest, ties to even.
fn quantize_block(x: &[f32; BLOCK]) -> XBlock {
    // Magnitudes order like their bits, with NaN above infinity.
    let bits = x.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff));
    let (d, inverse) = scales_for(f32::from_bits(bits));
    // Adding 1.5 * 2^23 leaves the rounded integer in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    let q = x.map(|x| {
        ((x * inverse + SHIFT)
            .to_bits()
            .wrapping_sub(SHIFT.to_bits())) as i8
    });
    let half = |q: &[i8]| q.iter().map(|&q| i32::from(q)).sum();
    let halves = [half(&q[..16]), half(&q[16..])];
    let mut block = XBlock {
        q,
        ..XBlock::default()
    };
    block.finish(d, halves);
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn every_form_gives_the_same_blocks() {
        let mut random = Random::new(17);
        let mut x = random.normal(64 * BLOCK, 1.0);
        for (i, x) in x.chunks_exact_mut(BLOCK).enumerate() {
            let scale = [1.0, 0.0, 1e-20, 1e-36, 1e30, -3e-6][i % 6];
            x.iter_mut().for_each(|x| *x *= scale);
        }
        // Halves between two integers.
        x[..BLOCK].fill(2.5);
        x[0] = 127.0;
        let run = |isa| {
            let mut out = vec![XBlock::default(); 64];
            quantize_rows(isa, &x, &mut out);
            out
        };
        let scalar = run(Isa::Scalar);
        assert_eq!((scalar[0].q[1], scalar[0].minus), (2, -(127 + 31 * 2)));
        for &isa in Isa::ALL.iter().filter(|isa| isa.available()) {
            assert_eq!(run(isa), scalar, "{isa:?}");
        }
    }
}
