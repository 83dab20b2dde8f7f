//! A task over all files that are shown, in one question.

use medley_engine::PipelineError;
use medley_engine::repository::ask::{self, Aim, Question, Wanted};
use medley_engine::repository::{Answer, Choice, Drafts, Repository};
use medley_types::{Constraint, Message, TextRequest, TextWork};
use serde_json::{Value, json};

use super::deliver::deliver;
use super::repo::{About, Asked, finished};
use crate::args::Global;
use crate::code_args::Choose;
use crate::output::{Outcome, note};

/// Tokens of an answer where the user says nothing: changes, and prose.
const ANSWER: usize = 1024;
const PROSE: usize = 400;

/// Files that a model chooses at most.
const CHOSEN: usize = 6;

/// Asks, and gives prose or the diff.
pub fn run(asked: &Asked<'_>, about: About<'_>) -> Outcome {
    let (aim, context, global) = (asked.aim, asked.model.context(), asked.global);
    let chosen = match asked.args.choose {
        Choose::Rank => Vec::new(),
        Choose::Model => choose(asked, about)?,
    };
    let usual = if aim.is_prose() { PROSE } else { ANSWER };
    let wanted = Wanted {
        request: asked.task,
        aim,
        named: about.named,
        chosen: &chosen,
        context,
        answer: asked.template.max_tokens.unwrap_or(usual.min(context / 4)),
    };
    let count = |messages: &[Message]| asked.tokens(messages);
    let question = about.repository.question(wanted, about.ranking, &count)?;
    tell(about.repository, &question.choice, global);
    let request = asked.request(
        question.messages.clone(),
        question.constraint.clone(),
        wanted.answer,
    );
    if aim.is_prose() {
        return crate::commands::text::finish(asked.model, &request, None, global);
    }
    let work = write(asked, &question, wanted.answer)?;
    let answer = Answer::read(&work.text);
    if answer.cut {
        note(
            global,
            "the answer was cut off in the middle of an edit, which is left out (--max-tokens allows more)",
        );
    }
    let mut drafts = Drafts::new(about.repository);
    for edit in answer.edits {
        drafts.take(edit);
    }
    let more = record(about.repository, aim, &question, (&request, &work));
    deliver(asked.args, &drafts, more, global)
}

/// The files that the model takes out of the map.
fn choose(asked: &Asked<'_>, about: About<'_>) -> Outcome<Vec<usize>> {
    let budget = (asked.model.context() / 2).min(2048);
    let map = about.repository.map(about.ranking, budget, &|text| {
        asked.tokens(&[Message::new("user", text)])
    });
    let (messages, constraint) = ask::which_files(&map, asked.task, CHOSEN);
    let work = asked.run(&asked.request(messages, constraint, 256))?;
    // A list that was cut off names nothing: ranks decide then.
    let paths: Vec<String> = serde_json::from_str(&work.text).unwrap_or_default();
    let mut chosen: Vec<usize> = Vec::new();
    for index in paths.iter().filter_map(|path| about.repository.find(path)) {
        if !chosen.contains(&index) {
            chosen.push(index);
        }
    }
    Ok(chosen)
}

/// Asks; a grammar that is too much to follow is replaced by a looser one.
fn write(asked: &Asked<'_>, question: &Question, most: usize) -> Outcome<TextWork> {
    let ask = |constraint: &Constraint| {
        asked.try_to(&asked.request(question.messages.clone(), constraint.clone(), most))
    };
    let work = match ask(&question.constraint) {
        Err(PipelineError::Sampling(_)) => ask(&question.looser),
        other => other,
    };
    finished(work?)
}

/// Says what the model is shown, and what it is not.
fn tell(repository: &Repository, choice: &Choice, global: &Global) {
    let path = |index: usize| repository.files()[index].path.as_str();
    let shown = choice.shown.iter().map(|shown| match &shown.parts {
        None => format!("{} ({})", path(shown.file), shown.why),
        Some(parts) => {
            let parts = parts
                .iter()
                .map(|part| format!("{}-{}", part.start + 1, part.end));
            format!(
                "{} ({}, lines {})",
                path(shown.file),
                shown.why,
                parts.collect::<Vec<_>>().join(" ")
            )
        }
    });
    note(
        global,
        &format!("shown: {}", shown.collect::<Vec<_>>().join(", ")),
    );
    let left: Vec<String> = choice
        .left_out
        .iter()
        .map(|left| format!("{} ({} tokens)", path(left.file), left.tokens))
        .collect();
    if !left.is_empty() {
        note(
            global,
            &format!("left out, for there is no room: {}", left.join(", ")),
        );
    }
    let others = repository.files().len() - choice.shown.len() - left.len();
    if others > 0 {
        note(global, &format!("not shown: {others} other files"));
    }
}

/// What is told of a question and its answer.
fn record(
    repository: &Repository,
    aim: Aim,
    question: &Question,
    (request, work): (&TextRequest, &TextWork),
) -> Value {
    let path = |index: usize| repository.files()[index].path.as_str();
    let shown: Vec<Value> = question
        .choice
        .shown
        .iter()
        .map(|shown| {
            let lines = shown.parts.as_ref().map(|parts| {
                let pairs = parts.iter().map(|part| [part.start + 1, part.end]);
                pairs.collect::<Vec<_>>()
            });
            json!({ "path": path(shown.file), "why": shown.why, "lines": lines })
        })
        .collect();
    let left = question.choice.left_out.iter();
    let left: Vec<Value> = left
        .map(|left| json!({ "path": path(left.file), "tokens": left.tokens }))
        .collect();
    json!({
        "aim": aim.as_str(),
        "map": question.map.entries,
        "shown": shown,
        "left_out": left,
        "answer": work.text,
        "finish_reason": work.finish_reason,
        "tokens": work.tokens,
        "prompt_tokens": work.prompt_tokens,
        "timings": work.timings,
        "seed": request.seed,
        "model": request.model,
    })
}
