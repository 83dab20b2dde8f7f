//! Stress marks in phonemes.

pub(super) const PRIMARY: char = 'ˈ';
pub(super) const SECONDARY: char = 'ˌ';
const VOWELS: &str = "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ";
const CONSONANTS: &str = "bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ";
/// Sounds of two.
const LONG: &str = "AIOQWYʤʧ";

pub(super) fn is_vowel(c: char) -> bool {
    VOWELS.contains(c)
}

pub(super) fn is_consonant(c: char) -> bool {
    CONSONANTS.contains(c)
}

/// How a word is stressed beyond what its dictionary says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stress {
    /// The main stress, where there is one, becomes the lesser.
    Reduced,
    /// The lesser at most.
    Secondary,
    /// The lesser where there was none: words with a capital.
    Light,
    /// The main one, always: words in capitals.
    Strong,
}

/// The phonemes with their stress changed.
pub(super) fn apply(phonemes: &str, stress: Option<Stress>) -> String {
    let Some(stress) = stress else {
        return phonemes.to_owned();
    };
    let (primary, secondary) = (phonemes.contains(PRIMARY), phonemes.contains(SECONDARY));
    let none = !primary && !secondary;
    let voiced = phonemes.chars().any(is_vowel);
    match stress {
        Stress::Reduced | Stress::Secondary if primary => phonemes
            .replace(SECONDARY, "")
            .replace(PRIMARY, &SECONDARY.to_string()),
        Stress::Secondary | Stress::Light if none && voiced => placed(SECONDARY, phonemes),
        Stress::Strong if none && voiced => placed(PRIMARY, phonemes),
        Stress::Strong if !primary && secondary => {
            phonemes.replace(SECONDARY, &PRIMARY.to_string())
        }
        _ => phonemes.to_owned(),
    }
}

/// The mark before the first vowel.
fn placed(mark: char, phonemes: &str) -> String {
    let at = phonemes.find(is_vowel).unwrap_or(0);
    format!("{}{mark}{}", &phonemes[..at], &phonemes[at..])
}

/// How much there is of a word.
pub(super) fn weight(phonemes: &str) -> usize {
    let each = phonemes.chars();
    each.map(|c| if LONG.contains(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stress_goes_before_the_vowel() {
        assert_eq!(apply("kæt", Some(Stress::Strong)), "kˈæt");
        assert_eq!(apply("kæt", Some(Stress::Light)), "kˌæt");
        assert_eq!(apply("kˌæt", Some(Stress::Strong)), "kˈæt");
        assert_eq!(apply("kˈætˌA", Some(Stress::Reduced)), "kˌætA");
        assert_eq!(apply("kæt", Some(Stress::Reduced)), "kæt");
        assert_eq!(apply("s", Some(Stress::Strong)), "s");
        assert_eq!(apply("kˈæt", None), "kˈæt");
        assert_eq!(weight("ʧA"), 4);
    }
}
