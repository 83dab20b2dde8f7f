//! Products of panels with rows of activations.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::super::activations::XBlock;
use super::super::layout::{Fields, HALF, Layout, ROWS};
use super::super::output::OutPart;
use super::dot::{Dot, Sum};
use super::quants::Quants;

/// Blocks of 32 in a tile: two halves' tiles stay in the first-level cache.
const TILE: usize = 32;
/// Rows of activations that share a register-blocked step.
const STEP: usize = 4;
/// Rows of activations that go through all panels together, so that their columns of one tile stay
/// in the second-level cache: 256 kB.
const BATCH: usize = 128;
/// How far ahead of one row's product the panel is fetched, in bytes.
const AHEAD: usize = 2048;

/// Calls a macro or function for 0..8 as constants.
macro_rules! eight {
    (|$i:ident| $body:expr) => {{
        {
            const $i: usize = 0;
            $body
        }
        {
            const $i: usize = 1;
            $body
        }
        {
            const $i: usize = 2;
            $body
        }
        {
            const $i: usize = 3;
            $body
        }
        {
            const $i: usize = 4;
            $body
        }
        {
            const $i: usize = 5;
            $body
        }
        {
            const $i: usize = 6;
            $body
        }
        {
            const $i: usize = 7;
            $body
        }
    }};
}

/// 32 columns of half a panel, a byte for each quant.
#[repr(C, align(32))]
struct Tile<D: Dot> {
    quants: [__m256i; 8],
    scales: D::Scales,
}

/// `out[t][r] = x[t] · w[r]` for the rows of `out`.
///
/// # Safety
/// The processor has AVX2, FMA and F16C; `layout` is that of `data` and of the type of `Q`; `x` has
/// the blocks of `out.n()` rows.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run<Q: Quants>(
    layout: &Layout,
    data: &[u8],
    x: &[XBlock],
    out: &mut OutPart<'_>,
) {
    let Some(fields) = Fields::of(layout.ty) else {
        return;
    };
    assert!(data.len() >= layout.bytes() && x.len() == out.n() * layout.cols / 32);
    let panels = Panels {
        layout,
        block: fields.stride(),
        scales_at: fields.words_stride(),
        half_scales: HALF * fields.scale_bytes,
        data: data.as_ptr(),
    };
    // SAFETY: by this function's contract.
    unsafe {
        if out.n() == 1 {
            for panel in out.panels(ROWS) {
                let sums = panels.one::<Q>(panel, x.as_ptr());
                out.set(0, panel * ROWS, to_array(sums[0]));
                out.set(0, panel * ROWS + HALF, to_array(sums[1]));
            }
        } else {
            panels.many::<Q>(x, out);
        }
    }
}

#[inline(always)]
unsafe fn to_array(v: __m256) -> [f32; HALF] {
    let mut out = [0.0; HALF];
    // SAFETY: AVX2 by the caller; eight floats.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) };
    out
}

#[derive(Clone, Copy)]
struct Panels<'a> {
    layout: &'a Layout,
    /// Bytes of a block of a panel, and those before its scales.
    block: usize,
    scales_at: usize,
    /// Bytes from a scale of row 0 to that of row 8.
    half_scales: usize,
    data: *const u8,
}

impl Panels<'_> {
    /// The words and scales of block 0 of half a panel.
    #[inline(always)]
    unsafe fn half(&self, half: usize) -> (*const u8, *const u8) {
        // SAFETY: the panel exists, by the caller.
        unsafe {
            let panel = self.data.add(half / 2 * self.layout.panel_bytes);
            let scales = panel.add(self.scales_at);
            (
                panel.add(half % 2 * 4 * HALF),
                scales.add(half % 2 * self.half_scales),
            )
        }
    }

    /// One row of activations, straight from the two halves of a panel.
    #[inline(always)]
    unsafe fn one<Q: Quants>(&self, panel: usize, mut x: *const XBlock) -> [__m256; 2] {
        // SAFETY: the panel and its row of activations exist, by the caller; prefetching reads
        // nothing.
        unsafe {
            let (mut words, mut scales) = self.half(2 * panel);
            let mut acc = [_mm256_setzero_ps(); 2];
            for _ in 0..self.layout.blocks {
                let mut line = 0;
                while line < self.block {
                    _mm_prefetch::<_MM_HINT_T0>(words.wrapping_add(AHEAD + line).cast());
                    line += 64;
                }
                for (half, acc) in acc.iter_mut().enumerate() {
                    let words = words.add(half * 4 * HALF);
                    let head = Q::head(words, scales.add(half * self.half_scales));
                    *acc = block::<Q, 0>(words, &head, x, *acc);
                    if Q::SUBS == 8 {
                        *acc = block::<Q, 1>(words, &head, x.add(1), *acc);
                        *acc = block::<Q, 2>(words, &head, x.add(2), *acc);
                        *acc = block::<Q, 3>(words, &head, x.add(3), *acc);
                        *acc = block::<Q, 4>(words, &head, x.add(4), *acc);
                        *acc = block::<Q, 5>(words, &head, x.add(5), *acc);
                        *acc = block::<Q, 6>(words, &head, x.add(6), *acc);
                        *acc = block::<Q, 7>(words, &head, x.add(7), *acc);
                    }
                }
                words = words.add(self.block);
                scales = scales.add(self.block);
                x = x.add(Q::SUBS);
            }
            acc
        }
    }

    /// Several rows of activations, by tiles of the two halves of a panel.
    #[inline(always)]
    unsafe fn many<Q: Quants>(&self, x: &[XBlock], out: &mut OutPart<'_>) {
        let blocks = self.layout.cols / 32;
        let mut tiles: [MaybeUninit<[Tile<Q::Dot>; TILE]>; 2] =
            [MaybeUninit::uninit(), MaybeUninit::uninit()];
        let tiles =
            [tiles[0].as_mut_ptr(), tiles[1].as_mut_ptr()].map(|t| t.cast::<Tile<Q::Dot>>());
        for start in (0..out.n()).step_by(BATCH) {
            let end = out.n().min(start + BATCH);
            for first in (0..blocks).step_by(TILE) {
                let len = TILE.min(blocks - first);
                let range = out.panels(HALF);
                for half in range.clone().step_by(2) {
                    let count = 2.min(range.end - half);
                    // SAFETY: the halves exist; the tiles have room for `TILE` blocks and are
                    // written before they are read; `x` has all blocks of all rows.
                    unsafe {
                        for (p, tile) in tiles.iter().enumerate().take(count) {
                            self.unpack::<Q>(half + p, first, len, *tile);
                        }
                        let step = Step {
                            tiles: tiles.map(|t| t.cast_const()),
                            len,
                            x: x.as_ptr().add(first),
                            stride: blocks,
                            half,
                            chained: first > 0,
                        };
                        if count == 2 {
                            step.rows::<2>(start..end, out);
                        } else {
                            step.rows::<1>(start..end, out);
                        }
                    }
                }
            }
        }
    }

    /// Blocks of 32 `first ..` of half a panel. `first` and `len` are whole blocks of the type.
    #[inline(always)]
    unsafe fn unpack<Q: Quants>(
        &self,
        half: usize,
        first: usize,
        len: usize,
        mut tile: *mut Tile<Q::Dot>,
    ) {
        // SAFETY: by the caller.
        unsafe {
            let (words, scales) = self.half(half);
            for index in first / Q::SUBS..(first + len) / Q::SUBS {
                let words = words.add(index * self.block);
                let head = Q::head(words, scales.add(index * self.block));
                unpack_block::<Q, 0>(words, &head, tile);
                if Q::SUBS == 8 {
                    unpack_block::<Q, 1>(words, &head, tile.add(1));
                    unpack_block::<Q, 2>(words, &head, tile.add(2));
                    unpack_block::<Q, 3>(words, &head, tile.add(3));
                    unpack_block::<Q, 4>(words, &head, tile.add(4));
                    unpack_block::<Q, 5>(words, &head, tile.add(5));
                    unpack_block::<Q, 6>(words, &head, tile.add(6));
                    unpack_block::<Q, 7>(words, &head, tile.add(7));
                }
                tile = tile.add(Q::SUBS);
            }
        }
    }
}

#[inline(always)]
unsafe fn unpack_block<Q: Quants, const J: usize>(
    words: *const u8,
    head: &Q::Head,
    tile: *mut Tile<Q::Dot>,
) {
    // SAFETY: valid pointers by the caller.
    unsafe {
        eight!(|G| (*tile).quants[G] = Q::quants::<J, G>(words));
        (*tile).scales = Q::scales::<J>(head);
    }
}

/// Adds the `J`th 32 columns of a block.
#[inline(always)]
unsafe fn block<Q: Quants, const J: usize>(
    words: *const u8,
    head: &Q::Head,
    x: *const XBlock,
    acc: __m256,
) -> __m256 {
    // SAFETY: valid pointers by the caller.
    unsafe {
        let scales = Q::scales::<J>(head);
        let mut sum = Q::Dot::zero();
        eight!(|G| {
            let w = Q::Dot::weights(Q::quants::<J, G>(words));
            sum = Q::Dot::step::<G>(sum, w, four::<G>(x), &scales);
        });
        Q::Dot::finish(sum, &scales, x, acc)
    }
}

/// Activations `4 G ..` of a block in every lane.
#[inline(always)]
unsafe fn four<const G: usize>(x: *const XBlock) -> __m256i {
    // SAFETY: a valid block by the caller.
    unsafe { _mm256_set1_epi32(x.cast::<i32>().add(G).read_unaligned()) }
}

/// Tiles of some halves, and where the activations of their columns start.
struct Step<D: Dot> {
    tiles: [*const Tile<D>; 2],
    len: usize,
    x: *const XBlock,
    /// Blocks from one row of activations to the next.
    stride: usize,
    half: usize,
    /// Whether columns before these are already in the output.
    chained: bool,
}

impl<D: Dot> Step<D> {
    #[inline(always)]
    unsafe fn rows<const P: usize>(&self, rows: Range<usize>, out: &mut OutPart<'_>) {
        let mut t = rows.start;
        // SAFETY: the rows exist, by the caller.
        unsafe {
            while t + STEP <= rows.end {
                self.step::<P, STEP>(t, out);
                t += STEP;
            }
            match rows.end - t {
                1 => self.step::<P, 1>(t, out),
                2 => self.step::<P, 2>(t, out),
                3 => self.step::<P, 3>(t, out),
                _ => {}
            }
        }
    }

    /// `P` halves meet rows `t .. t + T`.
    #[inline(always)]
    unsafe fn step<const P: usize, const T: usize>(&self, t: usize, out: &mut OutPart<'_>) {
        // SAFETY: valid pointers by the caller.
        unsafe {
            let mut acc = [[_mm256_setzero_ps(); T]; P];
            if self.chained {
                for (p, acc) in acc.iter_mut().enumerate() {
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let lanes: [f32; HALF] = out.get(t + i, (self.half + p) * HALF);
                        *acc = _mm256_loadu_ps(lanes.as_ptr());
                    }
                }
            }
            let x: [*const XBlock; T] = std::array::from_fn(|i| self.x.add((t + i) * self.stride));
            for b in 0..self.len {
                let mut sums: [[Sum; T]; P] = [[D::zero(); T]; P];
                eight!(|G| {
                    let w: [D::Weights; P] =
                        std::array::from_fn(|p| D::weights((*self.tiles[p].add(b)).quants[G]));
                    for i in 0..T {
                        let x = four::<G>(x[i].add(b));
                        for p in 0..P {
                            let scales = &(*self.tiles[p].add(b)).scales;
                            sums[p][i] = D::step::<G>(sums[p][i], w[p], x, scales);
                        }
                    }
                });
                for i in 0..T {
                    for p in 0..P {
                        let scales = &(*self.tiles[p].add(b)).scales;
                        acc[p][i] = D::finish(sums[p][i], scales, x[i].add(b), acc[p][i]);
                    }
                }
            }
            for (p, acc) in acc.iter().enumerate() {
                for (i, &acc) in acc.iter().enumerate() {
                    out.set(t + i, (self.half + p) * HALF, to_array(acc));
                }
            }
        }
    }
}
