//! Weight matrices, repacked at load for this machine, and their products with activations.
//!
//! Block types meet activations in 8 bits (blocks of 32 with an f32 scale), floats meet them as
//! they are. Every output is one chain of additions over the columns in their order, in one lane,
//! whatever the number of activations and threads: results are the same bits.

mod activations;
mod ahead;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod float;
mod layout;
mod output;
mod scalar;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use memmap2::MmapMut;

use crate::pool::{self, SharedMut};
use crate::{BlockType, Isa, KernelError, isa};
use activations::XBlock;
use ahead::{Follower, Next};
use layout::Layout;
use output::OutPart;

/// A task of a product: how many bytes of weights it should read at least.
const TASK_BYTES: usize = 1 << 14;

/// Of so many bytes of a matrix it is said at once that they are packed.
const PART_BYTES: usize = 8 << 20;

/// Largest block of any type, in bytes.
const MAX_BLOCK_BYTES: usize = 210;

/// A weight matrix of `rows` outputs and `cols` inputs, repacked for this machine.
///
/// It takes as many bytes as in the file, up to the padding of the last sixteen rows and of
/// each panel to 64 bytes.
pub struct PackedMatrix {
    layout: Layout,
    data: MmapMut,
    follower: Arc<Follower>,
}

impl std::fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Layout { ty, rows, cols, .. } = self.layout;
        write!(f, "PackedMatrix({ty}, {rows} x {cols})")
    }
}

impl PackedMatrix {
    /// Repacks a matrix of `rows` × `cols` elements of type `ty`, row after row in `data`.
    /// Parallel over rows.
    ///
    /// # Errors
    /// [`KernelError::PartialBlock`] where a row is not whole blocks, [`KernelError::Length`] where
    /// `data` does not have the bytes of the shape, [`KernelError::Overflow`] where they cannot be
    /// addressed and [`KernelError::Memory`] where they cannot be had.
    pub fn pack(ty: BlockType, rows: usize, cols: usize, data: &[u8]) -> Result<Self, KernelError> {
        Self::pack_consuming(ty, rows, cols, data, |_| {})
    }

    /// [`PackedMatrix::pack`] that says of every few megabytes of `data`, in their order, when they are no longer needed:
    /// a large matrix of a mapped file then never lies in memory twice.
    ///
    /// # Errors
    /// As [`PackedMatrix::pack`].
    pub fn pack_consuming(
        ty: BlockType,
        rows: usize,
        cols: usize,
        data: &[u8],
        mut consumed: impl FnMut(Range<usize>),
    ) -> Result<Self, KernelError> {
        let too_large = KernelError::Overflow { what: "a matrix" };
        if !cols.is_multiple_of(ty.block_len()) {
            return Err(KernelError::PartialBlock {
                ty: ty.name(),
                count: cols,
                block: ty.block_len(),
            });
        }
        let elements = rows.checked_mul(cols).ok_or(too_large.clone())?;
        crate::dequant::check_lengths(ty, data.len(), elements)?;
        let layout = Layout::new(ty, rows, cols).ok_or(too_large)?;
        let bytes = layout.bytes();
        let mut packed =
            MmapMut::map_anon(bytes.max(1)).map_err(|_| KernelError::Memory { bytes })?;
        // Products run through far more pages than the processor remembers. Where the system does
        // not have large ones, small ones do.
        #[cfg(target_os = "linux")]
        let _ = packed.advise(memmap2::Advice::HugePage);
        if bytes > 0 {
            let panels = (TASK_BYTES * 8).div_ceil(layout.panel_bytes);
            let chunk = panels * layout.panel_bytes;
            let part = PART_BYTES.div_ceil(chunk) * chunk;
            let row_bytes = layout.blocks * ty.block_bytes();
            for (index, out) in packed[..bytes].chunks_mut(part).enumerate() {
                let first = index * part / layout.panel_bytes;
                let end = first + out.len() / layout.panel_bytes;
                pool::parallel_chunks(out, chunk, |i, out| {
                    for (p, out) in out.chunks_exact_mut(layout.panel_bytes).enumerate() {
                        layout.pack_panel(first + i * panels + p, data, out);
                    }
                });
                let rows_to = |panel: usize| rows.min(panel * layout.panel_rows) * row_bytes;
                consumed(rows_to(first)..rows_to(end));
            }
        }
        Ok(Self {
            layout,
            data: packed,
            follower: Arc::default(),
        })
    }

    /// Number of outputs.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// Number of inputs.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.layout.cols
    }

    /// How the elements are stored.
    #[must_use]
    pub fn block_type(&self) -> BlockType {
        self.layout.ty
    }

    /// Bytes of memory that the elements take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.layout.bytes()
    }

    /// `out[t][r] = Σ_c x[t][c] · w[r][c]` for `x` of `n` × `cols` and `out` of `n` × `rows`.
    ///
    /// # Panics
    /// When `x` is not whole rows or `out` does not have `n` rows.
    pub fn matmul(&self, x: &[f32], out: &mut [f32]) {
        let n = match (self.rows(), self.cols()) {
            (_, cols) if cols > 0 => x.len() / cols,
            (0, _) => 0,
            (rows, _) => out.len() / rows,
        };
        matmul_many(x, n, &mut [(self, out)]);
    }

    /// Row `i` as floats, exactly as [`crate::dequantize`] gives it from the file's bytes.
    ///
    /// # Panics
    /// When there is no row `i` or `out` does not hold `cols` elements.
    pub fn row(&self, i: usize, out: &mut [f32]) {
        let layout = &self.layout;
        assert!(i < layout.rows, "row {i} of {} rows", layout.rows);
        assert!(
            out.len() == layout.cols,
            "a row holds {} elements, not {}",
            layout.cols,
            out.len()
        );
        let (panel, row) = (i / layout.panel_rows, i % layout.panel_rows);
        let panel = &self.data[panel * layout.panel_bytes..][..layout.panel_bytes];
        let mut block = [0; MAX_BLOCK_BYTES];
        let block = &mut block[..layout.ty.block_bytes()];
        for (index, out) in out.chunks_exact_mut(layout.ty.block_len()).enumerate() {
            layout.unpack_block(panel, row, index, block);
            crate::dequant::dequantize_blocks(layout.ty, block, out);
        }
    }

    /// Several rows as floats, one after the other; parallel over rows.
    ///
    /// # Panics
    /// When a row is not there or `out` does not hold `rows` × `cols` elements.
    pub fn floats(&self, rows: Range<usize>, out: &mut [f32]) {
        let cols = self.cols();
        assert!(
            rows.end <= self.rows() && out.len() == rows.len() * cols,
            "rows {rows:?} of {} x {cols} into {} elements",
            self.rows(),
            out.len()
        );
        if cols == 0 {
            return;
        }
        let some = (TASK_BYTES / cols).max(1);
        pool::parallel_chunks(out, some * cols, |i, out| {
            for (row, out) in out.chunks_exact_mut(cols).enumerate() {
                self.row(rows.start + i * some + row, out);
            }
        });
    }

    /// `next` is what this thread reads most likely after these rows.
    fn product(&self, isa: Isa, x: &Input<'_>, next: Next, mut out: OutPart<'_>) {
        let (layout, data) = (&self.layout, &self.data[..]);
        if layout.ty.is_float() {
            return float::matmul(isa, layout, data, x.floats, &mut out);
        }
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Avx512 {
            return avx512::matmul(layout, data, x.blocks, next, &mut out);
        }
        #[cfg(target_arch = "x86_64")]
        if isa.has_avx2() {
            return avx2::matmul(layout, data, x.blocks, &mut out);
        }
        let _ = next;
        scalar::matmul(layout, data, x.blocks, &mut out);
    }
}

/// Activations as the kernels of the types at hand want them.
struct Input<'a> {
    floats: &'a [f32],
    /// Empty where all matrices are floats.
    blocks: &'a [XBlock],
}

/// [`PackedMatrix::matmul`] of several matrices with the same `n` rows of activations `x`, which
/// are quantised once; one parallel region for all. For query, key and value, or gate and up.
///
/// # Panics
/// When the matrices differ in `cols`, `x` does not hold `n` × `cols` elements or an output does
/// not hold `n` × `rows`.
pub fn matmul_many(x: &[f32], n: usize, mats: &mut [(&PackedMatrix, &mut [f32])]) {
    let Some(cols) = mats.first().map(|(m, _)| m.cols()) else {
        return;
    };
    assert!(
        x.len() == n * cols,
        "activations of {n} x {cols} are {} elements, not {}",
        n * cols,
        x.len()
    );
    for (m, out) in mats.iter() {
        assert!(
            m.cols() == cols,
            "matrices of {cols} and {} columns cannot share activations",
            m.cols()
        );
        assert!(
            out.len() == n * m.rows(),
            "the output of {n} x {} is {} elements, not {}",
            m.rows(),
            n * m.rows(),
            out.len()
        );
    }
    if cols == 0 {
        mats.iter_mut().for_each(|(_, out)| out.fill(0.0));
        return;
    }
    let isa = isa();
    let blocks = mats.iter().any(|(m, _)| !m.block_type().is_float());
    if blocks {
        activations::with_quantized(isa, x, n, cols, |blocks| {
            let input = Input { floats: x, blocks };
            products(isa, &input, n, mats);
        });
    } else {
        let blocks = &[];
        products(isa, &Input { floats: x, blocks }, n, mats);
    }
}

/// Splits the panels of all matrices into the tasks of one region.
fn products(isa: Isa, x: &Input<'_>, n: usize, mats: &mut [(&PackedMatrix, &mut [f32])]) {
    let total: usize = mats.iter().map(|(m, _)| m.bytes()).sum();
    let threads = pool::threads();
    // A few tasks per thread even out interruptions.
    let tasks = if threads == 1 { 1 } else { threads * 4 };
    let task_bytes = (total / tasks).max(TASK_BYTES / n.clamp(1, 8)).max(1);
    let jobs: Vec<_> = mats
        .iter_mut()
        .map(|(m, out)| {
            let parts = m.bytes().div_ceil(task_bytes);
            // Kernels take panels in pairs.
            let align = 2 * m.layout.panel_rows;
            (
                *m,
                SharedMut::new(out),
                pool::split_parts(m.rows(), align, parts),
            )
        })
        .collect();
    let count: usize = jobs.iter().map(|(.., split)| split.len()).sum();
    // Where task `i` starts to read; those behind the last are the next product's, as far as that is known.
    let start = |mut i: usize| {
        for (m, _, split) in &jobs {
            if i < split.len() {
                let panel = split.range(i).start / m.layout.panel_rows;
                return Next::new(&m.data, panel * m.layout.panel_bytes);
            }
            i -= split.len();
        }
        jobs.first()
            .map_or(Next::NOTHING, |(m, ..)| m.follower.task(i))
    };
    if let Some((m, ..)) = jobs.first() {
        m.follower.began(start(0), start(1.min(count - 1)));
    }
    pool::parallel_for(count, |task| {
        let mut i = task;
        for (m, out, split) in &jobs {
            if i < split.len() {
                // SAFETY: the ranges of a split do not overlap, and each is taken once.
                #[allow(unsafe_code)]
                let part = unsafe { OutPart::new(out, n, m.rows(), split.range(i)) };
                return m.product(isa, x, start(task + threads), part);
            }
            i -= split.len();
        }
    });
}
