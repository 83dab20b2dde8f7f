//! Copies of the operands in the order in which the register block reads them.

use std::cell::RefCell;
use std::ops::Range;

use half::bf16;

use super::Matrix;
use super::kernel::{Form, prefetch};
#[cfg(target_arch = "x86_64")]
use super::native;
use crate::Isa;
use crate::simd::{MOST_LANES, Simd, simd_fn};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
}

/// A number that dense products read and write: f32 or bf16.
pub trait Element: Copy + Send + Sync + sealed::Sealed + 'static {
    #[doc(hidden)]
    const ZERO: Self;
    #[doc(hidden)]
    fn as_f32(p: *mut Self) -> Option<*mut f32>;
    #[doc(hidden)]
    fn as_bf16(data: &[Self]) -> Option<&[bf16]>;
    #[doc(hidden)]
    fn as_f32s(data: &[Self]) -> Option<&[f32]>;
    /// # Safety
    /// A vector of elements is there.
    #[doc(hidden)]
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V;
    /// # Safety
    /// There is room for a vector of elements.
    #[doc(hidden)]
    unsafe fn store<S: Simd>(s: S, p: *mut Self, v: S::V);
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    fn as_f32(p: *mut Self) -> Option<*mut f32> {
        Some(p)
    }
    fn as_bf16(_: &[Self]) -> Option<&[bf16]> {
        None
    }
    fn as_f32s(data: &[Self]) -> Option<&[f32]> {
        Some(data)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V {
        // SAFETY: handed on.
        unsafe { s.load_ptr(p) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut Self, v: S::V) {
        // SAFETY: handed on.
        unsafe { s.store_ptr(p, v) }
    }
}

impl Element for bf16 {
    const ZERO: Self = bf16::ZERO;
    fn as_f32(_: *mut Self) -> Option<*mut f32> {
        None
    }
    fn as_bf16(data: &[Self]) -> Option<&[bf16]> {
        Some(data)
    }
    fn as_f32s(_: &[Self]) -> Option<&[f32]> {
        None
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V {
        // SAFETY: handed on; bf16 is a transparent u16.
        unsafe { s.load_bf16(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut Self, v: S::V) {
        // SAFETY: handed on; bf16 is a transparent u16.
        unsafe { s.store_bf16(p.cast(), v) }
    }
}

/// Up to a vector of elements; the others are 0.
#[inline(always)]
pub(super) fn load_part<S: Simd, T: Element>(s: S, x: &[T]) -> S::V {
    if x.len() >= S::LANES {
        // SAFETY: a whole vector by the check.
        return unsafe { T::load(s, x.as_ptr()) };
    }
    let mut lanes = [T::ZERO; MOST_LANES];
    lanes[..x.len()].copy_from_slice(x);
    // SAFETY: an array of a vector at least.
    unsafe { T::load(s, lanes.as_ptr()) }
}

/// As many lanes as there is room for.
#[inline(always)]
pub(super) fn store_part<S: Simd, T: Element>(s: S, out: &mut [T], v: S::V) {
    if out.len() >= S::LANES {
        // SAFETY: room for a whole vector by the check.
        return unsafe { T::store(s, out.as_mut_ptr(), v) };
    }
    let mut lanes = [T::ZERO; MOST_LANES];
    // SAFETY: an array of a vector at least.
    unsafe { T::store(s, lanes.as_mut_ptr(), v) };
    let n = out.len();
    out.copy_from_slice(&lanes[..n]);
}

/// Length of a panel of A: vectors are stored every `form.rows` elements, the last of them over
/// the end.
pub(super) fn a_panel_len(form: Form, depth: usize) -> usize {
    depth * form.rows + MOST_LANES
}

/// Fills panels of A (depth × rows of the form) with rows `rows` and columns `depth`.
pub(super) fn a_panels<T: Element>(
    isa: Isa,
    form: Form,
    rounded: bool,
    a: Matrix<'_, T>,
    rows: Range<usize>,
    depth: Range<usize>,
    panels: (&mut [f32], usize),
) {
    fill(
        isa,
        (form, form.rows, rounded),
        a,
        !a.transposed,
        rows,
        depth,
        panels,
    );
}

/// Fills panels of B (depth × columns of the form) with columns `cols` and rows `depth`.
pub(super) fn b_panels<T: Element>(
    isa: Isa,
    form: Form,
    rounded: bool,
    b: Matrix<'_, T>,
    cols: Range<usize>,
    depth: Range<usize>,
    panels: (&mut [f32], usize),
) {
    fill(
        isa,
        (form, form.cols, rounded),
        b,
        b.transposed,
        cols,
        depth,
        panels,
    );
}

/// Fills panels that are `width` wide and `size` long. `along` says that the matrix's rows run
/// along their depth. Elements of a panel behind the matrix's rows or columns may hold anything:
/// their sums are dropped. `rounded` says that f32 numbers become bf16 on the way.
fn fill<T: Element>(
    isa: Isa,
    (form, width, rounded): (Form, usize, bool),
    x: Matrix<'_, T>,
    along: bool,
    across: Range<usize>,
    depth: Range<usize>,
    (panels, size): (&mut [f32], usize),
) {
    let stride = if x.transposed { x.rows } else { x.cols };
    if let (true, Some(data)) = (rounded, T::as_f32s(x.data)) {
        let to = Panels {
            panels,
            size,
            width,
        };
        return fill_rounded(isa, form, (data, stride), along, (across, depth), to);
    }
    let pairs = T::as_bf16(x.data).filter(|_| form.pairs);
    if !along {
        let to = Panels {
            panels,
            size,
            width,
        };
        match pairs {
            None => copied(isa, x.data, stride, across, depth, to),
            Some(x) => paired(isa, x, stride, across, depth, to),
        }
        return;
    }
    for (first, panel) in across.clone().step_by(width).zip(panels.chunks_mut(size)) {
        let across = first..(first + width).min(across.end);
        let depth = depth.clone();
        match pairs {
            None => crossed(
                isa,
                Numbers::<1>,
                x.data,
                stride,
                across,
                depth,
                panel,
                width,
            ),
            Some(x) => crossed(isa, Numbers::<2>, x, stride, across, depth, panel, width),
        }
    }
}

thread_local! {
    /// Memory of a thread for the rounded rows of a panel.
    static ROUNDED: RefCell<Vec<bf16>> = RefCell::default();
}

/// [`fill`] of f32 numbers that are rounded to bf16.
fn fill_rounded(
    isa: Isa,
    form: Form,
    (data, stride): (&[f32], usize),
    along: bool,
    (across, depth): (Range<usize>, Range<usize>),
    to: Panels<'_>,
) {
    #[cfg(target_arch = "x86_64")]
    if form.pairs {
        // SAFETY: pairs are chosen where the processor has AVX-512 with BF16 only.
        return unsafe { native::fill(data, stride, along, across, depth, to) };
    }
    debug_assert!(!form.pairs);
    let Panels {
        panels,
        size,
        width,
    } = to;
    ROUNDED.with_borrow_mut(|rows| {
        if along {
            // A panel's rows are rounded, then transposed out of the nearest cache.
            let len = depth.len();
            rows.resize(rows.len().max(width * len), bf16::ZERO);
            let firsts = across.clone().step_by(width);
            for (first, panel) in firsts.zip(panels.chunks_mut(size)) {
                let height = width.min(across.end - first);
                for (r, row) in rows.chunks_exact_mut(len).take(height).enumerate() {
                    round_row(isa, &data[(first + r) * stride..][depth.clone()], row);
                }
                let rows = &rows[..height * len];
                crossed(
                    isa,
                    Numbers::<1>,
                    rows,
                    len,
                    0..height,
                    0..len,
                    panel,
                    width,
                );
            }
            return;
        }
        let len = across.len();
        rows.resize(rows.len().max(ROUND_ROWS * len), bf16::ZERO);
        for (part, from) in depth.clone().step_by(ROUND_ROWS).enumerate() {
            let count = ROUND_ROWS.min(depth.end - from);
            for (r, row) in rows.chunks_exact_mut(len).take(count).enumerate() {
                round_row(isa, &data[(from + r) * stride..][across.clone()], row);
            }
            let rows = &rows[..count * len];
            let done = part * ROUND_ROWS * width;
            let to = Panels {
                panels: &mut panels[done..],
                size,
                width,
            };
            copied(isa, rows, len, 0..len, 0..count, to);
        }
    });
}

/// Rows that are rounded before they are copied into panels.
const ROUND_ROWS: usize = 32;

simd_fn! {
    fn round_row(s, from: &[f32], to: &mut [bf16]) {
        for (from, to) in from.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
            let v = s.load_part(from, 0.0);
            store_part(s, to, v);
        }
    }
}

/// Rows that are asked for ahead of their use.
pub(super) const AHEAD: usize = 8;

/// Panels one behind the other.
pub(super) struct Panels<'a> {
    pub(super) panels: &'a mut [f32],
    pub(super) size: usize,
    pub(super) width: usize,
}

simd_fn! {
    /// Panels out of a matrix whose rows run along their width: the columns `across` of the rows
    /// `depth`, row by row, so that each is read in one go.
    fn copied[T: Element](
        s, data: &[T], stride: usize, across: Range<usize>, depth: Range<usize>, to: Panels<'_>,
    ) {
        for (i, k) in depth.enumerate() {
            let row = &data[k * stride..][..stride];
            for at in across.clone().step_by(64 / size_of::<T>()) {
                // The processor does not guess strides beyond a page.
                prefetch(row.as_ptr().wrapping_add(AHEAD * stride + at));
            }
            let firsts = across.clone().step_by(to.width);
            for (first, panel) in firsts.zip(to.panels.chunks_mut(to.size)) {
                let (row, panel) = (&row[first..], &mut panel[i * to.width..]);
                for v in (0..to.width).step_by(S::LANES) {
                    let lanes = load_part(s, row.get(v..).unwrap_or(&[]));
                    s.store(&mut panel[v..], lanes);
                }
            }
        }
    }
}

simd_fn! {
    /// Panels of pairs out of a matrix whose rows run along their width: two rows become one, the
    /// last with zeros where it is alone.
    fn paired(
        s, data: &[bf16], stride: usize, across: Range<usize>, depth: Range<usize>,
        to: Panels<'_>,
    ) {
        const NONE: [bf16; MOST_COLS] = [bf16::ZERO; MOST_COLS];
        for (i, k) in depth.clone().step_by(2).enumerate() {
            let firsts = across.clone().step_by(to.width);
            for at in across.clone().step_by(32) {
                prefetch(data.as_ptr().wrapping_add((k + AHEAD) * stride + at));
                prefetch(data.as_ptr().wrapping_add((k + AHEAD + 1) * stride + at));
            }
            for (first, panel) in firsts.zip(to.panels.chunks_mut(to.size)) {
                let width = to.width.min(across.end - first);
                let row = &data[k * stride + first..][..width];
                let next = if k + 1 < depth.end {
                    &data[(k + 1) * stride + first..][..width]
                } else {
                    &NONE[..width]
                };
                let panel = &mut panel[i * to.width..][..width];
                for ((pair, low), high) in panel.iter_mut().zip(row).zip(next) {
                    let bits = u32::from(low.to_bits()) | u32::from(high.to_bits()) << 16;
                    *pair = f32::from_bits(bits);
                }
            }
        }
    }
}

/// Columns of the widest panel.
const MOST_COLS: usize = 2 * MOST_LANES;

/// How many numbers of the matrix are an element of the panel.
struct Numbers<const N: usize>;

/// A vector of elements, or of pairs of elements where `N` is 2.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn load_each<S: Simd, T: Element, const N: usize>(s: S, from: *const T) -> S::V {
    // SAFETY: by the caller; two bf16 have the size of an f32, which is only moved.
    unsafe {
        if N == 2 {
            s.load_ptr(from.cast())
        } else {
            T::load(s, from)
        }
    }
}

simd_fn! {
    /// A panel out of a matrix whose rows run along the panel's depth: rows `across` are
    /// transposed as many at a time as a vector has lanes, every `every` elements. An element of
    /// the panel is `N` of the matrix.
    fn crossed[T: Element, const N: usize](
        s, _numbers: Numbers<N>, data: &[T], stride: usize, across: Range<usize>,
        depth: Range<usize>, panel: &mut [f32], every: usize,
    ) {
        let count = depth.len();
        for first in across.clone().step_by(S::LANES) {
            let height = S::LANES.min(across.end - first);
            let panel = &mut panel[first - across.start..];
            let rows = &data[first * stride + depth.start..];
            assert!(count > 0 && rows.len() >= (height - 1) * stride + count, "whole rows");
            assert!(panel.len() >= (count.div_ceil(N) - 1) * every + S::LANES, "a whole panel");
            let mut done = 0;
            while done + N * S::LANES <= count {
                // SAFETY: rows and panel are long enough by the assertions.
                unsafe {
                    let from = rows.as_ptr().add(done);
                    let to = panel.as_mut_ptr().add(done / N * every);
                    s.transpose(
                        |r| load_each::<S, T, N>(s, from.add(r.min(height - 1) * stride)),
                        |i, lanes| s.store_ptr(to.add(i * every), lanes),
                    );
                }
                done += N * S::LANES;
            }
            if done < count {
                let row = |r: usize| {
                    let row = &rows[r.min(height - 1) * stride..][done..count];
                    let mut lanes = [T::ZERO; MOST_COLS];
                    lanes[..row.len()].copy_from_slice(row);
                    // SAFETY: an array of twice a vector.
                    unsafe { load_each::<S, T, N>(s, lanes.as_ptr()) }
                };
                s.transpose(row, |i, lanes| {
                    if done + i * N < count {
                        s.store(&mut panel[(done / N + i) * every..], lanes);
                    }
                });
            }
        }
    }
}

simd_fn! {
    /// Rounds a row of sums into (or adds it to) the output.
    pub(super) fn round[T: Element](s, sums: &[f32], out: &mut [T], accumulate: bool) {
        for (sums, out) in sums.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
            let mut v = s.load_part(sums, 0.0);
            if accumulate {
                v = s.add(v, load_part(s, out));
            }
            store_part(s, out, v);
        }
    }
}
