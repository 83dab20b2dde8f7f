//! `cargo xtask prove`: proofs that take too long for every test run; each leaves docs/proof/NAME.json.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bench::machine::Description;
use crate::bench::perplexity;
use crate::bench::text::{self, TextArgs};
use crate::docs::BENCH_TEXT;
use crate::process;
use crate::smoke::Program;

#[derive(Args)]
pub struct ProveArgs {
    /// Proofs to run; all of them when none is named
    names: Vec<String>,
    /// List the proofs and run none
    #[arg(long)]
    list: bool,
}

struct Proof {
    name: &'static str,
    claim: &'static str,
    run: fn(&Path) -> Result<()>,
}

const PROOFS: &[Proof] = &[
    Proof {
        name: "text-exactness",
        claim: "greedy text and perplexity agree with llama.cpp's",
        run: text_exactness,
    },
    Proof {
        name: "bench-text",
        claim: "speed, load time and memory beside llama.cpp",
        run: bench_text,
    },
];

pub fn run(args: &ProveArgs) -> Result<()> {
    if let Some(unknown) = args
        .names
        .iter()
        .find(|name| PROOFS.iter().all(|proof| proof.name != **name))
    {
        bail!("no proof is called {unknown}; `cargo xtask prove --list` names them");
    }
    let mut failed = Vec::new();
    for proof in PROOFS {
        if !args.names.is_empty() && args.names.iter().all(|name| name != proof.name) {
            continue;
        }
        println!("{}: {}", proof.name, proof.claim);
        if args.list {
            continue;
        }
        let file = process::root().join(format!("docs/proof/{}.json", proof.name));
        if let Err(error) = (proof.run)(&file) {
            println!("    {error:#}");
            failed.push(proof.name);
        }
    }
    if !failed.is_empty() {
        bail!("not proved: {}", failed.join(", "));
    }
    Ok(())
}

fn bench_text(file: &Path) -> Result<()> {
    debug_assert!(file.ends_with(BENCH_TEXT));
    text::run(&TextArgs::into_file(file))
}

/// Reference outputs of llama.cpp, made by the make.py beside them.
const REFERENCE: &str = "golden/text/reference.json";

/// Prompts of one model whose greedy text must be the reference's.
const GREEDY_TOKENS: usize = 32;
/// Log-probability distance below which the reference's two best tokens count as tied.
const NEAR_TIE: f64 = 0.05;
/// Share of prompts that must agree.
const GREEDY_SHARE: f64 = 0.9;
/// Relative difference of perplexity that is allowed.
const PERPLEXITY_TOLERANCE: f64 = 0.005;
/// Mean Kullback-Leibler divergence, in nats, that is allowed.
const KL_TOLERANCE: f64 = 2e-3;

/// The reference file.
#[derive(Deserialize)]
struct Reference {
    models: Vec<ModelReference>,
}

#[derive(Deserialize)]
struct ModelReference {
    /// Catalog name.
    model: String,
    greedy: Vec<Greedy>,
    perplexity: PerplexityReference,
}

/// A greedy continuation, without a chat template.
#[derive(Deserialize)]
struct Greedy {
    prompt: String,
    /// Text of each generated token.
    pieces: Vec<String>,
    /// Difference of the two best log-probabilities at each.
    margins: Vec<f64>,
}

#[derive(Deserialize)]
struct PerplexityReference {
    /// Text file, relative to the reference file.
    file: String,
    context: usize,
    value: f64,
    /// Reference distributions for the divergence, relative to the reference file.
    distributions: Option<String>,
}

/// How a continuation compares to the reference.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Agreement {
    Equal,
    /// The first difference, at this token, is where the reference itself was undecided.
    NearTie(usize),
    /// The first difference, at this token, is a real one.
    Differs(usize),
}

/// Compare generated text to the reference's tokens.
fn agreement(reference: &Greedy, text: &str) -> Agreement {
    let mut rest = text;
    for (index, piece) in reference.pieces.iter().take(GREEDY_TOKENS).enumerate() {
        match rest.strip_prefix(piece.as_str()) {
            Some(after) => rest = after,
            None if reference
                .margins
                .get(index)
                .is_some_and(|margin| *margin <= NEAR_TIE) =>
            {
                return Agreement::NearTie(index);
            }
            None => return Agreement::Differs(index),
        }
    }
    Agreement::Equal
}

fn text_exactness(file: &Path) -> Result<()> {
    let path = process::root().join(REFERENCE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let reference: Reference = serde_json::from_str(&text)
        .with_context(|| format!("{} is no reference", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let program = Program::build()?;
    let mut models = Vec::new();
    let mut problems = Vec::new();
    for model in &reference.models {
        let (record, problem) = prove_model(&program, folder, model)?;
        models.push(record);
        problems.extend(problem);
    }
    let record = json!({
        "machine": Description::read(),
        "bars": {"greedy_share": GREEDY_SHARE, "near_tie": NEAR_TIE, "perplexity": PERPLEXITY_TOLERANCE, "mean_kl": KL_TOLERANCE},
        "models": models,
        "holds": problems.is_empty(),
    });
    std::fs::write(file, serde_json::to_string_pretty(&record)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))?;
    if !problems.is_empty() {
        bail!("{}", problems.join("\n    "));
    }
    Ok(())
}

fn prove_model(
    program: &Program,
    folder: &Path,
    model: &ModelReference,
) -> Result<(Value, Vec<String>)> {
    let name = model.model.as_str();
    let mut problems = Vec::new();
    let mut agreements = Vec::new();
    for greedy in &model.greedy {
        let tokens = GREEDY_TOKENS.to_string();
        let value = program.json(&[
            "text",
            &greedy.prompt,
            "--raw",
            "--model",
            name,
            "--temperature",
            "0",
            "--max-tokens",
            &tokens,
        ])?;
        let text = value["text"].as_str().context("no text in the answer")?;
        agreements.push(agreement(greedy, text));
    }
    let agreed = agreements
        .iter()
        .filter(|one| !matches!(one, Agreement::Differs(_)))
        .count();
    if (agreed as f64) < GREEDY_SHARE * agreements.len() as f64 {
        problems.push(format!(
            "{name}: {agreed} of {} greedy texts agree",
            agreements.len()
        ));
    }
    let wanted = &model.perplexity;
    let text = folder.join(&wanted.file);
    let own = program.perplexity(name, &text, wanted.context)?;
    let difference = own.perplexity / wanted.value - 1.0;
    if difference.abs() > PERPLEXITY_TOLERANCE {
        problems.push(format!(
            "{name}: perplexity {:.4}, llama.cpp's {:.4}",
            own.perplexity, wanted.value
        ));
    }
    let mean_kl = match &wanted.distributions {
        Some(file) => Some(mean_kl(program, name, &folder.join(file))?),
        None => None,
    };
    if let Some(mean_kl) = mean_kl.filter(|value| *value > KL_TOLERANCE) {
        problems.push(format!("{name}: mean KL divergence {mean_kl:.2e}"));
    }
    let record = json!({
        "model": name,
        "greedy": agreements,
        "perplexity": {"medley": own.perplexity, "llama_cpp": wanted.value, "relative_difference": difference, "tokens": own.tokens},
        "mean_kl": mean_kl,
    });
    Ok((record, problems))
}

/// `medley bench perplexity --reference FILE` prints `mean_kl` against stored distributions.
fn mean_kl(program: &Program, model: &str, distributions: &Path) -> Result<f64> {
    let path = distributions.to_string_lossy();
    let value = program.json(&[
        "bench",
        "perplexity",
        "--model",
        model,
        "--reference",
        &path,
    ])?;
    value["mean_kl"]
        .as_f64()
        .with_context(|| format!("no mean_kl in {value}"))
}

impl Program {
    fn perplexity(&self, model: &str, file: &Path, context: usize) -> Result<perplexity::Own> {
        let path = file.to_string_lossy();
        let value = self.json(&[
            "bench",
            "perplexity",
            "--model",
            model,
            "--file",
            &path,
            "--context",
            &context.to_string(),
        ])?;
        serde_json::from_value(value).context("`medley bench perplexity` printed something else")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Greedy {
        Greedy {
            prompt: "One".into(),
            pieces: vec![" two".into(), " three".into(), " four".into()],
            margins: vec![1.0, 0.04, 2.0],
        }
    }

    #[test]
    fn agreement_is_by_token() {
        let reference = reference();
        assert_eq!(
            agreement(&reference, " two three four five"),
            Agreement::Equal
        );
        assert_eq!(agreement(&reference, " two tree"), Agreement::NearTie(1));
        assert_eq!(
            agreement(&reference, " two three five"),
            Agreement::Differs(2)
        );
        assert_eq!(agreement(&reference, "2"), Agreement::Differs(0));
        assert_eq!(agreement(&reference, " two three"), Agreement::Differs(2));
    }

    #[test]
    fn unknown_proofs_are_refused() {
        let args = ProveArgs {
            names: vec!["nothing".into()],
            list: false,
        };
        assert!(run(&args).is_err());
    }
}
