//! What is learned beside the rules: a small layer over a prompt's words as a sentence encoder sees them, fitted to labelled
//! requests by `cargo xtask router`. Rules know what people say who ask for something; the layer what others meant who asked in
//! words that no rule knows.

use std::borrow::Cow;
use std::sync::LazyLock;

use medley_pipelines::embed::EmbeddingModel;

use super::layer::Layer;
use super::{Destination, Route, best_of, rest, weigh, words};
use crate::store::Store;

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
            let width = LAYER.as_ref().and_then(Layer::width);
            width == Some(encoder.width())
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
        let (evidence, strength) = weigh(prompt, &words);
        let ruled = best_of(allowed, |d| evidence.0[d as usize])?;
        let destination = match self.meant(prompt) {
            Some((layer, scores)) => {
                // Nothing as long as what is cut was learned from.
                let sure = if prompt.trim().len() > LONG { 4.0 } else { 1.0 };
                let ahead = sure * layer.rules[strength as usize];
                best_of(allowed, |d| {
                    scores[d as usize] + if d == ruled { ahead } else { 0.0 }
                })?
            }
            None => ruled,
        };
        Some(Route {
            destination,
            prompt: rest::rest(prompt, &words, destination),
        })
    }

    /// The logarithm of each destination's share in what the prompt may mean.
    fn meant(&self, prompt: &str) -> Option<(&'static Layer, [f32; 6])> {
        let (layer, encoder) = (LAYER.as_ref()?, self.encoder.as_ref()?);
        if prompt.trim().is_empty() {
            return None;
        }
        let prompt = ends(prompt.trim());
        let states = encoder.states_behind(Layer::BEHIND, &[&prompt], Layer::TOKENS);
        Some((layer, layer.scores(&states.ok()?.pop()?)))
    }
}

/// Bytes, about two hundred tokens, beyond which a prompt is mostly material.
const LONG: usize = 1000;

/// Beginning and end of a long prompt, where what is asked for stands: between them is material.
fn ends(prompt: &str) -> Cow<'_, str> {
    if prompt.len() <= LONG {
        return prompt.into();
    }
    let first = prompt.floor_char_boundary(LONG / 2);
    let last = prompt.ceil_char_boundary(prompt.len() - LONG / 2);
    let first = prompt[..first].rsplit_once(char::is_whitespace);
    let last = prompt[last..].split_once(char::is_whitespace);
    match (first, last) {
        (Some((first, _)), Some((_, last))) => format!("{first} … {last}").into(),
        // One long word is no request.
        _ => prompt[..prompt.floor_char_boundary(LONG)].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_prompts_both_ends_are_read() {
        let long = format!("draw {} a cat", "für und wider ".repeat(200));
        let read = ends(&long);
        assert!(read.starts_with("draw ") && read.ends_with(" a cat") && read.len() < 1010);
        assert_eq!(ends("draw a cat"), "draw a cat");
        assert_eq!(ends(&"ü".repeat(900)).len(), 1000);
    }
}
