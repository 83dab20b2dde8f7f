//! The layout of a page of the cache.
//!
//! A page holds the keys and values of one layer for [`PAGE`] positions, head after head. Keys
//! are stored by dimension (`head_dim` × PAGE) and values by position (PAGE × padded `head_dim`),
//! so that scores as well as outputs are sums of vectors read in order. 8-bit elements have one
//! f32 scale for 32 dimensions of a position, stored behind the elements: for keys blocks × PAGE,
//! for values PAGE × blocks.

use crate::isa;
use crate::rowwise::same_len;
use crate::simd::simd_fn;

/// Positions in one page.
pub const PAGE: usize = 64;
/// Dimensions that share one scale of the 8-bit cache.
pub(super) const SCALED: usize = 32;
/// Values are padded to a multiple of this.
const PAD: usize = 16;

/// How the cache stores a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KvType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats; magnitudes beyond 65504 become 65504.
    F16,
    /// 8-bit integers with one scale for each 32 dimensions of a position.
    Q8,
}

/// Shape of one layer's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KvShape {
    /// Heads of keys and of values.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// How an element is stored.
    pub ty: KvType,
}

impl KvShape {
    /// Bytes of one page: keys and values of one layer for [`PAGE`] positions.
    pub fn page_bytes(&self) -> usize {
        self.kv_heads * self.head_bytes()
    }

    /// `head_dim` with the padding of values.
    pub(super) fn padded(&self) -> usize {
        self.head_dim.next_multiple_of(PAD)
    }

    /// Scales of a position of an 8-bit head.
    pub(super) fn blocks(&self) -> usize {
        self.head_dim.div_ceil(SCALED)
    }

    fn element_bytes(&self) -> usize {
        match self.ty {
            KvType::F32 => 4,
            KvType::F16 => 2,
            KvType::Q8 => 1,
        }
    }

    fn scale_bytes(&self) -> usize {
        match self.ty {
            KvType::F32 | KvType::F16 => 0,
            KvType::Q8 => PAGE * self.blocks() * 4,
        }
    }

    fn key_bytes(&self) -> usize {
        PAGE * self.head_dim * self.element_bytes() + self.scale_bytes()
    }

    fn head_bytes(&self) -> usize {
        self.key_bytes() + PAGE * self.padded() * self.element_bytes() + self.scale_bytes()
    }

    /// Where the parts of a head begin in a page.
    pub(super) fn head(&self, head: usize) -> HeadAt {
        let keys = head * self.head_bytes();
        let values = keys + self.key_bytes();
        HeadAt {
            keys,
            key_scales: keys + PAGE * self.head_dim * self.element_bytes(),
            values,
            value_scales: values + PAGE * self.padded() * self.element_bytes(),
        }
    }
}

/// Byte offsets of a head's parts in a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadAt {
    pub(super) keys: usize,
    pub(super) key_scales: usize,
    pub(super) values: usize,
    pub(super) value_scales: usize,
}

/// Writes the key and value of one position (`kv_heads` × `head_dim` each) into `slot` of a page.
///
/// # Panics
/// When `slot` is not below [`PAGE`] or a slice is too short for the shape.
pub fn kv_write(shape: &KvShape, page: &mut [u8], slot: usize, k: &[f32], v: &[f32]) {
    assert!(slot < PAGE, "slot {slot} is not below {PAGE}");
    assert!(
        page.len() >= shape.page_bytes(),
        "a page of {} bytes, but its shape needs {}",
        page.len(),
        shape.page_bytes()
    );
    same_len("k", k.len(), shape.kv_heads * shape.head_dim);
    same_len("v", v.len(), shape.kv_heads * shape.head_dim);
    if k.is_empty() {
        return;
    }
    let heads = k
        .chunks_exact(shape.head_dim)
        .zip(v.chunks_exact(shape.head_dim));
    for (head, (k, v)) in heads.enumerate() {
        let at = shape.head(head);
        match shape.ty {
            KvType::F32 => write_f32(shape, page, at, slot, k, v),
            KvType::F16 => write_f16(shape, page, at, slot, k, v),
            KvType::Q8 => write_q8(shape, page, at, slot, k, v),
        }
    }
}

/// Puts `values` where every `stride`th element of `bytes` is, from element `first`.
fn scatter<const N: usize>(
    bytes: &mut [u8],
    first: usize,
    stride: usize,
    values: impl Iterator<Item = [u8; N]>,
) {
    let places = bytes[first * N..].chunks_mut(stride * N);
    for (place, value) in places.zip(values) {
        place[..N].copy_from_slice(&value);
    }
}

fn write_f32(shape: &KvShape, page: &mut [u8], at: HeadAt, slot: usize, k: &[f32], v: &[f32]) {
    let keys = k.iter().map(|x| x.to_ne_bytes());
    scatter(&mut page[at.keys..at.values], slot, PAGE, keys);
    let row = at.values + slot * shape.padded() * 4;
    let padding = std::iter::repeat_n(&0.0, shape.padded() - v.len());
    let values = v.iter().chain(padding).map(|x| x.to_ne_bytes());
    scatter(&mut page[row..], 0, 1, values);
}

fn write_f16(shape: &KvShape, page: &mut [u8], at: HeadAt, slot: usize, k: &[f32], v: &[f32]) {
    let isa = isa();
    let mut half = [0u16; PAD];
    for (i, part) in k.chunks(PAD).enumerate() {
        to_f16(isa, part, &mut half);
        let keys = half[..part.len()].iter().map(|h| h.to_ne_bytes());
        scatter(
            &mut page[at.keys..at.key_scales],
            i * PAD * PAGE + slot,
            PAGE,
            keys,
        );
    }
    let row = at.values + slot * shape.padded() * 2;
    for (i, part) in v.chunks(PAD).enumerate() {
        to_f16(isa, part, &mut half);
        let values = half.iter().map(|h| h.to_ne_bytes());
        scatter(&mut page[row + i * PAD * 2..], 0, 1, values);
    }
}

simd_fn! {
    /// Rounds up to PAD elements to half precision; what is missing becomes 0.
    fn to_f16(s, x: &[f32], out: &mut [u16; PAD]) {
        let limit = s.splat(65504.0);
        for (i, out) in out.chunks_exact_mut(S::LANES).enumerate() {
            let part = x.get(i * S::LANES..).unwrap_or(&[]);
            // `min` and `max` hand on their second argument where it is NaN.
            let v = s.min(limit, s.max(s.sub(s.zero(), limit), s.load_part(part, 0.0)));
            // SAFETY: whole vectors, of which PAD is a multiple.
            unsafe { s.store_f16(out.as_mut_ptr(), v) };
        }
    }
}

fn write_q8(shape: &KvShape, page: &mut [u8], at: HeadAt, slot: usize, k: &[f32], v: &[f32]) {
    let mut bytes = [0u8; SCALED];
    for (b, part) in k.chunks(SCALED).enumerate() {
        let scale = to_q8(part, &mut bytes);
        let keys = bytes[..part.len()].iter().map(|&q| [q]);
        scatter(
            &mut page[at.keys..at.key_scales],
            b * SCALED * PAGE + slot,
            PAGE,
            keys,
        );
        let place = at.key_scales + (b * PAGE + slot) * 4;
        page[place..place + 4].copy_from_slice(&scale.to_ne_bytes());
    }
    let row = at.values + slot * shape.padded();
    page[row..row + shape.padded()].fill(0);
    for (b, part) in v.chunks(SCALED).enumerate() {
        let scale = to_q8(part, &mut bytes);
        let place = row + b * SCALED;
        page[place..place + part.len()].copy_from_slice(&bytes[..part.len()]);
        let place = at.value_scales + (slot * shape.blocks() + b) * 4;
        page[place..place + 4].copy_from_slice(&scale.to_ne_bytes());
    }
}

/// Quantises to -127..=127 times the scale that is returned.
fn to_q8(x: &[f32], out: &mut [u8; SCALED]) -> f32 {
    let largest = x.iter().fold(0.0, |m: f32, x| m.max(x.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (out, x) in out.iter_mut().zip(x) {
        // Saturates, so that a denormal scale cannot wrap around.
        *out = ((x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8) as u8;
    }
    scale
}
