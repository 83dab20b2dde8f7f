//! A trained model beside n-grams, on the same held-out documents.

use std::path::Path;

use medley_models::decoder::trainable;
use medley_nn::Device;
use medley_nn::train::{IGNORED, evaluating};
use medley_tokenize::{ChatTemplate, Tokenizer};

use super::data::{Document, Encoder, HoldOut, TextSource};
use super::ngram::KneserNey;
use super::task::published;
use super::{NextToken, TokenBatch};
use crate::step::scalar;
use crate::{Error, Result};

/// Windows that are looked at together.
const TOGETHER: usize = 16;

/// What two models say to documents that neither has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Held-out documents.
    pub documents: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Their tokens, the end of each counted.
    pub tokens: usize,
    /// Tokens that the n-grams were counted in.
    pub counted: usize,
    /// Bits per byte of the model.
    pub model: f64,
    /// Bits per byte of the n-grams.
    pub ngrams: f64,
}

/// Tokens and bytes of texts, the end of text before the first and behind each.
fn stream(source: &mut TextSource, encoder: &Encoder, documents: &[usize]) -> (Vec<u32>, usize) {
    let end = encoder.tokenizer().eos().unwrap_or(0);
    let (mut ids, mut bytes) = (vec![end], 0);
    for &number in documents {
        let Some(document @ Document::Text(_)) = source.read(number) else {
            continue;
        };
        match encoder.encode(&document) {
            Ok(tokens) => {
                bytes += tokens.bytes;
                ids.extend(tokens.ids);
            }
            Err(why) => source.bad().add(format!("document {number}: {why}")),
        }
    }
    (ids, bytes)
}

/// Bits per byte that the model in `folder` and n-grams of `order` tokens out of its vocabulary need for the texts in `data`
/// that `hold` keeps; the n-grams are counted in all others. The model looks at windows of `length` tokens, each half a
/// window further, and is asked for the second half alone, so that no token is predicted from little.
///
/// # Errors
/// Where the folder holds no model, or nothing is held out.
pub fn compare(
    folder: &Path,
    data: &Path,
    hold: &HoldOut,
    length: usize,
    order: usize,
) -> Result<Comparison> {
    let mut source = TextSource::open(data)?;
    let (known, held) = source.split(hold);
    let tokenizer = Tokenizer::from_file(folder)?;
    let vocab = tokenizer.vocab_size();
    let encoder = Encoder::new(tokenizer, ChatTemplate::from_folder(folder)?);
    let (train, _) = stream(&mut source, &encoder, &known);
    let (ids, bytes) = stream(&mut source, &encoder, &held);
    if bytes == 0 || length < 2 {
        return Err(Error::Setting(
            "nothing is held out that could be measured on".into(),
        ));
    }
    let grams = KneserNey::count(&train, order, vocab)?.nats(&ids);
    let (config, tensors) = published(folder)?;
    let (decoder, _) = trainable(&tensors, &config, &Device::Cpu)?;
    let objective = NextToken {
        decoder,
        device: Device::Cpu,
    };
    let nats = evaluating(|| of_model(&objective, &ids, length))?;
    let per_byte = |nats: f64| nats / std::f64::consts::LN_2 / bytes as f64;
    Ok(Comparison {
        documents: held.len(),
        bytes,
        tokens: ids.len() - 1,
        counted: train.len() - 1,
        model: per_byte(nats),
        ngrams: per_byte(grams),
    })
}

/// Nats of every token of `ids` but the first.
fn of_model(objective: &NextToken, ids: &[u32], length: usize) -> Result<f64> {
    let (half, last) = (length / 2, ids.len() - 1);
    let mut windows = Vec::new();
    let mut asked = 0;
    while asked < last {
        // The first window is asked for all of it.
        let start = asked.saturating_sub(length - half);
        let end = (start + length).min(last);
        let mut input = ids[start..end].to_vec();
        let target = |i: usize| if i < asked { IGNORED } else { ids[i + 1] };
        let mut targets: Vec<u32> = (start..end).map(target).collect();
        input.resize(length, ids[0]);
        targets.resize(length, IGNORED);
        windows.push((input, targets));
        asked = end;
    }
    let mut nats = 0.0;
    for some in windows.chunks(TOGETHER) {
        let batch = TokenBatch {
            length,
            ids: some.iter().flat_map(|w| w.0.iter().copied()).collect(),
            targets: some.iter().flat_map(|w| w.1.iter().copied()).collect(),
        };
        let loss = f64::from(scalar(&objective.loss_of(&batch)?)?);
        nats += loss * batch.counted() as f64;
    }
    Ok(nats)
}
