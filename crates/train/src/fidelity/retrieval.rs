//! Whether pictures and captions find each other.

use std::collections::HashSet;

/// How often the right one was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retrieval {
    /// Share of queries for which it was the first.
    pub top_1: f64,
    /// Share for which it was among the first five.
    pub top_5: f64,
    /// Candidates of different names.
    pub among: usize,
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

/// For each row of `queries` `[n, dim]` the right row of `candidates` `[n, dim]` is that of its own number, or one of the
/// same name. Where others are as near they come first, so that a model to which all is alike finds nothing.
pub fn retrieve(queries: &[f32], candidates: &[f32], dim: usize, names: &[&str]) -> Retrieval {
    let (mut first, mut five) = (0usize, 0usize);
    for (i, query) in queries.chunks_exact(dim).enumerate() {
        let right = dot(query, &candidates[i * dim..][..dim]);
        let nearer = candidates
            .chunks_exact(dim)
            .enumerate()
            .filter(|(j, c)| names[*j] != names[i] && dot(query, c) >= right)
            .count();
        first += usize::from(nearer < 1);
        five += usize::from(nearer < 5);
    }
    let share = |found: usize| found as f64 / names.len().max(1) as f64;
    Retrieval {
        top_1: share(first),
        top_5: share(five),
        among: names.iter().collect::<HashSet<_>>().len(),
    }
}

/// The mean similarity of each row of `a` `[n, dim]` with the row of the same number of `b`, times 100 (the CLIP score of
/// Hessel et al. 2021 without its floor).
pub fn similarity(a: &[f32], b: &[f32], dim: usize) -> f64 {
    let pairs = a.chunks_exact(dim).zip(b.chunks_exact(dim));
    let (sum, count) = pairs.fold((0.0, 0), |(sum, n), (a, b)| (sum + dot(a, b), n + 1));
    100.0 * sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toy() {
        // Three captions along the axes; the second picture looks more like the third caption.
        let captions = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let pictures = [0.9, 0.1, 0.0, 0.0, 0.4, 0.6, 0.1, 0.0, 0.8];
        let found = retrieve(&pictures, &captions, 3, &["a", "b", "c"]);
        assert!((found.top_1 - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((found.top_5, found.among), (1.0, 3));
        // Captions of one name are as good as each other.
        assert_eq!(
            retrieve(&pictures, &captions, 3, &["a", "b", "b"]).top_1,
            1.0
        );
        let mean = 100.0 * (0.9 + 0.4 + 0.8) / 3.0;
        assert!((similarity(&pictures, &captions, 3) - mean).abs() < 1e-4);
    }

    #[test]
    fn a_model_that_tells_nothing_apart_finds_nothing() {
        let names: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = retrieve(&[1.0; 20], &[1.0; 20], 2, &names);
        assert_eq!((found.top_1, found.top_5), (0.0, 0.0));
    }
}
