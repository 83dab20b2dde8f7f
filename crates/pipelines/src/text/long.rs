//! Tasks over texts that are longer than the context: map and reduce.
//!
//! The material is parted where its structure parts it. Translations, rewritings and corrections are made part by part and
//! joined in order, with what stood between the parts; of the rest, the parts are summarised, again while the summaries
//! are too long, and the task is done over them.

use medley_types::{Event, FinishReason, Message, Prompt, TextRequest, TextTimings, TextWork};

use super::{Task, TextModel};
use crate::{PipelineError, Run, TextGenerator};

/// Tokens of a part at most, whatever the context: small models lose the thread of more.
const PART: usize = 900;

/// Tokens of a part of which as many are to come out again.
const COPIED: usize = 360;

/// Tokens that a summary of a part has at most.
const SUMMARY: usize = 160;

/// How often summaries are summarised at most.
const ROUNDS: usize = 8;

/// What carries out the requests that a task is made of.
pub trait Writer {
    /// Tokens of a conversation.
    ///
    /// # Errors
    /// A model without a chat template.
    fn tokens(&self, messages: &[Message]) -> Result<usize, PipelineError>;

    /// Most tokens of prompt and text together.
    fn context(&self) -> usize;

    /// Runs one request to its end.
    ///
    /// # Errors
    /// Those of the generator.
    fn write(&self, request: &TextRequest, run: &mut Run) -> Result<TextWork, PipelineError>;
}

impl Writer for TextModel {
    fn tokens(&self, messages: &[Message]) -> Result<usize, PipelineError> {
        let prompt = Prompt::Messages(messages.to_vec());
        match self.encode(&TextRequest::new("", prompt, 0)) {
            Ok(ids) => Ok(ids.len()),
            Err(PipelineError::PromptTooLong { prompt, .. }) => Ok(prompt),
            Err(error) => Err(error),
        }
    }

    fn context(&self) -> usize {
        TextModel::context(self)
    }

    fn write(&self, request: &TextRequest, run: &mut Run) -> Result<TextWork, PipelineError> {
        self.generate(request, run)
    }
}

/// A task with what the model is told before.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The task.
    pub task: &'a Task,
    /// What is said first.
    pub system: Option<&'a str>,
}

impl Asked<'_> {
    /// Whether the task over all of `material` is one request: it and its answer fit the context.
    ///
    /// # Errors
    /// A model without a chat template.
    pub fn fits(&self, writer: &impl Writer, material: &str) -> Result<bool, PipelineError> {
        // No token has so many bytes on the average, so that what is far too long need not be read.
        if material.len() / 16 > writer.context() {
            return Ok(false);
        }
        let prompt = writer.tokens(&self.task.messages(self.system, material))?;
        let room = match self.task.keeps_order() {
            true => writer.tokens(&[Message::new("user", material)])?,
            false => self.task.max_tokens().unwrap_or(SUMMARY),
        };
        Ok(prompt + room <= writer.context())
    }

    /// The request of the task over `material`, with what `template` says of model, sampling and seed.
    pub fn request(&self, material: &str, template: &TextRequest) -> TextRequest {
        let constraint = template.constraint.clone();
        TextRequest {
            prompt: Prompt::Messages(self.task.messages(self.system, material)),
            constraint: constraint.or_else(|| self.task.constraint(material)),
            max_tokens: template.max_tokens.or_else(|| self.task.max_tokens()),
            task: None,
            ..template.clone()
        }
    }

    /// Does the task over material that does not fit. Progress says how many parts are done; chunks are of the text that
    /// is given in the end.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`] where the context is too small for any part, and those of the writer. A
    /// cancelled run gives what was written so far.
    pub fn write_long(
        &self,
        writer: &impl Writer,
        material: &str,
        template: &TextRequest,
        run: &mut Run,
    ) -> Result<TextWork, PipelineError> {
        if self.task.keeps_order() {
            return self.in_order(writer, material, template, run);
        }
        let summary = Asked {
            task: &Task::Summarize,
            system: None,
        };
        let mut total = Total::default();
        let mut material = material.to_owned();
        for round in 0..ROUNDS {
            if self.fits(writer, &material)? {
                let work = writer.write(&self.request(&material, template), run)?;
                return Ok(total.with(work));
            }
            let before = material.len();
            let parts = parts(&material, &measure(writer, summary.part(writer)?));
            let mut summaries: Vec<String> = Vec::with_capacity(parts.len());
            for (index, part) in parts.iter().enumerate() {
                told(
                    run,
                    if round == 0 { "parts" } else { "summaries" },
                    index,
                    parts.len(),
                );
                let request = TextRequest {
                    constraint: Task::Summarize.constraint(part),
                    max_tokens: Some(SUMMARY),
                    stop: Vec::new(),
                    logprobs: None,
                    seed: template.seed.wrapping_add(index as u64),
                    ..summary.request(part.trim(), template)
                };
                let cancel = run.cancel.clone();
                let work = writer.write(&request, &mut Run::new(cancel, |_| {}))?;
                let cancelled = work.finish_reason == FinishReason::Cancelled;
                summaries.push(work.text.trim().to_owned());
                total.add(&work);
                if cancelled {
                    return Ok(total.given(summaries.join("\n"), FinishReason::Cancelled));
                }
            }
            told(run, "parts", parts.len(), parts.len());
            material = summaries.join("\n");
            if material.len() >= before {
                break;
            }
        }
        Err(PipelineError::InvalidRequest(
            "the text cannot be shortened to the context of this model".into(),
        ))
    }

    fn in_order(
        &self,
        writer: &impl Writer,
        material: &str,
        template: &TextRequest,
        run: &mut Run,
    ) -> Result<TextWork, PipelineError> {
        let parts = parts(material, &measure(writer, self.part(writer)?));
        let mut total = Total::default();
        let mut text = String::new();
        let mut reason = FinishReason::Stop;
        for (index, part) in parts.iter().enumerate() {
            told(run, "parts", index, parts.len());
            let inner = part.trim();
            let begin = part.len() - part.trim_start().len();
            let (before, after) = (&part[..begin], &part[begin + inner.len()..]);
            put(&mut text, before, run);
            if !inner.is_empty() {
                let room = 2 * writer.tokens(&[Message::new("user", inner)])? + 32;
                let request = TextRequest {
                    seed: template.seed.wrapping_add(index as u64),
                    max_tokens: template.max_tokens.or(Some(room)),
                    ..self.request(inner, template)
                };
                let work = {
                    let cancel = run.cancel.clone();
                    let chunk = |event| {
                        if matches!(event, Event::Chunk { .. } | Event::Token(_)) {
                            run.emit(event);
                        }
                    };
                    writer.write(&request, &mut Run::new(cancel, chunk))?
                };
                text.push_str(&work.text);
                total.add(&work);
                match work.finish_reason {
                    FinishReason::Cancelled => {
                        return Ok(total.given(text, FinishReason::Cancelled));
                    }
                    FinishReason::Length => reason = FinishReason::Length,
                    FinishReason::Stop => {}
                }
            }
            put(&mut text, after, run);
        }
        told(run, "parts", parts.len(), parts.len());
        Ok(total.given(text, reason))
    }

    /// Tokens that a part may have beside everything else of its request.
    fn part(&self, writer: &impl Writer) -> Result<usize, PipelineError> {
        let around = writer.tokens(&self.task.messages(self.system, "a"))?;
        let left = writer.context().saturating_sub(around + 16);
        let part = match self.task.keeps_order() {
            true => (left / 3).min(COPIED),
            false => left.saturating_sub(SUMMARY).min(PART),
        };
        if part < 16 {
            return Err(PipelineError::InvalidRequest(format!(
                "a context of {} tokens is too small for the task {}",
                writer.context(),
                self.task
            )));
        }
        Ok(part)
    }
}

fn told(run: &mut Run, stage: &str, done: usize, total: usize) {
    run.emit(Event::Progress {
        stage: stage.to_owned(),
        done,
        total,
    });
}

fn put(text: &mut String, more: &str, run: &mut Run) {
    if !more.is_empty() {
        text.push_str(more);
        run.emit(Event::Chunk {
            text: more.to_owned(),
        });
    }
}

/// What the works of the parts took together.
#[derive(Default)]
struct Total {
    tokens: usize,
    prompt_tokens: usize,
    timings: TextTimings,
}

impl Total {
    fn add(&mut self, work: &TextWork) {
        self.tokens += work.tokens;
        self.prompt_tokens += work.prompt_tokens;
        self.timings = work.timings;
    }

    fn with(mut self, work: TextWork) -> TextWork {
        self.add(&work);
        TextWork {
            tokens: self.tokens,
            prompt_tokens: self.prompt_tokens,
            ..work
        }
    }

    fn given(self, text: String, finish_reason: FinishReason) -> TextWork {
        TextWork {
            text,
            tokens: self.tokens,
            finish_reason,
            stopped_by: None,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: 0,
            timings: self.timings,
            logprobs: None,
        }
    }
}

/// Whether a text is short enough for a part.
type Fits<'a> = dyn Fn(&str) -> bool + 'a;

fn measure(writer: &impl Writer, most: usize) -> impl Fn(&str) -> bool {
    move |text: &str| {
        // A token has at least one byte.
        let tokens = || {
            writer
                .tokens(&[Message::new("user", text)])
                .unwrap_or(usize::MAX)
        };
        text.len() <= most || text.len() <= most * 16 && tokens() <= most
    }
}

/// A text in parts that fit, which are all of it in order: parted before headings and between paragraphs where that
/// goes, else between lines, sentences, words, letters.
fn parts<'a>(text: &'a str, fits: &Fits) -> Vec<&'a str> {
    split(text, fits, 0)
}

/// Parts at the borders of a level, those that do not fit at those of the next; neighbours are joined while they fit.
fn split<'a>(text: &'a str, fits: &Fits, level: usize) -> Vec<&'a str> {
    if fits(text) || text.chars().nth(1).is_none() {
        return vec![text];
    }
    let mut whole: Vec<&str> = Vec::new();
    for piece in pieces(text, level) {
        match fits(piece) {
            true => whole.push(piece),
            false => whole.extend(split(piece, fits, level + 1)),
        }
    }
    let mut out: Vec<&str> = Vec::new();
    let (mut begin, mut last, mut end) = (0, 0, 0);
    for piece in whole {
        let next = end + piece.len();
        if end > begin && !fits(&text[begin..next]) {
            // A heading goes with what it stands over.
            let heads = last > begin && text[last..end].starts_with('#');
            let border = if heads && fits(&text[last..next]) {
                last
            } else {
                end
            };
            out.push(&text[begin..border]);
            begin = border;
        }
        (last, end) = (end, next);
    }
    if end > begin {
        out.push(&text[begin..end]);
    }
    out
}

/// The pieces of a text at the borders of a level; what parts them belongs to the piece before.
fn pieces(text: &str, level: usize) -> Vec<&str> {
    let borders: Vec<usize> = match level {
        0 => ends(text, |rest| rest.starts_with("\n\n")),
        1 => ends(text, |rest| rest.starts_with('\n')),
        2 => ends(text, |rest| {
            let mut letters = rest.chars();
            matches!(letters.next(), Some('.' | '!' | '?' | '。' | '！' | '？'))
                && letters
                    .next()
                    .is_none_or(|c| c.is_whitespace() || !c.is_ascii())
        }),
        3 => ends(text, |rest| rest.starts_with(char::is_whitespace)),
        _ => {
            let middle = text.floor_char_boundary(text.len() / 2);
            let middle = if middle == 0 {
                text.chars().next().map_or(0, char::len_utf8)
            } else {
                middle
            };
            vec![middle]
        }
    };
    let mut out = Vec::with_capacity(borders.len() + 1);
    let mut begin = 0;
    for border in borders {
        out.push(&text[begin..border]);
        begin = border;
    }
    if begin < text.len() {
        out.push(&text[begin..]);
    }
    out
}

/// Where pieces end: behind a border and the blanks after it.
fn ends(text: &str, is_border: impl Fn(&str) -> bool) -> Vec<usize> {
    let mut found = Vec::new();
    let mut skip = 0;
    for (at, c) in text.char_indices() {
        if at < skip || !is_border(&text[at..]) {
            continue;
        }
        let behind = at + c.len_utf8();
        let blanks = text[behind..].len() - text[behind..].trim_start().len();
        skip = behind + blanks;
        if skip < text.len() {
            found.push(skip);
        }
    }
    found
}

#[cfg(test)]
mod tests;
