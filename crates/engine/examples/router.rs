//! Fits the layer that the router has beside its rules: `router ENCODER LAYER REQUESTS...`. The encoder is a GGUF file, requests are
//! JSON lists of `{"prompt", "medium"}`. Says how rules and layer do on requests that were held out in turn, and writes the
//! layer of all. `cargo xtask router` calls it.
#![allow(clippy::print_stdout, reason = "what it says is its purpose")]

use std::error::Error;
use std::fs;
use std::path::Path;

use medley_engine::EmbeddingModel;
use medley_engine::route::{Destination, Fitting, Labelled, Layer, ruled};
use serde::Deserialize;

/// Parts that are held out in turn.
const FOLDS: usize = 5;

#[derive(Deserialize)]
struct Request {
    prompt: String,
    medium: String,
}

/// A request with what the rules say of it.
struct Row {
    labelled: Labelled,
    ruled: (Destination, usize),
    file: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [encoder, layer, files @ ..] = args.as_slice() else {
        return Err("router ENCODER LAYER REQUESTS...".into());
    };
    let encoder = EmbeddingModel::load(Path::new(encoder))?;
    let mut rows = Vec::new();
    for (file, path) in files.iter().enumerate() {
        let requests: Vec<Request> = serde_json::from_str(&fs::read_to_string(path)?)?;
        for Request { prompt, medium } in requests {
            let destination = Destination::ALL.into_iter().find(|d| d.as_str() == medium);
            let states = encoder.states_behind(Layer::BEHIND, &[prompt.trim()], Layer::TOKENS)?;
            rows.push(Row {
                labelled: Labelled {
                    states: states.into_iter().next().ok_or("no states")?,
                    destination: destination.ok_or(medium)?,
                },
                ruled: ruled(&prompt),
                file,
            });
        }
    }
    let settings = Fitting::default();
    let width = encoder.width();
    held_out(&rows, files, width, &settings);
    let all: Vec<&Labelled> = rows.iter().map(|row| &row.labelled).collect();
    let fitted = Layer::fit(&all, width, &settings).rounded();
    let partial = format!("{layer}.partial");
    fs::write(&partial, format!("{}\n", serde_json::to_string(&fitted)?))?;
    fs::rename(&partial, layer)?;
    println!("{layer}");
    Ok(())
}

/// Prints, file by file, the shares that go right by rules, by a layer that has not seen them, and by both.
fn held_out(rows: &[Row], files: &[String], width: usize, settings: &Fitting) {
    let mut right = vec![[0usize; 4]; files.len()];
    let fold_of = |at: usize| (at * 7919) % FOLDS;
    for fold in 0..FOLDS {
        let seen = rows
            .iter()
            .enumerate()
            .filter(|(at, _)| fold_of(*at) != fold);
        let seen: Vec<&Labelled> = seen.map(|(_, row)| &row.labelled).collect();
        let layer = Layer::fit(&seen, width, settings);
        for (_, row) in rows
            .iter()
            .enumerate()
            .filter(|(at, _)| fold_of(*at) == fold)
        {
            let scores = layer.scores(&row.labelled.states);
            let best = |scores: &[f32]| {
                let most = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]);
                (0..scores.len()).max_by(most).unwrap_or(0)
            };
            let mut both = scores;
            both[row.ruled.0 as usize] += settings.rules[row.ruled.1];
            let wanted = row.labelled.destination as usize;
            let found = [wanted, row.ruled.0 as usize, best(&scores), best(&both)];
            for (count, found) in right[row.file].iter_mut().zip(found) {
                *count += usize::from(found == wanted);
            }
        }
    }
    for (file, [all, rules, layer, both]) in files.iter().zip(&right) {
        let share = |count: &usize| 100.0 * *count as f64 / *all as f64;
        let name = Path::new(file).file_name().unwrap_or_default();
        println!(
            "{}: {all} requests; right by rules {:.1} %, by the layer, held out, {:.1} %, by both {:.1} %",
            name.to_string_lossy(),
            share(rules),
            share(layer),
            share(both)
        );
    }
}
