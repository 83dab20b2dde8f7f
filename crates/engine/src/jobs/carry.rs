//! Carrying out one job, from its row to its works.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medley_media::audio::SoundFormat;
use medley_media::{Layout, Origin, Picture};
use medley_types::{
    ErrorCode, ErrorReport, Event, ImagePlan, ImageRequest, Job, JobKind, Medium, MusicRequest,
    Prompt, Request, SpeechRequest, TextRequest, TextWork, VideoRequest,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_blocking;

use super::{End, Jobs, Stop};
use crate::batch::Prepared;
use crate::director::Creations;
use crate::image::{self, Format, ImageGenerator, ImageInputs, Images, Speed};
use crate::library::NewWork;
use crate::music::{self, Music, MusicInputs, Target};
use crate::serving::{
    Card, Composing, Compute, Drawing, Filming, Mailbox, Model, Reader, Shelf, Speaking, Texts,
};
use crate::speech::{self, Speech};
use crate::video::{self, Video, VideoInputs};
use crate::{CancelToken, EngineError, PipelineError, PullEvent, PullOptions, PullStage, Store};

/// Previews of one picture at most; each takes a decoding of its own.
const PREVIEWS: usize = 64;

/// What jobs are carried out with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) jobs: Arc<Jobs>,
    pub(super) compute: Arc<Compute>,
    pub(super) shelf: Arc<dyn Shelf>,
    pub(super) store: Arc<Store>,
    pub(super) creations: Arc<Creations>,
}

/// Why a job came to no work.
pub(super) struct Failure(pub(super) ErrorReport);

impl From<ErrorReport> for Failure {
    fn from(report: ErrorReport) -> Self {
        Self(report)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self(error.report())
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        Self(error.report())
    }
}

impl From<crate::serving::ServingError> for Failure {
    fn from(error: crate::serving::ServingError) -> Self {
        Self(error.report())
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(_: tokio::task::JoinError) -> Self {
        internal("a part of the job failed")
    }
}

fn internal(message: &str) -> Failure {
    Failure(ErrorReport::new(ErrorCode::Internal, message))
}

impl Tools {
    /// Carries a job out.
    pub(super) async fn carry(&self, job: &Job, stop: &Stop) -> End {
        let made = match job.kind {
            JobKind::Generate => match serde_json::from_value(job.request.clone()) {
                Ok(Request::Text(request)) => self.write(job, request, stop).await,
                Ok(Request::Image(request)) => self.draw(job, request, stop).await,
                Ok(Request::Speech(request)) => self.speak(job, request, stop).await,
                Ok(Request::Music(request)) => self.compose(job, request, stop).await,
                Ok(Request::Video(request)) => self.film(job, request, stop).await,
                _ => Err(internal("the request cannot be read")),
            },
            JobKind::Pull => self.pull(job, stop).await,
            JobKind::Create => self.create(job, stop).await,
            _ => Err(internal("no job of this kind can be carried out")),
        };
        match made {
            _ if stop.token.is_cancelled() => End::Cancelled,
            Ok(works) => End::Done(works),
            Err(Failure(report)) => End::Failed(report),
        }
    }

    /// The model that a job names.
    async fn load(&self, job: &Job) -> Result<(Model, Option<String>), Failure> {
        self.jobs.live().progress(&job.id, "load", 0, 1);
        let (shelf, name) = (self.shelf.clone(), job.model.clone());
        let found = spawn_blocking(move || {
            let card = shelf.list().into_iter().find(|card| card.id == name)?;
            let hash = shelf.fingerprint(&card);
            Some((card, hash))
        });
        let (card, hash): (Card, _) = found.await?.ok_or_else(|| {
            let message = format!("the model {:?} is not on this machine", job.model);
            Failure(ErrorReport::new(ErrorCode::ModelNotFound, message))
        })?;
        let model = self.compute.load(card).await?;
        self.jobs.live().progress(&job.id, "load", 1, 1);
        Ok((model, hash))
    }

    async fn write(
        &self,
        job: &Job,
        request: TextRequest,
        stop: &Stop,
    ) -> Result<Vec<NewWork>, Failure> {
        let (Model::Text(model), hash) = self.load(job).await? else {
            return Err(wrong_model(job, "writes no texts"));
        };
        let most = request.max_tokens.unwrap_or(0) as u64;
        let (model, prepared, request) = spawn_blocking(move || {
            let prepared = Prepared::new(&model, &request)?;
            Ok::<_, PipelineError>((model, prepared, request))
        })
        .await??;
        // A reader ends its texts when it is dropped, which here is after their end and means nothing.
        let mailbox = Arc::new(Mailbox::new(1, CancelToken::default()));
        self.compute.write(Texts {
            model,
            prepared: vec![prepared],
            mailbox: mailbox.clone(),
            cancel: stop.token.clone(),
        })?;
        let work = self.listen(&job.id, mailbox, most).await?;
        Ok(vec![text_work(job, &request, &work, hash)])
    }

    /// Passes a text on until it is whole.
    async fn listen(
        &self,
        id: &str,
        mailbox: Arc<Mailbox>,
        most: u64,
    ) -> Result<TextWork, Failure> {
        let mut reader = Reader { mailbox, open: 1 };
        let mut pieces = 0;
        while let Some(parts) = reader.next().await {
            for (_, part) in parts {
                if !part.text.is_empty() {
                    pieces += 1;
                    self.jobs.live().chunk(id, &part.text);
                    self.jobs.live().progress(id, "write", pieces, most);
                }
                if let Some(end) = part.end {
                    return Ok(end?);
                }
            }
        }
        Err(internal("the text came to no end"))
    }

    async fn draw(
        &self,
        job: &Job,
        request: ImageRequest,
        stop: &Stop,
    ) -> Result<Vec<NewWork>, Failure> {
        let (Model::Image(generator), hash) = self.load(job).await? else {
            return Err(wrong_model(job, "draws no pictures"));
        };
        let request = generator.config().complete(&request)?;
        fits(generator.as_ref(), &request)?;
        let library = self.jobs.library().clone();
        let asked = request.clone();
        let mut inputs = spawn_blocking(move || inputs_of(&library, &asked)).await??;
        let steps = request.steps.unwrap_or(1) as usize;
        inputs.preview_every = Some(steps.div_ceil(PREVIEWS).max(1));
        let (sender, events) = unbounded_channel();
        let drawing = self.compute.draw(Drawing {
            generator,
            request: request.clone(),
            inputs,
            events: Box::new(move |event| drop(sender.send(event))),
            cancel: stop.token.clone(),
        });
        let (images, ()) = tokio::join!(drawing, self.pass_on(&job.id, events));
        let images = images?;
        let job = job.clone();
        spawn_blocking(move || picture_works(&job, &request, &images, hash)).await?
    }

    async fn speak(
        &self,
        job: &Job,
        request: SpeechRequest,
        stop: &Stop,
    ) -> Result<Vec<NewWork>, Failure> {
        let (Model::Voice(voices), hash) = self.load(job).await? else {
            return Err(wrong_model(job, "does not speak"));
        };
        let asked = request.clone();
        let ready = spawn_blocking(move || {
            let voice = voices.voice(asked.voice.as_deref())?;
            let request = voice.complete(&asked)?;
            Ok::<_, PipelineError>((voice, request))
        });
        let (voice, request) = ready.await??;
        let (sender, events) = unbounded_channel();
        let speaking = self.compute.speak(Speaking {
            voice,
            request: request.clone(),
            heard: None,
            events: Box::new(move |event| drop(sender.send(event))),
            cancel: stop.token.clone(),
        });
        let (speech, ()) = tokio::join!(speaking, self.pass_on(&job.id, events));
        let (speech, job) = (speech?, job.clone());
        spawn_blocking(move || spoken_work(&job, request, &speech, hash)).await?
    }

    async fn compose(
        &self,
        job: &Job,
        request: MusicRequest,
        stop: &Stop,
    ) -> Result<Vec<NewWork>, Failure> {
        let (Model::Music(generator), hash) = self.load(job).await? else {
            return Err(wrong_model(job, "makes no music"));
        };
        let (sender, events) = unbounded_channel();
        let composing = self.compute.compose(Composing {
            generator,
            request: request.clone(),
            inputs: MusicInputs {
                sound: true,
                ..MusicInputs::default()
            },
            events: Box::new(move |event| drop(sender.send(event))),
            cancel: stop.token.clone(),
        });
        let (music, ()) = tokio::join!(composing, self.pass_on(&job.id, events));
        let (music, job) = (music?, job.clone());
        spawn_blocking(move || music_work(&job, request, &music, hash)).await?
    }

    async fn film(
        &self,
        job: &Job,
        request: VideoRequest,
        stop: &Stop,
    ) -> Result<Vec<NewWork>, Failure> {
        let (Model::Video(generator), hash) = self.load(job).await? else {
            return Err(wrong_model(job, "makes no clips"));
        };
        let request = video::complete(generator.config(), &request)?;
        let plan = generator.plan(&request, &Speed { flops_per_s: 1e9 });
        has_room(&plan)?;
        let library = self.jobs.library().clone();
        let asked = request.clone();
        let mut inputs = spawn_blocking(move || film_inputs(&library, &asked)).await??;
        let steps = request.steps.unwrap_or(1) as usize;
        inputs.preview_every = Some(steps.div_ceil(PREVIEWS).max(1));
        let (sender, events) = unbounded_channel();
        let filming = self.compute.film(Filming {
            generator,
            request: request.clone(),
            inputs,
            events: Box::new(move |event| drop(sender.send(event))),
            cancel: stop.token.clone(),
        });
        let (made, ()) = tokio::join!(filming, self.pass_on(&job.id, events));
        let (made, job) = (made?, job.clone());
        spawn_blocking(move || film_work(&job, request, &made, hash)).await?
    }

    /// Passes on what happens to a picture, until nothing more does.
    async fn pass_on(&self, id: &str, mut events: UnboundedReceiver<Event>) {
        while let Some(event) = events.recv().await {
            match event {
                Event::Progress { stage, done, total } => {
                    self.jobs
                        .live()
                        .progress(id, &stage, done as u64, total as u64);
                }
                event @ Event::Preview { .. } => {
                    let shown = spawn_blocking(move || preview(event)).await;
                    if let Ok(Some(shown)) = shown {
                        self.jobs.live().preview(id, shown);
                    }
                }
                _ => {}
            }
        }
    }

    async fn pull(&self, job: &Job, stop: &Stop) -> Result<Vec<NewWork>, Failure> {
        let (store, name) = (self.store.clone(), job.model.clone());
        let (jobs, id) = (self.jobs.clone(), job.id.clone());
        let options = PullOptions {
            cancel: stop.flag.clone(),
            ..PullOptions::default()
        };
        let pulling = spawn_blocking(move || {
            let mut report = |event| {
                if let PullEvent::Progress {
                    stage, done, total, ..
                } = event
                {
                    let stage = match stage {
                        PullStage::Download => "download",
                        PullStage::Unpack => "unpack",
                        PullStage::Copy => "copy",
                        PullStage::Verify => "verify",
                    };
                    jobs.live().progress(&id, stage, done, total.unwrap_or(0));
                }
            };
            store.resolve_or_pull(&name, &options, &mut report)
        });
        pulling.await??;
        Ok(Vec::new())
    }
}

fn wrong_model(job: &Job, what: &str) -> Failure {
    let message = format!("the model {:?} {what}", job.model);
    Failure(ErrorReport::new(ErrorCode::InvalidRequest, message))
}

/// Refuses what this machine has no memory for now.
fn fits(generator: &dyn ImageGenerator, request: &ImageRequest) -> Result<(), Failure> {
    // How long it takes is not asked here, so any speed does.
    has_room(&generator.plan(request, &Speed { flops_per_s: 1e9 }))
}

fn has_room(plan: &ImagePlan) -> Result<(), Failure> {
    let checked = image::check_memory(plan, crate::available_memory());
    checked.map_err(|error| Failure(ErrorReport::new(ErrorCode::Memory, error.to_string())))
}

/// The pictures that a request names, out of the library.
fn inputs_of(
    library: &crate::library::Library,
    request: &ImageRequest,
) -> Result<ImageInputs, EngineError> {
    let picture = |sha256: &str| {
        let bytes = library
            .content(sha256)?
            .ok_or_else(|| EngineError::NotFound {
                what: "kept picture with the SHA-256",
                id: sha256.to_owned(),
            })?;
        let picture = medley_media::decode(&bytes, &medley_media::Limits::default())?;
        Ok::<_, EngineError>(picture)
    };
    let inputs = ImageInputs {
        init: request
            .init
            .as_ref()
            .map(|init| picture(&init.file.sha256))
            .transpose()?,
        mask: request
            .mask
            .as_ref()
            .map(|mask| picture(&mask.sha256))
            .transpose()?,
        preview_every: None,
    };
    inputs.check().map_err(|error| EngineError::BadRequest {
        field: "mask".into(),
        reason: error.to_string(),
    })?;
    Ok(inputs)
}

/// The picture or clip that a request names, out of the library.
fn film_inputs(
    library: &crate::library::Library,
    request: &VideoRequest,
) -> Result<VideoInputs, EngineError> {
    let mut inputs = VideoInputs::default();
    if let Some(init) = &request.init {
        let sha256 = &init.file.sha256;
        let bytes = library
            .content(sha256)?
            .ok_or_else(|| EngineError::NotFound {
                what: "kept picture or clip with the SHA-256",
                id: sha256.clone(),
            })?;
        inputs.init = Some(video::clip_of(&bytes)?);
    }
    Ok(inputs)
}

fn film_work(
    job: &Job,
    request: VideoRequest,
    made: &Video,
    hash: Option<String>,
) -> Result<Vec<NewWork>, Failure> {
    let bytes = video::encoded(&made.clip, &request)?;
    let mut timings = json!(made.work.timings);
    timings["seconds"] = json!(made.work.seconds);
    timings["frames"] = json!(made.work.frames);
    timings["fps"] = json!(made.work.fps);
    Ok(vec![NewWork {
        medium: Medium::Video,
        model: job.model.clone(),
        model_sha256: hash,
        prompt: request.prompt.clone(),
        recipe: json!(Request::Video(request)),
        mime: "video/mp4",
        bytes,
        size: Some([made.work.width, made.work.height]),
        timings,
        job: Some(job.id.clone()),
    }])
}

/// What a picture looks like so far, as it is told.
fn preview(event: Event) -> Option<Value> {
    let Event::Preview {
        index,
        done,
        total,
        width,
        height,
        rgb,
        noisy,
    } = event
    else {
        return None;
    };
    let shown = |rgb| {
        let picture = Picture::new(width, height, Layout::Rgb, rgb).ok()?;
        let origin = Origin::Generated { recipe: None };
        let png = medley_media::encode(&picture, Format::Png, origin).ok()?;
        Some(format!("data:image/png;base64,{}", STANDARD.encode(png)))
    };
    let mut told = json!({
        "index": index, "done": done, "total": total, "width": width, "height": height, "image": shown(rgb)?,
    });
    if !noisy.is_empty() {
        told["noisy"] = json!(shown(noisy)?);
    }
    Some(told)
}

/// What the user said last.
fn said(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Raw(text) => text.clone(),
        Prompt::Tokens(_) => String::new(),
        Prompt::Messages(messages) => {
            let last = messages.iter().rev().find(|message| message.role == "user");
            last.map(|message| message.content.clone())
                .unwrap_or_default()
        }
    }
}

fn text_work(job: &Job, request: &TextRequest, work: &TextWork, hash: Option<String>) -> NewWork {
    let mut timings = json!(work.timings);
    timings["tokens"] = json!(work.tokens);
    timings["prompt_tokens"] = json!(work.prompt_tokens);
    NewWork {
        medium: Medium::Text,
        model: job.model.clone(),
        model_sha256: hash,
        prompt: said(&request.prompt),
        recipe: job.request.clone(),
        mime: "text/plain",
        bytes: work.text.clone().into_bytes(),
        size: None,
        timings,
        job: Some(job.id.clone()),
    }
}

/// What sound is kept as: nothing is lost, in half the room.
const SOUND: SoundFormat = SoundFormat::Flac;

fn spoken_work(
    job: &Job,
    request: SpeechRequest,
    speech: &Speech,
    hash: Option<String>,
) -> Result<Vec<NewWork>, Failure> {
    let prompt = request.text.clone();
    let recipe = json!(Request::Speech(request));
    let mut timings = json!(speech.work.timings);
    timings["seconds"] = json!(speech.work.seconds);
    Ok(vec![NewWork {
        medium: Medium::Speech,
        model: job.model.clone(),
        model_sha256: hash,
        prompt,
        bytes: speech::encoded(&speech.audio, SOUND, Some(&recipe.to_string()))?,
        recipe,
        mime: SOUND.mime(),
        size: None,
        timings,
        job: Some(job.id.clone()),
    }])
}

fn music_work(
    job: &Job,
    request: MusicRequest,
    music: &Music,
    hash: Option<String>,
) -> Result<Vec<NewWork>, Failure> {
    let prompt = request.prompt.clone();
    let recipe = json!(Request::Music(request));
    let mut timings = json!(music.work.timings);
    timings["seconds"] = json!(music.work.seconds);
    let target = Target::Sound(SOUND);
    Ok(vec![NewWork {
        medium: Medium::Music,
        model: job.model.clone(),
        model_sha256: hash,
        prompt,
        bytes: music::encoded(music, target, Some(&recipe.to_string()))?,
        recipe,
        mime: target.mime(),
        size: None,
        timings,
        job: Some(job.id.clone()),
    }])
}

fn picture_works(
    job: &Job,
    request: &ImageRequest,
    images: &Images,
    hash: Option<String>,
) -> Result<Vec<NewWork>, Failure> {
    let format = if request.walk.is_some() {
        Format::Gif
    } else {
        Format::Png
    };
    let files = image::encoded(request, images, format, true)?;
    let work = |file: image::Encoded| NewWork {
        medium: Medium::Image,
        model: job.model.clone(),
        model_sha256: hash.clone(),
        prompt: request.prompt.clone(),
        recipe: json!(Request::Image(file.request)),
        mime: format.mime(),
        bytes: file.bytes,
        size: Some([file.width, file.height]),
        timings: json!(images.work.timings),
        job: Some(job.id.clone()),
    };
    Ok(files.into_iter().map(work).collect())
}
