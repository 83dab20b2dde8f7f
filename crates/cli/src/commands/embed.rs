use medley_engine::EmbeddingModel;
use serde_json::json;

use crate::app::{model_path, prompt_text};
use crate::args::{EmbedArgs, Global};
use crate::output::{Failure, Outcome, peak_rss, print_json, print_now};

/// `medley embed`
pub fn run(args: &EmbedArgs, global: &Global) -> Outcome {
    let text = prompt_text(&args.text)?;
    let texts: Vec<&str> = if args.text == "-" {
        text.lines().filter(|l| !l.trim().is_empty()).collect()
    } else {
        vec![text.as_str()]
    };
    if texts.is_empty() || texts.iter().all(|t| t.trim().is_empty()) {
        return Err(Failure::usage(
            "there is no text to embed; give one, or one per line on standard input",
        ));
    }
    let model = EmbeddingModel::load(&model_path(&args.model, global)?)?;
    let vectors = model.embed(&texts)?;
    if global.json {
        let mut value = json!({ "embeddings": vectors, "dimensions": model.width(), "model": args.model, "peak_rss_bytes": peak_rss() });
        if let [one] = vectors.as_slice() {
            value["embedding"] = json!(one);
        }
        return print_json(&value);
    }
    for vector in &vectors {
        let numbers: Vec<String> = vector.iter().map(ToString::to_string).collect();
        print_now(&format!("{}\n", numbers.join(" ")))?;
    }
    Ok(())
}
