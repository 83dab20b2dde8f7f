//! What a generator makes of the words that a model calls it with.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medley_engine::CancelToken;
use medley_engine::image::{ImageInputs, Speed, check_memory, encode_rgb};
use medley_engine::music::{self as tunes, Target};
use medley_engine::serving::{Filming, Speaking};
use medley_engine::speech as voices;
use medley_engine::video::{self, VideoInputs};
use medley_types::{Event, Medium, Request as Recipe};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::spawn_blocking;

use super::Generator;
use crate::error::{Answer, ApiError};
use crate::images::{self, Wanted, stream};
use crate::service::Service;
use crate::{music, speech, videos};

/// What is told while a work is made.
pub(crate) enum News {
    /// What it looks like so far, as a file in base64.
    Partial(String),
    /// Its end.
    End(Box<Answer<Made>>),
}

/// A work that was made: fields of its item, `result` among them.
pub(crate) struct Made(pub(crate) Value);

/// Makes a work of these words; `previews` says whether anybody looks at what it is so far. Who calls has a place in the
/// queue.
pub(crate) async fn make(
    service: Arc<Service>,
    generator: Arc<Generator>,
    words: String,
    previews: bool,
    news: &UnboundedSender<News>,
    cancel: CancelToken,
) -> Answer<Made> {
    match generator.kind.medium {
        Medium::Image => {
            let told = previews.then_some(news);
            generator.draw(&service, &words, told, cancel).await
        }
        Medium::Music => generator.compose(&service, &words, cancel).await,
        Medium::Speech => generator.speak(&service, &words, cancel).await,
        _ => generator.film(&service, &words, cancel).await,
    }
}

/// What is said where writing a file fails badly.
fn unwritten<E>(_: E) -> ApiError {
    ApiError::internal("the work could not be written")
}

impl Generator {
    async fn draw(
        &self,
        service: &Arc<Service>,
        words: &str,
        news: Option<&UnboundedSender<News>>,
        cancel: CancelToken,
    ) -> Answer<Made> {
        let (sent, request) = self.picture(service, words).await?;
        let model = service.painter_of(&request.model).await?;
        let base = self.base.as_ref();
        let inputs = base.map_or_else(ImageInputs::default, |base| base.inputs.clone());
        let mut wanted = Wanted::of(&self.asked(words), sent, request, inputs, model)?;
        let steps = wanted.request.steps.unwrap_or(1) as usize;
        let partial = news.map_or(0, |_| sent.partial);
        wanted.inputs.preview_every = stream::every(partial, steps);
        let (sender, mut events) = unbounded_channel();
        let previews = stream::previews(partial, steps, move |event| drop(sender.send(event)));
        let drawing = wanted.drawing(previews, cancel);
        let pass_on = async {
            while let Some(event) = events.recv().await {
                let Event::Preview {
                    width, height, rgb, ..
                } = event
                else {
                    continue;
                };
                let file = spawn_blocking(move || encode_rgb(width, height, rgb, sent.format));
                if let (Ok(Ok(bytes)), Some(news)) = (file.await, news) {
                    drop(news.send(News::Partial(STANDARD.encode(bytes))));
                }
            }
        };
        let (drawn, ()) = tokio::join!(service.draw(drawing), pass_on);
        let images = drawn?;
        let size = format!("{}x{}", images.work.width, images.work.height);
        let request = wanted.request;
        let writing = spawn_blocking(move || images::encode(&images, &request, sent));
        let files = writing.await.map_err(unwritten)??;
        let file = files.first().ok_or_else(|| unwritten(()))?;
        Ok(Made(json!({
            "result": STANDARD.encode(file), "size": size, "quality": sent.care, "background": "opaque",
            "output_format": sent.name,
        })))
    }

    async fn compose(&self, service: &Service, words: &str, cancel: CancelToken) -> Answer<Made> {
        let (format, name) = self.sound()?;
        let request = music::request(service, &self.asked(words)).await?;
        let model = service.musician_of(&request.model).await?;
        let made = service
            .compose(music::composing(model, &request, true, cancel))
            .await?;
        let seconds = made.work.seconds;
        let recipe = json!(Recipe::Music(request)).to_string();
        let target = Target::Sound(format);
        let writing = spawn_blocking(move || tunes::encoded(&made, target, Some(&recipe)));
        let file = writing.await.map_err(unwritten)?;
        let file = file.map_err(|error| ApiError::of_engine(&error))?;
        Ok(sound(&file, name, format.mime(), seconds))
    }

    async fn speak(&self, service: &Service, words: &str, cancel: CancelToken) -> Answer<Made> {
        let (format, name) = self.sound()?;
        let fields = self.asked(words);
        let request = speech::request(&fields)?;
        let model = service.voices_of(&request.model).await?;
        let (voice, request) = speech::prepared(model, request, &fields).await?;
        let recipe = json!(Recipe::Speech(request.clone())).to_string();
        let speaking = Speaking {
            voice,
            request,
            heard: None,
            events: Box::new(|_| {}),
            cancel,
        };
        let said = service.speak(speaking).await?;
        let seconds = said.work.seconds;
        let writing = spawn_blocking(move || voices::encoded(&said.audio, format, Some(&recipe)));
        let file = writing.await.map_err(unwritten)?;
        let file = file.map_err(|error| ApiError::of_engine(&error))?;
        Ok(sound(&file, name, format.mime(), seconds))
    }

    async fn film(&self, service: &Service, words: &str, cancel: CancelToken) -> Answer<Made> {
        let asked = videos::ask::Asked::of(self.asked(words));
        let (request, _) = videos::ask::request(service, asked).await?;
        let generator = service.filmer_of(&request.model).await?;
        // How long it takes is not asked here, so any speed does.
        let plan = generator.plan(&request, &Speed { flops_per_s: 1e9 });
        let memory = check_memory(&plan, medley_engine::available_memory());
        memory.map_err(|error| {
            ApiError::unavailable(Some("insufficient_memory"), error.to_string())
        })?;
        let filming = Filming {
            generator,
            request: request.clone(),
            inputs: VideoInputs::default(),
            events: Box::new(|_| {}),
            cancel,
        };
        let clip = service.film(filming).await?.clip;
        let (size, seconds) = (
            format!("{}x{}", clip.width(), clip.height()),
            clip.seconds(),
        );
        let writing = spawn_blocking(move || video::encoded(&clip, &request));
        let file = writing.await.map_err(unwritten)?;
        let file = file.map_err(|error| ApiError::of_engine(&error))?;
        Ok(Made(json!({
            "result": STANDARD.encode(file), "size": size, "seconds": seconds, "output_format": "mp4",
            "mime": "video/mp4",
        })))
    }
}

fn sound(file: &[u8], name: &str, mime: &str, seconds: f64) -> Made {
    Made(json!({
        "result": STANDARD.encode(file), "seconds": seconds, "output_format": name, "mime": mime,
    }))
}
