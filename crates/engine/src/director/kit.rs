//! Kits: which works are made of a brief, and how; one TOML file each.

use std::path::{Path, PathBuf};

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::{WorkPlan, wrong};
use crate::{Home, Result};

/// The kits that the program brings, as their files stand.
const BUNDLED: [(&str, &str); 5] = [
    ("campaign", include_str!("../../kits/campaign.toml")),
    ("product", include_str!("../../kits/product.toml")),
    ("social", include_str!("../../kits/social.toml")),
    ("lesson", include_str!("../../kits/lesson.toml")),
    ("story", include_str!("../../kits/story.toml")),
];

/// What the language model is shown.
const EXAMPLES: &str = include_str!("../../kits/examples.toml");

/// The kit that is taken where none is named.
pub const USUAL_KIT: &str = "campaign";

/// Bytes of the largest kit.
const MOST: u64 = 1 << 20;

/// Steps that the templates of one text may take.
const FUEL: u64 = 100_000;

/// A kit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kit {
    /// What `--kit` calls it.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What comes of it, in one line.
    #[serde(default)]
    pub about: String,
    /// A brief that it fits.
    #[serde(default)]
    pub example: String,
    /// How many pictures its works name.
    #[serde(default = "one")]
    pub pictures: usize,
    /// Whether the thing is a topic to be told of rather than something to be sold.
    #[serde(default)]
    pub topic: bool,
    /// The works: those of a plan, with templates in their texts and without seeds.
    #[serde(rename = "work")]
    works: Vec<Value>,
}

fn one() -> usize {
    1
}

/// An invented thing with its texts.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Example {
    pub name: String,
    pub what: String,
    pub audience: String,
    pub tone: String,
    /// Its texts by what parts call them with `like`.
    #[serde(flatten)]
    pub texts: std::collections::BTreeMap<String, Vec<String>>,
}

/// What is shown to the language model.
pub(super) fn examples() -> Result<Vec<Example>> {
    #[derive(Deserialize)]
    struct All {
        example: Vec<Example>,
    }
    let all: All = toml::from_str(EXAMPLES).map_err(|error| wrong("examples", error.message()))?;
    Ok(all.example)
}

impl Kit {
    /// A kit by its name, one of the user's own before those of the program, or by its file.
    ///
    /// # Errors
    /// [`EngineError::Plan`](crate::EngineError::Plan) for one that is not there or cannot be read.
    pub fn find(home: &Home, name: &str) -> Result<Self> {
        let path = Path::new(name);
        if name.ends_with(".toml") || path.components().count() > 1 {
            return Self::open(path);
        }
        let own = own_folder(home).join(format!("{name}.toml"));
        if own.is_file() {
            return Self::open(&own);
        }
        match BUNDLED.iter().find(|(bundled, _)| *bundled == name) {
            Some((name, text)) => Self::read(name, text),
            None => Err(wrong(
                "kit",
                format!(
                    "there is no kit {name:?}; kits are {}, or a file",
                    Self::names(home).join(", ")
                ),
            )),
        }
    }

    /// The names of all kits: the program's, then the user's own.
    pub fn names(home: &Home) -> Vec<String> {
        let mut names: Vec<String> = BUNDLED.iter().map(|(name, _)| (*name).to_owned()).collect();
        let files = std::fs::read_dir(own_folder(home)).into_iter().flatten();
        let mut own: Vec<String> = files
            .flatten()
            .filter_map(|file| {
                let name = file.file_name().into_string().ok()?;
                Some(name.strip_suffix(".toml")?.to_owned())
            })
            .filter(|name| !names.contains(name))
            .collect();
        own.sort();
        names.append(&mut own);
        names
    }

    /// The text of a kit that the program brings, to be copied.
    pub fn text(name: &str) -> Option<&'static str> {
        let found = BUNDLED.iter().find(|(bundled, _)| *bundled == name);
        found.map(|(_, text)| *text)
    }

    fn open(path: &Path) -> Result<Self> {
        let bytes = crate::image::read_limited(path, MOST)?;
        let name = path.display().to_string();
        let text = String::from_utf8(bytes).map_err(|_| wrong(&name, "it is no UTF-8 text"))?;
        Self::read(&name, &text)
    }

    /// Reads the text of a kit that `from` names in errors.
    ///
    /// # Errors
    /// [`EngineError::Plan`](crate::EngineError::Plan).
    pub fn read(from: &str, text: &str) -> Result<Self> {
        let kit: Self = toml::from_str(text)
            .map_err(|error| wrong(from, error.message().replace('\n', " ")))?;
        if kit.pictures > 16 {
            return Err(wrong(from, "pictures must be 16 at most"));
        }
        Ok(kit)
    }

    /// The works with their texts filled in from `context`, each with a seed of its own.
    ///
    /// # Errors
    /// [`EngineError::Plan`](crate::EngineError::Plan) names the work.
    pub(super) fn works(&self, context: &Value, seed: u64) -> Result<Vec<WorkPlan>> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.add_filter("sentence", |text: String| super::brief::capital(&text));
        let mut works = Vec::new();
        for (number, work) in self.works.iter().enumerate() {
            let name = work["id"].as_str().unwrap_or("a work").to_owned();
            let mut work = work.clone();
            fill(&mut work, &environment, context).map_err(|error| wrong(&name, error))?;
            if let Some(fields) = work.as_object_mut() {
                let needs_seed = ["text", "image", "music", "speech", "video"];
                let medium = fields.get("medium").and_then(Value::as_str);
                if medium.is_some_and(|medium| needs_seed.contains(&medium)) {
                    let seed = seed.wrapping_add(number as u64 + 1) & 0xFFFF_FFFF;
                    fields.entry("seed").or_insert(json!(seed));
                }
            }
            let mut unknown = None;
            let read = serde_ignored::deserialize(work, |path| {
                unknown.get_or_insert(path.to_string());
            });
            let read: WorkPlan = read.map_err(|error: serde_json::Error| wrong(&name, error))?;
            if let Some(field) = unknown {
                return Err(wrong(&name, format!("no work has the field {field}")));
            }
            works.push(read);
        }
        Ok(works)
    }
}

fn own_folder(home: &Home) -> PathBuf {
    home.root().join("kits")
}

/// Fills in the templates of every text below.
fn fill(
    value: &mut Value,
    environment: &Environment<'_>,
    context: &Value,
) -> std::result::Result<(), String> {
    match value {
        Value::String(text) if text.contains("{{") || text.contains("{%") => {
            let filled = environment.render_str(text, Serde(context));
            *text = filled.map_err(|error| error.to_string().replace('\n', " "))?;
            Ok(())
        }
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| fill(item, environment, context)),
        Value::Object(fields) => fields
            .iter_mut()
            .try_for_each(|(_, field)| fill(field, environment, context)),
        _ => Ok(()),
    }
}

/// Which kit a brief asks for by its words.
pub fn kit_of(brief: &str) -> &'static str {
    let brief = brief.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| brief.contains(word));
    if has(&["product page", "shop page", "landing page"]) {
        "product"
    } else if has(&["social post", "social media", "posts for", "instagram"]) {
        "social"
    } else if has(&["lesson", "teach ", "explain ", "tutorial"]) {
        "lesson"
    } else if has(&[
        "bedtime story",
        "picture story",
        "a story",
        "tell the story",
        "fairy tale",
    ]) {
        "story"
    } else {
        USUAL_KIT
    }
}

/// What [`Kit::names`] lists, read.
///
/// # Errors
/// Those of [`Kit::find`].
pub fn kits(home: &Home) -> Result<Vec<Kit>> {
    let names = Kit::names(home);
    names.iter().map(|name| Kit::find(home, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_kit_makes_a_plan_that_can_be_carried_out() {
        let context = json!({
            "name": "Ember", "what": "a campfire", "thing": "campfire", "audience": "friends",
            "tone": "warm", "message": "Fire for everyone.", "music": "a jig in D", "moving": "a beating fire",
            "pictures": ["a fire", "a tent", "a star", "a moon", "a house", "a cat", "a dog", "a tree"],
        });
        for (name, text) in BUNDLED {
            let kit = Kit::read(name, text).unwrap();
            assert_eq!(kit.name, name);
            let works = kit.works(&context, 7).unwrap();
            let plan = json!({
                "version": 1, "brief": "b", "kit": name, "name": "Ember", "what": "a campfire",
                "audience": "a", "tone": "t", "message": "m",
                "palette": { "paper": "#ffffff", "ink": "#000000", "accent": "#102030", "soft": "#eeeeee" },
                "models": { "text": "t", "image": "i", "video": "v", "music": "m", "speech": "s" },
                "works": works,
            });
            let plan =
                super::super::Plan::read(plan).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(
                plan.works.iter().any(|work| work.file == "index.html"),
                "{name}"
            );
            let text = json!(plan.works).to_string();
            assert!(!text.contains("{{"), "{name}");
        }
    }

    #[test]
    fn kits_that_cannot_be_read_say_why() {
        let message = |text: &str| Kit::read("k", text).unwrap_err().to_string();
        assert!(
            message("name = 1").contains("k: "),
            "{}",
            message("name = 1")
        );
        let kit = Kit::read(
            "k",
            "name='k'\ntitle='t'\n[[work]]\nid='a'\ntitle='{{ nothing }}'\nmedium='image'\nfile='a.png'\nprompt='x'",
        );
        let error = kit.unwrap().works(&json!({}), 1).unwrap_err().to_string();
        assert!(error.contains("undefined"), "{error}");
    }
}
