//! Reading films, frame by frame or whole.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::aac::AacDecoder;
use super::clip::Clip;
use super::folder::read_folder;
use super::h264::{AvcConfig, FrameDecoder};
use super::mp4::{Movie, SoundTrack, Track, is_mp4};
use super::rate::Rate;
use crate::audio::{Audio, SoundLimits};
use crate::error::MediaError;
use crate::format::Format;
use crate::picture::Picture;
use crate::read::{Limits, decode_frames};
use crate::write::Frame;

/// What is read of films: files up to 2 GiB, 400 million pixels in all frames of a clip in memory (15 seconds of 720p, 1.2 GB;
/// frame by frame only one counts), 200 000 frames.
pub const fn film_limits() -> Limits {
    Limits {
        file_bytes: 2 << 30,
        pixels: 400_000_000,
        frames: 200_000,
    }
}

/// A frame and when it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The frame.
    pub picture: Picture,
    /// Seconds from the start of the film.
    pub at: f64,
}

/// Reads a film frame by frame, in the order in which frames are shown. Of MP4 only a few frames are in memory at a time.
pub struct FilmReader {
    path: PathBuf,
    rate: Rate,
    size: (u32, u32),
    seconds: f64,
    source: Source,
    limits: Limits,
}

enum Source {
    /// Frames that are all there, and the next.
    Frames(Clip, usize),
    Mp4(Box<Mp4Source>),
}

struct Mp4Source {
    file: BufReader<File>,
    movie: Movie,
    decoder: FrameDecoder,
    /// The next sample to decode.
    next: usize,
    times: Times,
    /// How many frames came out of the decoder.
    decoded: usize,
    ready: VecDeque<Picture>,
}

/// When the frames of a track are shown.
pub(super) struct Times {
    /// In the order in which they are shown, in ticks from where the track begins to be played.
    ticks: Vec<i64>,
    /// Seconds from there to the end.
    pub end: f64,
    /// Seconds between the film's beginning and the track's. A film with sound begins with whichever of them is first; one without
    /// with its first frame.
    pub delay: f64,
}

impl Times {
    pub(super) fn of(track: &Track, heard: bool) -> Result<Self, MediaError> {
        let clock = f64::from(track.clock);
        let start = track.edit.start;
        let shown = track.samples.iter();
        let mut ticks: Vec<i64> = shown.map(|sample| sample.time - start).collect();
        ticks.sort_unstable();
        let ends = track.samples.iter();
        let last = ends.map(|sample| sample.time - start + i64::from(sample.ticks));
        let last = last.max().unwrap_or(0) as f64 / clock;
        let end = track.edit.seconds.map_or(last, |seconds| last.min(seconds));
        let first = ticks.first().map_or(0.0, |&first| first.max(0) as f64) / clock;
        if end <= first {
            return Err(MediaError::damaged_film("none of its frames is shown"));
        }
        let delay = if heard { track.edit.pause } else { -first };
        Ok(Self { ticks, end, delay })
    }
}

impl FilmReader {
    /// Opens a file or a folder of pictures (PNG, JPEG, WebP; in the order of their names, 8 frames a second unless
    /// `rate` says otherwise). `rate` is for folders only; files say theirs.
    ///
    /// # Errors
    /// [`MediaError::Io`], or [`MediaError::InFile`] around [`MediaError::UnknownFilm`], [`MediaError::DamagedFilm`],
    /// [`MediaError::FilmUnsupported`], [`MediaError::TooLarge`] or what pictures have.
    pub fn open(path: &Path, limits: Limits, rate: Option<Rate>) -> Result<Self, MediaError> {
        let found = std::fs::metadata(path).map_err(|e| MediaError::io(path, "read", e))?;
        if found.is_dir() {
            let clip = read_folder(path, &limits, rate)?;
            return Ok(Self::of_clip(path, clip, limits));
        }
        if found.len() > limits.file_bytes {
            let error = MediaError::TooLarge {
                got: format!("{} bytes", found.len()),
                allowed: format!("{} bytes", limits.file_bytes),
            };
            return Err(error.in_file(path));
        }
        let mut file = File::open(path).map_err(|e| MediaError::io(path, "read", e))?;
        let mut start = Vec::new();
        file.by_ref()
            .take(16)
            .read_to_end(&mut start)
            .map_err(|e| MediaError::io(path, "read", e))?;
        if is_mp4(&start) {
            return Self::open_mp4(path, file, limits).map_err(|e| e.in_file(path));
        }
        if Format::of_bytes(&start).is_none() {
            return Err(MediaError::UnknownFilm.in_file(path));
        }
        let bytes = std::fs::read(path).map_err(|e| MediaError::io(path, "read", e))?;
        let clip = decode_frames(&bytes, &limits)
            .and_then(|frames| Clip::of_animation(frames, limits.frames));
        Ok(Self::of_clip(
            path,
            clip.map_err(|e| e.in_file(path))?,
            limits,
        ))
    }

    fn of_clip(path: &Path, clip: Clip, limits: Limits) -> Self {
        Self {
            path: path.to_owned(),
            rate: clip.rate(),
            size: (clip.width(), clip.height()),
            seconds: clip.seconds(),
            source: Source::Frames(clip, 0),
            limits,
        }
    }

    fn open_mp4(path: &Path, file: File, limits: Limits) -> Result<Self, MediaError> {
        let mut file = BufReader::with_capacity(1 << 18, file);
        let movie = Movie::read(&mut file, &limits)?;
        let record = movie.config.as_ref().map_err(|codec| {
            MediaError::film_unsupported(format!(
                "its pictures are {codec:?}, and only H.264 (avc1) is read"
            ))
        })?;
        let config = AvcConfig::parse(record, &limits)?;
        let track = &movie.pictures;
        let turn = track.turn;
        let times = Times::of(track, movie.sound.is_some())?;
        Ok(Self {
            path: path.to_owned(),
            rate: rate_of(track)?,
            size: turn.size(config.size()),
            seconds: times.end + times.delay,
            source: Source::Mp4(Box::new(Mp4Source {
                file,
                decoder: FrameDecoder::new(config, limits)?,
                movie,
                next: 0,
                times,
                decoded: 0,
                ready: VecDeque::new(),
            })),
            limits,
        })
    }

    /// Frames a second; of films whose frames are shown unevenly the mean.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.size.0
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.size.1
    }

    /// How long the pictures last, as the file says.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Whether there is a sound to ask for.
    pub fn has_audio(&self) -> bool {
        matches!(&self.source, Source::Mp4(source) if source.movie.sound.is_some())
    }

    /// The next frame; none behind the last.
    ///
    /// # Errors
    /// [`MediaError::InFile`] around [`MediaError::DamagedFilm`].
    pub fn next_frame(&mut self) -> Result<Option<Shown>, MediaError> {
        match &mut self.source {
            Source::Frames(clip, next) => {
                let shown = clip.frames().get(*next).map(|picture| Shown {
                    picture: picture.clone(),
                    at: self.rate.time_of(*next as u64),
                });
                *next += 1;
                Ok(shown)
            }
            Source::Mp4(source) => source.next_frame().map_err(|e| e.in_file(&self.path)),
        }
    }

    /// Goes back to the first frame.
    ///
    /// # Errors
    /// As [`FilmReader::open`].
    pub fn rewind(&mut self) -> Result<(), MediaError> {
        match &mut self.source {
            Source::Frames(_, next) => *next = 0,
            Source::Mp4(_) => *self = Self::open(&self.path, self.limits, None)?,
        }
        Ok(())
    }

    /// The whole sound, in step with the pictures; none if there is none.
    ///
    /// # Errors
    /// [`MediaError::InFile`] around [`MediaError::FilmUnsupported`] for another codec than AAC-LC, [`MediaError::DamagedSound`],
    /// [`MediaError::DamagedFilm`].
    pub fn audio(&mut self, limits: SoundLimits) -> Result<Option<Audio>, MediaError> {
        let Source::Mp4(source) = &mut self.source else {
            return Ok(None);
        };
        let Some(sound) = &source.movie.sound else {
            return Ok(None);
        };
        read_sound(&mut source.file, sound, limits).map_err(|e| e.in_file(&self.path))
    }
}

impl Mp4Source {
    fn next_frame(&mut self) -> Result<Option<Shown>, MediaError> {
        loop {
            let Some(picture) = self.decode()? else {
                return Ok(None);
            };
            let Some(&time) = self.times.ticks.get(self.decoded) else {
                return Ok(None);
            };
            let next = self.times.ticks.get(self.decoded + 1).copied();
            self.decoded += 1;
            let clock = f64::from(self.movie.pictures.clock);
            // What is over when the film begins, and what begins when it is over, is not shown.
            if next.is_some_and(|next| next <= 0) {
                continue;
            }
            let at = (time.max(0)) as f64 / clock;
            if at > self.times.end - 0.5 / clock {
                return Ok(None);
            }
            return Ok(Some(Shown {
                picture: self.movie.pictures.turn.apply(picture)?,
                at: at + self.times.delay,
            }));
        }
    }

    /// The next picture out of the decoder.
    fn decode(&mut self) -> Result<Option<Picture>, MediaError> {
        while self.ready.is_empty() {
            let Some(sample) = self.movie.pictures.samples.get(self.next) else {
                if self.next == self.movie.pictures.samples.len() {
                    self.next += 1;
                    self.ready.extend(self.decoder.finish()?);
                    continue;
                }
                break;
            };
            self.next += 1;
            let data = read_sample(&mut self.file, sample.at, sample.size)?;
            self.ready.extend(self.decoder.push(&data)?);
        }
        if self.ready.is_empty() && self.decoded == 0 {
            return Err(MediaError::damaged_film("no frame of it can be decoded"));
        }
        Ok(self.ready.pop_front())
    }
}

fn read_sample(file: &mut BufReader<File>, at: u64, size: u32) -> Result<Vec<u8>, MediaError> {
    let mut data = vec![0; size as usize];
    // Samples follow one another, so that most of them lie in the buffer.
    let here = file.stream_position().map_err(MediaError::damaged_film)?;
    let step = i64::try_from(at)
        .ok()
        .and_then(|at| at.checked_sub(here as i64));
    match step {
        Some(step) => file.seek_relative(step),
        None => file.seek(SeekFrom::Start(at)).map(|_| ()),
    }
    .and_then(|()| file.read_exact(&mut data))
    .map_err(MediaError::damaged_film)?;
    Ok(data)
}

/// The rate of a track: exact where all frames last as long, but for the last.
pub(super) fn rate_of(track: &Track) -> Result<Rate, MediaError> {
    let samples = &track.samples;
    let ticks: u64 = samples.iter().map(|sample| u64::from(sample.ticks)).sum();
    let Some(first) = samples.first().map(|sample| sample.ticks) else {
        return Err(MediaError::damaged_film("it has no frames"));
    };
    let even = samples[..samples.len() - 1]
        .iter()
        .all(|sample| sample.ticks == first)
        && first > 0;
    let rate = if even {
        Rate::new(track.clock, first)
    } else {
        let seconds = ticks as f64 / f64::from(track.clock) / samples.len() as f64;
        Rate::of_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    };
    rate.map_err(MediaError::damaged_film)
}

fn read_sound(
    file: &mut BufReader<File>,
    sound: &SoundTrack,
    limits: SoundLimits,
) -> Result<Option<Audio>, MediaError> {
    let config = sound.config.as_ref().map_err(|codec| {
        MediaError::film_unsupported(format!(
            "its sound is {codec:?}, and only AAC (mp4a) is read"
        ))
    })?;
    let mut decoder = AacDecoder::new(config, limits.samples)?;
    for sample in &sound.track.samples {
        decoder.push(&read_sample(file, sample.at, sample.size)?)?;
    }
    let track = &sound.track;
    let clock = f64::from(track.clock);
    // Times of the track in moments of the sound.
    let moments = |seconds: f64| {
        (seconds.max(0.0) * f64::from(decoder.rate().unwrap_or(track.clock))).round() as usize
    };
    let pause = moments(track.edit.pause);
    let skip = moments(track.edit.start as f64 / clock);
    let count = track.edit.seconds.map_or(usize::MAX, moments);
    decoder.finish(pause, skip, count)
}

/// Reads a whole film into memory, with its sound. Where that begins before the pictures, the first of them stands until they do.
/// `rate` is for folders, as in [`FilmReader::open`].
///
/// # Errors
/// As [`FilmReader::open`], [`FilmReader::next_frame`], [`FilmReader::audio`]; [`MediaError::TooLarge`] where the frames
/// together have too many pixels.
pub fn read_clip(path: &Path, limits: Limits, rate: Option<Rate>) -> Result<Clip, MediaError> {
    let mut reader = FilmReader::open(path, limits, rate)?;
    let audio = reader.audio(SoundLimits::default())?;
    if let Source::Frames(clip, _) = reader.source {
        return Ok(clip);
    }
    let clip = collect(&mut reader).map_err(|e| e.in_file(path))?;
    Ok(clip.with_audio(audio))
}

/// The frames that are left, at a constant rate.
fn collect(reader: &mut FilmReader) -> Result<Clip, MediaError> {
    let (rate, limits) = (reader.rate(), reader.limits);
    let pixels = u64::from(reader.width()) * u64::from(reader.height());
    let fits = |count: u64| {
        if count.saturating_mul(pixels) <= limits.pixels && count <= limits.frames as u64 {
            return Ok(());
        }
        Err(MediaError::TooLarge {
            got: format!("{count} or more frames of {pixels} pixels"),
            allowed: format!("{} pixels in {} frames", limits.pixels, limits.frames),
        })
    };
    let (mut frames, mut times) = (Vec::new(), Vec::new());
    while let Some(shown) = reader.next_frame()? {
        fits(frames.len() as u64 + 1)?;
        times.push(shown.at);
        frames.push(shown.picture);
    }
    let first = times.first().copied().unwrap_or(0.0);
    let gap = |(i, at): (u64, &f64)| (at - first - rate.time_of(i)).abs() * rate.per_second();
    if (0..).zip(&times).all(|shown| gap(shown) < 0.1) {
        let held = rate.frames_in(first);
        fits(held.saturating_add(frames.len() as u64))?;
        if let Some(still) = frames.first().cloned() {
            frames.splice(0..0, std::iter::repeat_n(still, held as usize));
        }
        return Clip::new(frames, rate, None);
    }
    let begins = std::iter::once(&0.0).chain(times.iter().skip(1));
    let ends = times.iter().skip(1).chain(std::iter::once(&reader.seconds));
    let timed = frames
        .into_iter()
        .zip(begins.zip(ends))
        .map(|(picture, (at, end))| {
            let seconds = (end - at).max(0.001);
            let delay = Duration::try_from_secs_f64(seconds).map_err(MediaError::damaged_film)?;
            Ok(Frame { picture, delay })
        });
    Clip::of_frames(timed.collect::<Result<_, MediaError>>()?, limits.frames)
}
