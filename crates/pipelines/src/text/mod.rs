//! Text: a decoder, its tokenizer and its chat template as one generator.

mod adapter;
pub mod batch;
mod constrain;
pub mod dialect;
mod draft;
mod generate;
mod load;
pub mod long;
pub mod measure;
mod sequence;
mod session;
mod task;
mod watch;
mod writer;

use std::sync::{Arc, OnceLock};

use medley_models::decoder::Decoder;
use medley_nn::{Cache, KvType};
use medley_sampling::{SamplingError, Vocabulary};
use medley_tokenize::{ChatTemplate, Tokenizer};

use crate::PipelineError;

use dialect::Dialect;

pub use adapter::{adapter_file, open_adapter};
pub use load::LoadOptions;
pub(crate) use load::read_json;
pub use session::Session;
pub use task::{TASKS, Task};
pub use watch::{WATCHED, Watched};

/// Tokens that a prompt is read by at a time: enough to reuse each weight often, few enough to cancel soon.
const PREFILL_CHUNK: usize = 256;

/// A language model, ready to write.
pub struct TextModel {
    name: String,
    decoder: Decoder,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    /// How it writes thoughts and calls, where it has a template.
    dialect: Option<Dialect>,
    vocabulary: OnceLock<Result<Vocabulary, SamplingError>>,
    kv_type: KvType,
    context: usize,
    load_s: f64,
    draft: Option<Arc<TextModel>>,
}

impl TextModel {
    /// Lets `draft`, a smaller model with the same vocabulary, guess what this one will write, for requests that ask for
    /// it ([`medley_types::Speculation::Draft`]).
    pub fn with_draft(self, draft: Arc<TextModel>) -> Result<Self, PipelineError> {
        let (own, other) = (
            self.tokenizer.vocabulary_bytes(),
            draft.tokenizer.vocabulary_bytes(),
        );
        let different = (0..own.len().max(other.len())).find(|&i| {
            own.get(i) != other.get(i)
                || self.tokenizer.is_special(i as u32) != draft.tokenizer.is_special(i as u32)
        });
        match different {
            Some(id) => Err(PipelineError::DraftVocabulary {
                draft: draft.name.clone(),
                model: self.name,
                id,
            }),
            None => Ok(Self {
                draft: Some(draft),
                ..self
            }),
        }
    }

    /// Name of the file or folder it was loaded from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model itself.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Its chat template, where the files have one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// How it writes thoughts and calls, where it has a chat template.
    pub fn dialect(&self) -> Option<&Dialect> {
        self.dialect.as_ref()
    }

    /// The tokens as constrained output needs them; put together when they are first asked for.
    fn vocabulary(&self) -> Result<&Vocabulary, SamplingError> {
        let built = self.vocabulary.get_or_init(|| {
            // Logits may have more entries than the tokenizer has tokens: padding, which no text holds.
            let size = self.decoder.config().vocab_size;
            let mut tokens = self.tokenizer.vocabulary_bytes();
            tokens.resize(size, Vec::new());
            let special: Vec<bool> = (0..size as u32)
                .map(|id| self.tokenizer.is_special(id))
                .collect();
            let vocabulary = Vocabulary::new(tokens, &special, self.tokenizer.end_of_generation())?;
            let tokenizer = self.tokenizer.clone();
            Ok(vocabulary.with_tokenizer(move |bytes| {
                tokenizer
                    .encode_bytes(bytes, false, false)
                    .unwrap_or_default()
            }))
        });
        built.as_ref().map_err(Clone::clone)
    }

    /// Most tokens of prompt and text together.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Bytes of keys and values of a sequence of so many tokens.
    pub fn cache_bytes(&self, tokens: usize) -> u64 {
        self.cache().spec().bytes_for(tokens) as u64
    }

    /// Seconds that loading took.
    pub fn load_seconds(&self) -> f64 {
        self.load_s
    }

    /// An empty cache.
    pub fn cache(&self) -> Cache {
        self.decoder.cache(self.kv_type, self.context)
    }
}
