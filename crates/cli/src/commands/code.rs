use std::path::{Path, PathBuf};

use medley_engine::{Run, TextGenerator, work_file};
use medley_types::{Event, FinishReason, Message, Prompt, TextRequest};
use serde_json::json;
use similar::TextDiff;

use crate::app::{DEFAULT_TEXT, adapters, cancel_token, load_for, prompt_text, with_adapters};
use crate::args::{CodeArgs, Global};
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
    if task.trim().is_empty() && !(args.fix || args.explain || args.tests) {
        return Err(Failure::usage(
            "say what to do, or give --fix, --explain or --tests with a --file",
        ));
    }
    let files: Vec<(PathBuf, String)> = args
        .files
        .iter()
        .map(|path| Ok((path.clone(), read_source(path)?)))
        .collect::<Outcome<_>>()?;
    let model_name = args.model.clone().unwrap_or_else(|| DEFAULT_TEXT.into());
    let (loras, adapters) = adapters(&args.adapters)?;
    let template = TextRequest {
        loras,
        model: model_name,
        speculation: speculation(&args.speculation, args.fix)?,
        ..request(Prompt::Messages(Vec::new()), &args.sampling)
    };
    check(&template)?;
    let model = load_for(&template, with_adapters(adapters), global)?;
    if args.fix {
        return fix(args, &task, &files, &template, &model, global);
    }
    let aim = if args.explain {
        "Explain what this code does, in plain words."
    } else if args.tests {
        "Write unit tests for this code. Answer with one code block."
    } else {
        ""
    };
    let mut question = format!("{task}\n{aim}").trim().to_owned();
    for (path, text) in &files {
        question.push_str(&format!("\n\n{}:\n{}", path.display(), fenced(path, text)));
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

fn conversation(system: &str, question: String) -> Prompt {
    Prompt::Messages(vec![
        Message::new("system", system),
        Message::new("user", question),
    ])
}

fn fenced(path: &Path, text: &str) -> String {
    let language = path
        .extension()
        .map(|e| e.to_string_lossy().into_owned())
        .unwrap_or_default();
    format!("```{language}\n{}\n```", text.trim_end_matches('\n'))
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
            fenced(path, old)
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
        let diff = TextDiff::from_lines(old.as_str(), new.as_str())
            .unified_diff()
            .header(&format!("a/{name}"), &format!("b/{name}"))
            .to_string();
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
