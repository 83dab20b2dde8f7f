//! How good the pictures of a generator are, as a scorer sees it: near to real ones, what the captions say, and no copies.

mod clips;
mod copies;
mod sets;
mod subjects;

use std::sync::Arc;

use medley_media::Picture;
use medley_pipelines::image::ImageGenerator;
use medley_pipelines::{CancelToken, PipelineError};
use medley_train::data::{Dataset, Side};
use medley_train::fidelity::{Gaussian, frechet, kernel_distance, retrieve, similarity};
use medley_train::scorer::{Features, Scorer};
use medley_types::{ErrorCode, ErrorReport, ImageRequest};
use serde::Serialize;

pub use clips::{ClipFidelity, FrameCopies, Motion, measure_clips};
pub use copies::{Copies, Nearness};
use sets::{Set, draw, real};
pub use subjects::ranks;

/// Captions among which the right one is looked for.
const AMONG: usize = 100;

/// Why pictures cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FidelityError {
    /// Of the data or the scorer.
    #[error(transparent)]
    Train(#[from] medley_train::Error),
    /// Of the generator.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// Of a picture.
    #[error(transparent)]
    Media(#[from] medley_media::MediaError),
}

impl From<medley_train::data::DataError> for FidelityError {
    fn from(error: medley_train::data::DataError) -> Self {
        Self::Train(error.into())
    }
}

impl FidelityError {
    /// As users and programs see it.
    pub fn report(&self) -> ErrorReport {
        match self {
            Self::Train(error) => error.report(),
            Self::Pipeline(error) => error.report(),
            Self::Media(error) => ErrorReport::new(ErrorCode::File, error.to_string()),
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FidelitySettings {
    /// Pictures that are drawn of held-out captions, and again of captions that were trained on; real ones that they are
    /// held against are at most twice as many.
    pub count: usize,
    /// Which captions, and the seed of the first picture.
    pub seed: u64,
    /// Share of groups that was held out when the generator was trained.
    pub hold_out: f64,
}

/// Some pictures, and how near they come.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// Which pictures.
    pub name: String,
    /// How many.
    pub pictures: usize,
    /// How many real ones they are held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<usize>,
    /// Squared Fréchet distance of pooled features; larger where there are fewer pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frechet: Option<f64>,
    /// Kernel distance of pooled features; about 0 for the same, however many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<f64>,
    /// How their captions are found.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub captions: Option<CaptionRow>,
}

/// How captions are found from pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CaptionRow {
    /// Share of pictures whose caption is the nearest of all.
    pub top_1: f64,
    /// Share of pictures whose caption is among the five nearest.
    pub top_5: f64,
    /// Captions of different groups that it is found among, on the average.
    pub among: f64,
    /// Mean cosine of picture and caption, times 100.
    pub similarity: f64,
}

/// All measurements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fidelity {
    /// Drawn pictures, real ones, and real ones with captions of others.
    pub rows: Vec<Row>,
    /// Whether pictures are copies.
    pub copies: Copies,
}

/// Measures `generator` with captions and pictures of `dataset`. `request` says how it draws (prompt and seed are set
/// here). Gives the measurements and a sheet of the drawn pictures that lie nearest to pictures that were trained on:
/// each with the nearest by pixels and the nearest by features.
///
/// # Errors
/// [`FidelityError`], each for its part; a cancelled run ends with [`PipelineError::Cancelled`].
pub fn measure(
    generator: &dyn ImageGenerator,
    request: &ImageRequest,
    dataset: &Arc<Dataset>,
    scorer: &Scorer,
    settings: &FidelitySettings,
    cancel: &CancelToken,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Fidelity, Picture), FidelityError> {
    let size = request.size.unwrap_or(generator.config().size);
    let reads = generator.config().has_prompt();
    let known = [(Side::HeldOut, "held-out"), (Side::Train, "training")];
    let mut rows = Vec::new();
    let mut drawn: Vec<Set> = Vec::new();
    let mut held = None;
    let sides = if reads { 2 } else { 1 };
    for (number, (side, name)) in known.into_iter().enumerate() {
        let real = real(dataset, side, size, settings, scorer)?;
        if number < sides {
            let mut show = |done| progress(number * settings.count + done, sides * settings.count);
            let prompts = reads.then_some(&real);
            drawn.push(draw(
                generator, request, prompts, scorer, settings, cancel, &mut show,
            )?);
        }
        if let Some(mine) = drawn.last() {
            rows.extend(measured(name, mine, &real, reads, scorer)?);
        }
        held = held.or(Some(real));
    }
    let (copies, sheet) = copies::find(&drawn, held.as_ref(), dataset, size, settings, scorer)?;
    Ok((Fidelity { rows, copies }, sheet))
}

/// The rows of one side.
fn measured(
    side: &str,
    drawn: &Set,
    real: &Set,
    reads: bool,
    scorer: &Scorer,
) -> Result<Vec<Row>, FidelityError> {
    let mut rows = Vec::new();
    let captions = |set: &Set, by: usize| captions(set, by, scorer);
    let name = match reads {
        true => format!("drawn of {side} captions"),
        false => format!("drawn, against {side} pictures"),
    };
    let mut row = against(&name, &drawn.features, &real.features)?;
    if reads {
        row.captions = Some(captions(drawn, 0)?);
    }
    rows.push(row);
    if reads {
        rows.push(Row {
            name: format!("drawn of {side} captions, captions shuffled"),
            pictures: drawn.len(),
            captions: Some(captions(drawn, drawn.len() / 2)?),
            ..Row::default()
        });
    }
    let (one, other) = real.halves();
    let mut row = match (one.pooled.len(), other.pooled.len()) {
        (a, b) if a.min(b) > real.features.pooled_dim => against("", &one, &other)?,
        _ => Row::default(),
    };
    row.name = format!("{side} pictures, half against half");
    row.captions = Some(captions(real, 0)?);
    rows.push(row);
    rows.push(Row {
        name: format!("{side} pictures, captions shuffled"),
        pictures: real.len(),
        captions: Some(captions(real, real.len() / 2)?),
        ..Row::default()
    });
    Ok(rows)
}

/// Distances of two sets of features.
fn against(name: &str, a: &Features, b: &Features) -> Result<Row, FidelityError> {
    let dim = a.pooled_dim;
    let gaussians = (Gaussian::of(&a.pooled, dim)?, Gaussian::of(&b.pooled, dim)?);
    Ok(Row {
        name: name.to_owned(),
        pictures: a.pooled.len() / dim,
        against: Some(b.pooled.len() / dim),
        frechet: Some(frechet(&gaussians.0, &gaussians.1)),
        kernel: kernel_distance(&a.pooled, &b.pooled, dim),
        captions: None,
    })
}

/// How the captions of a set are found, each picture with the caption `by` places further.
fn captions(set: &Set, by: usize, scorer: &Scorer) -> Result<CaptionRow, FidelityError> {
    let count = set.len();
    let texts: Vec<&str> = set.captions.iter().map(String::as_str).collect();
    let mut read = scorer.read(&texts)?;
    let dim = set.features.embed_dim;
    let mut groups: Vec<&str> = set.groups.iter().map(String::as_str).collect();
    read.rotate_left(by * dim);
    groups.rotate_left(by);
    let pictures = set.features.embedded.chunks(AMONG * dim);
    let pools = pictures
        .zip(read.chunks(AMONG * dim))
        .zip(groups.chunks(AMONG));
    let (mut first, mut five, mut among) = (0.0, 0.0, 0.0);
    for ((pictures, captions), groups) in pools {
        let found = retrieve(pictures, captions, dim, groups);
        let weight = groups.len() as f64 / count.max(1) as f64;
        first += weight * found.top_1;
        five += weight * found.top_5;
        among += weight * found.among as f64;
    }
    Ok(CaptionRow {
        top_1: first,
        top_5: five,
        among,
        similarity: similarity(&set.features.embedded, &read, dim),
    })
}
