//! Whisper's vocabulary: byte-level BPE, and tokens for languages, tasks and times.
//!
//! Ids and roles are those of OpenAI's
//! [tokenizer.py](https://github.com/openai/whisper/blob/main/whisper/tokenizer.py). It comes as a `tokenizer.json`, as
//! a list of words (CTranslate2's `vocabulary.json` and `vocabulary.txt`) or inside of whisper.cpp's files; words stand
//! in the order in which pairs were merged, so a list alone is enough to encode.

use std::path::Path;

use medley_formats::gguf::Metadata;
use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::error::{Result, TokenizeError};
use crate::hub::{folder_of, read};
use crate::pre::{Kind, PreTokenizer};
use crate::tokenizer::Tokenizer;
use crate::unicode::decode_byte_level;

/// Codes and English names of the languages, in the order of their tokens.
pub const LANGUAGES: [(&str, &str); 100] = [
    ("en", "english"),
    ("zh", "chinese"),
    ("de", "german"),
    ("es", "spanish"),
    ("ru", "russian"),
    ("ko", "korean"),
    ("fr", "french"),
    ("ja", "japanese"),
    ("pt", "portuguese"),
    ("tr", "turkish"),
    ("pl", "polish"),
    ("ca", "catalan"),
    ("nl", "dutch"),
    ("ar", "arabic"),
    ("sv", "swedish"),
    ("it", "italian"),
    ("id", "indonesian"),
    ("hi", "hindi"),
    ("fi", "finnish"),
    ("vi", "vietnamese"),
    ("he", "hebrew"),
    ("uk", "ukrainian"),
    ("el", "greek"),
    ("ms", "malay"),
    ("cs", "czech"),
    ("ro", "romanian"),
    ("da", "danish"),
    ("hu", "hungarian"),
    ("ta", "tamil"),
    ("no", "norwegian"),
    ("th", "thai"),
    ("ur", "urdu"),
    ("hr", "croatian"),
    ("bg", "bulgarian"),
    ("lt", "lithuanian"),
    ("la", "latin"),
    ("mi", "maori"),
    ("ml", "malayalam"),
    ("cy", "welsh"),
    ("sk", "slovak"),
    ("te", "telugu"),
    ("fa", "persian"),
    ("lv", "latvian"),
    ("bn", "bengali"),
    ("sr", "serbian"),
    ("az", "azerbaijani"),
    ("sl", "slovenian"),
    ("kn", "kannada"),
    ("et", "estonian"),
    ("mk", "macedonian"),
    ("br", "breton"),
    ("eu", "basque"),
    ("is", "icelandic"),
    ("hy", "armenian"),
    ("ne", "nepali"),
    ("mn", "mongolian"),
    ("bs", "bosnian"),
    ("kk", "kazakh"),
    ("sq", "albanian"),
    ("sw", "swahili"),
    ("gl", "galician"),
    ("mr", "marathi"),
    ("pa", "punjabi"),
    ("si", "sinhala"),
    ("km", "khmer"),
    ("sn", "shona"),
    ("yo", "yoruba"),
    ("so", "somali"),
    ("af", "afrikaans"),
    ("oc", "occitan"),
    ("ka", "georgian"),
    ("be", "belarusian"),
    ("tg", "tajik"),
    ("sd", "sindhi"),
    ("gu", "gujarati"),
    ("am", "amharic"),
    ("yi", "yiddish"),
    ("lo", "lao"),
    ("uz", "uzbek"),
    ("fo", "faroese"),
    ("ht", "haitian creole"),
    ("ps", "pashto"),
    ("tk", "turkmen"),
    ("nn", "nynorsk"),
    ("mt", "maltese"),
    ("sa", "sanskrit"),
    ("lb", "luxembourgish"),
    ("my", "myanmar"),
    ("bo", "tibetan"),
    ("tl", "tagalog"),
    ("mg", "malagasy"),
    ("as", "assamese"),
    ("tt", "tatar"),
    ("haw", "hawaiian"),
    ("ln", "lingala"),
    ("ha", "hausa"),
    ("ba", "bashkir"),
    ("jw", "javanese"),
    ("su", "sundanese"),
    ("yue", "cantonese"),
];

/// Whether words of a language have spaces between them.
pub fn is_spaced(language: &str) -> bool {
    !UNSPACED.contains(&language)
}

/// Languages that are written without spaces between words.
const UNSPACED: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];

/// Tokens with a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhisperTokens {
    /// Ends a text.
    pub end: u32,
    /// Begins one.
    pub start: u32,
    /// Code and token of each language.
    pub languages: Vec<(String, u32)>,
    /// Asks for English.
    pub translate: u32,
    /// Asks for the spoken language.
    pub transcribe: u32,
    /// Goes before what was said so far.
    pub previous: u32,
    /// Says that nobody speaks.
    pub no_speech: u32,
    /// Asks for no times.
    pub no_times: u32,
    /// The time 0; those behind it are 20 ms apart.
    pub times: u32,
}

/// The vocabulary of one model.
pub struct WhisperTokenizer {
    /// The bytes of ordinary tokens.
    words: Vec<Vec<u8>>,
    encoder: Encoder,
    tokens: WhisperTokens,
}

enum Encoder {
    Json(Tokenizer),
    Ranks(FxHashMap<Vec<u8>, u32>, PreTokenizer),
}

impl WhisperTokenizer {
    /// The vocabulary that lies in a model's folder, of a model with `vocab_size` tokens.
    ///
    /// # Errors
    /// [`TokenizeError`] where there is none, or it is damaged or of another kind of model.
    pub fn from_folder(path: &Path, vocab_size: usize) -> Result<Self> {
        let folder = folder_of(path);
        let json = folder.join("tokenizer.json");
        if json.exists() {
            let tokenizer = Tokenizer::from_file(&json)?;
            let find = |text: &str| tokenizer.token_id(text);
            let tokens = named(&find, vocab_size);
            // An id beyond the weights has no row there, whichever text it would come out of.
            let tokens = tokens.filter(|_| tokenizer.vocab_size() <= vocab_size);
            let tokens = tokens.ok_or_else(|| no_roles(&json))?;
            let words = 0..tokens.end.min(tokens.start);
            return Ok(Self {
                words: words.map(|id| tokenizer.token_bytes(id)).collect(),
                encoder: Encoder::Json(tokenizer),
                tokens,
            });
        }
        let (path, list) = word_list(&folder)?;
        let spelled: Vec<&[u8]> = list.iter().map(String::as_bytes).collect();
        let ids: FxHashMap<&str, u32> = (0..).zip(&list).map(|(id, w)| (w.as_str(), id)).collect();
        let find = |text: &str| ids.get(text).copied();
        let tokens = named(&find, vocab_size).ok_or_else(|| no_roles(&path))?;
        let words = spelled[..(tokens.end.min(tokens.start) as usize).min(spelled.len())]
            .iter()
            .map(|word| {
                let mut bytes = Vec::new();
                decode_byte_level(word, &mut bytes);
                bytes
            });
        Self::ranked(words.collect(), tokens)
    }

    /// The vocabulary inside of a file of whisper.cpp.
    ///
    /// # Errors
    /// [`TokenizeError::MissingKey`] where there is none, [`TokenizeError::Invalid`] for one that is too short.
    pub fn from_metadata(metadata: &Metadata, vocab_size: usize) -> Result<Self> {
        const KEY: &str = "tokenizer.ggml.tokens";
        let words = metadata
            .string_array(KEY)
            .ok_or(TokenizeError::MissingKey { key: KEY })?;
        let tokens = counted(vocab_size).ok_or_else(|| TokenizeError::Invalid {
            what: "vocabulary",
            detail: format!("a Whisper model has 51864 tokens or more, not {vocab_size}"),
        })?;
        if words.len() < tokens.end as usize {
            return Err(TokenizeError::LengthMismatch {
                key: KEY,
                found: words.len(),
                expected: tokens.end as usize,
            });
        }
        let words = words.iter().take(tokens.end as usize).map(<[u8]>::to_vec);
        Self::ranked(words.collect(), tokens)
    }

    fn ranked(words: Vec<Vec<u8>>, tokens: WhisperTokens) -> Result<Self> {
        let ranks = (0..)
            .zip(&words)
            .map(|(id, word)| (word.clone(), id))
            .collect();
        Ok(Self {
            encoder: Encoder::Ranks(ranks, PreTokenizer::new(Kind::Gpt2)?),
            words,
            tokens,
        })
    }

    /// Tokens with a role.
    pub fn tokens(&self) -> &WhisperTokens {
        &self.tokens
    }

    /// Whether the model knows other languages than English.
    pub fn is_multilingual(&self) -> bool {
        // Only vocabularies of GPT-2 itself end there.
        self.tokens.end != 50256
    }

    /// Ids of a text, without any role.
    ///
    /// # Errors
    /// [`TokenizeError::Encode`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match &self.encoder {
            Encoder::Json(tokenizer) => tokenizer.encode(text, false, false),
            Encoder::Ranks(ranks, pre) => {
                let (mut ends, mut ids, mut start) = (Vec::new(), Vec::new(), 0);
                pre.split(text, &mut ends)?;
                for end in ends {
                    merge(ranks, &text.as_bytes()[start..end], &mut ids);
                    start = end;
                }
                Ok(ids)
            }
        }
    }

    /// Bytes of the ordinary tokens among `ids`.
    pub fn bytes(&self, ids: &[u32]) -> Vec<u8> {
        let words = ids.iter().filter_map(|&id| self.words.get(id as usize));
        words.flatten().copied().collect()
    }

    /// Text of the ordinary tokens among `ids`; bytes that form no character become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        String::from_utf8_lossy(&self.bytes(ids)).into_owned()
    }

    /// The code of a language that is given as its code or English name.
    pub fn language(&self, text: &str) -> Option<&str> {
        let text = text.trim().to_lowercase();
        let code = LANGUAGES
            .iter()
            .find(|(code, name)| *code == text || *name == text)
            .map_or(text.as_str(), |(code, _)| code);
        let mut known = self.tokens.languages.iter().map(|(code, _)| code.as_str());
        known.find(|known| *known == code)
    }

    /// Splits ordinary tokens into words: where a space begins one, or, in languages without spaces, where a character
    /// ends. Marks that stand alone are words of their own.
    pub fn words(&self, ids: &[u32], language: &str) -> Vec<Vec<u32>> {
        let mut words: Vec<Vec<u32>> = Vec::new();
        let mut open: Vec<u32> = Vec::new();
        for &id in ids {
            open.push(id);
            let Ok(piece) = String::from_utf8(self.bytes(&open)) else {
                continue;
            };
            let mark =
                !piece.trim().is_empty() && piece.trim().chars().all(|c| c.is_ascii_punctuation());
            let fresh = piece.starts_with(' ') || mark || !is_spaced(language);
            match words.last_mut() {
                Some(word) if !fresh => word.append(&mut open),
                _ => words.push(std::mem::take(&mut open)),
            }
        }
        if !open.is_empty() {
            words.push(open);
        }
        words
    }

    /// Tokens that no speech is written with, signs of music and the like, as OpenAI leaves them out where a model's
    /// configuration lists none.
    ///
    /// # Errors
    /// [`TokenizeError::Encode`].
    pub fn unspoken(&self) -> Result<Vec<u32>> {
        let signs = "\"#()*+/:;<=>@[\\]^_`{|}~「」『』"
            .chars()
            .map(String::from);
        let more = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪".split(' ');
        let music = "♩♪♫♬♭♮♯";
        let mut ids = Vec::new();
        for text in [" -", " '"] {
            ids.extend(self.encode(text)?.first());
        }
        for sign in signs.chain(more.map(String::from)) {
            for text in [sign.clone(), format!(" {sign}")] {
                if let [one] = self.encode(&text)?[..] {
                    ids.push(one);
                }
            }
        }
        for sign in music.chars() {
            for text in [sign.to_string(), format!(" {sign}")] {
                ids.extend(self.encode(&text)?.first());
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

/// Roles by the spelling of tokens; `None` where one is missing.
fn named(find: &dyn Fn(&str) -> Option<u32>, vocab_size: usize) -> Option<WhisperTokens> {
    let find = |text: &str| find(text).filter(|&id| (id as usize) < vocab_size);
    let no_times = find("<|notimestamps|>")?;
    let known = LANGUAGES
        .iter()
        .filter_map(|(code, _)| Some(((*code).to_owned(), find(&format!("<|{code}|>"))?)));
    let tokens = WhisperTokens {
        end: find("<|endoftext|>")?,
        start: find("<|startoftranscript|>")?,
        languages: known.collect(),
        translate: find("<|translate|>")?,
        transcribe: find("<|transcribe|>")?,
        previous: find("<|startofprev|>")?,
        no_speech: find("<|nospeech|>").or_else(|| find("<|nocaptions|>"))?,
        no_times,
        times: no_times + 1,
    };
    let fit = (tokens.times as usize) < vocab_size && !tokens.languages.is_empty();
    fit.then_some(tokens)
}

/// Roles by the number of tokens of the published models.
fn counted(vocab_size: usize) -> Option<WhisperTokens> {
    /// Times from 0 to 30 seconds.
    const TIMES: usize = 1501;
    let multilingual = vocab_size > 51_864;
    let end = if multilingual { 50_257 } else { 50_256 };
    let count = vocab_size.checked_sub(TIMES + end + 8)?;
    if !(99..=LANGUAGES.len()).contains(&count) {
        return None;
    }
    let (end, count) = (end as u32, count as u32);
    let after = end + 2 + count;
    let codes = LANGUAGES.iter().map(|(code, _)| (*code).to_owned());
    Some(WhisperTokens {
        end,
        start: end + 1,
        languages: codes.zip(end + 2..after).collect(),
        translate: after,
        transcribe: after + 1,
        previous: after + 3,
        no_speech: after + 4,
        no_times: after + 5,
        times: after + 6,
    })
}

fn no_roles(path: &Path) -> TokenizeError {
    TokenizeError::BadFile {
        path: path.to_owned(),
        detail:
            "it lacks tokens of Whisper such as <|startoftranscript|>, or has more than the weights"
                .into(),
    }
}

/// The words of CTranslate2's vocabulary, by id.
fn word_list(folder: &Path) -> Result<(std::path::PathBuf, Vec<String>)> {
    let path = folder.join("vocabulary.json");
    if path.exists() {
        let bad = |detail: String| TokenizeError::BadFile {
            path: path.clone(),
            detail,
        };
        let list: Value = serde_json::from_slice(&read(&path)?).map_err(|e| bad(e.to_string()))?;
        let words = list.as_array().and_then(|list| {
            let texts = list.iter().map(|word| word.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<String>>>()
        });
        let words = words.ok_or_else(|| bad("it should be a list of words".into()))?;
        return Ok((path, words));
    }
    let path = folder.join("vocabulary.txt");
    let bytes = read(&path)?;
    let text = String::from_utf8(bytes).map_err(|e| TokenizeError::BadFile {
        path: path.clone(),
        detail: e.to_string(),
    })?;
    Ok((path, text.lines().map(str::to_owned).collect()))
}

/// Merges the bytes of a word, the pair with the lowest id first. Bytes that are no token are left out.
fn merge(ranks: &FxHashMap<Vec<u8>, u32>, word: &[u8], ids: &mut Vec<u32>) {
    let mut cuts: Vec<usize> = (0..=word.len()).collect();
    loop {
        let rank = |i: usize| ranks.get(&word[cuts[i]..cuts[i + 2]]).copied();
        let pairs = (0..cuts.len().saturating_sub(2)).filter_map(|i| Some((rank(i)?, i)));
        match pairs.min() {
            Some((_, i)) => cuts.remove(i + 1),
            None => break,
        };
    }
    ids.extend(
        cuts.windows(2)
            .filter_map(|cut| ranks.get(&word[cut[0]..cut[1]])),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_from_the_size() {
        let Some(base) = counted(51_865) else {
            panic!("99 languages")
        };
        assert_eq!((base.end, base.start, base.times), (50_257, 50_258, 50_364));
        assert_eq!((base.translate, base.transcribe), (50_358, 50_359));
        assert_eq!(
            (base.previous, base.no_speech, base.no_times),
            (50_361, 50_362, 50_363)
        );
        let english = counted(51_864).map(|t| (t.start, t.times));
        assert_eq!(english, Some((50_257, 50_363)));
        let large = counted(51_866).map(|t| (t.languages.len(), t.times));
        assert_eq!(large, Some((100, 50_365)));
        assert_eq!(counted(32_000), None);
    }

    fn tiny() -> WhisperTokenizer {
        let mut words: Vec<Vec<u8>> = (0..=255u8).map(|b| vec![b]).collect();
        words.extend(["he", "ll", "hell", " w", "or", " wor"].map(|w| w.as_bytes().to_vec()));
        let tokens = counted(51_865).unwrap_or_else(|| panic!("99 languages"));
        WhisperTokenizer::ranked(words, tokens).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn pairs_merge_by_rank_and_come_back() {
        let tokenizer = tiny();
        let ids = tokenizer.encode("hello wor日").unwrap_or_default();
        assert_eq!(ids[..3], [258, 111, 261]);
        assert_eq!(tokenizer.decode(&ids), "hello wor日");
        // Tokens with a role are no text.
        assert_eq!(tokenizer.decode(&[258, 50_364, 111]), "hello");
    }

    #[test]
    fn words_begin_at_spaces_and_characters_stay_whole() {
        let tokenizer = tiny();
        let ids = tokenizer.encode("hello wor, 日").unwrap_or_default();
        let spelled = |language| -> Vec<String> {
            let words = tokenizer.words(&ids, language);
            words.iter().map(|w| tokenizer.decode(w)).collect()
        };
        assert_eq!(spelled("en"), ["hello", " wor", ",", " 日"]);
        assert_eq!(spelled("ja"), ["hell", "o", " wor", ",", " ", "日"]);
    }
}
