//! How different two pictures look.

use std::path::Path;

use medley_models::contrastive::Contrastive;
use medley_nn::Tensor;

use super::open::{network, read_config};
use crate::Result;

/// Added to squared lengths of states.
const EPS: f64 = 1e-6;

/// A perceptual distance (Zhang et al. 2018, LPIPS, with all channels alike): the states of a frozen scorer's stages at
/// each place, brought to length 1, and the squares of what is between them.
pub struct Perceptual {
    network: Contrastive,
}

impl Perceptual {
    /// With the scorer in `folder`.
    ///
    /// # Errors
    /// As [`Scorer::open`](super::Scorer::open).
    pub fn open(folder: &Path) -> Result<Self> {
        let (config, _) = read_config(folder)?;
        Ok(Self::new(network(folder, config, true)?))
    }

    /// With a network whose weights are plain tensors.
    pub fn new(network: Contrastive) -> Self {
        Self { network }
    }

    /// The distance of pictures `[batch, 3, height, width]`, −1 … 1, from `wanted` ones of the same shape, a tensor of no
    /// dimension: the mean over pictures and stages, each 0 … 4. Gradients flow to `x` alone. Any size will do that has
    /// some pixels left after all halvings; what small structures look like counts most in large pictures.
    ///
    /// # Errors
    /// Where the shapes differ.
    pub fn distance(&self, x: &Tensor, wanted: &Tensor) -> Result<Tensor> {
        let theirs = self.network.stages(&wanted.detach())?;
        let mine = self.network.stages(x)?;
        let parts = mine
            .iter()
            .zip(&theirs)
            .map(|(a, b)| apart(a, &b.detach()))
            .collect::<Result<Vec<_>>>()?;
        let mut sum = parts[0].clone();
        for part in &parts[1..] {
            sum = (sum + part).map_err(medley_nn::Error::from)?;
        }
        Ok((sum / parts.len() as f64).map_err(medley_nn::Error::from)?)
    }
}

/// The mean over places of the squared distance of directions, of states `[batch, height, width, channels]`.
fn apart(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let part = || -> Result<Tensor, medley_nn::TensorError> {
        let unit = |x: &Tensor| x.broadcast_div(&(x.sqr()?.sum_keepdim(3)? + EPS)?.sqrt()?);
        (unit(a)? - unit(b)?)?.sqr()?.sum(3)?.mean_all()
    };
    Ok(part().map_err(medley_nn::Error::from)?)
}
