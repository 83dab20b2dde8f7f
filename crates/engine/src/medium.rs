//! Which medium a prompt asks for, told from its words.

use medley_types::Medium;

/// Words that name a medium, or an act that makes it.
const WORDS: &[(Medium, &[&str])] = &[
    (
        Medium::Text,
        &[
            "write",
            "poem",
            "story",
            "explain",
            "summarize",
            "summarise",
            "translate",
            "email",
            "letter",
            "list",
            "answer",
            "essay",
            "code",
            "function",
            "script",
            "lyrics",
            "caption",
            "describe",
            "haiku",
            "text",
            "why",
            "what",
            "how",
            "who",
            "when",
            "where",
            "name",
            "give",
            "tell",
            "slogan",
        ],
    ),
    (
        Medium::Image,
        &[
            "draw",
            "picture",
            "image",
            "photo",
            "photograph",
            "drawing",
            "logo",
            "icon",
            "illustration",
            "painting",
            "paint",
            "sketch",
            "poster",
            "portrait",
            "wallpaper",
            "emoji",
        ],
    ),
    (
        Medium::Music,
        &[
            "music", "song", "tune", "melody", "jingle", "jig", "reel", "hornpipe", "waltz",
            "compose",
        ],
    ),
    (
        Medium::Speech,
        &[
            "say",
            "speak",
            "pronounce",
            "narrate",
            "voiceover",
            "voice-over",
            "aloud",
        ],
    ),
    (
        Medium::Video,
        &[
            "video",
            "film",
            "clip",
            "animation",
            "animate",
            "teaser",
            "movie",
        ],
    ),
];

/// The medium of the first word that names one; text where none does.
pub fn medium_of(prompt: &str) -> Medium {
    let prompt = prompt.to_lowercase();
    let words = prompt.split(|c: char| !c.is_alphanumeric() && c != '-');
    words
        .filter_map(|word| {
            let singular = word.strip_suffix('s').unwrap_or(word);
            let named = |set: &[&str]| set.contains(&word) || set.contains(&singular);
            WORDS.iter().find(|(_, set)| named(set))
        })
        .map(|(medium, _)| *medium)
        .next()
        .unwrap_or(Medium::Text)
}

/// What a prompt for a picture or a film asks to be seen: the words after "draw me", "a picture of" and the like.
pub fn subject_of(prompt: &str) -> &str {
    const ACTS: &[&str] = &[
        "please", "draw", "paint", "sketch", "animate", "film", "make", "create", "generate",
        "show", "me", "us",
    ];
    const ARTICLES: &[&str] = &["a", "an", "the"];
    const KINDS: &[&str] = &[
        "picture",
        "image",
        "photo",
        "photograph",
        "drawing",
        "illustration",
        "painting",
        "sketch",
        "icon",
        "emoji",
        "video",
        "film",
        "clip",
        "animation",
        "movie",
    ];
    let is = |set: &[&str], word: &str| {
        let word = word.trim_end_matches([',', ':']).to_lowercase();
        set.contains(&word.as_str())
    };
    let next = |text: &str| text.split_whitespace().next().unwrap_or("").to_owned();
    let after = |text: &str, word: &str| -> usize {
        let start = text.len() - text.trim_start().len();
        start + word.len()
    };
    let mut rest = prompt.trim();
    while is(ACTS, &next(rest)) {
        rest = rest[after(rest, &next(rest))..].trim_start();
    }
    // "a picture of X" is X; "a picture frame" stays.
    let mut inner = rest;
    if is(ARTICLES, &next(inner)) {
        inner = inner[after(inner, &next(inner))..].trim_start();
    }
    if is(KINDS, &next(inner)) {
        inner = inner[after(inner, &next(inner))..].trim_start();
        if next(inner) == "of" {
            rest = inner[after(inner, "of")..].trim_start();
        }
    }
    if rest.is_empty() { prompt.trim() } else { rest }
}

/// What a prompt for speech asks to be said: what stands behind "say", "read aloud:" and the like.
pub fn spoken_of(prompt: &str) -> &str {
    const ACTS: &[&str] = &[
        "please",
        "say",
        "speak",
        "pronounce",
        "narrate",
        "read",
        "aloud",
    ];
    let mut rest = prompt.trim();
    loop {
        let word = rest.split_whitespace().next().unwrap_or("");
        let plain = word.trim_end_matches([',', ':']).to_lowercase();
        if !ACTS.contains(&plain.as_str()) {
            break;
        }
        rest = rest[word.len()..].trim_start();
    }
    if rest.is_empty() { prompt.trim() } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_stands_behind_the_asking() {
        for (prompt, said) in [
            ("say good morning", "good morning"),
            ("Please read aloud: Hello, you", "Hello, you"),
            ("say say", "say say"),
            ("a voiceover of waves", "a voiceover of waves"),
        ] {
            assert_eq!(spoken_of(prompt), said, "{prompt}");
        }
    }

    #[test]
    fn the_subject_is_what_is_to_be_seen() {
        for (prompt, subject) in [
            ("draw a red apple", "a red apple"),
            ("Please draw me a picture of  two pears", "two pears"),
            ("a picture of a poem on a wall", "a poem on a wall"),
            ("An icon of a drum", "a drum"),
            ("a picture frame", "a picture frame"),
            ("a red apple", "a red apple"),
            ("draw", "draw"),
            ("draw me", "draw me"),
        ] {
            assert_eq!(subject_of(prompt), subject, "{prompt}");
        }
    }

    #[test]
    fn the_first_telling_word_decides() {
        for (prompt, medium) in [
            ("Write a song about rain", Medium::Text),
            ("a song about rain", Medium::Music),
            ("a picture of a poem on a wall", Medium::Image),
            ("Draw three icons of fruit", Medium::Image),
            ("say good morning", Medium::Speech),
            ("A short video of waves", Medium::Video),
            ("the history of Rome in five lines", Medium::Text),
            ("What makes a picture good?", Medium::Text),
        ] {
            assert_eq!(medium_of(prompt), medium, "{prompt}");
        }
    }
}
