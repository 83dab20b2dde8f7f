//! What the handlers share, and the way from a request for texts to their reader.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::StatusCode;
use medley_engine::batch::Prepared;
use medley_engine::dialect::{self, Dialect};
use medley_engine::documents::Readers;
use medley_engine::image::ImageConfig;
use medley_engine::route::{Route, Router};
use medley_engine::serving::{
    Card, Compute, Limits, Mailbox, Memory, Model, Purpose, Reader, ServingError, Shelf, Texts,
};
use medley_engine::{CancelToken, EngineError, Home, PipelineError, TextModel, Tokenizer, Watched};
use medley_types::{ErrorCode, ErrorReport, Prompt, TextRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Answer, ApiError};
use crate::gate::Gate;
use crate::kept::Kept;
use crate::links::{Signer, USUAL};
use crate::metrics::Metrics;

/// MiB of all forms together that are being read or worked on.
const UPLOADS: usize = 1024;

/// A language model of fewer numbers does not call tools sensibly.
const SMALL: u64 = 1_000_000_000;

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
    /// Connections at once; further ones wait.
    pub connections: usize,
    /// Most bytes of a request's body.
    pub body: usize,
    /// What the engine may hold.
    pub limits: Limits,
    /// Where jobs, works and keys are kept; without it none are.
    pub home: Option<Home>,
    /// How documents are read.
    pub readers: Readers,
    /// Jobs of one key that may be on their way at once, where the key says nothing else.
    pub jobs: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            local: true,
            queue: 256,
            connections: 1024,
            body: 8 << 20,
            limits: Limits {
                memory: u64::MAX,
                slots: 32,
                prefix_bytes: 256 << 20,
            },
            home: None,
            readers: Readers::this_program(),
            jobs: 1000,
        }
    }
}

/// A server without its sockets.
pub struct Service {
    shelf: Arc<dyn Shelf>,
    pub(crate) engine: Arc<Compute>,
    kept: Option<Kept>,
    pub(crate) gate: Gate,
    router: OnceLock<Router>,
    pub(crate) metrics: Metrics,
    /// How often visitors of desks may ask.
    pub(crate) doors: crate::desk::Doors,
    /// What links to files are signed with.
    pub(crate) links: Signer,
    places: Arc<Semaphore>,
    /// MiB of forms that may be in memory at once.
    uploads: Arc<Semaphore>,
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
    /// Its places in the queue.
    pub(crate) places: OwnedSemaphorePermit,
}

impl Service {
    /// Where a prompt goes; the first call loads the encoder that reads prompts.
    pub(crate) fn route(&self, prompt: &str) -> Route {
        let router = self.router.get_or_init(|| self.shelf.router());
        router.route(prompt)
    }

    /// A service that has its models from `shelf`.
    ///
    /// # Errors
    /// When the system gives no thread, or what is kept cannot be opened.
    pub fn new(shelf: Arc<dyn Shelf>, mut settings: Settings) -> Result<Arc<Self>, EngineError> {
        let keys = std::mem::take(&mut settings.api_keys);
        let thread = EngineError::io("begin", "the engine's thread");
        let engine = Compute::start(shelf.clone(), settings.limits.clone()).map_err(thread)?;
        let engine = Arc::new(engine);
        let home = settings.home.clone();
        let file = home.as_ref().map(Home::keys_file);
        let open = |home| {
            Kept::open(
                home,
                engine.clone(),
                shelf.clone(),
                settings.readers.clone(),
            )
        };
        let kept = home.map(open).transpose()?;
        let database = kept.as_ref().map(|kept| kept.database.clone());
        Ok(Arc::new(Self {
            kept,
            engine,
            shelf,
            gate: Gate::new(&keys, file),
            router: OnceLock::new(),
            metrics: Metrics::new(),
            doors: crate::desk::Doors::default(),
            links: Signer::new(),
            places: Arc::new(Semaphore::new(settings.queue)),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            responses: crate::responses::Store::new(database)?,
            settings,
        }))
    }

    /// What this server keeps.
    pub(crate) fn kept(&self) -> Answer<&Kept> {
        let none = "This server keeps nothing: it was given no folder for jobs and works.";
        self.kept
            .as_ref()
            .ok_or_else(|| ApiError::unavailable(Some("nothing_kept"), none))
    }

    /// Puts back the jobs that run, and begins no more.
    pub(crate) fn stop(&self, patience: Duration) {
        if let Some(kept) = &self.kept {
            kept.stop(patience);
        }
    }

    /// SHA-256 of a model's weights, where it is known.
    pub(crate) async fn fingerprint(&self, id: &str) -> Answer<Option<String>> {
        let card = self.card(id).await?;
        let shelf = self.shelf.clone();
        let hash = tokio::task::spawn_blocking(move || shelf.fingerprint(&card)).await;
        hash.map_err(|_| ApiError::internal("the model could not be read"))
    }

    /// Texts, embeddings and pictures that are on their way.
    pub(crate) fn under_way(&self) -> usize {
        self.settings
            .queue
            .saturating_sub(self.places.available_permits())
    }

    /// What all models take.
    pub(crate) async fn memory(&self) -> Answer<Memory> {
        self.engine
            .memory()
            .await
            .map_err(|error| ApiError::of_serving(&error, "model"))
    }

    /// Puts an idle model away; whether it was loaded, and idle.
    pub(crate) async fn evict(&self, id: &str) -> Answer<bool> {
        let evicted = self.engine.evict(id.to_owned()).await;
        evicted.map_err(|error| ApiError::of_serving(&error, "model"))
    }

    /// The address of a work's file for who has no key, as pictures that are asked for as addresses are fetched.
    pub(crate) fn lend(&self, id: &str) -> String {
        let path = format!("/v1/library/{id}/file");
        self.links.sign(&path, USUAL).0
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

    /// All models.
    pub(crate) async fn cards(&self) -> Answer<Vec<Card>> {
        let shelf = self.shelf.clone();
        let cards = tokio::task::spawn_blocking(move || shelf.list()).await;
        cards.map_err(|_| ApiError::internal("the models could not be listed"))
    }

    /// Those of these models that chat.
    pub(crate) async fn chatting(&self, cards: &[Card]) -> Answer<HashSet<String>> {
        let (shelf, cards) = (self.shelf.clone(), cards.to_vec());
        let looking = tokio::task::spawn_blocking(move || {
            let chats = cards.into_iter().filter(|card| shelf.chats(card));
            chats.map(|card| card.id).collect()
        });
        looking
            .await
            .map_err(|_| ApiError::internal("the models could not be read"))
    }

    /// How many numbers these models are, by name, where it is known.
    pub(crate) async fn parameters(&self, cards: &[Card]) -> Answer<HashMap<String, u64>> {
        let (shelf, cards) = (self.shelf.clone(), cards.to_vec());
        let looking = tokio::task::spawn_blocking(move || {
            let counted = |card: Card| Some((shelf.parameters(&card)?, card.id));
            let all = cards.into_iter().filter_map(counted);
            all.map(|(count, id)| (id, count)).collect()
        });
        looking
            .await
            .map_err(|_| ApiError::internal("the models could not be read"))
    }

    /// Whether a language model is known to be too small to choose tools and to find words for them.
    pub(crate) async fn is_small(&self, id: &str) -> Answer<bool> {
        let card = self.card(id).await?;
        let counts = self.parameters(std::slice::from_ref(&card)).await?;
        Ok(counts.get(id).is_some_and(|count| *count < SMALL))
    }

    /// The model of this name.
    pub(crate) async fn card(&self, id: &str) -> Answer<Card> {
        let cards = self.cards().await?;
        let card = cards.into_iter().find(|card| card.id == id);
        card.ok_or_else(|| ApiError::no_model(id))
    }

    pub(crate) fn places(&self, count: usize) -> Answer<OwnedSemaphorePermit> {
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

    /// Room for a form of so many bytes; what has no room is refused, as it would otherwise wait in memory.
    pub(crate) fn upload(&self, bytes: usize) -> Answer<OwnedSemaphorePermit> {
        let mebibytes = bytes.div_ceil(1 << 20).clamp(1, UPLOADS) as u32;
        let room = self.uploads.clone().try_acquire_many_owned(mebibytes);
        room.map_err(|_| ApiError::busy())
    }

    /// The configuration of a model that draws or makes clips, which is not loaded for it.
    pub(crate) async fn picture_config(&self, card: Card) -> Answer<ImageConfig> {
        let shelf = self.shelf.clone();
        let read = tokio::task::spawn_blocking(move || shelf.picture_config(&card)).await;
        let damaged = || ApiError::internal("the model's configuration could not be read");
        read.ok().flatten().ok_or_else(damaged)
    }

    /// The same of the model of this name, which must make clips.
    pub(crate) async fn clip_config(&self, id: &str) -> Answer<ImageConfig> {
        let card = self.card(id).await?;
        if card.purpose != Purpose::Video {
            return Err(wrong_purpose(&card.id, "makes no clips"));
        }
        self.picture_config(card).await
    }

    /// Names of the voices of a model, which is not loaded for them.
    pub(crate) async fn voice_names(&self, card: Card) -> Answer<Vec<String>> {
        let shelf = self.shelf.clone();
        let names = tokio::task::spawn_blocking(move || shelf.voices(&card)).await;
        names.map_err(|_| ApiError::internal("the voices could not be listed"))
    }

    pub(crate) async fn load(&self, card: Card) -> Answer<Model> {
        let loaded = self.engine.load(card).await;
        loaded.map_err(|error| ApiError::of_serving(&error, "model"))
    }

    /// Loads a language model, checks what is wanted of it and begins to write.
    pub(crate) async fn write(&self, wanted: Wanted) -> Answer<Running> {
        let places = self.places(wanted.prompts.len() * wanted.n)?;
        self.write_in(places, wanted).await
    }

    /// As [`write`](Self::write), in places of the queue that one has already.
    pub(crate) async fn write_in(
        &self,
        places: OwnedSemaphorePermit,
        wanted: Wanted,
    ) -> Answer<Running> {
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
            places,
        })
    }

    /// Tokens of a request's prompts, of which nothing is written.
    pub(crate) async fn count(&self, wanted: Wanted) -> Answer<usize> {
        let _place = self.places(1)?;
        let (_, _, tokens, _) = self.prepared(wanted).await?;
        Ok(tokens)
    }

    /// Loads a language model.
    async fn writer(&self, id: &str) -> Answer<Arc<TextModel>> {
        let card = self.card(id).await?;
        if card.purpose != Purpose::Text {
            return Err(wrong_purpose(&card.id, "writes no texts"));
        }
        match self.load(card).await? {
            Model::Text(model) => Ok(model),
            _ => Err(ApiError::internal("the model is of another kind")),
        }
    }

    /// Looks into a language model as it reads a text; the model comes with what was seen.
    pub(crate) async fn watch(
        &self,
        id: &str,
        text: String,
        likeliest: usize,
    ) -> Answer<(Arc<TextModel>, Watched)> {
        let _place = self.places(1)?;
        let model = self.writer(id).await?;
        let seen = self.engine.watch(model.clone(), text, likeliest).await;
        let told = |error| match (ApiError::of_serving(&error, "prompt"), error) {
            (told, ServingError::Pipeline(_)) => told.about("prompt"),
            (told, _) => told,
        };
        Ok((model, seen.map_err(told)?))
    }

    /// Loads the language model of a request and checks what is wanted of it.
    async fn prepared(&self, wanted: Wanted) -> Answer<Ready> {
        let model = self.writer(&wanted.request.model).await?;
        let preparing = tokio::task::spawn_blocking(move || prepare(model, &wanted));
        let prepared = preparing.await;
        prepared.map_err(|_| ApiError::internal("the request could not be prepared"))?
    }
}

pub(crate) fn wrong_purpose(id: &str, what: &str) -> ApiError {
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
