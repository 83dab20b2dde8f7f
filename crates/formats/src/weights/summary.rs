//! What is in a weight file, in a few numbers.

use std::collections::HashMap;

use super::WeightFile;
use crate::dtype::{DType, TensorInfo};

/// What a type takes of a weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeShare {
    /// The type.
    pub dtype: DType,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of elements in them.
    pub elements: u64,
    /// Bytes of their data.
    pub bytes: u64,
}

impl WeightFile {
    /// Bytes of the data of all tensors: what loading them as they are takes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.types().iter().map(|share| share.bytes).sum()
    }

    /// Number of elements of all tensors.
    #[must_use]
    pub fn parameter_count(&self) -> u64 {
        self.types().iter().map(|share| share.elements).sum()
    }

    /// The types in the file, the one with the most elements first.
    #[must_use]
    pub fn types(&self) -> Vec<TypeShare> {
        let mut shares: HashMap<DType, TypeShare> = HashMap::new();
        for tensor in self.tensors() {
            let share = shares.entry(tensor.dtype).or_insert(TypeShare {
                dtype: tensor.dtype,
                tensors: 0,
                elements: 0,
                bytes: 0,
            });
            share.tensors += 1;
            // Views of PyTorch may share elements, so that sums are not bounded by the file.
            share.elements = share.elements.saturating_add(tensor.elements() as u64);
            let bytes = tensor.byte_len().unwrap_or(0) as u64;
            share.bytes = share.bytes.saturating_add(bytes);
        }
        let mut shares: Vec<TypeShare> = shares.into_values().collect();
        shares.sort_by_key(|share| (std::cmp::Reverse(share.elements), share.dtype.name()));
        shares
    }

    /// The type that most elements have; `None` for a file without tensors.
    #[must_use]
    pub fn dominant_type(&self) -> Option<DType> {
        self.types().first().map(|share| share.dtype)
    }

    /// What people call the file's precision: the recipe that a GGUF file names
    /// (`general.file_type`, such as `Q4_K_M`), else the name of the dominant type.
    #[must_use]
    pub fn type_name(&self) -> Option<&'static str> {
        let recipe = self.metadata().and_then(|m| m.u32("general.file_type"));
        recipe
            .and_then(crate::gguf::file_type_name)
            .or_else(|| self.dominant_type().map(DType::name))
    }
}

/// The name that shares most of its beginning and end with `name`, if that is more than half.
pub(super) fn nearest(name: &str, tensors: &[TensorInfo]) -> Option<String> {
    let shared = |other: &str| {
        let (a, b) = (name.as_bytes(), other.as_bytes());
        let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let (a, b) = (&a[front..], &b[front..]);
        let back = a.iter().rev().zip(b.iter().rev());
        front + back.take_while(|(x, y)| x == y).count()
    };
    let best = tensors
        .iter()
        .max_by_key(|t| (shared(&t.name), std::cmp::Reverse(&t.name)))?;
    (2 * shared(&best.name) > name.len()).then(|| best.name.clone())
}
