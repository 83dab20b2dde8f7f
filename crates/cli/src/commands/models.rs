use std::path::Path;

use medley_engine::inspect;
use serde_json::{Value, json};

use crate::app::{Bar, pull_options, store};
use crate::args::{Global, ModelsCommand};
use crate::output::{Outcome, note, print_json, print_now};

/// `medley models`
pub fn run(command: ModelsCommand, global: &Global) -> Outcome {
    match command {
        ModelsCommand::List => list(global),
        ModelsCommand::Pull { names, source } => pull(&names, source.as_deref(), global),
        ModelsCommand::Show { model } => show(&model, global),
        ModelsCommand::Remove { model } => {
            let freed = store()?.remove(&model)?;
            if global.json {
                return print_json(&json!({ "removed": model, "bytes": freed }));
            }
            note(
                global,
                &format!("{model} is removed, {} freed", megabytes(freed)),
            );
            Ok(())
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn list(global: &Global) -> Outcome {
    let store = store()?;
    let installed = store.installed()?;
    let mut models: Vec<Value> = Vec::new();
    for entry in store.catalog().entries() {
        let bytes: u64 = entry.files.iter().map(|f| f.size).sum();
        models.push(json!({
            "name": entry.name, "medium": entry.medium, "bytes": bytes, "licence": entry.licence, "description": entry.description,
            "installed": installed.iter().any(|m| m.name == entry.name),
        }));
    }
    for model in installed
        .iter()
        .filter(|m| store.catalog().get(&m.name).is_none())
    {
        models.push(json!({ "name": model.name, "medium": model.medium, "bytes": model.size, "licence": model.licence, "installed": true }));
    }
    if global.json {
        return print_json(&json!({ "models": models }));
    }
    for m in &models {
        let text = |key: &str| m[key].as_str().unwrap_or("").to_owned();
        let state = if m["installed"] == json!(true) {
            "here"
        } else {
            ""
        };
        let size = megabytes(m["bytes"].as_u64().unwrap_or(0));
        print_now(&format!(
            "{:<20} {:<7} {size:>11}  {state:<5} {}\n",
            text("name"),
            text("medium"),
            text("licence")
        ))?;
    }
    Ok(())
}

fn pull(names: &[String], source: Option<&str>, global: &Global) -> Outcome {
    let store = store()?;
    let mut pulled = Vec::new();
    for name in names {
        let mut bar = Bar::new(global);
        let result = store.pull(name, &pull_options(source), &mut |event| bar.show(&event));
        bar.close();
        for model in result? {
            note(global, &format!("{}: {}", model.name, model.path.display()));
            pulled.push(json!({ "name": model.name, "path": model.path }));
        }
    }
    if global.json {
        return print_json(&json!({ "models": pulled }));
    }
    Ok(())
}

fn show(model: &str, global: &Global) -> Outcome {
    let found = if Path::new(model).exists() {
        inspect::file(Path::new(model))?
    } else {
        json!(store()?.show(model)?)
    };
    if global.json {
        return print_json(&found);
    }
    Ok(print_now(&inspect::describe(&found))?)
}
