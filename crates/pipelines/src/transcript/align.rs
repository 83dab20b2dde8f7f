//! When each word is said: the path along which the decoder's heads look through the window, by dynamic time warping,
//! as OpenAI's [timing.py](https://github.com/openai/whisper/blob/main/whisper/timing.py) finds it.

use medley_models::whisper::Gaze;
use medley_sampling::log_sum_exp;
use medley_tokenize::whisper::is_spaced;
use medley_types::HeardWord;

use super::Ear;
use super::window::Aligned;
use crate::PipelineError;

/// Seconds of a state.
const STATE: f64 = 0.02;
/// States over whose middle one a head's look is smoothed.
const SMOOTH: usize = 7;
/// Marks that belong to the word behind them, and to the word before.
const OPENING: &str = "\"'“¿([{-";
const CLOSING: &str = "\"'.。,，!！?？:：”)]}、";
/// A word takes no longer than this, whatever the path says.
const LONGEST: f64 = 2.0;

impl Ear {
    /// The words of each stretch, in seconds of the window. `begins` are the tokens that begin a text.
    pub(super) fn align(
        &self,
        begins: &[u32],
        stretches: &[&[u32]],
        window: &Aligned<'_>,
        language: &str,
    ) -> Result<Vec<Vec<HeardWord>>, PipelineError> {
        let t = self.tokenizer.tokens();
        let spoken = |tokens: &[u32]| -> Vec<u32> {
            tokens.iter().copied().filter(|&id| id < t.end).collect()
        };
        let texts: Vec<Vec<u32>> = stretches.iter().map(|tokens| spoken(tokens)).collect();
        let all: Vec<u32> = texts.concat();
        let most = self.model.config().text_context;
        if all.is_empty() || begins.len() + all.len() + 2 > most || window.states < 2 {
            return Ok(vec![Vec::new(); stretches.len()]);
        }
        let mut tokens = begins.to_vec();
        tokens.push(t.no_times);
        let first = tokens.len();
        tokens.extend(&all);
        tokens.push(t.end);
        let decoder = &self.model.decoder;
        let (states, gaze) = decoder.gaze(&tokens, window.memory, &self.alignment)?;
        let chances = self.chances(&states, &all, first)?;
        // The row of each token says where the model looks while it writes the next.
        let rows = first - 1..tokens.len() - 1;
        let starts = path(
            &smoothed(&gaze, rows.clone(), window.states),
            rows.len(),
            window.states,
        );
        let mut at = 0;
        let mut out = Vec::new();
        for text in &texts {
            let words = self.tokenizer.words(text, language);
            let mut found = Vec::new();
            for word in &words {
                let (from, to) = (at, at + word.len());
                let mean = chances[from..to].iter().sum::<f64>() / word.len() as f64;
                let start = starts[from] as f64 * STATE;
                let end = starts[to] as f64 * STATE;
                found.push(HeardWord {
                    word: self.tokenizer.decode(word),
                    start,
                    end: end.clamp(start, start + LONGEST),
                    probability: (mean * 1000.0).round() / 1000.0,
                });
                at = to;
            }
            out.push(joined(found, is_spaced(language)));
        }
        Ok(out)
    }

    /// The probability of each token of a text that begins at `first`.
    fn chances(
        &self,
        states: &medley_nn::Tensor,
        text: &[u32],
        first: usize,
    ) -> Result<Vec<f64>, PipelineError> {
        let rows = states
            .narrow(0, first - 1, text.len())
            .map_err(medley_models::ConfigError::from)?;
        let logits = self.model.decoder.logits(&rows)?;
        let vocab = self.model.config().vocab_size;
        // Among words alone: the model was not asked for times.
        let end = self.tokenizer.tokens().end as usize;
        let rows = logits.chunks_exact(vocab).zip(text);
        Ok(rows
            .map(|(row, &id)| (f64::from(row[id as usize]) - log_sum_exp(&row[..end])).exp())
            .collect())
    }
}

/// How strongly each row looks at each of the first `states`, over all heads: each head's share is brought to mean 0 and
/// deviation 1 over the rows and smoothed along time.
fn smoothed(gaze: &Gaze, rows: std::ops::Range<usize>, states: usize) -> Vec<f32> {
    let (count, states) = (rows.len(), states.min(gaze.states));
    let mut sum = vec![0.0f32; count * states];
    for head in &gaze.heads {
        let all = head.len() / gaze.states.max(1);
        let mut part: Vec<f32> = Vec::with_capacity(all * states);
        for row in head.chunks_exact(gaze.states) {
            let total: f32 = row[..states].iter().sum();
            part.extend(
                row[..states]
                    .iter()
                    .map(|x| x / total.max(f32::MIN_POSITIVE)),
            );
        }
        for s in 0..states {
            let column = || (0..all).map(|r| part[r * states + s]);
            let mean = column().sum::<f32>() / all as f32;
            let spread = column().map(|x| (x - mean).powi(2)).sum::<f32>() / all as f32;
            let deviation = spread.sqrt().max(1e-9);
            (0..all).for_each(|r| part[r * states + s] = (part[r * states + s] - mean) / deviation);
        }
        for (out, row) in sum
            .chunks_exact_mut(states)
            .zip(part.chunks_exact(states).skip(rows.start))
        {
            for (s, out) in out.iter_mut().enumerate() {
                *out += median(row, s);
            }
        }
    }
    sum
}

/// The median around a place; at the ends the row runs back.
fn median(row: &[f32], at: usize) -> f32 {
    let reach = SMOOTH / 2;
    if row.len() <= reach {
        return row[at];
    }
    let mut seen = [0.0f32; SMOOTH];
    for (k, seen) in seen.iter_mut().enumerate() {
        let i = (at + k) as isize - reach as isize;
        let i = i.unsigned_abs();
        *seen = row[if i < row.len() {
            i
        } else {
            2 * (row.len() - 1) - i
        }];
    }
    seen.sort_by(f32::total_cmp);
    seen[reach]
}

/// The state at which each of `rows` is first looked at along the path of the greatest sum, which goes on by a row, a
/// state, or both.
fn path(strength: &[f32], rows: usize, states: usize) -> Vec<usize> {
    let states = states.min(strength.len() / rows.max(1));
    let width = states + 1;
    let mut cost = vec![f32::INFINITY; (rows + 1) * width];
    let mut came = vec![0u8; (rows + 1) * width];
    cost[0] = 0.0;
    for r in 1..=rows {
        for s in 1..=states {
            let at = r * width + s;
            let (both, row, state) = (cost[at - width - 1], cost[at - width], cost[at - 1]);
            let (least, step) = match (both < row && both < state, row < state) {
                (true, _) => (both, 0),
                (false, true) => (row, 1),
                (false, false) => (state, 2),
            };
            cost[at] = least - strength[(r - 1) * states + s - 1];
            came[at] = step;
        }
    }
    let (mut r, mut s) = (rows, states);
    let mut starts = vec![0; rows];
    while r > 0 && s > 0 {
        starts[r - 1] = s - 1;
        match came[r * width + s] {
            0 => (r, s) = (r - 1, s - 1),
            1 => r -= 1,
            _ => s -= 1,
        }
    }
    starts
}

/// Gives marks that stand alone to the words that they belong to, and, in languages with spaces between words, whatever has
/// none before it to what stands there.
fn joined(words: Vec<HeardWord>, spaced: bool) -> Vec<HeardWord> {
    let mut out: Vec<HeardWord> = Vec::new();
    let mut waiting: Option<HeardWord> = None;
    for mut word in words {
        let mark = word.word.trim();
        let is_one_of = |marks: &str| !mark.is_empty() && marks.contains(mark);
        let is_mark = is_one_of(CLOSING) || mark.chars().all(|c| c.is_ascii_punctuation());
        if let Some(open) = waiting.take() {
            word.word.insert_str(0, open.word.trim_end());
            out.push(word);
            continue;
        }
        let touches = !word.word.starts_with(' ') && (spaced || is_one_of(CLOSING));
        match out.last_mut().filter(|_| touches) {
            Some(last) => {
                last.word.push_str(&word.word);
                // A mark is where the speaker pauses.
                if !is_mark {
                    last.end = word.end;
                    last.probability = last.probability.min(word.probability);
                }
            }
            None if word.word.starts_with(' ') && is_one_of(OPENING) => waiting = Some(word),
            None => out.push(word),
        }
    }
    out.extend(waiting);
    out.iter_mut()
        .for_each(|w| w.word = w.word.trim().to_owned());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_follows_the_look() {
        // Three rows that look at the states 0, 2 and 5 of six.
        let mut strength = vec![-1.0; 18];
        for (row, looks) in [(0, [0, 1]), (1, [2, 3]), (2, [4, 5])] {
            looks.iter().for_each(|s| strength[row * 6 + s] = 1.0);
        }
        assert_eq!(path(&strength, 3, 6), [0, 2, 4]);
    }

    #[test]
    fn marks_go_to_their_words() {
        let word = |word: &str, start: f64| HeardWord {
            word: word.into(),
            start,
            end: start + 1.0,
            probability: 1.0,
        };
        let words = vec![
            word(" Say", 0.0),
            word(" \"", 1.0),
            word("yes", 2.0),
            word("!", 3.0),
            word("\"", 3.5),
        ];
        let words = joined(words, true);
        let spelled: Vec<&str> = words.iter().map(|w| w.word.as_str()).collect();
        assert_eq!(spelled, ["Say", "\"yes!\""]);
        assert_eq!((words[1].start, words[1].end), (2.0, 3.0));
        let words = [" eight", " o", "'", "clock", "."];
        let words = words
            .iter()
            .zip([0.0, 1.0, 2.0, 3.0, 4.0])
            .map(|(w, t)| word(w, t));
        let words = joined(words.collect(), true);
        assert_eq!((words[1].word.as_str(), words[1].end), ("o'clock.", 4.0));
        let words = joined(
            vec![word("日", 0.0), word("本", 1.0), word("。", 2.0)],
            false,
        );
        let spelled: Vec<&str> = words.iter().map(|w| w.word.as_str()).collect();
        assert_eq!(spelled, ["日", "本。"]);
    }
}
