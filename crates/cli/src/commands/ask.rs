use medley_engine::documents::answer::{
    Answer, Citation, Phraser, Question, phrase_request, raw_phrase_request,
};
use medley_engine::documents::{Compare, Filter};
use medley_engine::{EngineError, LoadOptions, PipelineError, Run, TextGenerator, TextModel};
use medley_types::Event;
use serde_json::{Value, json};

use crate::app::{cancel_token, load_text, prompt_text};
use crate::args::Global;
use crate::commands::docs::{attributes, documents, encoder};
use crate::docs_args::AskArgs;
use crate::output::{Failure, Outcome, peak_rss, print_json, print_now};

/// What is said where the documents do not answer.
const UNKNOWN: &str = "The documents do not answer this.";

/// `medley ask`
pub fn run(args: &AskArgs, global: &Global) -> Outcome {
    if !(0.0..=1.0).contains(&args.sure) {
        return Err(Failure::usage(format!(
            "--sure {}: it must be from 0 to 1",
            args.sure
        )));
    }
    let text = prompt_text(&args.question)?;
    let questions: Vec<&str> = match args.question.as_str() {
        "-" => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect(),
        _ => vec![text.as_str()],
    };
    if questions.iter().all(|question| question.trim().is_empty()) {
        return Err(Failure::usage("there is no question"));
    }
    let filter = filter(args)?;
    let documents = documents()?;
    let collection = documents.collection(&args.collection)?;
    let encoder = encoder(&collection.model, global)?;
    let phraser = match &args.model {
        Some(name) => Some(Writer {
            model: load_text(Some(name), LoadOptions::default(), global)?,
            name: name.clone(),
        }),
        None => None,
    };
    let phraser = phraser.as_ref().map(|phraser| phraser as &dyn Phraser);
    let mut answers = Vec::new();
    for text in questions {
        let question = Question {
            text: text.to_owned(),
            filter: filter.clone(),
            sure: Some(args.sure),
            ..Question::default()
        };
        let answer = documents.answer(&collection, &question, &encoder, phraser)?;
        if global.json {
            answers.push(json!(answer));
        } else {
            print_now(&shown(&answer))?;
        }
        if cancel_token().is_cancelled() {
            return Err(Failure::Interrupted);
        }
    }
    match (global.json, args.question.as_str()) {
        (false, _) => Ok(()),
        (true, "-") => print_json(&json!({ "answers": answers, "peak_rss_bytes": peak_rss() })),
        (true, _) => {
            let mut answer = answers.pop().unwrap_or(Value::Null);
            answer["peak_rss_bytes"] = json!(peak_rss());
            print_json(&answer)
        }
    }
}

fn filter(args: &AskArgs) -> Outcome<Option<Filter>> {
    let wanted = attributes("--where", &args.narrow)?;
    let one = |(key, value)| Filter::Compare {
        key,
        how: Compare::Eq,
        value,
    };
    let all: Vec<Filter> = wanted.into_iter().map(one).collect();
    Ok((!all.is_empty()).then_some(Filter::And(all)))
}

/// An answer for people: what is said, then where it stands.
fn shown(answer: &Answer) -> String {
    let places = |word: &str| {
        let lines = answer.citations.iter().enumerate();
        let line = |(index, citation)| format!("{word}[{}] {}\n", index + 1, place(citation));
        lines.map(line).collect::<String>()
    };
    if !answer.answered {
        let near = match answer.citations.is_empty() {
            true => String::new(),
            false => format!("What comes nearest:\n{}", places("  ")),
        };
        return format!("{UNKNOWN}\n{near}");
    }
    let mut text = String::new();
    for sentence in &answer.sentences {
        let marks: Vec<String> = sentence
            .citations
            .iter()
            .map(|n| format!("[{n}]"))
            .collect();
        let apart = if answer.phrased { " " } else { "\n\n" };
        text += &format!("{} {}{apart}", sentence.text, marks.concat());
    }
    format!("{}\n\n{}", text.trim_end(), places(""))
}

fn place(citation: &Citation) -> String {
    let mut place = citation.name.clone();
    if !citation.heading.is_empty() {
        place += &format!(", {}", citation.heading);
    }
    if let Some(page) = citation.page {
        place += &format!(", page {page}");
    }
    if let Some(line) = citation.line {
        place += &format!(", line {line}");
    }
    format!("{place} ({}–{})", citation.start, citation.end)
}

/// A language model of this process that phrases.
struct Writer {
    model: TextModel,
    name: String,
}

impl Phraser for Writer {
    fn phrase(&self, question: &str, facts: &[String]) -> Result<String, EngineError> {
        let request = phrase_request(&self.name, question, facts, None);
        let mut run = Run::new(cancel_token(), |_: Event| {});
        let mut work = self.model.generate(&request, &mut run);
        if matches!(work, Err(PipelineError::NoTemplate { .. })) {
            let raw = raw_phrase_request(&self.name, question, facts);
            work = self.model.generate(&raw, &mut run);
        }
        let work = work.map_err(|error| EngineError::Encoding {
            reason: error.to_string(),
        })?;
        Ok(work.text)
    }
}
