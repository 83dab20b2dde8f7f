//! Pictures made larger by a network, in tiles where they are large.

use medley_media::{Filter, Picture};
use medley_nn::Device;
use medley_types::{Event, ImageRequest};

use super::parts::{Enlarge, numbers, tensor};
use super::plan::Plan;
use crate::{PipelineError, Run};

/// Longest side that is enlarged in one pass.
const TILE: u32 = 192;
/// Pixels around a picture that repeat its border; even, for networks that take two by two at a time.
const RIM: u32 = 2;
/// Pixels around a tile that are computed with it and left out again, so that no seams show.
const MARGIN: u32 = 16;

/// An enlarging network.
pub struct Upscaler {
    /// The network.
    pub network: Box<dyn Enlarge>,
    /// Where it runs.
    pub device: Device,
}

impl Upscaler {
    /// The pictures as the request wants them: as they are, or enlarged.
    pub(super) fn apply(
        upscaler: Option<&Self>,
        pictures: Vec<Picture>,
        request: &ImageRequest,
        run: &mut Run,
    ) -> Result<Vec<Picture>, PipelineError> {
        let factor = request.upscale.unwrap_or(1);
        if factor == 1 {
            return Ok(pictures);
        }
        let Some(upscaler) = upscaler else {
            return Err(PipelineError::InvalidRequest(
                "there is no upscaler: leave --upscale out".into(),
            ));
        };
        upscaler.enlarge_all(pictures, factor, run)
    }

    /// Pictures one after the other, with `factor` times longer sides; progress is that of `upscale`.
    ///
    /// # Errors
    /// As [`Upscaler::enlarge`].
    pub fn enlarge_all(
        &self,
        pictures: Vec<Picture>,
        factor: u32,
        run: &mut Run,
    ) -> Result<Vec<Picture>, PipelineError> {
        let total = pictures.len();
        let mut enlarged = Vec::with_capacity(total);
        for picture in pictures {
            enlarged.push(self.enlarge(&picture, factor, run)?);
            run.emit(Event::Progress {
                stage: "upscale".into(),
                done: enlarged.len(),
                total,
            });
        }
        Ok(enlarged)
    }

    /// A picture with `factor` times longer sides. A network of a smaller factor enlarges again what it made, one of a larger
    /// factor makes the picture as large as it can, and it is then scaled to the size that was asked for.
    ///
    /// # Errors
    /// [`PipelineError::Cancelled`], [`PipelineError::Model`], [`PipelineError::Media`].
    pub fn enlarge(
        &self,
        picture: &Picture,
        factor: u32,
        run: &mut Run,
    ) -> Result<Picture, PipelineError> {
        let own = self.network.factor();
        if factor > own && own > 1 {
            let larger = self.enlarge(picture, own, run)?;
            return self.enlarge(&larger, factor / own, run);
        }
        let (width, height) = (picture.width() + 2 * RIM, picture.height() + 2 * RIM);
        let planes = with_rim(picture);
        let (w, h) = (width as usize, height as usize);
        let (large_w, large_h) = (w * own as usize, h * own as usize);
        let mut out = vec![0.0; 3 * large_w * large_h];
        for (y, tall) in tiles(height) {
            for (x, wide) in tiles(width) {
                run.check()?;
                let part = Part::around((x, wide), (y, tall), (width, height));
                let pixels = part.cut(&planes, w, h);
                let shape = [1, 3, part.height(), part.width()];
                let pixels = tensor(pixels, &shape, &self.device)?;
                let made = numbers(&self.network.enlarge(&pixels)?)?;
                part.paste(&made, &mut out, own as usize, (large_w, large_h));
            }
        }
        run.check()?;
        let large = Picture::from_planes(&out, large_w as u32, large_h as u32)?;
        let (rim, inner) = (
            RIM * own,
            [picture.width(), picture.height()].map(|s| s * own),
        );
        let large = large.crop(rim, rim, inner[0], inner[1])?;
        if own == factor {
            return Ok(large);
        }
        let (width, height) = (picture.width() * factor, picture.height() * factor);
        Ok(large.resize(width, height, Filter::Lanczos)?)
    }

    pub(super) fn plan(&self, plan: &mut Plan, width: u32, height: u32, factor: u32, count: f64) {
        let own = self.network.factor();
        if factor > own && own > 1 {
            self.plan(plan, width, height, own, count);
            return self.plan(plan, width * own, height * own, factor / own, count);
        }
        if factor == 1 {
            return;
        }
        plan.weights(self.network.weight_bytes());
        let (width, height) = (width + 2 * RIM, height + 2 * RIM);
        for (_, tall) in tiles(height) {
            for (_, wide) in tiles(width) {
                let side = |length: u32, whole: u32| (length + 2 * MARGIN).min(whole) as usize;
                plan.add(
                    self.network.cost(side(wide, width), side(tall, height)),
                    count,
                );
            }
        }
    }
}

/// The planes of a picture with its outermost pixels repeated around it: the network's convolutions see zeros beyond the
/// border, which it takes for dark corners.
fn with_rim(picture: &Picture) -> Vec<f32> {
    let planes = picture.to_planes();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let rim = RIM as usize;
    let inside = |at: usize, side: usize| at.saturating_sub(rim).min(side - 1);
    let mut wide = Vec::with_capacity(3 * (width + 2 * rim) * (height + 2 * rim));
    for plane in planes.chunks_exact(width * height) {
        for y in 0..height + 2 * rim {
            let row = &plane[inside(y, height) * width..][..width];
            wide.extend((0..width + 2 * rim).map(|x| row[inside(x, width)]));
        }
    }
    wide
}

/// Where tiles begin along a side, and their lengths.
fn tiles(side: u32) -> Vec<(u32, u32)> {
    let count = side.div_ceil(TILE).max(1);
    let cut = |i: u32| (u64::from(side) * u64::from(i) / u64::from(count)) as u32;
    (0..count).map(|i| (cut(i), cut(i + 1) - cut(i))).collect()
}

/// A tile and its margin within a picture.
struct Part {
    /// Where the tile itself is.
    tile: [std::ops::Range<usize>; 2],
    /// The same with its margin.
    cut: [std::ops::Range<usize>; 2],
}

impl Part {
    fn around((x, wide): (u32, u32), (y, tall): (u32, u32), (width, height): (u32, u32)) -> Self {
        let widen = |start: u32, length: u32, whole: u32| {
            start.saturating_sub(MARGIN) as usize..(start + length + MARGIN).min(whole) as usize
        };
        Self {
            tile: [
                y as usize..(y + tall) as usize,
                x as usize..(x + wide) as usize,
            ],
            cut: [widen(y, tall, height), widen(x, wide, width)],
        }
    }

    fn height(&self) -> usize {
        self.cut[0].len()
    }

    fn width(&self) -> usize {
        self.cut[1].len()
    }

    fn cut(&self, planes: &[f32], width: usize, height: usize) -> Vec<f32> {
        let mut pixels = Vec::with_capacity(3 * self.width() * self.height());
        for channel in 0..3 {
            for y in self.cut[0].clone() {
                let row = (channel * height + y) * width;
                pixels.extend_from_slice(&planes[row + self.cut[1].start..row + self.cut[1].end]);
            }
        }
        pixels
    }

    fn paste(&self, made: &[f32], out: &mut [f32], factor: usize, (width, height): (usize, usize)) {
        let line = self.width() * factor;
        let left = (self.tile[1].start - self.cut[1].start) * factor;
        let length = self.tile[1].len() * factor;
        for channel in 0..3 {
            for y in self.tile[0].start * factor..self.tile[0].end * factor {
                let from = (channel * self.height() * factor + y - self.cut[0].start * factor)
                    * line
                    + left;
                let to = (channel * height + y) * width + self.tile[1].start * factor;
                out[to..to + length].copy_from_slice(&made[from..from + length]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use medley_media::Layout;
    use medley_nn::Tensor;

    use super::super::parts::Cost;
    use super::*;

    /// Repeats every pixel.
    struct Repeat(u32);

    impl Enlarge for Repeat {
        fn factor(&self) -> u32 {
            self.0
        }

        fn enlarge(&self, pixels: &Tensor) -> Result<Tensor, PipelineError> {
            let (_, _, h, w) = pixels.dims4().map_err(medley_models::ConfigError::from)?;
            let factor = self.0 as usize;
            let large = pixels.upsample_nearest2d(h * factor, w * factor);
            Ok(large.map_err(medley_models::ConfigError::from)?)
        }

        fn cost(&self, width: usize, height: usize) -> Cost {
            Cost {
                flops: 1.0,
                bytes: (width * height) as u64,
            }
        }

        fn weight_bytes(&self) -> u64 {
            7
        }
    }

    fn upscaler(factor: u32) -> Upscaler {
        Upscaler {
            network: Box::new(Repeat(factor)),
            device: Device::Cpu,
        }
    }

    #[test]
    fn tiles_join_without_seams() {
        let (width, height) = (TILE + 101, 2 * TILE + 7);
        let bytes: Vec<u8> = (0..width * height * 3)
            .map(|i| (i * 7 % 251) as u8)
            .collect();
        let picture = Picture::new(width, height, Layout::Rgb, bytes).unwrap();
        let large = upscaler(2).enlarge(&picture, 2, &mut Run::quiet()).unwrap();
        let expected = picture
            .resize(2 * width, 2 * height, Filter::Nearest)
            .unwrap();
        assert!(large == expected);
    }

    #[test]
    fn another_factor_is_scaled_to() {
        let picture = Picture::filled(10, 6, [10, 200, 90]).unwrap();
        let half = upscaler(4).enlarge(&picture, 2, &mut Run::quiet()).unwrap();
        assert_eq!(half, Picture::filled(20, 12, [10, 200, 90]).unwrap());
    }

    #[test]
    fn a_cancelled_run_gives_nothing() {
        let mut run = Run::quiet();
        run.cancel.cancel();
        let picture = Picture::filled(10, 6, [0; 3]).unwrap();
        let result = upscaler(4).enlarge(&picture, 4, &mut run);
        assert!(matches!(result, Err(PipelineError::Cancelled)));
    }
}
