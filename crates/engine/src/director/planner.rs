//! From a brief to a plan: what the brief says itself, what a language model adds to it within a schema, and what is nearest
//! to it by meaning among the things that the models draw and the colours that there are.

use medley_types::{Constraint, Prompt, Sampling, TextRequest};
use serde::Deserialize;
use serde_json::json;

use super::brief::{Brief, article, capital};
use super::kit::Kit;
use super::palette::{SWATCHES, Swatch};
use super::plan::{Models, Plan, VERSION, wrong};
use super::stage::{Made, Stage};
use super::words::dot;

/// Plans that the language model is shown.
const IDEAS: &str = include_str!("../../kits/ideas.txt");

/// What each other thing that a picture is taken for counts beside a cosine.
const DOUBT: f32 = 0.004;

/// Plans that the language model is asked for; of each field the first that makes sense is taken.
const ASKED: u64 = 4;

/// Characters of the longest brief.
const LONGEST: usize = 4000;

/// Tones that a language model may choose where the brief names none.
const TONES: [&str; 10] = [
    "friendly",
    "warm",
    "playful",
    "calm",
    "bold",
    "elegant",
    "inspiring",
    "honest",
    "cheerful",
    "mysterious",
];

/// What a language model adds to a brief.
#[derive(Debug, Default, Deserialize)]
struct Ideas {
    audience: String,
    tone: String,
    message: String,
    things: Vec<String>,
}

/// Plans the works of a kit for a brief.
pub(super) async fn plan(
    stage: &Stage,
    kit: &Kit,
    brief: &str,
    models: &Models,
    seed: u64,
) -> Made<Plan> {
    let said = brief.trim();
    if said.chars().count() > LONGEST {
        let reason = format!("it is longer than {LONGEST} characters");
        return Err(wrong("brief", reason).report());
    }
    let read = Brief::read(said);
    if !read.name.chars().any(char::is_alphanumeric) {
        let reason =
            "it says nothing: name a thing and what it is, such as \"Ember, a smokeless campfire\"";
        return Err(wrong("brief", reason).report());
    }
    let what = match read.what.as_str() {
        "" => read.name.to_lowercase(),
        what => what.to_owned(),
    };
    let ideas = ideas(stage, &read, &what, models, seed).await?;
    let thing = without_article(&what).to_owned();
    let audience = match read.audience.as_str() {
        "" => {
            let said = ideas
                .iter()
                .map(|i| &i.audience)
                .filter(|text| sound_audience(text));
            let near = best(stage, &what, said, 0.25).await?;
            near.unwrap_or_else(|| format!("everyone who likes {}", plural(&thing)))
        }
        said => said.to_owned(),
    };
    let tone = match (read.tone.as_str(), ideas.first()) {
        ("", Some(idea)) => idea.tone.clone(),
        ("", None) => "friendly".to_owned(),
        (said, _) => said.to_owned(),
    };
    let messages = ideas
        .iter()
        .map(|i| &i.message)
        .filter(|text| sound_message(text));
    let message = best(stage, &what, messages, 0.45).await?;
    let message = message.unwrap_or_else(|| format!("{}: {what}.", capital(&read.name)));
    let mut queries = vec![format!("{}, {what}", read.name), what.clone()];
    // What the examples were shown with is no idea of the model's.
    let own = |thing: &&String| {
        !IDEAS.contains(&format!("\"{thing}\"")) || said.to_lowercase().contains(thing.as_str())
    };
    queries.extend(
        ideas
            .iter()
            .flat_map(|i| i.things.iter().filter(own).take(2).cloned()),
    );
    let pictures = nearest(stage, &models.image, &queries, kit.pictures, &thing).await?;
    let palette = swatch(stage, said).await?.palette();
    let context = json!({
        "name": read.name, "what": what, "thing": thing, "audience": audience, "tone": tone, "message": message,
        "pictures": pictures, "moving": moving(&pictures, &tone), "music": music(&tone, seed),
    });
    let works = kit.works(&context, seed).map_err(|error| error.report())?;
    let plan = Plan {
        version: VERSION,
        brief: said.to_owned(),
        kit: kit.name.clone(),
        name: read.name,
        what,
        audience,
        tone,
        message,
        palette,
        models: models.clone(),
        works,
    };
    plan.check().map_err(|error| error.report())?;
    Ok(plan)
}

/// What the language model has to say, several times; those that are no valid JSON, which a text that is cut off may be, are
/// left out.
async fn ideas(
    stage: &Stage,
    brief: &Brief,
    what: &str,
    models: &Models,
    seed: u64,
) -> Made<Vec<Ideas>> {
    let phrase = |least: usize, most: usize, pattern: &str| json!({ "type": "string", "minLength": least, "maxLength": most, "pattern": pattern });
    let schema = json!({
        "type": "object",
        "properties": {
            "audience": phrase(4, 50, "^[a-z][a-z ,'-]*$"),
            "tone": { "enum": TONES },
            "message": phrase(12, 90, "^[A-Z][A-Za-z ,'-]*[.]$"),
            "things": { "type": "array", "items": phrase(3, 20, "^[a-z]+( [a-z]+)?$"), "minItems": 3, "maxItems": 3 },
        },
        "required": ["audience", "tone", "message", "things"],
        "additionalProperties": false,
    });
    let prompt = format!("{}{} is {what}.\nPlan: ", IDEAS, brief.name);
    let request = |number: u64| TextRequest {
        max_tokens: Some(160),
        constraint: Some(Constraint::JsonSchema(schema.clone())),
        sampling: Sampling {
            temperature: 0.6,
            ..Sampling::default()
        },
        ..TextRequest::new(
            models.text.clone(),
            Prompt::Raw(prompt.clone()),
            seed.wrapping_add(number),
        )
    };
    let works = stage
        .write(&models.text, (0..ASKED).map(request).collect())
        .await?;
    let read = works
        .iter()
        .filter_map(|work| serde_json::from_str(&work.text).ok());
    Ok(read.collect())
}

/// The text that comes nearest to what the brief is about, if one comes as near as this.
async fn best(
    stage: &Stage,
    what: &str,
    texts: impl Iterator<Item = &String>,
    least: f32,
) -> Made<Option<String>> {
    let all: Vec<String> = [what.to_owned()]
        .into_iter()
        .chain(texts.cloned())
        .collect();
    let Some(vectors) = stage.embed(&all).await? else {
        return Ok(all.get(1).cloned());
    };
    let near = vectors[1..].iter().map(|vector| dot(&vectors[0], vector));
    let best = near.zip(&all[1..]).max_by(|a, b| a.0.total_cmp(&b.0));
    Ok(best
        .filter(|(near, _)| *near >= least)
        .map(|(_, text)| text.clone()))
}

fn sound_audience(text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    (2..=8).contains(&words.len()) && distinct(&words)
}

fn sound_message(text: &str) -> bool {
    let words: Vec<&str> = text.trim_end_matches('.').split(' ').collect();
    let first = words
        .iter()
        .any(|word| ["I", "My", "my", "me"].contains(word));
    (3..=14).contains(&words.len()) && distinct(&words) && !first
}

/// Whether no longer word comes twice.
fn distinct(words: &[&str]) -> bool {
    let mut seen = std::collections::HashSet::new();
    words
        .iter()
        .filter(|word| word.len() > 3)
        .all(|word| seen.insert(word.to_lowercase()))
}

fn without_article(text: &str) -> &str {
    ["a ", "an ", "the ", "A ", "An ", "The ", "our ", "my "]
        .iter()
        .find_map(|article| text.strip_prefix(article))
        .unwrap_or(text)
}

/// The head of a phrase in the plural, roughly.
fn plural(thing: &str) -> String {
    let stops = [
        " for ", " that ", " which ", " with ", " in ", " about ", " of ", " where ", ", ",
    ];
    let end = stops.iter().filter_map(|stop| thing.find(stop)).min();
    let head = &thing[..end.unwrap_or(thing.len())];
    match head.chars().next_back() {
        Some('s') | None => head.to_owned(),
        Some('y') if !head.ends_with(['a', 'e', 'o']) => format!("{}ies", &head[..head.len() - 1]),
        Some('h' | 'x') => format!("{head}es"),
        _ => format!("{head}s"),
    }
}

/// What a model draws that comes nearest to the queries, no two alike, each with its article; the thing itself where the
/// model does not say what it draws.
async fn nearest(
    stage: &Stage,
    model: &str,
    queries: &[String],
    count: usize,
    thing: &str,
) -> Made<Vec<String>> {
    let usual = || vec![article(thing); count];
    let subjects = stage.subjects(model).await?;
    if subjects.is_empty() || count == 0 {
        return Ok(usual());
    }
    // By its name, and by its name with words for it.
    let names = subjects.iter().map(|subject| subject.name.clone());
    let described = subjects.iter().map(|s| format!("{}, {}", s.name, s.words));
    let texts: Vec<String> = queries
        .iter()
        .cloned()
        .chain(names)
        .chain(described)
        .collect();
    let Some(vectors) = stage.embed(&texts).await? else {
        return Ok(usual());
    };
    let (asked, known) = vectors.split_at(queries.len());
    let (known, with_words) = known.split_at(subjects.len());
    let near = |at: usize| {
        let meant = |query: &Vec<f32>| 0.5 * (dot(query, &known[at]) + dot(query, &with_words[at]));
        let own = 0.5 * (meant(&asked[0]) + meant(&asked[1]));
        let others = asked[2..].iter().map(meant);
        own.max(0.6 * others.fold(f32::MIN, f32::max)) - DOUBT * subjects[at].doubt
    };
    let scores: Vec<f32> = (0..subjects.len()).map(near).collect();
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < count.min(subjects.len()) {
        // As near as can be, and not what is shown already.
        let worth = |at: usize| {
            let shown = chosen.iter().map(|&other| dot(&known[at], &known[other]));
            scores[at] - 0.5 * shown.fold(0.0, f32::max)
        };
        let free = (0..subjects.len()).filter(|at| !chosen.contains(at));
        let Some(best) = free.max_by(|&a, &b| worth(a).total_cmp(&worth(b))) else {
            break;
        };
        chosen.push(best);
    }
    let name = |at: &usize| article(&subjects[*at].name);
    let names: Vec<String> = chosen.iter().map(name).collect();
    Ok(names.iter().cycle().take(count).cloned().collect())
}

/// The palette that the brief comes nearest to.
async fn swatch(stage: &Stage, brief: &str) -> Made<&'static Swatch> {
    let about = SWATCHES.iter().map(|swatch| swatch.about.to_owned());
    let texts: Vec<String> = [brief.to_owned()].into_iter().chain(about).collect();
    let Some(vectors) = stage.embed(&texts).await? else {
        return Ok(&SWATCHES[0]);
    };
    let near = |at: &usize| dot(&vectors[0], &vectors[at + 1]);
    let best = (0..SWATCHES.len()).max_by(|a, b| near(a).total_cmp(&near(b)));
    Ok(&SWATCHES[best.unwrap_or(0)])
}

/// The first of the pictures in a movement that goes with a tone.
fn moving(pictures: &[String], tone: &str) -> String {
    let movement = match music(tone, 0).split(' ').nth(1) {
        Some("gentle") => "floating",
        Some("bold") => "beating",
        Some("calm") => "swinging",
        _ => "bouncing",
    };
    let thing = pictures
        .first()
        .map_or("", |picture| without_article(picture));
    article(&format!("{movement} {thing}"))
}

/// Music that goes with a tone.
fn music(tone: &str, seed: u64) -> String {
    const KINDS: [(&str, &[&str]); 4] = [
        (
            "a gentle waltz in",
            &[
                "calm",
                "gentle",
                "peaceful",
                "quiet",
                "soft",
                "dreamy",
                "thoughtful",
                "warm",
                "cosy",
                "cozy",
                "tender",
                "elegant",
                "romantic",
                "relaxed",
                "kind",
                "caring",
            ],
        ),
        (
            "a bold march in",
            &[
                "bold",
                "strong",
                "epic",
                "heroic",
                "proud",
                "dramatic",
                "confident",
                "inspiring",
                "urgent",
            ],
        ),
        (
            "a calm air in",
            &[
                "mysterious",
                "dark",
                "sad",
                "solemn",
                "serious",
                "moving",
                "nostalgic",
                "sober",
                "magical",
                "spooky",
            ],
        ),
        (
            "a cheerful jig in",
            &[
                "playful",
                "funny",
                "witty",
                "cheerful",
                "upbeat",
                "lively",
                "fun",
                "energetic",
                "bright",
                "sunny",
                "quirky",
                "friendly",
                "hopeful",
                "joyful",
                "whimsical",
            ],
        ),
    ];
    let words = tone.split(|c: char| !c.is_alphanumeric());
    let kind = words
        .filter_map(|word| KINDS.iter().find(|(_, set)| set.contains(&word)))
        .next();
    let (kind, _) = kind.unwrap_or(&KINDS[3]);
    let keys = match kind.contains("air") {
        true => ["A minor", "E minor", "D minor"],
        false => ["D", "G", "A"],
    };
    format!("{kind} {}", keys[(seed % 3) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_must_make_sense() {
        assert!(sound_audience("young families in the city"));
        assert!(!sound_audience("people"));
        assert!(!sound_message("Fire fire fire fire."));
        assert!(sound_message("Every balcony can have a campfire."));
        assert_eq!(
            plural("smokeless campfire for small balconies"),
            "smokeless campfires"
        );
        assert_eq!(plural("bakery in Leeds"), "bakeries");
        assert_eq!(without_article("an owl"), "owl");
        assert_eq!(music("bold and calm", 1), "a bold march in G");
        assert_eq!(moving(&["an owl".into()], "calm"), "a floating owl");
    }
}
