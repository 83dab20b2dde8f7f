//! How different two pictures look.

use std::path::Path;

use medley_models::contrastive::Contrastive;
use medley_nn::Tensor;

use super::open::{network, read_config};
use crate::Result;
use crate::upscaler::Perceive;

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

    /// What is compared: the states of the stages for pictures `[batch, 3, height, width]`, −1 … 1, brought to length 1 at
    /// each place, `[batch, height, width, channels]`, the sides halved from one to the next. Gradients flow to `x` alone.
    /// Any size will do that has some pixels left after all halvings.
    ///
    /// # Errors
    /// Where the pictures have other channels.
    pub fn features(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        let unit = |x: &Tensor| -> Result<Tensor, medley_nn::TensorError> {
            x.broadcast_div(&(x.sqr()?.sum_keepdim(3)? + EPS)?.sqrt()?)
        };
        let stages = self.network.stages(x)?;
        let units = stages
            .iter()
            .map(|x| Ok(unit(x).map_err(medley_nn::Error::from)?));
        units.collect()
    }

    /// The distance of pictures from `wanted` ones of the same shape, a tensor of no dimension: the mean over pictures,
    /// places and stages of the squares of what is between their [`Perceptual::features`], 0 … 4.
    ///
    /// # Errors
    /// Where the shapes differ.
    pub fn distance(&self, x: &Tensor, wanted: &Tensor) -> Result<Tensor> {
        let theirs = self.features(&wanted.detach())?;
        let mine = self.features(x)?;
        let sum = || -> Result<Tensor, medley_nn::TensorError> {
            let mut sum = apart(&mine[0], &theirs[0])?;
            for (a, b) in mine.iter().zip(&theirs).skip(1) {
                sum = (sum + apart(a, b)?)?;
            }
            sum / mine.len() as f64
        };
        Ok(sum().map_err(medley_nn::Error::from)?)
    }
}

impl Perceive for Perceptual {
    fn features(&self, pictures: &Tensor) -> Result<Vec<Tensor>> {
        let signed = pictures.affine(2.0, -1.0).map_err(medley_nn::Error::from)?;
        Perceptual::features(self, &signed)
    }
}

/// The mean over places of the squared distance of states `[batch, height, width, channels]`.
fn apart(a: &Tensor, b: &Tensor) -> Result<Tensor, medley_nn::TensorError> {
    (a - b.detach())?.sqr()?.sum(3)?.mean_all()
}
