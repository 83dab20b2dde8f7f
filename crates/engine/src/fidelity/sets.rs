//! Sets of pictures, real and drawn.

use std::collections::HashMap;
use std::sync::Arc;

use medley_media::{Filter, Picture};
use medley_pipelines::image::{ImageGenerator, ImageInputs};
use medley_pipelines::{CancelToken, Run};
use medley_train::data::{Dataset, Loader, LoaderSpec, Side, Split, Transform};
use medley_train::scorer::{Features, Scorer};
use medley_types::ImageRequest;

use super::{FidelityError, FidelitySettings};

/// Most pictures of a group, so that what has many variants does not outweigh the rest.
const PER_GROUP: usize = 4;
/// Pictures that are read together.
const TOGETHER: usize = 64;

/// Pictures with what is said and seen of them.
#[derive(Default)]
pub(super) struct Set {
    /// At the generator's size.
    pub(super) pictures: Vec<Picture>,
    pub(super) captions: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) features: Features,
}

impl Set {
    pub(super) fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Pooled features of two halves that share no group.
    pub(super) fn halves(&self) -> (Features, Features) {
        let dim = self.features.pooled_dim;
        let half = || Features {
            pooled_dim: dim,
            ..Features::default()
        };
        let (mut one, mut other) = (half(), half());
        let mut known: HashMap<&str, bool> = HashMap::new();
        for (row, group) in self.features.pooled.chunks_exact(dim).zip(&self.groups) {
            let next = known.len().is_multiple_of(2);
            match known.entry(group).or_insert(next) {
                true => one.pooled.extend(row),
                false => other.pooled.extend(row),
            }
        }
        (one, other)
    }
}

/// A loader of one side as the generator's trainer split it.
pub(super) fn loader(
    side: Side,
    [width, height]: [u32; 2],
    settings: &FidelitySettings,
) -> Result<LoaderSpec, FidelityError> {
    Ok(LoaderSpec {
        split: Split::new(settings.hold_out)?,
        side,
        per_group: Some(PER_GROUP),
        ..LoaderSpec::new(Transform::new(width, height), TOGETHER, settings.seed)
    })
}

/// Real pictures of a side, twice as many as are drawn where there are so many.
pub(super) fn real(
    dataset: &Arc<Dataset>,
    side: Side,
    size: [u32; 2],
    settings: &FidelitySettings,
    scorer: &Scorer,
) -> Result<Set, FidelityError> {
    let spec = loader(side, size, settings)?;
    let mut loader = Loader::new(dataset.clone(), spec)?;
    let mut set = Set::default();
    while set.len() < 2 * settings.count {
        let Some(batch) = loader.next_of_epoch(0)? else {
            break;
        };
        let [_, channels, height, width] = batch.shape();
        let each = batch.pixels.chunks_exact(channels * height * width);
        for planes in each {
            set.pictures
                .push(Picture::from_planes(planes, width as u32, height as u32)?);
        }
        set.captions.extend(batch.captions);
        let group = |&i: &u32| dataset.items()[i as usize].group().to_owned();
        set.groups.extend(batch.items.iter().map(group));
    }
    set.pictures.truncate(2 * settings.count);
    set.captions.truncate(2 * settings.count);
    set.groups.truncate(2 * settings.count);
    set.features = scorer.look(&set.pictures)?;
    Ok(set)
}

/// Pictures that are drawn of the captions of real ones in turn, or of nothing; the seeds count up from that of
/// `settings`.
pub(super) fn draw(
    generator: &dyn ImageGenerator,
    request: &ImageRequest,
    prompts: Option<&Set>,
    scorer: &Scorer,
    settings: &FidelitySettings,
    cancel: &CancelToken,
    progress: &mut dyn FnMut(usize),
) -> Result<Set, FidelityError> {
    let size = request.size.unwrap_or(generator.config().size);
    let mut set = Set::default();
    for i in 0..settings.count {
        let mut request = ImageRequest {
            seed: (settings.seed + i as u64) & 0xFFFF_FFFF,
            count: 1,
            ..request.clone()
        };
        if let Some(prompts) = prompts {
            let at = i % prompts.len();
            request.prompt.clone_from(&prompts.captions[at]);
            set.captions.push(prompts.captions[at].clone());
            set.groups.push(prompts.groups[at].clone());
        }
        let request = generator.config().complete(&request)?;
        let mut run = Run::new(cancel.clone(), |_| {});
        let images = generator.generate(&request, &ImageInputs::default(), &mut run)?;
        for picture in images.pictures {
            let opaque = picture.over([255; 3]);
            set.pictures
                .push(opaque.resize(size[0], size[1], Filter::default())?);
        }
        progress(i + 1);
    }
    set.features = scorer.look(&set.pictures)?;
    Ok(set)
}
