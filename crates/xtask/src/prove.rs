//! `cargo xtask prove`: proofs that take too long for every test run; each leaves docs/proof/NAME.json.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::de::DeserializeOwned;
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
        claim: "greedy text and perplexity are llama.cpp's, up to ties and half a percent",
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

/// Reference outputs of llama.cpp: a folder for each model, made by the make.py beside them.
const REFERENCE: &str = "golden/text";

/// Models that the reference knows.
const MODELS: &[&str] = &["smollm2-135m", "gemma3-270m"];
/// Tokens of a continuation that must be the reference's.
const GREEDY_TOKENS: usize = 32;
/// Log-probability distance below which the reference's two best tokens count as tied.
const NEAR_TIE: f64 = 0.05;
/// Of the ten prompts, so many must agree; or as many as llama.cpp has in common with itself (golden/README.md).
const GREEDY_EQUAL: usize = 9;
/// Relative difference of perplexity that is allowed.
const PERPLEXITY_TOLERANCE: f64 = 0.005;

/// greedy.json of a model.
#[derive(Deserialize)]
struct Greedy {
    reference: String,
    own_agreement: usize,
    prompts: Vec<Prompt>,
}

/// One greedy continuation by llama.cpp.
#[derive(Deserialize)]
struct Prompt {
    id: String,
    /// Whether the model's chat template rendered `prompt`.
    chat: bool,
    #[serde(default)]
    messages: Vec<Message>,
    prompt: String,
    /// Best token and its log-probability, second-best token and its; a text that ends early has its end token last.
    steps: Vec<(u32, f64, u32, f64)>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

/// perplexity.json of a model.
#[derive(Deserialize)]
struct Perplexity {
    context: usize,
    perplexity: f64,
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

/// Compare generated tokens to the reference's. The end token is never among `ids`: `stopped` tells of it.
fn agreement(steps: &[(u32, f64, u32, f64)], ids: &[u32], stopped: bool) -> Agreement {
    for (index, (best, first, _, second)) in steps.iter().take(GREEDY_TOKENS).enumerate() {
        let same = match ids.get(index) {
            Some(id) => id == best,
            None => stopped && index + 1 == steps.len(),
        };
        if !same {
            return if first - second <= NEAR_TIE {
                Agreement::NearTie(index)
            } else {
                Agreement::Differs(index)
            };
        }
    }
    Agreement::Equal
}

fn text_exactness(file: &Path) -> Result<()> {
    let program = Program::build()?;
    let mut models = Vec::new();
    let mut problems = Vec::new();
    for name in MODELS {
        models.push(prove_model(&program, name, &mut problems)?);
    }
    let record = json!({
        "machine": Description::read(),
        "bars": {"tokens": GREEDY_TOKENS, "greedy_equal": GREEDY_EQUAL, "near_tie": NEAR_TIE, "perplexity": PERPLEXITY_TOLERANCE},
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

fn reference<T: DeserializeOwned>(model: &str, file: &str) -> Result<T> {
    let path = process::root().join(REFERENCE).join(model).join(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no reference", path.display()))
}

fn prove_model(program: &Program, name: &str, problems: &mut Vec<String>) -> Result<Value> {
    let greedy: Greedy = reference(name, "greedy.json")?;
    let mut agreements = serde_json::Map::new();
    let mut agreed = 0;
    for prompt in &greedy.prompts {
        let agreement = continuation(program, name, prompt)?;
        agreed += usize::from(!matches!(agreement, Agreement::Differs(_)));
        agreements.insert(prompt.id.clone(), json!(agreement));
    }
    if agreed < greedy.own_agreement.min(GREEDY_EQUAL) {
        problems.push(format!(
            "{name}: {agreed} of {} greedy texts agree",
            greedy.prompts.len()
        ));
    }
    let wanted: Perplexity = reference(name, "perplexity.json")?;
    let text = process::root().join(REFERENCE).join("heldout.txt");
    let own = perplexity::own(program, name, &text, wanted.context)?;
    let difference = own.perplexity / wanted.perplexity - 1.0;
    if difference.abs() > PERPLEXITY_TOLERANCE {
        problems.push(format!(
            "{name}: perplexity {:.4}, llama.cpp's {:.4}",
            own.perplexity, wanted.perplexity
        ));
    }
    Ok(json!({
        "model": name,
        "reference": greedy.reference,
        "greedy": agreements,
        "greedy_equal": agreed,
        "greedy_equal_of_llama_cpp_itself": greedy.own_agreement,
        "perplexity": {"medley": own.perplexity, "llama_cpp": wanted.perplexity, "relative_difference": difference, "tokens": own.tokens},
    }))
}

fn continuation(program: &Program, model: &str, prompt: &Prompt) -> Result<Agreement> {
    let tokens = GREEDY_TOKENS.to_string();
    let mut args = vec![
        "text",
        "--model",
        model,
        "--temperature",
        "0",
        "--logprobs",
        "0",
    ];
    args.extend(["--max-tokens", &tokens]);
    match (prompt.chat, prompt.messages.as_slice()) {
        (false, _) => args.extend(["--raw", "--", &prompt.prompt]),
        (true, [user]) if user.role == "user" => args.extend(["--", &user.content]),
        (true, [system, user])
            if (system.role.as_str(), user.role.as_str()) == ("system", "user") =>
        {
            args.extend(["--system", &system.content, "--", &user.content]);
        }
        _ => bail!(
            "{}: the command line takes one turn of a user, after at most a system's",
            prompt.id
        ),
    }
    // Options end at `--`, so `--json` goes first.
    let value = program
        .run(&[&["--json"], args.as_slice()].concat())?
        .json()?;
    let ids: Option<Vec<u32>> = value["logprobs"].as_array().and_then(|tokens| {
        tokens
            .iter()
            .map(|token| u32::try_from(token["id"].as_u64()?).ok())
            .collect()
    });
    let ids = ids.with_context(|| format!("no token ids in {value}"))?;
    Ok(agreement(
        &prompt.steps,
        &ids,
        value["finish_reason"] == "stop",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_by_token() {
        let steps = [(5, -0.1, 6, -3.0), (7, -0.7, 8, -0.74), (9, -0.2, 1, -2.0)];
        assert_eq!(agreement(&steps, &[5, 7, 9, 4], false), Agreement::Equal);
        assert_eq!(agreement(&steps, &[5, 8, 9], false), Agreement::NearTie(1));
        assert_eq!(agreement(&steps, &[5, 7, 2], false), Agreement::Differs(2));
        assert_eq!(agreement(&steps, &[], true), Agreement::Differs(0));
    }

    #[test]
    fn an_early_end_must_be_the_references_end() {
        let steps = [(5, -0.1, 6, -3.0), (2, -0.3, 8, -4.0)];
        assert_eq!(agreement(&steps, &[5], true), Agreement::Equal);
        assert_eq!(agreement(&steps, &[5], false), Agreement::Differs(1));
        let long = [(5, -0.1, 6, -3.0), (7, -0.3, 8, -4.0), (9, -0.2, 1, -2.0)];
        assert_eq!(agreement(&long, &[5], true), Agreement::Differs(1));
    }

    #[test]
    fn references_read() {
        // A reference that is there must read; whether all are there, the proof itself tells.
        for model in MODELS {
            let Ok(greedy) = reference::<Greedy>(model, "greedy.json") else {
                continue;
            };
            assert!(greedy.prompts.len() >= 10, "{model}");
            let best = greedy.prompts[0].steps[0];
            assert!(best.1 >= best.3, "{best:?}");
        }
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
