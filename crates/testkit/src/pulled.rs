//! Models that `medley models pull` left in a folder, for tests with real weights.

use std::path::PathBuf;

/// The folder of a model in the folder that `MEDLEY_MODELS` names; none where the variable is not set, or where a model
/// that nobody has to have is not there, which is said.
///
/// # Panics
/// Where a model is not there that has to be.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn pulled(name: &str, optional: bool) -> Option<PathBuf> {
    let Some(models) = std::env::var_os("MEDLEY_MODELS") else {
        eprintln!("skipped: MEDLEY_MODELS names no folder with models");
        return None;
    };
    let folder = PathBuf::from(models).join(name);
    if !folder.is_dir() {
        assert!(optional, "{}: pull it first", folder.display());
        eprintln!("skipped: {} is not there", folder.display());
        return None;
    }
    Some(folder)
}
