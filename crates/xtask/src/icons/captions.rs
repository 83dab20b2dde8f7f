//! What an emoji's pictures show, in words.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use serde::Deserialize;

/// How a picture is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Noto's.
    Flat,
    /// Fluent's.
    Solid,
}

impl Style {
    /// In captions, and the folder.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Solid => "3d",
        }
    }
}

/// Skin tones by code point.
const TONES: [(&str, &str); 5] = [
    ("1f3fb", "light skin tone"),
    ("1f3fc", "medium-light skin tone"),
    ("1f3fd", "medium skin tone"),
    ("1f3fe", "medium-dark skin tone"),
    ("1f3ff", "dark skin tone"),
];

/// Further words of a caption, and captions with them.
const WORDS_EACH: usize = 3;
const WORD_CAPTIONS: usize = 4;

/// An entry of the list as it is published.
#[derive(Deserialize)]
struct Entry {
    name: Option<String>,
    unified: String,
    short_name: String,
    category: String,
    subcategory: String,
    #[serde(default)]
    skin_variations: BTreeMap<String, Variation>,
}

#[derive(Deserialize)]
struct Variation {
    unified: String,
}

/// One emoji in one skin tone.
pub struct Emoji {
    /// Normalised name of its pictures' files.
    pub file: String,
    /// The emoji without skin tone and gender: what stays on one side of a split.
    pub group: String,
    /// What it shows.
    pub name: String,
    /// A second name, if there is one.
    other: Option<String>,
    /// As the list has it.
    pub category: String,
    subcategory: String,
    /// In words.
    pub tone: Option<String>,
    words: Vec<String>,
}

/// Code points in lower case with dashes, without the mark that asks for a coloured picture, which some files have
/// and others not.
pub fn normalised(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let points: Vec<&str> = name.split('-').filter(|point| *point != "fe0f").collect();
    points.join("-")
}

/// Every emoji of the list in every skin tone.
pub fn emoji(list: &[u8], words: &[u8]) -> Result<Vec<Emoji>> {
    let entries: Vec<Entry> = serde_json::from_slice(list).context("the list of emoji")?;
    let words: HashMap<String, Vec<String>> =
        serde_json::from_slice(words).context("the words of emoji")?;
    let words: HashMap<String, Vec<String>> = words
        .into_iter()
        .map(|(emoji, words)| (points_of(&emoji), words))
        .collect();
    let mut all = Vec::new();
    for entry in &entries {
        let words = words.get(&normalised(&entry.unified));
        let words = words.map_or(&[][..], Vec::as_slice);
        all.push(entry.emoji(&entry.unified, None, words));
        for (tones, variation) in &entry.skin_variations {
            all.push(entry.emoji(&variation.unified, tone_words(tones), words));
        }
    }
    Ok(all)
}

fn points_of(emoji: &str) -> String {
    let points: Vec<String> = emoji
        .chars()
        .map(|c| format!("{:04x}", u32::from(c)))
        .collect();
    normalised(&points.join("-"))
}

/// "1F3FB-1F3FF" → "light skin tone and dark skin tone".
fn tone_words(tones: &str) -> Option<String> {
    let mut words: Vec<&str> = tones
        .to_ascii_lowercase()
        .split('-')
        .filter_map(|tone| TONES.iter().find(|(point, _)| *point == tone))
        .map(|(_, words)| *words)
        .collect();
    words.dedup();
    (!words.is_empty()).then(|| words.join(" and "))
}

/// The emoji without skin tone, gender and direction: women, men and persons who do the same look nearly the same.
fn group(unified: &str) -> String {
    let points: Vec<String> = normalised(unified)
        .split('-')
        .filter(|point| TONES.iter().all(|(tone, _)| tone != point))
        .map(|point| match point {
            "1f468" | "1f469" => "1f9d1".to_owned(),
            "1f466" | "1f467" => "1f9d2".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    let mut joined = points.join("-");
    for extra in ["-200d-2640", "-200d-2642", "-200d-27a1"] {
        joined = joined.replace(extra, "");
    }
    if joined.is_empty() {
        // The swatches of the skin tones themselves.
        return "skin-tones".to_owned();
    }
    joined
}

/// A published name as people write it.
fn clean(name: &str) -> String {
    let spaced: String = name
        .chars()
        .map(|c| if c == '_' { ' ' } else { c })
        .collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

fn readable(word: &str) -> bool {
    word.chars().filter(char::is_ascii_alphabetic).count() >= 2
}

fn with_article(name: &str) -> String {
    let first = name.chars().next().unwrap_or(' ');
    let plural = name.ends_with('s') && !name.ends_with("ss");
    let named = name.contains(':') || name.starts_with("flag") || first.is_ascii_digit();
    match first {
        _ if plural || named => name.to_owned(),
        'a' | 'e' | 'i' | 'o' => format!("an {name}"),
        _ => format!("a {name}"),
    }
}

impl Entry {
    fn emoji(&self, unified: &str, tone: Option<String>, words: &[String]) -> Emoji {
        // The words begin with the current name; the list's own is the oldest one.
        let current = words
            .first()
            .map(|name| clean(name))
            .filter(|name| readable(name));
        let listed = self
            .name
            .as_deref()
            .map(clean)
            .filter(|name| readable(name));
        let short = clean(&self.short_name.replace('-', " "));
        let name = current.or(listed.clone()).unwrap_or_else(|| short.clone());
        let other = [listed, Some(short)]
            .into_iter()
            .flatten()
            .find(|other| *other != name && readable(other));
        let words = words
            .iter()
            .skip(1)
            .map(|word| clean(word))
            .filter(|word| readable(word) && *word != name)
            .collect();
        Emoji {
            file: normalised(unified),
            group: group(&self.unified),
            name,
            other,
            category: self.category.clone(),
            subcategory: self.subcategory.replace('-', " "),
            tone,
            words,
        }
    }
}

impl Emoji {
    /// Captions of a picture in this style, from the plainest to those with further words.
    pub fn captions(&self, style: Style) -> Vec<String> {
        let style = style.word();
        let name = match &self.tone {
            Some(tone) => format!("{}, {tone}", self.name),
            None => self.name.clone(),
        };
        let object = match &self.tone {
            Some(tone) => format!("{} with {tone}", with_article(&self.name)),
            None => with_article(&self.name),
        };
        let mut captions = vec![
            format!("{name}, {style}"),
            format!("{object}, {style} icon"),
            format!("{} icon of {object}", with_article(style)),
            object,
            format!("{name}, {}, {style}", self.category.to_lowercase()),
            format!("{name}, {}, {style}", self.subcategory),
        ];
        if let Some(other) = &self.other {
            let tone = self
                .tone
                .as_ref()
                .map_or(String::new(), |tone| format!(", {tone}"));
            captions.push(format!("{other}{tone}, {style}"));
        }
        for words in self.words.chunks(WORDS_EACH).take(WORD_CAPTIONS) {
            captions.push(format!("{name}, {}, {style}", words.join(", ")));
        }
        captions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"[
        {"name": "RED APPLE", "unified": "1F34E", "short_name": "apple", "category": "Food & Drink", "subcategory": "food-fruit"},
        {"name": null, "unified": "1F3C3-200D-2640-FE0F", "short_name": "woman-running", "category": "People & Body",
         "subcategory": "person-activity",
         "skin_variations": {"1F3FB-1F3FF": {"unified": "1F3C3-1F3FB-200D-2640-FE0F"}}}]"#;
    const WORDS: &str = r#"{"🍎": ["red_apple", "fruit", ":)", "mac", "school", "plant"], "🏃‍♀️": ["woman_running", "race"]}"#;

    #[test]
    fn captions_say_name_style_tone_and_words() {
        let all = emoji(LIST.as_bytes(), WORDS.as_bytes()).unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(
            all[0].captions(Style::Solid),
            [
                "red apple, 3d",
                "a red apple, 3d icon",
                "3d icon of a red apple",
                "a red apple",
                "red apple, food & drink, 3d",
                "red apple, food fruit, 3d",
                "apple, 3d",
                "red apple, fruit, mac, school, 3d",
                "red apple, plant, 3d",
            ]
        );
        let toned = &all[2];
        assert_eq!(toned.file, "1f3c3-1f3fb-200d-2640");
        assert_eq!(toned.group, "1f3c3");
        let captions = toned.captions(Style::Flat);
        assert_eq!(
            captions[0],
            "woman running, light skin tone and dark skin tone, flat"
        );
        assert_eq!(
            captions[2],
            "a flat icon of a woman running with light skin tone and dark skin tone"
        );
    }

    #[test]
    fn people_who_do_the_same_are_one_group() {
        for unified in [
            "1F469-200D-1F4BB",
            "1F468-200D-1F4BB",
            "1F9D1-200D-1F4BB",
            "1F9D1-1F3FD-200D-1F4BB",
        ] {
            assert_eq!(group(unified), "1f9d1-200d-1f4bb");
        }
        assert_eq!(group("1F6B6-200D-2642-FE0F-200D-27A1-FE0F"), "1f6b6");
        assert_ne!(group("1F34E"), group("1F34F"));
        assert_eq!(group("1F3FB"), "skin-tones");
        assert_eq!(points_of("🏃‍♀️"), "1f3c3-200d-2640");
        assert_eq!(points_of("#️⃣"), "0023-20e3");
    }
}
