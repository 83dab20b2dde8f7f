//! The forms that films are written in.

use std::fmt;
use std::path::Path;

use super::rate::Rate;
use crate::error::MediaError;

/// A form in which films are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilmFormat {
    /// H.264 and AAC in MP4.
    Mp4,
    /// GIF: 256 colours a frame, hundredths of seconds, no sound.
    Gif,
    /// Animated PNG: without loss, no sound.
    Apng,
    /// Animated WebP: with little loss, transparency, no sound.
    WebP,
    /// A folder of PNG pictures, one a frame; no sound, no rate.
    Frames,
}

impl FilmFormat {
    /// Every form.
    pub const ALL: [Self; 5] = [Self::Mp4, Self::Gif, Self::Apng, Self::WebP, Self::Frames];

    /// The form that a name asks for; a name without an ending is a folder.
    ///
    /// # Errors
    /// [`MediaError::UnknownFilmExtension`] names the endings there are.
    pub fn from_path(path: &Path) -> Result<Self, MediaError> {
        let Some(extension) = path.extension() else {
            return Ok(Self::Frames);
        };
        match extension.to_string_lossy().to_ascii_lowercase().as_str() {
            "mp4" | "m4v" => Ok(Self::Mp4),
            "gif" => Ok(Self::Gif),
            "png" | "apng" => Ok(Self::Apng),
            "webp" => Ok(Self::WebP),
            _ => Err(MediaError::UnknownFilmExtension {
                name: path
                    .file_name()
                    .unwrap_or(path.as_os_str())
                    .to_string_lossy()
                    .into_owned(),
            }),
        }
    }

    /// The most frames a second that are shown as they are. Browsers show for 100 ms what says up to 10 ms; GIF counts in hundredths
    /// of seconds, the others in thousandths.
    pub const fn fastest(self) -> u32 {
        match self {
            Self::Gif => 50,
            Self::Apng | Self::WebP => 90,
            Self::Mp4 | Self::Frames => Rate::FASTEST,
        }
    }

    /// Its MIME type; of a folder that of its pictures.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Gif => "image/gif",
            Self::Apng => "image/apng",
            Self::WebP => "image/webp",
            Self::Frames => "image/png",
        }
    }
}

impl fmt::Display for FilmFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mp4 => "MP4",
            Self::Gif => "GIF",
            Self::Apng => "animated PNG",
            Self::WebP => "animated WebP",
            Self::Frames => "a folder of frames",
        })
    }
}
