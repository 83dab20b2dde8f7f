//! Answers questions one after another and then together: the same texts, sooner.
//!
//! ```sh
//! cargo run --release -p medley-pipelines --example batch -- MODEL.gguf
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use medley_pipelines::text::batch::{Batch, BatchOptions, Happening};
use medley_pipelines::text::{LoadOptions, TextModel};
use medley_pipelines::{CancelToken, PipelineError, Run, TextGenerator};
use medley_types::{Message, Prompt, TextRequest, TextWork};

const SYSTEM: &str = "You are a guide to the rivers of the world. You answer every question about them in a few friendly \
    sentences, name the countries that a river flows through, and say what a traveller should see there.";
const RIVERS: [&str; 8] = [
    "Nile", "Rhine", "Amazon", "Danube", "Mekong", "Volga", "Ganges", "Niger",
];

fn request(river: &str, seed: u64) -> TextRequest {
    TextRequest {
        max_tokens: Some(128),
        ..TextRequest::new(
            "example",
            Prompt::Messages(vec![
                Message::new("system", SYSTEM),
                Message::new("user", format!("Where does the {river} flow?")),
            ]),
            seed,
        )
    }
}

fn main() -> Result<(), PipelineError> {
    let Some(path) = std::env::args_os().nth(1) else {
        return Err(PipelineError::InvalidRequest(
            "give a GGUF file as the argument".into(),
        ));
    };
    let model = Arc::new(TextModel::load(path.as_ref(), &LoadOptions::default())?);
    let requests: Vec<TextRequest> = (1..).zip(RIVERS).map(|(s, r)| request(r, s)).collect();

    let start = Instant::now();
    let alone: Vec<TextWork> = requests
        .iter()
        .map(|request| model.generate(request, &mut Run::quiet()))
        .collect::<Result<_, _>>()?;
    report("one after another", &alone, start);

    let start = Instant::now();
    let mut batch = Batch::new(model, BatchOptions::default());
    let slots: Vec<_> = requests
        .iter()
        .map(|request| batch.add(request, CancelToken::default()))
        .collect::<Result<_, _>>()?;
    let mut works = HashMap::new();
    while !batch.is_idle() {
        for (slot, happening) in batch.step() {
            match happening {
                Happening::Finished(work) => {
                    works.insert(slot, work);
                }
                Happening::Failed(error) => return Err(error),
                Happening::Event(_) => {}
            }
        }
    }
    let together: Vec<TextWork> = slots.iter().filter_map(|slot| works.remove(slot)).collect();
    report("together", &together, start);
    println!(
        "{} prompt tokens were read only once",
        batch.prefix_tokens()
    );
    let same = alone
        .iter()
        .zip(&together)
        .filter(|(a, b)| a.text == b.text)
        .count();
    println!("{same} of {} texts are the same", alone.len());
    Ok(())
}

fn report(how: &str, works: &[TextWork], start: Instant) {
    let tokens: usize = works.iter().map(|work| work.tokens).sum();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{how}: {tokens} tokens in {seconds:.2} s, {:.0} tokens/s",
        tokens as f64 / seconds
    );
}
