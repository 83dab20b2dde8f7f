//! ABC: comment lines before the tune, `%medley:` with the recipe and `%DigitalSourceType` with the mark.

use super::xmp::SYNTHETIC;
use super::{Found, Origin};

const RECIPE: &str = "%medley:";
const MARK: &str = "%DigitalSourceType ";

/// Whether a file begins as ABC files do that are written here.
pub(super) fn is_abc(bytes: &[u8]) -> bool {
    bytes.starts_with(b"%abc")
}

/// Appends the lines. JSON has no line ends of its own.
pub(crate) fn write(out: &mut String, origin: Origin) {
    let Origin::Generated { recipe } = origin else {
        return;
    };
    out.push_str(&format!("{MARK}{SYNTHETIC}\n"));
    if let Some(recipe) = recipe {
        out.push_str(&format!("{RECIPE}{}\n", recipe.replace(['\n', '\r'], " ")));
    }
}

pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let comments = bytes
        .split(|b| *b == b'\n')
        .take_while(|l| l.starts_with(b"%"));
    for line in comments {
        if let Some(recipe) = line.strip_prefix(RECIPE.as_bytes()) {
            found.add_recipe(recipe);
        } else if line.starts_with(MARK.as_bytes()) {
            found.packet = Some(line.to_vec());
        }
    }
    found
}
