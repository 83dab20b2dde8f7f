//! Products of dense matrices in f32 and bf16, for training and for pictures.
//!
//! Goto's scheme (Goto and van de Geijn, 2008, doi:10.1145/1356052.1356053): both operands are
//! copied into panels and a register block of sums runs over them. Panels hold f32; where both
//! operands are bf16 and the processor has AVX-512 BF16 they hold pairs of bf16, and two products
//! are added at once (denormal numbers count as zero there). Every output is a sum of `Form::depth`
//! elements of a panel at a time, each a single chain in order, and these sums are added in
//! order: the same bits for any number of rows, of columns and of threads.
#![allow(unsafe_code)] // panels are filled and tiles written by several threads

mod kernel;
mod pack;

use std::cell::RefCell;
use std::ops::Range;

use half::bf16;

use crate::pool::{self, SharedMut};
use crate::rowwise::same_len;
use crate::{Isa, isa};

use kernel::Form;
pub use pack::Element;

/// Rows and columns of the output for which panels are held at a time.
const BLOCK_ROWS: usize = 768;
const BLOCK_COLS: usize = 1024;
/// Panels of rows and of columns that a task takes at most: its panels of A stay in the L2 cache.
const TILE_PANELS: usize = 16;
/// Blocks begin at multiples of this, but for the first.
const ALIGN: usize = 32;
/// Below this many products a call stays on its thread.
const SERIAL: usize = 1 << 17;

/// A dense row-major matrix, possibly to be read transposed.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    transposed: bool,
}

impl<'a, T> Matrix<'a, T> {
    /// A matrix of `rows` × `cols`, row after row.
    ///
    /// # Panics
    /// When `data` has another length.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        same_len("a matrix", data.len(), rows * cols);
        Self {
            data,
            rows,
            cols,
            transposed: false,
        }
    }

    /// The transposed matrix; nothing is moved.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            transposed: !self.transposed,
            ..self
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
}

/// `out = a · b` (n×k times k×m), or `out += a · b` where `accumulate` is set. Sums are f32
/// whatever the elements are; a bf16 output is rounded once.
///
/// # Panics
/// When the inner dimensions differ or `out` is not n × m.
pub fn matmul<A: Element, B: Element, C: Element>(
    a: Matrix<'_, A>,
    b: Matrix<'_, B>,
    out: &mut [C],
    accumulate: bool,
) {
    product(isa(), a, b, out, accumulate);
}

/// [`matmul`] with an instruction set, for tasks of other kernels.
pub(crate) fn product<A: Element, B: Element, C: Element>(
    isa: Isa,
    a: Matrix<'_, A>,
    b: Matrix<'_, B>,
    out: &mut [C],
    accumulate: bool,
) {
    assert!(
        a.cols == b.rows,
        "a product of {}x{} and {}x{}",
        a.rows,
        a.cols,
        b.rows,
        b.cols
    );
    let (n, m) = (a.rows, b.cols);
    same_len("out", out.len(), n * m);
    if n == 0 || m == 0 {
        return;
    }
    if a.cols == 0 {
        if !accumulate {
            out.fill(C::ZERO);
        }
        return;
    }
    let out = SharedMut::new(out);
    let bf16 = A::as_bf16(a.data).is_some() && B::as_bf16(b.data).is_some();
    let forms = (isa, Form::new(isa, bf16));
    PANELS.with_borrow_mut(|panels| {
        for rows in blocks(n, BLOCK_ROWS) {
            for cols in blocks(m, BLOCK_COLS) {
                block(forms, panels, a, b, &out, (rows.clone(), cols), accumulate);
            }
        }
    });
}

/// `out = a · bᵀ`: `n` rows of `k` inputs by `m` rows of `k` weights, as a linear layer.
///
/// # Panics
/// When a slice has another length.
pub fn matmul_f32(a: &[f32], b: &[f32], out: &mut [f32], n: usize, k: usize, m: usize) {
    matmul(Matrix::new(a, n, k), Matrix::new(b, m, k).t(), out, false);
}

/// [`matmul_f32`] of bf16 numbers.
///
/// # Panics
/// When a slice has another length.
pub fn matmul_bf16(a: &[bf16], b: &[bf16], out: &mut [bf16], n: usize, k: usize, m: usize) {
    matmul(Matrix::new(a, n, k), Matrix::new(b, m, k).t(), out, false);
}

/// Memory of a calling thread for the panels of one block; its size is bounded.
#[derive(Default)]
struct Panels {
    a: Vec<f32>,
    b: Vec<f32>,
    /// Sums of a block whose output is not f32.
    sums: Vec<f32>,
}

thread_local! {
    static PANELS: RefCell<Panels> = RefCell::default();
}

fn blocks(total: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    // Equal blocks, so that the last is not a sliver.
    let count = total.div_ceil(most);
    pool::split_parts(total, ALIGN, count).ranges()
}

fn run(parallel: bool, tasks: usize, f: impl Fn(usize) + Sync) {
    if parallel {
        pool::parallel_for(tasks, f);
    } else {
        (0..tasks).for_each(f);
    }
}

/// One block of the output.
fn block<A: Element, B: Element, C: Element>(
    (isa, form): (Isa, Form),
    panels: &mut Panels,
    a: Matrix<'_, A>,
    b: Matrix<'_, B>,
    out: &SharedMut<'_, C>,
    (rows, cols): (Range<usize>, Range<usize>),
    accumulate: bool,
) {
    let (n, m, k) = (rows.len(), cols.len(), a.cols);
    let (a_panels, b_panels) = (n.div_ceil(form.rows), m.div_ceil(form.cols));
    let most = form.depth * form.numbers();
    let depth = form.depth.min(k.div_ceil(form.numbers()));
    let (a_size, b_size) = (pack::a_panel_len(form, depth), depth * form.cols);
    let Panels { a: pa, b: pb, sums } = panels;
    pa.resize(pa.len().max(a_panels * a_size), 0.0);
    pb.resize(pb.len().max(b_panels * b_size), 0.0);
    let direct = C::as_f32(out.as_ptr()).map(|ptr| kernel::Out {
        // SAFETY: the block begins inside of the output.
        data: unsafe { ptr.add(rows.start * b.cols + cols.start) },
        stride: b.cols,
    });
    if direct.is_none() {
        sums.resize(sums.len().max(n * m), 0.0);
    }
    let c = direct.unwrap_or(kernel::Out {
        data: sums.as_mut_ptr(),
        stride: m,
    });
    let parallel = n * m * k >= SERIAL;
    let (pa, pb) = (SharedMut::new(pa), SharedMut::new(pb));
    let tiles = Tiles::new(form, n, m, if parallel { pool::threads() } else { 1 });
    for from in (0..k).step_by(most) {
        let range = from..from + most.min(k - from);
        let a_tasks = a_panels.div_ceil(PACK);
        run(parallel, a_tasks + b_panels.div_ceil(PACK), |task| {
            if task < a_tasks {
                let i = task * PACK..((task + 1) * PACK).min(a_panels);
                let at = rows.start + i.start * form.rows;
                let at = at..(at + i.len() * form.rows).min(rows.end);
                // SAFETY: each panel is written by one task.
                let panels = unsafe { pa.slice(i.start * a_size..i.end * a_size) };
                pack::a_panels(isa, form, a, at, range.clone(), (panels, a_size));
            } else {
                let i = (task - a_tasks) * PACK;
                let i = i..(i + PACK).min(b_panels);
                let at = cols.start + i.start * form.cols;
                let at = at..(at + i.len() * form.cols).min(cols.end);
                // SAFETY: each panel is written by one task.
                let panels = unsafe { pb.slice(i.start * b_size..i.end * b_size) };
                pack::b_panels(isa, form, b, at, range.clone(), (panels, b_size));
            }
        });
        let fresh = from == 0 && (direct.is_none() || !accumulate);
        let (pa, pb) = (pa.as_ptr().cast_const(), pb.as_ptr().cast_const());
        let panels = kernel::Packed {
            a: pa,
            a_size,
            b: pb,
            b_size,
            depth: range.len().div_ceil(form.numbers()),
        };
        run(parallel, tiles.count(), |task| {
            // SAFETY: the panels of these rows and columns were filled by the region before, and
            // tiles do not overlap.
            unsafe { kernel::tile(isa, form, panels, c, tiles.tile(task), fresh) };
        });
    }
    if direct.is_none() {
        let sums = &sums[..n * m];
        run(parallel, n, |r| {
            let at = (rows.start + r) * b.cols;
            // SAFETY: each row of the block is written by one task.
            let out = unsafe { out.slice(at + cols.start..at + cols.end) };
            pack::round(isa, &sums[r * m..(r + 1) * m], out, accumulate);
        });
    }
}

/// Panels that a task fills.
const PACK: usize = 4;

/// The split of a block into tasks.
#[derive(Clone, Copy)]
struct Tiles {
    n: usize,
    m: usize,
    rows: usize,
    cols: usize,
}

impl Tiles {
    fn new(form: Form, n: usize, m: usize, threads: usize) -> Self {
        let mut tiles = Self {
            n,
            m,
            rows: TILE_PANELS * form.rows,
            cols: TILE_PANELS * form.cols,
        };
        // Several tasks for each thread, so that none waits long for the others.
        while threads > 1 && tiles.count() < 4 * threads && tiles.cols > 2 * form.cols {
            tiles.cols /= 2;
        }
        while threads > 1 && tiles.count() < 4 * threads && tiles.rows > 2 * form.rows {
            tiles.rows /= 2;
        }
        tiles
    }

    fn count(&self) -> usize {
        self.n.div_ceil(self.rows) * self.m.div_ceil(self.cols)
    }

    fn tile(&self, i: usize) -> (Range<usize>, Range<usize>) {
        let across = self.m.div_ceil(self.cols);
        let (r, c) = (i / across * self.rows, i % across * self.cols);
        (
            r..(r + self.rows).min(self.n),
            c..(c + self.cols).min(self.m),
        )
    }
}

#[cfg(test)]
mod tests;
