//! Where the bytes of a tensor are, and how to get them in order.

use std::ops::Range;
use std::sync::OnceLock;

/// Where a tensor's data lies in its file.
pub(crate) enum Place {
    /// Contiguous and row-major.
    Plain(Range<usize>),
    /// A view with strides, of PyTorch.
    Strided(Box<Strided>),
}

/// A strided view of a stretch of a file, and its contiguous copy once it was asked for.
pub(crate) struct Strided {
    /// From the first element to the end of the storage.
    pub(crate) range: Range<usize>,
    /// Bytes of an element.
    width: usize,
    shape: Vec<usize>,
    /// In elements; every element that they reach lies in `range`, as the reader has checked.
    strides: Vec<usize>,
    copy: OnceLock<Box<[u8]>>,
}

impl Strided {
    pub(crate) fn new(
        range: Range<usize>,
        width: usize,
        shape: &[usize],
        strides: Vec<usize>,
    ) -> Self {
        Self {
            range,
            width,
            shape: shape.to_vec(),
            strides,
            copy: OnceLock::new(),
        }
    }

    /// The elements in row-major order, copied on the first call. `None` where the view reaches out
    /// of `file`, which the reader has excluded.
    pub(crate) fn contiguous(&self, file: &[u8]) -> Option<&[u8]> {
        let storage = file.get(self.range.clone())?;
        if let Some(copy) = self.copy.get() {
            return Some(copy);
        }
        let copy = self.gather(storage)?;
        Some(self.copy.get_or_init(|| copy.into()))
    }

    fn gather(&self, storage: &[u8]) -> Option<Vec<u8>> {
        let elements = self.shape.iter().product::<usize>();
        let mut out = Vec::with_capacity(elements * self.width);
        let mut index = vec![0usize; self.shape.len()];
        let mut at = 0usize;
        for _ in 0..elements {
            let start = at * self.width;
            out.extend_from_slice(storage.get(start..start + self.width)?);
            // Count up like an odometer, last dimension fastest.
            for d in (0..index.len()).rev() {
                index[d] += 1;
                at += self.strides[d];
                if index[d] < self.shape[d] {
                    break;
                }
                at -= self.strides[d] * index[d];
                index[d] = 0;
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(shape: &[usize], strides: &[usize], storage: &[u8]) -> Option<Vec<u8>> {
        Strided::new(0..storage.len(), 1, shape, strides.to_vec())
            .contiguous(storage)
            .map(<[u8]>::to_vec)
    }

    #[test]
    fn views_become_contiguous() {
        let data: Vec<u8> = (0..24).collect();
        // A transposed 2 × 3 matrix.
        assert_eq!(
            gather(&[3, 2], &[1, 3], &data[..6]),
            Some(vec![0, 3, 1, 4, 2, 5])
        );
        // Every second row and third column of 4 × 6.
        assert_eq!(gather(&[2, 2], &[12, 3], &data), Some(vec![0, 3, 12, 15]));
        // One element, seen six times.
        assert_eq!(gather(&[2, 3], &[0, 0], &data[7..8]), Some(vec![7; 6]));
        assert_eq!(gather(&[25], &[1], &data), None);
    }
}
