//! What a brief says by itself: a name, what it is, for whom, how it is to sound.

/// What was read out of a brief. What it does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brief {
    /// What the thing is called.
    pub name: String,
    /// What it is, as a phrase: `a smokeless campfire for small balconies`.
    pub what: String,
    /// Whom it is for.
    pub audience: String,
    /// How it is to sound: `warm and witty`.
    pub tone: String,
}

/// Adjectives of how a text sounds.
const TONES: &[&str] = &[
    "adventurous",
    "bold",
    "bright",
    "calm",
    "caring",
    "casual",
    "charming",
    "cheerful",
    "classic",
    "clear",
    "clever",
    "confident",
    "cosy",
    "cozy",
    "curious",
    "cute",
    "dark",
    "dramatic",
    "dreamy",
    "dry",
    "earnest",
    "easy",
    "edgy",
    "elegant",
    "emotional",
    "encouraging",
    "energetic",
    "epic",
    "exciting",
    "festive",
    "fresh",
    "friendly",
    "fun",
    "funny",
    "gentle",
    "hearty",
    "heroic",
    "honest",
    "hopeful",
    "humorous",
    "informal",
    "inspiring",
    "inviting",
    "joyful",
    "kind",
    "light",
    "lively",
    "loud",
    "luxurious",
    "magical",
    "matter-of-fact",
    "minimal",
    "modern",
    "moving",
    "mysterious",
    "nostalgic",
    "optimistic",
    "peaceful",
    "personal",
    "plain",
    "playful",
    "poetic",
    "polite",
    "positive",
    "professional",
    "proud",
    "quiet",
    "quirky",
    "relaxed",
    "retro",
    "romantic",
    "rough",
    "sad",
    "serious",
    "simple",
    "sincere",
    "snappy",
    "sober",
    "soft",
    "solemn",
    "spooky",
    "strong",
    "stylish",
    "sunny",
    "surprising",
    "tender",
    "thoughtful",
    "trustworthy",
    "upbeat",
    "urgent",
    "warm",
    "whimsical",
    "wild",
    "witty",
    "youthful",
];

/// Words that ask for the works, not for the thing itself.
const ASKING: &[&str] = &[
    "a",
    "an",
    "the",
    "please",
    "make",
    "create",
    "we",
    "i",
    "need",
    "want",
    "launch",
    "campaign",
    "for",
    "our",
    "my",
    "new",
    "product",
    "page",
    "pages",
    "social",
    "media",
    "posts",
    "post",
    "lesson",
    "story",
    "about",
    "on",
    "of",
    "kit",
    "full",
    "complete",
    "whole",
    "marketing",
    "advertising",
    "ad",
    "ads",
    "promotion",
    "promo",
    "set",
    "materials",
    "with",
    "film",
    "teaser",
    "announcing",
    "advertise",
    "promote",
    "introducing",
    "opening",
];

impl Brief {
    /// Reads a brief.
    pub fn read(text: &str) -> Self {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (head, rest) = split(&text);
        let mut brief = Self {
            tone: tone(&text),
            ..Self::default()
        };
        // What asks for the works may come first: "launch campaign for X, a Y".
        let thing = without_asking(head);
        let thing = if thing.is_empty() {
            without_asking(rest)
        } else {
            thing
        };
        (brief.name, brief.what) = named(thing);
        if brief.what.is_empty() && thing == without_asking(head) {
            let more = rest.split([',', '.', ';']).next().unwrap_or("");
            let more = without_asking(more);
            if more.split(' ').count() >= 3 && tone(more).is_empty() {
                brief.what = more.to_owned();
            }
        }
        brief.what = served(&brief.what);
        brief.audience = audience(&text);
        brief
    }
}

/// What somebody does, as a thing: "repairs bicycles at your door" is a service that does so.
fn served(what: &str) -> String {
    const DOES: &[&str] = &[
        "bakes",
        "brings",
        "brews",
        "builds",
        "cleans",
        "collects",
        "connects",
        "cooks",
        "delivers",
        "designs",
        "finds",
        "fixes",
        "grows",
        "helps",
        "lends",
        "lets",
        "makes",
        "matches",
        "mends",
        "offers",
        "organises",
        "organizes",
        "plans",
        "prints",
        "protects",
        "publishes",
        "rents",
        "repairs",
        "rescues",
        "restores",
        "roasts",
        "sells",
        "sends",
        "serves",
        "shows",
        "teaches",
        "trains",
        "translates",
        "turns",
        "washes",
        "writes",
    ];
    match what.split_once(' ') {
        Some((first, _)) if DOES.contains(&first.to_lowercase().as_str()) => {
            format!(
                "a service that {}{}",
                first.to_lowercase(),
                &what[first.len()..]
            )
        }
        _ => what.to_owned(),
    }
}

/// What stands before the first colon, dash or full stop, and what stands behind it.
fn split(text: &str) -> (&str, &str) {
    let marks = [": ", " - ", " – ", " — ", "; ", ". ", "! "];
    let first = marks
        .iter()
        .filter_map(|mark| text.find(mark).map(|at| (at, mark.len())))
        .min();
    let (head, rest) = match first {
        Some((at, length)) => (&text[..at], &text[at + length..]),
        None => (text, ""),
    };
    (head.trim(), rest.trim().trim_end_matches(['.', '!']))
}

/// The text without the words that ask, as far as they stand at its beginning.
fn without_asking(text: &str) -> &str {
    let mut rest = text.trim();
    loop {
        let word = rest.split(' ').next().unwrap_or("");
        let plain = word.trim_end_matches([',', ':']).to_lowercase();
        let article = ["a", "an", "the", "our", "my", "new"].contains(&plain.as_str());
        if word.is_empty() || !ASKING.contains(&plain.as_str()) {
            break;
        }
        // An article belongs to what follows, unless an asking word does.
        let next = rest[word.len()..].trim_start();
        let following = next.split(' ').next().unwrap_or("").to_lowercase();
        let asks = !following.is_empty() && ASKING.contains(&following.as_str());
        if article && !asks {
            break;
        }
        rest = next;
    }
    rest.trim_end_matches(['.', '!', ','])
}

/// Name and kind of a thing: `Ember, a campfire`, `a café called Nook`, `Ember`.
fn named(thing: &str) -> (String, String) {
    for mark in [" called ", " named ", " by the name of "] {
        if let Some((what, name)) = thing.split_once(mark) {
            let words: Vec<&str> = name.split(' ').collect();
            let upper = |word: &&&str| word.chars().next().is_some_and(char::is_uppercase);
            let count = words.iter().take_while(upper).count().max(1);
            let (name, more) = words.split_at(count);
            let name = name.join(" ");
            let what = format!("{what} {}", more.join(" "));
            return (
                plain_name(&name),
                what.trim().trim_end_matches(',').to_owned(),
            );
        }
    }
    if let Some((name, what)) = thing.split_once(", ")
        && name.split(' ').count() <= 5
    {
        return (plain_name(name), what.trim().to_owned());
    }
    for mark in [" is ", " are "] {
        if let Some((name, what)) = thing.split_once(mark)
            && name.split(' ').count() <= 4
            && name.chars().next().is_some_and(char::is_uppercase)
        {
            return (plain_name(name), what.trim().to_owned());
        }
    }
    let words: Vec<&str> = thing.split(' ').filter(|word| !word.is_empty()).collect();
    let article = ["a", "an", "the", "our", "my", "new"];
    let bare: Vec<&str> = words
        .iter()
        .skip_while(|word| article.contains(&word.to_lowercase().as_str()))
        .copied()
        .collect();
    // Up to where it is said what for, and no longer than a title.
    let stops = [
        "for", "that", "which", "with", "in", "who", "where", "to", "from", "of",
    ];
    let end = bare
        .iter()
        .position(|word| stops.contains(word))
        .filter(|&at| at > 0)
        .unwrap_or(bare.len());
    let name = plain_name(&bare[..end.min(5)].join(" "));
    let what = if words.len() > 1 {
        words.join(" ")
    } else {
        String::new()
    };
    (name, what)
}

/// A name with a capital letter and without quotation marks.
fn plain_name(name: &str) -> String {
    let marks = ['"', '\'', '“', '”', '‘', '’', '.', ',', '!', '?', ':'];
    capital(name.trim().trim_matches(marks))
}

/// A text with a capital letter.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.trim().chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// A thing with its article.
pub(super) fn article(thing: &str) -> String {
    let lower = thing.to_lowercase();
    if ["a ", "an ", "the "].iter().any(|a| lower.starts_with(a)) {
        return thing.to_owned();
    }
    let vowel = lower.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {thing}", if vowel { "an" } else { "a" })
}

/// The adjectives of tone, in their order.
fn tone(text: &str) -> String {
    let mut found: Vec<String> = Vec::new();
    // Behind the thing itself: "warm" in "a warm coat" is the coat's. Without a colon, the last clause speaks of the tone.
    let (_, rest) = split(text);
    let place = match rest.is_empty() {
        false => rest,
        true => text.rsplit_once(", ").map_or("", |(_, last)| last),
    };
    for word in place.split(|c: char| !c.is_alphanumeric() && c != '-') {
        let word = word.to_lowercase();
        if TONES.contains(&word.as_str()) && !found.contains(&word) {
            found.push(word);
        }
    }
    found.truncate(3);
    match found.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// Behind "for", people: `for families`, `aimed at students`.
fn audience(text: &str) -> String {
    const PEOPLE: &[&str] = &[
        "adults",
        "beginners",
        "children",
        "commuters",
        "couples",
        "customers",
        "cyclists",
        "developers",
        "doctors",
        "families",
        "fans",
        "gamers",
        "gardeners",
        "grandparents",
        "guests",
        "kids",
        "learners",
        "listeners",
        "lovers",
        "men",
        "mothers",
        "musicians",
        "neighbours",
        "neighbors",
        "nurses",
        "owners",
        "parents",
        "people",
        "players",
        "pupils",
        "readers",
        "runners",
        "seniors",
        "students",
        "teachers",
        "teams",
        "teenagers",
        "tourists",
        "travellers",
        "travelers",
        "visitors",
        "women",
        "workers",
        "everyone",
        "everybody",
    ];
    let lower = text.to_lowercase();
    for mark in ["aimed at ", "for "] {
        for (at, _) in lower.match_indices(mark) {
            let phrase = &text[at + mark.len()..];
            let end = phrase
                .find([',', ':', '.', ';', '–', '-'])
                .unwrap_or(phrase.len());
            let words: Vec<&str> = phrase[..end].split(' ').take(7).collect();
            let person = |word: &&str| PEOPLE.contains(&word.to_lowercase().as_str());
            if let Some(last) = words.iter().position(person).filter(|&at| at < 4) {
                let with = words
                    .get(last + 1)
                    .is_some_and(|w| ["who", "with", "in", "of"].contains(w));
                let end = if with { words.len() } else { last + 1 };
                return words[..end].join(" ").trim().to_owned();
            }
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn briefs_of_many_kinds_are_read() {
        for (text, name, what, tone) in [
            (
                "Ember, a smokeless campfire for small balconies: launch campaign, warm and witty",
                "Ember",
                "a smokeless campfire for small balconies",
                "warm and witty",
            ),
            (
                "launch campaign for Nook, a café with forty kinds of tea: calm",
                "Nook",
                "a café with forty kinds of tea",
                "calm",
            ),
            (
                "A puzzle game called Lantern Lane about a lighthouse keeper, mysterious and gentle",
                "Lantern Lane",
                "A puzzle game about a lighthouse keeper, mysterious and gentle",
                "mysterious and gentle",
            ),
            (
                "Velo Verde, repairs bicycles at your door",
                "Velo Verde",
                "a service that repairs bicycles at your door",
                "",
            ),
            ("a bakery in Leeds", "Bakery", "a bakery in Leeds", ""),
            ("Please make a lesson about volcanoes", "Volcanoes", "", ""),
            ("Ember", "Ember", "", ""),
        ] {
            let brief = Brief::read(text);
            assert_eq!(
                (
                    brief.name.as_str(),
                    brief.what.as_str(),
                    brief.tone.as_str()
                ),
                (name, what, tone),
                "{text}"
            );
        }
        assert_eq!(Brief::read("").name, "");
        let course = Brief::read("Clay, a pottery course for busy parents: friendly");
        assert_eq!(course.audience, "busy parents");
    }
}
