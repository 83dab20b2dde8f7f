//! Fits the layer that the router has beside its rules, to the labelled requests of its tests; requests that are kept for
//! measuring are not read.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::process::root;

/// Requests that may be learned from, below the tests of the engine.
const SETS: [&str; 3] = ["seen.json", "own.json", "fresh.json"];
const REQUESTS: &str = "crates/engine/tests/route";
const LAYER: &str = "crates/engine/src/route/layer.json";
const ENCODER: &str = "icon-encoder";
const MEDIA: [&str; 6] = ["text", "image", "speech", "music", "video", "create"];
/// What a destination that the rules chose has ahead: chosen on 740 requests that neither rules nor layer had seen.
const RULES: f32 = 2.0;
/// Weight of the squares of the layer's weights in its error.
const DECAY: f32 = 1e-4;
const STEPS: usize = 3000;
const RATE: f32 = 0.05;
/// Parts that are held out in turn.
const FOLDS: usize = 5;

#[derive(Deserialize)]
struct Request {
    prompt: String,
    medium: String,
}

#[derive(Serialize)]
struct Layer {
    rules: f32,
    weights: Vec<Vec<f32>>,
}

/// A request's embedding, followed by 1, and its medium.
type Row = (Vec<f32>, usize);

/// Embeds the requests, says how the layer does on those it has not seen, and writes the layer of all.
pub fn run() -> Result<()> {
    let mut requests: Vec<Request> = Vec::new();
    for set in SETS {
        let path = root().join(REQUESTS).join(set);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        requests.extend(serde_json::from_str::<Vec<Request>>(&text)?);
    }
    let rows = rows(&requests)?;
    let mut right = 0;
    for fold in 0..FOLDS {
        let part = |held: bool| -> Vec<&Row> {
            let own = |(i, row): (usize, _)| (i % FOLDS == fold).eq(&held).then_some(row);
            rows.iter().enumerate().filter_map(own).collect()
        };
        let weights = fit(&part(false));
        right += part(true)
            .iter()
            .filter(|(x, y)| best(&weights, x) == *y)
            .count();
    }
    let share = 100.0 * right as f64 / rows.len() as f64;
    println!(
        "{} requests; the layer alone, of those held out in turn: {share:.1} % right",
        rows.len()
    );
    let all: Vec<&Row> = rows.iter().collect();
    // Three digits are enough, and keep the file small.
    let rounded = |x: f32| (x * 1e3).round() / 1e3;
    let weights = fit(&all)
        .into_iter()
        .map(|row| row.into_iter().map(rounded).collect());
    let layer = Layer {
        rules: RULES,
        weights: weights.collect(),
    };
    let path = root().join(LAYER);
    let partial = path.with_extension("partial");
    fs::write(&partial, format!("{}\n", serde_json::to_string(&layer)?))?;
    fs::rename(&partial, &path)?;
    println!("{}", path.display());
    Ok(())
}

/// The requests as the program's encoder reads them.
fn rows(requests: &[Request]) -> Result<Vec<Row>> {
    let program = root().join("target/release/medley");
    let mut child = Command::new(&program)
        .args(["embed", "--model", ENCODER, "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| program.display().to_string())?;
    let text: String = requests
        .iter()
        .map(|r| format!("{}\n", r.prompt.trim().replace('\n', " ")))
        .collect();
    let mut input = child.stdin.take().context("no input")?;
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "medley embed failed");
    writer.join().ok().context("the writer ended")??;
    let embeddings = embeddings(&output.stdout)?;
    ensure!(
        embeddings.len() == requests.len(),
        "{} embeddings of {} requests",
        embeddings.len(),
        requests.len()
    );
    requests
        .iter()
        .zip(embeddings)
        .map(|(request, mut x)| {
            let medium = MEDIA.iter().position(|m| *m == request.medium);
            x.push(1.0);
            Ok((
                x,
                medium.with_context(|| format!("the medium {}", request.medium))?,
            ))
        })
        .collect()
}

fn embeddings(output: &[u8]) -> Result<Vec<Vec<f32>>> {
    let answer: serde_json::Value = serde_json::from_slice(output)?;
    let list = answer["embeddings"].as_array().context("no list")?;
    list.iter()
        .map(|vector| Ok(serde_json::from_value(vector.clone())?))
        .collect()
}

fn scores(weights: &[Vec<f32>], x: &[f32]) -> Vec<f32> {
    let score = |row: &Vec<f32>| row.iter().zip(x).map(|(w, x)| w * x).sum();
    weights.iter().map(score).collect()
}

fn best(weights: &[Vec<f32>], x: &[f32]) -> usize {
    let scores = scores(weights, x);
    (0..scores.len())
        .max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
        .unwrap_or(0)
}

/// Multinomial logistic regression with a decay of the weights (not of the constants), by Adam over all rows at once.
fn fit(rows: &[&Row]) -> Vec<Vec<f32>> {
    let width = rows.first().map_or(1, |row| row.0.len());
    let mut weights = vec![vec![0.0f32; width]; MEDIA.len()];
    let mut means = weights.clone();
    let mut squares = weights.clone();
    for step in 1..=STEPS {
        let mut slopes = vec![vec![0.0f32; width]; MEDIA.len()];
        for (x, y) in rows {
            let scores = scores(&weights, x);
            let most = scores.iter().copied().fold(f32::MIN, f32::max);
            let parts: Vec<f32> = scores.iter().map(|s| (s - most).exp()).collect();
            let sum: f32 = parts.iter().sum();
            for (medium, slopes) in slopes.iter_mut().enumerate() {
                let error = parts[medium] / sum - f32::from(u8::from(medium == *y));
                slopes.iter_mut().zip(x).for_each(|(s, x)| *s += error * x);
            }
        }
        // The rate falls along half a cosine.
        let at = step as f32 / STEPS as f32;
        let rate = RATE * 0.5 * (1.0 + (std::f32::consts::PI * at).cos());
        let [first, second] = [0.9f32, 0.999].map(|beta| 1.0 - beta.powi(step as i32));
        for medium in 0..MEDIA.len() {
            for i in 0..width {
                let decay = if i + 1 < width {
                    2.0 * DECAY * weights[medium][i]
                } else {
                    0.0
                };
                let slope = slopes[medium][i] / rows.len() as f32 + decay;
                let (mean, square) = (&mut means[medium][i], &mut squares[medium][i]);
                *mean += 0.1 * (slope - *mean);
                *square += 1e-3 * (slope * slope - *square);
                weights[medium][i] -= rate * (*mean / first) / ((*square / second).sqrt() + 1e-8);
            }
        }
    }
    weights
}
