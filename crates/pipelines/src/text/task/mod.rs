//! What people ask language models for most, put into words that small models follow.

mod examples;
mod shape;

use std::fmt;
use std::str::FromStr;

use medley_types::{Constraint, Message, Sampling};

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
    /// Write the prompt again, clearer, or in a style.
    Rewrite(Option<String>),
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
    /// One line over the prompt.
    Headline,
    /// An email out of notes.
    Email,
    /// A short post for social media.
    Post,
    /// Questions that the prompt answers, each with its answer.
    Faq,
}

/// Names with what they do, for messages and references.
pub const TASKS: &[&str] = &[
    "answer",
    "write",
    "summarize",
    "translate:LANGUAGE",
    "rewrite[:STYLE]",
    "headline",
    "email",
    "post",
    "faq",
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
            ("rewrite", None) => Self::Rewrite(None),
            ("rewrite", Some(style)) if !style.is_empty() => Self::Rewrite(Some(style.to_owned())),
            ("headline", None) => Self::Headline,
            ("email", None) => Self::Email,
            ("post", None) => Self::Post,
            ("faq", None) => Self::Faq,
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
            Self::Rewrite(None) => f.write_str("rewrite"),
            Self::Rewrite(Some(style)) => write!(f, "rewrite:{style}"),
            Self::Headline => f.write_str("headline"),
            Self::Email => f.write_str("email"),
            Self::Post => f.write_str("post"),
            Self::Faq => f.write_str("faq"),
            Self::Correct => f.write_str("correct"),
            Self::Explain => f.write_str("explain"),
            Self::Keywords => f.write_str("keywords"),
            Self::Classify(labels) => write!(f, "classify:{labels}"),
            Self::Reply => f.write_str("reply"),
        }
    }
}

impl Task {
    /// The conversation that asks for the task with `prompt` as its material; `system` is said first. Where a form is
    /// wanted, invented examples are earlier turns: small models follow them better than words.
    pub fn messages(&self, system: Option<&str>, prompt: &str) -> Vec<Message> {
        let role = self.role();
        let system = match system {
            Some(system) => format!("{system}\n{role}"),
            None => role.to_owned(),
        };
        let mut messages = vec![Message::new("system", system)];
        for (material, answer) in self.examples() {
            messages.push(Message::new("user", self.asked(material)));
            messages.push(Message::new("assistant", *answer));
        }
        messages.push(Message::new("user", self.asked(prompt)));
        messages
    }

    fn role(&self) -> &'static str {
        match self {
            Self::Answer => "You answer questions correctly and briefly.",
            Self::Write => {
                "You are a skilled writer. You write what is asked for and nothing else."
            }
            Self::Summarize => "You summarize texts. You keep names and numbers and add nothing.",
            Self::Translate(_) => "You are a translator. You answer with the translation only.",
            Self::Rewrite(_) => {
                "You rewrite texts so that they are clear and correct. You keep the meaning, all names and all numbers."
            }
            Self::Correct => {
                "You correct spelling and grammar and change nothing else. You answer with the corrected text only."
            }
            Self::Explain => "You explain things in plain words, with an example.",
            Self::Keywords => "You answer with a comma-separated list of keywords only.",
            Self::Classify(_) => "You answer with one label only.",
            Self::Reply => {
                "You work for a company's customer service. You answer letters politely, helpfully and briefly."
            }
            Self::Headline => "You write headlines: short, clear, true to the text.",
            Self::Email => {
                "You write polite, short emails from notes. You use all that the notes say and invent nothing."
            }
            Self::Post => {
                "You write short, friendly posts for social media. You keep to the facts."
            }
            Self::Faq => {
                "You write questions that readers ask and answer them with sentences of the text."
            }
        }
    }

    /// The request over some material.
    fn asked(&self, material: &str) -> String {
        match self {
            Self::Answer | Self::Write => material.to_owned(),
            Self::Summarize => {
                format!("Summarize this text in two or three sentences:\n\n{material}")
            }
            Self::Translate(language) => format!("Translate into {language}:\n\n{material}"),
            Self::Rewrite(None) => format!("Rewrite this text:\n\n{material}"),
            Self::Rewrite(Some(style)) => {
                format!("Rewrite this text in this style: {style}.\n\n{material}")
            }
            Self::Correct => format!("Correct this text:\n\n{material}"),
            Self::Explain => format!("Explain this in plain words:\n\n{material}"),
            Self::Keywords => format!("List the keywords of this text:\n\n{material}"),
            Self::Classify(labels) => {
                format!("Which of these labels fits the text best: {labels}?\n\n{material}")
            }
            Self::Reply => format!("Write the answer to this letter:\n\n{material}"),
            Self::Headline => format!("Write a headline for this text:\n\n{material}"),
            Self::Email => format!("Write an email from these notes:\n\n{material}"),
            Self::Post => format!("Write a post for social media about this:\n\n{material}"),
            Self::Faq => format!("Write questions and answers about this text:\n\n{material}"),
        }
    }

    /// What the answer must conform to, where the task has a form: the number of sentences, the parts of an email, and
    /// numbers that are none but those of the material.
    pub fn constraint(&self, material: &str) -> Option<Constraint> {
        shape::pattern(self, material).map(Constraint::Regex)
    }

    /// How tokens are drawn where nothing else is asked for: near to what is likeliest where facts are to be kept. What
    /// is not copied from the material is kept from going round in circles; where it is, that would forbid to copy.
    pub fn sampling(&self) -> Sampling {
        match self {
            Self::Answer | Self::Write | Self::Reply => Sampling::default(),
            _ => Sampling {
                temperature: 0.2,
                dry_multiplier: if *self == Self::Explain { 0.8 } else { 0.0 },
                ..Sampling::default()
            },
        }
    }

    /// Most tokens to write where nothing else is asked for; as many as there is room for where it is none.
    pub fn max_tokens(&self) -> Option<usize> {
        match self {
            Self::Summarize => Some(200),
            Self::Headline => Some(48),
            Self::Email => Some(320),
            Self::Post => Some(140),
            Self::Explain => Some(240),
            Self::Faq => Some(600),
            _ => None,
        }
    }

    /// Whether much of the material comes again in the answer.
    pub fn copies(&self) -> bool {
        matches!(
            self,
            Self::Summarize | Self::Correct | Self::Rewrite(_) | Self::Faq
        )
    }

    /// Whether long material is worked through in its order and what came of its parts is joined.
    pub fn keeps_order(&self) -> bool {
        matches!(self, Self::Translate(_) | Self::Rewrite(_) | Self::Correct)
    }
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
            "rewrite:short and dry",
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
            "rewrite:",
            "faq:3",
        ] {
            assert!(wrong.parse::<Task>().is_err(), "{wrong}");
        }
        let message = "dance".parse::<Task>().unwrap_err().to_string();
        assert!(message.contains("summarize"), "{message}");
    }

    #[test]
    fn labels_are_taken_literally() {
        let task: Task = "classify:praise, c++".parse().unwrap();
        let wanted = Constraint::Regex(r"praise|c\+\+".into());
        assert_eq!(task.constraint(""), Some(wanted));
    }

    #[test]
    fn examples_are_earlier_turns() {
        let every = [
            "answer",
            "write",
            "summarize",
            "translate:French",
            "rewrite",
            "rewrite:friendly",
            "headline",
            "email",
            "post",
            "faq",
            "correct",
            "explain",
            "keywords",
            "classify:a,b",
            "reply",
        ];
        for name in every {
            let task: Task = name.parse().unwrap();
            assert_eq!(task.to_string(), name);
            let messages = task.messages(Some("Be kind."), "MATERIAL");
            assert!(messages[0].content.starts_with("Be kind.\n"), "{name}");
            let roles: Vec<&str> = messages.iter().skip(1).map(|m| m.role.as_str()).collect();
            let turns = roles.iter().enumerate();
            for (at, role) in turns {
                assert_eq!(*role, ["user", "assistant"][at % 2], "{name}");
            }
            let last = messages.last().unwrap();
            assert!(
                last.role == "user" && last.content.contains("MATERIAL"),
                "{name}"
            );
            let asked = messages.iter().filter(|m| m.content.contains("MATERIAL"));
            assert_eq!(asked.count(), 1, "{name}");
        }
    }
}
