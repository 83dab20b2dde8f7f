//! Products of panels with rows of activations.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::super::activations::XBlock;
use super::super::ahead::Next;
use super::super::layout::{Fields, Layout, ROWS};
use super::super::output::OutPart;
use super::dot::Dot;
use super::quants::Quants;

/// At most so many rows of activations meet the packed form itself.
const FEW: usize = 8;
/// Blocks of 32 in a tile: two panels of tiles stay in the first-level cache.
const TILE: usize = 16;
/// Rows of activations that share a register-blocked step.
const STEP: usize = 6;
/// Rows of activations that go through all panels together, so that their columns of one tile stay
/// in the second-level cache: 192 kB.
const BATCH: usize = 32 * STEP;
/// How far ahead of a few rows' products a matrix is fetched, in bytes: so far that memory has answered when the product
/// gets there.
const AHEAD: usize = 8192;

/// 32 columns of a panel, a byte for each quant.
#[repr(C, align(64))]
struct Tile<D: Dot> {
    quants: [__m512i; 8],
    scales: D::Scales,
}

/// `out[t][r] = x[t] · w[r]` for the rows of `out`.
///
/// # Safety
/// The processor has `Isa::Avx512`; `layout` is that of `data` and of the type of `Q`; `x` has the
/// blocks of `out.n()` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn run<Q: Quants>(
    layout: &Layout,
    data: &[u8],
    x: &[XBlock],
    next: Next,
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
        data: data.as_ptr(),
    };
    // SAFETY: by this function's contract.
    unsafe {
        if out.n() <= FEW {
            let range = out.panels(ROWS);
            // The panels behind these may be another thread's: what this one reads next is fetched instead.
            let ahead = Ahead {
                end: data.as_ptr().addr() + range.end * layout.panel_bytes,
                next,
            };
            for panel in range {
                panels.few::<Q>(panel, x, ahead, out);
            }
        } else {
            panels.many::<Q>(x, out);
        }
    }
}

#[inline(always)]
unsafe fn to_array(v: __m512) -> [f32; ROWS] {
    let mut out = [0.0; ROWS];
    // SAFETY: by the caller; sixteen floats.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) };
    out
}

/// Columns `4 g ..` of sixteen rows meet those of a row of activations.
#[inline(always)]
unsafe fn multiply(sum: __m512i, w: __m512i, x: *const XBlock, g: usize) -> __m512i {
    // SAFETY: a valid block by the caller.
    unsafe { _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(x.cast::<i32>().add(g).read())) }
}

/// What is fetched while a matrix is read.
#[derive(Clone, Copy)]
struct Ahead {
    /// The address where this thread's panels end.
    end: usize,
    /// What it reads then.
    next: Next,
}

impl Ahead {
    /// What is wanted `AHEAD` bytes after the bytes at `words`.
    #[inline(always)]
    fn of(self, words: *const u8) -> Option<*const u8> {
        let at = words.wrapping_add(AHEAD);
        if at.addr() < self.end {
            return Some(at);
        }
        self.next.at(at.addr() - self.end)
    }
}

#[derive(Clone, Copy)]
struct Panels<'a> {
    layout: &'a Layout,
    /// Bytes of a block of a panel, and those before its scales.
    block: usize,
    scales_at: usize,
    data: *const u8,
}

impl Panels<'_> {
    /// The words and scales of block 0 of a panel.
    #[inline(always)]
    unsafe fn panel(&self, panel: usize) -> (*const u8, *const u8) {
        // SAFETY: the panel exists, by the caller.
        unsafe {
            let words = self.data.add(panel * self.layout.panel_bytes);
            (words, words.add(self.scales_at))
        }
    }

    /// A few rows of activations, straight from a panel.
    #[inline(always)]
    unsafe fn few<Q: Quants>(
        &self,
        panel: usize,
        x: &[XBlock],
        ahead: Ahead,
        out: &mut OutPart<'_>,
    ) {
        let n = out.n();
        let mut t = 0;
        // SAFETY: the panel and the rows exist, by the caller.
        unsafe {
            while t + 4 <= n {
                self.direct::<Q, 4>(panel, t, x, ahead, out);
                t += 4;
            }
            if t + 2 <= n {
                self.direct::<Q, 2>(panel, t, x, ahead, out);
                t += 2;
            }
            if t < n {
                self.direct::<Q, 1>(panel, t, x, ahead, out);
            }
        }
    }

    /// `T` rows of activations, straight from a panel.
    #[inline(always)]
    unsafe fn direct<Q: Quants, const T: usize>(
        &self,
        panel: usize,
        t: usize,
        x: &[XBlock],
        ahead: Ahead,
        out: &mut OutPart<'_>,
    ) {
        let stride = self.layout.cols / 32;
        // SAFETY: the panel and the rows of activations exist, by the caller.
        unsafe {
            let (mut words, mut scales) = self.panel(panel);
            let mut x: [*const XBlock; T] =
                std::array::from_fn(|i| x.as_ptr().add((t + i) * stride));
            let mut acc = [_mm512_setzero_ps(); T];
            for _ in 0..self.layout.blocks {
                let head = Q::head(words, scales);
                // The first rows that meet a panel bring it; the others find it in a cache.
                let fetched = if t == 0 { ahead.of(words) } else { None };
                macro_rules! sub {
                    ($j:literal) => {
                        if let Some(at) = fetched {
                            self.fetch(at, $j, Q::SUBS);
                        }
                        block::<Q, T, $j>(words, &head, &x, &mut acc);
                    };
                }
                sub!(0);
                if Q::SUBS == 8 {
                    sub!(1);
                    sub!(2);
                    sub!(3);
                    sub!(4);
                    sub!(5);
                    sub!(6);
                    sub!(7);
                }
                words = words.add(self.block);
                scales = scales.add(self.block);
                x = x.map(|x| x.add(Q::SUBS));
            }
            for (i, &acc) in acc.iter().enumerate() {
                out.set(t + i, panel * ROWS, to_array(acc));
            }
        }
    }

    /// Asks for part `part` of `parts` of the block at `at`.
    #[inline(always)]
    fn fetch(&self, at: *const u8, part: usize, parts: usize) {
        let all = self.block.div_ceil(64);
        let lines = all.div_ceil(parts);
        for line in part * lines..all.min((part + 1) * lines) {
            // SAFETY: prefetching reads nothing. Into the second level: the first is too small.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(line * 64).cast()) };
        }
    }

    /// Many rows of activations, by tiles of two panels.
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
                let range = out.panels(ROWS);
                for panel in range.clone().step_by(2) {
                    let count = 2.min(range.end - panel);
                    // SAFETY: the panels exist; the tiles have room for `TILE` blocks and are
                    // written before they are read; `x` has all blocks of all rows.
                    unsafe {
                        for (p, tile) in tiles.iter().enumerate().take(count) {
                            self.unpack::<Q>(panel + p, first, len, *tile);
                        }
                        let step = Step {
                            tiles: tiles.map(|t| t.cast_const()),
                            len,
                            x: x.as_ptr().add(first),
                            stride: blocks,
                            panel,
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

    /// Blocks of 32 `first ..` of a panel. `first` and `len` are whole blocks of the type.
    #[inline(always)]
    unsafe fn unpack<Q: Quants>(
        &self,
        panel: usize,
        first: usize,
        len: usize,
        mut tile: *mut Tile<Q::Dot>,
    ) {
        // SAFETY: by the caller.
        unsafe {
            let (words, scales) = self.panel(panel);
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
        (*tile).quants = Q::quants::<J>(words);
        (*tile).scales = Q::scales::<J>(head);
    }
}

/// Adds the `J`th 32 columns of a block for `T` rows of activations.
#[inline(always)]
unsafe fn block<Q: Quants, const T: usize, const J: usize>(
    words: *const u8,
    head: &Q::Head,
    x: &[*const XBlock; T],
    acc: &mut [__m512; T],
) {
    // SAFETY: valid pointers by the caller.
    unsafe {
        let scales = Q::scales::<J>(head);
        let w = Q::quants::<J>(words);
        for (acc, x) in acc.iter_mut().zip(x) {
            let x = x.add(J);
            if Q::Dot::PARTS == 1 {
                let mut sum = Q::Dot::start::<0>(x);
                for (g, &w) in w.iter().enumerate() {
                    sum = multiply(sum, w, x, g);
                }
                *acc = Q::Dot::finish::<0>(sum, &scales, x, *acc);
            } else {
                let (mut a, mut b) = (Q::Dot::start::<0>(x), Q::Dot::start::<1>(x));
                for g in 0..4 {
                    a = multiply(a, w[g], x, g);
                    b = multiply(b, w[4 + g], x, 4 + g);
                }
                *acc = Q::Dot::finish::<0>(a, &scales, x, *acc);
                *acc = Q::Dot::finish::<1>(b, &scales, x, *acc);
            }
        }
    }
}

/// Tiles of some panels, and where the activations of their columns start.
struct Step<D: Dot> {
    tiles: [*const Tile<D>; 2],
    len: usize,
    x: *const XBlock,
    /// Blocks from one row of activations to the next.
    stride: usize,
    panel: usize,
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
                4 => self.step::<P, 4>(t, out),
                5 => self.step::<P, 5>(t, out),
                _ => {}
            }
        }
    }

    /// `P` panels meet rows `t .. t + T`.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn step<const P: usize, const T: usize>(&self, t: usize, out: &mut OutPart<'_>) {
        // SAFETY: valid pointers by the caller.
        unsafe {
            let mut acc = [[_mm512_setzero_ps(); T]; P];
            if self.chained {
                for (p, acc) in acc.iter_mut().enumerate() {
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let lanes: [f32; ROWS] = out.get(t + i, (self.panel + p) * ROWS);
                        *acc = _mm512_loadu_ps(lanes.as_ptr());
                    }
                }
            }
            let x: [*const XBlock; T] = std::array::from_fn(|i| self.x.add((t + i) * self.stride));
            for b in 0..self.len {
                let tiles: [&Tile<D>; P] = std::array::from_fn(|p| &*self.tiles[p].add(b));
                let x: [*const XBlock; T] = std::array::from_fn(|i| x[i].add(b));
                self.part::<P, T, 0>(&tiles, &x, &mut acc);
                if D::PARTS == 2 {
                    self.part::<P, T, 1>(&tiles, &x, &mut acc);
                }
            }
            for (p, acc) in acc.iter().enumerate() {
                for (i, &acc) in acc.iter().enumerate() {
                    out.set(t + i, (self.panel + p) * ROWS, to_array(acc));
                }
            }
        }
    }

    /// All of 32 columns, or one half of them.
    #[inline(always)]
    unsafe fn part<const P: usize, const T: usize, const PART: usize>(
        &self,
        tiles: &[&Tile<D>; P],
        x: &[*const XBlock; T],
        acc: &mut [[__m512; T]; P],
    ) {
        let groups = 8 / D::PARTS;
        // SAFETY: valid pointers by the caller.
        unsafe {
            let start: [__m512i; T] = std::array::from_fn(|i| D::start::<PART>(x[i]));
            let mut sums = [start; P];
            for g in PART * groups..(PART + 1) * groups {
                for i in 0..T {
                    for p in 0..P {
                        sums[p][i] = multiply(sums[p][i], tiles[p].quants[g], x[i], g);
                    }
                }
            }
            for i in 0..T {
                for p in 0..P {
                    let scales = &tiles[p].scales;
                    acc[p][i] = D::finish::<PART>(sums[p][i], scales, x[i], acc[p][i]);
                }
            }
        }
    }
}
