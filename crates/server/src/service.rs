//! What the handlers share, and the way from a request for texts to their reader.

use std::sync::Arc;

use axum::http::StatusCode;
use medley_engine::batch::Prepared;
use medley_engine::dialect::{self, Dialect};
use medley_engine::image::{ImageGenerator, Images};
use medley_engine::serving::{
    Card, Compute, Limits, Mailbox, Model, Purpose, Reader, ServingError, Shelf, Texts,
};
use medley_engine::{CancelToken, EmbeddingModel, PipelineError, TextModel, Tokenizer};
use medley_types::{ErrorCode, ErrorReport, ImageRequest, Prompt, TextRequest};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Answer, ApiError};

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Keys of which every request must bring one; without any, all are let in.
    pub api_keys: Vec<String>,
    /// Whether requests must call this server by a name of this machine alone (`localhost`, `127.0.0.1`), so that no
    /// site that a browser shows can reach it under a name of its own.
    pub local: bool,
    /// Texts and embeddings that may be on their way at once; further ones are refused with 429.
    pub queue: usize,
    /// Most bytes of a request's body.
    pub body: usize,
    /// What the engine may hold.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            local: true,
            queue: 256,
            body: 8 << 20,
            limits: Limits {
                memory: u64::MAX,
                slots: 32,
                prefix_bytes: 256 << 20,
            },
        }
    }
}

/// A server without its sockets.
pub struct Service {
    shelf: Arc<dyn Shelf>,
    engine: Compute,
    /// SHA-256 of the keys.
    keys: Vec<[u8; 32]>,
    places: Arc<Semaphore>,
    /// Responses that are kept.
    pub(crate) responses: crate::responses::Store,
    pub(crate) settings: Settings,
}

/// Texts that were asked for.
pub(crate) struct Wanted {
    /// The request of each text, its prompt aside.
    pub(crate) request: TextRequest,
    pub(crate) prompts: Vec<Prompt>,
    /// Texts for each prompt; they differ by their seed.
    pub(crate) n: usize,
    pub(crate) names: Names,
}

/// What an API calls the fields that are found wrong only when the model is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    /// Where the prompts came in.
    pub(crate) prompt: &'static str,
    /// What the answer must be.
    pub(crate) format: &'static str,
    /// How much the model shall think.
    pub(crate) effort: &'static str,
    /// A function's arguments, within the function.
    pub(crate) schema: &'static str,
}

/// Texts on their way.
pub(crate) struct Running {
    pub(crate) reader: Reader,
    /// Tokens of all prompts together.
    pub(crate) prompt_tokens: usize,
    pub(crate) tokenizer: Tokenizer,
    /// What reads thoughts and calls out of each text.
    pub(crate) voices: Vec<dialect::Reader>,
    /// How the model writes them.
    pub(crate) dialect: Option<Dialect>,
    /// The prompts as text, where they were tokens.
    pub(crate) prompts: Vec<String>,
    /// Ends them.
    pub(crate) cancel: CancelToken,
    _places: OwnedSemaphorePermit,
}

impl Service {
    /// A service that has its models from `shelf`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(shelf: Arc<dyn Shelf>, mut settings: Settings) -> std::io::Result<Arc<Self>> {
        let keys = std::mem::take(&mut settings.api_keys);
        Ok(Arc::new(Self {
            engine: Compute::start(shelf.clone(), settings.limits.clone())?,
            shelf,
            keys: keys.iter().map(|key| hash(key)).collect(),
            places: Arc::new(Semaphore::new(settings.queue)),
            responses: crate::responses::Store::default(),
            settings,
        }))
    }

    /// Loads a model before anyone asks for it; not to be called where a runtime waits.
    ///
    /// # Errors
    /// A model that is not there, is damaged, or does not fit.
    pub fn warm(&self, id: &str) -> Result<(), ErrorReport> {
        let card = self.shelf.list().into_iter().find(|card| card.id == id);
        let no_model = ErrorReport::new(ErrorCode::ModelNotFound, ApiError::no_model(id).message);
        let loaded = match card {
            Some(card) => self.engine.load_now(card).map(drop),
            None => Err(ServingError::Load(no_model)),
        };
        loaded.map_err(|error| error.report())
    }

    /// Whether a request with this key is let in.
    pub(crate) fn admits(&self, key: Option<&str>) -> bool {
        // Hashes are compared, which tells nothing of the keys by the time that it takes.
        let known = |key: &str| self.keys.contains(&hash(key));
        self.keys.is_empty() || key.is_some_and(known)
    }

    /// All models.
    pub(crate) async fn cards(&self) -> Answer<Vec<Card>> {
        let shelf = self.shelf.clone();
        let cards = tokio::task::spawn_blocking(move || shelf.list()).await;
        cards.map_err(|_| ApiError::internal("the models could not be listed"))
    }

    /// The model of this name.
    pub(crate) async fn card(&self, id: &str) -> Answer<Card> {
        let cards = self.cards().await?;
        let card = cards.into_iter().find(|card| card.id == id);
        card.ok_or_else(|| ApiError::no_model(id))
    }

    fn places(&self, count: usize) -> Answer<OwnedSemaphorePermit> {
        if count > self.settings.queue {
            let message = format!(
                "{count} texts were asked for at once; {} is the limit here.",
                self.settings.queue
            );
            return Err(ApiError::invalid(None, message).about("n"));
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let places = self.places.clone().try_acquire_many_owned(count);
        places.map_err(|_| ApiError::busy())
    }

    async fn load(&self, card: Card) -> Answer<Model> {
        let loaded = self.engine.load(card).await;
        loaded.map_err(|error| ApiError::of_serving(&error, "model"))
    }

    /// Loads a language model, checks what is wanted of it and begins to write.
    pub(crate) async fn write(&self, wanted: Wanted) -> Answer<Running> {
        let places = self.places(wanted.prompts.len() * wanted.n)?;
        let names = wanted.names;
        let (model, prepared, prompt_tokens, prompts) = self.prepared(wanted).await?;
        let cancel = CancelToken::default();
        let mailbox = Arc::new(Mailbox::new(prepared.len(), cancel.clone()));
        let voices = prepared.iter().map(|one| one.reader(&model)).collect();
        let (tokenizer, dialect) = (model.tokenizer().clone(), model.dialect().cloned());
        let reader = Reader {
            mailbox: mailbox.clone(),
            open: prepared.len(),
        };
        let texts = Texts {
            model,
            prepared,
            mailbox,
            cancel: cancel.clone(),
        };
        let begun = self.engine.write(texts);
        begun.map_err(|error| ApiError::of_serving(&error, names.prompt))?;
        Ok(Running {
            reader,
            prompt_tokens,
            tokenizer,
            voices,
            dialect,
            prompts,
            cancel,
            _places: places,
        })
    }

    /// Tokens of a request's prompts, of which nothing is written.
    pub(crate) async fn count(&self, wanted: Wanted) -> Answer<usize> {
        let _place = self.places(1)?;
        let (_, _, tokens, _) = self.prepared(wanted).await?;
        Ok(tokens)
    }

    /// Loads the language model of a request and checks what is wanted of it.
    async fn prepared(&self, wanted: Wanted) -> Answer<Ready> {
        let card = self.card(&wanted.request.model).await?;
        if card.purpose != Purpose::Text {
            return Err(wrong_purpose(&card.id, "writes no texts"));
        }
        let Model::Text(model) = self.load(card).await? else {
            return Err(ApiError::internal("the model is of another kind"));
        };
        let preparing = tokio::task::spawn_blocking(move || prepare(model, &wanted));
        let prepared = preparing.await;
        prepared.map_err(|_| ApiError::internal("the request could not be prepared"))?
    }

    /// Loads a model that embeds; what is given back with it is a place in the queue.
    pub(crate) async fn encoder(
        &self,
        id: &str,
    ) -> Answer<(Arc<EmbeddingModel>, OwnedSemaphorePermit)> {
        let place = self.places(1)?;
        let card = self.card(id).await?;
        if card.purpose != Purpose::Embedding {
            return Err(wrong_purpose(&card.id, "gives no embeddings"));
        }
        match self.load(card).await? {
            Model::Embedding(model) => Ok((model, place)),
            _ => Err(ApiError::internal("the model is of another kind")),
        }
    }

    /// Loads a model that draws; what is given back with it is a place in the queue.
    pub(crate) async fn painter(
        &self,
        id: &str,
    ) -> Answer<(Arc<dyn ImageGenerator>, OwnedSemaphorePermit)> {
        let place = self.places(1)?;
        let card = self.card(id).await?;
        if card.purpose != Purpose::Image {
            return Err(wrong_purpose(&card.id, "draws no pictures"));
        }
        match self.load(card).await? {
            Model::Image(model) => Ok((model, place)),
            _ => Err(ApiError::internal("the model is of another kind")),
        }
    }

    /// Draws what a completed request asks for.
    pub(crate) async fn draw(
        &self,
        generator: Arc<dyn ImageGenerator>,
        request: ImageRequest,
    ) -> Answer<Images> {
        let drawn = self.engine.draw(generator, request).await;
        drawn.map_err(|error| ApiError::of_serving(&error, "prompt"))
    }

    /// One vector for each text.
    pub(crate) async fn embed(
        &self,
        model: Arc<EmbeddingModel>,
        texts: Vec<Vec<u32>>,
    ) -> Answer<Vec<Vec<f32>>> {
        let embedded = self.engine.embed(model, texts).await;
        embedded.map_err(|error| ApiError::of_serving(&error, "input"))
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn wrong_purpose(id: &str, what: &str) -> ApiError {
    let message = format!("The model '{id}' {what}.");
    ApiError::refused(StatusCode::BAD_REQUEST, Some("unsupported_model"), message).about("model")
}

/// The model back, its texts ready to be written, the tokens of all prompts, and the prompts as text.
type Ready = (Arc<TextModel>, Vec<Prepared>, usize, Vec<String>);

fn prepare(model: Arc<TextModel>, wanted: &Wanted) -> Answer<Ready> {
    let (mut prepared, mut tokens, mut prompts) = (Vec::new(), 0, Vec::new());
    for prompt in &wanted.prompts {
        for i in 0..wanted.n as u64 {
            let request = TextRequest {
                prompt: prompt.clone(),
                seed: wanted.request.seed.wrapping_add(i),
                ..wanted.request.clone()
            };
            let one = Prepared::new(&model, &request)
                .map_err(|error| refusal(&error, &request, &wanted.names))?;
            tokens += if i == 0 { one.prompt_tokens() } else { 0 };
            prepared.push(one);
        }
        prompts.push(match prompt {
            Prompt::Raw(text) => text.clone(),
            Prompt::Tokens(ids) => model.tokenizer().decode(ids),
            Prompt::Messages(_) => String::new(),
        });
    }
    Ok((model, prepared, tokens, prompts))
}

/// Why a request cannot be carried out, with the field that is to blame.
fn refusal(error: &PipelineError, request: &TextRequest, names: &Names) -> ApiError {
    let about = |field: &str| ApiError::invalid(None, error.to_string()).about(field);
    match error {
        PipelineError::Sampling(_) if request.constraint.is_some() => about(names.format),
        PipelineError::ToolSchema { index, .. } => {
            about(&format!("tools[{index}].{}", names.schema))
        }
        PipelineError::InvalidRequest(_) if matches!(request.prompt, Prompt::Tokens(_)) => {
            about(names.prompt)
        }
        PipelineError::InvalidRequest(_) if request.effort.is_some() => about(names.effort),
        _ => ApiError::of_pipeline(error, names.prompt),
    }
}
