//! The tokenizer of a published checkpoint in the words of GGUF's metadata.
//!
//! Byte-level vocabularies become `gpt2`, those with U+2581 for spaces and tokens for bytes become `llama`. What a
//! `tokenizer.json` says by regular expressions, GGUF says by the name of a pre-tokenizer. The name is found by
//! experiment: it is the one by which a set of awkward texts gets the ids that `tokenizer.json` gives. Keys are those of
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#tokenizer>.

use std::collections::HashMap;
use std::path::Path;

use medley_formats::gguf::{Array, Metadata, StringArray, Value as GgufValue};
use medley_tokenize::Tokenizer;
use serde_json::Value;

use super::ConvertEvent;
use super::checkpoint::{json, refuse};
use crate::Result;

/// Token types of the GGUF specification.
mod kind {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
    pub(super) const BYTE: i32 = 6;
}

/// Largest vocabulary that is written.
const MAX_TOKENS: usize = 1 << 22;
/// Score of tokens that are never merged into.
const NEVER: f32 = -1e6;
/// What SentencePiece writes for a space.
const SPACE: char = '\u{2581}';

/// Pre-tokenizers to try, those of the families that run here first. Names that mean the same are named once.
const PRE: &[&str] = &[
    "qwen2",
    "smollm",
    "dbrx",
    "gpt-2",
    "gpt-4o",
    "qwen35",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "falcon",
    "superbpe",
    "seed-coder",
    "bailingmoe",
    "kimi-k2",
    "bloom",
    "viking",
    "exaone-moe",
    "default",
];

/// Those that leave words alone which are tokens already.
const PRE_WHOLE_WORDS: &[&str] = &["llama-bpe", "tekken", "youtu", "minicpm5"];

/// Texts in which the pre-tokenizers differ: digits, contractions, scripts, white space, symbols.
const PROBES: &[&str] = &[
    "Hello, world! It's 1 12 123 1234 12345 1234567890 and 3.14159, 1,000,000.",
    "I'm you're he'll they've she'd ISN'T WE'LL I'D don’t  rock'n'roll",
    "  two  spaces   three\ttab\t\ttabs \n\n\nlines\r\n\r\n  end   ",
    "fn main() {\n    let x_1 = vec![0u8; 16]; // ünïcode\n\treturn x_1?;\n}\n",
    "naïve café Ünïcödé ß Ελληνικά Русский язык עברית العربية हिन्दी ไทย",
    "你好，世界！我今天花了123元。こんにちは世界。カタカナ 안녕하세요 세계 2024년",
    "😀🎉👍🏽 👨‍👩‍👧‍👦 → ≈ ∑ € £ ¥ © ™ … — “quoted” «guillemets»",
    "CamelCaseWords and HTTPServer2 snake_case kebab-case SHOUTING",
    "e\u{301}a\u{308} combining \u{200b}zero\u{a0}width\u{3000}space",
    "a!!b??c...d---e___f###g$$$h%%%i^^^j&&&k***l((()))m[[]]n{{}}",
    "https://example.com/path?query=1&x=%20#frag user@mail.org C:\\dir\\file.txt",
    "What?\n\"Yes!\"\n\n(no).\nend;\n!\n\n\nIt'S\n 'tis\n",
    "x",
    " x",
    "\n",
    "1",
    "    ",
];

/// What was found in the folder.
struct Source {
    /// `tokenizer.json`.
    spelled: Value,
    /// `tokenizer_config.json`.
    settings: Value,
    tokenizer: Tokenizer,
    /// Every token by its id; none for holes.
    texts: Vec<Option<String>>,
    kinds: Vec<i32>,
}

/// Adds the tokenizer of `folder` to `metadata`, for a model with `vocab_size` ids.
pub(super) fn describe(
    folder: &Path,
    config: &Value,
    vocab_size: usize,
    metadata: &mut Metadata,
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<()> {
    let spelled = json(folder, "tokenizer.json")?;
    if spelled.is_null() {
        return Err(refuse(format!(
            "{} has no tokenizer.json",
            folder.display()
        )));
    }
    let tokenizer =
        Tokenizer::from_file(folder).map_err(|e| refuse(format!("tokenizer.json: {e}")))?;
    let model = &spelled["model"];
    let name = model["type"].as_str().unwrap_or("of no type");
    // Old files leave the type out; what has merges is byte-pair encoding.
    let words = name == "WordPiece";
    if !words && name != "BPE" && !model["merges"].is_array() {
        return Err(refuse(format!(
            "tokenizer.json is {name}; GGUF files are made of byte-pair encodings and WordPiece"
        )));
    }
    let (texts, kinds) = tokens(&spelled, vocab_size)?;
    let source = Source {
        settings: json(folder, "tokenizer_config.json")?,
        spelled,
        tokenizer,
        texts,
        kinds,
    };
    let sentencepiece = source.spelled["model"]["byte_fallback"] == true
        || source.spelled["decoder"].to_string().contains(SPACE);
    let mut keys = Metadata::default();
    specials(&source, config, &mut keys);
    if words {
        word_pieces(&source, &mut keys);
        agreement(&source, &mut keys, &["default"], events)?;
    } else if sentencepiece {
        pieces(folder, &source, &mut keys)?;
        agreement(&source, &mut keys, &["default"], events)?;
    } else {
        merges(&source, &mut keys)?;
        let whole = source.spelled["model"]["ignore_merges"] == true;
        let (first, then) = if whole {
            (PRE_WHOLE_WORDS, PRE)
        } else {
            (PRE, PRE_WHOLE_WORDS)
        };
        agreement(&source, &mut keys, &[first, then].concat(), events)?;
    }
    template(folder, &source.settings, &mut keys)?;
    for (key, value) in keys.iter() {
        metadata.insert(key, value.clone());
    }
    Ok(())
}

/// Texts and types of all ids; ids without a token are unused.
fn tokens(spelled: &Value, vocab_size: usize) -> Result<(Vec<Option<String>>, Vec<i32>)> {
    let Some(vocab) = spelled["model"]["vocab"].as_object() else {
        return Err(refuse("tokenizer.json has no vocabulary"));
    };
    if vocab_size > MAX_TOKENS {
        return Err(refuse(format!("a vocabulary of {vocab_size} is too large")));
    }
    let mut texts = vec![None; vocab_size];
    let mut kinds = vec![kind::UNUSED; vocab_size];
    let mut put = |id: &Value, text: &str, kind: i32| -> Result<()> {
        let at = id.as_u64().and_then(|id| usize::try_from(id).ok());
        match at.filter(|&at| at < vocab_size) {
            Some(at) => {
                (texts[at], kinds[at]) = (Some(text.to_owned()), kind);
                Ok(())
            }
            None => Err(refuse(format!(
                "token {text:?} has the id {id}, and the model has {vocab_size} ids"
            ))),
        }
    };
    let unknown = spelled["model"]["unk_token"].as_str();
    let bytes = spelled["model"]["byte_fallback"] == true;
    for (text, id) in vocab {
        let kind = if bytes && is_byte(text) {
            kind::BYTE
        } else if Some(text.as_str()) == unknown {
            kind::UNKNOWN
        } else {
            kind::NORMAL
        };
        put(id, text, kind)?;
    }
    for token in spelled["added_tokens"].as_array().into_iter().flatten() {
        let text = token["content"].as_str().unwrap_or("");
        // Files mark some of these as plain text that no reader of the text should see.
        let steers = text.starts_with("<|") && text.ends_with("|>") && text.len() > 4;
        if Some(text) == unknown && bytes {
            put(&token["id"], text, kind::UNKNOWN)?;
        } else if token["special"] == true || steers {
            put(&token["id"], text, kind::CONTROL)?;
        } else {
            // Readers look for these in text as people write it.
            put(&token["id"], &text.replace(SPACE, " "), kind::USER_DEFINED)?;
        }
    }
    Ok((texts, kinds))
}

/// Whether a token is the name of a byte, such as `<0x0A>`.
fn is_byte(text: &str) -> bool {
    text.strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'))
        .is_some_and(|hex| hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Ids with a role, and whether texts get them without being asked.
fn specials(source: &Source, config: &Value, keys: &mut Metadata) {
    let tokenizer = &source.tokenizer;
    let count = source.texts.len();
    let mut id = |name: &str, id: Option<u32>| {
        if let Some(id) = id.filter(|&id| (id as usize) < count) {
            keys.insert(
                format!("tokenizer.ggml.{name}_token_id"),
                GgufValue::U32(id),
            );
        }
    };
    let configured = |key: &str| match &config[key] {
        Value::Array(list) => list.first().and_then(Value::as_u64),
        other => other.as_u64(),
    };
    let or = |found: Option<u32>, key: &str| {
        found.or_else(|| configured(key).and_then(|id| u32::try_from(id).ok()))
    };
    let eos = or(tokenizer.eos(), "eos_token_id");
    id("bos", or(tokenizer.bos(), "bos_token_id"));
    id("eos", eos);
    id("unknown", tokenizer.unknown());
    id("padding", tokenizer.padding());
    // A second end is that of a turn.
    let turn = tokenizer
        .end_of_generation()
        .iter()
        .copied()
        .find(|&e| Some(e) != eos);
    id("eot", turn);
    let plain = tokenizer.encode("x", true, false).unwrap_or_default();
    let adds_eos = plain.len() > 1 && plain.last().copied() == eos;
    keys.insert(
        "tokenizer.ggml.add_bos_token",
        GgufValue::Bool(tokenizer.adds_bos()),
    );
    keys.insert("tokenizer.ggml.add_eos_token", GgufValue::Bool(adds_eos));
}

/// Tokens and types, as both families have them.
fn vocabulary(source: &Source, keys: &mut Metadata) {
    let texts = source.texts.iter().enumerate();
    let list: StringArray = texts
        .map(|(i, t)| t.clone().unwrap_or_else(|| format!("[PAD{i}]")))
        .collect();
    keys.insert(
        "tokenizer.ggml.tokens",
        GgufValue::Array(Array::Strings(list)),
    );
    let kinds = Array::I32(source.kinds.clone());
    keys.insert("tokenizer.ggml.token_type", GgufValue::Array(kinds));
}

/// The pairs of `model.merges`, which are strings or lists of two.
fn pairs(spelled: &Value) -> Result<Vec<(&str, &str)>> {
    let list = spelled["model"]["merges"].as_array();
    list.into_iter()
        .flatten()
        .map(|merge| {
            let found = match merge {
                Value::String(text) => text.split_once(' '),
                Value::Array(two) if two.len() == 2 => two[0].as_str().zip(two[1].as_str()),
                _ => None,
            };
            found.ok_or_else(|| refuse(format!("tokenizer.json has {merge} as a merge")))
        })
        .collect()
}

/// A byte-level vocabulary.
fn merges(source: &Source, keys: &mut Metadata) -> Result<()> {
    keys.insert("tokenizer.ggml.model", GgufValue::String("gpt2".into()));
    keys.insert("tokenizer.ggml.pre", GgufValue::String("default".into()));
    vocabulary(source, keys);
    // A space separates the two, so one within them is written as the byte-level alphabet has it.
    let clean = |part: &str| part.replace(' ', "\u{120}");
    let merges: StringArray = pairs(&source.spelled)?
        .into_iter()
        .map(|(a, b)| format!("{} {}", clean(a), clean(b)))
        .collect();
    keys.insert(
        "tokenizer.ggml.merges",
        GgufValue::Array(Array::Strings(merges)),
    );
    Ok(())
}

/// A WordPiece vocabulary. Checkpoints mark what goes on within a word, by `##`; GGUF what begins one.
fn word_pieces(source: &Source, keys: &mut Metadata) {
    keys.insert("tokenizer.ggml.model", GgufValue::String("bert".into()));
    vocabulary(source, keys);
    let begins = |text: &str| match text.strip_prefix("##") {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ if text.starts_with('[') && text.ends_with(']') && text.len() > 2 => text.to_owned(),
        _ => format!("{SPACE}{text}"),
    };
    let texts = source.texts.iter().enumerate();
    let list: StringArray = texts
        .map(|(i, text)| text.as_deref().map_or_else(|| format!("[PAD{i}]"), begins))
        .collect();
    keys.insert(
        "tokenizer.ggml.tokens",
        GgufValue::Array(Array::Strings(list)),
    );
    for (key, role) in [
        ("bos", "cls_token"),
        ("cls", "cls_token"),
        ("seperator", "sep_token"),
        ("mask", "mask_token"),
    ] {
        let text = &source.settings[role];
        let text = text.as_str().or_else(|| text["content"].as_str());
        if let Some(id) = text.and_then(|text| source.tokenizer.token_id(text)) {
            keys.insert(format!("tokenizer.ggml.{key}_token_id"), GgufValue::U32(id));
        }
    }
    let normalizer = &source.spelled["normalizer"];
    for (key, value) in [
        ("lowercase", &normalizer["lowercase"]),
        ("strip_accents", &normalizer["strip_accents"]),
    ] {
        if let Some(value) = value.as_bool() {
            let key = format!("tokenizer.ggml.normalizer.{key}");
            keys.insert(key, GgufValue::Bool(value));
        }
    }
}

/// A SentencePiece vocabulary: pairs are joined in the order of scores.
fn pieces(folder: &Path, source: &Source, keys: &mut Metadata) -> Result<()> {
    keys.insert("tokenizer.ggml.model", GgufValue::String("llama".into()));
    keys.insert("tokenizer.ggml.pre", GgufValue::String("default".into()));
    vocabulary(source, keys);
    let mut ranks: HashMap<String, f32> = HashMap::new();
    for (rank, (a, b)) in pairs(&source.spelled)?.into_iter().enumerate() {
        ranks.entry(format!("{a}{b}")).or_insert(-(rank as f32));
    }
    let published = sentencepiece_scores(folder)?;
    let scores = source.texts.iter().zip(&source.kinds).map(|(text, &kind)| {
        let text = text.as_deref().unwrap_or("");
        match kind {
            kind::NORMAL => published
                .get(text)
                .or_else(|| ranks.get(text))
                .copied()
                .unwrap_or(NEVER),
            kind::BYTE | kind::UNKNOWN => 0.0,
            _ => -1000.0,
        }
    });
    let scores = Array::F32(scores.collect());
    keys.insert("tokenizer.ggml.scores", GgufValue::Array(scores));
    let normalizer = source.spelled["normalizer"].to_string();
    let splits = &source.spelled["pre_tokenizer"];
    let metaspace = splits.to_string().contains(r#""type":"Metaspace""#)
        && !splits.to_string().contains(r#""prepend_scheme":"never""#)
        && !splits.to_string().contains(r#""add_prefix_space":false"#);
    let prefix = normalizer.contains(r#""type":"Prepend""#) || metaspace;
    keys.insert("tokenizer.ggml.add_space_prefix", GgufValue::Bool(prefix));
    Ok(())
}

/// Scores by piece out of `tokenizer.model`, where the folder has one: field 1 of SentencePiece's `ModelProto` is
/// a piece, with its text in field 1 and its score in field 2.
/// <https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>
fn sentencepiece_scores(folder: &Path) -> Result<HashMap<String, f32>> {
    let path = folder.join("tokenizer.model");
    let mut scores = HashMap::new();
    if !path.exists() {
        return Ok(scores);
    }
    let bytes = std::fs::read(&path).map_err(crate::EngineError::io("read", &path))?;
    for (field, part) in Fields(&bytes) {
        let (1, Wire::Bytes(piece)) = (field, part) else {
            continue;
        };
        let (mut text, mut score) = (None, 0.0);
        for (field, part) in Fields(piece) {
            match (field, part) {
                (1, Wire::Bytes(bytes)) => text = std::str::from_utf8(bytes).ok(),
                (2, Wire::Four(bytes)) => score = f32::from_le_bytes(bytes),
                _ => {}
            }
        }
        if let Some(text) = text {
            scores.insert(text.to_owned(), score);
        }
    }
    Ok(scores)
}

/// The fields of a protocol buffer, up to the first that is damaged.
struct Fields<'a>(&'a [u8]);

/// A field's contents, as far as they are of use.
enum Wire<'a> {
    Bytes(&'a [u8]),
    Four([u8; 4]),
    Other,
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(head)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Wire<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.number()?;
        let part = match tag & 7 {
            0 => self.number().map(|_| Wire::Other)?,
            1 => self.take(8).map(|_| Wire::Other)?,
            2 => {
                let len = self.number()?;
                Wire::Bytes(self.take(len)?)
            }
            5 => Wire::Four(self.take(4)?.try_into().ok()?),
            _ => return None,
        };
        Some((tag >> 3, part))
    }
}

/// Chooses the first of `names` by which the probes get the ids that `tokenizer.json` gives, or the best one, with a
/// note of how far they differ.
fn agreement(
    source: &Source,
    keys: &mut Metadata,
    names: &[&str],
    events: &mut dyn FnMut(ConvertEvent),
) -> Result<()> {
    let wanted: Vec<Vec<u32>> = PROBES
        .iter()
        .map(|text| {
            source
                .tokenizer
                .encode(text, false, false)
                .unwrap_or_default()
        })
        .collect();
    let mut best = ("", 0);
    let mut why = String::new();
    for name in names {
        keys.insert("tokenizer.ggml.pre", GgufValue::String((*name).to_owned()));
        let found = match Tokenizer::from_gguf(keys) {
            Ok(found) => found,
            Err(error) => {
                why = format!(": {error}");
                continue;
            }
        };
        let same = PROBES.iter().zip(&wanted).filter(|(text, wanted)| {
            found
                .encode(text, false, false)
                .is_ok_and(|ids| ids == **wanted)
        });
        let same = same.count();
        if same > best.1 {
            best = (name, same);
        }
        if same == PROBES.len() {
            break;
        }
    }
    let (name, same) = best;
    if same < PROBES.len() / 2 {
        return Err(refuse(format!(
            "no pre-tokenizer of GGUF cuts text as tokenizer.json does{why}"
        )));
    }
    keys.insert("tokenizer.ggml.pre", GgufValue::String(name.to_owned()));
    if same < PROBES.len() {
        events(ConvertEvent::Note(format!(
            "the tokenizer in GGUF ({name}) gives other ids than tokenizer.json for {} of {} awkward texts",
            PROBES.len() - same,
            PROBES.len()
        )));
    }
    Ok(())
}

/// The chat template, and those with names of their own.
fn template(folder: &Path, settings: &Value, keys: &mut Metadata) -> Result<()> {
    let file = folder.join("chat_template.jinja");
    let mut set = |name: Option<&str>, text: &str| {
        let key = match name {
            None | Some("default") => "tokenizer.chat_template".to_owned(),
            Some(name) => format!("tokenizer.chat_template.{name}"),
        };
        keys.insert(key, GgufValue::String(text.to_owned()));
    };
    if file.exists() {
        let text = std::fs::read_to_string(&file).map_err(crate::EngineError::io("read", &file))?;
        set(None, &text);
        return Ok(());
    }
    match &settings["chat_template"] {
        Value::String(text) => set(None, text),
        Value::Array(list) => {
            for one in list {
                if let Some(text) = one["template"].as_str() {
                    set(one["name"].as_str(), text);
                }
            }
        }
        _ => {}
    }
    Ok(())
}
