//! Film: models by name, files that go in, files that come out.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub use medley_media::audio::Audio;
use medley_media::audio::{self, SoundLimits};
pub use medley_media::film::timeline::Timeline;
pub use medley_media::film::{Clip, FilmFormat, Rate};
use medley_media::film::{Codec, FilmOptions, FilmWriter, film_limits, read_clip, timeline};
use medley_media::{Filter, Format, MediaError, Origin, Picture, grid};
pub use medley_pipelines::video::{
    Video, VideoGenerator, VideoInputs, VideoModel, complete, improve, load, validate,
};
use medley_types::{InputFile, Medium, Request, VideoCodec, VideoRequest};
use serde_json::{Value, json};

use crate::image::{hash_file, read_input, words_of};
use crate::store::Store;
use crate::{EngineError, Result};

/// Rate that a sound is brought to whose own rate films do not have.
const SOUND_RATE: u32 = 48_000;
/// Least and largest rate of a sound in a film.
const SOUND_RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// Refuses a model of the catalog that makes something else, before it is fetched.
///
/// # Errors
/// [`EngineError::WrongMedium`].
pub fn check_medium(store: &Store, model: &str) -> Result<()> {
    match store.catalog().get(model) {
        Some(entry) if entry.medium != Medium::Video => Err(EngineError::WrongMedium {
            name: model.to_owned(),
            medium: format!("{:?}", entry.medium).to_lowercase(),
            wanted: "films",
        }),
        _ => Ok(()),
    }
}

/// Refuses a file for a film before it is made.
///
/// # Errors
/// [`EngineError::Media`] for an ending that films are not written to, [`EngineError::Output`] for sound in a form that has
/// none, [`EngineError::Io`] for a folder that cannot be written to.
pub fn check_output(path: &Path, sound: bool) -> Result<FilmFormat> {
    let format = FilmFormat::from_path(path)?;
    if sound && format != FilmFormat::Mp4 {
        return Err(EngineError::Output {
            path: path.to_owned(),
            reason: "sound goes into .mp4 alone".into(),
        });
    }
    if format != FilmFormat::Frames {
        crate::work_file::check_writable(path)?;
    }
    Ok(format)
}

/// The file that a request without one is written to: words of the prompt and the seed.
pub fn default_output(request: &VideoRequest) -> PathBuf {
    let name = words_of(&request.prompt).unwrap_or_else(|| "clip".into());
    PathBuf::from(format!("{name}-{}.mp4", request.seed))
}

/// A picture, as a clip of one frame, or a clip that a request starts from, with what the recipe keeps of it.
///
/// # Errors
/// [`EngineError::Io`], and [`EngineError::Media`] for what is neither, is damaged, or is too large.
pub fn read_init(path: &Path) -> Result<(Clip, InputFile)> {
    if Format::from_path(path).is_ok() && FilmFormat::from_path(path).is_err() {
        let (picture, file) = read_input(path)?;
        return Ok((Clip::new(vec![picture], Rate::new(1, 1)?, None)?, file));
    }
    let clip = read_clip(path, film_limits(), None)?;
    let file = match path.is_dir() {
        true => InputFile {
            sha256: String::new(),
        },
        false => hash_file(path)?,
    };
    Ok((clip, file))
}

/// The sound of a film: one or two channels at a rate that films have.
///
/// # Errors
/// [`EngineError::Io`], and [`EngineError::Media`] for what is no sound, is damaged, or is too long.
pub fn read_sound(path: &Path) -> Result<(Audio, InputFile)> {
    let mut sound = audio::read(path, SoundLimits::default())?;
    if sound.channels() > 2 {
        sound = sound.to_mono();
    }
    if !SOUND_RATES.contains(&sound.rate()) {
        sound = sound.resampled(SOUND_RATE)?;
    }
    Ok((sound, hash_file(path)?))
}

/// A film as a file, described.
fn described(path: &Path, format: FilmFormat, written: medley_media::film::Written) -> Value {
    json!({
        "path": path,
        "mime": format.mime(),
        "width": written.width,
        "height": written.height,
        "frames": written.frames,
        "seconds": written.seconds,
    })
}

/// Writes a clip, whole or not at all, with its sound where the form has one and its recipe where one is given, and
/// describes the file.
///
/// # Errors
/// [`EngineError::Media`].
pub fn write(path: &Path, clip: &Clip, recipe: Option<&VideoRequest>) -> Result<Value> {
    let codec = recipe.and_then(|request| request.codec);
    write_as(path, clip, recipe, codec)
}

/// The same in another codec than the recipe says, or without a recipe.
///
/// # Errors
/// As [`write()`].
pub fn write_as(
    path: &Path,
    clip: &Clip,
    recipe: Option<&VideoRequest>,
    codec: Option<VideoCodec>,
) -> Result<Value> {
    let recipe = recipe.map(|request| json!(Request::Video(request.clone())).to_string());
    let origin = Origin::Generated {
        recipe: recipe.as_deref(),
    };
    let format = FilmFormat::from_path(path)?;
    let options = FilmOptions {
        audio: match format {
            FilmFormat::Mp4 => clip.audio().cloned(),
            _ => None,
        },
        codec: codec_of(codec),
        ..FilmOptions::new(clip.rate())
    };
    let mut writer = FilmWriter::create(path, format, options)?;
    for frame in clip.frames() {
        writer.push(frame)?;
    }
    Ok(described(path, format, writer.finish(origin)?))
}

/// The codec of the library of films.
pub fn codec_of(codec: Option<VideoCodec>) -> Codec {
    match codec {
        Some(VideoCodec::Av1) => Codec::Av1,
        Some(VideoCodec::H264) | None => Codec::H264,
    }
}

/// Fails for a codec where the file is no MP4.
///
/// # Errors
/// [`EngineError::Output`].
pub fn check_codec(path: &Path, codec: Option<VideoCodec>) -> Result<()> {
    if codec.is_none() || FilmFormat::from_path(path)? == FilmFormat::Mp4 {
        return Ok(());
    }
    Err(EngineError::Output {
        path: path.to_owned(),
        reason: "a codec is chosen for .mp4 alone".into(),
    })
}

/// A clip as the bytes of an MP4 file, with its recipe.
///
/// # Errors
/// [`EngineError::Media`], [`EngineError::Io`] where there is no room for a temporary file.
pub fn encoded(clip: &Clip, recipe: &VideoRequest) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().map_err(EngineError::io("make", &std::env::temp_dir()))?;
    let path = folder.path().join("clip.mp4");
    write(&path, clip, Some(recipe))?;
    std::fs::read(&path).map_err(EngineError::io("read", &path))
}

/// A film, an animation or a picture in memory, as a clip.
///
/// # Errors
/// [`EngineError::Media`] for what is none, [`EngineError::Io`] where there is no room for a temporary file.
pub fn clip_of(bytes: &[u8]) -> Result<Clip> {
    if bytes.get(4..8) != Some(b"ftyp") {
        let frames = medley_media::decode_frames(bytes, &film_limits())?;
        return Ok(Clip::of_animation(frames, film_limits().frames)?);
    }
    let folder = tempfile::tempdir().map_err(EngineError::io("make", &std::env::temp_dir()))?;
    let path = folder.path().join("clip.mp4");
    std::fs::write(&path, bytes).map_err(EngineError::io("write", &path))?;
    read_clip(&path, film_limits(), None).map_err(|error| match error {
        // Where it lay for a moment is nobody's business.
        MediaError::InFile { source, .. } => (*source).into(),
        error => error.into(),
    })
}

/// Frames of a clip evenly over its length, side by side in rows.
///
/// # Errors
/// [`EngineError::Media`].
pub fn spritesheet(clip: &Clip) -> Result<Picture> {
    /// The most frames, those in a row, and the longest side of one.
    const FRAMES: usize = 30;
    const COLUMNS: usize = 6;
    const SIDE: u32 = 192;
    let count = clip.frames().len().min(FRAMES);
    let (width, height) = (clip.width(), clip.height());
    let scale = (f64::from(SIDE) / f64::from(width.max(height))).min(1.0);
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let frames = clip.sampled(count)?.into_frames();
    let small: std::result::Result<Vec<Picture>, MediaError> = frames
        .iter()
        .map(|frame| {
            frame
                .over([255; 3])
                .resize(side(width), side(height), Filter::Lanczos)
        })
        .collect();
    Ok(grid(&small?, COLUMNS, 0, [255; 3])?)
}

/// A timeline that is committed to a file of JSON, checked with the files that it names.
///
/// # Errors
/// [`EngineError::Io`], and [`EngineError::Media`] with what is wrong in it.
pub fn read_timeline(path: &Path) -> Result<Timeline> {
    const MOST: u64 = 16 << 20;
    let bytes = crate::image::read_limited(path, MOST)?;
    let text = String::from_utf8(bytes).map_err(|_| EngineError::Output {
        path: path.to_owned(),
        reason: "it is no UTF-8 text".into(),
    })?;
    let in_file = |source: MediaError| MediaError::InFile {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let timeline = Timeline::parse(&text).map_err(in_file)?;
    timeline.check(base_of(path)).map_err(in_file)?;
    Ok(timeline)
}

/// The folder that the files of a timeline are looked for in: its own.
fn base_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Renders the timeline of the file at `from` and describes the film. `watch` is told of frames done, of how many, and says
/// whether to go on.
///
/// # Errors
/// [`EngineError::Media`]; no file is left behind then.
pub fn render(
    timeline: &Timeline,
    from: &Path,
    path: &Path,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Value> {
    let origin = Origin::Generated { recipe: None };
    let mut step = |step: timeline::Step| match watch(step.done, step.total) {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let written = timeline::render(timeline, base_of(from), path, origin, &mut step)?;
    Ok(described(path, FilmFormat::from_path(path)?, written))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_forms() {
        let request = VideoRequest {
            prompt: "A beating red heart!".into(),
            seed: 7,
            ..VideoRequest::default()
        };
        assert_eq!(
            default_output(&request),
            Path::new("a-beating-red-heart-7.mp4")
        );
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(check_output(&at("x.mp4"), true).is_ok());
        assert!(check_output(&at("x.gif"), false).is_ok());
        let text = check_output(&at("x.gif"), true).unwrap_err().to_string();
        assert!(text.contains(".mp4"), "{text}");
        assert!(check_output(&at("x.mov"), false).is_err());
        assert!(check_output(Path::new("/nowhere/x.mp4"), false).is_err());
    }
}
