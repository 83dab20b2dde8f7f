//! `medley code` over a folder: what it is about is found, the model asked, and its edits given as one diff.

use std::path::{Path, PathBuf};

use medley_engine::inspect::parameters;
use medley_engine::long::Writer;
use medley_engine::repository::ask::{self, Aim};
use medley_engine::repository::{Drafts, Edit, Ranking, Repository};
use medley_engine::{PipelineError, Run, TextGenerator, TextModel};
use medley_types::{Constraint, Event, FinishReason, Message, Prompt, TextRequest, TextWork};
use serde_json::json;

use super::deliver::deliver;
use super::{definitions, files, template};
use crate::app::{cancel_token, load_for, model_path};
use crate::args::Global;
use crate::code_args::{CodeArgs, Scope};
use crate::output::{Failure, Outcome, note, print_json, print_now};

/// Tokens of a map that is printed, by its bytes.
const PRINTED: usize = 8192;

/// Models with fewer parameters are asked about one definition at a time.
const SMALL: u64 = 1_000_000_000;

/// Likeliest token or nearly: code is not to be varied.
const TEMPERATURE: f32 = 0.2;

/// Runs the command over the folder `root`.
pub fn run(
    args: &CodeArgs,
    task: &str,
    root: &Path,
    named: &[PathBuf],
    global: &Global,
) -> Outcome {
    let aim = aim(args, task);
    if args.apply && aim.is_prose() {
        return Err(Failure::usage(format!(
            "--apply: the task {} changes nothing; say what is to be changed",
            aim.as_str()
        )));
    }
    let repository = Repository::open(root)?;
    if let Some(skipped) = repository.skipped_summary() {
        note(global, &format!("passed over: {skipped}"));
    }
    let mut files = Vec::new();
    for path in named {
        files.extend(repository.named(path)?);
    }
    let ranking = repository.rank(task)?;
    if args.map {
        return print_map(&repository, &ranking, global);
    }
    if let Some(drafts) = by_rule(&repository, task, aim, &ranking, &files) {
        note(global, "this is made by rule, without a model");
        let record = json!({ "aim": aim.as_str(), "model": null });
        return deliver(args, &drafts, record, global);
    }
    let about = About {
        repository: &repository,
        ranking: &ranking,
        named: &files,
    };
    ask_model(args, task, aim, about, global)
}

fn aim(args: &CodeArgs, task: &str) -> Aim {
    match (args.fix, args.explain, args.tests, args.review) {
        (true, ..) => Aim::Fix,
        (_, true, ..) => Aim::Explain,
        (_, _, true, _) => Aim::Tests,
        (.., true) => Aim::Review,
        _ => Aim::of(task),
    }
}

/// Renamings and deletions that are nothing else.
fn by_rule<'r>(
    repository: &'r Repository,
    task: &str,
    aim: Aim,
    ranking: &Ranking,
    named: &[usize],
) -> Option<Drafts<'r>> {
    let mut drafts = Drafts::new(repository);
    if aim != Aim::Change {
        return None;
    }
    if let Some(rename) = repository.rename_of(task, ranking, named) {
        drafts.take_rename(&rename);
        return Some(drafts);
    }
    for file in repository.deletion_of(task, ranking) {
        let path = repository.files()[file].path.clone();
        drafts.take(Edit::Delete { path });
    }
    (!drafts.judged().is_empty()).then_some(drafts)
}

fn print_map(repository: &Repository, ranking: &Ranking, global: &Global) -> Outcome {
    let map = repository.map(ranking, PRINTED, &|text| text.len().div_ceil(4));
    if global.json {
        return print_json(
            &json!({ "repo": repository.root(), "map": map.entries, "more": map.more }),
        );
    }
    Ok(print_now(&map.text)?)
}

fn ask_model(args: &CodeArgs, task: &str, aim: Aim, about: About<'_>, global: &Global) -> Outcome {
    let (mut template, options) = template(args, !aim.is_prose())?;
    template.sampling.temperature = args.sampling.temperature.unwrap_or(TEMPERATURE);
    let path = model_path(&template.model, global)?;
    let small = parameters(&path)? < SMALL;
    let scope = args
        .scope
        .unwrap_or(match small && !ask::is_about_files(task) {
            true => Scope::Definition,
            false => Scope::Files,
        });
    let model = load_for(&template, options, global)?;
    // Refused here, because everything below counts tokens.
    model.tokens(&[Message::new("user", "a")])?;
    let asked = Asked {
        args,
        task,
        aim,
        model: &model,
        template,
        global,
    };
    match scope {
        Scope::Definition => definitions::run(&asked, about),
        Scope::Files => files::run(&asked, about),
    }
}

/// A folder's files as a task finds them, and those that the user names.
#[derive(Clone, Copy)]
pub struct About<'a> {
    pub repository: &'a Repository,
    pub ranking: &'a Ranking,
    pub named: &'a [usize],
}

/// What is asked of which model.
pub struct Asked<'a> {
    pub args: &'a CodeArgs,
    pub task: &'a str,
    pub aim: Aim,
    pub model: &'a TextModel,
    pub template: TextRequest,
    pub global: &'a Global,
}

impl Asked<'_> {
    /// Tokens of a conversation, as far as that is worth knowing: of what is far too long its bytes tell enough.
    pub fn tokens(&self, messages: &[Message]) -> usize {
        let bytes: usize = messages.iter().map(|message| message.content.len()).sum();
        match bytes / 16 > self.model.context() {
            true => bytes / 4,
            false => self.model.tokens(messages).unwrap_or(bytes / 4),
        }
    }

    /// Runs one request to its end.
    pub fn try_to(&self, request: &TextRequest) -> Result<TextWork, PipelineError> {
        let mut run = Run::new(cancel_token(), |_: Event| {});
        self.model.generate(request, &mut run)
    }

    /// The same where every error ends the command, and so does the user.
    pub fn run(&self, request: &TextRequest) -> Outcome<TextWork> {
        finished(self.try_to(request)?)
    }

    /// The request of a conversation.
    pub fn request(
        &self,
        messages: Vec<Message>,
        constraint: Constraint,
        most: usize,
    ) -> TextRequest {
        TextRequest {
            prompt: Prompt::Messages(messages),
            constraint: Some(constraint),
            max_tokens: Some(most),
            ..self.template.clone()
        }
    }
}

/// A work, unless the user has ended it.
pub fn finished(work: TextWork) -> Outcome<TextWork> {
    match work.finish_reason {
        FinishReason::Cancelled => Err(Failure::Interrupted),
        _ => Ok(work),
    }
}
