//! From a timeline to a film, frame by frame.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;

use super::Timeline;
use super::check::check_length;
use super::mix::{Heard, Span};
use super::paint::Canvas;
use super::scene::{Painter, Style, Subtitles};
use crate::audio::Audio;
use crate::error::MediaError;
use crate::film::format::FilmFormat;
use crate::film::rate::Rate;
use crate::film::write::{FilmOptions, FilmWriter, Written};
use crate::label::Origin;
use crate::picture::Picture;

/// Frames that may be painted before they are written.
const AHEAD: usize = 4;

/// How far a film is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Frames that are painted.
    pub done: u64,
    /// Frames of the whole.
    pub total: u64,
}

/// Paints the frames of a timeline in order.
pub struct Compositor {
    style: Style,
    scenes: Vec<Placed>,
    subtitles: Option<Subtitles>,
    rate: Rate,
    fade_out: f64,
    seconds: f64,
    /// The next frame.
    next: u64,
    beneath: Canvas,
}

struct Placed {
    painter: Painter,
    start: f64,
    seconds: f64,
    fade: f64,
}

impl Compositor {
    /// Checks the timeline and opens its files, which lie in `base`.
    ///
    /// # Errors
    /// [`MediaError::Timeline`] names what is wrong and where; what reading the files says.
    pub fn new(timeline: &Timeline, base: &Path) -> Result<Self, MediaError> {
        timeline.check(base)?;
        let style = Style::of(timeline, base)?;
        let mut scenes: Vec<Placed> = Vec::new();
        let mut end: f64 = 0.0;
        for (i, scene) in timeline.scenes.iter().enumerate() {
            let (painter, seconds) = Painter::open(&format!("scenes[{i}]"), scene, base, &style)?;
            // A scene is not faded into for longer than it or the one before it lasts.
            let before = scenes
                .last()
                .map_or(seconds, |scene: &Placed| scene.seconds);
            let fade = scene.fade.min(seconds).min(before);
            let start = if i == 0 { 0.0 } else { (end - fade).max(0.0) };
            end = start + seconds;
            scenes.push(Placed {
                painter,
                start,
                seconds,
                fade,
            });
        }
        check_length(end)?;
        let subtitles = timeline
            .captions
            .as_ref()
            .map(|captions| Subtitles::of(captions, &style));
        Ok(Self {
            beneath: Canvas::filled(style.size[0], style.size[1], style.background),
            style,
            scenes,
            subtitles,
            rate: Rate::new(timeline.rate, 1)?,
            fade_out: timeline.fade_out,
            seconds: end,
            next: 0,
        })
    }

    /// How long the film is, to a whole frame.
    pub fn seconds(&self) -> f64 {
        self.rate.time_of(self.frames())
    }

    /// How many frames it has.
    pub fn frames(&self) -> u64 {
        self.rate.frames_in(self.seconds).max(1)
    }

    /// The mix of all sounds, as long as the film; none where there are none.
    ///
    /// # Errors
    /// What reading the files says; [`MediaError::Timeline`] for more than 2 hours of it.
    pub fn sound(&self, timeline: &Timeline, base: &Path) -> Result<Option<Audio>, MediaError> {
        let span = |scene: &Placed| Span {
            start: scene.start,
            seconds: scene.seconds,
            fade: scene.fade,
        };
        let scenes: Vec<Span> = self.scenes.iter().map(span).collect();
        let seconds = self.seconds();
        Heard {
            timeline,
            base,
            scenes: &scenes,
            seconds,
        }
        .mix()
    }

    /// The next frame; none behind the last.
    ///
    /// # Errors
    /// What reading clips says.
    pub fn next_frame(&mut self) -> Result<Option<Picture>, MediaError> {
        if self.next >= self.frames() {
            return Ok(None);
        }
        let at = self.rate.time_of(self.next);
        self.next += 1;
        let [width, height] = self.style.size;
        let mut canvas = Canvas::filled(width, height, self.style.background);
        let mut painted = false;
        for scene in &mut self.scenes {
            let here = at - scene.start;
            if here < 0.0 || here >= scene.seconds {
                continue;
            }
            let part = if here < scene.fade {
                (here / scene.fade * 256.0) as u16
            } else {
                256
            };
            if part == 256 {
                scene.painter.paint(here, scene.seconds, &mut canvas)?;
            } else if part > 0 {
                scene
                    .painter
                    .paint(here, scene.seconds, &mut self.beneath)?;
                canvas.blend(&self.beneath.pixels, part);
            }
            painted = true;
        }
        if !painted && let Some(last) = self.scenes.last_mut() {
            // The last frame, where rounding put it behind the end.
            last.painter
                .paint(last.seconds, last.seconds, &mut canvas)?;
        }
        if let Some(subtitles) = &mut self.subtitles {
            subtitles.paint(at, &self.style, &mut canvas);
        }
        let left = self.seconds - at;
        if left < self.fade_out {
            let colour = self.style.background.repeat(canvas.width * canvas.height);
            canvas.blend(&colour, 256 - (left / self.fade_out * 256.0) as u16);
        }
        canvas.into_picture().map(Some)
    }
}

/// Makes the film at `path`; its ending says the form. `watch` is called before every frame and may stop the work. Frames are painted
/// on the caller's thread and coded on another.
///
/// # Errors
/// [`MediaError::Timeline`], what reading and writing say, [`MediaError::Cancelled`]; no file is left behind then.
pub fn render(
    timeline: &Timeline,
    base: &Path,
    path: &Path,
    origin: Origin<'_>,
    watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Written, MediaError> {
    let format = FilmFormat::from_path(path)?;
    let mut compositor = Compositor::new(timeline, base)?;
    let mut options = FilmOptions::new(compositor.rate);
    options.codec = timeline.codec;
    options.audio = compositor.sound(timeline, base)?;
    let mut writer = FilmWriter::create(path, format, options)?;
    let total = compositor.frames();
    std::thread::scope(|scope| {
        let (painted, coming) = mpsc::sync_channel::<Picture>(AHEAD);
        let coder = scope.spawn(move || {
            coming
                .into_iter()
                .try_for_each(|frame| writer.push(&frame))
                .map(|()| writer)
        });
        let done = paint(&mut compositor, total, &painted, watch);
        drop(painted);
        let writer = coder
            .join()
            .map_err(|_| MediaError::encode_film("picture", "the encoder broke down"))?;
        // What the coder says comes first: it is why painting ended.
        let writer = writer?;
        done?;
        writer.finish(origin)
    })
}

fn paint(
    compositor: &mut Compositor,
    total: u64,
    painted: &mpsc::SyncSender<Picture>,
    watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<(), MediaError> {
    for done in 0.. {
        if watch(Step { done, total }).is_break() {
            return Err(MediaError::Cancelled);
        }
        let Some(frame) = compositor.next_frame()? else {
            break;
        };
        if painted.send(frame).is_err() {
            break;
        }
    }
    Ok(())
}
