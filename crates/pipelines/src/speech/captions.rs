//! Captions: SubRip (SRT) and [WebVTT](https://www.w3.org/TR/webvtt1/), from the times of words.

use std::fmt::Write;
use std::path::Path;

use medley_types::WordTime;

/// Longest line of a caption, in characters: what fits on a screen.
const LINE: usize = 42;

/// A form of captions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptionFormat {
    /// SubRip.
    Srt,
    /// WebVTT, with the time of every word.
    Vtt,
}

impl CaptionFormat {
    /// The form that a file's name asks for; none for endings that stand for none.
    pub fn from_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "srt" => Some(Self::Srt),
            "vtt" => Some(Self::Vtt),
            _ => None,
        }
    }
}

/// The captions of these words, each at most two lines and never over the end of a sentence.
pub fn captions(words: &[WordTime], format: CaptionFormat) -> String {
    let mut out = match format {
        CaptionFormat::Srt => String::new(),
        CaptionFormat::Vtt => "WEBVTT\n\n".to_owned(),
    };
    for (number, cue) in cues(words).iter().enumerate() {
        let (Some(first), Some(last)) = (cue.first(), cue.last()) else {
            continue;
        };
        if format == CaptionFormat::Srt {
            let _ = writeln!(out, "{}", number + 1);
        }
        let (from, to) = (stamp(first.start, format), stamp(last.end, format));
        let _ = writeln!(out, "{from} --> {to}");
        out += &text(cue, format);
        out += "\n\n";
    }
    out
}

/// Words that are shown together.
fn cues(words: &[WordTime]) -> Vec<&[WordTime]> {
    let (mut cues, mut from, mut length) = (Vec::new(), 0, 0);
    for (at, word) in words.iter().enumerate() {
        let size = word.word.chars().count() + 1;
        let other = at > from && words[from].sentence != word.sentence;
        if other || length + size > 2 * LINE && at > from {
            cues.push(&words[from..at]);
            (from, length) = (at, 0);
        }
        length += size;
    }
    cues.push(&words[from..]);
    cues
}

fn text(cue: &[WordTime], format: CaptionFormat) -> String {
    let total: usize = cue.iter().map(|w| w.word.chars().count() + 1).sum();
    let (mut out, mut column, mut broken) = (String::new(), 0, false);
    for (i, word) in cue.iter().enumerate() {
        let size = word.word.chars().count() + 1;
        if i > 0 {
            // Two lines of about the same length.
            let full = column + size > LINE || column >= total / 2;
            let breaks = total > LINE && full && !broken;
            broken |= breaks;
            out.push(if breaks { '\n' } else { ' ' });
            if format == CaptionFormat::Vtt {
                let _ = write!(out, "<{}>", stamp(word.start, format));
            }
        }
        column += size;
        match format {
            CaptionFormat::Srt => out += &word.word,
            CaptionFormat::Vtt => {
                out += &word
                    .word
                    .replace('&', "&amp;")
                    .replace('<', "&lt;")
                    .replace('>', "&gt;");
            }
        }
    }
    out
}

/// `00:00:01,500` or `00:00:01.500`.
fn stamp(seconds: f64, format: CaptionFormat) -> String {
    match format {
        CaptionFormat::Srt => stamp_with(seconds, ','),
        CaptionFormat::Vtt => stamp_with(seconds, '.'),
    }
}

/// The same with any sign before the milliseconds.
pub(crate) fn stamp_with(seconds: f64, point: char) -> String {
    let all = (seconds.max(0.0) * 1000.0).round() as u64;
    format!(
        "{:02}:{:02}:{:02}{point}{:03}",
        all / 3_600_000,
        all / 60_000 % 60,
        all / 1000 % 60,
        all % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<WordTime> {
        let mut sentence = 0;
        text.split(' ')
            .enumerate()
            .map(|(i, word)| {
                let now = sentence;
                sentence += usize::from(word.ends_with('.'));
                WordTime {
                    word: word.to_owned(),
                    start: i as f64 * 0.5,
                    end: i as f64 * 0.5 + 0.4,
                    sentence: now,
                }
            })
            .collect()
    }

    #[test]
    fn sentences_have_captions_of_their_own() {
        let srt = captions(&words("Hello there. A < B."), CaptionFormat::Srt);
        assert_eq!(
            srt,
            "1\n00:00:00,000 --> 00:00:00,900\nHello there.\n\n2\n00:00:01,000 --> 00:00:02,400\nA < B.\n\n"
        );
        let vtt = captions(&words("A < B."), CaptionFormat::Vtt);
        assert_eq!(
            vtt,
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.400\nA <00:00:00.500>&lt; <00:00:01.000>B.\n\n"
        );
        assert_eq!(captions(&[], CaptionFormat::Vtt), "WEBVTT\n\n");
    }

    #[test]
    fn long_sentences_are_cut_into_lines_that_fit() {
        let srt = captions(&words(&"word ".repeat(60)), CaptionFormat::Srt);
        let lines: Vec<&str> = srt.lines().collect();
        assert!(
            lines.iter().all(|line| line.chars().count() <= LINE + 5),
            "{srt}"
        );
        assert!(srt.contains("\n\n3\n"));
        assert_eq!(stamp(3723.0456, CaptionFormat::Srt), "01:02:03,046");
    }
}
