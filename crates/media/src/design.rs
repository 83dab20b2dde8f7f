//! Typeset pictures: words in a bundled font, areas of colour and a picture, put together without a model.

use crate::error::MediaError;
use crate::film::timeline::Font;
use crate::film::timeline::font::Mask;
use crate::film::timeline::paint::Canvas;
use crate::picture::Picture;
use crate::resize::Filter;

/// Red, green and blue.
pub type Colour = [u8; 3];

/// A poster. Empty texts are left out.
#[derive(Clone, Copy, Debug)]
pub struct Poster<'p> {
    /// Width and height in pixels, 64 to 4096 each.
    pub size: [u32; 2],
    /// Behind everything.
    pub paper: Colour,
    /// Of the title and the text.
    pub ink: Colour,
    /// Of the line above the title.
    pub accent: Colour,
    /// Of the disc behind the picture.
    pub soft: Colour,
    /// In small letters above the title.
    pub kicker: &'p str,
    /// In large letters, as large as there is room for.
    pub title: &'p str,
    /// Below the title.
    pub text: &'p str,
    /// What is seen; its white becomes what lies behind it.
    pub picture: Option<&'p Picture>,
}

/// A rectangle: left, top, width and height in pixels.
type Area = [f32; 4];

/// Lines that a title breaks into at most.
const TITLE_LINES: usize = 4;

impl Poster<'_> {
    /// Paints it: the picture above the words where it is higher than wide, beside them otherwise.
    ///
    /// # Errors
    /// [`MediaError`] for sizes that no picture has.
    pub fn paint(&self) -> Result<Picture, MediaError> {
        let [w, h] = self.size;
        let mut canvas = Canvas::filled(w, h, self.paper);
        let (w, h) = (w as f32, h as f32);
        let margin = 0.08 * w.min(h);
        let words = match (self.picture, h >= w) {
            (None, _) => [margin, margin, w - 2.0 * margin, h - 2.0 * margin],
            (Some(picture), true) => {
                let side = (w - 2.0 * margin).min(0.56 * h - margin);
                self.show(&mut canvas, picture, [w / 2.0, margin + side / 2.0], side)?;
                let top = margin + side + 0.5 * margin;
                [margin, top, w - 2.0 * margin, h - top - margin]
            }
            (Some(picture), false) => {
                let side = (h - 2.0 * margin).min(0.46 * w - margin);
                self.show(
                    &mut canvas,
                    picture,
                    [w - margin - side / 2.0, h / 2.0],
                    side,
                )?;
                [margin, margin, w - 3.0 * margin - side, h - 2.0 * margin]
            }
        };
        self.set(&mut canvas, words);
        canvas.into_picture()
    }

    /// The picture on its disc, `side` pixels wide around `centre`.
    fn show(
        &self,
        canvas: &mut Canvas,
        picture: &Picture,
        centre: [f32; 2],
        side: f32,
    ) -> Result<(), MediaError> {
        disc(canvas, centre, side / 2.0, self.soft);
        // A square within the disc touches it at the corners; what is drawn seldom fills its corners.
        let most = (0.8 * side).max(1.0);
        let scale = most / picture.width().max(picture.height()) as f32;
        let sides = [picture.width(), picture.height()]
            .map(|length| ((length as f32 * scale).round() as u32).max(1));
        let fitted = picture
            .over([255; 3])
            .resize(sides[0], sides[1], Filter::Lanczos)?;
        let (left, top) = (
            (centre[0] - sides[0] as f32 / 2.0).round() as usize,
            (centre[1] - sides[1] as f32 / 2.0).round() as usize,
        );
        for y in 0..sides[1] as usize {
            let line = &fitted.pixels()[y * sides[0] as usize * 3..][..sides[0] as usize * 3];
            let at = ((top + y) * canvas.width + left) * 3;
            let Some(under) = canvas.pixels.get_mut(at..at + line.len()) else {
                break;
            };
            multiply(under, line);
        }
        Ok(())
    }

    /// The words within an area, together in its middle.
    fn set(&self, canvas: &mut Canvas, area: Area) {
        let (regular, bold) = (Font::regular(), Font::bold());
        let [left, top, width, height] = area;
        let unit = (width * height).sqrt();
        let (small, plain) = (0.05 * unit, 0.065 * unit);
        let lines = |text: &str, font: &Font, size: f32| -> Vec<String> {
            let wrapped = if text.trim().is_empty() {
                Vec::new()
            } else {
                font.wrap(text, size, width)
            };
            wrapped
                .into_iter()
                .filter(|line| !line.is_empty())
                .collect()
        };
        let kicker = lines(&self.kicker.to_uppercase(), &bold, small);
        let text = lines(self.text, &regular, plain);
        let gap = 0.5 * plain;
        let others = kicker.len() as f32 * small * LEADING
            + text.len() as f32 * plain * LEADING
            + if text.is_empty() { 0.0 } else { gap };
        let (title, size) = fitted(self.title, &bold, width, height - others, 0.24 * unit);
        let total = others + title.len() as f32 * size * LEADING;
        let mut y = top + ((height - total) / 2.0).max(0.0);
        for line in &kicker {
            y = stamp(
                canvas,
                &bold.line(line, small),
                [left, y],
                self.accent,
                small,
            );
        }
        for line in &title {
            y = stamp(canvas, &bold.line(line, size), [left, y], self.ink, size);
        }
        if !text.is_empty() {
            y += gap;
        }
        for line in &text {
            y = stamp(
                canvas,
                &regular.line(line, plain),
                [left, y],
                self.ink,
                plain,
            );
        }
    }
}

/// From line to line, as parts of the letters' size.
const LEADING: f32 = 1.25;

fn stamp(canvas: &mut Canvas, mask: &Mask, [x, y]: [f32; 2], colour: Colour, size: f32) -> f32 {
    canvas.stamp(mask, x.round() as i64, y.round() as i64, colour);
    y + size * LEADING
}

/// A title in its lines, in letters as large as the area allows, `most` pixels at most.
fn fitted(text: &str, font: &Font, width: f32, height: f32, most: f32) -> (Vec<String>, f32) {
    if text.trim().is_empty() {
        return (Vec::new(), 0.0);
    }
    let mut size = most;
    loop {
        let lines = font.wrap(text, size, width);
        let fits = lines.len() <= TITLE_LINES
            && lines.len() as f32 * size * LEADING <= height
            && lines.iter().all(|line| font.width(line, size) <= width);
        if fits || size < 10.0 {
            return (lines, size);
        }
        size *= 0.94;
    }
}

/// A filled circle with a smooth edge.
fn disc(canvas: &mut Canvas, [cx, cy]: [f32; 2], radius: f32, colour: Colour) {
    let rows =
        (cy - radius).floor().max(0.0) as usize..((cy + radius).ceil() as usize).min(canvas.height);
    for y in rows {
        for x in 0..canvas.width {
            let (dx, dy) = (x as f32 + 0.5 - cx, y as f32 + 0.5 - cy);
            let cover = (radius - dx.hypot(dy) + 0.5).clamp(0.0, 1.0);
            if cover > 0.0 {
                let at = (y * canvas.width + x) * 3;
                for (pixel, colour) in canvas.pixels[at..at + 3].iter_mut().zip(colour) {
                    *pixel = (f32::from(*pixel) * (1.0 - cover) + f32::from(colour) * cover).round()
                        as u8;
                }
            }
        }
    }
}

/// Lays a picture over what is there like colour on paper: white leaves it, black covers it.
pub(crate) fn multiply(under: &mut [u8], over: &[u8]) {
    for (under, &over) in under.iter_mut().zip(over) {
        *under = ((u32::from(*under) * u32::from(over) + 127) / 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Layout;

    fn poster<'p>(size: [u32; 2], title: &'p str, picture: Option<&'p Picture>) -> Poster<'p> {
        Poster {
            size,
            paper: [240, 250, 245],
            ink: [20, 30, 40],
            accent: [180, 20, 60],
            soft: [200, 220, 210],
            kicker: "Ember",
            title,
            text: "for small balconies",
            picture,
        }
    }

    #[test]
    fn a_picture_keeps_its_colours_and_its_white_becomes_paper() {
        let mut pixels = vec![255; 64 * 64 * 3];
        for y in 24..40 {
            for x in 24..40 {
                pixels[(y * 64 + x) * 3..][..3].copy_from_slice(&[200, 0, 0]);
            }
        }
        let picture = Picture::new(64, 64, Layout::Rgb, pixels).unwrap();
        for size in [[540, 675], [640, 360]] {
            let made = poster(size, "Warm nights, no smoke", Some(&picture))
                .paint()
                .unwrap();
            assert_eq!([made.width(), made.height()], size);
            let (_, all) = (0, made.pixels().as_chunks::<3>().0);
            let red = all.iter().filter(|p| p[0] > 140 && p[1] < 40).count();
            let soft = all.iter().filter(|p| **p == [200, 220, 210]).count();
            let ink = all.iter().filter(|p| **p == [20, 30, 40]).count();
            assert!(
                red > 300 && soft > 5000 && ink > 500,
                "{size:?}: {red} {soft} {ink}"
            );
            assert_eq!(all[0], [240, 250, 245]);
            // What is white in the picture leaves no trace.
            assert!(!all.contains(&[255, 255, 255]));
        }
    }

    #[test]
    fn long_titles_stay_within_their_area() {
        let title = "An extraordinarily long headline that nobody would ever put on a poster but somebody will";
        let made = poster([320, 400], title, None).paint().unwrap();
        let all = made.pixels().as_chunks::<3>().0;
        // The margin is free of ink.
        for y in 0..400 {
            for x in (0..20).chain(301..320) {
                assert_eq!(all[y * 320 + x], [240, 250, 245], "{x} {y}");
            }
        }
    }
}
