//! What people ask language models for most, put into words that small models follow.

use std::fmt;
use std::str::FromStr;

use medley_types::Message;

use crate::PipelineError;

/// A task with its instruction; the prompt is the material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Answer a question.
    Answer,
    /// Write a text on the subject of the prompt.
    Write,
    /// Summarise the prompt.
    Summarize,
    /// Translate the prompt into a language.
    Translate(String),
    /// Write the prompt again, clearer.
    Rewrite,
    /// Mend spelling and grammar only.
    Correct,
    /// Explain the prompt in plain words.
    Explain,
    /// The keywords of the prompt.
    Keywords,
    /// One of some labels that fits the prompt.
    Classify(String),
    /// Answer a customer's letter.
    Reply,
}

/// Names with what they do, for messages and references.
pub const TASKS: &[&str] = &[
    "answer",
    "write",
    "summarize",
    "translate:LANGUAGE",
    "rewrite",
    "correct",
    "explain",
    "keywords",
    "classify:LABEL,LABEL,…",
    "reply",
];

impl FromStr for Task {
    type Err = PipelineError;

    fn from_str(text: &str) -> Result<Self, PipelineError> {
        let (name, detail) = match text.split_once(':') {
            Some((name, detail)) => (name.trim(), Some(detail.trim())),
            None => (text.trim(), None),
        };
        let wrong = |reason: String| Err(PipelineError::InvalidRequest(reason));
        let task = match (name.to_ascii_lowercase().as_str(), detail) {
            ("translate", Some(language)) if !language.is_empty() => {
                return Ok(Self::Translate(language.to_owned()));
            }
            ("translate", _) => {
                return wrong("the task translate needs a language, as in translate:French".into());
            }
            ("classify", Some(labels))
                if labels.split(',').filter(|l| !l.trim().is_empty()).count() > 1 =>
            {
                return Ok(Self::Classify(labels.to_owned()));
            }
            ("classify", _) => {
                return wrong(
                    "the task classify needs two labels or more, as in classify:praise,complaint"
                        .into(),
                );
            }
            ("answer" | "question", None) => Self::Answer,
            ("write", None) => Self::Write,
            ("summarize" | "summarise" | "summary", None) => Self::Summarize,
            ("rewrite", None) => Self::Rewrite,
            ("correct", None) => Self::Correct,
            ("explain", None) => Self::Explain,
            ("keywords", None) => Self::Keywords,
            ("reply", None) => Self::Reply,
            _ => {
                return wrong(format!(
                    "there is no task {text:?}; use {}",
                    TASKS.join(", ")
                ));
            }
        };
        Ok(task)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer => f.write_str("answer"),
            Self::Write => f.write_str("write"),
            Self::Summarize => f.write_str("summarize"),
            Self::Translate(language) => write!(f, "translate:{language}"),
            Self::Rewrite => f.write_str("rewrite"),
            Self::Correct => f.write_str("correct"),
            Self::Explain => f.write_str("explain"),
            Self::Keywords => f.write_str("keywords"),
            Self::Classify(labels) => write!(f, "classify:{labels}"),
            Self::Reply => f.write_str("reply"),
        }
    }
}

impl Task {
    /// The conversation that asks for the task with `prompt` as its material; `system` is said first.
    pub fn messages(&self, system: Option<&str>, prompt: &str) -> Vec<Message> {
        let (role, request) = match self {
            Self::Answer => (
                "You answer questions correctly and briefly.",
                prompt.to_owned(),
            ),
            Self::Write => (
                "You are a skilled writer. You write what is asked for and nothing else.",
                prompt.to_owned(),
            ),
            Self::Summarize => (
                "You summarize texts in a few short sentences, keeping names and numbers.",
                format!("Summarize this text:\n\n{prompt}"),
            ),
            Self::Translate(language) => (
                "You are a translator. You answer with the translation only.",
                format!("Translate into {language}:\n\n{prompt}"),
            ),
            Self::Rewrite => (
                "You rewrite texts so that they are clear and pleasant to read, with the same meaning.",
                format!("Rewrite this text:\n\n{prompt}"),
            ),
            Self::Correct => (
                "You correct spelling and grammar and change nothing else. You answer with the corrected text only.",
                format!("Correct this text:\n\n{prompt}"),
            ),
            Self::Explain => (
                "You explain things in plain words, step by step.",
                format!("Explain this:\n\n{prompt}"),
            ),
            Self::Keywords => (
                "You answer with a comma-separated list of keywords only.",
                format!("List the keywords of this text:\n\n{prompt}"),
            ),
            Self::Classify(labels) => (
                "You answer with one label only.",
                format!("Which of these labels fits the text best: {labels}?\n\n{prompt}"),
            ),
            Self::Reply => (
                "You work for a company's customer service. You answer letters politely, helpfully and briefly.",
                format!("Write the answer to this letter:\n\n{prompt}"),
            ),
        };
        let system = match system {
            Some(system) => format!("{system}\n{role}"),
            None => role.to_owned(),
        };
        vec![
            Message::new("system", system),
            Message::new("user", request),
        ]
    }

    /// A regular expression that the answer must match, where a task leaves only few answers.
    pub fn pattern(&self) -> Option<String> {
        let Self::Classify(labels) = self else {
            return None;
        };
        let escaped: Vec<String> = labels
            .split(',')
            .map(str::trim)
            .filter(|label| !label.is_empty())
            .map(escape)
            .collect();
        Some(escaped.join("|"))
    }
}

/// `text` as a regular expression for just itself.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if c.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_wrong_ones_list_the_right_ones() {
        for name in [
            "answer",
            "summarize",
            "translate:Old Norse",
            "classify:a,b",
            "reply",
        ] {
            assert_eq!(name.parse::<Task>().unwrap().to_string(), name);
        }
        assert_eq!("Summarise".parse::<Task>().unwrap(), Task::Summarize);
        for wrong in [
            "translate",
            "translate:",
            "classify:one",
            "dance",
            "answer:x",
        ] {
            assert!(wrong.parse::<Task>().is_err(), "{wrong}");
        }
        let message = "dance".parse::<Task>().unwrap_err().to_string();
        assert!(message.contains("summarize"), "{message}");
    }

    #[test]
    fn labels_are_taken_literally() {
        let task: Task = "classify:praise, c++".parse().unwrap();
        assert_eq!(task.pattern().unwrap(), r"praise|c\+\+");
    }
}
