//! Which tokens may come next: the logit filters of OpenAI's
//! [decoding.py](https://github.com/openai/whisper/blob/main/whisper/decoding.py).

use medley_sampling::log_sum_exp;
use medley_tokenize::whisper::WhisperTokens;

/// The first time of a window is at most this many steps of 20 ms after its beginning.
const LATEST_FIRST: u32 = 50;

/// What holds for every text of a model.
pub(super) struct Rules<'a> {
    pub(super) tokens: &'a WhisperTokens,
    /// Tokens that are never written.
    pub(super) suppressed: &'a [u32],
}

impl Rules<'_> {
    /// Takes what may not follow `written` (the tokens of this window so far) out of `logits`. Times come in pairs,
    /// save at the ends, and never run back; where some time is likelier than every word, it is a time.
    pub(super) fn apply(&self, written: &[u32], logits: &mut [f32]) {
        let t = self.tokens;
        let times = t.times as usize;
        let never = f32::NEG_INFINITY;
        for &id in self.suppressed {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = never;
            }
        }
        for (id, logit) in logits
            .iter_mut()
            .enumerate()
            .take(times)
            .skip(t.start.min(t.end) as usize)
        {
            if id != t.end as usize {
                *logit = never;
            }
        }
        let is_time = |id: Option<&u32>| id.is_some_and(|&id| id >= t.times);
        let last_was = is_time(written.last());
        let before_was = written.len() < 2 || is_time(written.get(written.len().wrapping_sub(2)));
        if last_was {
            match before_was {
                true => logits[times..].fill(never),
                false => logits[..t.end as usize].fill(never),
            }
        }
        if let Some(&last) = written.iter().rfind(|&&id| id >= t.times) {
            // A stretch that has ended has some length.
            let next = if last_was && !before_was {
                last
            } else {
                last + 1
            };
            let end = (next as usize).min(logits.len());
            logits[times..end].fill(never);
        }
        if written.is_empty() {
            logits[..times].fill(never);
            let end = (times + LATEST_FIRST as usize + 1).min(logits.len());
            logits[end..].fill(never);
        }
        let (words, later) = logits.split_at_mut(times);
        let likeliest = words.iter().copied().fold(never, f32::max);
        if log_sum_exp(later) > f64::from(likeliest) {
            words.fill(never);
        }
    }
}
