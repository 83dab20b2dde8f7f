//! Forms with pictures in them.

use axum::extract::Request;
use medley_engine::fetch::sha256_hex;
use medley_engine::image::{Picture, decode_input, mask_of_transparency};
use serde_json::{Map, Value, json};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::form::{self, FIELDS};
use crate::service::Service;

/// Fields that are numbers, and those that are yes or no; a form has only words.
const NUMBERS: [&str; 10] = [
    "n",
    "seed",
    "steps",
    "guidance",
    "strength",
    "upscale",
    "output_compression",
    "partial_images",
    "truncation",
    "priority",
];
const FLAGS: [&str; 1] = ["stream"];

/// A picture that was sent.
pub(crate) struct Sent {
    pub(crate) picture: Picture,
    pub(crate) sha256: String,
    /// The file.
    pub(crate) bytes: Vec<u8>,
}

/// A form to edit a picture by.
pub(crate) struct Form {
    pub(crate) fields: Fields,
    pub(crate) init: Sent,
    /// White where the picture is painted anew. Its SHA-256 is that of the file that says so, which may be the picture's.
    pub(crate) mask: Option<Sent>,
}

/// Reads a form. Where the picture, or the mask, is transparent it is painted anew.
pub(crate) async fn read(service: &Service, request: Request) -> Answer<Form> {
    let mut form = form::open(service, request, super::UPLOAD).await?;
    let mut words = Map::new();
    let (mut image, mut mask) = (None, None);
    while let Some(field) = form.next().await? {
        let name = field.name();
        match name.as_str() {
            "image" | "image[]" if image.is_some() => {
                return Err(ApiError::invalid(
                    Some("unsupported_parameter"),
                    "Unsupported parameter: 'image' can only be one picture.",
                )
                .about("image"));
            }
            "image" | "image[]" => image = Some(field.bytes().await?),
            "mask" => mask = Some(field.bytes().await?),
            _ if words.len() >= FIELDS => {
                return Err(ApiError::invalid(None, "The form has too many fields."));
            }
            _ => {
                let text = field.text().await?;
                words.insert(name.clone(), value(&name, text));
            }
        }
    }
    let fields = Fields::new(words);
    let Some(image) = image else {
        return Err(fields
            .required("image")
            .err()
            .unwrap_or_else(ApiError::gone));
    };
    let reading = tokio::task::spawn_blocking(move || pictures(image, mask));
    let failed = |_| ApiError::internal("the pictures could not be read");
    let (init, mask) = reading.await.map_err(failed)??;
    Ok(Form { fields, init, mask })
}

/// A word as the JSON that the same request has elsewhere.
fn value(name: &str, text: String) -> Value {
    if NUMBERS.contains(&name)
        && let Ok(number) = serde_json::from_str::<serde_json::Number>(text.trim())
    {
        return Value::Number(number);
    }
    match text.trim() {
        "true" if FLAGS.contains(&name) => json!(true),
        "false" if FLAGS.contains(&name) => json!(false),
        _ => Value::String(text),
    }
}

pub(crate) fn pictures(image: Vec<u8>, mask: Option<Vec<u8>>) -> Answer<(Sent, Option<Sent>)> {
    let read = |bytes: Vec<u8>, field: &'static str| {
        let picture = decode_input(&bytes).map_err(|error| {
            let message = format!("Invalid value for '{field}': {error}.");
            ApiError::invalid(Some("invalid_image"), message).about(field)
        })?;
        let sha256 = sha256_hex(&bytes);
        Ok::<_, ApiError>(Sent {
            picture,
            sha256,
            bytes,
        })
    };
    let init = read(image, "image")?;
    let mask = match mask {
        Some(mask) => {
            let sent = read(mask, "mask")?;
            let Some(picture) = mask_of_transparency(&sent.picture) else {
                let message = "Invalid value for 'mask': nothing in it is transparent, and what is transparent is painted anew.";
                return Err(ApiError::invalid(Some("invalid_value"), message).about("mask"));
            };
            Some(Sent { picture, ..sent })
        }
        None => mask_of_transparency(&init.picture).map(|picture| Sent {
            picture,
            sha256: init.sha256.clone(),
            bytes: Vec::new(),
        }),
    };
    Ok((init, mask))
}
