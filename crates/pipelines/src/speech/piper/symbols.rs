//! From our English phonemes to those of espeak-ng, which Piper's voices learned.

/// One symbol for what espeak-ng writes with several.
const WHOLE: [(char, &str); 10] = [
    ('A', "eɪ"),
    ('I', "aɪ"),
    ('W', "aʊ"),
    ('Y', "ɔɪ"),
    ('O', "oʊ"),
    ('Q', "əʊ"),
    ('ʤ', "dʒ"),
    ('ʧ', "tʃ"),
    ('ᵊ', "ə"),
    ('T', "ɾ"),
];

/// The phonemes of a word as espeak-ng writes them.
pub(super) fn espeak(phonemes: &str, british: bool) -> String {
    let symbols: Vec<char> = phonemes.chars().collect();
    let mut out = String::new();
    let mut stressed = false;
    let mut i = 0;
    while i < symbols.len() {
        let (symbol, next) = (symbols[i], symbols.get(i + 1).copied());
        i += 1;
        match (symbol, next) {
            ('ˈ' | 'ˌ', _) => {
                stressed = true;
                out.push(symbol);
                continue;
            }
            // The r is heard by itself where a vowel follows it.
            ('ə', Some('ɹ')) if !british => {
                out.push('ɚ');
                i += usize::from(!before_vowel(&symbols[i + 1..]));
            }
            ('ɜ', Some('ɹ')) if !british => {
                out.push_str("ɜː");
                i += usize::from(!before_vowel(&symbols[i + 1..]));
            }
            // American vowels are written without their length.
            ('i', _) if !british && stressed => out.push_str("iː"),
            ('u' | 'ɑ' | 'ɔ', _) if !british => {
                out.push(symbol);
                out.push('ː');
            }
            ('—', _) => out.push(','),
            ('…', _) => out.push('.'),
            _ => match WHOLE.iter().find(|(from, _)| *from == symbol) {
                Some((_, to)) => out.push_str(to),
                None => out.push(symbol),
            },
        }
        if is_vowel(symbol) {
            stressed = false;
        }
    }
    out
}

/// Whether a vowel comes first, stressed or not.
fn before_vowel(symbols: &[char]) -> bool {
    let first = symbols.iter().find(|c| !"ˈˌ".contains(**c));
    first.is_some_and(|c| is_vowel(*c))
}

fn is_vowel(c: char) -> bool {
    "AIWYOQaæɑɒeɛəᵊɜiɪᵻoɔuʊʌɐ".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_written_as_espeak_writes_them() {
        for (ours, american) in [
            ("həlˈO", "həlˈoʊ"),
            ("wˈɜɹld", "wˈɜːld"),
            ("bˈɛTəɹ", "bˈɛɾɚ"),
            ("sˈi", "sˈiː"),
            ("hˈæpi", "hˈæpi"),
            ("ʧˈɔɪs", "tʃˈɔːɪs"),
            ("fˈɑðəɹ", "fˈɑːðɚ"),
            ("…", "."),
        ] {
            assert_eq!(espeak(ours, false), american);
        }
        assert_eq!(espeak("fˈɑːðə", true), "fˈɑːðə");
    }
}
