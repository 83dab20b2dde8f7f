//! Whether drawn pictures are copies of those that were trained on.

use std::sync::Arc;

use medley_media::{Picture, contact_sheet};
use medley_train::data::{Dataset, Loader, LoaderSpec, Side};
use medley_train::fidelity::{Spread, nearest};
use medley_train::scorer::{Features, Scorer};
use serde::Serialize;

use super::sets::{Set, loader};
use super::{FidelityError, FidelitySettings};

/// Pictures to compare with, at most.
const MOST: usize = 10_000;
/// Pictures on the sheet, how many in a row, and how large.
const SHOWN: usize = 24;
const IN_A_ROW: usize = 4;
const CELL: u32 = 64;

/// Distances to the nearest pictures that were trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Nearness {
    /// Root mean square of what is between pixels, which are −1 … 1.
    pub pixels: Spread,
    /// Distance of directions in the scorer's space, 0 … 2.
    pub features: Spread,
}

/// Drawn pictures beside held-out real ones: copies lie nearer to what was trained on than pictures that nobody learned
/// from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Copies {
    /// Pictures that were compared with.
    pub among: usize,
    /// Of drawn pictures.
    pub drawn: Nearness,
    /// Of held-out real pictures.
    pub held_out: Nearness,
    /// Share of drawn pictures that are nearer to one by pixels than all but a twentieth of the held-out ones are.
    pub nearer_by_pixels: f64,
    /// The same by features.
    pub nearer_by_features: f64,
}

/// What was trained on.
struct Known {
    pixels: Vec<f32>,
    features: Features,
    pictures: Vec<Picture>,
}

/// Number and distance of what is nearest to each picture.
struct Near {
    pixels: Vec<(usize, f64)>,
    features: Vec<(usize, f64)>,
}

impl Near {
    fn of(pictures: &[Picture], features: &Features, known: &Known) -> Self {
        let pixels: Vec<f32> = pictures.iter().flat_map(Picture::to_planes).collect();
        let values = known.pictures.first().map_or(0, |p| p.to_planes().len());
        let dim = features.embed_dim;
        let mut by_features = nearest(&features.embedded, &known.features.embedded, dim);
        let length = (dim as f64).sqrt();
        by_features.iter_mut().for_each(|near| near.1 *= length);
        Self {
            pixels: nearest(&pixels, &known.pixels, values),
            features: by_features,
        }
    }

    fn nearness(&self) -> Nearness {
        let spread = |near: &[(usize, f64)]| Spread::of(near.iter().map(|n| n.1));
        Nearness {
            pixels: spread(&self.pixels),
            features: spread(&self.features),
        }
    }
}

/// All pictures that were trained on, up to a limit.
fn known(
    dataset: &Arc<Dataset>,
    size: [u32; 2],
    settings: &FidelitySettings,
    scorer: &Scorer,
) -> Result<Known, FidelityError> {
    let spec = LoaderSpec {
        per_group: None,
        seed: None,
        ..loader(Side::Train, size, settings)?
    };
    let mut loader = Loader::new(dataset.clone(), spec)?;
    let mut known = Known {
        pixels: Vec::new(),
        features: Features::default(),
        pictures: Vec::new(),
    };
    while known.pictures.len() < MOST {
        let Some(batch) = loader.next_of_epoch(0)? else {
            break;
        };
        for planes in batch.pixels.chunks_exact(batch.pixels.len() / batch.len()) {
            known
                .pictures
                .push(Picture::from_planes(planes, size[0], size[1])?);
        }
        known.pixels.extend(batch.pixels);
    }
    known.features = scorer.look(&known.pictures)?;
    Ok(known)
}

/// Looks for copies, and shows what comes nearest to one.
pub(super) fn find(
    drawn: &[Set],
    held: Option<&Set>,
    dataset: &Arc<Dataset>,
    size: [u32; 2],
    settings: &FidelitySettings,
    scorer: &Scorer,
) -> Result<(Copies, Picture), FidelityError> {
    let known = known(dataset, size, settings, scorer)?;
    let pictures: Vec<Picture> = drawn.iter().flat_map(|s| s.pictures.clone()).collect();
    let mut features = Features::default();
    for set in drawn {
        features.embed_dim = set.features.embed_dim;
        features.embedded.extend(&set.features.embedded);
    }
    let mine = Near::of(&pictures, &features, &known);
    let theirs = match held {
        Some(held) => Near::of(&held.pictures, &held.features, &known).nearness(),
        None => Nearness::default(),
    };
    let share = |near: &[(usize, f64)], limit: f64| {
        let nearer = near.iter().filter(|n| n.1 < limit).count();
        nearer as f64 / near.len().max(1) as f64
    };
    let copies = Copies {
        among: known.pictures.len(),
        drawn: mine.nearness(),
        held_out: theirs,
        nearer_by_pixels: share(&mine.pixels, theirs.pixels.p5),
        nearer_by_features: share(&mine.features, theirs.features.p5),
    };
    let mut order: Vec<usize> = (0..pictures.len()).collect();
    order.sort_by(|&a, &b| mine.pixels[a].1.total_cmp(&mine.pixels[b].1));
    let shown = order.iter().take(SHOWN).flat_map(|&i| {
        [
            pictures[i].clone(),
            known.pictures[mine.pixels[i].0].clone(),
            known.pictures[mine.features[i].0].clone(),
        ]
    });
    let shown: Vec<Picture> = shown.collect();
    Ok((copies, contact_sheet(&shown, 3 * IN_A_ROW, CELL)?))
}
