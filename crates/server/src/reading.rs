//! What reads and answers documents: the engine's encoder and language models, as threads that may wait ask them.

use std::sync::Arc;

use medley_engine::documents::answer::{Phraser, phrase_request, raw_phrase_request};
use medley_engine::documents::{Collection, Documents, Encoder, USUAL_ENCODER};
use medley_engine::serving::{Compute, Purpose};
use medley_engine::{EmbeddingModel, EngineError};
use medley_types::Prompt;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{Answer, ApiError};
use crate::said::whole;
use crate::service::{Names, Service, Wanted};

/// Tokens that are encoded at once, so that others have their turn.
const AT_ONCE: usize = 64;

/// A model of the engine's thread; to be used where a thread may wait, never on the runtime's.
pub(crate) struct ServerEncoder {
    engine: Arc<Compute>,
    model: Arc<EmbeddingModel>,
    name: String,
    runtime: Handle,
    _place: OwnedSemaphorePermit,
}

impl Encoder for ServerEncoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn encode(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EngineError> {
        let wrong = |reason: String| EngineError::Encoding { reason };
        let mut vectors = Vec::with_capacity(texts.len());
        for some in texts.chunks(AT_ONCE) {
            let ids = some.iter().map(|text| self.model.tokens_within(text));
            let ids = ids
                .collect::<Result<_, _>>()
                .map_err(|e| wrong(e.to_string()))?;
            let embedded = self
                .runtime
                .block_on(self.engine.embed(self.model.clone(), ids));
            vectors.extend(embedded.map_err(|error| wrong(error.to_string()))?);
        }
        Ok(vectors)
    }
}

/// A language model of the engine's thread that phrases, with the same condition.
pub(crate) struct ServerPhraser {
    service: Arc<Service>,
    model: String,
    tone: Option<String>,
    /// Whether the model has a chat template.
    chats: bool,
    runtime: Handle,
}

impl ServerPhraser {
    pub(crate) async fn new(
        service: &Arc<Service>,
        model: &str,
        tone: Option<&str>,
    ) -> Answer<Self> {
        let card = service.card(model).await?;
        let chats = !service.chatting(&[card]).await?.is_empty();
        Ok(Self {
            service: service.clone(),
            model: model.to_owned(),
            tone: tone.map(str::to_owned),
            chats,
            runtime: Handle::current(),
        })
    }
}

impl Phraser for ServerPhraser {
    fn phrase(&self, question: &str, facts: &[String]) -> Result<String, EngineError> {
        let chatting = phrase_request(&self.model, question, facts, self.tone.as_deref());
        let mut request = match self.chats {
            true => chatting,
            false => raw_phrase_request(&self.model, question, facts),
        };
        let prompt = std::mem::replace(&mut request.prompt, Prompt::Messages(Vec::new()));
        let wanted = Wanted {
            request,
            prompts: vec![prompt],
            n: 1,
            names: Names {
                prompt: "question",
                format: "format",
                effort: "effort",
                schema: "schema",
            },
        };
        let text = self.runtime.block_on(async {
            let mut running = self.service.write(wanted).await?;
            let said = whole(&mut running, "question").await?;
            Ok::<_, ApiError>(
                said.into_iter()
                    .map(|(said, _)| said.text)
                    .collect::<String>(),
            )
        });
        // An answer that cannot be phrased is quoted.
        Ok(text.unwrap_or_else(|error| {
            tracing::warn!("an answer is not phrased: {}", error.message);
            String::new()
        }))
    }
}

impl Service {
    /// The model that makes the vectors of new collections: the usual one, or else one that is here.
    pub(crate) async fn usual_encoder(&self) -> Answer<String> {
        let cards = self.cards().await?;
        let mut embeds = cards
            .iter()
            .filter(|card| card.purpose == Purpose::Embedding);
        let usual = embeds.clone().find(|card| card.id == USUAL_ENCODER);
        let found = usual.or_else(|| embeds.next());
        found
            .map(|card| card.id.clone())
            .ok_or_else(|| ApiError::no_model(USUAL_ENCODER))
    }

    /// The model of a collection's vectors.
    pub(crate) async fn reader_of(&self, model: &str) -> Answer<ServerEncoder> {
        let (loaded, place) = self.encoder(model).await?;
        Ok(ServerEncoder {
            engine: self.engine.clone(),
            model: loaded,
            name: model.to_owned(),
            runtime: Handle::current(),
            _place: place,
        })
    }

    /// Does something with a collection and the model of its vectors, where it may wait.
    pub(crate) async fn with_collection<T: Send + 'static>(
        self: &Arc<Self>,
        id: &str,
        work: impl FnOnce(&Documents, &Collection, &ServerEncoder) -> Result<T, EngineError>
        + Send
        + 'static,
    ) -> Answer<T> {
        let documents = self.kept()?.documents.clone();
        let (found, name) = (documents.clone(), id.to_owned());
        let collection = waited(move || found.collection(&name)).await?;
        let encoder = self.reader_of(&collection.model).await?;
        waited(move || work(&documents, &collection, &encoder)).await
    }
}

/// Carries out what may wait for a disk or for the engine.
pub(crate) async fn waited<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Answer<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| ApiError::internal("the documents could not be read"))?
        .map_err(|error| ApiError::of_engine(&error))
}
