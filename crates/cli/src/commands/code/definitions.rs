//! A task over one definition after another, each shown alone: what small models can do.

use medley_engine::repository::ask::Aim;
use medley_engine::repository::{Block, BlockQuestion, Drafts, Named};
use medley_types::{TextRequest, TextWork};
use serde_json::{Value, json};

use super::deliver::{deliver, no_change};
use super::repo::{About, Asked};
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};

/// Definitions that are explained at most, and that are tried to change where the task names none: the first that is
/// changed is the one.
const EXPLAINED: usize = 6;
const TRIED: usize = 3;

/// How often each is asked for before it is given up, and how much freer each time.
const ATTEMPTS: u64 = 4;
const FREER: f32 = 0.2;

/// The same where files are named, and nothing else is said.
const NAMED: usize = 8;

/// Tokens of a sentence at most, and of what is added to a definition.
const SENTENCE: usize = 64;
const ADDED: usize = 256;

/// Asks, and gives prose or the diff.
pub fn run(asked: &Asked<'_>, about: About<'_>) -> Outcome {
    let most = match (asked.aim.is_prose(), asked.task.trim().is_empty()) {
        (true, _) => EXPLAINED,
        (false, true) if !about.named.is_empty() => NAMED,
        (false, _) => TRIED,
    };
    let blocks = about
        .repository
        .blocks(asked.task, about.ranking, about.named, most);
    let kept = fitting(asked, about, blocks)?;
    let places: Vec<String> = kept
        .iter()
        .map(|(block, ..)| about.repository.block_place(block))
        .collect();
    note(
        asked.global,
        &format!(
            "asked about one definition at a time: {} (--scope files asks about all at once)",
            places.join(", ")
        ),
    );
    match asked.aim.is_prose() {
        true => sentences(asked, about, kept),
        false => changes(asked, about, kept),
    }
}

/// A block, its question, and the tokens that its answer may have.
type Fitting = (Block, BlockQuestion, usize);

/// The blocks whose questions and answers fit the context.
fn fitting(asked: &Asked<'_>, about: About<'_>, blocks: Vec<Block>) -> Outcome<Vec<Fitting>> {
    let context = asked.model.context();
    let mut kept = Vec::new();
    let mut needed = 0;
    for block in blocks {
        if asked.aim == Aim::Tests && !about.repository.tests_alone(&block) {
            continue;
        }
        let question = about
            .repository
            .block_question(&block, asked.task, asked.aim);
        let prompt = asked.tokens(&question.messages);
        let answer = match asked.aim.is_prose() {
            true => SENTENCE,
            false => ADDED + asked.tokens(&question.messages[question.messages.len() - 1..]),
        };
        let answer = asked.template.max_tokens.unwrap_or(answer);
        match prompt + answer <= context {
            true => kept.push((block, question, answer)),
            false => {
                needed = prompt + answer;
                note(
                    asked.global,
                    &format!(
                        "left out, for there is no room: {}",
                        about.repository.block_place(&block)
                    ),
                );
            }
        }
    }
    if kept.is_empty() && needed > 0 {
        return Err(Failure::Failed(medley_engine::EngineError::BadRequest {
            field: "TASK".into(),
            reason: format!("the request and its answer need {needed} tokens, and the model's context has {context}; shorten it, or take a model with a longer context"),
        }.report()));
    }
    if kept.is_empty() {
        return Err(Failure::usage(
            "a small model writes tests of functions in Python alone; --scope files asks it for others",
        ));
    }
    Ok(kept)
}

/// A sentence for each, with its place.
fn sentences(asked: &Asked<'_>, about: About<'_>, kept: Vec<Fitting>) -> Outcome {
    let mut places: Vec<Value> = Vec::new();
    let mut text = String::new();
    let mut total = Total::default();
    for (block, question, most) in kept {
        let work = asked.run(&asked.request(question.messages, question.constraint, most))?;
        total.add(&work);
        let place = about.repository.block_place(&block);
        let line = format!("- {place}: {}\n", work.text.trim());
        if !asked.global.json {
            print_now(&line)?;
        }
        text.push_str(&line);
        let file = &about.repository.files()[block.file].path;
        places.push(json!({ "path": file, "line": block.lines.start + 1, "name": block.name, "text": work.text.trim() }));
    }
    if asked.global.json {
        let mut record = total.record(asked);
        record["text"] = json!(text);
        record["places"] = json!(places);
        record["peak_rss_bytes"] = json!(peak_rss());
        return print_json(&record);
    }
    Ok(())
}

/// Each written anew, until an answer will do.
fn changes(asked: &Asked<'_>, about: About<'_>, kept: Vec<Fitting>) -> Outcome {
    let repository = about.repository;
    let mut drafts = Drafts::new(repository);
    let mut total = Total::default();
    let mut shown: Vec<Value> = Vec::new();
    let mut problems: Vec<String> = Vec::new();
    let some = kept.iter().any(|(block, ..)| block.named > Named::No);
    for (block, question, most) in kept {
        if some && block.named == Named::No {
            break;
        }
        let place = repository.block_place(&block);
        let mut problem = String::new();
        for attempt in 0..ATTEMPTS {
            let request =
                asked.request(question.messages.clone(), question.constraint.clone(), most);
            let work = asked.run(&freer(request, attempt))?;
            total.add(&work);
            let (start, end) = (block.lines.start + 1, block.lines.end);
            shown.push(json!({
                "path": repository.files()[block.file].path, "lines": [[start, end]], "answer": work.text,
            }));
            match repository.block_edit(&block, asked.aim, asked.task, &work.text) {
                Ok(edit) => {
                    problem.clear();
                    drafts.take(edit);
                    break;
                }
                Err(reason) => problem = reason,
            }
        }
        if !problem.is_empty() {
            problems.push(format!("{place}: {problem}"));
        }
        // Of those that nothing names, one is meant.
        if !drafts.changes().is_empty() && !some && about.named.is_empty() {
            break;
        }
    }
    if drafts.judged().is_empty() {
        return Err(no_change(&problems.join("; ")));
    }
    for problem in problems {
        note(asked.global, &problem);
    }
    let mut record = total.record(asked);
    record["shown"] = json!(shown);
    deliver(asked.args, &drafts, record, asked.global)
}

/// A request that is drawn anew: with the next seed, and less of the likeliest.
fn freer(mut request: TextRequest, attempt: u64) -> TextRequest {
    request.seed = request.seed.wrapping_add(attempt);
    request.sampling.temperature += FREER * attempt as f32;
    request
}

/// What all answers took together.
#[derive(Default)]
struct Total {
    tokens: usize,
    prompt_tokens: usize,
    timings: Vec<Value>,
}

impl Total {
    fn add(&mut self, work: &TextWork) {
        self.tokens += work.tokens;
        self.prompt_tokens += work.prompt_tokens;
        self.timings.push(json!(work.timings));
    }

    fn record(self, asked: &Asked<'_>) -> Value {
        json!({
            "aim": asked.aim.as_str(),
            "tokens": self.tokens,
            "prompt_tokens": self.prompt_tokens,
            "timings": self.timings,
            "seed": asked.template.seed,
            "model": asked.template.model,
        })
    }
}
