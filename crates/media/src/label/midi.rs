//! MIDI: texts of the first track, `medley:` with the recipe and `DigitalSourceType` with the mark.

use super::xmp::SYNTHETIC;
use super::{COMMENT, Found, Origin};
use midly::{MetaMessage, TrackEventKind};

const MARK: &str = "DigitalSourceType ";

/// Whether a file begins as MIDI files do.
pub(super) fn is_midi(bytes: &[u8]) -> bool {
    bytes.starts_with(b"MThd")
}

/// The texts to put into a file.
pub(crate) fn texts(origin: Origin) -> Vec<Vec<u8>> {
    let Origin::Generated { recipe } = origin else {
        return Vec::new();
    };
    let mark = format!("{MARK}{SYNTHETIC}").into_bytes();
    let recipe = recipe.map(|r| [COMMENT, r.as_bytes()].concat());
    std::iter::once(mark).chain(recipe).collect()
}

pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let Ok((_, tracks)) = midly::parse(bytes) else {
        return found;
    };
    for event in tracks.flatten().flatten().flatten() {
        let TrackEventKind::Meta(MetaMessage::Text(text)) = event.kind else {
            continue;
        };
        if let Some(recipe) = text.strip_prefix(COMMENT) {
            found.add_recipe(recipe);
        } else if text.starts_with(MARK.as_bytes()) {
            found.packet = Some(text.to_vec());
        }
    }
    found
}
