//! Scenes as they are at a moment.

use std::path::Path;

use super::check::{colour, place, wrong};
use super::font::{Font, Mask};
use super::paint::{Canvas, window};
use super::{Captions, Placing, Scene, Still, Timeline, Title};
use crate::design::multiply;
use crate::error::MediaError;
use crate::film::clip::Fit;
use crate::film::read::{FilmReader, Shown, film_limits};
use crate::picture::Picture;
use crate::read::{Limits, read};
use crate::resize::Filter;

/// Sizes of letters as parts of the film's height.
const TITLE: f32 = 0.11;
const SUBTITLE: f32 = 0.05;
const CAPTION: f32 = 0.05;

/// How wide lines may be, as parts of the film's width.
const MARGIN: f32 = 0.84;

/// The fonts and colours of a film.
pub(super) struct Style {
    pub size: [u32; 2],
    pub background: [u8; 3],
    regular: Font,
    bold: Font,
}

impl Style {
    pub(super) fn of(timeline: &Timeline, base: &Path) -> Result<Self, MediaError> {
        let (regular, bold) = match &timeline.font {
            Some(file) => {
                let path = place(base, file);
                (Font::open(&path)?, Font::open(&path)?)
            }
            None => (Font::regular(), Font::bold()),
        };
        Ok(Self {
            size: timeline.size,
            background: colour("background", &timeline.background)?,
            regular,
            bold,
        })
    }

    fn canvas(&self) -> Canvas {
        Canvas::filled(self.size[0], self.size[1], self.background)
    }

    /// What stands around a picture is white where white becomes the background.
    fn fit(&self, placing: Placing, multiply: bool) -> Fit {
        match placing {
            Placing::Crop => Fit::Crop,
            Placing::Pad if multiply => Fit::Pad([255; 3]),
            Placing::Pad => Fit::Pad(self.background),
        }
    }
}

/// The picture on paper of a colour.
fn on_paper(picture: Picture, paper: [u8; 3]) -> Result<Picture, MediaError> {
    let (width, height) = (picture.width(), picture.height());
    let mut canvas = Canvas::filled(width, height, paper);
    multiply(&mut canvas.pixels, picture.pixels());
    canvas.into_picture()
}

/// What a scene is painted from.
pub(super) enum Painter {
    /// The same at every moment.
    Card(Canvas),
    Still {
        picture: Picture,
        zoom: [f64; 2],
        towards: [f64; 2],
    },
    Clip(Box<ClipPainter>),
}

/// A film within the film, read as it is shown.
pub(super) struct ClipPainter {
    reader: FilmReader,
    start: f64,
    repeat: bool,
    fit: Fit,
    size: [u32; 2],
    /// Where its white becomes this colour.
    paper: Option<[u8; 3]>,
    /// The frame that is shown, at the film's size, and the one that comes next.
    shown: Option<Picture>,
    next: Option<Shown>,
    /// Seconds of the clip that went by before it began again.
    past: f64,
}

impl Painter {
    /// Opens what the scene shows, and gives how long it lasts.
    pub(super) fn open(
        at: &str,
        scene: &Scene,
        base: &Path,
        style: &Style,
    ) -> Result<(Self, f64), MediaError> {
        if let Some(title) = &scene.title {
            let seconds = scene.seconds.unwrap_or_default();
            return Ok((Self::Card(card(at, title, style)?), seconds));
        }
        if let Some(still) = &scene.still {
            let seconds = scene.seconds.unwrap_or_default();
            return Ok((open_still(still, base, style)?, seconds));
        }
        let Some(clip) = &scene.clip else {
            return Err(wrong(at, "it must have one of title, still and clip"));
        };
        let reader = FilmReader::open(&place(base, &clip.file), film_limits(), None)?;
        let left = reader.seconds() - clip.start;
        if left < 0.01 {
            let reason = format!(
                "{} must be before the clip's end at {:.2}",
                clip.start,
                reader.seconds()
            );
            return Err(wrong(&format!("{at}.clip.start"), reason));
        }
        let seconds = scene.seconds.unwrap_or(left);
        let painter = ClipPainter {
            reader,
            start: clip.start,
            repeat: clip.repeat,
            fit: style.fit(clip.fit, clip.multiply),
            size: style.size,
            paper: clip.multiply.then_some(style.background),
            shown: None,
            next: None,
            past: 0.0,
        };
        Ok((Self::Clip(Box::new(painter)), seconds))
    }

    /// Paints the scene `at` seconds after its beginning, of `seconds`; moments only go forward.
    pub(super) fn paint(
        &mut self,
        at: f64,
        seconds: f64,
        out: &mut Canvas,
    ) -> Result<(), MediaError> {
        match self {
            Self::Card(card) => out.pixels.copy_from_slice(&card.pixels),
            Self::Still {
                picture,
                zoom,
                towards,
            } => {
                let part = (at / seconds.max(1e-9)).clamp(0.0, 1.0);
                // Even steps of the logarithm look like an even movement.
                let scale = zoom[0] * (zoom[1] / zoom[0]).powf(part);
                let (w, h) = (f64::from(picture.width()), f64::from(picture.height()));
                let (width, height) = (w / scale, h / scale);
                window(
                    picture,
                    [
                        (w - width) * towards[0],
                        (h - height) * towards[1],
                        width,
                        height,
                    ],
                    out,
                );
            }
            Self::Clip(clip) => out.pixels.copy_from_slice(clip.frame(at)?.pixels()),
        }
        Ok(())
    }
}

impl ClipPainter {
    fn frame(&mut self, at: f64) -> Result<&Picture, MediaError> {
        /// Frames are shown at rounded times.
        const SLACK: f64 = 1e-4;
        loop {
            let position = at + self.start - self.past;
            if self.next.is_none() {
                self.next = self.reader.next_frame()?;
            }
            match &self.next {
                Some(next) if next.at <= position + SLACK || self.shown.is_none() => {
                    let next = self.next.take().map(|shown| shown.picture);
                    // What comes at once after it is decoded, but need not be fitted.
                    let following = self.reader.next_frame()?;
                    let skipped = following.as_ref().is_some_and(|f| f.at <= position + SLACK);
                    self.next = following;
                    if let Some(picture) = next.filter(|_| !skipped || self.shown.is_none()) {
                        let picture = picture.over([255; 3]);
                        let [width, height] = self.size;
                        let fitted = self.fit.apply(&picture, width, height, Filter::Bicubic)?;
                        self.shown = Some(match self.paper {
                            Some(paper) => on_paper(fitted, paper)?,
                            None => fitted,
                        });
                    }
                }
                None if self.repeat && position >= self.reader.seconds() - SLACK => {
                    self.past += self.reader.seconds() - self.start;
                    self.reader.rewind()?;
                    self.skip_to_start()?;
                }
                _ => break,
            }
        }
        self.shown
            .as_ref()
            .ok_or_else(|| MediaError::damaged_film("it has no frames"))
    }

    fn skip_to_start(&mut self) -> Result<(), MediaError> {
        while let Some(shown) = self.reader.next_frame()? {
            if shown.at + 1e-4 >= self.start {
                self.next = Some(shown);
                break;
            }
        }
        Ok(())
    }
}

/// The picture at the size that the largest zoom asks for, but no larger than it is.
fn open_still(still: &Still, base: &Path, style: &Style) -> Result<Painter, MediaError> {
    let beneath = if still.multiply {
        [255; 3]
    } else {
        style.background
    };
    let picture = read(&place(base, &still.file), &Limits::default())?.over(beneath);
    let most = still.zoom[0].max(still.zoom[1]);
    let [width, height] = style.size;
    let finer = f64::from(picture.width()) / f64::from(width);
    let scale = finer
        .min(f64::from(picture.height()) / f64::from(height))
        .clamp(1.0, most);
    let side = |side: u32| (f64::from(side) * scale).round() as u32;
    let fit = style.fit(still.fit, still.multiply);
    let fitted = fit.apply(&picture, side(width), side(height), Filter::Lanczos)?;
    Ok(Painter::Still {
        picture: if still.multiply {
            on_paper(fitted, style.background)?
        } else {
            fitted
        },
        zoom: still.zoom,
        towards: still.towards,
    })
}

fn card(at: &str, title: &Title, style: &Style) -> Result<Canvas, MediaError> {
    let letters = colour(&format!("{at}.title.colour"), &title.colour)?;
    let mut canvas = match &title.background {
        Some(text) => {
            let colour = colour(&format!("{at}.title.background"), text)?;
            Canvas::filled(style.size[0], style.size[1], colour)
        }
        None => style.canvas(),
    };
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let blocks = [
        (&style.bold, &title.text, TITLE),
        (&style.regular, &title.subtitle, SUBTITLE),
    ];
    let mut lines = Vec::new();
    for (font, text, part) in blocks {
        // Smaller where a single word or the whole would not fit.
        let mut size = height.min(width) * part;
        let mut broken = font.wrap(text, size, width * MARGIN);
        while size > 8.0
            && (broken.len() as f32 * size * 1.4 > height * 0.6
                || broken
                    .iter()
                    .any(|line| font.width(line, size) > width * MARGIN))
        {
            size *= 0.9;
            broken = font.wrap(text, size, width * MARGIN);
        }
        lines.extend(broken.iter().map(|line| font.line(line, size)));
    }
    let total: usize = lines.iter().map(|mask| mask.height).sum();
    let mut y = (canvas.height as i64 - total as i64) / 2;
    for mask in &lines {
        canvas.stamp(
            mask,
            (canvas.width as i64 - mask.width as i64) / 2,
            y,
            letters,
        );
        y += mask.height as i64;
    }
    Ok(canvas)
}

/// Captions by their times.
pub(super) struct Subtitles {
    phrases: Vec<Phrase>,
    drawn: Option<(usize, Vec<Mask>)>,
}

struct Phrase {
    text: String,
    start: f64,
    end: f64,
}

impl Subtitles {
    /// Words to phrases of one line: a new one after a pause, a full stop, or when the line is full.
    pub(super) fn of(captions: &Captions, style: &Style) -> Self {
        /// Seconds of silence that part two phrases, and how long one stays when nothing follows.
        const PAUSE: f64 = 0.7;
        let size = style.size[1] as f32 * CAPTION;
        let full = style.size[0] as f32 * MARGIN;
        let mut phrases: Vec<Phrase> = Vec::new();
        for word in &captions.words {
            let (start, end) = (word.start + captions.start, word.end + captions.start);
            if let Some(phrase) = phrases.last_mut() {
                let longer = format!("{} {}", phrase.text, word.word);
                let ended =
                    phrase.text.ends_with(['.', '!', '?', '…']) || start - phrase.end > PAUSE;
                if !ended && style.bold.width(&longer, size) <= full {
                    (phrase.text, phrase.end) = (longer, end);
                    continue;
                }
            }
            phrases.push(Phrase {
                text: word.word.clone(),
                start,
                end,
            });
        }
        let starts: Vec<f64> = phrases.iter().skip(1).map(|phrase| phrase.start).collect();
        for (i, phrase) in phrases.iter_mut().enumerate() {
            phrase.end = (phrase.end + PAUSE).min(starts.get(i).copied().unwrap_or(f64::MAX));
        }
        Self {
            phrases,
            drawn: None,
        }
    }

    /// Paints what is said at this moment.
    pub(super) fn paint(&mut self, at: f64, style: &Style, out: &mut Canvas) {
        /// What a band behind the letters leaves of the picture, of 256.
        const KEEP: u16 = 90;
        let Some(index) = self
            .phrases
            .iter()
            .position(|p| p.start <= at && at < p.end)
        else {
            return;
        };
        if self.drawn.as_ref().is_none_or(|(drawn, _)| *drawn != index) {
            let size = style.size[1] as f32 * CAPTION;
            let lines = style
                .bold
                .wrap(&self.phrases[index].text, size, out.width as f32 * MARGIN);
            self.drawn = Some((
                index,
                lines
                    .iter()
                    .map(|line| style.bold.line(line, size))
                    .collect(),
            ));
        }
        let masks = self.drawn.as_ref().map_or(&[][..], |(_, masks)| masks);
        let total: i64 = masks.iter().map(|mask| mask.height as i64).sum();
        let mut y = out.height as i64 - total - out.height as i64 / 14;
        for mask in masks {
            let x = (out.width as i64 - mask.width as i64) / 2;
            let room = mask.height as i64 / 3;
            out.darken(
                x - room,
                y,
                mask.width as i64 + 2 * room,
                mask.height as i64,
                KEEP,
            );
            out.stamp(mask, x, y, [255; 3]);
            y += mask.height as i64;
        }
    }
}
