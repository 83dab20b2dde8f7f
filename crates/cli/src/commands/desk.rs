use std::sync::Arc;

use medley_engine::database::Database;
use medley_engine::desk::{Desk, Desks, Turns};
use medley_engine::{Home, work_file};
use serde_json::{Value, json};

use crate::args::Global;
use crate::commands::docs::{documents, encoder};
use crate::desk_args::{DeskAddArgs, DeskCommand};
use crate::output::{Failure, Outcome, note, print_json, print_now};

/// `medley desk`
pub fn run(command: &DeskCommand, global: &Global) -> Outcome {
    let path = Home::from_env()?.desks_file();
    let mut desks = Desks::load(&path)?;
    match command {
        DeskCommand::Add(args) => {
            let desk = made(args)?;
            let added = desks
                .put(desk)
                .map_err(|error| Failure::usage(error.to_string()))?;
            let added = added.clone();
            desks.save(&path)?;
            told(&added, global)
        }
        DeskCommand::List => {
            if global.json {
                return print_json(&json!({ "desks": desks.desks }));
            }
            desks.desks.iter().try_for_each(|desk| {
                let origins = desk.origins.join(", ");
                let line = format!("{}: {}; {origins}\n", desk.name, desk.collection);
                Ok(print_now(&line)?)
            })
        }
        DeskCommand::Remove { name } => {
            desks.find(name)?;
            turns()?.forget(name)?;
            desks.remove(name);
            desks.save(&path)?;
            note(global, &format!("{name} is gone"));
            Ok(())
        }
        DeskCommand::Log {
            name,
            output,
            forget,
        } => {
            desks.find(name)?;
            if *forget {
                turns()?.forget(name)?;
                note(global, &format!("what was asked at {name} is forgotten"));
                return Ok(());
            }
            log(name, output.as_deref(), global)
        }
        DeskCommand::Unanswered { name } => unanswered(desks.find(name)?, global),
    }
}

fn turns() -> Outcome<Turns> {
    let database = Database::open(&Home::from_env()?.database_file())?;
    Ok(Turns::new(Arc::new(database)))
}

fn made(args: &DeskAddArgs) -> Outcome<Desk> {
    let collection = args.collection.as_deref().unwrap_or(&args.name);
    // A desk over nothing would have no answer to anything.
    documents()?.collection(collection)?;
    Ok(Desk {
        title: args.title.clone(),
        greeting: args.greeting.clone(),
        unknown: args.unknown.clone(),
        colour: args.colour.clone(),
        language: args.language.clone(),
        mail: args.mail.clone(),
        webhook: args.webhook.clone(),
        model: args.model.clone(),
        tone: args.tone.clone(),
        origins: args
            .origin
            .iter()
            .map(|o| o.trim_end_matches('/').to_owned())
            .collect(),
        rate: args.rate,
        sure: args.sure,
        days: args.days,
        mask: !args.no_mask,
        ..Desk::new(&args.name, collection)
    })
}

fn told(desk: &Desk, global: &Global) -> Outcome {
    let page = format!("/desk/{}", desk.name);
    let tag = format!("<script src=\"http://127.0.0.1:8080{page}/desk.js\" async></script>");
    if global.json {
        return print_json(&json!({ "desk": desk, "page": page, "script": tag }));
    }
    note(
        global,
        "`medley serve` shows the desk; this line puts it into a page, with the server's address as visitors reach it:",
    );
    Ok(print_now(&format!("{tag}\n"))?)
}

fn log(name: &str, output: Option<&std::path::Path>, global: &Global) -> Outcome {
    let turns = turns()?.list(name, false)?;
    if let Some(path) = output {
        let lines = turns.iter().map(|turn| format!("{}\n", json!(turn)));
        work_file::write(path, lines.collect::<String>().as_bytes())?;
        note(
            global,
            &format!("{} questions: {}", turns.len(), path.display()),
        );
        return Ok(());
    }
    if global.json {
        return print_json(&json!({ "turns": turns }));
    }
    turns.iter().try_for_each(|turn| {
        let said = if turn.answered {
            turn.answer.as_str()
        } else {
            "(no answer)"
        };
        Ok(print_now(&format!(
            "? {}\n  {}\n",
            turn.question,
            said.replace('\n', "\n  ")
        ))?)
    })
}

fn unanswered(desk: &Desk, global: &Global) -> Outcome {
    let model = documents()?.collection(&desk.collection)?.model;
    let clusters = turns()?.unanswered(&desk.name, &encoder(&model, global)?)?;
    if global.json {
        let clusters: Vec<Value> = clusters.iter().map(|cluster| json!(cluster)).collect();
        return print_json(&json!({ "unanswered": clusters }));
    }
    clusters.iter().try_for_each(|cluster| {
        Ok(print_now(&format!(
            "{:4} × {}\n",
            cluster.count, cluster.question
        ))?)
    })
}
