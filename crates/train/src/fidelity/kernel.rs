//! The kernel distance of features.

/// The squared maximum mean discrepancy of two sets of features `[rows, dim]` under the kernel `(x·y / dim + 1)³`, without
/// bias (Bińkowski et al. 2018, KID): its mean over draws of the same pictures is 0, however few there are, where a
/// Fréchet distance is the larger the fewer. None for fewer than two rows on a side.
pub fn kernel_distance(a: &[f32], b: &[f32], dim: usize) -> Option<f64> {
    let (n, m) = (a.len() / dim.max(1), b.len() / dim.max(1));
    if n < 2 || m < 2 {
        return None;
    }
    let kernel = |x: &[f32], y: &[f32]| {
        let dot: f64 = x
            .iter()
            .zip(y)
            .map(|(&x, &y)| f64::from(x) * f64::from(y))
            .sum();
        (dot / dim as f64 + 1.0).powi(3)
    };
    let sum = |a: &[f32], b: &[f32]| -> f64 {
        let rows = a.chunks_exact(dim);
        rows.map(|x| b.chunks_exact(dim).map(|y| kernel(x, y)).sum::<f64>())
            .sum()
    };
    let own = |a: &[f32], n: usize| {
        let with_itself: f64 = a.chunks_exact(dim).map(|x| kernel(x, x)).sum();
        (sum(a, a) - with_itself) / (n * (n - 1)) as f64
    };
    Some(own(a, n) + own(b, m) - 2.0 * sum(a, b) / (n * m) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, normal};

    fn draws(seed: u64, shift: f32) -> Vec<f32> {
        let all = normal(seed, Purpose::Noise, 0, 60 * 4);
        all.map(|x| x as f32 + shift).collect()
    }

    #[test]
    fn it_is_about_0_for_the_same_and_grows_with_the_difference() {
        let distance = |shift| {
            let each = (0..20)
                .map(|i| kernel_distance(&draws(2 * i, 0.0), &draws(2 * i + 1, shift), 4).unwrap());
            each.sum::<f64>() / 20.0
        };
        let (none, some, much) = (distance(0.0), distance(0.5), distance(1.0));
        assert!(
            none.abs() < 0.03 && some > 0.2 && much > 2.0 * some,
            "{none} {some} {much}"
        );
        assert_eq!(kernel_distance(&[1.0; 4], &[1.0; 8], 4), None);
    }
}
