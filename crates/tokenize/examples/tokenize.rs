//! Prints the ids of a text file: `tokenize MODEL.gguf|FOLDER FILE [--special] [--no-bos] [--time]`.

#![allow(clippy::print_stdout)] // An example's output.

use std::path::Path;
use std::time::Instant;

use medley_formats::gguf::Gguf;
use medley_tokenize::Tokenizer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let before = args.len();
        args.retain(|a| a != name);
        args.len() < before
    };
    let (special, no_bos, time) = (flag("--special"), flag("--no-bos"), flag("--time"));
    let [model, file] = args.as_slice() else {
        return Err(
            "usage: tokenize MODEL.gguf|FOLDER FILE [--special] [--no-bos] [--time]".into(),
        );
    };
    let path = Path::new(model);
    let text = std::fs::read(file)?;
    let opened = Instant::now();
    let tokenizer = if path.extension().is_some_and(|e| e == "gguf") {
        let gguf = Gguf::open(path)?;
        let read = opened.elapsed();
        let start = Instant::now();
        let tokenizer = Tokenizer::from_gguf(gguf.metadata())?;
        if time {
            println!("header {read:.1?}, tokenizer {:.1?}", start.elapsed());
        }
        tokenizer
    } else {
        Tokenizer::from_file(path)?
    };
    let mut ids = Vec::new();
    if time {
        println!("loaded {:.1?}", opened.elapsed());
        for _ in 0..3 {
            let start = Instant::now();
            ids = tokenizer.encode_bytes(&text, !no_bos, special)?;
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{} bytes, {} ids, {:.2} MB/s",
                text.len(),
                ids.len(),
                text.len() as f64 / 1e6 / seconds
            );
        }
        println!("ends {:?}", tokenizer.end_of_generation());
        println!("same text: {}", tokenizer.decode(&ids).as_bytes() == text);
    } else {
        ids = tokenizer.encode_bytes(&text, !no_bos, special)?;
        println!("{ids:?}");
    }
    Ok(())
}
