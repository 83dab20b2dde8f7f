//! When the words of the written text are said.

use medley_tokenize::english::Spoken;
use medley_types::WordTime;

/// Spoken words with their beginning and end in seconds.
pub(super) struct Said<'a> {
    pub spoken: &'a Spoken,
    pub start: f64,
    pub end: f64,
}

/// The words of `text`, as they are written, with their times: those that are said as they are written keep theirs, and
/// what stands between them (numbers, signs) takes the time of what was said for it.
pub(super) fn written(text: &str, said: &[Said<'_>]) -> Vec<WordTime> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let spoken: Vec<&Said<'_>> = said
        .iter()
        .filter(|s| s.spoken.text.chars().any(char::is_alphanumeric))
        .collect();
    let mut out = Vec::with_capacity(words.len());
    let (mut w, mut s) = (0, 0);
    for (i, j) in common(&words, &spoken)
        .into_iter()
        .chain([(words.len(), spoken.len())])
    {
        share(&words[w..i], &spoken[s..j], &mut out);
        if let (Some(word), Some(said)) = (words.get(i), spoken.get(j)) {
            out.push(time(word, said.start, said.end));
        }
        (w, s) = (i + 1, j + 1);
    }
    out
}

/// The time of some spoken words for some written ones, by their letters.
fn share(words: &[&str], spoken: &[&Said<'_>], out: &mut Vec<WordTime>) {
    let before = out.last().map_or(0.0, |word: &WordTime| word.end);
    let start = spoken.first().map_or(before, |s| s.start);
    let end = spoken.last().map_or(start, |s| s.end);
    let total: usize = words.iter().map(|word| word.chars().count()).sum();
    let mut letters = 0;
    for word in words {
        let at = |letters: usize| start + (end - start) * letters as f64 / total.max(1) as f64;
        let from = at(letters);
        letters += word.chars().count();
        out.push(time(word, from, at(letters)));
    }
}

fn time(word: &str, start: f64, end: f64) -> WordTime {
    WordTime {
        word: word.to_owned(),
        start,
        end,
        sentence: 0,
    }
}

/// The longest run of words that both have, as pairs of places.
fn common(words: &[&str], spoken: &[&Said<'_>]) -> Vec<(usize, usize)> {
    let plain = |word: &str| -> String {
        let letters = word.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let a: Vec<String> = words.iter().map(|word| plain(word)).collect();
    let b: Vec<String> = spoken.iter().map(|s| plain(&s.spoken.text)).collect();
    let width = b.len() + 1;
    let mut best = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            best[i * width + j] = if a[i] == b[j] && !a[i].is_empty() {
                best[(i + 1) * width + j + 1] + 1
            } else {
                best[(i + 1) * width + j].max(best[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if a[i] == b[j] && !a[i].is_empty() {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if best[(i + 1) * width + j] >= best[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_words_take_the_times_of_what_is_said_for_them() {
        let said: Vec<Spoken> = "It costs nine dollars and fifty cents , Ann ."
            .split(' ')
            .map(|text| Spoken {
                text: text.to_owned(),
                phonemes: "x".to_owned(),
                space: true,
            })
            .collect();
        let said: Vec<Said<'_>> = said
            .iter()
            .enumerate()
            .map(|(i, spoken)| Said {
                spoken,
                start: i as f64,
                end: i as f64 + 1.0,
            })
            .collect();
        let words = written("It costs $9.50, Ann.", &said);
        let times: Vec<_> = words
            .iter()
            .map(|w| (w.word.as_str(), w.start, w.end))
            .collect();
        assert_eq!(
            times,
            [
                ("It", 0.0, 1.0),
                ("costs", 1.0, 2.0),
                ("$9.50,", 2.0, 7.0),
                ("Ann.", 8.0, 9.0)
            ]
        );
        assert!(written("", &said).is_empty());
        assert_eq!(written("🍎 🍐", &[]).len(), 2);
    }
}
