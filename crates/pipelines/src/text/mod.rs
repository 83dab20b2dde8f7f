//! Text: a decoder, its tokenizer and its chat template as one generator.

mod generate;
mod load;
pub mod measure;
mod session;
mod template;

use medley_models::decoder::Decoder;
use medley_nn::{Cache, KvType};
use medley_tokenize::Tokenizer;

pub use load::LoadOptions;
pub(crate) use load::read_json;
pub use session::Session;
pub use template::ChatTemplate;

/// Tokens that a prompt is read by at a time: enough to reuse each weight often, few enough to cancel soon.
const PREFILL_CHUNK: usize = 512;

/// A language model, ready to write.
pub struct TextModel {
    name: String,
    decoder: Decoder,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    kv_type: KvType,
    context: usize,
    load_s: f64,
}

impl TextModel {
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

    /// Most tokens of prompt and text together.
    pub fn context(&self) -> usize {
        self.context
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
