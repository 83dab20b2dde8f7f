//! Attention over a paged key-value cache.
//!
//! One pass over the cache with the online softmax (Milakov and Gimelshein, arXiv:1805.02867; Dao
//! et al., arXiv:2205.14135), page by page in order of position. Every score is one chain of
//! fused sums over the head dimension and every output one chain over the positions, so a row's
//! result depends on its own query, pages and position alone: not on the rows beside it, the
//! tiling or the threads.
#![allow(unsafe_code)] // tasks write disjoint parts of one slice

mod block;
mod page;
mod tile;

use std::ops::Range;

use crate::isa;
use crate::pool::{self, SharedMut};
use crate::rowwise::same_len;

pub use page::{KvShape, KvType, PAGE, kv_write};

/// What all rows of an attention call have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionParams {
    /// Query heads, a multiple of the cache's heads; each run of `heads / kv_heads` consecutive
    /// query heads reads the same head of the cache.
    pub heads: usize,
    /// Factor of every score, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// Only this many last positions are seen, the row's own included.
    pub window: Option<usize>,
}

/// One query position.
#[derive(Debug, Clone, Copy)]
pub struct QueryRow<'a> {
    /// The pages of one layer of the row's sequence, in order of position; at least up to `pos`.
    pub pages: &'a [&'a [u8]],
    /// The row's position. It sees `max(0, pos + 1 - window)..=pos`, all of them written.
    pub pos: usize,
}

/// Softmax attention of each row over its sequence. `q` and `out` are rows × heads × head_dim.
/// Consecutive rows that share one `pages` slice share the work of reading it.
///
/// # Panics
/// When `heads` is not a multiple of the cache's heads, a slice has the wrong length, or a row's
/// pages do not reach its position or are too short.
pub fn attention(
    shape: &KvShape,
    params: &AttentionParams,
    rows: &[QueryRow<'_>],
    q: &[f32],
    out: &mut [f32],
) {
    let (kv_heads, head_dim) = (shape.kv_heads, shape.head_dim);
    if rows.is_empty() || head_dim == 0 || params.heads == 0 {
        return;
    }
    assert!(
        kv_heads > 0 && params.heads.is_multiple_of(kv_heads),
        "{} query heads cannot share {kv_heads} heads of the cache evenly",
        params.heads
    );
    let width = params.heads * head_dim;
    same_len("q", q.len(), rows.len() * width);
    same_len("out", out.len(), rows.len() * width);
    let group = params.heads / kv_heads;
    let tiles = tiles(rows, tile::rows_per_tile(group, head_dim));
    let per_task = heads_per_task(tiles.len() * kv_heads, group);
    let parts = group.div_ceil(per_task);
    let (isa, out) = (isa(), SharedMut::new(out));
    let tasks = tiles.len() * kv_heads * parts;
    pool::parallel_for(tasks, |i| {
        // Later tiles see more positions: they come first.
        let i = tasks - 1 - i;
        let (tile, kv_head, part) = (i / parts / kv_heads, i / parts % kv_heads, i % parts);
        let first = part * per_task;
        let task = tile::Task {
            shape,
            params,
            rows: &rows[tiles[tile].clone()],
            first_row: tiles[tile].start,
            kv_head,
            heads: kv_head * group + first..kv_head * group + (first + per_task).min(group),
            q,
            out: &out,
        };
        tile::run(isa, task);
    });
}

/// Runs of at most `most` consecutive rows that read the same pages.
fn tiles(rows: &[QueryRow<'_>], most: usize) -> Vec<Range<usize>> {
    let mut tiles: Vec<Range<usize>> = Vec::with_capacity(rows.len().div_ceil(most));
    for (i, row) in rows.iter().enumerate() {
        match tiles.last_mut() {
            Some(tile) if tile.len() < most && std::ptr::eq(rows[tile.start].pages, row.pages) => {
                tile.end = i + 1;
            }
            _ => tiles.push(i..i + 1),
        }
    }
    tiles
}

/// Query heads of a group that one task takes: all of them, since a single head reads the cache at
/// half the pace, unless that leaves threads without work.
fn heads_per_task(groups: usize, group: usize) -> usize {
    let parts = pool::threads().div_ceil(groups).min(group);
    group.div_ceil(parts)
}

#[cfg(test)]
mod tests;
