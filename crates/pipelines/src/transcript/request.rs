//! What a request may ask for.

use medley_types::{TranscriptRequest, TranscriptTask};

use super::Ear;
use crate::PipelineError;

/// The most texts that are followed side by side.
const MAX_BEAM: usize = 16;
/// The longest prompt, in bytes.
pub const MAX_PROMPT: usize = 1 << 16;

/// Refuses what no model can do.
///
/// # Errors
/// [`PipelineError::InvalidRequest`] with the reason.
pub fn validate(request: &TranscriptRequest) -> Result<(), PipelineError> {
    let refuse = |message: String| Err(PipelineError::InvalidRequest(message));
    if let Some(t) = request.temperature
        && !(0.0..=1.0).contains(&t)
    {
        return refuse(format!("the temperature is {t}; it must be 0 to 1"));
    }
    if let Some(beam) = request.beam
        && !(1..=MAX_BEAM).contains(&beam)
    {
        return refuse(format!("the beam is {beam}; it must be 1 to {MAX_BEAM}"));
    }
    if request
        .prompt
        .as_ref()
        .is_some_and(|p| p.len() > MAX_PROMPT)
    {
        return refuse(format!("the prompt is longer than {MAX_PROMPT} bytes"));
    }
    Ok(())
}

impl Ear {
    /// [`Listener::complete`](super::Listener::complete)
    pub(super) fn completed(
        &self,
        request: &TranscriptRequest,
    ) -> Result<TranscriptRequest, PipelineError> {
        validate(request)?;
        let refuse = |message: String| Err(PipelineError::InvalidRequest(message));
        let tokenizer = &self.tokenizer;
        let english = !tokenizer.is_multilingual();
        if english && request.task == TranscriptTask::Translate {
            return refuse("this model knows English alone, and cannot translate".into());
        }
        let language = match &request.language {
            None => english.then(|| "en".to_owned()),
            Some(text) => match tokenizer.language(text) {
                Some(code) if !english || code == "en" => Some(code.to_owned()),
                Some(_) => return refuse("this model knows English alone".into()),
                None => {
                    return refuse(format!(
                        "the language {text:?} is unknown; give a code such as en, de or ja"
                    ));
                }
            },
        };
        Ok(TranscriptRequest {
            language,
            beam: Some(request.beam.unwrap_or(1)),
            ..request.clone()
        })
    }
}
