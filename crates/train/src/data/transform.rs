//! From a picture of any size to the numbers that a model takes.

use medley_media::{Filter, MediaError, Picture};
use serde::{Deserialize, Serialize};

use super::DataError;
use super::error::setting;
use crate::random::{Purpose, below, bits};

/// What becomes of a picture whose proportions are others than those asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crop {
    /// What stands over is cut off on both sides.
    #[default]
    Centre,
    /// What stands over is cut off, each time elsewhere.
    Random,
    /// Nothing is cut off: the picture lies in the middle of white.
    Fit,
}

/// How pictures become numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transform {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How other proportions are met.
    pub crop: Crop,
    /// How often a picture is mirrored, left for right, 0 to 1. What shows writing should not be.
    pub flip: f64,
}

/// The draws for one picture: the seed of the run, and where in it the picture comes. Without a seed nothing is
/// left to chance.
#[derive(Clone, Copy)]
pub(super) struct Chance {
    pub(super) seed: Option<u64>,
    pub(super) epoch: u64,
    pub(super) position: u64,
}

impl Chance {
    pub(super) fn bits(self, purpose: Purpose) -> u64 {
        self.seed
            .map_or(0, |seed| bits(seed, purpose, self.epoch, self.position))
    }

    fn happens(self, purpose: Purpose, share: f64) -> bool {
        let fraction = (self.bits(purpose) >> 11) as f64 / (1u64 << 53) as f64;
        self.seed.is_some() && fraction < share
    }

    /// 0 to `most`; the middle without a seed.
    fn up_to(self, purpose: Purpose, most: u32) -> u32 {
        match self.seed {
            Some(_) => below(u64::from(most) + 1, self.bits(purpose)) as u32,
            None => most / 2,
        }
    }
}

impl Transform {
    /// Pictures of this size, cut in the middle, never mirrored.
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            crop: Crop::default(),
            flip: 0.0,
        }
    }

    /// Numbers of a picture: 3 × height × width.
    pub fn values(&self) -> usize {
        3 * self.width as usize * self.height as usize
    }

    pub(super) fn check(&self) -> Result<(), DataError> {
        let side = 1..=8192;
        setting(
            side.contains(&self.width) && side.contains(&self.height),
            "the size of pictures",
            format!("{}x{}", self.width, self.height),
            "1 to 8192 pixels a side",
        )?;
        setting(
            (0.0..=1.0).contains(&self.flip),
            "the share of mirrored pictures",
            self.flip,
            "between 0 and 1",
        )
    }

    /// The picture at the size asked for.
    pub(super) fn sized(&self, picture: &Picture, chance: Chance) -> Result<Picture, MediaError> {
        let (width, height) = (self.width, self.height);
        let filter = Filter::default();
        match self.crop {
            Crop::Centre => picture.cover(width, height, filter),
            Crop::Fit => picture.fit(width, height, [255; 3], filter),
            Crop::Random => {
                let part = picture.crop_to_ratio(width, height)?;
                let (w, h) = (part.width(), part.height());
                let x = chance.up_to(Purpose::CropX, picture.width() - w);
                let y = chance.up_to(Purpose::CropY, picture.height() - h);
                picture.crop(x, y, w, h)?.resize(width, height, filter)
            }
        }
    }

    /// Whether a picture at its size looks the same each time.
    pub(super) fn always_cuts_alike(&self) -> bool {
        self.crop != Crop::Random
    }

    /// 3 × height × width numbers in [-1, 1] of a picture at its size, transparency over white, mirrored where chance says so.
    pub(super) fn turned(&self, sized: &Picture, chance: Chance) -> Vec<f32> {
        let mut planes = sized.to_planes();
        if chance.happens(Purpose::Flip, self.flip) {
            for row in planes.chunks_exact_mut(self.width as usize) {
                row.reverse();
            }
        }
        planes
    }
}
