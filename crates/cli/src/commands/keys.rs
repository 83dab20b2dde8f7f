use medley_engine::Home;
use medley_engine::keys::{Key, Keys, Scope};
use serde_json::{Value, json};

use crate::args::{Global, KeysCommand};
use crate::output::{Failure, Outcome, note, print_json, print_now};

/// `medley keys`
pub fn run(command: &KeysCommand, global: &Global) -> Outcome {
    let path = Home::from_env()?.keys_file();
    let mut keys = Keys::load(&path)?;
    match command {
        KeysCommand::Add {
            name,
            scope,
            requests_per_minute,
            jobs,
        } => {
            let scopes = scopes(scope)?;
            let added = keys.add(name, scopes, *requests_per_minute, *jobs);
            let key = added.map_err(|error| Failure::usage(error.to_string()))?;
            keys.save(&path)?;
            if global.json {
                return print_json(&json!({ "name": name, "key": key }));
            }
            note(global, "this key is told once and kept nowhere:");
            Ok(print_now(&format!("{key}\n"))?)
        }
        KeysCommand::List => {
            if global.json {
                let keys: Vec<Value> = keys.keys.iter().map(described).collect();
                return print_json(&json!({ "keys": keys }));
            }
            keys.keys
                .iter()
                .try_for_each(|key| Ok(print_now(&line(key))?))
        }
        KeysCommand::Remove { name } => {
            if !keys.remove(name) {
                return Err(Failure::usage(format!(
                    "there is no key of the name {name:?}"
                )));
            }
            keys.save(&path)?;
            if global.json {
                return print_json(&json!({ "removed": name }));
            }
            note(global, &format!("{name} is let in no more"));
            Ok(())
        }
    }
}

/// The scopes that are named, or all.
fn scopes(names: &[String]) -> Outcome<Vec<Scope>> {
    if names.is_empty() {
        return Ok(Scope::ALL.to_vec());
    }
    let scope = |name: &String| {
        Scope::of(name).ok_or_else(|| {
            let known = Scope::ALL.map(Scope::as_str).join(", ");
            Failure::usage(format!("--scope {name}: it must be one of {known}"))
        })
    };
    names.iter().map(scope).collect()
}

/// All that is known of a key but its hash.
fn described(key: &Key) -> Value {
    json!({
        "name": key.name, "scopes": key.scopes, "requests_per_minute": key.requests_per_minute,
        "jobs": key.jobs, "created_at": key.created_at,
    })
}

fn line(key: &Key) -> String {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let mut line = format!("{}: {}", key.name, scopes.join(", "));
    if let Some(limit) = key.requests_per_minute {
        line += &format!("; {limit} requests a minute");
    }
    if let Some(limit) = key.jobs {
        line += &format!("; {limit} jobs at once");
    }
    line + "\n"
}
