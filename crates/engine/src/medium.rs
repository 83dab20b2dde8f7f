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

#[cfg(test)]
mod tests {
    use super::*;

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
