//! The repacked form of a matrix: panels of rows, side by side in the lanes of a vector.
//!
//! A panel holds sixteen rows of a block type. Every 32-bit word of a block stands beside the same
//! word of the fifteen other rows, so that one 64-byte vector holds the same four bytes of sixteen
//! rows; the scales (f16, or the exponent bytes of MXFP4) of the sixteen rows stand side by side
//! too. That keeps the file's bytes, makes packing one transposition for every type, and lets a
//! kernel give each of its lanes to one row. Kernels with eight lanes take a panel as two halves.
//!
//! ```text
//! panel := block 0, block 1, …, pad
//! block := word 0 of rows 0..16, word 1 of rows 0..16, …, scale 0 of rows 0..16, scale 1 of rows 0..16, …
//! ```
//!
//! A product with one row of activations thus reads one stream from the matrix's first byte to its last, which is what
//! the processor's own prefetching serves best.
//!
//! Floats: element 0 of rows 0..16, element 1 of rows 0..16, …
//! Rows that the last panel lacks are zero.

use crate::BlockType;

/// Rows of a panel of a block type.
pub(super) const ROWS: usize = 16;
/// Rows that the kernels with eight lanes take at once.
pub(super) const HALF: usize = ROWS / 2;
/// Rows of a panel of floats.
pub(super) const FLOAT_ROWS: usize = 16;
/// Panels start at multiples of this many bytes.
pub(super) const ALIGN: usize = 64;

/// Where the words and the scales of a block lie in the file, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fields {
    pub(super) words_at: usize,
    pub(super) words: usize,
    pub(super) scales_at: usize,
    pub(super) scales: usize,
    /// Bytes of one scale.
    pub(super) scale_bytes: usize,
}

impl Fields {
    /// `None` for floats, which have no blocks.
    pub(super) const fn of(ty: BlockType) -> Option<Self> {
        let (words_at, words, scales_at, scales, scale_bytes) = match ty {
            BlockType::F32 | BlockType::F16 | BlockType::BF16 => return None,
            BlockType::Q4_0 | BlockType::IQ4NL => (2, 4, 0, 1, 2),
            BlockType::Q4_1 => (4, 4, 0, 2, 2),
            BlockType::Q5_0 => (2, 5, 0, 1, 2),
            BlockType::Q5_1 => (4, 5, 0, 2, 2),
            BlockType::Q8_0 => (2, 8, 0, 1, 2),
            BlockType::Q2K => (0, 20, 80, 2, 2),
            BlockType::Q3K => (0, 27, 108, 1, 2),
            BlockType::Q4K => (4, 35, 0, 2, 2),
            BlockType::Q5K => (4, 43, 0, 2, 2),
            BlockType::Q6K => (0, 52, 208, 1, 2),
            BlockType::IQ4XS => (4, 33, 0, 2, 2),
            BlockType::MXFP4 => (1, 4, 0, 1, 1),
        };
        Some(Self {
            words_at,
            words,
            scales_at,
            scales,
            scale_bytes,
        })
    }

    /// Bytes of one block in a panel.
    pub(super) const fn stride(self) -> usize {
        self.words_stride() + self.scales_stride()
    }

    /// Bytes of the words of one block in a panel, behind which its scales stand.
    pub(super) const fn words_stride(self) -> usize {
        self.words * 4 * ROWS
    }

    /// Bytes of the scales of one block in a panel.
    pub(super) const fn scales_stride(self) -> usize {
        self.scales * self.scale_bytes * ROWS
    }
}

/// Sizes of a matrix in panels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) ty: BlockType,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Blocks of a row; columns for floats.
    pub(super) blocks: usize,
    pub(super) panel_rows: usize,
    pub(super) panel_bytes: usize,
}

impl Layout {
    /// `None` where the packed size overflows. `cols` is whole blocks.
    pub(super) fn new(ty: BlockType, rows: usize, cols: usize) -> Option<Self> {
        let blocks = cols / ty.block_len();
        let panel_rows = if ty.is_float() { FLOAT_ROWS } else { ROWS };
        let block = Fields::of(ty).map_or(ty.block_bytes() * FLOAT_ROWS, Fields::stride);
        let panel_bytes = blocks.checked_mul(block)?.checked_next_multiple_of(ALIGN)?;
        let layout = Self {
            ty,
            rows,
            cols,
            blocks,
            panel_rows,
            panel_bytes,
        };
        let total = panel_bytes.checked_mul(layout.panels())?;
        (total < isize::MAX as usize).then_some(layout)
    }

    pub(super) fn panels(&self) -> usize {
        self.rows.div_ceil(self.panel_rows)
    }

    /// Bytes of the whole packed matrix.
    pub(super) fn bytes(&self) -> usize {
        self.panels() * self.panel_bytes
    }

    /// Fills one panel from the file's rows `panel * panel_rows ..`.
    pub(super) fn pack_panel(&self, panel: usize, data: &[u8], out: &mut [u8]) {
        let row_bytes = self.blocks * self.ty.block_bytes();
        let first = panel * self.panel_rows;
        let rows = self.panel_rows.min(self.rows - first);
        let data = &data[first * row_bytes..(first + rows) * row_bytes];
        if rows < self.panel_rows {
            out.fill(0);
        }
        match Fields::of(self.ty) {
            None if self.ty.block_bytes() == 4 => pack_floats::<4>(data, row_bytes, rows, out),
            None => pack_floats::<2>(data, row_bytes, rows, out),
            Some(fields) => self.pack_blocks(fields, data, rows, out),
        }
    }

    fn pack_blocks(&self, fields: Fields, data: &[u8], rows: usize, out: &mut [u8]) {
        let block_bytes = self.ty.block_bytes();
        let row_bytes = self.blocks * block_bytes;
        let spread = matches!(self.ty, BlockType::Q5_0 | BlockType::Q5_1);
        for row in 0..rows {
            let from = data[row * row_bytes..(row + 1) * row_bytes].chunks_exact(block_bytes);
            for (block, out) in from.zip(out.chunks_exact_mut(fields.stride())) {
                let (words, scales) = out.split_at_mut(fields.words_stride());
                let from = block[fields.words_at..].chunks_exact(4);
                for (word, lanes) in from.zip(words.chunks_exact_mut(4 * ROWS)) {
                    lanes[row * 4..row * 4 + 4].copy_from_slice(word);
                }
                if spread {
                    let plane = &mut words[row * 4..row * 4 + 4];
                    plane.copy_from_slice(&bit_plane([plane[0], plane[1], plane[2], plane[3]]));
                }
                let size = fields.scale_bytes;
                let from = block[fields.scales_at..].chunks_exact(size);
                for (scale, lanes) in from.zip(scales.chunks_exact_mut(size * ROWS)) {
                    lanes[row * size..(row + 1) * size].copy_from_slice(scale);
                }
            }
        }
    }

    /// The file's bytes of one block: block `index` of row `row` in its panel.
    pub(super) fn unpack_block(&self, panel: &[u8], row: usize, index: usize, out: &mut [u8]) {
        let Some(fields) = Fields::of(self.ty) else {
            let size = self.ty.block_bytes();
            let at = (index * FLOAT_ROWS + row) * size;
            out.copy_from_slice(&panel[at..at + size]);
            return;
        };
        let block = &panel[index * fields.stride()..][..fields.stride()];
        let (words, scales) = block.split_at(fields.words_stride());
        let to = out[fields.words_at..].chunks_exact_mut(4);
        for (word, lanes) in to.zip(words.chunks_exact(4 * ROWS)) {
            word.copy_from_slice(&lanes[row * 4..row * 4 + 4]);
        }
        if matches!(self.ty, BlockType::Q5_0 | BlockType::Q5_1) {
            let plane = &mut out[fields.words_at..fields.words_at + 4];
            plane.copy_from_slice(&bit_order([plane[0], plane[1], plane[2], plane[3]]));
        }
        let size = fields.scale_bytes;
        let to = out[fields.scales_at..]
            .chunks_exact_mut(size)
            .take(fields.scales);
        for (scale, lanes) in to.zip(scales.chunks_exact(size * ROWS)) {
            scale.copy_from_slice(&lanes[row * size..(row + 1) * size]);
        }
    }
}

fn pack_floats<const SIZE: usize>(data: &[u8], row_bytes: usize, rows: usize, out: &mut [u8]) {
    for row in 0..rows {
        let from = data[row * row_bytes..(row + 1) * row_bytes].chunks_exact(SIZE);
        for (x, lanes) in from.zip(out.chunks_exact_mut(SIZE * FLOAT_ROWS)) {
            lanes[row * SIZE..(row + 1) * SIZE].copy_from_slice(x);
        }
    }
}

/// The fifth bits of 32 elements, from bit `k` of the word to bit `k / 4` of byte `k % 4`: one mask
/// then takes the bits of four consecutive elements of every row.
fn bit_plane(word: [u8; 4]) -> [u8; 4] {
    let bits = u32::from_le_bytes(word);
    let mut plane = 0;
    for c in 0..4 {
        for g in 0..8 {
            plane |= (bits >> (4 * g + c) & 1) << (8 * c + g);
        }
    }
    u32::to_le_bytes(plane)
}

/// The inverse of [`bit_plane`].
fn bit_order(plane: [u8; 4]) -> [u8; 4] {
    let bits = u32::from_le_bytes(plane);
    let mut word = 0;
    for c in 0..4 {
        for g in 0..8 {
            word |= (bits >> (8 * c + g) & 1) << (4 * g + c);
        }
    }
    u32::to_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cover_their_blocks() {
        for &ty in BlockType::ALL {
            if let Some(f) = Fields::of(ty) {
                assert_eq!(
                    f.words * 4 + f.scales * f.scale_bytes,
                    ty.block_bytes(),
                    "{ty}"
                );
            }
        }
    }

    #[test]
    fn bit_plane_inverts() {
        for k in 0..32 {
            let word = (1u32 << k).to_le_bytes();
            let plane = bit_plane(word);
            assert_eq!(plane[k % 4], 1 << (k / 4));
            assert_eq!(bit_order(plane), word);
        }
    }
}
