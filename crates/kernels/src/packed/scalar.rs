//! Block types in plain Rust, written so that the compiler vectorises it: half a panel's rows are
//! the eight lanes of every loop.
//!
//! A few blocks of a panel are turned into small integers once (sub-scales multiplied in where a
//! block of 32 has two), then every row of activations meets them. Sums over 32 elements are exact
//! integers; each is scaled and added to the output's one float, block after block.

use half::f16;

use super::activations::XBlock;
use super::layout::{Fields, HALF, Layout, ROWS};
use super::output::OutPart;
use crate::BlockType;
use crate::dequant::{IQ4_VALUES, MXFP4_VALUES, e8m0_half, k4_scale_min, q3_k_scales};

/// Blocks of 32 that are unpacked before the activations meet them.
const TILE: usize = 16;

type Lanes = [f32; HALF];

/// 32 columns of half a panel: element `k` of row `r` is `w[k][r] * d[r] + m[k / 16][r]`.
#[derive(Clone, Copy)]
struct Tile {
    w: [[i16; HALF]; 32],
    d: Lanes,
    m: [Lanes; 2],
}

const EMPTY: Tile = Tile {
    w: [[0; HALF]; 32],
    d: [0.0; HALF],
    m: [[0.0; HALF]; 2],
};

/// `out[t][r] = x[t] · w[r]` for the rows of `out`.
pub(super) fn matmul(layout: &Layout, data: &[u8], x: &[XBlock], out: &mut OutPart<'_>) {
    let blocks = layout.cols / 32;
    let mut tiles = [EMPTY; TILE];
    for half in out.panels(HALF) {
        let bytes = &data[half / 2 * layout.panel_bytes..][..layout.panel_bytes];
        for first in (0..blocks).step_by(TILE) {
            let count = TILE.min(blocks - first);
            for (i, tile) in tiles[..count].iter_mut().enumerate() {
                unpack(layout, bytes, half % 2 * HALF, first + i, tile);
            }
            for t in 0..out.n() {
                let x = &x[t * blocks + first..][..count];
                let mut sum = if first == 0 {
                    [0.0; HALF]
                } else {
                    out.get(t, half * HALF)
                };
                for (tile, x) in tiles.iter().zip(x) {
                    dot(tile, x, &mut sum);
                }
                out.set(t, half * HALF, sum);
            }
        }
    }
}

#[inline(always)]
fn dot(tile: &Tile, x: &XBlock, sum: &mut Lanes) {
    let mut acc = [0i32; HALF];
    for (w, &x) in tile.w.iter().zip(&x.q) {
        for (acc, &w) in acc.iter_mut().zip(w) {
            *acc += i32::from(w) * i32::from(x);
        }
    }
    let (s0, s1) = (x.d * f32::from(x.halves[0]), x.d * f32::from(x.halves[1]));
    for r in 0..HALF {
        sum[r] += acc[r] as f32 * (tile.d[r] * x.d);
        sum[r] += tile.m[0][r] * s0 + tile.m[1][r] * s1;
    }
}

/// The words and scales of one block; eight rows of them.
struct Block<'a> {
    words: &'a [u8],
    scales: &'a [u8],
    /// The panel's row that row 0 here is.
    row: usize,
}

impl Block<'_> {
    /// Byte `c` of word `i` of row `r`.
    #[inline(always)]
    fn byte(&self, i: usize, r: usize, c: usize) -> u8 {
        self.words[(i * ROWS + self.row + r) * 4 + c]
    }

    /// Words `i ..` of row `r` as the file's bytes.
    fn bytes<const N: usize>(&self, i: usize, r: usize) -> [u8; N] {
        std::array::from_fn(|k| self.byte(i + k / 4, r, k % 4))
    }

    /// 16-bit scale `i` of every row.
    fn bits(&self, i: usize) -> [u16; HALF] {
        std::array::from_fn(|r| {
            let at = (i * ROWS + self.row + r) * 2;
            u16::from_le_bytes([self.scales[at], self.scales[at + 1]])
        })
    }

    fn halves(&self, i: usize) -> Lanes {
        self.bits(i).map(|b| f16::from_bits(b).to_f32())
    }

    /// Fills `w[4 g + c][r]` with `f(g, r, c)` for the groups `g` of four columns.
    #[inline(always)]
    fn fill(&self, w: &mut [[i16; HALF]; 32], f: impl Fn(&Self, usize, usize, usize) -> i16) {
        for g in 0..8 {
            for c in 0..4 {
                for (r, w) in w[4 * g + c].iter_mut().enumerate() {
                    *w = f(self, g, r, c);
                }
            }
        }
    }
}

/// Nibble of column `4 g + c` where low nibbles are the first 16 columns; words start at `at`.
#[inline(always)]
fn split_nibble(b: &Block<'_>, at: usize, g: usize, r: usize, c: usize) -> u8 {
    b.byte(at + g % 4, r, c) >> (g / 4 * 4) & 15
}

/// Unpacks block `j` of 32 columns of rows `row ..` of a panel.
fn unpack(layout: &Layout, panel: &[u8], row: usize, j: usize, t: &mut Tile) {
    let Some(fields) = Fields::of(layout.ty) else {
        return;
    };
    let subs = layout.ty.block_len() / 32;
    let (index, s) = (j / subs, j % subs);
    let block = &panel[index * fields.stride()..][..fields.stride()];
    let (words, scales) = block.split_at(fields.words_stride());
    let b = Block { words, scales, row };
    t.m = [[0.0; HALF]; 2];
    match layout.ty {
        BlockType::F32 | BlockType::F16 | BlockType::BF16 => {}
        BlockType::Q4_0 => {
            b.fill(&mut t.w, |b, g, r, c| {
                i16::from(split_nibble(b, 0, g, r, c)) - 8
            });
            t.d = b.halves(0);
        }
        BlockType::Q4_1 => {
            b.fill(&mut t.w, |b, g, r, c| {
                i16::from(split_nibble(b, 0, g, r, c))
            });
            (t.d, t.m) = (b.halves(0), [b.halves(1); 2]);
        }
        BlockType::Q5_0 => {
            b.fill(&mut t.w, |b, g, r, c| five_bits(b, g, r, c) - 16);
            t.d = b.halves(0);
        }
        BlockType::Q5_1 => {
            b.fill(&mut t.w, five_bits);
            (t.d, t.m) = (b.halves(0), [b.halves(1); 2]);
        }
        BlockType::Q8_0 => {
            b.fill(&mut t.w, |b, g, r, c| {
                i16::from(b.byte(g, r, c).cast_signed())
            });
            t.d = b.halves(0);
        }
        BlockType::IQ4NL => {
            b.fill(&mut t.w, |b, g, r, c| {
                coded(&IQ4_VALUES, split_nibble(b, 0, g, r, c))
            });
            t.d = b.halves(0);
        }
        BlockType::MXFP4 => {
            b.fill(&mut t.w, |b, g, r, c| {
                coded(&MXFP4_VALUES, split_nibble(b, 0, g, r, c))
            });
            t.d = std::array::from_fn(|r| e8m0_half(b.scales[b.row + r]));
        }
        BlockType::Q2K => unpack_q2k(&b, s, t),
        BlockType::Q3K => unpack_q3k(&b, s, t),
        BlockType::Q4K => {
            let at = 3 + s / 2 * 8;
            b.fill(&mut t.w, |b, g, r, c| {
                i16::from(b.byte(at + g, r, c) >> (s % 2 * 4) & 15)
            });
            k4_scales(&b, s, t);
        }
        BlockType::Q5K => {
            let at = 11 + s / 2 * 8;
            b.fill(&mut t.w, |b, g, r, c| {
                let low = b.byte(at + g, r, c) >> (s % 2 * 4) & 15;
                i16::from(low | (b.byte(3 + g, r, c) >> s & 1) << 4)
            });
            k4_scales(&b, s, t);
        }
        BlockType::Q6K => unpack_q6k(&b, s, t),
        BlockType::IQ4XS => {
            b.fill(&mut t.w, |b, g, r, c| {
                coded(&IQ4_VALUES, split_nibble(b, 1 + s * 4, g, r, c))
            });
            let (d, high) = (b.halves(0), b.bits(1));
            t.d = std::array::from_fn(|r| {
                let low = i32::from(b.byte(0, r, s / 2) >> (s % 2 * 4) & 15);
                d[r] * ((low | i32::from(high[r] >> (2 * s) & 3) << 4) - 32) as f32
            });
        }
    }
}

fn five_bits(b: &Block<'_>, g: usize, r: usize, c: usize) -> i16 {
    i16::from(split_nibble(b, 1, g, r, c) | (b.byte(0, r, c) >> g & 1) << 4)
}

fn coded(values: &[i8; 16], code: u8) -> i16 {
    i16::from(values[usize::from(code & 15)])
}

fn k4_scales(b: &Block<'_>, s: usize, t: &mut Tile) {
    let (d, dmin) = (b.halves(0), b.halves(1));
    for r in 0..HALF {
        let (scale, min) = k4_scale_min(s, &b.bytes::<12>(0, r));
        t.d[r] = d[r] * f32::from(scale);
        let m = -(dmin[r] * f32::from(min));
        (t.m[0][r], t.m[1][r]) = (m, m);
    }
}

/// Two bits of column `4 g + c` of sub-block `s`; the words of the quants start at `at`.
#[inline(always)]
fn two_bits(b: &Block<'_>, at: usize, s: usize, g: usize, r: usize, c: usize) -> u8 {
    b.byte(at + s / 4 * 8 + g, r, c) >> (s % 4 * 2) & 3
}

fn unpack_q2k(b: &Block<'_>, s: usize, t: &mut Tile) {
    let scale = |g: usize, r: usize| b.byte(s / 2, r, s % 2 * 2 + g / 4);
    b.fill(&mut t.w, |b, g, r, c| {
        i16::from(two_bits(b, 4, s, g, r, c)) * i16::from(scale(g, r) & 15)
    });
    t.d = b.halves(0);
    let dmin = b.halves(1);
    for half in 0..2 {
        t.m[half] = std::array::from_fn(|r| -(dmin[r] * f32::from(scale(half * 4, r) >> 4)));
    }
}

fn unpack_q3k(b: &Block<'_>, s: usize, t: &mut Tile) {
    let scales: [[i8; 16]; HALF] = std::array::from_fn(|r| q3_k_scales(&b.bytes::<12>(24, r)));
    b.fill(&mut t.w, |b, g, r, c| {
        let high = i16::from(b.byte(g, r, c) >> s & 1) * 4;
        let q = i16::from(two_bits(b, 8, s, g, r, c)) + high - 4;
        q * i16::from(scales[r][2 * s + g / 4])
    });
    t.d = b.halves(0);
}

fn unpack_q6k(b: &Block<'_>, s: usize, t: &mut Tile) {
    let (half, sub) = (s / 4, s % 4);
    let at = half * 16 + sub % 2 * 8;
    b.fill(&mut t.w, |b, g, r, c| {
        let low = b.byte(at + g, r, c) >> (sub / 2 * 4) & 15;
        let q = low | (b.byte(32 + half * 8 + g, r, c) >> (sub * 2) & 3) << 4;
        let scale = b.byte(48 + s / 2, r, s % 2 * 2 + g / 4).cast_signed();
        (i16::from(q) - 32) * i16::from(scale)
    });
    t.d = b.halves(0);
}
