//! The words of a voice with their times, out of the WebVTT file beside it.

use medley_media::film::timeline::Word;

/// The words of WebVTT: by the times before each, or spread evenly over their cue where somebody has edited it.
pub fn words(vtt: &str) -> Vec<Word> {
    let mut words = Vec::new();
    for cue in vtt.split("\n\n") {
        let mut lines = cue.lines().skip_while(|line| !line.contains("-->"));
        let Some((from, to)) = lines.next().and_then(|line| line.split_once("-->")) else {
            continue;
        };
        let to = to.split_whitespace().next().unwrap_or("");
        let (Some(start), Some(end)) = (seconds(from), seconds(to)) else {
            continue;
        };
        let text = lines.collect::<Vec<_>>().join(" ");
        words.extend(of_cue(&text, start, end));
    }
    words
}

fn of_cue(text: &str, start: f64, end: f64) -> Vec<Word> {
    let mut starts = Vec::new();
    let mut said = Vec::new();
    let mut next = Some(start);
    for piece in text.split_whitespace() {
        let (stamp, word) = match piece
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
        {
            Some((stamp, word)) => (seconds(stamp), word),
            None => (None, piece),
        };
        next = stamp.or(next);
        if !word.is_empty() {
            starts.push(next.take());
            said.push(plain(word));
        }
    }
    let count = said.len();
    let even = |at: usize| start + (end - start) * at as f64 / count.max(1) as f64;
    let timed = starts.iter().all(Option::is_some);
    let begin = |at: usize| match starts.get(at) {
        Some(Some(start)) if timed => *start,
        _ => even(at),
    };
    let word = |(at, word): (usize, String)| Word {
        word,
        start: begin(at),
        end: if at + 1 < count { begin(at + 1) } else { end },
    };
    said.into_iter().enumerate().map(word).collect()
}

fn plain(word: &str) -> String {
    word.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// `01:02.500` or `00:01:02.500`.
fn seconds(stamp: &str) -> Option<f64> {
    let parts = stamp.trim().split(':').map(str::parse::<f64>);
    let parts = parts.collect::<Result<Vec<_>, _>>().ok()?;
    let all = parts.iter().all(|part| part.is_finite() && *part >= 0.0);
    (all && (2..=3).contains(&parts.len()))
        .then(|| parts.iter().fold(0.0, |sum, part| sum * 60.0 + part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_spread() {
        let vtt = "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\nMeet\n<00:00:01.500>A&amp;B <00:00:02.000>now.\n\n1\n00:04.000 --> 00:06.000 align:start\nedited by hand\n\nnonsense --> here\nx\n";
        let found = words(vtt);
        let all: Vec<(&str, f64, f64)> = found
            .iter()
            .map(|w| (w.word.as_str(), w.start, w.end))
            .collect();
        assert_eq!(
            all[..3],
            [("Meet", 1.0, 1.5), ("A&B", 1.5, 2.0), ("now.", 2.0, 3.0)]
        );
        assert_eq!(all[3].1, 4.0);
        assert!((all[4].1 - 4.0 - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(all.len(), 6);
    }
}
