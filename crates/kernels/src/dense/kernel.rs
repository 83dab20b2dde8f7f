//! The register block: 6 rows by 16 columns in AVX2's sixteen registers, 14 by 32 in the thirty-two
//! of AVX-512.

use std::ops::Range;

use crate::Isa;
use crate::simd::{Simd, simd_fn};

/// How panels are laid out for an instruction set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Rows of a panel of A.
    pub(super) rows: usize,
    /// Columns of a panel of B.
    pub(super) cols: usize,
    /// Whether an element of a panel is two bf16 numbers that are next to each other in depth.
    pub(super) pairs: bool,
    /// Elements of a panel in one chain of sums.
    pub(super) depth: usize,
}

impl Form {
    /// The form for this instruction set, and for operands that are bf16 or not.
    pub(super) fn new(isa: Isa, bf16: bool) -> Self {
        Self {
            rows: rows(isa == Isa::Avx512),
            cols: if isa == Isa::Avx512 { 32 } else { 16 },
            pairs: bf16 && has_pairs(isa),
            depth: if isa == Isa::Avx512 { 384 } else { 256 },
        }
    }

    /// Numbers in an element of a panel.
    pub(super) fn numbers(&self) -> usize {
        if self.pairs { 2 } else { 1 }
    }
}

const fn rows(wide: bool) -> usize {
    if wide { 14 } else { 6 }
}

/// Whether sums of products of pairs of bf16 are an instruction.
pub(super) fn has_pairs(isa: Isa) -> bool {
    #[cfg(target_arch = "x86_64")]
    return isa == Isa::Avx512 && std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The panels of a block: of A `depth` × `rows` each, of B `depth` × `cols`.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    pub(super) a: *const f32,
    /// Elements from one panel of A to the next.
    pub(super) a_size: usize,
    pub(super) b: *const f32,
    pub(super) b_size: usize,
    pub(super) depth: usize,
}

// SAFETY: read only, by tasks that end before the panels do.
unsafe impl Sync for Packed {}

/// The block of the output.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) data: *mut f32,
    pub(super) stride: usize,
}

// SAFETY: tasks write disjoint tiles.
unsafe impl Sync for Out {}

/// What happens to elements of two panels that meet.
trait Product<S: Simd>: Copy {
    fn add(self, s: S, a: S::V, b: S::V, sum: S::V) -> S::V;
}

/// Each element is a number.
#[derive(Clone, Copy)]
struct Single;

impl<S: Simd> Product<S> for Single {
    #[inline(always)]
    fn add(self, s: S, a: S::V, b: S::V, sum: S::V) -> S::V {
        s.fma(a, b, sum)
    }
}

/// Each element is a pair of bf16; proof that the processor has AVX-512 BF16.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Pair(());

#[cfg(target_arch = "x86_64")]
impl Product<crate::simd::Avx512> for Pair {
    #[inline(always)]
    fn add(
        self,
        _: crate::simd::Avx512,
        a: std::arch::x86_64::__m512,
        b: std::arch::x86_64::__m512,
        sum: std::arch::x86_64::__m512,
    ) -> std::arch::x86_64::__m512 {
        // SAFETY: `self` proves that the processor has the instruction; the types are registers.
        unsafe {
            std::arch::x86_64::_mm512_dpbf16_ps(
                sum,
                std::mem::transmute::<std::arch::x86_64::__m512, std::arch::x86_64::__m512bh>(a),
                std::mem::transmute::<std::arch::x86_64::__m512, std::arch::x86_64::__m512bh>(b),
            )
        }
    }
}

/// Asks for a cache line.
#[inline(always)]
pub(super) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which no address makes fail.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The sums of one register block: the first `R` rows and `N` vectors of columns of its panels.
///
/// # Safety
/// `a` and `b` point to panels of `depth`.
#[inline(always)]
unsafe fn sums<S: Simd, P: Product<S>, const R: usize, const N: usize>(
    s: S,
    product: P,
    mut a: *const f32,
    mut b: *const f32,
    depth: usize,
) -> [[S::V; N]; R] {
    let mut acc = [[s.zero(); N]; R];
    for _ in 0..depth {
        // SAFETY: inside of the panels by the caller; one step behind their ends at the last.
        unsafe {
            let columns: [S::V; N] = std::array::from_fn(|v| s.load_ptr(b.add(v * S::LANES)));
            for (r, acc) in acc.iter_mut().enumerate() {
                let row = s.splat(*a.add(r));
                for (acc, &column) in acc.iter_mut().zip(&columns) {
                    *acc = product.add(s, row, column, *acc);
                }
            }
            a = a.add(rows(S::LANES == 16));
            b = b.add(2 * S::LANES);
        }
    }
    acc
}

/// A register block of which `height` (at most `R`) rows and `width` columns are wanted.
///
/// # Safety
/// As [`sums`]; nobody else touches these rows and columns of the output.
#[inline(always)]
unsafe fn block<S: Simd, P: Product<S>, const R: usize, const N: usize>(
    s: S,
    product: P,
    (a, b, depth): (*const f32, *const f32, usize),
    out: Out,
    (height, width): (usize, usize),
    fresh: bool,
) {
    for i in 0..height {
        for at in (0..width).step_by(16) {
            // The output is not near while the sums are made.
            prefetch(out.data.wrapping_add(i * out.stride + at).cast_const());
        }
    }
    // SAFETY: panels that the caller vouches for.
    let acc = unsafe { sums::<S, P, R, N>(s, product, a, b, depth) };
    if width == N * S::LANES {
        for (i, acc) in acc.iter().enumerate() {
            if i >= height {
                return;
            }
            for (j, &acc) in acc.iter().enumerate() {
                // SAFETY: whole vectors of a row that there is.
                unsafe {
                    let at = out.data.add(i * out.stride + j * S::LANES);
                    let sum = if fresh {
                        acc
                    } else {
                        s.add(s.load_ptr(at), acc)
                    };
                    s.store_ptr(at, sum);
                }
            }
        }
        return;
    }
    for (i, acc) in acc.iter().enumerate() {
        if i >= height {
            return;
        }
        // SAFETY: `width` elements of a row that there is.
        let row = unsafe { std::slice::from_raw_parts_mut(out.data.add(i * out.stride), width) };
        for (part, &acc) in row.chunks_mut(S::LANES).zip(acc) {
            let sum = if fresh {
                acc
            } else {
                s.add(s.load_part(part, 0.0), acc)
            };
            s.store_part(part, sum);
        }
    }
}

/// Adds the products of a tile to the output, or writes them where `fresh` is set.
///
/// # Safety
/// The panels hold `rows` and `cols`, whose starts are multiples of those of a panel; nobody else
/// touches that part of the output.
#[inline(always)]
unsafe fn blocks<S: Simd, P: Product<S>>(
    s: S,
    product: P,
    p: Packed,
    out: Out,
    (rows, cols): (Range<usize>, Range<usize>),
    fresh: bool,
) {
    let (panel_rows, panel_cols) = (self::rows(S::LANES == 16), 2 * S::LANES);
    // A panel of A stays in the L1 cache while those of B come from the L2 cache.
    for r in rows.clone().step_by(panel_rows) {
        let height = (rows.end - r).min(panel_rows);
        for c in cols.clone().step_by(panel_cols) {
            let width = (cols.end - c).min(panel_cols);
            macro_rules! take {
                ($rows:literal) => {
                    // SAFETY: panels that the caller vouches for, its part of the output.
                    unsafe {
                        let a = p.a.add(r / panel_rows * p.a_size);
                        let b = p.b.add(c / panel_cols * p.b_size);
                        let (out, size) = (
                            Out {
                                data: out.data.add(r * out.stride + c),
                                ..out
                            },
                            (height, width),
                        );
                        let panels = (a, b, p.depth);
                        if width > S::LANES {
                            block::<S, P, $rows, 2>(s, product, panels, out, size, fresh);
                        } else {
                            block::<S, P, $rows, 1>(s, product, panels, out, size, fresh);
                        }
                    }
                };
            }
            match height {
                1 => take!(1),
                2 => take!(2),
                3..5 => take!(4),
                _ if S::LANES == 8 => take!(6),
                5..7 => take!(6),
                7..9 => take!(8),
                9..11 => take!(10),
                11..13 => take!(12),
                _ => take!(14),
            }
        }
    }
}

simd_fn! {
    /// [`blocks`] of numbers.
    ///
    /// # Safety
    /// As [`blocks`].
    unsafe fn single(s, p: Packed, out: Out, tile: (Range<usize>, Range<usize>), fresh: bool) {
        // SAFETY: handed on.
        unsafe { blocks(s, Single, p, out, tile, fresh) }
    }
}

/// [`blocks`] of pairs.
///
/// # Safety
/// As [`blocks`]; the processor has AVX-512 with BF16.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn pairs(p: Packed, out: Out, tile: (Range<usize>, Range<usize>), fresh: bool) {
    // SAFETY: compiled for these sets; the rest is handed on.
    unsafe {
        let s = crate::simd::Avx512::new();
        blocks(s, Pair(()), p, out, tile, fresh);
    }
}

/// Adds the products of a tile to the output, or writes them where `fresh` is set.
///
/// # Safety
/// The panels are of `form` and hold the rows and columns of `tile`, whose starts are multiples
/// of those of a panel; nobody else touches that part of the output.
pub(super) unsafe fn tile(
    isa: Isa,
    form: Form,
    p: Packed,
    out: Out,
    tile: (Range<usize>, Range<usize>),
    fresh: bool,
) {
    #[cfg(target_arch = "x86_64")]
    if form.pairs {
        // SAFETY: pairs are chosen by [`has_pairs`] only; the rest is handed on.
        return unsafe { pairs(p, out, tile, fresh) };
    }
    debug_assert!(!form.pairs);
    // SAFETY: handed on.
    unsafe { single(isa, p, out, tile, fresh) }
}
