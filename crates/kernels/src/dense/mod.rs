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
#[cfg(target_arch = "x86_64")]
mod native;
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
/// Numbers of panels of B that are held at a time, 8 MiB, where the output has many rows.
const HELD: usize = 1 << 21;
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

/// [`matmul`] of f32 numbers that are rounded to bf16 as they are read: the operands need no bf16 copies. Sums
/// are f32.
///
/// # Panics
/// As [`matmul`].
pub fn matmul_rounded(a: Matrix<'_, f32>, b: Matrix<'_, f32>, out: &mut [f32], accumulate: bool) {
    driver(isa(), true, a, b, out, accumulate);
}

/// [`matmul`] with an instruction set, for tasks of other kernels.
pub(crate) fn product<A: Element, B: Element, C: Element>(
    isa: Isa,
    a: Matrix<'_, A>,
    b: Matrix<'_, B>,
    out: &mut [C],
    accumulate: bool,
) {
    driver(isa, false, a, b, out, accumulate);
}

fn driver<A: Element, B: Element, C: Element>(
    isa: Isa,
    rounded: bool,
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
    let (n, m, k) = (a.rows, b.cols, a.cols);
    same_len("out", out.len(), n * m);
    if n == 0 || m == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            out.fill(C::ZERO);
        }
        return;
    }
    let out = SharedMut::new(out);
    let bf16 = A::as_bf16(a.data).is_some() && B::as_bf16(b.data).is_some();
    let form = Form::new(isa, bf16 || rounded);
    let plan = Plan::new(form, n, m, k, C::as_f32(out.as_ptr()).is_none());
    let call = Call {
        isa,
        form,
        rounded,
        a,
        b,
        out: &out,
        parallel: n * m * k >= SERIAL,
    };
    PANELS.with_borrow_mut(|panels| {
        for cols in blocks(m, plan.cols) {
            for from in (0..k).step_by(plan.depth) {
                let depth = from..(from + plan.depth).min(k);
                call.pack_b(panels, cols.clone(), depth.clone());
                for rows in blocks(n, BLOCK_ROWS) {
                    let fresh = from == 0 && !accumulate;
                    call.block(panels, (rows, cols.clone()), depth.clone(), fresh);
                }
            }
        }
    });
}

/// Columns of the output and depth for which panels of B are held at a time. Each element of B is copied once; those
/// of A once for every block of columns.
struct Plan {
    cols: usize,
    depth: usize,
}

impl Plan {
    fn new(form: Form, n: usize, m: usize, k: usize, rounds: bool) -> Self {
        let most = form.depth * form.numbers();
        let held = HELD * form.numbers();
        // A product of few rows meets each panel but once or twice: it should still be in the cache.
        let wide = if n <= BLOCK_ROWS {
            BLOCK_COLS
        } else {
            held / k.max(most)
        };
        let cols = wide.max(BLOCK_COLS).min(m);
        let depth = (held / cols / most).max(1) * most;
        Self {
            cols,
            // Sums of an output that is not f32 are rounded once: they cannot wait for more depth.
            depth: if rounds {
                k.next_multiple_of(most)
            } else {
                depth
            },
        }
    }
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

/// One product.
struct Call<'a, A, B, C> {
    isa: Isa,
    form: Form,
    rounded: bool,
    a: Matrix<'a, A>,
    b: Matrix<'a, B>,
    out: &'a SharedMut<'a, C>,
    parallel: bool,
}

impl<A: Element, B: Element, C: Element> Call<'_, A, B, C> {
    /// Numbers of the inner dimension in one chain of sums.
    fn most(&self) -> usize {
        self.form.depth * self.form.numbers()
    }

    /// Elements of a panel of B over the whole of `depth`, rounded up to chains where there are several.
    fn b_size(&self, depth: &Range<usize>) -> usize {
        self.form
            .depth
            .min(depth.len().div_ceil(self.form.numbers()))
            * self.form.cols
    }

    /// Copies the columns `cols` of the rows `depth` of B: chain by chain, panel by panel.
    fn pack_b(&self, panels: &mut Panels, cols: Range<usize>, depth: Range<usize>) {
        let (form, size, most) = (self.form, self.b_size(&depth), self.most());
        let count = cols.len().div_ceil(form.cols);
        let chains = depth.len().div_ceil(most);
        panels
            .b
            .resize(panels.b.len().max(chains * count * size), 0.0);
        let to = SharedMut::new(&mut panels.b);
        let tasks = count.div_ceil(PACK);
        run(self.parallel, chains * tasks, |task| {
            let (chain, task) = (task / tasks, task % tasks);
            let from = depth.start + chain * most;
            let range = from..(from + most).min(depth.end);
            let i = task * PACK..((task + 1) * PACK).min(count);
            let at = cols.start + i.start * form.cols;
            let at = at..(at + i.len() * form.cols).min(cols.end);
            let first = chain * count;
            // SAFETY: each panel is written by one task.
            let panels = unsafe { to.slice((first + i.start) * size..(first + i.end) * size) };
            pack::b_panels(
                self.isa,
                form,
                self.rounded,
                self.b,
                at,
                range,
                (panels, size),
            );
        });
    }

    /// One block of the output over the depth that is packed of B: written where `fresh`, else added to.
    fn block(
        &self,
        panels: &mut Panels,
        (rows, cols): (Range<usize>, Range<usize>),
        depth: Range<usize>,
        fresh: bool,
    ) {
        let (form, most) = (self.form, self.most());
        let (n, m) = (rows.len(), cols.len());
        let (a_panels, b_panels) = (n.div_ceil(form.rows), m.div_ceil(form.cols));
        let chain = form.depth.min(depth.len().div_ceil(form.numbers()));
        let (a_size, b_size) = (pack::a_panel_len(form, chain), self.b_size(&depth));
        let Panels { a: pa, b: pb, sums } = panels;
        pa.resize(pa.len().max(a_panels * a_size), 0.0);
        let direct = C::as_f32(self.out.as_ptr()).map(|ptr| kernel::Out {
            // SAFETY: the block begins inside of the output.
            data: unsafe { ptr.add(rows.start * self.b.cols + cols.start) },
            stride: self.b.cols,
        });
        if direct.is_none() {
            sums.resize(sums.len().max(n * m), 0.0);
        }
        let c = direct.unwrap_or(kernel::Out {
            data: sums.as_mut_ptr(),
            stride: m,
        });
        let pa = SharedMut::new(pa);
        let threads = if self.parallel { pool::threads() } else { 1 };
        let tiles = Tiles::new(form, n, m, threads);
        for (i, from) in depth.clone().step_by(most).enumerate() {
            let range = from..(from + most).min(depth.end);
            run(self.parallel, a_panels.div_ceil(PACK), |task| {
                let i = task * PACK..((task + 1) * PACK).min(a_panels);
                let at = rows.start + i.start * form.rows;
                let at = at..(at + i.len() * form.rows).min(rows.end);
                // SAFETY: each panel is written by one task.
                let panels = unsafe { pa.slice(i.start * a_size..i.end * a_size) };
                pack::a_panels(
                    self.isa,
                    form,
                    self.rounded,
                    self.a,
                    at,
                    range.clone(),
                    (panels, a_size),
                );
            });
            let packed = kernel::Packed {
                a: pa.as_ptr().cast_const(),
                a_size,
                b: pb[i * b_panels * b_size..].as_ptr(),
                b_size,
                depth: range.len().div_ceil(form.numbers()),
            };
            let fresh = i == 0 && (fresh || direct.is_none());
            run(self.parallel, tiles.count(), |task| {
                // SAFETY: the panels of these rows and columns were filled by the regions before,
                // and tiles do not overlap.
                unsafe { kernel::tile(self.isa, form, packed, c, tiles.tile(task), fresh) };
            });
        }
        if direct.is_none() {
            let sums = &sums[..n * m];
            run(self.parallel, n, |r| {
                let at = (rows.start + r) * self.b.cols;
                // SAFETY: each row of the block is written by one task.
                let out = unsafe { self.out.slice(at + cols.start..at + cols.end) };
                pack::round(self.isa, &sums[r * m..(r + 1) * m], out, !fresh);
            });
        }
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
