//! Models of every kind, loaded, and what they make.

use std::sync::Arc;

use medley_engine::EmbeddingModel;
use medley_engine::image::{ImageGenerator, Images};
use medley_engine::music::{Music, MusicGenerator};
use medley_engine::serving::{Composing, Drawing, Filming, Listening, Model, Purpose, Speaking};
use medley_engine::speech::{Speech, Voices};
use medley_engine::transcript::Listener;
use medley_engine::video::{Video, VideoGenerator};
use medley_types::Transcript;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{Answer, ApiError};
use crate::service::{Service, wrong_purpose};

/// What is said where the shelf gives another kind of model than its card tells.
fn other_kind() -> ApiError {
    ApiError::internal("the model is of another kind")
}

/// Models; those that come with a place in the queue take it before they are loaded.
impl Service {
    /// Loads a model that must be for this; `lacks` says of another what it does not do.
    async fn loaded(&self, id: &str, purpose: Purpose, lacks: &str) -> Answer<Model> {
        let card = self.card(id).await?;
        if card.purpose != purpose {
            return Err(wrong_purpose(&card.id, lacks));
        }
        self.load(card).await
    }

    /// Loads a model that embeds.
    pub(crate) async fn encoder(
        &self,
        id: &str,
    ) -> Answer<(Arc<EmbeddingModel>, OwnedSemaphorePermit)> {
        let place = self.places(1)?;
        let lacks = "gives no embeddings";
        match self.loaded(id, Purpose::Embedding, lacks).await? {
            Model::Embedding(model) => Ok((model, place)),
            _ => Err(other_kind()),
        }
    }

    /// Loads a model that listens.
    pub(crate) async fn listener(
        &self,
        id: &str,
    ) -> Answer<(Arc<dyn Listener>, OwnedSemaphorePermit)> {
        let place = self.places(1)?;
        let lacks = "does not listen";
        match self.loaded(id, Purpose::Transcript, lacks).await? {
            Model::Speech(model) => Ok((model, place)),
            _ => Err(other_kind()),
        }
    }

    /// Loads a model that draws.
    pub(crate) async fn painter(
        &self,
        id: &str,
    ) -> Answer<(Arc<dyn ImageGenerator>, OwnedSemaphorePermit)> {
        let place = self.places(1)?;
        Ok((self.painter_of(id).await?, place))
    }

    /// As [`painter`](Self::painter), for who has a place.
    pub(crate) async fn painter_of(&self, id: &str) -> Answer<Arc<dyn ImageGenerator>> {
        match self.loaded(id, Purpose::Image, "draws no pictures").await? {
            Model::Image(model) => Ok(model),
            _ => Err(other_kind()),
        }
    }

    /// Loads a model that speaks.
    pub(crate) async fn voices(&self, id: &str) -> Answer<(Arc<Voices>, OwnedSemaphorePermit)> {
        let place = self.places(1)?;
        Ok((self.voices_of(id).await?, place))
    }

    /// As [`voices`](Self::voices), for who has a place.
    pub(crate) async fn voices_of(&self, id: &str) -> Answer<Arc<Voices>> {
        match self.loaded(id, Purpose::Speech, "does not speak").await? {
            Model::Voice(model) => Ok(model),
            _ => Err(other_kind()),
        }
    }

    /// Loads a model that makes music.
    pub(crate) async fn musician(
        &self,
        id: &str,
    ) -> Answer<(Arc<dyn MusicGenerator>, OwnedSemaphorePermit)> {
        let place = self.places(1)?;
        Ok((self.musician_of(id).await?, place))
    }

    /// As [`musician`](Self::musician), for who has a place.
    pub(crate) async fn musician_of(&self, id: &str) -> Answer<Arc<dyn MusicGenerator>> {
        match self.loaded(id, Purpose::Music, "makes no music").await? {
            Model::Music(model) => Ok(model),
            _ => Err(other_kind()),
        }
    }

    /// Loads a model that makes clips, for who has a place.
    pub(crate) async fn filmer_of(&self, id: &str) -> Answer<Arc<dyn VideoGenerator>> {
        match self.loaded(id, Purpose::Video, "makes no clips").await? {
            Model::Video(model) => Ok(model),
            _ => Err(other_kind()),
        }
    }
}

/// What they make.
impl Service {
    /// Draws pictures.
    pub(crate) async fn draw(&self, drawing: Drawing) -> Answer<Images> {
        let drawn = self.engine.draw(drawing).await;
        drawn.map_err(|error| ApiError::of_serving(&error, "prompt"))
    }

    /// Says something.
    pub(crate) async fn speak(&self, speaking: Speaking) -> Answer<Speech> {
        let said = self.engine.speak(speaking).await;
        said.map_err(|error| ApiError::of_serving(&error, "input"))
    }

    /// Makes music.
    pub(crate) async fn compose(&self, composing: Composing) -> Answer<Music> {
        let made = self.engine.compose(composing).await;
        made.map_err(|error| ApiError::of_serving(&error, "prompt"))
    }

    /// Makes a clip.
    pub(crate) async fn film(&self, filming: Filming) -> Answer<Video> {
        let made = self.engine.film(filming).await;
        made.map_err(|error| ApiError::of_serving(&error, "prompt"))
    }

    /// Writes a sound down.
    pub(crate) async fn listen(&self, listening: Listening) -> Answer<Transcript> {
        let heard = self.engine.listen(listening).await;
        heard.map_err(|error| ApiError::of_serving(&error, "prompt"))
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
