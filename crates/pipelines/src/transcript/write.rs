//! A transcript as files: text, captions, tables.

use std::fmt::Write;

use medley_types::{Transcript, TranscriptSegment};

/// A form of transcripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TranscriptFormat {
    /// A line for each stretch.
    Text,
    /// One object with text, language, duration, segments and words.
    Json,
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
    /// Begin and end in milliseconds and text, with tabs between.
    Tsv,
}

impl TranscriptFormat {
    /// The form of an ending or of `--format`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "text" | "txt" => Self::Text,
            "json" => Self::Json,
            "srt" => Self::Srt,
            "vtt" => Self::Vtt,
            "tsv" => Self::Tsv,
            _ => return None,
        })
    }
}

/// The transcript in this form; ends in a line feed unless it is empty text.
pub fn written(transcript: &Transcript, format: TranscriptFormat) -> String {
    let segments = &transcript.segments;
    match format {
        TranscriptFormat::Text => segments
            .iter()
            .map(|s| format!("{}\n", s.text.trim()))
            .collect(),
        TranscriptFormat::Json => format!("{}\n", serde_json::json!(transcript)),
        TranscriptFormat::Srt => cues(segments, ','),
        TranscriptFormat::Vtt => format!("WEBVTT\n\n{}", cues(segments, '.')),
        TranscriptFormat::Tsv => {
            let mut out = "start\tend\ttext\n".to_owned();
            for s in segments {
                let text = s.text.trim().replace('\t', " ");
                let _ = writeln!(
                    out,
                    "{:.0}\t{:.0}\t{text}",
                    s.start * 1000.0,
                    s.end * 1000.0
                );
            }
            out
        }
    }
}

/// `point` stands before the milliseconds; WebVTT, which has the full stop there, has no numbers and escapes its signs.
fn cues(segments: &[TranscriptSegment], point: char) -> String {
    let mut out = String::new();
    for (number, s) in segments.iter().enumerate() {
        let mut text = s.text.trim().replace("-->", "->");
        if point == '.' {
            text = text.replace('&', "&amp;").replace('<', "&lt;");
        } else {
            let _ = writeln!(out, "{}", number + 1);
        }
        let (from, to) = (stamp(s.start, point), stamp(s.end, point));
        let _ = write!(out, "{from} --> {to}\n{text}\n\n");
    }
    out
}

fn stamp(seconds: f64, point: char) -> String {
    crate::speech::captions::stamp_with(seconds, point)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript() -> Transcript {
        let segment = |id, start, end, text: &str| TranscriptSegment {
            id,
            seek: 0,
            start,
            end,
            text: text.into(),
            tokens: Vec::new(),
            temperature: 0.0,
            avg_logprob: -0.1,
            compression_ratio: 1.0,
            no_speech_prob: 0.0,
        };
        Transcript {
            segments: vec![
                segment(0, 0.0, 1.5, " One <b>."),
                segment(1, 3661.25, 3662.0, " Two."),
            ],
            ..Transcript::default()
        }
    }

    #[test]
    fn every_form_has_its_times() {
        let of = |format| written(&transcript(), format);
        assert_eq!(of(TranscriptFormat::Text), "One <b>.\nTwo.\n");
        assert_eq!(
            of(TranscriptFormat::Srt),
            "1\n00:00:00,000 --> 00:00:01,500\nOne <b>.\n\n2\n01:01:01,250 --> 01:01:02,000\nTwo.\n\n"
        );
        assert_eq!(
            of(TranscriptFormat::Vtt),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nOne &lt;b>.\n\n01:01:01.250 --> 01:01:02.000\nTwo.\n\n"
        );
        assert_eq!(
            of(TranscriptFormat::Tsv),
            "start\tend\ttext\n0\t1500\tOne <b>.\n3661250\t3662000\tTwo.\n"
        );
    }
}
