use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use medley_engine::database::Database;
use medley_engine::documents::read::child;
use medley_engine::documents::{
    Collection, Documents, Folder, FolderReport, Format, LocalEncoder, Readers, look,
};
use medley_engine::{EmbeddingModel, Home};
use serde_json::{Map, Value, json};

use crate::app::{Bar, cancel_token, model_path};
use crate::args::Global;
use crate::docs_args::{DocsAddArgs, DocsCommand, DocsRemoveArgs};
use crate::output::{Failure, Outcome, note, print_json, print_now};

/// How often a watched folder is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// `medley docs`
pub fn run(command: &DocsCommand, global: &Global) -> Outcome {
    match command {
        DocsCommand::Add(args) => add(args, global),
        DocsCommand::List { collection } => list(collection.as_deref(), global),
        DocsCommand::Remove(args) => remove(args, global),
    }
}

/// The documents of this home.
pub fn documents() -> Outcome<Documents> {
    let database = Database::open(&Home::from_env()?.database_file())?;
    let readers = Readers::this_program();
    Ok(Documents::new(Arc::new(database), readers))
}

/// The encoder of a collection.
pub fn encoder(model: &str, global: &Global) -> Outcome<LocalEncoder> {
    let loaded = EmbeddingModel::load(&model_path(model, global)?)?;
    Ok(LocalEncoder::new(loaded, model))
}

/// One document from standard input as JSON: what [`Readers`] start.
pub fn read(format: &str) -> Outcome {
    let format = Format::of_word(format)
        .ok_or_else(|| Failure::usage(format!("{format:?} is no format of documents")))?;
    Ok(child::serve(format)?)
}

/// `KEY=VALUE` pairs of a flag; values that are numbers are compared as such.
pub fn attributes(flag: &str, list: &[String]) -> Outcome<Map<String, Value>> {
    let mut map = Map::new();
    for text in list {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or_else(|| {
                Failure::usage(format!("{flag} {text}: write KEY=VALUE, such as year=2024"))
            })?;
        let value = match value.parse::<f64>() {
            Ok(number) => json!(number),
            Err(_) => json!(value),
        };
        map.insert(key.trim().to_owned(), value);
    }
    Ok(map)
}

fn add(args: &DocsAddArgs, global: &Global) -> Outcome {
    let folder = Folder {
        roots: args.paths.clone(),
        attributes: attributes("--attribute", &args.attribute)?,
    };
    let mut seen = look(&folder.roots)?;
    let documents = documents()?;
    let collection = documents.collection_or_new(&args.collection, &args.model)?;
    let encoder = encoder(&collection.model, global)?;
    let cancel = cancel_token();
    let mut bar = Bar::new(global);
    let mut show = |path: &Path, done: usize, all: usize| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        bar.show_steps(&name, done, all);
        !cancel.is_cancelled()
    };
    let report = documents.sync(&collection, &folder, &seen, None, &encoder, &mut show);
    bar.close();
    let report = report?;
    told(&documents, &args.collection, &report, global)?;
    if !args.watch {
        return match report.new + report.changed + report.same {
            0 if !report.failed.is_empty() => Err(Failure::usage("no document could be read")),
            _ => Ok(()),
        };
    }
    note(global, "watching for changes (Ctrl-C ends)");
    let cancel = cancel_token();
    while !cancel.is_cancelled() {
        std::thread::sleep(LOOK);
        // A root that is away for a moment, as editors and mounts do it, takes nothing away.
        let Ok(now) = look(&folder.roots) else {
            continue;
        };
        if now == seen {
            continue;
        }
        let mut go_on = |_: &Path, _: usize, _: usize| !cancel.is_cancelled();
        let report = documents.sync(
            &collection,
            &folder,
            &now,
            Some(&seen),
            &encoder,
            &mut go_on,
        )?;
        seen = now;
        told(&documents, &args.collection, &report, global)?;
    }
    Ok(())
}

fn told(documents: &Documents, name: &str, report: &FolderReport, global: &Global) -> Outcome {
    let collection = documents.collection(name)?;
    for (name, reason) in &report.failed {
        note(global, &format!("{name}: {reason}"));
    }
    if global.json {
        return print_json(&json!({ "collection": collection, "report": report }));
    }
    let FolderReport {
        new,
        changed,
        same,
        removed,
        ..
    } = report;
    let mut line =
        format!("{name}: {new} new, {changed} changed, {same} as they were, {removed} gone");
    if !report.failed.is_empty() {
        line += &format!(", {} could not be read", report.failed.len());
    }
    Ok(print_now(&format!("{line}; {}\n", counted(&collection)))?)
}

fn counted(collection: &Collection) -> String {
    let Collection {
        documents,
        passages,
        ..
    } = collection;
    format!("{documents} documents in {passages} passages")
}

fn list(name: Option<&str>, global: &Global) -> Outcome {
    let documents = documents()?;
    let Some(name) = name else {
        let collections = documents.collections()?;
        if global.json {
            return print_json(&json!({ "collections": collections }));
        }
        return collections.iter().try_for_each(|collection| {
            let line = format!("{}: {}\n", collection.name, counted(collection));
            Ok(print_now(&line)?)
        });
    };
    let collection = documents.collection(name)?;
    let list = documents.list(&collection)?;
    if global.json {
        return print_json(&json!({ "collection": collection, "documents": list }));
    }
    list.iter().try_for_each(|document| {
        let title = document.title.as_ref().map(|t| format!(" ({t})"));
        let title = title.unwrap_or_default();
        let line = format!("{}{title}: {} passages\n", document.name, document.passages);
        Ok(print_now(&line)?)
    })
}

fn remove(args: &DocsRemoveArgs, global: &Global) -> Outcome {
    let documents = documents()?;
    let collection = documents.collection(&args.collection)?;
    if args.all {
        documents.drop_collection(&collection.id)?;
        note(global, &format!("{} is gone", collection.name));
        return Ok(());
    }
    let list = documents.list(&collection)?;
    let mut removed = Vec::new();
    for name in &args.names {
        let path = std::path::absolute(name).unwrap_or_default();
        let of = |document: &&medley_engine::documents::Document| {
            document.name == *name || document.id == *name || Path::new(&document.source) == path
        };
        let found: Vec<_> = list.iter().filter(of).collect();
        if found.is_empty() {
            let message = format!("{} has no document {name:?}", collection.name);
            return Err(Failure::usage(message));
        }
        removed.extend(found);
    }
    for document in &removed {
        documents.remove(&collection, &document.id)?;
    }
    if global.json {
        let names: Vec<&str> = removed
            .iter()
            .map(|document| document.name.as_str())
            .collect();
        return print_json(&json!({ "removed": names }));
    }
    note(global, &format!("{} documents are gone", removed.len()));
    Ok(())
}
