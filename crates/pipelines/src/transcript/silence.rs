//! Whether there is anything to hear: a model that is given silence makes words up.

/// Samples of a stretch whose loudness is measured: 25 ms.
const STRETCH: usize = 400;
/// Quieter than this, in decibels below full scale, nobody is heard.
const QUIET: f32 = -60.0;
/// Loudness that varies by less than so many decibels is hum or hiss.
const STEADY: f32 = 6.0;
/// Shorter sounds may be as steady as they like.
const SHORT: usize = 40;

/// Whether somebody may speak in `samples`: loud enough at some place, and, where it goes on for a second, not equally
/// loud throughout as noise and hum are.
pub(super) fn may_speak(samples: &[f32]) -> bool {
    let mut levels: Vec<f32> = samples.chunks(STRETCH).map(level).collect();
    levels.sort_by(f32::total_cmp);
    let Some(&loudest) = levels.last() else {
        return false;
    };
    if loudest < QUIET {
        return false;
    }
    let at = |share: f32| levels[((levels.len() - 1) as f32 * share) as usize];
    levels.len() < SHORT || at(0.98) - at(0.05) > STEADY
}

/// Mean power in decibels.
fn level(samples: &[f32]) -> f32 {
    let power: f32 = samples.iter().map(|x| x * x).sum::<f32>() / samples.len().max(1) as f32;
    10.0 * power.max(1e-12).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize, loudness: f32) -> Vec<f32> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next() * loudness).collect()
    }

    #[test]
    fn silence_hiss_and_hum_are_no_speech() {
        assert!(!may_speak(&[]));
        assert!(!may_speak(&vec![0.0; 160_000]));
        assert!(!may_speak(&noise(160_000, 1e-4)));
        assert!(!may_speak(&noise(160_000, 0.3)));
        let hum: Vec<f32> = (0..160_000)
            .map(|i| (i as f32 * 0.02).sin() * 0.2)
            .collect();
        assert!(!may_speak(&hum));
    }

    #[test]
    fn what_comes_and_goes_may_be_speech() {
        let mut sound = noise(160_000, 0.01);
        for (i, x) in sound.iter_mut().enumerate() {
            *x *= if i / 3000 % 2 == 0 { 8.0 } else { 1.0 };
        }
        assert!(may_speak(&sound));
        // A short cry.
        assert!(may_speak(&noise(8000, 0.2)));
    }
}
