//! What came of edits: the diff on stdout, what was dropped on stderr, files where --apply asks for them.

use medley_engine::repository::{Drafts, Edit};
use medley_types::{ErrorCode, ErrorReport};
use serde_json::{Value, json};

use crate::args::Global;
use crate::code_args::CodeArgs;
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};

/// Says what became of the edits, prints the diff and writes it where that is asked for.
pub fn deliver(
    args: &CodeArgs,
    drafts: &Drafts<'_>,
    mut record: Value,
    global: &Global,
) -> Outcome {
    for judged in drafts.judged() {
        if let Some(problem) = &judged.problem {
            note(
                global,
                &format!("dropped, {}: {problem}", what(&judged.edit)),
            );
        }
    }
    for left in drafts.left() {
        note(
            global,
            &format!(
                "left as it is, for it may be of something else: {}:{}: {}",
                left.path, left.line, left.text
            ),
        );
    }
    for path in drafts.uneven() {
        note(
            global,
            &format!("{path}: its brackets were even and would not be any more"),
        );
    }
    let changes = drafts.changes();
    if changes.is_empty() {
        return Err(no_change(&dropped(drafts)));
    }
    let diff = drafts.diff();
    if args.apply {
        drafts.apply(args.force)?;
    }
    if global.json {
        let files: Vec<Value> = changes
            .iter()
            .map(|change| json!({ "path": change.path, "change": change.kind, "applied": args.apply }))
            .collect();
        let known = json!({
            "edits": drafts.judged(), "left": drafts.left(), "diff": diff, "files": files,
            "applied": args.apply, "peak_rss_bytes": peak_rss(),
        });
        if let (Value::Object(record), Value::Object(known)) = (&mut record, known) {
            record.extend(known);
        }
        return print_json(&record);
    }
    print_now(&diff)?;
    if args.apply {
        let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        note(global, &format!("written: {}", paths.join(", ")));
    }
    Ok(())
}

fn what(edit: &Edit) -> String {
    match edit {
        Edit::Replace { path, .. } => format!("an edit of {path}"),
        Edit::Create { path, .. } => format!("the new file {path}"),
        Edit::Delete { path } => format!("the deletion of {path}"),
        Edit::Rename { from, to } => format!("the renaming of {from} to {to}"),
    }
}

/// Why the first edit was dropped.
fn dropped(drafts: &Drafts<'_>) -> String {
    let mut judged = drafts.judged().iter();
    match judged.find_map(|judged| Some((what(&judged.edit), judged.problem.as_ref()?))) {
        Some((what, problem)) => format!("{what} was dropped, for {problem}"),
        None => "the answer holds no whole edit".to_owned(),
    }
}

/// The error where nothing of an answer can be used.
pub fn no_change(why: &str) -> Failure {
    let hint =
        "say more exactly what is to change and where (--file), or take a larger model (--model)";
    let report = ErrorReport::new(ErrorCode::InvalidRequest, format!("no change: {why}"));
    Failure::Failed(report.with_hint(hint))
}
