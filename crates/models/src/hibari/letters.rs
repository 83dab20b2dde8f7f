//! Letters to phonemes, for words that no lexicon has: a small transformer over letters, each of which gives a few
//! slots; repeated symbols are one and empty slots none (Graves et al. 2006).

use medley_kernels::Then;
use medley_nn::Weights;

use super::blocks::{Dense, Layer, LayerNorm, Room, Table};
use crate::{ConfigError, Result};

/// Heads of every layer.
const HEADS: usize = 4;

/// Shape of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct LettersConfig {
    /// Letters of the alphabet, with the empty one at 0.
    pub letters: usize,
    /// Symbols of a slot, with the empty one at 0.
    pub symbols: usize,
    /// Slots of a letter.
    pub slots: usize,
    /// Width of the states.
    pub width: usize,
    /// Letters of the longest word.
    pub longest: usize,
    /// Layers.
    pub layers: usize,
}

impl LettersConfig {
    /// Reads the shape out of the tensors; how many slots a letter has is in none of them.
    ///
    /// # Errors
    /// [`ConfigError`] where they are those of another model.
    pub fn from_weights(weights: &Weights, slots: usize) -> Result<Self> {
        let two = |name: &str| -> Result<[usize; 2]> {
            let shape = weights.shape(name)?;
            shape
                .try_into()
                .map_err(|_| ConfigError::missing(&format!("{name}, a matrix")))
        };
        let [letters, width] = two("m.emb.weight")?;
        let [longest, _] = two("m.pos")?;
        let [outputs, _] = two("m.head.weight")?;
        let Some(symbols) = outputs
            .checked_div(slots)
            .filter(|&symbols| symbols > 0 && symbols * slots == outputs)
        else {
            let expected = format!("it must be a multiple of the {slots} slots");
            return Err(ConfigError::invalid("m.head.weight", outputs, &expected));
        };
        let there = |i: &usize| weights.has(&format!("m.layers.{i}.norm1.weight"));
        Ok(Self {
            letters,
            symbols,
            slots,
            width,
            longest,
            layers: (0..64).take_while(there).count(),
        })
    }
}

/// The network with its weights.
pub struct Letters {
    config: LettersConfig,
    emb: Table,
    pos: Vec<f32>,
    layers: Vec<Layer>,
    norm: LayerNorm,
    head: Dense,
}

impl Letters {
    /// Makes every layer of `config` out of `weights`, which run on the CPU.
    ///
    /// # Errors
    /// [`ConfigError`] where a weight is missing or has another shape.
    pub fn new(config: LettersConfig, weights: &Weights) -> Result<Self> {
        let c = &config;
        Ok(Self {
            emb: Table::new(weights, "m.emb.weight", [c.letters, c.width])?,
            pos: weights.values("m.pos", &[c.longest, c.width])?,
            layers: (0..c.layers)
                .map(|i| Layer::new(weights, &format!("m.layers.{i}"), c.width, HEADS))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(weights, "m.norm", c.width)?,
            head: Dense::new(weights, "m.head", [c.width, c.slots * c.symbols])?,
            config,
        })
    }

    /// Shape.
    pub fn config(&self) -> &LettersConfig {
        &self.config
    }

    /// Letters by number to symbols by number; of a word longer than the longest, its beginning.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a number outside of the alphabet.
    pub fn forward(&self, letters: &[u32]) -> Result<Vec<u32>> {
        let letters = &letters[..letters.len().min(self.config.longest)];
        if letters.is_empty() {
            return Ok(Vec::new());
        }
        let mut x = self.emb.rows(letters)?;
        x.iter_mut().zip(&self.pos).for_each(|(x, pos)| *x += pos);
        let mut room = Room::default();
        for layer in &self.layers {
            layer.forward(&mut x, &mut room);
        }
        let (mut normed, mut scores) = (Vec::new(), Vec::new());
        let bounds = self.norm.forward(&x, &mut normed);
        self.head
            .forward(&normed, Some(bounds), Then::Store, &mut scores);
        let (mut symbols, mut before) = (Vec::new(), 0);
        for slot in scores.chunks_exact(self.config.symbols) {
            let best =
                (0..slot.len()).fold(0, |best, i| if slot[i] > slot[best] { i } else { best });
            let best = best as u32;
            if best != before && best != 0 {
                symbols.push(best);
            }
            before = best;
        }
        Ok(symbols)
    }
}
