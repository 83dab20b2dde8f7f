//! The KV cache of one sequence, in pages that sequences with a common beginning share.

use std::collections::HashSet;
use std::sync::Arc;

use candle_core::Tensor;
use medley_kernels::{KvShape, KvType, PAGE};

use crate::{Error, Result};

/// Shape of one layer's keys and values.
pub fn shape(kv_heads: usize, head_dim: usize, ty: KvType) -> KvShape {
    KvShape {
        kv_heads,
        head_dim,
        ty,
    }
}

/// Size and element type of a cache.
#[derive(Clone, Debug)]
pub struct CacheSpec {
    /// Number of decoder layers.
    pub layers: usize,
    /// Shape of one layer.
    pub shape: KvShape,
    /// Largest number of positions.
    pub limit: usize,
}

impl CacheSpec {
    /// Bytes of the pages that so many positions need.
    pub fn bytes_for(&self, positions: usize) -> usize {
        let page = self.shape.page_bytes() * self.layers;
        positions
            .min(self.limit)
            .div_ceil(PAGE)
            .saturating_mul(page)
    }
}

/// Keys and values of one sequence.
#[derive(Clone)]
pub struct Cache {
    spec: Arc<CacheSpec>,
    len: usize,
    pages: Vec<Arc<Page>>,
    tensors: Vec<Option<(Tensor, Tensor)>>,
}

impl Cache {
    /// An empty cache.
    pub fn new(spec: Arc<CacheSpec>) -> Self {
        let tensors = vec![None; spec.layers];
        Self {
            spec,
            len: 0,
            pages: Vec::new(),
            tensors,
        }
    }

    /// Keys and values `[1, kv_heads, len, head_dim]` per layer, for devices where tensors and not pages hold them.
    pub fn tensors_mut(&mut self) -> &mut [Option<(Tensor, Tensor)>] {
        &mut self.tensors
    }

    /// Positions that are filled.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been read yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Size and element type.
    pub fn spec(&self) -> &CacheSpec {
        &self.spec
    }

    /// Bytes of the pages, shared ones counted whole.
    pub fn bytes(&self) -> usize {
        self.pages.len() * self.spec.shape.page_bytes() * self.spec.layers
    }

    /// Bytes of the pages that are not in `seen` yet, which takes them in; of tensors, where they hold the cache, all.
    /// Summed over several caches, shared pages count once.
    pub fn bytes_beside(&self, seen: &mut HashSet<usize>) -> usize {
        let fresh = self
            .pages
            .iter()
            .filter(|page| seen.insert(Arc::as_ptr(page) as usize))
            .count();
        let tensors = self.tensors.iter().flatten().flat_map(|(k, v)| [k, v]);
        let held: usize = tensors
            .map(|t| t.elem_count() * t.dtype().size_in_bytes())
            .sum();
        fresh * self.spec.shape.page_bytes() * self.spec.layers + held
    }

    /// A cache that begins with the first `len` positions of this one and shares their pages.
    /// A page that one of the two goes on to write is copied then.
    pub fn fork(&self, len: usize) -> Result<Self> {
        let mut copy = self.clone();
        copy.truncate(len)?;
        Ok(copy)
    }

    /// Forgets the positions from `len` on.
    pub fn truncate(&mut self, len: usize) -> Result<()> {
        self.len = self.len.min(len);
        self.pages.truncate(self.len.div_ceil(PAGE));
        for entry in &mut self.tensors {
            *entry = match entry.take() {
                Some((k, v)) if self.len > 0 => {
                    Some((k.narrow(2, 0, self.len)?, v.narrow(2, 0, self.len)?))
                }
                _ => None,
            };
        }
        Ok(())
    }

    /// Makes room for `count` more positions and gives the first of them. [`Cache::advance`] makes them count.
    pub fn reserve(&mut self, count: usize) -> Result<usize> {
        let needed = self.len + count;
        if needed > self.spec.limit {
            return Err(Error::ContextFull {
                limit: self.spec.limit,
                needed,
            });
        }
        while self.pages.len() < needed.div_ceil(PAGE) {
            self.pages.push(Arc::new(Page::new(&self.spec)));
        }
        Ok(self.len)
    }

    /// Counts `count` positions that every layer has written.
    pub fn advance(&mut self, count: usize) {
        self.len += count;
    }

    /// Writes keys and values `[rows × kv_heads × head_dim]` of `layer` from position `start` on.
    pub fn write(&mut self, layer: usize, start: usize, k: &[f32], v: &[f32]) {
        let shape = &self.spec.shape;
        let width = shape.kv_heads * shape.head_dim;
        for (i, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
            let position = start + i;
            let page = Arc::make_mut(&mut self.pages[position / PAGE]);
            medley_kernels::kv_write(shape, page.layer_mut(layer), position % PAGE, k, v);
        }
    }

    /// The pages of `layer`, in order of position.
    pub fn pages(&self, layer: usize) -> Vec<&[u8]> {
        self.pages.iter().map(|page| page.layer(layer)).collect()
    }
}

const ALIGN: usize = 64;

/// Keys and values of [`PAGE`] positions in every layer.
struct Page {
    bytes: Vec<u8>,
    start: usize,
    layer_bytes: usize,
}

impl Page {
    fn new(spec: &CacheSpec) -> Self {
        Self::zeroed(spec.shape.page_bytes().next_multiple_of(ALIGN), spec.layers)
    }

    fn zeroed(layer_bytes: usize, layers: usize) -> Self {
        let bytes = vec![0; layer_bytes * layers + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN);
        Self {
            bytes,
            start,
            layer_bytes,
        }
    }

    fn layer(&self, layer: usize) -> &[u8] {
        &self.bytes[self.start + layer * self.layer_bytes..][..self.layer_bytes]
    }

    fn layer_mut(&mut self, layer: usize) -> &mut [u8] {
        &mut self.bytes[self.start + layer * self.layer_bytes..][..self.layer_bytes]
    }
}

impl Clone for Page {
    fn clone(&self) -> Self {
        let used = self.bytes.len() - ALIGN;
        let mut copy = Self::zeroed(used, 1);
        copy.bytes[copy.start..][..used].copy_from_slice(&self.bytes[self.start..][..used]);
        Self {
            layer_bytes: self.layer_bytes,
            ..copy
        }
    }
}
