//! The generators that a chat may call as tools: of pictures, music, speech and clips.

mod make;

use std::sync::Arc;

use medley_engine::image::ImageInputs;
use medley_engine::route::{Destination, route_among};
use medley_engine::serving::{Card, Purpose};
use medley_engine::speech::SoundFormat;
use medley_types::{ImageRequest, InitPicture, InputFile, Medium, Tool};
use serde_json::{Value, json};

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::form::data_url;
use crate::images::ask::{self as images, Sent};
use crate::images::upload;
use crate::jobs::usual;
use crate::service::{Service, wrong_purpose};
use crate::{music, speech, videos};

pub(crate) use make::{Made, News, make};

/// Words that stand for those of the model, where a tool is checked before there are any.
const STAND_IN: &str = "a tree";

/// What there is of each medium.
#[derive(Debug)]
pub(crate) struct Kind {
    medium: Medium,
    purpose: Purpose,
    /// The type of the tool, and its name for the model.
    pub(crate) tool: &'static str,
    /// The type of the item that tells of a call.
    pub(crate) item: &'static str,
    /// What the ids of such items begin with.
    pub(crate) id: &'static str,
    /// What the model gives it.
    argument: &'static str,
    /// Where that stands in the item.
    pub(crate) words: &'static str,
    /// Characters of it at most.
    most: usize,
    /// What the model is told of the tool, and of its argument.
    about: &'static str,
    asks: &'static str,
    /// What the model is told when it is done.
    pub(crate) shown: &'static str,
    /// What a machine without such a model lacks.
    lacks: &'static str,
}

/// Those of all media. `image_generation` and its item are OpenAI's, the others are Medley's own in the same shape.
pub(crate) static KINDS: [Kind; 4] = [
    Kind {
        medium: Medium::Image,
        purpose: Purpose::Image,
        tool: "image_generation",
        item: "image_generation_call",
        id: "ig_",
        argument: "prompt",
        words: "revised_prompt",
        most: 400,
        about: "Draws a picture for the user.",
        asks: "What the picture shows, in a few words.",
        shown: "The picture is drawn, and the user sees it.",
        lacks: "no model here draws pictures",
    },
    Kind {
        medium: Medium::Music,
        purpose: Purpose::Music,
        tool: "music_generation",
        item: "music_generation_call",
        id: "mg_",
        argument: "prompt",
        words: "revised_prompt",
        most: 400,
        about: "Makes a piece of music for the user.",
        asks: "What the music is like: mood, style, instruments, key, tempo.",
        shown: "The music is made, and the user hears it.",
        lacks: "no model here makes music",
    },
    Kind {
        medium: Medium::Speech,
        purpose: Purpose::Speech,
        tool: "speech_generation",
        item: "speech_generation_call",
        id: "sg_",
        argument: "text",
        words: "text",
        most: 2000,
        about: "Says a text aloud to the user.",
        asks: "What is said, word for word.",
        shown: "The text is said, and the user hears it.",
        lacks: "no model here speaks",
    },
    Kind {
        medium: Medium::Video,
        purpose: Purpose::Video,
        tool: "video_generation",
        item: "video_generation_call",
        id: "vg_",
        argument: "prompt",
        words: "revised_prompt",
        most: 400,
        about: "Makes a short clip for the user.",
        asks: "What is seen in the clip and how it moves, in a few words.",
        shown: "The clip is made, and the user sees it.",
        lacks: "no model here makes clips",
    },
];

impl Kind {
    /// The one of a tool's type.
    pub(crate) fn of_tool(kind: Option<&str>) -> Option<&'static Self> {
        KINDS.iter().find(|one| Some(one.tool) == kind)
    }

    /// The one of an item's type.
    pub(crate) fn of_item(kind: Option<&str>) -> Option<&'static Self> {
        KINDS.iter().find(|one| Some(one.item) == kind)
    }

    /// Whether it makes what a prompt is routed to.
    pub(crate) fn makes(&self, destination: Destination) -> bool {
        match destination {
            Destination::Image => self.medium == Medium::Image,
            Destination::Speech => self.medium == Medium::Speech,
            Destination::Music => self.medium == Medium::Music,
            Destination::Video => self.medium == Medium::Video,
            Destination::Text | Destination::Create => false,
        }
    }

    /// The tool as the model is told of it.
    pub(crate) fn function(&self) -> Tool {
        self.taking(json!({
            "type": "string", "description": self.asks, "minLength": 1, "maxLength": self.most,
        }))
    }

    /// The same, to be called with what of these words is for its model.
    pub(crate) fn function_of(&self, words: &str) -> Tool {
        let destination = Destination::ALL.into_iter().find(|d| self.makes(*d));
        let route = destination.and_then(|destination| route_among(words, &[destination]));
        let words = route.map_or_else(|| words.trim().to_owned(), |route| route.prompt);
        self.taking(json!({ "const": words }))
    }

    fn taking(&self, argument: Value) -> Tool {
        Tool {
            name: self.tool.to_owned(),
            description: Some(self.about.to_owned()),
            parameters: Some(json!({
                "type": "object", "additionalProperties": false, "required": [self.argument],
                "properties": { self.argument: argument },
            })),
        }
    }

    /// What a call gives it; nothing where the call is not whole.
    pub(crate) fn words_of(&self, arguments: &str) -> Option<String> {
        let given: Value = serde_json::from_str(arguments).ok()?;
        let words = given[self.argument].as_str()?.trim();
        (!words.is_empty()).then(|| words.to_owned())
    }

    /// The arguments of a call that gave it these words.
    pub(crate) fn arguments(&self, words: &str) -> String {
        json!({ self.argument: words }).to_string()
    }
}

/// A generator that may be called, with all that its tool says but the words of the call.
pub(crate) struct Generator {
    pub(crate) kind: &'static Kind,
    fields: Fields,
    /// The picture that is changed.
    base: Option<Base>,
}

/// A picture that another is made from.
struct Base {
    init: InitPicture,
    mask: Option<InputFile>,
    inputs: ImageInputs,
}

/// The generators among the tools of a request, each checked: what cannot be made is refused before anything is written.
/// `functions` are those that may be called; `earlier` are the items of the conversation.
pub(crate) async fn offered(
    service: &Service,
    fields: &Fields,
    functions: &[Tool],
    earlier: &[Value],
) -> Answer<Vec<Arc<Generator>>> {
    let mut all = Vec::new();
    for (index, value) in fields.list("tools")?.unwrap_or_default().iter().enumerate() {
        let kind = Kind::of_tool(value["type"].as_str());
        let allowed = |kind: &&Kind| functions.iter().any(|tool| tool.name == kind.tool);
        let Some(kind) = kind.filter(allowed) else {
            continue;
        };
        let tool = fields.item("tools", index, value)?;
        let cards = service.cards().await?;
        let model = match tool.text("model")? {
            Some(model) => model.to_owned(),
            None => {
                usual(&cards, kind.medium).ok_or_else(|| tool.wrong_value("type", kind.lacks))?
            }
        };
        let within = format!("tools[{index}]");
        let card = cards.into_iter().find(|card| card.id == model);
        let card = card.ok_or_else(|| ApiError::no_model(&model).within(&within))?;
        if card.purpose != kind.purpose {
            let lacks = format!("does not make what '{}' makes", kind.tool);
            return Err(wrong_purpose(&model, &lacks).within(&within));
        }
        let mut generator = Generator {
            kind,
            fields: tool.with("model", model),
            base: None,
        };
        generator.base = generator.base_among(earlier).await?;
        generator.check(service, card).await?;
        all.push(Arc::new(generator));
    }
    Ok(all)
}

impl Generator {
    /// The fields of a request for these words.
    fn asked(&self, words: &str) -> Fields {
        let field = match self.kind.medium {
            Medium::Speech => "input",
            _ => "prompt",
        };
        self.fields.with(field, words)
    }

    /// Refuses what its model cannot make, whatever the words.
    async fn check(&self, service: &Service, card: Card) -> Answer<()> {
        self.fields
            .refuse(&["n"], "is not supported: of each call comes one work")?;
        let asked = self.asked(STAND_IN);
        match self.kind.medium {
            Medium::Image => {
                let (sent, request) = self.picture(service, STAND_IN).await?;
                let config = service.picture_config(card).await?;
                images::complete(&config, &asked, &sent, &request)
                    .map_err(|error| self.own(error))?;
            }
            Medium::Music => {
                self.sound()?;
                music::request(service, &asked).await?;
            }
            Medium::Speech => {
                self.sound()?;
                speech::check_voice(service, &asked, card).await?;
            }
            _ => {
                self.fields.word("output_format", &["mp4"])?;
                let clip = videos::ask::Asked::of(asked);
                videos::ask::request(service, clip).await?;
            }
        }
        Ok(())
    }

    /// An error whose field is one of the tool's.
    fn own(&self, error: ApiError) -> ApiError {
        let path = self.fields.path("");
        match &error.param {
            Some(param) if !param.starts_with(&path) => error.within(path.trim_end_matches('.')),
            _ => error,
        }
    }

    /// A picture of these words, and how it is sent.
    async fn picture(&self, service: &Service, words: &str) -> Answer<(Sent, ImageRequest)> {
        // Previews are passed on where the response is a stream.
        let asked = self.asked(words).with("stream", true);
        let sent = images::sent(&asked, false)?;
        let request = images::request(service, &asked).await?;
        let base = self.base.as_ref();
        Ok((
            sent,
            ImageRequest {
                init: base.map(|base| base.init.clone()),
                mask: base.and_then(|base| base.mask.clone()),
                ..request
            },
        ))
    }

    /// What music and speech are sent as.
    fn sound(&self) -> Answer<(SoundFormat, &'static str)> {
        let names = ["mp3", "opus", "flac", "wav"];
        let name = self.fields.word("output_format", &names)?;
        // Small enough to be sent back with the conversation, and written in no time, which MP3 is not.
        Ok(match name.unwrap_or("opus") {
            "mp3" => (SoundFormat::Mp3, "mp3"),
            "flac" => (SoundFormat::Flac, "flac"),
            "wav" => (SoundFormat::Wav, "wav"),
            _ => (SoundFormat::Opus, "opus"),
        })
    }

    /// The last picture of a conversation, where the tool is to change one.
    async fn base_among(&self, earlier: &[Value]) -> Answer<Option<Base>> {
        let fields = &self.fields;
        if self.kind.medium != Medium::Image {
            return Ok(None);
        }
        let mask = fields.object("input_image_mask")?;
        if fields.word("action", &["auto", "generate", "edit"])? != Some("edit") {
            return match mask {
                Some(_) => {
                    Err(fields.wrong_value("input_image_mask", "it goes with 'action': 'edit'"))
                }
                None => Ok(None),
            };
        }
        let pictures = earlier.iter().rev();
        let last = pictures
            .filter(|item| item["type"] == self.kind.item)
            .find_map(|item| item["result"].as_str());
        let none = "there is no picture in this conversation that could be changed";
        let last = last.ok_or_else(|| fields.wrong_value("action", none))?;
        let broken = || {
            fields.wrong_value(
                "action",
                "the last picture of this conversation is no base64",
            )
        };
        let picture = data_url(&format!("data:;base64,{last}")).ok_or_else(broken)?;
        let mask = match mask {
            Some(mask) => {
                mask.refuse(&["file_id"], "is not supported: send the mask itself")?;
                mask.required("image_url")?;
                let bytes = data_url(mask.text("image_url")?.unwrap_or_default());
                let problem = "the mask must come as 'data:image/png;base64,…': nothing is fetched";
                Some(bytes.ok_or_else(|| mask.wrong_value("image_url", problem))?)
            }
            None => None,
        };
        let reading = tokio::task::spawn_blocking(move || upload::pictures(picture, mask));
        let failed = |_| ApiError::internal("the pictures could not be read");
        let (picture, mask) = reading
            .await
            .map_err(failed)?
            .map_err(|error| self.own(error))?;
        let inputs = ImageInputs {
            mask: mask.as_ref().map(|mask| mask.picture.clone()),
            init: Some(picture.picture),
            preview_every: None,
        };
        let checked = inputs.check();
        checked.map_err(|error| fields.wrong_value("input_image_mask", &error.to_string()))?;
        Ok(Some(Base {
            init: images::init(fields, picture.sha256, mask.is_some())?,
            mask: mask.map(|mask| InputFile {
                sha256: mask.sha256,
            }),
            inputs,
        }))
    }
}
