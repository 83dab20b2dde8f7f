//! Symmetric matrices.

/// Off-diagonal elements below this share of the whole count as nothing.
const NOTHING: f64 = 1e-14;
/// Sweeps over all elements; some ten do.
const SWEEPS: usize = 60;

/// Eigenvalues of a symmetric matrix `[n, n]`, and its eigenvectors as the rows of a second one, by cyclic rotations
/// (Jacobi 1846; Golub and Van Loan, "Matrix Computations", section 8.5).
pub(super) fn eigen(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = matrix.to_vec();
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let whole: f64 = a.iter().map(|x| x * x).sum::<f64>().sqrt();
    for _ in 0..SWEEPS {
        let upper = (0..n).flat_map(|p| (p + 1..n).map(move |q| p * n + q));
        let off = upper.map(|at| a[at] * a[at]).sum::<f64>().sqrt();
        if off <= NOTHING * whole {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, (p, q));
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), vectors)
}

/// Makes the element at (`p`, `q`) 0.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, (p, q): (usize, usize)) {
    let element = a[p * n + q];
    if element == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * element);
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
    let turn = |m: &mut [f64]| {
        let (upper, lower) = m.split_at_mut(q * n);
        let rows = upper[p * n..][..n].iter_mut().zip(&mut lower[..n]);
        for (x, y) in rows {
            (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
        }
    };
    turn(a);
    turn(vectors);
    (a[p * n + q], a[q * n + p]) = (0.0, 0.0);
}

/// `a · b`, `[n, n]` each.
pub(super) fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    for (row, out) in a.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        for (&x, b) in row.iter().zip(b.chunks_exact(n)) {
            out.iter_mut().zip(b).for_each(|(sum, y)| *sum += x * y);
        }
    }
    out
}

/// The symmetric square root of a symmetric matrix without negative eigenvalues (those that rounding made count as 0).
pub(super) fn square_root(matrix: &[f64], n: usize) -> Vec<f64> {
    let (values, vectors) = eigen(matrix, n);
    let mut out = vec![0.0; n * n];
    for (value, vector) in values.iter().zip(vectors.chunks_exact(n)) {
        let root = value.max(0.0).sqrt();
        for (&x, out) in vector.iter().zip(out.chunks_exact_mut(n)) {
            let factor = root * x;
            out.iter_mut()
                .zip(vector)
                .for_each(|(sum, y)| *sum += factor * y);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `g gᵀ` of a full matrix, symmetric and positive.
    fn gram(n: usize) -> Vec<f64> {
        let g: Vec<f64> = (0..n * n).map(|i| (i as f64 * 0.737).sin()).collect();
        let turned: Vec<f64> = (0..n * n).map(|i| g[i % n * n + i / n]).collect();
        product(&g, &turned, n)
    }

    #[test]
    fn vectors_and_values_make_the_matrix() {
        let n = 17;
        let a = gram(n);
        let (values, vectors) = eigen(&a, n);
        for i in 0..n {
            for j in 0..n {
                let terms = (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]);
                assert!((terms.sum::<f64>() - a[i * n + j]).abs() < 1e-11);
                let dot: f64 = (0..n)
                    .map(|k| vectors[i * n + k] * vectors[j * n + k])
                    .sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
        let trace: f64 = (0..n).map(|i| a[i * n + i]).sum();
        assert!((trace - values.iter().sum::<f64>()).abs() < 1e-10);
    }

    #[test]
    fn the_root_times_itself_is_the_matrix() {
        let n = 12;
        let a = gram(n);
        let root = square_root(&a, n);
        let back = product(&root, &root, n);
        assert!(a.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-10));
    }
}
