mod definitions;
mod deliver;
mod files;
mod repo;

use std::path::{Path, PathBuf};

use medley_engine::repository::{ask::fenced, diff};
use medley_engine::{LoadOptions, Run, TextGenerator, work_file};
use medley_types::{Event, FinishReason, Message, Prompt, TextRequest};
use serde_json::json;

use crate::app::{DEFAULT_TEXT, adapters, cancel_token, load_for, prompt_text};
use crate::args::Global;
use crate::code_args::CodeArgs;
use crate::commands::text::{check, request, speculation};
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};

/// Largest source file that is read.
const MAX_FILE: u64 = 4 << 20;

/// `medley code`
pub fn run(args: &CodeArgs, global: &Global) -> Outcome {
    let task = args
        .task
        .as_deref()
        .map(prompt_text)
        .transpose()?
        .unwrap_or_default();
    let aimed = args.fix || args.explain || args.tests || args.review;
    if task.trim().is_empty() && !aimed && !args.map {
        return Err(Failure::usage(
            "say what to do, or give --fix, --explain, --review or --tests with a --file or --repo",
        ));
    }
    let (root, named) = folder_of(args)?;
    if let Some(root) = root {
        return repo::run(args, &task, &root, &named, global);
    }
    if args.map || (aimed && args.files.is_empty()) {
        return Err(Failure::usage(
            "give a --file F to work on, or a --repo DIR",
        ));
    }
    if args.apply && !args.fix {
        return Err(Failure::usage(
            "--apply writes the change of --fix, or any change of --repo",
        ));
    }
    let files: Vec<(PathBuf, String)> = named
        .into_iter()
        .map(|path| Ok((path.clone(), read_source(&path)?)))
        .collect::<Outcome<_>>()?;
    let (template, options) = template(args, args.fix)?;
    let model = load_for(&template, options, global)?;
    if args.fix {
        return fix(args, &task, &files, &template, &model, global);
    }
    let aim = if args.explain {
        "Explain what this code does, in plain words."
    } else if args.review {
        "Review this code: say what is wrong or risky in it."
    } else if args.tests {
        "Write unit tests for this code. Answer with one code block."
    } else {
        ""
    };
    let mut question = format!("{task}\n{aim}").trim().to_owned();
    for (path, text) in &files {
        let name = path.display().to_string();
        question.push_str(&format!("\n\n{name}:\n{}", fenced(&name, text)));
    }
    let request = TextRequest {
        prompt: conversation(
            "You are a careful programmer. You write correct, short code.",
            question,
        ),
        ..template
    };
    super::text::finish(&model, &request, None, global)
}

/// The folder that is worked on, where one is named, and the files that are named.
fn folder_of(args: &CodeArgs) -> Outcome<(Option<PathBuf>, Vec<PathBuf>)> {
    if let Some(root) = &args.repo {
        return Ok((Some(root.clone()), args.files.clone()));
    }
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
        args.files.iter().cloned().partition(|path| path.is_dir());
    match folders.as_slice() {
        [] => Ok((None, files)),
        [only] => Ok((Some(only.clone()), files)),
        _ => Err(Failure::usage(
            "--file names several folders; give the one that they lie in as --repo",
        )),
    }
}

/// The request without its prompt, and how its model is loaded; `copies` says that much of the prompt will come again.
fn template(args: &CodeArgs, copies: bool) -> Outcome<(TextRequest, LoadOptions)> {
    let (loras, files) = adapters(&args.adapters)?;
    let template = TextRequest {
        loras,
        model: args.model.clone().unwrap_or_else(|| DEFAULT_TEXT.into()),
        speculation: speculation(&args.speculation, copies)?,
        ..request(Prompt::Messages(Vec::new()), &args.sampling)
    };
    check(&template)?;
    let options = LoadOptions {
        context: args.context,
        loras: files,
        ..LoadOptions::default()
    };
    Ok((template, options))
}

fn conversation(system: &str, question: String) -> Prompt {
    Prompt::Messages(vec![
        Message::new("system", system),
        Message::new("user", question),
    ])
}

fn read_source(path: &Path) -> Outcome<String> {
    let size = std::fs::metadata(path)
        .map_err(|e| Failure::file(path, e))?
        .len();
    if size > MAX_FILE {
        return Err(Failure::file(
            path,
            format!("{size} bytes are too many; {MAX_FILE} is the limit for a source file"),
        ));
    }
    std::fs::read_to_string(path).map_err(|e| Failure::file(path, e))
}

/// Asks for each file anew and prints what changed; `--apply` writes it.
fn fix(
    args: &CodeArgs,
    task: &str,
    files: &[(PathBuf, String)],
    template: &TextRequest,
    model: &medley_engine::TextModel,
    global: &Global,
) -> Outcome {
    let mut changes = Vec::new();
    for (path, old) in files {
        let aim = if task.trim().is_empty() {
            "Find the mistakes in this file and mend them."
        } else {
            task
        };
        let question = format!(
            "{aim}\n\nAnswer with the whole corrected file in one code block and nothing else.\n\n{}:\n{}",
            path.display(),
            fenced(&path.display().to_string(), old)
        );
        let prompt = conversation(
            "You are a careful programmer. You change only what is wrong.",
            question,
        );
        let request = TextRequest {
            prompt,
            ..template.clone()
        };
        let work = model.generate(&request, &mut Run::new(cancel_token(), |_: Event| {}))?;
        if work.finish_reason == FinishReason::Cancelled {
            return Err(Failure::Interrupted);
        }
        let Some(new) = code_block(&work.text) else {
            let what = if work.finish_reason == FinishReason::Length {
                "the answer was cut off before the file was complete"
            } else {
                "the answer held no code block"
            };
            return Err(Failure::file(
                path,
                format!("no change proposed: {what}; the file is as it was"),
            ));
        };
        let name = path.display().to_string();
        let diff = diff::unified(&format!("a/{name}"), &format!("b/{name}"), old, &new);
        changes.push((path, new, diff, work.timings));
    }
    if args.apply {
        for (path, new, ..) in changes.iter().filter(|c| !c.2.is_empty()) {
            work_file::write(path, new.as_bytes())?;
        }
    }
    if global.json {
        let list: Vec<_> = changes.iter().map(|(path, _, diff, timings)| json!({ "path": path, "diff": diff, "applied": args.apply && !diff.is_empty(), "timings": timings })).collect();
        return print_json(
            &json!({ "changes": list, "seed": template.seed, "model": template.model, "peak_rss_bytes": peak_rss() }),
        );
    }
    for (path, _, diff, _) in &changes {
        if diff.is_empty() {
            note(global, &format!("{}: nothing to change", path.display()));
        } else {
            print_now(diff)?;
        }
    }
    Ok(())
}

/// The first complete code block of an answer, with a line break at its end.
fn code_block(text: &str) -> Option<String> {
    let mut lines = text.lines();
    lines.find(|l| l.trim_start().starts_with("```"))?;
    let mut body = String::new();
    for line in lines {
        if line.trim_start().starts_with("```") {
            return Some(body);
        }
        body.push_str(line);
        body.push('\n');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::code_block;

    #[test]
    fn only_a_closed_code_block_counts() {
        assert_eq!(
            code_block("Here:\n```rs\nfn a() {}\n```\nDone."),
            Some("fn a() {}\n".into())
        );
        assert_eq!(code_block("```\ncut off"), None);
        assert_eq!(code_block("no block"), None);
    }
}
