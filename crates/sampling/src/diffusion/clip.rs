//! Noise for clips.

/// Turns noise of their own for the frames of a clip, `own` `[channels, frames, plane]`, into noise of the same variance of
/// which all frames have the share `shared` in common, taken from `common` `[channels, plane]`
/// ([Ge et al. 2023](https://arxiv.org/abs/2305.10474), section 3, where the share is α²/(1 + α²)).
pub fn share_noise(own: &mut [f32], common: &[f32], [frames, plane]: [usize; 2], shared: f64) {
    let (of_common, of_own) = (shared.sqrt() as f32, (1.0 - shared).sqrt() as f32);
    let channels = own.chunks_exact_mut((frames * plane).max(1));
    for (channel, common) in channels.zip(common.chunks_exact(plane.max(1))) {
        for frame in channel.chunks_exact_mut(plane) {
            for (own, common) in frame.iter_mut().zip(common) {
                *own = of_own * *own + of_common * common;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_their_share_in_common() {
        // Two channels, three frames, two places.
        let mut own: Vec<f32> = (0..12u8).map(f32::from).collect();
        let common = [100.0, 200.0, 300.0, 400.0];
        share_noise(&mut own, &common, [3, 2], 0.36);
        for (i, value) in own.iter().enumerate() {
            let expected = 0.8 * i as f32 + 0.6 * common[i / 6 * 2 + i % 2];
            assert!((value - expected).abs() < 1e-4, "{i}: {value}, {expected}");
        }
        let mut alone = vec![1.0, 2.0];
        share_noise(&mut alone, &[5.0], [2, 1], 0.0);
        assert_eq!(alone, [1.0, 2.0]);
        share_noise(&mut alone, &[5.0], [2, 1], 1.0);
        assert_eq!(alone, [5.0, 5.0]);
    }
}
