//! Small pictures and the large ones that are to come of them.

use medley_media::{Filter, Picture};
use medley_nn::{Device, Error as NnError, Tensor};

use super::UpscalerSettings;
use crate::Result;
use crate::data::Batch;
use crate::random::{Purpose, below, bits, normal, unit};

/// Parts of pictures, small and large.
pub struct UpscalerBatch {
    /// `[batch, 3, side, side]` in [0, 1]
    pub small: Tensor,
    /// The same, with sides longer by the scale.
    pub large: Tensor,
}

/// How pictures are made smaller: nobody knows how those that are to be enlarged were.
const FILTERS: [Filter; 3] = [Filter::Lanczos, Filter::Bicubic, Filter::Bilinear];

/// A picture with sides shorter by `scale`.
///
/// # Errors
/// [`crate::Error::Media`] where nothing would be left.
pub fn smaller(picture: &Picture, scale: usize, filter: Filter) -> Result<Picture> {
    let scale = scale.max(1) as u32;
    let (width, height) = (picture.width() / scale, picture.height() / scale);
    Ok(picture.resize(width, height, filter)?)
}

/// The peak signal-to-noise ratio of two pictures of one size in decibels; that of equal ones is 100.
pub fn psnr(a: &Picture, b: &Picture) -> f64 {
    let squares = a.pixels().iter().zip(b.pixels());
    let sum: f64 = squares
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    let mean = sum / a.pixels().len().max(1) as f64;
    (10.0 * (255.0f64 * 255.0 / mean.max(1e-9)).log10()).min(100.0)
}

/// Planes in [−1, 1] as the network takes them.
pub(super) fn unit_planes(picture: &Picture) -> Vec<f32> {
    let planes = picture.to_planes();
    planes.iter().map(|v| (v + 1.0) * 0.5).collect()
}

pub(super) fn tensor(values: Vec<f32>, shape: [usize; 4]) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape.to_vec(), &Device::Cpu).map_err(NnError::from)?)
}

impl UpscalerBatch {
    /// A part of each picture of a batch, which is the `number`th of the run. Pictures are made smaller as a whole, so that
    /// edges of parts are those of a picture only where it ends.
    ///
    /// # Errors
    /// [`crate::Error::Media`], [`crate::Error::Nn`].
    pub fn of(batch: &Batch, settings: &UpscalerSettings, number: u64) -> Result<Self> {
        let (height, width) = batch.size;
        let (scale, patch) = (settings.scale, settings.patch);
        let few = patch / scale;
        let (mut small, mut large) = (Vec::new(), Vec::new());
        let planes = batch.pixels.chunks_exact(3 * height * width);
        for (i, planes) in planes.enumerate() {
            let draw = |what: u64, count: usize| {
                let place = i as u64 * 4 + what;
                below(
                    count as u64,
                    bits(settings.seed, Purpose::Part, number, place),
                ) as u32
            };
            let picture = Picture::from_planes(planes, width as u32, height as u32)?;
            let filter = FILTERS[draw(0, FILTERS.len()) as usize];
            let reduced = smaller(&picture, scale, filter)?;
            let x = draw(1, width / scale - few + 1);
            let y = draw(2, height / scale - few + 1);
            let cut = reduced.crop(x, y, few as u32, few as u32)?;
            small.extend(unit_planes(&cut));
            let scale = scale as u32;
            let cut = picture.crop(x * scale, y * scale, patch as u32, patch as u32)?;
            large.extend(unit_planes(&cut));
        }
        if settings.noise > 0.0 {
            let each = 3 * few * few;
            let draws = normal(settings.seed, Purpose::Noise, number, small.len());
            for (i, (value, draw)) in small.iter_mut().zip(draws).enumerate() {
                let place = (i / each) as u64 * 4 + 3;
                let share = unit(settings.seed, Purpose::Part, number, place);
                *value += (draw * share * settings.noise) as f32;
            }
        }
        Ok(Self {
            small: tensor(small, [batch.len(), 3, few, few])?,
            large: tensor(large, [batch.len(), 3, patch, patch])?,
        })
    }

    /// Parts.
    pub fn len(&self) -> usize {
        self.small.dims()[0]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
