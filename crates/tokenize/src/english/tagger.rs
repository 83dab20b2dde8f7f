//! Parts of speech, for words that are said in several ways ("I read", "I have read"): an averaged perceptron
//! (Collins 2002) over Penn Treebank tags, whose weights come with a voice.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

/// A tagger with its weights.
#[derive(Deserialize)]
pub struct Tagger {
    /// Words that are nearly always the same.
    tagdict: HashMap<String, String>,
    tags: Vec<String>,
    /// Words that features name; others are named by their shape.
    #[serde(default)]
    vocab: Option<HashSet<String>>,
    /// Feature → tag → weight.
    weights: HashMap<String, HashMap<String, f32>>,
}

/// What stands before and behind a sentence.
const EDGES: [&str; 4] = ["-START2-", "-START-", "-END-", "-END2-"];

impl Tagger {
    /// Tags nothing: every word is a noun.
    pub fn none() -> Self {
        Self {
            tagdict: HashMap::new(),
            tags: Vec::new(),
            vocab: None,
            weights: HashMap::new(),
        }
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// What is wrong with the JSON.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The tag of each word of a sentence.
    pub fn tag(&self, words: &[&str]) -> Vec<String> {
        let mut window = vec![EDGES[0].to_owned(), EDGES[1].to_owned()];
        window.extend(words.iter().map(|word| self.known(word)));
        window.extend([EDGES[2].to_owned(), EDGES[3].to_owned()]);
        let (mut before, mut before2) = (EDGES[1].to_owned(), EDGES[0].to_owned());
        let mut tags = Vec::with_capacity(words.len());
        for (i, word) in words.iter().enumerate() {
            let tag = match self.tagdict.get(*word) {
                Some(tag) => tag.clone(),
                None => self.best(&features(i, word, &window, &before, &before2)),
            };
            before2 = std::mem::replace(&mut before, tag.clone());
            tags.push(tag);
        }
        tags
    }

    /// The word as features name it.
    fn known(&self, word: &str) -> String {
        let name = normal(word);
        match &self.vocab {
            Some(vocab) if !vocab.contains(&name) => format!("<{}>", shape(word)),
            _ => name,
        }
    }

    fn best(&self, features: &[String]) -> String {
        let mut scores: HashMap<&str, f32> = HashMap::new();
        for weights in features.iter().filter_map(|f| self.weights.get(f)) {
            for (tag, weight) in weights {
                *scores.entry(tag).or_default() += weight;
            }
        }
        if scores.is_empty() {
            return "NN".to_owned();
        }
        let score = |tag: &String| scores.get(tag.as_str()).copied().unwrap_or(0.0);
        self.tags
            .iter()
            .max_by(|a, b| score(a).total_cmp(&score(b)).then_with(|| a.cmp(b)))
            .cloned()
            .unwrap_or_else(|| "NN".to_owned())
    }
}

fn normal(word: &str) -> String {
    let digits = word.chars().all(|c| c.is_ascii_digit());
    if word.contains('-') && !word.starts_with('-') {
        "!HYPHEN".to_owned()
    } else if digits && word.len() == 4 {
        "!YEAR".to_owned()
    } else if word.starts_with(|c: char| c.is_ascii_digit()) {
        "!DIGITS".to_owned()
    } else {
        word.to_lowercase()
    }
}

fn shape(word: &str) -> String {
    let all = |test: fn(char) -> bool| word.chars().all(test);
    if !word.is_empty() && all(char::is_alphabetic) {
        let mut letters = word.chars();
        let first = letters.next().is_some_and(char::is_uppercase);
        return match () {
            () if all(char::is_lowercase) => "x",
            () if all(char::is_uppercase) && word.chars().count() > 1 => "XX",
            () if all(char::is_uppercase) => "X1",
            () if first && letters.all(char::is_lowercase) => "Xx",
            () => "xX",
        }
        .to_owned();
    }
    if all(|c| c.is_ascii_digit()) {
        return "d".to_owned();
    }
    let class = |c: char| match c {
        c if c.is_ascii_digit() => 'd',
        c if c.is_alphabetic() => 'x',
        c => c,
    };
    word.chars().take(4).map(class).collect()
}

/// The last three letters.
fn ending(word: &str) -> &str {
    let at = word.char_indices().rev().nth(2).map_or(0, |(at, _)| at);
    &word[at..]
}

fn features(i: usize, word: &str, window: &[String], before: &str, before2: &str) -> Vec<String> {
    let at = i + 2;
    let first: String = word.chars().take(1).collect();
    vec![
        "b".to_owned(),
        format!("s3={}", ending(word)),
        format!("p1={first}"),
        format!("w={}", window[at]),
        format!("sh={}", shape(word)),
        if i == 0 { "i0" } else { "i+" }.to_owned(),
        format!("t-1={before}"),
        format!("t-2={before2}"),
        format!("t-12={before},{before2}"),
        format!("w-1={}", window[at - 1]),
        format!("s3-1={}", ending(&window[at - 1])),
        format!("w-2={}", window[at - 2]),
        format!("w+1={}", window[at + 1]),
        format!("s3+1={}", ending(&window[at + 1])),
        format!("w+2={}", window[at + 2]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_tagged_by_dictionary_weights_and_neighbours() {
        let json = br#"{"tagdict": {"the": "DT"}, "tags": ["NN", "VB"],
            "weights": {"t-1=DT": {"NN": 2.0}, "s3=ing": {"VB": 1.0}, "w=dog": {"NN": 0.5}}}"#;
        let tagger = Tagger::from_json(json).unwrap();
        assert_eq!(
            tagger.tag(&["the", "king", "sing", "dog", "zzz"]),
            ["DT", "NN", "VB", "NN", "NN"]
        );
        assert_eq!(Tagger::none().tag(&["a", ""]), ["NN", "NN"]);
        assert_eq!(shape("McCoy"), "xX");
        assert_eq!(shape("a-1b2"), "x-dx");
        assert_eq!(ending("éàü"), "éàü");
    }
}
