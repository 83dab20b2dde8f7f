//! Which medium a prompt asks for, told from its words, and what of it is meant for that medium's model.
//!
//! A small grammar over words: who asks ("can you"), the verb ("draw", "turn … into"), the head of the phrase behind it
//! ("a *picture* of a violin", "a violin *picture*", but "a picture *frame*"), what is listed with it, and signs such as
//! "in D minor". The verb and the head weigh most; only where they tell nothing, a request that is just a thing is a
//! picture, and all else is text. A `Router` with the bundled sentence encoder weighs what the prompt means beside that.

mod asked;
mod bare;
mod clause;
mod cues;
mod denied;
mod layer;
mod learned;
mod lexicon;
mod listed;
mod phrase;
mod rest;
mod words;

use std::fmt;

pub use layer::{Fitting, Labelled, Layer};
pub use learned::Router;
use words::{Word, clauses};

/// What makes a work of a prompt: the generator of a medium, or the director who makes works in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Text; code is text.
    Text,
    /// Pictures.
    Image,
    /// A text, said.
    Speech,
    /// Music.
    Music,
    /// Film.
    Video,
    /// Works in many media from one brief.
    Create,
}

impl Destination {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Text,
        Self::Image,
        Self::Speech,
        Self::Music,
        Self::Video,
        Self::Create,
    ];

    /// Its name, which is that of its command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Speech => "speech",
            Self::Music => "music",
            Self::Video => "video",
            Self::Create => "create",
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a prompt goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// To whom.
    pub destination: Destination,
    /// What is left of the prompt for that model: of "draw me a cat" the cat, of "read this aloud: Hello" what is read.
    pub prompt: String,
}

/// Where `prompt` goes, told from its words alone.
pub fn route(prompt: &str) -> Route {
    Router::default().route(prompt)
}

/// Where `prompt` goes if only some destinations can be, because flags or a file's ending say so; nothing where none
/// can.
pub fn route_among(prompt: &str, allowed: &[Destination]) -> Option<Route> {
    Router::default().route_among(prompt, allowed)
}

/// Where the rules alone send `prompt`, and how surely, as [`Layer`] weighs it: 0 where no word told, to 4.
pub fn ruled(prompt: &str) -> (Destination, usize) {
    let (evidence, strength) = weigh(prompt, &words(prompt));
    let best = best_of(&Destination::ALL, |d| evidence.0[d as usize]);
    (best.unwrap_or(Destination::Text), strength as usize)
}

/// The destination that weighs most; of equals the first.
fn best_of(allowed: &[Destination], weight: impl Fn(Destination) -> f32) -> Option<Destination> {
    let mut best: Option<Destination> = None;
    for &destination in allowed {
        if best.is_none_or(|best| weight(destination) > weight(best)) {
            best = Some(destination);
        }
    }
    best
}

/// Where `prompt` goes if its words ask for a medium; nothing where they only name a thing or say something, as answers
/// within a conversation do.
pub fn asked(prompt: &str) -> Option<Route> {
    let words = words(prompt);
    let told = told(&words);
    let best = best_of(&Destination::ALL, |d| told.0[d as usize]);
    let destination = best.filter(|_| told.most() >= Evidence::TELLING)?;
    Some(Route {
        destination,
        prompt: rest::rest(prompt, &words, destination),
    })
}

/// The words of a prompt that say what is wanted.
fn words(prompt: &str) -> Vec<Word> {
    denied::wanted(words::words(prompt))
}

/// How much tells for each destination.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Evidence([f32; 6]);

impl Evidence {
    /// Enough to look no further.
    const SURE: f32 = 5.0;
    /// Enough to be told from nothing.
    const TELLING: f32 = 2.0;

    fn add(&mut self, destination: Destination, weight: f32) {
        self.0[destination as usize] += weight;
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|&weight| weight == 0.0)
    }

    fn most(&self) -> f32 {
        self.0.iter().copied().fold(0.0, f32::max)
    }
}

/// How surely the rules chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strength {
    /// No word told, and nothing that can be seen is named.
    Nothing,
    /// A thing that can be seen, and no more.
    Thing,
    /// A sign somewhere.
    Sign,
    /// The head of what is asked for.
    Head,
    /// A verb that decides.
    Verb,
}

/// What the words tell, and where they tell nothing, what the prompt is as a whole.
fn weigh(prompt: &str, words: &[Word]) -> (Evidence, Strength) {
    let mut best = told(words);
    let most = best.most();
    if most >= Evidence::TELLING {
        let strength = match most {
            _ if most < Evidence::SURE => Strength::Sign,
            _ if most < clause::DECIDES => Strength::Head,
            _ => Strength::Verb,
        };
        return (best, strength);
    }
    let thing = !bare::is_code(prompt)
        && clauses(words)
            .first()
            .is_some_and(|first| bare::is_thing(first, words));
    let (destination, strength) = match thing {
        true => (Destination::Image, Strength::Thing),
        false => (Destination::Text, Strength::Nothing),
    };
    best.add(destination, Evidence::TELLING);
    (best, strength)
}

/// What the clauses tell: the first that is sure decides, then the one that tells most.
fn told(words: &[Word]) -> Evidence {
    let mut best = Evidence::default();
    let all = clauses(words);
    if all.iter().any(|clause| listed::is_list(clause)) {
        best.add(Destination::Create, Evidence::SURE);
        return best;
    }
    for clause in &all {
        let found = clause::evidence(clause);
        // What stands behind "make this shorter:" is material.
        let material =
            clause.last().is_some_and(|word| word.mark == Some(':')) && clause::asks(clause);
        if found.most() >= Evidence::SURE || material && found.most() >= Evidence::TELLING {
            return found;
        }
        if found.most() > best.most() {
            best = found;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(prompt: &str, destination: Destination) -> String {
        route_among(prompt, &[destination]).unwrap().prompt
    }

    #[test]
    fn what_is_said_stands_behind_the_asking() {
        for (prompt, said) in [
            ("say good morning", "good morning"),
            ("Please read aloud: Hello, you", "Hello, you"),
            ("Could you say \"mind the gap!\" please?", "mind the gap!"),
            (
                "voice-over for my shop: Fresh bread, every day.",
                "Fresh bread, every day.",
            ),
            ("say hello in a friendly voice", "hello"),
            (
                "record a voice message that says I will be late",
                "I will be late",
            ),
            ("read this aloud: he said: stop", "he said: stop"),
            ("say say", "say"),
            ("say", "say"),
            ("a voiceover of waves", "a voiceover of waves"),
        ] {
            assert_eq!(left(prompt, Destination::Speech), said, "{prompt}");
        }
    }

    #[test]
    fn the_subject_is_what_is_to_be_seen() {
        for (prompt, subject) in [
            ("draw a red apple", "a red apple"),
            ("Please draw me a picture of  two pears", "two pears"),
            ("can you draw a cat?", "a cat"),
            ("a pictre of a horse", "a horse"),
            ("a picture of a poem on a wall", "a poem on a wall"),
            ("An icon of a drum", "a drum"),
            ("a short video of waves", "waves"),
            ("turn this into a picture: a whale", "a whale"),
            ("an oil painting of a ship", "an oil painting of a ship"),
            ("a picture frame", "a picture frame"),
            ("a red apple", "a red apple"),
            ("draw", "draw"),
            ("draw me", "draw me"),
        ] {
            assert_eq!(left(prompt, Destination::Image), subject, "{prompt}");
        }
    }

    #[test]
    fn other_media_take_the_prompt_as_it_is() {
        let prompt = " compose a waltz for a film scene ";
        for destination in [Destination::Text, Destination::Music, Destination::Create] {
            assert_eq!(left(prompt, destination), prompt.trim());
        }
    }

    #[test]
    fn what_is_not_allowed_is_not_chosen() {
        let among =
            |allowed: &[Destination]| route_among("draw a cat", allowed).map(|r| r.destination);
        assert_eq!(
            among(&[Destination::Video, Destination::Music]),
            Some(Destination::Video)
        );
        assert_eq!(among(&[]), None);
    }

    #[test]
    fn within_a_conversation_things_alone_are_not_asked_for() {
        for (prompt, wanted) in [
            ("draw a red apple", Some(Destination::Image)),
            ("compose a waltz", Some(Destination::Music)),
            ("a red apple", None),
            ("the blue one", None),
            ("Paris", None),
            ("", None),
        ] {
            assert_eq!(asked(prompt).map(|r| r.destination), wanted, "{prompt}");
        }
        assert_eq!(asked("draw a red apple").unwrap().prompt, "a red apple");
    }

    #[test]
    fn any_text_goes_somewhere() {
        let long = "a cat, ".repeat(20_000);
        for prompt in [
            "",
            " ",
            "\"",
            "?!",
            "'",
            "“",
            "a:",
            "in a",
            "the",
            "日本の歌",
            "w/",
            "say \"",
            ":",
            &long,
        ] {
            let route = route(prompt);
            assert!(route.prompt.len() <= prompt.len(), "{}", route.destination);
        }
    }
}
