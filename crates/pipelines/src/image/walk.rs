//! A closed path through a latent space.

/// `frames` points on the great circle through `from` and `to`: `from`·cos θ + `to`·sin θ, at equal angles. For two
/// standard normal vectors every point is standard normal too, so that each frame is as likely a picture as any, and the
/// last frame leads back to the first ([White 2016](https://arxiv.org/abs/1609.04468) on why not along straight lines).
pub fn circle(from: &[f32], to: &[f32], frames: usize) -> Vec<Vec<f32>> {
    let point = |frame: usize| {
        let (sin, cos) = (std::f64::consts::TAU * frame as f64 / frames as f64).sin_cos();
        let mix = |(&a, &b): (&f32, &f32)| (f64::from(a) * cos + f64::from(b) * sin) as f32;
        from.iter().zip(to).map(mix).collect()
    };
    (0..frames).map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_even_and_the_circle_closes() {
        let (from, to) = (vec![3.0, 0.0, 4.0], vec![0.0, 5.0, 0.0]);
        let points = circle(&from, &to, 24);
        assert_eq!(points[0], from);
        let distance = |a: &[f32], b: &[f32]| -> f32 {
            a.iter()
                .zip(b)
                .map(|(a, b)| (a - b).powi(2))
                .sum::<f32>()
                .sqrt()
        };
        let step = distance(&points[0], &points[1]);
        for (i, point) in points.iter().enumerate() {
            let next = &points[(i + 1) % points.len()];
            assert!((distance(point, next) - step).abs() < 1e-4);
            assert!((distance(point, &[0.0; 3]) - 5.0).abs() < 1e-4);
        }
        assert!(distance(&points[6], &to) < 1e-5);
    }
}
