//! Hibari from text to samples, beside its own package on onnxruntime.

use anyhow::Result;

use super::voice::{self, TEXT};
use super::{Part, Setup};

pub(super) fn make(setup: &Setup) -> Result<Box<dyn Part>> {
    voice::make(setup, "hibari", 2.0, |_| {
        Ok(["hibari", "--text", TEXT].map(str::to_owned).to_vec())
    })
}
