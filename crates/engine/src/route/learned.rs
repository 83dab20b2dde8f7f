//! What a sentence encoder adds to the rules: a linear layer over the embedding of a prompt, fitted to labelled requests by
//! `cargo xtask router`. Rules know what people say who ask for something; the encoder what others meant who asked in words
//! that no rule knows.

use std::sync::LazyLock;

use medley_pipelines::embed::EmbeddingModel;
use serde::Deserialize;

use super::words::words;
use super::{Destination, Route, best_of, rest, weigh};
use crate::store::Store;

/// The layer, as `cargo xtask router` writes it.
#[derive(Deserialize)]
struct Layer {
    /// What a destination that the rules chose has ahead of the others, in nats.
    rules: f32,
    /// A row for each of [`Destination::ALL`]: a number for each of the embedding, and one by itself.
    weights: Vec<Vec<f32>>,
}

static LAYER: LazyLock<Option<Layer>> =
    LazyLock::new(|| serde_json::from_str(include_str!("layer.json")).ok());

/// Tells where prompts go, by rules and, where it has the encoder, by what prompts mean.
#[derive(Default)]
pub struct Router {
    encoder: Option<EmbeddingModel>,
}

impl Router {
    /// The bundled model that prompts are read by.
    pub const ENCODER: &str = "icon-encoder";

    /// The router with the bundled encoder of `store`; rules alone where it is not there or cannot be read.
    pub fn open(store: &Store) -> Self {
        let found = store.resolve(Self::ENCODER).ok();
        let encoder = found.and_then(|model| EmbeddingModel::load(&model.path).ok());
        Self::with(encoder)
    }

    /// The router with this encoder, if it is of the layer's width.
    pub fn with(encoder: Option<EmbeddingModel>) -> Self {
        let fits = |encoder: &EmbeddingModel| {
            let wide = encoder.width() + 1;
            LAYER
                .as_ref()
                .is_some_and(|layer| layer.weights.iter().all(|row| row.len() == wide))
        };
        Self {
            encoder: encoder.filter(fits),
        }
    }

    /// Where `prompt` goes.
    pub fn route(&self, prompt: &str) -> Route {
        self.route_among(prompt, &Destination::ALL)
            .unwrap_or_else(|| Route {
                destination: Destination::Text,
                prompt: prompt.trim().to_owned(),
            })
    }

    /// Where it goes if only some destinations can be; nothing where none can.
    pub fn route_among(&self, prompt: &str, allowed: &[Destination]) -> Option<Route> {
        let words = words(prompt);
        let evidence = weigh(prompt, &words);
        let ruled = best_of(allowed, |d| evidence.0[d as usize])?;
        let destination = match self.meant(prompt) {
            Some((layer, scores)) => best_of(allowed, |d| {
                scores[d as usize] + if d == ruled { layer.rules } else { 0.0 }
            })?,
            None => ruled,
        };
        Some(Route {
            destination,
            prompt: rest::rest(prompt, &words, destination),
        })
    }

    /// The logarithm of each destination's share in what the prompt may mean.
    fn meant(&self, prompt: &str) -> Option<(&'static Layer, Vec<f32>)> {
        let (layer, encoder) = (LAYER.as_ref()?, self.encoder.as_ref()?);
        if prompt.trim().is_empty() {
            return None;
        }
        let embedding = encoder.embed(&[prompt.trim()]).ok()?.pop()?;
        let score = |row: &Vec<f32>| -> f32 {
            let weighted = row.iter().zip(embedding.iter().chain([&1.0]));
            weighted.map(|(w, x)| w * x).sum()
        };
        let scores: Vec<f32> = layer.weights.iter().map(score).collect();
        let most = scores.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = scores.iter().map(|s| (s - most).exp()).sum();
        let all = most + sum.ln();
        Some((layer, scores.iter().map(|s| s - all).collect()))
    }
}
