//! The models as the director asks them: over the thread that computes, so that works of several media go on together.

use std::sync::Arc;

use medley_train::scorer::Scorer;
use medley_types::{
    ErrorCode, ErrorReport, Event, ImageRequest, MusicRequest, SpeechRequest, TextRequest,
    TextWork, VideoRequest,
};
use tokio::task::spawn_blocking;

use crate::batch::Prepared;
use crate::image::{ImageInputs, Images};
use crate::music::{self, Music, MusicInputs};
use crate::serving::{
    Card, Composing, Compute, Drawing, Filming, Mailbox, Model, Purpose, Reader, Shelf, Speaking,
    Subject, Texts,
};
use crate::speech::Speech;
use crate::video::{self, Video, VideoInputs};
use crate::{CancelToken, EmbeddingModel, PipelineError};

/// Texts that are embedded in one request.
const EMBEDDED_AT_ONCE: usize = 64;

/// Encoders that compare meanings, the usual one first.
const ENCODERS: [&str; 2] = ["icon-encoder", "minilm"];

/// What models come to, or why they do not.
pub(super) type Made<T> = std::result::Result<T, ErrorReport>;

/// Told what happens on the way, on the thread that computes.
pub(super) type Told = Box<dyn FnMut(Event) + Send>;

/// The models.
#[derive(Clone)]
pub struct Stage {
    /// The thread that computes.
    pub compute: Arc<Compute>,
    /// Where the models come from.
    pub shelf: Arc<dyn Shelf>,
    /// Ends everything.
    pub cancel: CancelToken,
}

fn internal(message: &str) -> ErrorReport {
    ErrorReport::new(ErrorCode::Internal, message)
}

pub(super) fn of_pipeline(error: PipelineError) -> ErrorReport {
    error.report()
}

/// Does what may wait for a disk or compute for a while.
pub(super) async fn waited<T: Send + 'static>(
    work: impl FnOnce() -> Made<T> + Send + 'static,
) -> Made<T> {
    let done = spawn_blocking(work).await;
    done.map_err(|_| internal("a part of the work failed badly"))?
}

impl Stage {
    /// The card of a model.
    async fn card(&self, name: &str) -> Made<Card> {
        let (shelf, wanted) = (self.shelf.clone(), name.to_owned());
        let found = spawn_blocking(move || shelf.list().into_iter().find(|card| card.id == wanted));
        let found = found
            .await
            .map_err(|_| internal("the models cannot be listed"))?;
        found.ok_or_else(|| {
            let message = format!("the model {name:?} is not on this machine");
            let hint = "`medley models pull starter` fetches the usual ones";
            ErrorReport::new(ErrorCode::ModelNotFound, message).with_hint(hint)
        })
    }

    /// SHA-256 of a model's weights, or its name where that is not known.
    pub(super) async fn identity(&self, name: &str) -> Made<String> {
        let card = self.card(name).await?;
        let shelf = self.shelf.clone();
        let hash = spawn_blocking(move || shelf.fingerprint(&card)).await;
        Ok(hash.ok().flatten().unwrap_or_else(|| name.to_owned()))
    }

    async fn load(&self, name: &str) -> Made<Model> {
        let card = self.card(name).await?;
        let loaded = self.compute.load(card).await;
        loaded.map_err(|error| error.report())
    }

    /// Texts, written together; each ends by itself.
    pub(super) async fn write(
        &self,
        model: &str,
        requests: Vec<TextRequest>,
    ) -> Made<Vec<TextWork>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let Model::Text(model) = self.load(model).await? else {
            return Err(wrong_model(model, "writes no texts"));
        };
        let prepare = waited(move || {
            let all = requests
                .iter()
                .map(|request| Prepared::new(&model, request));
            let prepared = all.collect::<Result<Vec<_>, _>>().map_err(of_pipeline)?;
            Ok((model, prepared))
        });
        let (model, prepared) = prepare.await?;
        let count = prepared.len();
        let mailbox = Arc::new(Mailbox::new(count, CancelToken::default()));
        let texts = Texts {
            model,
            prepared,
            mailbox: mailbox.clone(),
            cancel: self.cancel.clone(),
        };
        self.compute.write(texts).map_err(|error| error.report())?;
        let mut works: Vec<Option<TextWork>> = vec![None; count];
        let mut reader = Reader {
            mailbox,
            open: count,
        };
        while let Some(parts) = reader.next().await {
            for (number, part) in parts {
                if let Some(end) = part.end {
                    works[number] = Some(end.map_err(|error| error.report())?);
                }
            }
        }
        works
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| internal("a text came to no end"))
    }

    /// A vector of length 1 for each text; none where no encoder is on this machine.
    pub(super) async fn embed(&self, texts: &[String]) -> Made<Option<Vec<Vec<f32>>>> {
        let Some(model) = self.encoder().await? else {
            return Ok(None);
        };
        let mut vectors = Vec::with_capacity(texts.len());
        for some in texts.chunks(EMBEDDED_AT_ONCE) {
            let ids = some.iter().map(|text| model.tokens_within(text));
            let ids = ids.collect::<Result<_, _>>().map_err(of_pipeline)?;
            let embedded = self.compute.embed(model.clone(), ids).await;
            vectors.extend(embedded.map_err(|error| error.report())?);
        }
        Ok(Some(vectors))
    }

    /// How many pieces the encoder's vocabulary has each word in; none where no encoder is on this machine.
    pub(super) async fn pieces(&self, words: &[String]) -> Made<Option<Vec<usize>>> {
        let Some(model) = self.encoder().await? else {
            return Ok(None);
        };
        // Beside the pieces there are the marks of beginning and end.
        let count = |word: &String| model.tokens(word).map(|ids| ids.len().saturating_sub(2));
        let all = words.iter().map(count).collect::<Result<_, _>>();
        all.map(Some).map_err(of_pipeline)
    }

    async fn encoder(&self) -> Made<Option<Arc<EmbeddingModel>>> {
        let shelf = self.shelf.clone();
        let found = spawn_blocking(move || {
            let cards = shelf.list();
            let usual = ENCODERS
                .iter()
                .find_map(|name| cards.iter().find(|card| card.id == *name));
            let any = || cards.iter().find(|card| card.purpose == Purpose::Embedding);
            usual.or_else(any).cloned()
        });
        let found = found
            .await
            .map_err(|_| internal("the models cannot be listed"))?;
        let Some(card) = found else { return Ok(None) };
        match self
            .compute
            .load(card)
            .await
            .map_err(|error| error.report())?
        {
            Model::Embedding(model) => Ok(Some(model)),
            _ => Ok(None),
        }
    }

    /// What a picture model says that it draws well; nothing where it does not say.
    pub(super) async fn subjects(&self, name: &str) -> Made<Vec<Subject>> {
        let card = self.card(name).await?;
        let shelf = self.shelf.clone();
        let read = spawn_blocking(move || shelf.subjects(&card)).await;
        read.map_err(|_| internal("what the model draws cannot be read"))
    }

    /// The seed, of `tries` from that of the request on, whose picture comes nearest to its prompt; the first where nothing on this
    /// machine compares the model's pictures with words.
    pub(super) async fn best_seed(&self, request: &ImageRequest, tries: u32) -> Made<u64> {
        let card = self.card(&request.model).await?;
        let shelf = self.shelf.clone();
        let found = spawn_blocking(move || shelf.scorer(&card)).await;
        let Some(folder) = found.ok().flatten().filter(|_| tries > 1) else {
            return Ok(request.seed);
        };
        let small = ImageRequest {
            count: tries,
            upscale: Some(1),
            ..request.clone()
        };
        let (_, images) = self.draw(small, Box::new(|_| {})).await?;
        let prompt = request.prompt.clone();
        let best = waited(move || {
            let wrong = |error: medley_train::Error| error.report();
            let scorer = Scorer::open(&folder).map_err(wrong)?;
            let opaque: Vec<_> = images
                .pictures
                .iter()
                .map(|picture| picture.over([255; 3]))
                .collect();
            let seen = scorer.look(&opaque).map_err(wrong)?;
            let said = scorer.read(&[prompt.as_str()]).map_err(wrong)?;
            let rows: Vec<&[f32]> = seen.embedded.chunks_exact(seen.embed_dim).collect();
            let near = |at: &usize| super::words::dot(rows[*at], &said);
            let best = (0..rows.len()).max_by(|a, b| near(a).total_cmp(&near(b)));
            Ok(images.work.seeds[best.unwrap_or(0)])
        });
        best.await
    }

    /// Pictures, with the request that makes them again.
    pub(super) async fn draw(
        &self,
        request: ImageRequest,
        told: Told,
    ) -> Made<(ImageRequest, Images)> {
        let Model::Image(generator) = self.load(&request.model).await? else {
            return Err(wrong_model(&request.model, "draws no pictures"));
        };
        let request = generator.config().complete(&request).map_err(of_pipeline)?;
        let drawing = Drawing {
            generator,
            request: request.clone(),
            inputs: ImageInputs::default(),
            events: told,
            cancel: self.cancel.clone(),
        };
        let images = self.compute.draw(drawing).await;
        Ok((request, images.map_err(|error| error.report())?))
    }

    /// A clip, likewise.
    pub(super) async fn film(
        &self,
        request: VideoRequest,
        inputs: VideoInputs,
        told: Told,
    ) -> Made<(VideoRequest, Video)> {
        let Model::Video(generator) = self.load(&request.model).await? else {
            return Err(wrong_model(&request.model, "makes no clips"));
        };
        let request = video::complete(generator.config(), &request).map_err(of_pipeline)?;
        let filming = Filming {
            generator,
            request: request.clone(),
            inputs,
            events: told,
            cancel: self.cancel.clone(),
        };
        let made = self.compute.film(filming).await;
        Ok((request, made.map_err(|error| error.report())?))
    }

    /// Music, likewise.
    pub(super) async fn play(
        &self,
        request: MusicRequest,
        told: Told,
    ) -> Made<(MusicRequest, Music)> {
        let Model::Music(generator) = self.load(&request.model).await? else {
            return Err(wrong_model(&request.model, "makes no music"));
        };
        let request = music::complete(&request, None).map_err(of_pipeline)?;
        let composing = Composing {
            generator,
            request: request.clone(),
            inputs: MusicInputs {
                sound: true,
                ..MusicInputs::default()
            },
            events: told,
            cancel: self.cancel.clone(),
        };
        let made = self.compute.compose(composing).await;
        Ok((request, made.map_err(|error| error.report())?))
    }

    /// Spoken words, likewise.
    pub(super) async fn speak(
        &self,
        request: SpeechRequest,
        told: Told,
    ) -> Made<(SpeechRequest, Speech)> {
        let Model::Voice(voices) = self.load(&request.model).await? else {
            return Err(wrong_model(&request.model, "does not speak"));
        };
        let asked = request.clone();
        let ready = waited(move || {
            let voice = voices.voice(asked.voice.as_deref()).map_err(of_pipeline)?;
            let request = voice.complete(&asked).map_err(of_pipeline)?;
            Ok((voice, request))
        });
        let (voice, request) = ready.await?;
        let speaking = Speaking {
            voice,
            request: request.clone(),
            heard: None,
            events: told,
            cancel: self.cancel.clone(),
        };
        let made = self.compute.speak(speaking).await;
        Ok((request, made.map_err(|error| error.report())?))
    }
}

fn wrong_model(name: &str, what: &str) -> ErrorReport {
    ErrorReport::new(
        ErrorCode::InvalidRequest,
        format!("the model {name:?} {what}"),
    )
}
