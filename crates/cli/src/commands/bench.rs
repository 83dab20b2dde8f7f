use std::time::Instant;

use medley_engine::train::image::speed as image_speed;
use medley_engine::train::text::DecoderShape;
use medley_engine::train::text::speed::{SpeedSettings, measure};
use medley_engine::{Compute, EmbeddingModel, LoadOptions};
use serde_json::json;

use crate::app::{load_text, model_path};
use crate::args::{Global, TrainCompute, TrainedModel};
use crate::bench_args::BenchCommand;
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};

/// `medley bench`
pub fn run(command: BenchCommand, global: &Global) -> Outcome {
    match command {
        BenchCommand::Text {
            model,
            prefill,
            decode,
            batch,
        } => {
            if prefill == 0 || decode == 0 {
                return Err(Failure::usage("--prefill and --decode must be at least 1"));
            }
            let model = load_text(model.as_deref(), LoadOptions::default(), global)?;
            if prefill.max(decode) > model.context() {
                return Err(Failure::usage(format!(
                    "--prefill and --decode must be at most {}, the context of this model",
                    model.context()
                )));
            }
            let speed = model.speed(prefill, decode, usize::from(batch))?;
            let value = json!({
                "prefill_tok_s": speed.prefill_tok_s,
                "decode_tok_s": speed.decode_tok_s,
                "load_s": model.load_seconds(),
                "peak_rss_bytes": peak_rss(),
                "threads": medley_engine::threads(),
                "batch": batch,
            });
            if global.json {
                return print_json(&value);
            }
            let mib = peak_rss() as f64 / f64::from(1 << 20);
            Ok(print_now(&format!(
                "prefill {prefill}: {:.1} tokens/s\ndecode {decode}: {:.1} tokens/s\nload: {:.3} s\npeak memory: {mib:.0} MiB\n",
                speed.prefill_tok_s,
                speed.decode_tok_s,
                model.load_seconds()
            ))?)
        }
        BenchCommand::Train {
            model,
            compute,
            vocab,
            steps,
        } => train(model, compute, vocab, steps.max(1), global),
        BenchCommand::Speech(args) => super::speech::bench(&args, global),
        BenchCommand::Music(args) => super::music::bench(&args, global),
        BenchCommand::Docs { passages } => super::docs_bench::run(passages, global),
        BenchCommand::Machine => {
            let (threads, limits) = (medley_engine::threads(), medley_engine::limits());
            if global.json {
                return print_json(&json!({
                    "threads": threads,
                    "read_bytes_s": limits.read_bytes_s,
                    "int8_ops_s": limits.int8_ops_s,
                }));
            }
            Ok(print_now(&format!(
                "{threads} threads\nmemory: {:.1} GB/s read\n8-bit products: {:.0} GOP/s\n",
                limits.read_bytes_s * 1e-9,
                limits.int8_ops_s * 1e-9
            ))?)
        }
        BenchCommand::Image(args) => super::image::bench(&args, global),
        BenchCommand::Video(args) => super::video::bench(&args, global),
        BenchCommand::Subjects(args) => super::fidelity::subjects(&args, global),
        BenchCommand::Fidelity(args) => super::fidelity::run(&args, global),
        BenchCommand::Embed { model } => {
            let start = Instant::now();
            let model = EmbeddingModel::load(&model_path(&model, global)?)?;
            let load_s = start.elapsed().as_secs_f64();
            let texts: Vec<String> = (0..64).map(|i| format!("Sentence number {i} is about as long as a customer's question usually is, or a little longer.")).collect();
            let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
            let start = Instant::now();
            model.embed(&borrowed)?;
            let per_s = texts.len() as f64 / start.elapsed().as_secs_f64();
            if global.json {
                return print_json(
                    &json!({ "texts_s": per_s, "load_s": load_s, "peak_rss_bytes": peak_rss() }),
                );
            }
            Ok(print_now(&format!(
                "{per_s:.1} texts/s\nload: {load_s:.3} s\n"
            ))?)
        }
        BenchCommand::Perplexity {
            model,
            file,
            context,
        } => {
            let text = std::fs::read_to_string(&file).map_err(|e| Failure::file(&file, e))?;
            let model = load_text(model.as_deref(), LoadOptions::default(), global)?;
            let result = model.perplexity(&text, context, |done, total| {
                note(global, &format!("chunk {done} of {total}"))
            })?;
            if global.json {
                return print_json(
                    &json!({ "perplexity": result.perplexity, "tokens": result.tokens }),
                );
            }
            Ok(print_now(&format!(
                "perplexity {:.4} over {} tokens\n",
                result.perplexity, result.tokens
            ))?)
        }
    }
}

/// Pictures of a step of the transformer.
const PICTURES: usize = 32;

fn train(
    model: TrainedModel,
    compute: TrainCompute,
    vocab: usize,
    steps: usize,
    global: &Global,
) -> Outcome {
    let compute = match compute {
        TrainCompute::F32 => Compute::F32,
        TrainCompute::Bf16 => Compute::Bf16,
    };
    let (speed, unit) = match model {
        TrainedModel::Transformer => (image_speed::measure(PICTURES, steps, compute), "pictures"),
        TrainedModel::Decoder => {
            let shape = DecoderShape {
                vocab,
                hidden: 384,
                intermediate: 1024,
                layers: 6,
                heads: 6,
                kv_heads: 6,
                context: 256,
                tied: true,
            };
            let settings = SpeedSettings {
                shape,
                length: 256,
                batch: 16,
                steps,
                compute,
            };
            (measure(&settings), "tokens")
        }
    };
    let speed = speed.map_err(|e| Failure::usage(e.to_string()))?;
    let mut sorted = speed.seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let per_s = speed.units as f64 / sorted[sorted.len() / 2];
    if global.json {
        return print_json(&json!({
            "seconds": speed.seconds,
            "units": speed.units,
            "losses": speed.losses,
            "parameters": speed.parameters,
            "peak_rss_bytes": peak_rss(),
            "threads": medley_engine::threads(),
        }));
    }
    Ok(print_now(&format!(
        "{} parameters\n{per_s:.0} {unit}/s\n",
        speed.parameters
    ))?)
}
