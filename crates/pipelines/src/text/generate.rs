use medley_models::decoder::Input;
use medley_sampling::SamplerConfig;
use medley_types::{LoraUse, Message, Prompt, TextRequest, TextWork};

use super::sequence::Sequence;
use super::writer::sampler_fields;
use super::{Session, TextModel};
use crate::{PipelineError, Run, TextGenerator};

impl TextGenerator for TextModel {
    fn generate(&self, request: &TextRequest, run: &mut Run) -> Result<TextWork, PipelineError> {
        self.generate_in(&mut self.session(), request, run)
    }
}

impl TextModel {
    /// Refuses what no model could do, before one is loaded.
    pub fn validate(request: &TextRequest) -> Result<(), PipelineError> {
        if request.stop.iter().any(String::is_empty) {
            return Err(PipelineError::InvalidRequest(
                "a stop string must not be empty".into(),
            ));
        }
        let wild = |lora: &&LoraUse| !(-10.0..=10.0).contains(&lora.weight);
        if let Some(lora) = request.loras.iter().find(wild) {
            return Err(PipelineError::InvalidRequest(format!(
                "the weight of a LoRA is {}; it must lie between -10 and 10",
                lora.weight
            )));
        }
        let config = SamplerConfig {
            dry: None,
            ..sampler_fields(&request.sampling, request.seed)
        };
        Ok(config.validate(u32::MAX as usize)?)
    }

    /// The ids of a request's prompt, with the chat template where it is a conversation.
    pub fn encode(&self, request: &TextRequest) -> Result<Vec<u32>, PipelineError> {
        let ids = match &request.prompt {
            Prompt::Tokens(ids) => {
                let size = self.decoder.config().vocab_size;
                if let Some(id) = ids.iter().find(|&&id| id as usize >= size) {
                    return Err(PipelineError::InvalidRequest(format!(
                        "the prompt has the token {id}, but {} has {size} tokens",
                        self.name
                    )));
                }
                ids.clone()
            }
            Prompt::Raw(text) if text.is_empty() => return Err(PipelineError::EmptyPrompt),
            Prompt::Raw(text) => self.tokenizer.encode(text, true, true)?,
            Prompt::Messages(messages) => {
                let empty = |m: &Message| m.content.is_empty() && m.tool_calls.is_empty();
                if messages.iter().all(empty) {
                    return Err(PipelineError::EmptyPrompt);
                }
                let (Some(template), Some(dialect)) = (&self.template, &self.dialect) else {
                    return Err(PipelineError::NoTemplate {
                        model: self.name.clone(),
                    });
                };
                let (tools, effort) = (&request.tools, request.effort.as_deref());
                dialect.encode(&self.tokenizer, template, messages, tools, effort)?
            }
        };
        if ids.is_empty() {
            return Err(PipelineError::EmptyPrompt);
        }
        if ids.len() > self.context {
            return Err(PipelineError::PromptTooLong {
                prompt: ids.len(),
                context: self.context,
                model: self.name.clone(),
            });
        }
        Ok(ids)
    }

    /// As [`TextGenerator::generate`], going on from what `session` has read where the prompt begins with it.
    pub fn generate_in(
        &self,
        session: &mut Session,
        request: &TextRequest,
        run: &mut Run,
    ) -> Result<TextWork, PipelineError> {
        let mut sequence = Sequence::new(self, request)?;
        let earlier = std::mem::replace(session, self.session());
        match self.write_all(&mut sequence, earlier, run) {
            Ok(()) => {
                let (work, read) = sequence.finished(self);
                *session = read;
                Ok(work)
            }
            Err(error) => {
                *session = sequence.into_session();
                Err(error)
            }
        }
    }

    fn write_all(
        &self,
        sequence: &mut Sequence,
        earlier: Session,
        run: &mut Run,
    ) -> Result<(), PipelineError> {
        sequence.begin(self, earlier)?;
        while !sequence.is_done() {
            if run.cancel.is_cancelled() {
                sequence.cancel(&mut |event| run.emit(event));
                break;
            }
            let mut inputs: [Input; 1] = [sequence.input()];
            let logits = self.decoder.forward(&mut inputs)?.remove(0);
            sequence.advance(self, &logits, 1, &mut |event| run.emit(event))?;
        }
        Ok(())
    }
}
