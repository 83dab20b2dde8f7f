//! Writing films, frame by frame.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::aac::{AacEncoder, PACKET, PRIMING};
use super::access::Access;
use super::av1::Av1Encoder;
use super::clip::{Clip, same_size};
use super::format::FilmFormat;
use super::h264::FrameEncoder;
use super::mp4::{Muxer, PictureConfig, PictureForm, SoundForm};
use super::rate::Rate;
use super::read::film_limits;
use super::webp::WebPAnimation;
use super::yuv::Planes;
use crate::audio::Audio;
use crate::error::{MediaError, size};
use crate::file::{folder, write_file};
use crate::format::Format;
use crate::label::{Origin, mp4_box};
use crate::picture::Picture;
use crate::write::{Frame, encode, encode_animation};

/// Seconds of pictures between two pieces of sound in the file.
const PIECE: f64 = 0.5;

/// How the pictures of an MP4 file are coded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264, which everything plays.
    #[default]
    H264,
    /// AV1: smaller, and slow to write.
    Av1,
}

/// How a film is written.
#[derive(Clone, Debug)]
pub struct FilmOptions {
    /// Frames a second.
    pub rate: Rate,
    /// 1 to 100, for MP4 and WebP: the lower, the smaller and the further from the pictures; WebP loses nothing at 100.
    pub quality: u8,
    /// How pictures are coded, MP4 only.
    pub codec: Codec,
    /// What is heard, MP4 only: one or two channels at a rate that AAC has. It is cut where the pictures end.
    pub audio: Option<Audio>,
}

impl FilmOptions {
    /// What is hardly told from the pictures.
    pub const QUALITY: u8 = 80;

    /// Without sound, at [`FilmOptions::QUALITY`].
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            quality: Self::QUALITY,
            codec: Codec::default(),
            audio: None,
        }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Written {
    /// Frames.
    pub frames: u64,
    /// How long they last.
    pub seconds: f64,
    /// Width of the film in pixels.
    pub width: u32,
    /// Height of the film in pixels.
    pub height: u32,
}

/// Writes a film frame by frame. Nothing is seen at its path before [`FilmWriter::finish`]; dropped before, it leaves nothing
/// behind. MP4 and folders hold one frame at a time in memory, WebP the coded ones, GIF and PNG all.
pub struct FilmWriter {
    path: PathBuf,
    format: FilmFormat,
    rate: Rate,
    quality: u8,
    size: Option<(u32, u32)>,
    frames: u64,
    sink: Sink,
}

enum Sink {
    Mp4(Box<Mp4Sink>),
    Animation(Vec<Frame>),
    WebP(Option<WebPAnimation>),
    Folder(tempfile::TempDir),
}

struct Mp4Sink {
    muxer: Muxer,
    codec: Codec,
    encoder: Option<Coder>,
    sound: Option<AacEncoder>,
    /// Packets of sound that were written.
    packets: usize,
}

impl FilmWriter {
    /// Begins a film at `path`.
    ///
    /// # Errors
    /// [`MediaError::Io`]; [`MediaError::Size`] for a quality or sound that cannot be, or a rate beyond [`FilmFormat::fastest`]; [`MediaError::FilmUnsupported`]
    /// for sound or a codec in a form that has none.
    pub fn create(
        path: &Path,
        format: FilmFormat,
        options: FilmOptions,
    ) -> Result<Self, MediaError> {
        let FilmOptions {
            rate,
            quality,
            codec,
            audio,
        } = options;
        size(
            (1..=100).contains(&quality),
            "the quality",
            quality,
            "1 to 100",
        )?;
        let (most, per_second) = (format.fastest(), rate.per_second());
        size(
            per_second <= f64::from(most),
            "the frame rate",
            rate,
            format!("at most {most} a second as {format}: players show others slowly"),
        )?;
        if audio.is_some() && format != FilmFormat::Mp4 {
            return Err(MediaError::film_unsupported(format!(
                "{format} has no sound; use .mp4"
            )));
        }
        if codec != Codec::H264 && format != FilmFormat::Mp4 {
            return Err(MediaError::film_unsupported(format!(
                "{format} has no choice of codecs; use .mp4"
            )));
        }
        let sink = match format {
            FilmFormat::Mp4 => Sink::Mp4(Box::new(Mp4Sink {
                sound: audio.map(AacEncoder::new).transpose()?,
                muxer: Muxer::new(path)?,
                codec,
                encoder: None,
                packets: 0,
            })),
            FilmFormat::Gif | FilmFormat::Apng => Sink::Animation(Vec::new()),
            FilmFormat::WebP => Sink::WebP(None),
            FilmFormat::Frames => Sink::Folder(empty_folder(path)?),
        };
        Ok(Self {
            path: path.to_owned(),
            format,
            rate,
            quality,
            size: None,
            frames: 0,
            sink,
        })
    }

    /// One more frame, of the size of the first. In MP4 odd sides grow by one pixel and transparency lies over white.
    ///
    /// # Errors
    /// [`MediaError::Size`] for another size than the first one's, or one that the form cannot have; [`MediaError::Io`],
    /// [`MediaError::EncodeFilm`], [`MediaError::TooLarge`] for more frames than a GIF or PNG should have.
    pub fn push(&mut self, picture: &Picture) -> Result<(), MediaError> {
        let (width, height) = (picture.width(), picture.height());
        same_size(*self.size.get_or_insert((width, height)), picture)?;
        let index = self.frames;
        let shown = self.shown(index);
        match &mut self.sink {
            Sink::Mp4(sink) => sink.push(picture, self.rate, self.quality)?,
            Sink::Animation(frames) => {
                let most = film_limits().pixels;
                if (frames.len() as u64 + 1) * u64::from(width) * u64::from(height) > most {
                    return Err(MediaError::TooLarge {
                        got: format!("more than {} frames of {width}x{height}", frames.len()),
                        allowed: format!("{most} pixels as {}", self.format),
                    });
                }
                frames.push(Frame {
                    picture: picture.clone(),
                    delay: shown,
                });
            }
            Sink::WebP(animation) => animation
                .get_or_insert_with(|| WebPAnimation::new(width, height, self.quality))
                .push(picture, shown)?,
            Sink::Folder(folder) => {
                let bytes = encode(picture, Format::Png, Origin::Collected)?;
                write_file(&folder.path().join(frame_name(index)), &bytes)?;
            }
        }
        self.frames += 1;
        Ok(())
    }

    /// How long frame `index` is shown, in the form's steps of time; rounding does not add up.
    fn shown(&self, index: u64) -> Duration {
        let step = if self.format == FilmFormat::Gif {
            100.0
        } else {
            1000.0
        };
        let at = |index| (self.rate.time_of(index) * step).round() as u64;
        Duration::from_millis((at(index + 1) - at(index)).max(1) * (1000.0 / step) as u64)
    }

    /// Puts the film into its place. Of a folder only the first picture carries the label.
    ///
    /// # Errors
    /// [`MediaError::Size`] if there were no frames, [`MediaError::RecipeTooLong`], [`MediaError::Io`],
    /// [`MediaError::EncodeFilm`]; nothing is left behind then.
    pub fn finish(self, origin: Origin<'_>) -> Result<Written, MediaError> {
        let path = self.path.as_path();
        let Some((width, height)) = self.size else {
            return size(false, "the number of frames", 0, "at least 1")
                .and(Err(MediaError::UnknownFilm));
        };
        let mut shape = (width, height);
        match self.sink {
            Sink::Mp4(sink) => {
                shape = (width.next_multiple_of(2), height.next_multiple_of(2));
                sink.finish(shape, self.rate, origin)?;
            }
            Sink::Animation(frames) => {
                let format = if self.format == FilmFormat::Gif {
                    Format::Gif
                } else {
                    Format::Png
                };
                write_file(path, &encode_animation(&frames, format, origin)?)?;
            }
            Sink::WebP(animation) => {
                if let Some(animation) = animation {
                    write_file(path, &animation.finish(origin)?)?;
                }
            }
            Sink::Folder(folder) => place_folder(folder, path, origin)?,
        }
        Ok(Written {
            frames: self.frames,
            seconds: self.rate.time_of(self.frames),
            width: shape.0,
            height: shape.1,
        })
    }
}

/// One of the codecs at work.
enum Coder {
    H264(Box<FrameEncoder>),
    Av1(Box<Av1Encoder>),
}

impl Coder {
    fn push(&mut self, planes: &Planes) -> Result<Vec<Access>, MediaError> {
        match self {
            Self::H264(encoder) => Ok(vec![encoder.encode(planes)?]),
            Self::Av1(encoder) => encoder.push(planes),
        }
    }

    fn finish(&mut self) -> Result<Vec<Access>, MediaError> {
        match self {
            Self::H264(_) => Ok(Vec::new()),
            Self::Av1(encoder) => encoder.finish(),
        }
    }

    fn config(&self) -> PictureConfig {
        match self {
            Self::H264(encoder) => PictureConfig::H264(encoder.config()),
            Self::Av1(encoder) => PictureConfig::Av1(encoder.config()),
        }
    }
}

impl Mp4Sink {
    fn push(&mut self, picture: &Picture, rate: Rate, quality: u8) -> Result<(), MediaError> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => {
                let [width, height] = [picture.width(), picture.height()];
                let (width, height) = (width.next_multiple_of(2), height.next_multiple_of(2));
                none.insert(match self.codec {
                    Codec::H264 => {
                        Coder::H264(Box::new(FrameEncoder::new(width, height, rate, quality)?))
                    }
                    Codec::Av1 => {
                        Coder::Av1(Box::new(Av1Encoder::new(width, height, rate, quality)?))
                    }
                })
            }
        };
        let coded = match picture.layout() {
            crate::picture::Layout::Rgb => encoder.push(&Planes::of(picture))?,
            crate::picture::Layout::Rgba => encoder.push(&Planes::of(&picture.over([255; 3])))?,
        };
        self.put(coded, rate)
    }

    fn put(&mut self, coded: Vec<Access>, rate: Rate) -> Result<(), MediaError> {
        let piece = rate.frames_in(PIECE).max(1);
        for access in coded {
            self.muxer.picture(&access.data, access.key)?;
            if self.muxer.pictures().is_multiple_of(piece) {
                self.sound_until(rate.time_of(self.muxer.pictures()))?;
            }
        }
        Ok(())
    }

    /// Packets as far as they are heard before `seconds`.
    fn sound_until(&mut self, seconds: f64) -> Result<(), MediaError> {
        let Some(sound) = &mut self.sound else {
            return Ok(());
        };
        let moments = (seconds * f64::from(sound.rate())).ceil() as usize;
        while self.packets * PACKET < moments.min(sound.moments()) + PRIMING {
            let Some(packet) = sound.next_packet()? else {
                break;
            };
            self.muxer.sound(&packet)?;
            self.packets += 1;
        }
        Ok(())
    }

    fn finish(
        mut self: Box<Self>,
        size: (u32, u32),
        rate: Rate,
        origin: Origin<'_>,
    ) -> Result<(), MediaError> {
        let label = mp4_box(origin)?;
        let Some(mut encoder) = self.encoder.take() else {
            return Err(MediaError::encode_film("picture", "there is none"));
        };
        self.put(encoder.finish()?, rate)?;
        let seconds = rate.time_of(self.muxer.pictures());
        self.sound_until(seconds)?;
        let pictures = PictureForm {
            width: size.0,
            height: size.1,
            rate,
            config: encoder.config(),
        };
        let sound = self.sound.as_ref().filter(|sound| sound.moments() > 0);
        let sound = sound.map(|sound| SoundForm {
            rate: sound.rate(),
            channels: sound.channels(),
            config: sound.config(),
            packet: PACKET as u32,
            priming: PRIMING as u32,
            moments: (sound.moments() as u64)
                .min((seconds * f64::from(sound.rate())).round() as u64),
        });
        self.muxer.finish(&pictures, sound.as_ref(), &label)?;
        Ok(())
    }
}

fn frame_name(index: u64) -> String {
    format!("frame-{:05}.png", index + 1)
}

/// A folder beside `path` that will be renamed to it.
fn empty_folder(path: &Path) -> Result<tempfile::TempDir, MediaError> {
    let taken =
        std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) || path.is_file();
    if taken {
        let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(MediaError::io(path, "create", source));
    }
    tempfile::Builder::new()
        .prefix(".frames")
        .tempdir_in(folder(path))
        .map_err(|e| MediaError::io(path, "create", e))
}

fn place_folder(
    from: tempfile::TempDir,
    path: &Path,
    origin: Origin<'_>,
) -> Result<(), MediaError> {
    let io = |e| MediaError::io(path, "replace", e);
    let first = from.path().join(frame_name(0));
    let picture = crate::read::read(&first, &film_limits())?;
    write_file(&first, &encode(&picture, Format::Png, origin)?)?;
    if path.is_dir() {
        std::fs::remove_dir(path).map_err(io)?;
    }
    std::fs::rename(from.path(), path).map_err(io)?;
    // It is no longer where it would be removed from.
    let _ = from.keep();
    Ok(())
}

/// Writes a whole clip, with its sound where the form has one.
///
/// # Errors
/// As [`FilmWriter::create`], [`FilmWriter::push`], [`FilmWriter::finish`].
pub fn write_clip(
    path: &Path,
    clip: &Clip,
    format: FilmFormat,
    quality: u8,
    origin: Origin<'_>,
) -> Result<Written, MediaError> {
    let options = FilmOptions {
        quality,
        audio: clip.audio().cloned(),
        ..FilmOptions::new(clip.rate())
    };
    let mut writer = FilmWriter::create(path, format, options)?;
    for frame in clip.frames() {
        writer.push(frame)?;
    }
    writer.finish(origin)
}
