//! `/v1/images/generations` and `/v1/images/edits`.

pub(crate) mod ask;
pub(crate) mod stream;
pub(crate) mod upload;

use std::sync::Arc;

use axum::Json;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medley_engine::CancelToken;
use medley_engine::image::{self, ImageGenerator, ImageInputs, Images, Speed};
use medley_engine::library::NewWork;
use medley_engine::serving::Drawing;
use medley_types::{Event, ImageRequest, Medium, Request as Recipe};
use serde_json::{Value, json};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::kept::with_kept;
use crate::said::now;
use crate::service::Service;
use ask::Sent;

/// Most bytes of the pictures that are sent to be edited, with all that comes with them.
pub(crate) const UPLOAD: usize = 64 << 20;

pub(crate) fn routes() -> axum::Router<Arc<Service>> {
    let edits = post(edit).layer(DefaultBodyLimit::max(UPLOAD));
    axum::Router::new()
        .route("/v1/images/generations", post(generate))
        .route("/v1/images/edits", edits)
}

/// Pictures on their way.
pub(crate) struct Wanted {
    /// Completed for its model.
    pub(crate) request: ImageRequest,
    pub(crate) inputs: ImageInputs,
    generator: Arc<dyn ImageGenerator>,
    pub(crate) sent: Sent,
    /// What this server is called by the client.
    base: String,
    /// Whether a picture is edited.
    edit: bool,
}

async fn generate(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let base = base(request.headers());
    let fields = Fields::of_request(request).await?;
    fields.refuse(
        &["image", "mask", "strength"],
        "belongs to /v1/images/edits",
    )?;
    let sent = ask::sent(&fields, service.kept().is_ok())?;
    let request = ask::request(&service, &fields).await?;
    respond(
        &service,
        &fields,
        sent,
        base,
        request,
        ImageInputs::default(),
    )
    .await
}

async fn edit(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let base = base(request.headers());
    let upload = upload::read(&service, request).await?;
    let fields = &upload.fields;
    let sent = ask::sent(fields, service.kept().is_ok())?;
    let init = ask::init(fields, upload.init.sha256.clone(), upload.mask.is_some())?;
    let request = ImageRequest {
        init: Some(init),
        mask: upload.mask.as_ref().map(|mask| medley_types::InputFile {
            sha256: mask.sha256.clone(),
        }),
        ..ask::request(&service, fields).await?
    };
    let inputs = ImageInputs {
        init: Some(upload.init.picture),
        mask: upload.mask.map(|mask| mask.picture),
        preview_every: None,
    };
    let checked = inputs.check();
    checked.map_err(|error| fields.wrong_value("mask", &error.to_string()))?;
    respond(&service, fields, sent, base, request, inputs).await
}

/// The address that a client called this server by.
fn base(headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or("localhost"))
}

async fn respond(
    service: &Arc<Service>,
    fields: &Fields,
    sent: Sent,
    base: String,
    request: ImageRequest,
    inputs: ImageInputs,
) -> Answer {
    let (generator, place) = service.painter(&request.model).await?;
    let wanted = Wanted {
        base,
        ..Wanted::of(fields, sent, request, inputs, generator)?
    };
    if sent.stream {
        return Ok(stream::respond(service.clone(), wanted, place));
    }
    let answer = wanted.whole(service).await;
    drop(place);
    answer
}

impl Wanted {
    /// What a model is to draw, checked.
    pub(crate) fn of(
        fields: &Fields,
        sent: Sent,
        request: ImageRequest,
        inputs: ImageInputs,
        generator: Arc<dyn ImageGenerator>,
    ) -> Answer<Self> {
        let complete = ask::complete(generator.config(), fields, &sent, &request)?;
        // How long it takes is not asked here, so any speed does.
        let plan = generator.plan(&complete, &Speed { flops_per_s: 1e9 });
        let memory = image::check_memory(&plan, medley_engine::available_memory());
        memory.map_err(|error| {
            ApiError::unavailable(Some("insufficient_memory"), error.to_string()).about("size")
        })?;
        Ok(Self {
            edit: complete.init.is_some(),
            request: complete,
            inputs,
            generator,
            sent,
            base: String::new(),
        })
    }

    pub(crate) fn drawing(
        &self,
        events: Box<dyn FnMut(Event) + Send>,
        cancel: CancelToken,
    ) -> Drawing {
        Drawing {
            generator: self.generator.clone(),
            request: self.request.clone(),
            inputs: self.inputs.clone(),
            events,
            cancel,
        }
    }

    /// The answer at once.
    async fn whole(self, service: &Arc<Service>) -> Answer {
        let drawing = self.drawing(Box::new(|_| {}), CancelToken::default());
        let Self {
            request,
            sent,
            base,
            generator,
            ..
        } = self;
        // The drawing alone holds the model now, and lets go of it when it is done.
        drop(generator);
        let images = service.draw(drawing).await?;
        let size = format!("{}x{}", images.work.width, images.work.height);
        let data: Vec<Value> = if sent.url {
            let kept = keep(service, request, images, sent).await?;
            let address = |id: String| json!({ "url": format!("{base}{}", service.lend(&id)) });
            kept.into_iter().map(address).collect()
        } else {
            let encoding = tokio::task::spawn_blocking(move || encode(&images, &request, sent));
            let failed = |_| ApiError::internal("the pictures could not be written");
            let encoded = encoding.await.map_err(failed)??;
            let item = |bytes: Vec<u8>| json!({ "b64_json": STANDARD.encode(bytes) });
            encoded.into_iter().map(item).collect()
        };
        let answer = json!({
            "created": now(), "data": data, "background": "opaque", "output_format": sent.name,
            "quality": sent.care, "size": size,
        });
        Ok(Json(answer).into_response())
    }
}

/// The request that makes each picture alone.
fn alone<'a>(
    images: &'a Images,
    request: &'a ImageRequest,
) -> impl Iterator<Item = (&'a medley_engine::image::Picture, ImageRequest)> {
    let pictures = images.pictures.iter().zip(&images.work.seeds);
    pictures.map(|(picture, &seed)| {
        let alone = ImageRequest {
            seed,
            count: 1,
            ..request.clone()
        };
        (picture, alone)
    })
}

/// The files of pictures, with their recipes inside.
pub(crate) fn encode(images: &Images, request: &ImageRequest, sent: Sent) -> Answer<Vec<Vec<u8>>> {
    let one = |(picture, alone)| {
        let recipe = json!(Recipe::Image(alone)).to_string();
        let bytes = image::encode(picture, sent.format, sent.quality, Some(&recipe));
        bytes.map_err(|error| ApiError::internal(error.to_string()))
    };
    alone(images, request).map(one).collect()
}

/// Puts pictures into the library, and gives their ids.
async fn keep(
    service: &Arc<Service>,
    request: ImageRequest,
    images: Images,
    sent: Sent,
) -> Answer<Vec<String>> {
    let hash = service.fingerprint(&request.model).await?;
    let kept = with_kept(service, move |kept| {
        let mut ids = Vec::new();
        for (picture, alone) in alone(&images, &request) {
            let recipe = json!(Recipe::Image(alone));
            let bytes = image::encode(
                picture,
                sent.format,
                sent.quality,
                Some(&recipe.to_string()),
            )?;
            let work = kept.library.add(NewWork {
                medium: Medium::Image,
                model: request.model.clone(),
                model_sha256: hash.clone(),
                prompt: request.prompt.clone(),
                recipe,
                mime: sent.format.mime(),
                bytes,
                size: Some([picture.width(), picture.height()]),
                timings: json!(images.work.timings),
                job: None,
            })?;
            ids.push(work.id);
        }
        Ok(ids)
    });
    kept.await
}
