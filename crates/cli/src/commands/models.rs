use std::path::{Path, PathBuf};
use std::time::Instant;

use medley_engine::convert::{self, ConvertEvent, Converted, Scheme};
use medley_engine::inspect;
use serde_json::{Value, json};

use crate::app::{Bar, convert_options, lora_of, model_path, pull_options, store};
use crate::args::Global;
use crate::models_args::ModelsCommand;
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};

/// `medley models`
pub fn run(command: ModelsCommand, global: &Global) -> Outcome {
    match command {
        ModelsCommand::List => list(global),
        ModelsCommand::Pull { names, source } => pull(&names, source.as_deref(), global),
        ModelsCommand::Show { model } => show(&model, global),
        ModelsCommand::Convert {
            folder,
            target,
            scheme,
            base,
            force,
        } => {
            let scheme = scheme.as_deref().map(parsed).transpose()?;
            let options = convert_options(force);
            if folder.join("adapter_config.json").is_file() && base.is_none() {
                return Err(Failure::usage(format!(
                    "{} is an adapter: name the model that it is for with --base",
                    folder.display()
                )));
            }
            let base = base.map(|base| model_path(&base, global)).transpose()?;
            made(global, |events| match &base {
                Some(base) => convert::adapter(&folder, base, &target, scheme, &options),
                None => convert::convert(&folder, &target, scheme, &options, events),
            })
        }
        ModelsCommand::Merge {
            base,
            lora,
            output,
            scheme,
            force,
        } => {
            let scheme = scheme.as_deref().map(parsed).transpose()?;
            let adapters: Vec<(PathBuf, f64)> =
                lora.iter().map(|l| lora_of(l)).collect::<Outcome<_>>()?;
            let base = model_path(&base, global)?;
            let options = convert_options(force);
            made(global, |events| {
                convert::merge(&base, &adapters, &output, scheme, &options, events)
            })
        }
        ModelsCommand::Quantize {
            source,
            target,
            scheme,
            force,
        } => {
            let scheme = parsed(&scheme)?;
            let source = model_path(&source, global)?;
            let options = convert_options(force);
            made(global, |events| {
                convert::quantize(&source, &target, scheme, &options, events)
            })
        }
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

/// The recipe of `--type`.
fn parsed(name: &str) -> Outcome<Scheme> {
    name.parse()
        .map_err(|error| Failure::usage(format!("--type: {error}")))
}

/// Makes a model file and says what was made.
fn made(
    global: &Global,
    make: impl FnOnce(&mut dyn FnMut(ConvertEvent)) -> medley_engine::Result<Converted>,
) -> Outcome {
    let start = Instant::now();
    let (mut bar, mut notes) = (Bar::new(global), Vec::new());
    let result = make(&mut |event| {
        bar.show_conversion(&event);
        if let ConvertEvent::Note(text) = event {
            notes.push(text);
        }
    });
    bar.close();
    let made = result?;
    let seconds = start.elapsed().as_secs_f64();
    if global.json {
        return print_json(&json!({
            "files": [{ "path": made.path, "mime": "application/octet-stream", "bytes": made.bytes }],
            "type": made.scheme,
            "tensors": made.types,
            "notes": notes,
            "timings": { "total_s": seconds },
            "peak_rss_bytes": peak_rss(),
        }));
    }
    let types: Vec<String> = made
        .types
        .iter()
        .map(|(ty, n)| format!("{n} {ty}"))
        .collect();
    note(
        global,
        &format!(
            "{}: {}, {} ({}), {seconds:.1} s",
            made.path.display(),
            made.scheme,
            megabytes(made.bytes),
            types.join(", "),
        ),
    );
    Ok(())
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
