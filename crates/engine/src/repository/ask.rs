//! What a model is asked about a repository, and the form that its answer is held to.
//!
//! Edits come as plain text, not as JSON: code needs no escapes so, and reads as in the prompt, which small models and
//! guesses at the next tokens both live on. The grammar lets a search hold nothing but lines that stand in the file
//! one after another, and paths be those of files that are shown.

use std::path::Path;

use medley_types::{Constraint, Message};
use serde_json::json;

use super::answer::{DIVIDE, END, FILE, NEW, REPLACE, SEARCH};
use super::choose::Asked;
use super::source::identifiers;
use super::{Choice, Map, Ranking, Repository, Shown};
use crate::{EngineError, Result};

/// Tokens of a map at most, whatever the context.
const MAP: usize = 1024;

/// What comes out of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// A change, as asked for.
    Change,
    /// A change that mends what is wrong.
    Fix,
    /// New files with tests.
    Tests,
    /// An explanation, with the places that it is of.
    Explain,
    /// What is wrong, with the places.
    Review,
}

impl Aim {
    /// What the words of a request ask for: a question is to be answered, all else is to be done.
    pub fn of(request: &str) -> Self {
        const ASKING: [&str; 12] = [
            "what",
            "where",
            "which",
            "who",
            "why",
            "how",
            "when",
            "explain",
            "describe",
            "summarize",
            "summarise",
            "does",
        ];
        let first = request.split_whitespace().next().unwrap_or_default();
        let first = first
            .trim_matches(|c: char| !c.is_alphanumeric())
            .to_lowercase();
        if first == "review" {
            Self::Review
        } else if request.trim_end().ends_with('?') || ASKING.contains(&first.as_str()) {
            Self::Explain
        } else {
            Self::Change
        }
    }

    /// Whether its answer is prose.
    pub fn is_prose(self) -> bool {
        matches!(self, Self::Explain | Self::Review)
    }

    /// Its word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Fix => "fix",
            Self::Tests => "tests",
            Self::Explain => "explain",
            Self::Review => "review",
        }
    }

    /// What is asked where the user says nothing beside.
    fn usual(self) -> &'static str {
        match self {
            Self::Change => "",
            Self::Fix => "Find the mistakes in these files and mend them.",
            Self::Tests => "Write unit tests for this code.",
            Self::Explain => "Explain what this program does and how its parts work together.",
            Self::Review => "Review this code: say what is wrong or risky in it.",
        }
    }

    fn system(self) -> &'static str {
        match self {
            Self::Change | Self::Fix => {
                "You are a careful programmer. You change only what the request asks for."
            }
            Self::Tests => "You are a careful programmer. You write short, correct tests.",
            Self::Explain | Self::Review => {
                "You are a careful programmer. You explain code in short, plain sentences."
            }
        }
    }
}

/// Whether a request is about files as a whole, not about what is in them.
pub fn is_about_files(request: &str) -> bool {
    let words: Vec<String> = identifiers(request).map(str::to_lowercase).collect();
    let says = |some: &[&str]| words.iter().any(|word| some.contains(&word.as_str()));
    says(&["file", "files", "module", "modules", "folder"])
        && says(&[
            "add", "new", "create", "delete", "remove", "move", "split", "merge",
        ])
}

/// What is wanted of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The request in words; may be empty where the aim says enough.
    pub request: &'a str,
    /// What comes out.
    pub aim: Aim,
    /// Files that the user named.
    pub named: &'a [usize],
    /// Files that the model chose.
    pub chosen: &'a [usize],
    /// Tokens of question and answer together at most.
    pub context: usize,
    /// Tokens of the answer at most.
    pub answer: usize,
}

/// A question to a model, with what it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The conversation.
    pub messages: Vec<Message>,
    /// The form of its answer.
    pub constraint: Constraint,
    /// The same without what the searched lines must be, for where that is too much to follow.
    pub looser: Constraint,
    /// What it shows.
    pub choice: Choice,
    /// The map in it.
    pub map: Map,
}

/// Asks a model which files of a map a request needs: the conversation and a schema of paths of the map.
pub fn which_files(map: &Map, request: &str, most: usize) -> (Vec<Message>, Constraint) {
    let paths: Vec<&str> = map
        .entries
        .iter()
        .map(|entry| entry.path.as_str())
        .collect();
    let question = format!(
        "Files of a program, with what they define:\n{}\nRequest: {request}\n\nWhich files must be read or changed for it? \
         Answer with a JSON list of their paths, the most important first.",
        map.text
    );
    let messages = vec![
        Message::new("system", Aim::Change.system()),
        Message::new("user", question),
    ];
    let schema = json!({
        "type": "array", "items": { "enum": paths }, "minItems": 1, "maxItems": most.min(paths.len()),
    });
    (messages, Constraint::JsonSchema(schema))
}

impl Repository {
    /// The question that a request is, within the context; `count` says how many tokens a conversation has.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] where the request alone needs more than the context, and those of
    /// [`choose`](Repository::choose).
    pub fn question(
        &self,
        wanted: Wanted<'_>,
        ranking: &Ranking,
        count: &dyn Fn(&[Message]) -> usize,
    ) -> Result<Question> {
        let text = |text: &str| count(&[Message::new("user", text)]);
        let bare = self.messages(&wanted, &Choice::default(), &Map::default());
        let (around, context) = (count(&bare) + wanted.answer, wanted.context);
        let mut room = context.saturating_sub(around);
        let short = |needed: usize| EngineError::BadRequest {
            field: "TASK".into(),
            reason: format!(
                "the request and its answer need {needed} tokens, and the model's context has {context}; shorten it, lower --max-tokens, or take a model with a longer context"
            ),
        };
        if room < 32 {
            return Err(short(around + 32));
        }
        let asked = Asked {
            named: wanted.named,
            chosen: wanted.chosen,
            ranked: wanted.named.is_empty() && wanted.chosen.is_empty(),
        };
        // Tokens of a whole are not the sum of its parts': where they are more, a little less is shown.
        for _ in 0..8 {
            let choice = self.choose(ranking, asked, room * 5 / 6, &text)?;
            if choice.shown.is_empty() {
                return Err(short(
                    around + choice.left_out.first().map_or(32, |left| left.tokens),
                ));
            }
            let all = choice.shown.len() == self.files.len();
            let map = match room.saturating_sub(choice.tokens).min(MAP) {
                64.. if !all => self.map(
                    ranking,
                    room.saturating_sub(choice.tokens).min(MAP) - 16,
                    &text,
                ),
                _ => Map::default(),
            };
            let messages = self.messages(&wanted, &choice, &map);
            if count(&messages) + wanted.answer <= context {
                return Ok(Question {
                    messages,
                    constraint: Constraint::Grammar(self.grammar(&wanted, &choice, true)),
                    looser: Constraint::Grammar(self.grammar(&wanted, &choice, false)),
                    choice,
                    map,
                });
            }
            room = room * 4 / 5;
        }
        Err(short(around + room))
    }

    fn messages(&self, wanted: &Wanted<'_>, choice: &Choice, map: &Map) -> Vec<Message> {
        let mut text = String::new();
        if !map.entries.is_empty() {
            text.push_str(&format!("Files of the program:\n{}\n", map.text));
        }
        for shown in &choice.shown {
            let file = &self.files[shown.file];
            text.push_str(&format!(
                "{}:\n{}\n\n",
                file.path,
                fenced(&file.path, &self.visible(shown, wanted.aim))
            ));
        }
        let said = [wanted.request.trim(), wanted.aim.usual()];
        let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
        // The usual words say what to do where the request says only of what.
        let request = match wanted.aim {
            Aim::Change => wanted.request.trim().to_owned(),
            _ => said.join("\n"),
        };
        text.push_str(&format!("Request: {request}\n\n{}", form(wanted.aim)));
        vec![
            Message::new("system", wanted.aim.system()),
            Message::new("user", text),
        ]
    }

    /// The text of a file as it is shown: with numbers where places are to be named.
    fn visible(&self, shown: &Shown, aim: Aim) -> String {
        let file = &self.files[shown.file];
        let lines: Vec<&str> = file.text.lines().collect();
        let mut text = String::new();
        for (index, part) in shown.ranges(lines.len()).iter().enumerate() {
            if index > 0 || part.start > 0 {
                text.push_str("…\n");
            }
            for (number, line) in part.clone().filter_map(|n| Some((n + 1, lines.get(n)?))) {
                match aim.is_prose() {
                    true => text.push_str(&format!("{number}: {line}\n")),
                    false => text.push_str(&format!("{line}\n")),
                }
            }
        }
        text
    }
}

/// What the model is told of the form of its answer.
fn form(aim: Aim) -> String {
    match aim {
        Aim::Explain => "Answer with one short paragraph, then a list of the places that matter, each as\n- path:line: what is there".into(),
        Aim::Review => "Answer with a list of what is wrong, each as\n- path:line: what is wrong and what would be right".into(),
        Aim::Tests => format!("Answer with the tests as a new file in this form and nothing else:\n{NEW}path\nlines of the file\n{END}"),
        Aim::Change | Aim::Fix => format!(
            "Answer with edits in this form and nothing else:\n{FILE}path\n{SEARCH}\nlines as they stand in the file\n{DIVIDE}\nlines that take their place\n{REPLACE}"
        ),
    }
}

/// A source file as a block of Markdown.
pub fn fenced(path: &str, text: &str) -> String {
    let language = Path::new(path)
        .extension()
        .map(|ending| ending.to_string_lossy().into_owned());
    // A fence longer than any in the text.
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    format!(
        "{fence}{}\n{}\n{fence}",
        language.unwrap_or_default(),
        text.trim_end_matches('\n')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_from_orders() {
        for (request, aim) in [
            ("where is the config read?", Aim::Explain),
            ("Explain main", Aim::Explain),
            ("the tests fail, why?", Aim::Explain),
            ("Review the error handling", Aim::Review),
            ("rename parse to read", Aim::Change),
            ("whatever is slow: make it faster", Aim::Change),
        ] {
            assert_eq!(Aim::of(request), aim, "{request}");
        }
    }

    #[test]
    fn requests_about_whole_files_are_told() {
        assert!(
            is_about_files("delete the file old.py")
                && is_about_files("Split main into two modules")
        );
        assert!(!is_about_files("close the file in parse") && !is_about_files("add a check"));
    }

    #[test]
    fn a_fence_is_longer_than_those_within() {
        assert_eq!(fenced("a.md", "```\nx\n```\n"), "````md\n```\nx\n```\n````");
    }
}
