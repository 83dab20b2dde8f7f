//! What is to be made of a brief, wholly specified: from the plan alone every file can be made again.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::refs;
use crate::{EngineError, Result};

/// The version of plans that this program writes.
pub const VERSION: u32 = 1;

/// A brief, what was understood of it, and the works that are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Of the form of plans; this program writes and reads 1.
    pub version: u32,
    /// As the user wrote it.
    pub brief: String,
    /// Name of the kit whose works these are.
    pub kit: String,
    /// What it is called: a product, a place, a topic.
    pub name: String,
    /// What it is, as a phrase.
    pub what: String,
    /// Whom it is for.
    pub audience: String,
    /// How it is to sound.
    pub tone: String,
    /// What is to be remembered.
    pub message: String,
    /// The colours of posters, film and page.
    pub palette: Palette,
    /// The models that make the works.
    pub models: Models,
    /// The works, in the order in which they are shown.
    pub works: Vec<WorkPlan>,
}

/// Colours as `#rrggbb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Palette {
    /// Behind everything; light.
    pub paper: String,
    /// Of letters; dark.
    pub ink: String,
    /// Of what is to be noticed.
    pub accent: String,
    /// Of areas beside the paper.
    pub soft: String,
}

/// Names of models, as `--model` takes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Models {
    /// Writes.
    pub text: String,
    /// Draws.
    pub image: String,
    /// Makes clips.
    pub video: String,
    /// Makes music.
    pub music: String,
    /// Speaks.
    pub speech: String,
}

/// One work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkPlan {
    /// What others refer to it by: small letters, digits and `-`.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// Name of its file.
    pub file: String,
    /// How it is made.
    #[serde(flatten)]
    pub make: Make,
}

/// How a work is made. In texts `@ID`, `@ID.PART` and `@ID.PART.N` stand for what other works say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "medium", rename_all = "lowercase")]
pub enum Make {
    /// Written, part by part.
    Text {
        /// The parts, in order.
        parts: Vec<Part>,
        /// Of the draws.
        seed: u64,
    },
    /// Drawn.
    Image {
        /// What is seen.
        prompt: String,
        /// What is not.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        negative: String,
        /// Width and height; the model's usual where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<[u32; 2]>,
        /// How many times larger the picture is made; as the model does where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upscale: Option<u32>,
        /// Pictures that are tried, of which the one that comes nearest to the prompt is taken, where something can tell.
        #[serde(default = "one_try", skip_serializing_if = "is_one_try")]
        tries: u32,
        /// Of the noise of the first.
        seed: u64,
    },
    /// Typeset: words, colours and a picture.
    Poster {
        /// Width and height in pixels.
        size: [u32; 2],
        /// In small letters above the title.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        kicker: String,
        /// In large letters.
        headline: String,
        /// Below it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
        /// The work that is seen on it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        picture: String,
    },
    /// Played.
    Music {
        /// Style, mood, key.
        prompt: String,
        /// About how long.
        seconds: f64,
        /// Of the draws.
        seed: u64,
    },
    /// Said.
    Speech {
        /// The words.
        text: String,
        /// The voice; the model's usual where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        voice: Option<String>,
        /// Of what the voice leaves to chance.
        seed: u64,
    },
    /// A clip.
    Video {
        /// What happens.
        prompt: String,
        /// The work whose picture is the first frame.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        init: String,
        /// Frames of the file; the model's usual where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frames: Option<u32>,
        /// Of the noise.
        seed: u64,
    },
    /// Put together of other works.
    Film {
        /// Width and height in pixels.
        size: [u32; 2],
        /// What is seen, in order.
        scenes: Vec<FilmScene>,
        /// The work that speaks; its words are the captions.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        voice: String,
        /// The work that plays under it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        music: String,
    },
    /// A page that shows the works together.
    Page {
        /// What it shows, in order.
        blocks: Vec<Block>,
    },
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What others refer to it by.
    pub id: String,
    /// Its heading in the file.
    pub heading: String,
    /// What it looks like.
    #[serde(default)]
    pub form: Form,
    /// What the model is asked for.
    pub ask: String,
    /// Which of the kit's examples it is shown; none where this is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub like: String,
    /// Said before what the model writes, as it stands.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub opening: String,
    /// Least and most words of one item.
    pub words: [usize; 2],
    /// Items of a list.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: usize,
    /// Taken where nothing that the model writes will do; one for each item.
    pub fallback: Vec<String>,
}

fn one_try() -> u32 {
    1
}

fn is_one_try(tries: &u32) -> bool {
    *tries == 1
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

/// What a part of a text looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// One line without a full stop, as headlines are.
    #[default]
    Line,
    /// Whole sentences.
    Sentences,
    /// Several of either, each with a dash before it.
    List,
    /// Questions with their answers.
    Questions,
}

/// A scene of a film.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilmScene {
    /// Words on a card.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Below them, smaller.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subtitle: String,
    /// The work whose picture is seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub still: String,
    /// The work whose clip is seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub clip: String,
    /// Seconds, or its share of the time where a voice says how long the film is.
    pub seconds: f64,
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// How it is shown.
    pub kind: BlockKind,
    /// Above it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub heading: String,
    /// Works, or parts of texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub show: Vec<String>,
}

/// How a page shows something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// Headline, line below it and picture, at the top: two texts and a work.
    Hero,
    /// A film over the whole width.
    Film,
    /// Texts in a column.
    Text,
    /// A text beside a picture: a text and a work.
    Beside,
    /// Items of lists as cards.
    Cards,
    /// Pictures and clips in a row.
    Gallery,
    /// Sounds with their players.
    Sound,
    /// Questions that open.
    Questions,
    /// A line to act upon.
    Call,
}

impl Make {
    /// Every text in it that may refer to other works.
    fn texts(&self) -> Vec<&str> {
        match self {
            Self::Text { parts, .. } => parts
                .iter()
                .flat_map(|part| [part.ask.as_str(), part.opening.as_str()])
                .collect(),
            Self::Image { prompt, .. } | Self::Music { prompt, .. } => vec![prompt],
            Self::Poster {
                kicker,
                headline,
                text,
                ..
            } => vec![kicker, headline, text],
            Self::Speech { text, .. } => vec![text],
            Self::Video { prompt, .. } => vec![prompt],
            Self::Film { scenes, .. } => scenes
                .iter()
                .flat_map(|scene| [scene.title.as_str(), scene.subtitle.as_str()])
                .collect(),
            Self::Page { blocks } => blocks.iter().map(|block| block.heading.as_str()).collect(),
        }
    }

    /// Works that it names outright.
    pub(super) fn named(&self) -> Vec<&str> {
        let named = match self {
            Self::Poster { picture, .. } => vec![picture.as_str()],
            Self::Video { init, .. } => vec![init.as_str()],
            Self::Film {
                scenes,
                voice,
                music,
                ..
            } => scenes
                .iter()
                .flat_map(|scene| [scene.still.as_str(), scene.clip.as_str()])
                .chain([voice.as_str(), music.as_str()])
                .collect(),
            Self::Page { blocks } => blocks
                .iter()
                .flat_map(|block| &block.show)
                .map(|shown| shown.split('.').next().unwrap_or(""))
                .collect(),
            _ => Vec::new(),
        };
        named.into_iter().filter(|id| !id.is_empty()).collect()
    }

    /// The name of the medium as people read it.
    pub fn medium(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Image { .. } => "image",
            Self::Poster { .. } => "poster",
            Self::Music { .. } => "music",
            Self::Speech { .. } => "speech",
            Self::Video { .. } => "video",
            Self::Film { .. } => "film",
            Self::Page { .. } => "page",
        }
    }

    pub(super) fn endings(&self) -> &'static [&'static str] {
        match self {
            Self::Text { .. } => &["md", "txt"],
            Self::Image { .. } | Self::Poster { .. } => &["png", "jpg", "webp"],
            Self::Music { .. } | Self::Speech { .. } => &["wav", "flac", "mp3", "opus"],
            Self::Video { .. } | Self::Film { .. } => &["mp4"],
            Self::Page { .. } => &["html"],
        }
    }
}

impl Plan {
    /// The works that this one is made of, without those that they are made of.
    pub fn needs(&self, work: &WorkPlan) -> Vec<String> {
        let known: HashSet<&str> = self.works.iter().map(|work| work.id.as_str()).collect();
        let said = work.make.texts();
        let said = said.iter().flat_map(|text| refs::ids(text));
        let named = work.make.named().into_iter().map(str::to_owned);
        let all: BTreeSet<String> = said.chain(named).collect();
        all.into_iter()
            .filter(|id| known.contains(id.as_str()) && *id != work.id)
            .collect()
    }

    /// A work and all that it is made of, in the order of the plan.
    pub fn closure(&self, id: &str) -> HashSet<String> {
        let mut found = HashSet::new();
        let mut open = vec![id.to_owned()];
        while let Some(id) = open.pop() {
            if let Some(work) = self.work(&id)
                && found.insert(id)
            {
                open.extend(self.needs(work));
            }
        }
        found
    }

    /// The work of this id.
    pub fn work(&self, id: &str) -> Option<&WorkPlan> {
        self.works.iter().find(|work| work.id == id)
    }

    /// Reads a plan, and refuses one that nothing can be made of.
    ///
    /// # Errors
    /// [`EngineError::Plan`] names the field.
    pub fn read(value: Value) -> Result<Self> {
        let mut unknown = None;
        let read = serde_ignored::deserialize(value, |path| {
            unknown.get_or_insert(path.to_string());
        });
        let plan: Self = read.map_err(|error: serde_json::Error| wrong("plan", error))?;
        if let Some(field) = unknown {
            return Err(wrong(&field, "no plan has this field"));
        }
        plan.check()?;
        Ok(plan)
    }
}

impl WorkPlan {
    /// The files that it is written to, its own first.
    pub fn files(&self) -> Vec<String> {
        let stem = self.file.rsplit_once('.').map_or("", |(stem, _)| stem);
        let beside = match &self.make {
            Make::Music { .. } => Some("mid"),
            Make::Speech { .. } => Some("vtt"),
            _ => None,
        };
        let beside = beside.map(|ending| format!("{stem}.{ending}"));
        [self.file.clone()].into_iter().chain(beside).collect()
    }
}

/// A plan that cannot be carried out.
pub(super) fn wrong(field: &str, reason: impl ToString) -> EngineError {
    EngineError::Plan {
        field: field.to_owned(),
        reason: reason.to_string(),
    }
}
