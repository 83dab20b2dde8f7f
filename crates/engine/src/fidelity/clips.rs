//! How good the clips of a generator are: near to real ones frame by frame and in what changes from frame to frame, steady, closed
//! into a loop, and no copies.

use std::sync::Arc;

use medley_media::film::{Clip, Rate, consistency};
use medley_media::{Filter, Picture, grid};
use medley_pipelines::video::{self, VideoGenerator, VideoInputs};
use medley_pipelines::{CancelToken, Run};
use medley_train::data::{Dataset, Loader, LoaderSpec, Side};
use medley_train::fidelity::{Spread, nearest};
use medley_train::scorer::{Features, Scorer};
use medley_types::VideoRequest;
use serde::Serialize;

use super::sets::{Set, loader};
use super::{FidelityError, FidelitySettings, Row, against, captions};

/// Clips on the sheet, each a row.
const SHOWN: usize = 16;

/// How some clips move.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Motion {
    /// Which clips.
    pub name: String,
    /// How many.
    pub clips: usize,
    /// Root mean square of what changes from frame to frame, in pixels of −1 … 1: middle of the clips.
    pub change: f64,
    /// What is left of it once the flow from frame to frame is taken out, mean of absolute differences in levels of 0 … 255:
    /// middle of the clips. Small for things that move, large for things that boil.
    pub consistency: f64,
    /// Change from the last frame to the first one, as a share of the mean change from frame to frame: middle of the clips. 1 in a
    /// loop that closes.
    pub loop_gap: f64,
}

/// Whether clips are copies: distances of the middle frames to the nearest frames that were trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FrameCopies {
    /// Frames that were compared with.
    pub among: usize,
    /// Of drawn clips: root mean square between pixels of −1 … 1.
    pub drawn: Spread,
    /// Of held-out real clips.
    pub held_out: Spread,
    /// Share of drawn clips that are nearer than all but a twentieth of the held-out ones are.
    pub nearer: f64,
}

/// All measurements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClipFidelity {
    /// Frames, and differences from frame to frame, against real ones.
    pub rows: Vec<Row>,
    /// How drawn and real clips move.
    pub motion: Vec<Motion>,
    /// Whether clips are copies.
    pub copies: FrameCopies,
}

/// Clips of one side, drawn or real.
struct Clips {
    /// Frames of each.
    clips: Vec<Vec<Picture>>,
    /// Middle frames with captions and groups.
    set: Set,
    frames: Features,
    changes: Features,
}

impl Clips {
    fn of(
        clips: Vec<Vec<Picture>>,
        captions: Vec<String>,
        groups: Vec<String>,
        scorer: &Scorer,
    ) -> Result<Self, FidelityError> {
        let all: Vec<Picture> = clips.iter().flatten().cloned().collect();
        let mut changes = Vec::new();
        for clip in &clips {
            for pair in clips_pairs(clip) {
                changes.push(change(pair)?);
            }
        }
        let middle: Vec<Picture> = clips
            .iter()
            .map(|clip| clip[clip.len() / 2].clone())
            .collect();
        Ok(Self {
            frames: scorer.look(&all)?,
            changes: scorer.look(&changes)?,
            set: Set {
                features: scorer.look(&middle)?,
                pictures: middle,
                captions,
                groups,
            },
            clips,
        })
    }

    fn motion(&self, name: &str) -> Result<Motion, FidelityError> {
        let (mut changes, mut steady, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        for clip in &self.clips {
            let inner: Vec<f64> = clips_pairs(clip).map(|(a, b)| rms(a, b)).collect();
            let mean = inner.iter().sum::<f64>() / inner.len().max(1) as f64;
            changes.push(mean);
            if let (Some(last), Some(first)) = (clip.last(), clip.first()) {
                gaps.push(rms(last, first) / mean.max(1e-6));
            }
            steady.push(consistency(&Clip::new(
                clip.clone(),
                Rate::new(8, 1)?,
                None,
            )?));
        }
        let middle = |values: Vec<f64>| Spread::of(values.into_iter()).median;
        Ok(Motion {
            name: name.to_owned(),
            clips: self.clips.len(),
            change: middle(changes),
            consistency: middle(steady),
            loop_gap: middle(gaps),
        })
    }
}

fn clips_pairs(clip: &[Picture]) -> impl Iterator<Item = (&Picture, &Picture)> {
    clip.iter().zip(clip.iter().skip(1))
}

fn rms(a: &Picture, b: &Picture) -> f64 {
    let (a, b) = (a.to_planes(), b.to_planes());
    let sum: f64 = a
        .iter()
        .zip(&b)
        .map(|(a, b)| f64::from(a - b).powi(2))
        .sum();
    (sum / a.len().max(1) as f64).sqrt()
}

/// What changes from one frame to the next as a picture: grey where nothing does.
fn change((a, b): (&Picture, &Picture)) -> Result<Picture, FidelityError> {
    let planes: Vec<f32> = a
        .to_planes()
        .iter()
        .zip(b.to_planes())
        .map(|(a, b)| (b - a) / 2.0)
        .collect();
    Ok(Picture::from_planes(&planes, a.width(), a.height())?)
}

/// Real clips of a side, twice as many as are drawn where there are so many.
fn real(
    dataset: &Arc<Dataset>,
    side: Side,
    (size, frames): ([u32; 2], usize),
    settings: &FidelitySettings,
    scorer: &Scorer,
) -> Result<Clips, FidelityError> {
    let spec = LoaderSpec {
        frames,
        limits: medley_media::film::film_limits(),
        batch: 8,
        ..loader(side, size, settings)?
    };
    let mut loader = Loader::new(dataset.clone(), spec)?;
    let (mut clips, mut captions, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    while clips.len() < 2 * settings.count {
        let Some(batch) = loader.next_of_epoch(0)? else {
            break;
        };
        let [_, _, frames, height, width] = batch.clip_shape();
        let plane = height * width;
        for values in batch.pixels.chunks_exact(3 * frames * plane) {
            let frame = |at: usize| {
                let planes: Vec<f32> = values
                    .chunks_exact(frames * plane)
                    .flat_map(|channel| &channel[at * plane..][..plane])
                    .copied()
                    .collect();
                Picture::from_planes(&planes, width as u32, height as u32)
            };
            clips.push((0..frames).map(frame).collect::<Result<Vec<_>, _>>()?);
        }
        captions.extend(batch.captions);
        let group = |&i: &u32| dataset.items()[i as usize].group().to_owned();
        groups.extend(batch.items.iter().map(group));
    }
    let most = 2 * settings.count;
    clips.truncate(most);
    captions.truncate(most);
    groups.truncate(most);
    Clips::of(clips, captions, groups, scorer)
}

/// Clips that are drawn of the captions of real ones in turn, as the model draws them.
fn draw(
    generator: &dyn VideoGenerator,
    request: &VideoRequest,
    prompts: &Clips,
    scorer: &Scorer,
    settings: &FidelitySettings,
    (cancel, progress): (&CancelToken, &mut dyn FnMut(usize)),
) -> Result<Clips, FidelityError> {
    let drawn = generator.config().clip.map_or(1, |clip| clip.frames);
    let (mut clips, mut captions, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..settings.count {
        let at = i % prompts.set.len().max(1);
        let request = VideoRequest {
            prompt: prompts.set.captions[at].clone(),
            seed: (settings.seed + i as u64) & 0xFFFF_FFFF,
            frames: Some(drawn),
            upscale: Some(1),
            ..request.clone()
        };
        let request = video::complete(generator.config(), &request)?;
        let mut run = Run::new(cancel.clone(), |_| {});
        let made = generator.generate(&request, &VideoInputs::default(), &mut run)?;
        clips.push(made.clip.into_frames());
        captions.push(prompts.set.captions[at].clone());
        groups.push(prompts.set.groups[at].clone());
        progress(i + 1);
    }
    Clips::of(clips, captions, groups, scorer)
}

/// Measures `generator` with captions and clips of `dataset`. `request` says how it draws (prompt and seed are set here). Gives
/// the measurements and a sheet of drawn clips, unselected, each a row.
///
/// # Errors
/// [`FidelityError`], each for its part; a cancelled run ends with
/// [`PipelineError::Cancelled`](medley_pipelines::PipelineError::Cancelled).
pub fn measure_clips(
    generator: &dyn VideoGenerator,
    request: &VideoRequest,
    dataset: &Arc<Dataset>,
    scorer: &Scorer,
    settings: &FidelitySettings,
    cancel: &CancelToken,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(ClipFidelity, Picture), FidelityError> {
    let size = request.size.unwrap_or(generator.config().size);
    let frames = generator
        .config()
        .clip
        .map_or(1, |clip| clip.frames as usize);
    let mut found = ClipFidelity {
        rows: Vec::new(),
        motion: Vec::new(),
        copies: FrameCopies::default(),
    };
    let (mut shown, mut mine, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (side, name)) in [(Side::HeldOut, "held-out"), (Side::Train, "training")]
        .into_iter()
        .enumerate()
    {
        let real = real(dataset, side, (size, frames), settings, scorer)?;
        let mut show = |done| progress(number * settings.count + done, 2 * settings.count);
        let drawn = draw(
            generator,
            request,
            &real,
            scorer,
            settings,
            (cancel, &mut show),
        )?;
        let mut row = against(
            &format!("frames drawn of {name} captions"),
            &drawn.frames,
            &real.frames,
        )?;
        row.captions = Some(captions(&drawn.set, 0, scorer)?);
        found.rows.push(row);
        let changes = format!("changes drawn of {name} captions");
        found
            .rows
            .push(against(&changes, &drawn.changes, &real.changes)?);
        let mut row = Row {
            name: format!("{name} clips"),
            pictures: real.set.len(),
            ..Row::default()
        };
        row.captions = Some(captions(&real.set, 0, scorer)?);
        found.rows.push(row);
        found
            .motion
            .push(drawn.motion(&format!("drawn of {name} captions"))?);
        found.motion.push(real.motion(&format!("{name} clips"))?);
        shown.extend(drawn.clips.iter().take(SHOWN / 2).flatten().cloned());
        mine.extend(drawn.set.pictures);
        if side == Side::HeldOut {
            theirs = real.set.pictures;
        }
    }
    found.copies = copies(&mine, &theirs, dataset, (size, frames), settings)?;
    let enlarged: Result<Vec<Picture>, _> = shown
        .iter()
        .map(|frame| frame.resize(2 * frame.width(), 2 * frame.height(), Filter::Nearest))
        .collect();
    Ok((found, grid(&enlarged?, frames, 2, [255; 3])?))
}

/// How near middle frames come to frames that were trained on.
fn copies(
    drawn: &[Picture],
    held_out: &[Picture],
    dataset: &Arc<Dataset>,
    (size, frames): ([u32; 2], usize),
    settings: &FidelitySettings,
) -> Result<FrameCopies, FidelityError> {
    let spec = LoaderSpec {
        frames,
        limits: medley_media::film::film_limits(),
        per_group: None,
        seed: None,
        batch: 8,
        ..loader(Side::Train, size, settings)?
    };
    let mut loader = Loader::new(dataset.clone(), spec)?;
    let values = (3 * size[0] * size[1]) as usize;
    let mut known: Vec<f32> = Vec::new();
    while let Some(batch) = loader.next_of_epoch(0)? {
        let plane = values / 3;
        for clip in batch.pixels.chunks_exact(frames * values) {
            for at in 0..frames {
                let channels = clip.chunks_exact(frames * plane);
                known.extend(channels.flat_map(|c| &c[at * plane..][..plane]));
            }
        }
    }
    let distances = |pictures: &[Picture]| -> Vec<f64> {
        let planes: Vec<f32> = pictures.iter().flat_map(Picture::to_planes).collect();
        nearest(&planes, &known, values)
            .iter()
            .map(|near| near.1)
            .collect()
    };
    let (mine, theirs) = (distances(drawn), distances(held_out));
    let limit = Spread::of(theirs.iter().copied());
    let nearer = mine.iter().filter(|d| **d < limit.p5).count();
    Ok(FrameCopies {
        among: known.len() / values.max(1),
        nearer: nearer as f64 / mine.len().max(1) as f64,
        drawn: Spread::of(mine.into_iter()),
        held_out: limit,
    })
}
