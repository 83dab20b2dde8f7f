//! Pictures that a request starts from.

use medley_media::{Filter, Picture};

use crate::PipelineError;

/// What a request refers to by content, and what the caller wants to see on the way.
#[derive(Clone, Debug, Default)]
pub struct ImageInputs {
    /// The picture of `init`.
    pub init: Option<Picture>,
    /// The picture of `mask`, of the same size: white is painted anew.
    pub mask: Option<Picture>,
    /// Send a preview after every so many steps.
    pub preview_every: Option<usize>,
}

/// A picture and a mask in the size that is drawn.
pub(super) struct Fitted {
    /// 3 × height × width in [-1, 1].
    pub planes: Vec<f32>,
    /// Height × width, 1 where it is painted anew; without it everything is.
    pub mask: Option<Vec<f32>>,
    /// The picture itself in that size.
    pub picture: Picture,
}

impl ImageInputs {
    /// Refuses a mask of another size than its picture's.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`] with both sizes.
    pub fn check(&self) -> Result<(), PipelineError> {
        if let (Some(init), Some(mask)) = (&self.init, &self.mask) {
            let sides = |picture: &Picture| (picture.width(), picture.height());
            let ((w, h), (mw, mh)) = (sides(init), sides(mask));
            if (w, h) != (mw, mh) {
                return Err(PipelineError::InvalidRequest(format!(
                    "the mask is {mw}x{mh} and the picture {w}x{h}: they must have one size"
                )));
            }
        }
        Ok(())
    }

    /// The picture to start from, cut in its middle to the proportions of `width` × `height` and scaled to it, and its mask
    /// with it.
    pub(super) fn fitted(&self, width: u32, height: u32) -> Result<Option<Fitted>, PipelineError> {
        self.check()?;
        let Some(init) = &self.init else {
            return Ok(None);
        };
        let fit = |picture: &Picture, filter| {
            picture
                .over([255; 3])
                .crop_to_ratio(width, height)?
                .resize(width, height, filter)
        };
        let picture = fit(init, Filter::Lanczos)?;
        let mask = match &self.mask {
            Some(mask) => Some(luminance(&fit(mask, Filter::Bilinear)?)),
            None => None,
        };
        Ok(Some(Fitted {
            planes: picture.to_planes(),
            mask,
            picture,
        }))
    }
}

/// Brightness of each pixel from 0 to 1 (the weights of ITU-R BT.601).
fn luminance(picture: &Picture) -> Vec<f32> {
    let (pixels, _) = picture.pixels().as_chunks::<3>();
    let brightness = |&[r, g, b]: &[u8; 3]| {
        (299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b)) as f32 / 255_000.0
    };
    pixels.iter().map(brightness).collect()
}

impl Fitted {
    /// The mask over cells of `factor` × `factor` pixels, `channels` times over, as latents have it: a cell is painted anew
    /// as far as its pixels are.
    pub fn mask_of_latents(&self, factor: u32, channels: usize) -> Option<Vec<f32>> {
        let mask = self.mask.as_ref()?;
        let factor = factor as usize;
        let width = self.picture.width() as usize;
        let height = self.picture.height() as usize;
        let mut cells = Vec::with_capacity(mask.len() / (factor * factor));
        for y in 0..height / factor {
            for x in 0..width / factor {
                let rows = (0..factor).map(|dy| (y * factor + dy) * width + x * factor);
                let sum: f32 = rows
                    .map(|at| mask[at..at + factor].iter().sum::<f32>())
                    .sum();
                cells.push(sum / (factor * factor) as f32);
            }
        }
        Some(cells.repeat(channels))
    }

    /// `made` where the mask is white and the picture itself where it is black, to the byte.
    pub fn composite(&self, made: &Picture) -> Result<Picture, PipelineError> {
        let Some(mask) = &self.mask else {
            return Ok(made.clone());
        };
        let pixels = made.pixels().iter().zip(self.picture.pixels()).enumerate();
        let mixed = pixels.map(|(i, (&new, &old))| {
            let share = mask[i / 3];
            (f32::from(old) + (f32::from(new) - f32::from(old)) * share).round() as u8
        });
        Ok(Picture::new(
            made.width(),
            made.height(),
            made.layout(),
            mixed.collect(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use medley_media::Layout;

    use super::*;

    fn inputs(mask_width: u32) -> ImageInputs {
        ImageInputs {
            init: Some(Picture::filled(4, 2, [200, 100, 0]).unwrap()),
            mask: Some(Picture::filled(mask_width, 2, [255; 3]).unwrap()),
            preview_every: None,
        }
    }

    #[test]
    fn a_mask_of_another_size_is_refused() {
        let text = inputs(3).check().unwrap_err().to_string();
        assert_eq!(
            text,
            "the mask is 3x2 and the picture 4x2: they must have one size"
        );
        assert!(inputs(4).check().is_ok());
    }

    #[test]
    fn black_keeps_bytes_and_white_takes_new_ones() {
        let black_white = vec![0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255];
        let fitted = ImageInputs {
            init: Some(Picture::filled(2, 2, [200, 100, 0]).unwrap()),
            mask: Some(Picture::new(2, 2, Layout::Rgb, black_white).unwrap()),
            preview_every: None,
        }
        .fitted(2, 2)
        .unwrap()
        .unwrap();
        assert_eq!(fitted.mask, Some(vec![0.0, 1.0, 0.0, 1.0]));
        assert_eq!(fitted.mask_of_latents(2, 3), Some(vec![0.5; 3]));
        let made = Picture::filled(2, 2, [9, 8, 7]).unwrap();
        let mixed = fitted.composite(&made).unwrap();
        assert_eq!(mixed.pixels(), [200, 100, 0, 9, 8, 7, 200, 100, 0, 9, 8, 7]);
    }
}
