//! A voice of Piper, beside onnxruntime with the same graph.

use anyhow::Result;

use super::{Part, Setup, voice};

const MODEL: &str = "piper-joe";

pub(super) fn make(setup: &Setup) -> Result<Box<dyn Part>> {
    voice::make(setup, MODEL, 1.5, |setup| {
        let graph = setup.program.file_of(MODEL, &|path| {
            path.extension().is_some_and(|ending| ending == "onnx")
        })?;
        let graph = graph.to_string_lossy().into_owned();
        Ok(vec!["piper".into(), "--model".into(), graph])
    })
}
