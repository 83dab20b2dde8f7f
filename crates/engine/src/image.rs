//! Pictures: models by name, files that go in, files that come out.

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use medley_media::Format;
pub use medley_media::Picture;
use medley_media::{Frame, Layout, Limits, MediaError, Origin};
pub use medley_pipelines::image::{
    Companion, ImageConfig, ImageGenerator, ImageInputs, Images, Sources, Speed, check_memory,
    companion, load, load_upscaler, read_config, validate,
};
use medley_types::{ImageRequest, InputFile, Medium, Request};
use serde_json::{Value, json};

use crate::fetch::{CancelFlag, sha256_file, sha256_hex};
use crate::store::{Resolved, Store};
use crate::{EngineError, Result};

/// Pixels between the pictures of a grid.
const GRID_GAP: u32 = 4;

/// How long a frame of a walk is shown: GIF counts in hundredths of a second, and browsers slow down below two.
const FRAME: Duration = Duration::from_millis(80);

/// Longest side of the name that is made of a prompt.
const NAME_LENGTH: usize = 40;

/// What a recipe calls a model: its name in the catalog or on the hub, and `./` with the folder's own name for a model of
/// the user's, so that no path is told and the two cannot be mixed up.
pub fn recipe_name(model: &Resolved) -> String {
    if model.entry.is_some() || model.name.starts_with("hf:") || !Path::new(&model.name).exists() {
        return model.name.clone();
    }
    let path = std::fs::canonicalize(&model.path).unwrap_or_else(|_| model.path.clone());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("./{name}")
}

/// The architecture that compares pictures with captions and draws none.
pub const SCORER: &str = "contrastive";

/// Refuses a model of the catalog that makes something else, before it is fetched.
///
/// # Errors
/// [`EngineError::WrongMedium`].
pub fn check_medium(store: &Store, model: &str) -> Result<()> {
    let makes = match store.catalog().get(model) {
        Some(entry) if entry.medium != Medium::Image => {
            format!("{:?}", entry.medium).to_lowercase()
        }
        Some(entry) if entry.architecture == SCORER => "scores of pictures".to_owned(),
        _ => return Ok(()),
    };
    Err(EngineError::WrongMedium {
        name: model.to_owned(),
        medium: makes,
        wanted: "pictures",
    })
}

/// A picture that a request starts from, with what the recipe keeps of it.
///
/// # Errors
/// [`EngineError::Io`], and [`EngineError::Media`] for what is no picture, is damaged, or is too large.
pub fn read_input(path: &Path) -> Result<(Picture, InputFile)> {
    let limits = Limits::default();
    let in_file = |source| medley_media::MediaError::InFile {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let bytes = read_limited(path, limits.file_bytes)?;
    let picture = medley_media::decode(&bytes, &limits).map_err(in_file)?;
    let file = InputFile {
        sha256: sha256_hex(&bytes),
    };
    Ok((picture, file))
}

/// A picture out of the bytes of its file, within limits of its size.
///
/// # Errors
/// [`MediaError`] for what is no picture, is damaged, or is too large.
pub fn decode_input(bytes: &[u8]) -> Result<Picture, MediaError> {
    medley_media::decode(bytes, &Limits::default())
}

/// A mask that is white where a picture is transparent, and black where it is not; none where nothing is transparent.
pub fn mask_of_transparency(picture: &Picture) -> Option<Picture> {
    if picture.layout() != Layout::Rgba {
        return None;
    }
    let (pixels, _) = picture.pixels().as_chunks::<4>();
    if pixels.iter().all(|[.., opacity]| *opacity == 255) {
        return None;
    }
    let mask = pixels
        .iter()
        .flat_map(|[.., opacity]| [255 - opacity; 3])
        .collect();
    Picture::new(picture.width(), picture.height(), Layout::Rgb, mask).ok()
}

/// The bytes of a file with what a picture looks like so far: marked, without a recipe.
///
/// # Errors
/// [`EngineError::Media`].
pub fn encode_rgb(width: u32, height: u32, rgb: Vec<u8>, format: Format) -> Result<Vec<u8>> {
    let picture = Picture::new(width, height, Layout::Rgb, rgb)?;
    encode(&picture, format, None, None)
}

/// A file of at most `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(EngineError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(EngineError::Output {
            path: path.to_owned(),
            reason: format!("it has more than {limit} bytes"),
        });
    }
    Ok(bytes)
}

/// A file that a recipe names by its hash.
///
/// # Errors
/// [`EngineError::Io`], or [`EngineError::InputMissing`] where the content is another one.
pub fn check_input(
    path: &Path,
    found: &InputFile,
    wanted: &InputFile,
    flag: &'static str,
) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(EngineError::InputMissing {
        what: "another file",
        flag,
        identity: format!("its SHA-256 is {}", wanted.sha256),
        given: Some(path.to_owned()),
    })
}

/// What a recipe keeps of a file that is not read here.
///
/// # Errors
/// [`EngineError::Io`].
pub fn hash_file(path: &Path) -> Result<InputFile> {
    let (_, sha256) = sha256_file(path, &CancelFlag::new(), &mut |_| {})?;
    Ok(InputFile { sha256 })
}

/// Refuses a file for pictures before they are made: an ending that stands for no format, or for one that cannot hold an
/// animation, and a folder that cannot be written to.
///
/// # Errors
/// [`EngineError::Media`], [`EngineError::Output`], [`EngineError::Io`].
pub fn check_output(path: &Path, request: &ImageRequest) -> Result<Format> {
    let format = Format::from_path(path)?;
    let animated = matches!(format, Format::Gif | Format::Png);
    if request.walk.is_some() && !animated {
        return Err(EngineError::Output {
            path: path.to_owned(),
            reason: "a walk is written to .gif, or to .png as an animated one".into(),
        });
    }
    crate::work_file::check_writable(path)?;
    Ok(format)
}

/// The file that a request without one is written to: words of the prompt, or else the model's name, and the seed.
pub fn default_output(request: &ImageRequest) -> PathBuf {
    let source = match request.prompt.trim() {
        "" => request.model.trim_start_matches("./"),
        prompt => prompt,
    };
    let name = words_of(source).unwrap_or_else(|| "picture".into());
    let ending = if request.walk.is_some() { "gif" } else { "png" };
    PathBuf::from(format!("{name}-{}.{ending}", request.seed))
}

/// The first words of a text as the stem of a file's name; none where it has no letters.
pub fn words_of(text: &str) -> Option<String> {
    let mut name = String::new();
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        if word.is_empty() || name.chars().count() + word.chars().count() >= NAME_LENGTH {
            continue;
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(&word.to_lowercase());
    }
    (!name.is_empty()).then_some(name)
}

/// `name.png` with something put before the ending: `name-2.png`.
pub fn numbered(path: &Path, addition: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{addition}.{ending}"))
}

/// The files that a request is written to: one, or for a count without a grid `name-1.png`, `name-2.png` …
pub fn outputs(path: &Path, request: &ImageRequest) -> Vec<PathBuf> {
    if request.count == 1 || request.grid || request.walk.is_some() {
        return vec![path.to_owned()];
    }
    (1..=request.count)
        .map(|number| numbered(path, &number.to_string()))
        .collect()
}

/// A file that a completed request gave.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames, of an animation.
    pub frames: Option<usize>,
    /// The request that makes it alone.
    pub request: ImageRequest,
}

/// The files that a completed request gave: one, or one for each of a count without a grid, with the recipe that makes it
/// alone inside where that is wanted.
///
/// # Errors
/// [`EngineError::Media`].
pub fn encoded(
    request: &ImageRequest,
    images: &Images,
    format: Format,
    with_recipe: bool,
) -> Result<Vec<Encoded>> {
    let recipe = |request: &ImageRequest| -> Option<String> {
        with_recipe.then(|| json!(Request::Image(request.clone())).to_string())
    };
    let (width, height) = (images.work.width, images.work.height);
    if request.walk.is_some() {
        let frame = |picture: &Picture| Frame {
            picture: picture.clone(),
            delay: FRAME,
        };
        let frames: Vec<Frame> = images.pictures.iter().map(frame).collect();
        let recipe = recipe(request);
        let origin = Origin::Generated {
            recipe: recipe.as_deref(),
        };
        return Ok(vec![Encoded {
            bytes: medley_media::encode_animation(&frames, format, origin)?,
            width,
            height,
            frames: Some(frames.len()),
            request: request.clone(),
        }]);
    }
    let one = |picture: &Picture, request: ImageRequest| -> Result<Encoded> {
        Ok(Encoded {
            bytes: encode(picture, format, None, recipe(&request).as_deref())?,
            width: picture.width(),
            height: picture.height(),
            frames: None,
            request,
        })
    };
    if request.grid {
        let columns = (images.pictures.len() as f64).sqrt().ceil() as usize;
        let sheet = medley_media::grid(&images.pictures, columns, GRID_GAP, [255; 3])?;
        return Ok(vec![one(&sheet, request.clone())?]);
    }
    let pictures = images.pictures.iter().zip(&images.work.seeds);
    let alone = |(picture, &seed): (&Picture, &u64)| {
        let alone = ImageRequest {
            seed,
            count: 1,
            ..request.clone()
        };
        one(picture, alone)
    };
    pictures.map(alone).collect()
}

/// Writes what a completed request gave, each file whole or not at all, and describes the files. A file of several carries
/// the recipe that makes it alone.
///
/// # Errors
/// [`EngineError::Media`].
pub fn write(
    path: &Path,
    request: &ImageRequest,
    images: &Images,
    with_recipe: bool,
) -> Result<Vec<Value>> {
    let format = Format::from_path(path)?;
    let mut files = Vec::new();
    let encoded = encoded(request, images, format, with_recipe)?;
    for (path, file) in outputs(path, request).iter().zip(encoded) {
        medley_media::write_file(path, &file.bytes)?;
        let mut described = json!({
            "path": path,
            "mime": format.mime(),
            "width": file.width,
            "height": file.height,
            "seed": file.request.seed,
        });
        if let Some(frames) = file.frames {
            described["frames"] = json!(frames);
            described["seconds"] = json!(frames as f64 * FRAME.as_secs_f64());
        }
        files.push(described);
    }
    Ok(files)
}

/// The bytes of a file with this picture, marked as synthetic media, with its recipe where it is given. `quality`, of 1 to
/// 100, says how much of the picture JPEG and WebP may lose.
///
/// # Errors
/// [`EngineError::Media`].
pub fn encode(
    picture: &Picture,
    format: Format,
    quality: Option<u8>,
    recipe: Option<&str>,
) -> Result<Vec<u8>> {
    let origin = Origin::Generated { recipe };
    Ok(match quality {
        Some(quality) => medley_media::encode_lossy(picture, format, quality, origin)?,
        None => medley_media::encode(picture, format, origin)?,
    })
}

/// Writes one picture with the mark of synthetic media and, where it is given, its recipe.
///
/// # Errors
/// [`EngineError::Media`].
pub fn write_picture(
    path: &Path,
    format: Format,
    picture: &Picture,
    recipe: Option<String>,
) -> Result<()> {
    let origin = Origin::Generated {
        recipe: recipe.as_deref(),
    };
    let bytes = medley_media::encode(picture, format, origin)?;
    Ok(medley_media::write_file(path, &bytes)?)
}

/// Writes what a picture looks like so far: marked, without a recipe.
///
/// # Errors
/// [`EngineError::Media`].
pub fn write_preview(path: &Path, width: u32, height: u32, rgb: Vec<u8>) -> Result<()> {
    let picture = Picture::new(width, height, Layout::Rgb, rgb)?;
    write_picture(path, Format::from_path(path)?, &picture, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(prompt: &str) -> ImageRequest {
        ImageRequest {
            model: "icons".into(),
            prompt: prompt.into(),
            seed: 7,
            count: 1,
            ..ImageRequest::default()
        }
    }

    #[test]
    fn names_are_made_of_the_prompt() {
        for (prompt, name) in [
            ("A red apple!", "a-red-apple-7.png"),
            ("../../etc/passwd", "etc-passwd-7.png"),
            ("ein Äpfelchen", "ein-äpfelchen-7.png"),
            ("***", "picture-7.png"),
            ("", "icons-7.png"),
        ] {
            assert_eq!(
                default_output(&request(prompt)),
                Path::new(name),
                "{prompt}"
            );
        }
        let long = default_output(&request(&"word ".repeat(100)));
        assert!(long.as_os_str().len() < 60, "{}", long.display());
        let walk = ImageRequest {
            walk: Some(4),
            ..request("")
        };
        assert_eq!(default_output(&walk), Path::new("icons-7.gif"));
    }

    #[test]
    fn several_pictures_are_numbered() {
        let three = ImageRequest {
            count: 3,
            ..request("x")
        };
        let path = Path::new("out/apple.v2.png");
        assert_eq!(
            outputs(path, &three),
            [
                "out/apple.v2-1.png",
                "out/apple.v2-2.png",
                "out/apple.v2-3.png"
            ]
            .map(PathBuf::from)
        );
        let grid = ImageRequest {
            grid: true,
            ..three
        };
        assert_eq!(outputs(path, &grid), [path]);
    }
}
