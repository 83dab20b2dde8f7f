//! The models that may be asked for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use medley_formats::WeightFile;
use medley_types::{ErrorReport, Medium};

use crate::fetch::{CancelFlag, sha256_file};
use crate::image::{self, Companion, ImageConfig, ImageGenerator, SCORER, Sources};
use crate::manifest::Manifest;
use crate::music::{MusicGenerator, MusicModel};
use crate::route::Router;
use crate::speech::Voices;
use crate::transcript::{self, Listener};
use crate::video::{self, VideoGenerator};
use crate::{Device, EmbeddingModel, LoadOptions, PipelineError, Resolved, Store, TextModel};

/// The file of a model's folder that lists what it can draw.
const SUBJECTS: &str = "subjects.txt";

/// What such lists are measured by.
const SUBJECT_SCORER: &str = "icon-scorer";

/// Bytes of the largest such list.
const MOST_SUBJECTS: u64 = 4 << 20;

/// A thing that a model draws well: a line of `subjects.txt`, its fields separated by tabs.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Its name, as captions had it.
    pub name: String,
    /// Words that go with it.
    pub words: String,
    /// How many of the other things its pictures are taken for first; 0 where it is always recognised.
    pub doubt: f32,
}

impl Subject {
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.trim().split('\t').map(str::trim);
        let name = fields.next().filter(|name| !name.is_empty())?;
        let words = fields.next().unwrap_or("");
        let doubt = fields.next().and_then(|doubt| doubt.parse().ok());
        Some(Self {
            name: name.to_owned(),
            words: words.to_owned(),
            doubt: doubt.filter(|doubt: &f32| doubt.is_finite()).unwrap_or(0.0),
        })
    }
}

/// What a model is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Texts and chats.
    Text,
    /// Vectors of texts.
    Embedding,
    /// Pictures.
    Image,
    /// Texts of what is said.
    Transcript,
    /// Spoken words.
    Speech,
    /// Tunes.
    Music,
    /// Clips.
    Video,
}

/// A model that can be loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Its name in requests.
    pub id: String,
    /// Since when it is here, in seconds since 1970.
    pub created: u64,
    /// What it does.
    pub purpose: Purpose,
    /// Bytes of memory that it takes, about.
    pub memory: u64,
}

/// A model in memory.
#[derive(Clone)]
pub enum Model {
    /// Writes.
    Text(Arc<TextModel>),
    /// Embeds.
    Embedding(Arc<EmbeddingModel>),
    /// Draws.
    Image(Arc<dyn ImageGenerator>),
    /// Listens.
    Speech(Arc<dyn Listener>),
    /// Speaks.
    Voice(Arc<Voices>),
    /// Makes music.
    Music(Arc<dyn MusicGenerator>),
    /// Makes clips.
    Video(Arc<dyn VideoGenerator>),
}

/// Where a server has its models from. Requests name models, never files.
pub trait Shelf: Send + Sync + 'static {
    /// All models.
    fn list(&self) -> Vec<Card>;

    /// Loads one of them.
    ///
    /// # Errors
    /// A model that is damaged or cannot be read.
    fn load(&self, card: &Card) -> Result<Model, ErrorReport>;

    /// SHA-256 of a model's weights, where it is known; may read them.
    fn fingerprint(&self, _card: &Card) -> Option<String> {
        None
    }

    /// How many numbers a model's weights are, where its files say so; may read their heads.
    fn parameters(&self, _card: &Card) -> Option<u64> {
        None
    }

    /// Names of a model's voices, the usual one first; none of one that does not speak or is damaged. May read small files.
    fn voices(&self, _card: &Card) -> Vec<String> {
        Vec::new()
    }

    /// The configuration of a model that draws pictures or makes clips; none of another. May read a small file.
    fn picture_config(&self, _card: &Card) -> Option<ImageConfig> {
        None
    }

    /// What a model of pictures draws well, as its file `subjects.txt` says; nothing where it does not say. May read a small file.
    fn subjects(&self, _card: &Card) -> Vec<Subject> {
        Vec::new()
    }

    /// The folder of what compares pictures of this model with words, where its `subjects.txt` was measured by one.
    fn scorer(&self, _card: &Card) -> Option<PathBuf> {
        None
    }

    /// What tells where prompts go, with the encoder that it reads them by where that is there; may load it.
    fn router(&self) -> Router {
        Router::default()
    }

    /// Whether a language model has a chat template, without which it only goes on with texts; may read a file's head.
    fn chats(&self, card: &Card) -> bool {
        card.purpose == Purpose::Text
    }
}

/// The models on this machine: those of a store, and one beside it.
pub struct StoreShelf {
    store: Store,
    own: Option<(Card, PathBuf)>,
    options: LoadOptions,
    /// Hashes of weight files that no manifest told, so that each is read once.
    hashes: Mutex<HashMap<PathBuf, String>>,
    /// Whether the models at these places chat.
    chats: Mutex<HashMap<PathBuf, bool>>,
    /// How many numbers the models at these places are.
    parameters: Mutex<HashMap<PathBuf, Option<u64>>>,
}

impl StoreShelf {
    /// The installed models of `store`; `options` say how language models are loaded.
    pub fn new(store: Store, options: LoadOptions) -> Self {
        Self {
            store,
            own: None,
            options,
            hashes: Mutex::default(),
            chats: Mutex::default(),
            parameters: Mutex::default(),
        }
    }

    /// The same with one more, whose files may lie anywhere: it is called by its name in the catalog, or by that of its
    /// file or folder.
    pub fn with(mut self, model: &Resolved) -> Self {
        let plain = model.entry.is_some() || model.name.starts_with("hf:");
        let id = match model.path.file_stem() {
            Some(stem) if !plain => stem.to_string_lossy().into_owned(),
            _ => model.name.clone(),
        };
        self.own = Some((card(&id, model), model.path.clone()));
        self
    }

    /// Where a model lies.
    fn path(&self, card: &Card) -> Result<PathBuf, ErrorReport> {
        match &self.own {
            Some((own, path)) if own.id == card.id => Ok(path.clone()),
            _ => match self.store.resolve(&card.id) {
                Ok(resolved) => Ok(resolved.path),
                Err(error) => Err(error.report()),
            },
        }
    }

    /// The name that requests call the model of [`with`](Self::with) by.
    pub fn own_name(&self) -> Option<&str> {
        self.own.as_ref().map(|(card, _)| card.id.as_str())
    }
}

impl Shelf for StoreShelf {
    fn list(&self) -> Vec<Card> {
        let own = self.own.iter().map(|(card, _)| card.clone());
        let mut cards: Vec<Card> = own.collect();
        for installed in self.store.installed().unwrap_or_default() {
            let known = cards.iter().any(|card| card.id == installed.name);
            if known || installed.fault.is_some() {
                continue;
            }
            if let Ok(model) = self.store.resolve(&installed.name)
                && serves(&model)
            {
                cards.push(card(&installed.name, &model));
            }
        }
        cards
    }

    fn fingerprint(&self, card: &Card) -> Option<String> {
        let path = self.path(card).ok()?;
        let weights = weights(&path);
        let largest = weights.into_iter().max_by_key(|(_, length)| *length)?.0;
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hash) = hashes.get(&largest) {
            return Some(hash.clone());
        }
        let known = || {
            let manifest = Manifest::read(largest.parent()?).ok()??;
            let name = largest.file_name()?.to_str()?;
            let file = manifest.files.into_iter().find(|file| file.name == name)?;
            Some(file.sha256)
        };
        let read = || {
            Some(
                sha256_file(&largest, &CancelFlag::new(), &mut |_| {})
                    .ok()?
                    .1,
            )
        };
        let hash = known().or_else(read)?;
        hashes.insert(largest, hash.clone());
        Some(hash)
    }

    fn parameters(&self, card: &Card) -> Option<u64> {
        let path = self.path(card).ok()?;
        let known = &self.parameters;
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        *known
            .entry(path)
            .or_insert_with_key(|path| parameters(path))
    }

    fn chats(&self, card: &Card) -> bool {
        let Ok(path) = self.path(card) else {
            return false;
        };
        let mut chats = self.chats.lock().unwrap_or_else(PoisonError::into_inner);
        *chats
            .entry(path)
            .or_insert_with_key(|path| card.purpose == Purpose::Text && has_template(path))
    }

    fn picture_config(&self, card: &Card) -> Option<ImageConfig> {
        let pictures = matches!(card.purpose, Purpose::Image | Purpose::Video);
        let path = pictures.then(|| self.path(card).ok()).flatten()?;
        image::read_config(&path).ok()
    }

    fn subjects(&self, card: &Card) -> Vec<Subject> {
        let path = self.path(card).ok().map(|path| path.join(SUBJECTS));
        let text = path.and_then(|path| crate::image::read_limited(&path, MOST_SUBJECTS).ok());
        let text = text
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default();
        text.lines().filter_map(Subject::read).collect()
    }

    fn scorer(&self, card: &Card) -> Option<PathBuf> {
        let measured = !self.subjects(card).is_empty();
        let found = measured.then(|| self.store.resolve(SUBJECT_SCORER).ok());
        found.flatten().map(|found| found.path)
    }

    fn router(&self) -> Router {
        Router::open(&self.store)
    }

    fn voices(&self, card: &Card) -> Vec<String> {
        let path = (card.purpose == Purpose::Speech).then(|| self.path(card).ok());
        let names = path.flatten().map(|path| crate::speech::names(&path));
        names.and_then(Result::ok).unwrap_or_default()
    }

    fn load(&self, card: &Card) -> Result<Model, ErrorReport> {
        let path = self.path(card)?;
        let model = match card.purpose {
            Purpose::Image => {
                let named = |name: &str| Some(self.store.resolve(name).ok()?.path);
                load_pictures(&path, &self.options.device, &named).map(Model::Image)
            }
            Purpose::Transcript => {
                transcript::load(&path).map(|listener| Model::Speech(listener.into()))
            }
            Purpose::Speech => Voices::open(&path).map(|voices| Model::Voice(Arc::new(voices))),
            Purpose::Music => {
                let music = MusicModel::load(&path, &self.options.device);
                music.map(|model| Model::Music(Arc::new(model)))
            }
            Purpose::Video => {
                let named = |name: &str| Some(self.store.resolve(name).ok()?.path);
                load_clips(&path, &self.options.device, &named).map(Model::Video)
            }
            Purpose::Text => {
                TextModel::load(&path, &self.options).map(|m| Model::Text(Arc::new(m)))
            }
            Purpose::Embedding => {
                EmbeddingModel::load(&path).map(|m| Model::Embedding(Arc::new(m)))
            }
        };
        model.map_err(|error| error.report())
    }
}

/// A model that draws, with all that stands beside it: inside its folder, or where `named` says.
///
/// # Errors
/// Files that are missing or damaged.
pub fn load_pictures(
    path: &Path,
    device: &Device,
    named: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<Arc<dyn ImageGenerator>, PipelineError> {
    let config = image::read_config(path)?;
    let sources = sources(path, &config, named)?;
    Ok(image::load(config, &sources, device)?.into())
}

/// A model of clips, likewise.
///
/// # Errors
/// As [`load_pictures`].
pub fn load_clips(
    path: &Path,
    device: &Device,
    named: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<Arc<dyn VideoGenerator>, PipelineError> {
    let config = image::read_config(path)?;
    let sources = sources(path, &config, named)?;
    Ok(Arc::new(video::load(config, &sources, device)?))
}

/// What stands beside a model.
fn sources(
    path: &Path,
    config: &ImageConfig,
    named: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<Sources, PipelineError> {
    let beside = |name: &Option<String>| match image::companion(path, name.as_deref()?) {
        Companion::Inside(folder) => Some(folder),
        Companion::Named(name) => named(&name),
    };
    let sources = Sources {
        model: path.to_owned(),
        text_encoder: beside(&config.text_encoder),
        vae: beside(&config.vae),
        upscaler: beside(&config.upscaler),
        loras: Vec::new(),
    };
    for (name, found) in [
        (&config.text_encoder, &sources.text_encoder),
        (&config.vae, &sources.vae),
        (&config.upscaler, &sources.upscaler),
    ] {
        if let (Some(name), None) = (name, found) {
            return Err(PipelineError::ModelConfig(format!(
                "{name}, which it needs, is not on this machine"
            )));
        }
    }
    Ok(sources)
}

/// Whether requests can be made of it: what enlarges or scores pictures only stands beside others.
fn serves(model: &Resolved) -> bool {
    let entry = model.entry.as_ref();
    entry.is_none_or(|entry| !["rrdb", SCORER].contains(&entry.architecture.as_str()))
}

fn card(id: &str, model: &Resolved) -> Card {
    let bytes: u64 = weights(&model.path).iter().map(|(_, length)| length).sum();
    // Beside the weights there are the tokenizer, and activations.
    let about = bytes.saturating_add(bytes / 4);
    // 0 stands for what was not measured.
    let known = model
        .entry
        .as_ref()
        .map(|entry| entry.peak_memory)
        .filter(|&peak| peak > 0);
    let created = std::fs::metadata(&model.path).and_then(|m| m.modified());
    Card {
        id: id.to_owned(),
        created: created
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_secs()),
        purpose: purpose(model),
        memory: known.unwrap_or(about),
    }
}

/// What a model does, by its catalog entry or its configuration.
fn purpose(model: &Resolved) -> Purpose {
    if transcript::listens(&model.path) {
        return Purpose::Transcript;
    }
    if model.medium == Some(Medium::Video) || model.path.is_dir() && films(&model.path) {
        return Purpose::Video;
    }
    if model.medium == Some(Medium::Image) || model.path.is_dir() && draws(&model.path) {
        return Purpose::Image;
    }
    match model.medium {
        Some(Medium::Speech) => return Purpose::Speech,
        Some(Medium::Music) => return Purpose::Music,
        _ if crate::speech::speaks(&model.path) => return Purpose::Speech,
        _ if crate::music::plays(&model.path) => return Purpose::Music,
        _ => {}
    }
    let encoder = match &model.entry {
        Some(entry) => entry.architecture == "bert",
        None => {
            let config = std::fs::read_to_string(model.path.join("config.json"));
            let config = config.ok().and_then(|text| {
                serde_json::from_str::<serde_json::Value>(&text)
                    .ok()?
                    .get("model_type")?
                    .as_str()
                    .map(str::to_owned)
            });
            config.as_deref() == Some("bert")
        }
    };
    if encoder {
        Purpose::Embedding
    } else {
        Purpose::Text
    }
}

/// Whether a language model brings a chat template.
fn has_template(path: &Path) -> bool {
    let folder = ["chat_template.jinja", "chat_template.json"]
        .iter()
        .any(|name| path.join(name).is_file());
    if path.is_file() && path.extension().is_some_and(|e| e == "gguf") {
        let file = medley_formats::gguf::Gguf::open(path);
        return file.is_ok_and(|file| file.metadata().str("tokenizer.chat_template").is_some());
    }
    let config = || {
        let beside = if path.is_dir() { path } else { path.parent()? };
        let text = std::fs::read_to_string(beside.join("tokenizer_config.json")).ok()?;
        let config: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(!config.get("chat_template")?.is_null())
    };
    folder || config().unwrap_or(false)
}

/// Whether a folder is that of a picture model.
fn draws(folder: &Path) -> bool {
    makes(folder, "image")
}

/// Whether a folder is that of a model of clips.
fn films(folder: &Path) -> bool {
    makes(folder, "video")
}

/// Whether the configuration of a folder names this medium.
fn makes(folder: &Path, medium: &str) -> bool {
    let text = std::fs::read_to_string(folder.join("config.json"));
    let config = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    config.is_some_and(|config: serde_json::Value| config["medium"] == medium)
}

/// Numbers in all weights of a file or folder; none where there are none, or one of them cannot be read.
fn parameters(path: &Path) -> Option<u64> {
    let files = weights(path).into_iter();
    let counts = files.map(|(file, _)| Some(WeightFile::open(&file).ok()?.parameter_count()));
    counts.sum::<Option<u64>>().filter(|&count| count > 0)
}

/// The file, or the weights directly in a folder, with their lengths in bytes.
fn weights(path: &Path) -> Vec<(PathBuf, u64)> {
    let length = |path: PathBuf| {
        let length = std::fs::metadata(&path).map_or(0, |m| m.len());
        (path, length)
    };
    let Ok(items) = std::fs::read_dir(path) else {
        return vec![length(path.to_owned())];
    };
    let weights = |path: &PathBuf| {
        let extension = path.extension().and_then(|e| e.to_str());
        matches!(extension, Some("safetensors" | "gguf" | "bin" | "pt"))
    };
    let paths = items.filter_map(|item| Some(item.ok()?.path()));
    paths.filter(weights).map(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_weights() {
        let starter = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../starter"));
        let gan = parameters(&starter.join("icon-gan"));
        assert!(
            gan.is_some_and(|count| (800_000..840_000).contains(&count)),
            "{gan:?}"
        );
        let encoder = parameters(&starter.join("icon-encoder/encoder.gguf"));
        assert!(
            encoder.is_some_and(|count| count > 20_000_000),
            "{encoder:?}"
        );
        assert_eq!(parameters(starter), None);
        assert_eq!(parameters(&starter.join("icon-gan/config.json")), None);
    }
}
