//! The register block: 6 rows by 16 columns.

use std::ops::Range;

use crate::simd::{LANES, Simd, simd_fn};

/// Rows of a panel of A.
pub(super) const ROWS: usize = 6;
/// Columns of a panel of B.
pub(super) const COLS: usize = 2 * LANES;

/// The panels of a block: of A `depth` × ROWS each, of B `depth` × COLS.
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

/// The sums of one register block.
///
/// # Safety
/// `a` and `b` point to panels of `depth`.
#[inline(always)]
unsafe fn sums<S: Simd>(
    s: S,
    mut a: *const f32,
    mut b: *const f32,
    depth: usize,
) -> [[S::V; 2]; ROWS] {
    let mut acc = [[s.zero(); 2]; ROWS];
    for _ in 0..depth {
        // SAFETY: inside of the panels by the caller; one step behind their ends at the last.
        unsafe {
            let columns = [s.load_ptr(b), s.load_ptr(b.add(LANES))];
            for (r, acc) in acc.iter_mut().enumerate() {
                let row = s.splat(*a.add(r));
                acc[0] = s.fma(row, columns[0], acc[0]);
                acc[1] = s.fma(row, columns[1], acc[1]);
            }
            a = a.add(ROWS);
            b = b.add(COLS);
        }
    }
    acc
}

simd_fn! {
    /// Adds the products of a tile to the output, or writes them where `fresh` is set.
    ///
    /// # Safety
    /// The panels hold `rows` and `cols`, whose starts are multiples of ROWS and COLS; nobody
    /// else touches that part of the output.
    pub(super) unsafe fn tile(
        s, p: Packed, out: Out, rows: Range<usize>, cols: Range<usize>, fresh: bool,
    ) {
        for c in cols.clone().step_by(COLS) {
            for r in rows.clone().step_by(ROWS) {
                // SAFETY: panels that the caller vouches for.
                let acc = unsafe {
                    let (a, b) = (p.a.add(r / ROWS * p.a_size), p.b.add(c / COLS * p.b_size));
                    sums(s, a, b, p.depth)
                };
                let (height, width) = ((rows.end - r).min(ROWS), (cols.end - c).min(COLS));
                // SAFETY: inside of the caller's part of the output.
                let at = unsafe { out.data.add(r * out.stride + c) };
                if height == ROWS && width == COLS {
                    for (i, acc) in acc.iter().enumerate() {
                        for (j, &acc) in acc.iter().enumerate() {
                            // SAFETY: a whole register block.
                            unsafe {
                                let at = at.add(i * out.stride + j * LANES);
                                let sum = if fresh { acc } else { s.add(s.load_ptr(at), acc) };
                                s.store_ptr(at, sum);
                            }
                        }
                    }
                    continue;
                }
                for (i, acc) in acc.iter().enumerate().take(height) {
                    // SAFETY: `width` elements of a row that there is.
                    let row = unsafe {
                        std::slice::from_raw_parts_mut(at.add(i * out.stride), width)
                    };
                    for (part, &acc) in row.chunks_mut(LANES).zip(acc) {
                        let sum = if fresh { acc } else { s.add(s.load_part(part, 0.0), acc) };
                        s.store_part(part, sum);
                    }
                }
            }
        }
    }
}
