//! The text encoder that ships with the icons: MiniLM, quantised, and how near its vectors are to those of the
//! checkpoint on the icons' own captions.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::process;
use crate::smoke::Program;

/// Captions that are compared.
const CAPTIONS: usize = 240;
/// Least cosine of two vectors of one caption for which the file is taken as good.
const WANTED: f64 = 0.999;

#[derive(Args)]
pub struct EncoderArgs {
    /// Element types to make and measure; the first one is what ships
    #[arg(
        long = "type",
        value_name = "T",
        default_value = "Q8_0",
        value_delimiter = ','
    )]
    types: Vec<String>,
    /// Folder for minilm-TYPE.gguf (default: encoder beside the dataset)
    #[arg(long)]
    encoder_out: Option<PathBuf>,
}

pub fn run(args: &EncoderArgs, dataset: &Path) -> Result<()> {
    let captions = captions(dataset)?;
    let program = Program::build()?;
    let marker = program.file_of("minilm", &|path| {
        path.ends_with("sentence_bert_config.json")
    })?;
    let folder = marker.parent().context("the model lies in no folder")?;
    let out = match &args.encoder_out {
        Some(out) => out.clone(),
        None => dataset.parent().unwrap_or(Path::new(".")).join("encoder"),
    };
    std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let exact = embed(&program, folder, &captions)?;
    let mut shipped_is_good = true;
    for (i, ty) in args.types.iter().enumerate() {
        let target = out.join(format!("minilm-{ty}.gguf"));
        let made = program.json(&[
            "models",
            "convert",
            text(folder)?,
            text(&target)?,
            "--type",
            ty,
            "--force",
        ])?;
        let bytes = std::fs::metadata(&target)?.len();
        let near = embed(&program, &target, &captions)?;
        let mut cosines: Vec<f64> = exact.iter().zip(&near).map(|(a, b)| cosine(a, b)).collect();
        cosines.sort_by(f64::total_cmp);
        let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        let least = cosines[0];
        // Whether a caption is still nearest to itself: telling captions apart is what the encoder is for.
        let kept = exact
            .iter()
            .enumerate()
            .filter(|(i, vector)| nearest(vector, &near) == Some(*i))
            .count();
        println!(
            "{}",
            json!({
                "file": target.file_name().and_then(|n| n.to_str()),
                "bytes": bytes,
                "tensors": made["tensors"],
                "captions": cosines.len(),
                "cosine_least": least,
                "cosine_mean": mean,
                "nearest_is_itself": kept,
            })
        );
        shipped_is_good &= i > 0 || least >= WANTED;
    }
    if !shipped_is_good {
        bail!(
            "the vectors of {} are further than a cosine of {WANTED} from those of the checkpoint",
            args.types[0]
        );
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is no UTF-8 path", path.display()))
}

/// Captions of the dataset, evenly spread, each once.
fn captions(dataset: &Path) -> Result<Vec<String>> {
    let list = dataset.join("metadata.jsonl");
    let lines = std::fs::read_to_string(&list).with_context(|| {
        format!(
            "cannot read {}: run `cargo xtask icons` first",
            list.display()
        )
    })?;
    let mut all: Vec<String> = Vec::new();
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line)?;
        let captions = value["captions"]
            .as_array()
            .context("a line without captions")?;
        all.extend(captions.iter().filter_map(|c| Some(c.as_str()?.to_owned())));
    }
    all.sort();
    all.dedup();
    ensure!(
        all.len() >= CAPTIONS,
        "only {} captions in {}",
        all.len(),
        list.display()
    );
    let step = all.len() / CAPTIONS;
    Ok(all.into_iter().step_by(step).take(CAPTIONS).collect())
}

/// One vector of length 1 per caption.
fn embed(program: &Program, model: &Path, captions: &[String]) -> Result<Vec<Vec<f64>>> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let input = folder.path().join("captions.txt");
    std::fs::write(&input, captions.join("\n"))?;
    let mut command = Command::new(program.binary());
    command.args(["embed", "-", "--json", "--model"]).arg(model);
    command.stdin(File::open(&input)?);
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", process::describe(&command)))?;
    ensure!(
        output.status.success(),
        "{} ended with {}:\n{}{}",
        process::describe(&command),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let value: Value = serde_json::from_slice(&output.stdout)?;
    let vectors: Vec<Vec<f64>> = serde_json::from_value(value["embeddings"].clone())?;
    ensure!(
        vectors.len() == captions.len(),
        "{} vectors for {} captions",
        vectors.len(),
        captions.len()
    );
    Ok(vectors)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn nearest(vector: &[f64], others: &[Vec<f64>]) -> Option<usize> {
    (0..others.len())
        .max_by(|&i, &j| cosine(vector, &others[i]).total_cmp(&cosine(vector, &others[j])))
}
