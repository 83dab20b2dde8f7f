//! The vectors of a collection in memory, and the exact scan of all of them.

use std::collections::HashSet;

use medley_kernels::{BlockType, PackedMatrix};
use rusqlite::Connection;

use crate::{EngineError, Result};

/// The vectors of all passages of a collection.
pub(super) struct Resident {
    /// The state of the collection that they are of.
    pub(super) version: i64,
    /// Their passages, in ascending order.
    passages: Vec<i64>,
    /// The document of each.
    documents: Vec<i64>,
    /// `[passages, width]`, in half precision.
    vectors: Option<PackedMatrix>,
}

/// A vector as it is kept: half precision, little endian.
pub(super) fn blob(vector: &[f32]) -> Vec<u8> {
    let halves = vector.iter().map(|&x| half::f16::from_f32(x));
    halves.flat_map(|half| half.to_le_bytes()).collect()
}

impl Resident {
    /// Reads the vectors of a collection.
    pub(super) fn load(connection: &Connection, collection: i64, version: i64) -> Result<Self> {
        let failed = |source| EngineError::Database { source };
        let mut select = connection
            .prepare(
                "SELECT p.seq, p.document, p.vector FROM passages p JOIN documents d ON d.seq = p.document \
                 WHERE d.collection = ? ORDER BY p.seq",
            )
            .map_err(failed)?;
        let (mut passages, mut documents, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        let mut width = None;
        let mut rows = select.query([collection]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let vector = row
                .get_ref(2)
                .and_then(|v| Ok(v.as_blob()?))
                .map_err(failed)?;
            if *width.get_or_insert(vector.len()) != vector.len() {
                continue;
            }
            bytes.extend_from_slice(vector);
            passages.push(row.get(0).map_err(failed)?);
            documents.push(row.get(1).map_err(failed)?);
        }
        let columns = width.unwrap_or(0) / 2;
        let vectors = match passages.len() {
            0 => None,
            rows => {
                let packed = PackedMatrix::pack(BlockType::F16, rows, columns, &bytes);
                Some(packed.map_err(|error| EngineError::Encoding {
                    reason: error.to_string(),
                })?)
            }
        };
        Ok(Self {
            version,
            passages,
            documents,
            vectors,
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.passages.len()
    }

    /// Cosine of a vector of length 1 with every passage, in their order; nothing where the widths differ.
    pub(super) fn scan(&self, vector: &[f32]) -> Vec<f32> {
        match &self.vectors {
            Some(vectors) if vectors.cols() == vector.len() => {
                let mut scores = vec![0.0; vectors.rows()];
                vectors.matmul(vector, &mut scores);
                scores
            }
            _ => Vec::new(),
        }
    }

    /// The `count` passages with the highest of these scores, the best first, of these documents alone.
    pub(super) fn best(
        &self,
        scores: &[f32],
        count: usize,
        of: Option<&HashSet<i64>>,
    ) -> Vec<(i64, f32)> {
        let among = |at: &usize| of.is_none_or(|of| of.contains(&self.documents[*at]));
        let mut order: Vec<usize> = (0..scores.len()).filter(among).collect();
        let by_score = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        if order.len() > count {
            order.select_nth_unstable_by(count, by_score);
            order.truncate(count);
        }
        order.sort_unstable_by(by_score);
        let pair = |at: usize| (self.passages[at], scores[at]);
        order.into_iter().map(pair).collect()
    }

    /// Where a passage stands, and its document.
    pub(super) fn place(&self, passage: i64) -> Option<(usize, i64)> {
        let at = self.passages.binary_search(&passage).ok()?;
        Some((at, self.documents[at]))
    }
}
