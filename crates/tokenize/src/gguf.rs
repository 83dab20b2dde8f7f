//! The tokenizer that a GGUF file's metadata describes, read as llama.cpp reads it.

use medley_formats::gguf::{Metadata, StringArray};
use rustc_hash::FxHashMap;

use crate::engine::bpe::Bpe;
use crate::engine::spm::Spm;
use crate::engine::unigram::{CharsMap, Sorted, SpaceRules, Unigram};
use crate::engine::wordpiece::WordPiece;
use crate::engine::{Family, Native, named_byte, unescape_spaces};
use crate::error::{Result, TokenizeError};
use crate::pre::{self, Kind, Named};
use crate::special::SpecialMatcher;
use crate::tokenizer::{Engine, Inner, SpecialTokens};
use crate::unicode::decode_byte_level;
use crate::vocab::{TokenKind, Vocab};

const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";
const MODELS: &str = "gpt2, gemma4, whitespace (byte-pair encoding), llama (SentencePiece), t5 (unigram), bert (WordPiece)";

/// `tokenizer.ggml.model`, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Model {
    Bpe,
    /// Byte-pair encoding of the words between white space.
    Words,
    Spm,
    Unigram,
    WordPiece,
}

/// Everything read from the metadata but the encoder.
struct Loader<'a> {
    meta: &'a Metadata,
    model: Model,
    named: Named,
    tokens: &'a StringArray,
    vocab: Vocab,
    special: SpecialTokens,
    end_of_generation: Vec<u32>,
}

/// Reads the tokenizer.
pub(crate) fn load(meta: &Metadata) -> Result<Inner> {
    let name = meta
        .str("tokenizer.ggml.model")
        .ok_or(TokenizeError::MissingKey {
            key: "tokenizer.ggml.model",
        })?;
    let model = match name {
        "gpt2" | "gemma4" => Model::Bpe,
        "whitespace" => Model::Words,
        "llama" => Model::Spm,
        "t5" => Model::Unigram,
        "bert" => Model::WordPiece,
        _ => {
            return Err(TokenizeError::UnknownModel {
                model: name.to_owned(),
                known: MODELS,
            });
        }
    };
    let pre = match (model, name) {
        (Model::Bpe, "gemma4") => "gemma4",
        (Model::Bpe | Model::Words, _) => meta.str("tokenizer.ggml.pre").unwrap_or("default"),
        _ => "default",
    };
    let named = pre::kind(pre).ok_or_else(|| TokenizeError::UnknownPreTokenizer {
        pre: pre.to_owned(),
    })?;
    let tokens = meta
        .string_array(TOKENS)
        .ok_or(TokenizeError::MissingKey { key: TOKENS })?;
    let mut loader = Loader {
        meta,
        model,
        named,
        tokens,
        vocab: vocabulary(meta, model, named, tokens)?,
        special: SpecialTokens::default(),
        end_of_generation: Vec::new(),
    };
    let family = loader.family()?;
    loader.read_special();
    loader.find_end_of_generation();
    let specials = loader.matcher();
    let space_prefix = loader.flag("tokenizer.ggml.add_space_prefix", model == Model::Spm);
    Ok(Inner {
        vocab: loader.vocab,
        special: loader.special,
        end_of_generation: loader.end_of_generation,
        strip_space: match model {
            Model::Spm | Model::Unigram => space_prefix,
            Model::WordPiece => true,
            Model::Bpe | Model::Words => false,
        },
        engine: Engine::Native(Native {
            family,
            specials,
            space_prefix,
        }),
    })
}

/// Spells every token out and files it.
fn vocabulary(meta: &Metadata, model: Model, named: Named, tokens: &StringArray) -> Result<Vocab> {
    let kinds = meta.i32s("tokenizer.ggml.token_type");
    if let Some(kinds) = kinds
        && kinds.len() < tokens.len()
    {
        return Err(TokenizeError::LengthMismatch {
            key: "tokenizer.ggml.token_type",
            found: kinds.len(),
            expected: tokens.len(),
        });
    }
    let total = tokens.iter().map(<[u8]>::len).sum();
    let mut vocab = Vocab::with_capacity(tokens.len(), total)?;
    let byte_level = model == Model::Bpe && !named.plain;
    let mut decoded = Vec::new();
    for (id, text) in tokens.iter().enumerate() {
        let kind = kinds.map_or(TokenKind::Normal, |kinds| TokenKind::from_gguf(kinds[id]));
        if text.is_empty() {
            vocab.push(format!("[EMPTY_{id}]").as_bytes(), kind, false);
            continue;
        }
        let raw = kind.is_hidden() || kind == TokenKind::UserDefined;
        match kind {
            TokenKind::Byte if let Some(byte) = named_byte(text) => {
                vocab.push(&[byte], kind, false)
            }
            // Ordinary text is never joined into a token that steers the model.
            _ if kind.is_hidden() => vocab.push(text, kind, false),
            _ if byte_level => {
                decoded.clear();
                let spelled = decode_byte_level(text, &mut decoded);
                let piece = if spelled && !raw { &decoded } else { text };
                vocab.push(piece, kind, spelled && (!raw || text.is_ascii()));
            }
            // A space in a token's own spelling is one that escaped text never has.
            _ => vocab.push(&unescape_spaces(text), kind, !text.contains(&b' ')),
        }
    }
    Ok(vocab)
}

impl Loader<'_> {
    fn flag(&self, key: &str, default: bool) -> bool {
        self.meta.bool(key).unwrap_or(default)
    }

    /// The score of each token, 0 where there is none.
    fn scores(&self) -> Result<Vec<f32>> {
        let key = "tokenizer.ggml.scores";
        let scores = match (self.meta.f32s(key), self.meta.i32s(key)) {
            (Some(scores), _) => scores.to_vec(),
            (None, Some(scores)) => scores.iter().map(|&s| s as f32).collect(),
            (None, None) => return Ok(vec![0.0; self.vocab.len()]),
        };
        if scores.len() < self.vocab.len() {
            return Err(TokenizeError::LengthMismatch {
                key,
                found: scores.len(),
                expected: self.vocab.len(),
            });
        }
        Ok(scores)
    }

    /// The token that stands for each byte: the one named after it, else the one that is it.
    fn byte_tokens(&self) -> Box<[Option<u32>; 256]> {
        let mut bytes: Box<[Option<u32>; 256]> =
            Box::new(std::array::from_fn(|b| self.vocab.find(&[b as u8])));
        for (id, text) in (0u32..).zip(self.tokens.iter()) {
            if text.len() == 6
                && let Some(byte) = named_byte(text)
            {
                bytes[usize::from(byte)] = Some(id);
            }
        }
        bytes
    }

    fn family(&self) -> Result<Family> {
        Ok(match self.model {
            Model::Bpe | Model::Words => {
                let merges = self.meta.string_array(MERGES);
                if merges.is_none() && self.named.kind != Kind::KimiK2 {
                    return Err(TokenizeError::MissingKey { key: MERGES });
                }
                let none = StringArray::default();
                let words = (self.model == Model::Words)
                    .then(|| self.flag("tokenizer.ggml.normalizer.lowercase", false));
                let mut bpe = Bpe::new(
                    &self.vocab,
                    self.named,
                    merges.unwrap_or(&none).iter(),
                    words,
                )?;
                if self.named.plain || words.is_some() {
                    for (id, text) in (0u32..).zip(self.tokens.iter()) {
                        bpe.set_byte_token(text, id);
                    }
                }
                Family::Bpe(bpe)
            }
            Model::Spm => Family::Spm(Spm::new(
                &self.vocab,
                self.scores()?.into_iter(),
                self.byte_tokens(),
            )),
            Model::Unigram => Family::Unigram(self.unigram()?),
            Model::WordPiece => {
                let lowercase = self.flag("tokenizer.ggml.normalizer.lowercase", true);
                Family::WordPiece(WordPiece {
                    longest: self.tokens.iter().map(<[u8]>::len).max().unwrap_or(0),
                    lowercase,
                    strip_accents: self.flag("tokenizer.ggml.normalizer.strip_accents", lowercase),
                    unknown: self.id("tokenizer.ggml.unknown_token_id", Some(100)),
                })
            }
        })
    }

    fn unigram(&self) -> Result<Unigram> {
        let mut scores = self.scores()?;
        let kind = |id: &u32| self.vocab.kind(*id);
        let ids = || 0..self.vocab.len() as u32;
        let worst = ids()
            .filter(|id| kind(id) == TokenKind::Normal)
            .map(|id| scores[id as usize])
            .fold(f32::MAX, f32::min);
        let user_defined = |id: &u32| kind(id) == TokenKind::UserDefined;
        for id in ids().filter(user_defined) {
            scores[id as usize] = 0.0;
        }
        let charsmap = match self.meta.ints("tokenizer.ggml.precompiled_charsmap") {
            Some(values) if !values.is_empty() => {
                let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
                Some(CharsMap::new(&bytes)?)
            }
            _ => None,
        };
        Ok(Unigram {
            tokens: Sorted::new(
                &self.vocab,
                ids().filter(|id| {
                    matches!(
                        kind(id),
                        TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused
                    )
                }),
            ),
            user_defined: Sorted::new(&self.vocab, ids().filter(user_defined)),
            scores,
            unknown: self.id("tokenizer.ggml.unknown_token_id", Some(2)),
            unknown_score: Unigram::unknown_score(worst),
            charsmap,
            spaces: SpaceRules {
                prefix: self.flag("tokenizer.ggml.add_space_prefix", false),
                as_suffix: self.flag("tokenizer.ggml.treat_whitespace_as_suffix", false),
                merge: self.flag("tokenizer.ggml.remove_extra_whitespaces", false),
            },
        })
    }

    /// The id under `key` if it is one of the vocabulary, else the default if that is.
    fn id(&self, key: &str, default: Option<u32>) -> Option<u32> {
        let valid = |id: &u32| (*id as usize) < self.vocab.len();
        self.meta.u32(key).filter(valid).or(default.filter(valid))
    }

    fn read_special(&mut self) {
        let (bos, eos, unknown, separator, padding) = match self.model {
            Model::Spm => (Some(1), Some(2), Some(0), None, None),
            Model::WordPiece => (Some(101), None, Some(100), Some(102), Some(0)),
            Model::Unigram => (None, Some(1), Some(2), None, Some(0)),
            Model::Bpe if self.meta.str("tokenizer.ggml.model") == Some("gemma4") => {
                (None, None, None, None, None)
            }
            Model::Bpe | Model::Words if self.named.no_bos => (None, Some(11), None, None, None),
            Model::Bpe | Model::Words => (Some(11), Some(11), None, None, None),
        };
        let key = |name: &str| format!("tokenizer.ggml.{name}_token_id");
        let (add_bos, add_eos) = match self.model {
            Model::Spm | Model::WordPiece => (true, false),
            Model::Unigram => (false, true),
            Model::Bpe | Model::Words => (self.named.add_bos, false),
        };
        self.special = SpecialTokens {
            bos: self.id(&key("bos"), bos),
            eos: self.id(&key("eos"), eos),
            unknown: self.id(&key("unknown"), unknown),
            separator: self.id(&key("seperator"), separator),
            padding: self.id(&key("padding"), padding),
            add_bos: self.flag("tokenizer.ggml.add_bos_token", add_bos) || self.named.newline_runs,
            add_eos: self.flag("tokenizer.ggml.add_eos_token", add_eos),
            // A separator ends what WordPiece models read, whatever the flags say.
            wordpiece: self.model == Model::WordPiece,
        };
    }

    /// Ids of the tokens in `texts`.
    fn tokens_of(&self, texts: &[&'static str]) -> FxHashMap<&'static str, u32> {
        let by_text: FxHashMap<&[u8], &'static str> =
            texts.iter().map(|&t| (t.as_bytes(), t)).collect();
        let mut first = [false; 256];
        for text in texts {
            first[usize::from(text.as_bytes()[0])] = true;
        }
        (0u32..)
            .zip(self.tokens.iter())
            .filter(|(_, text)| text.first().is_some_and(|&b| first[usize::from(b)]))
            .filter_map(|(id, text)| Some((*by_text.get(text)?, id)))
            .collect()
    }

    /// Which tokens end a turn: those that the file names, and those whose spelling is known to.
    fn find_end_of_generation(&mut self) {
        let known: Vec<&str> =
            [ENDS, FILL_ENDS.as_flattened(), STEERING, &["<|plamo:eos|>"]].concat();
        let ids = self.tokens_of(&known);
        let mut ends: Vec<u32> = Vec::new();
        for (key, spellings) in FILL_KEYS.iter().zip(FILL_ENDS) {
            let named = self.id(&format!("tokenizer.ggml.{key}_token_id"), None);
            let id = named.or_else(|| spellings.iter().find_map(|s| ids.get(s).copied()));
            ends.extend(id);
            self.hide(id.filter(|_| named.is_none()));
        }
        for id in ENDS.iter().filter_map(|s| ids.get(s).copied()) {
            ends.push(id);
            self.hide(Some(id));
        }
        // gpt-oss structures its answers by these, so they are shown.
        for &id in STEERING.iter().filter_map(|s| ids.get(s)) {
            self.vocab.set_kind(id, TokenKind::UserDefined);
        }
        ends.extend(self.special.eos);
        ends.extend(self.id("tokenizer.ggml.eot_token_id", None));
        ends.extend(self.id("tokenizer.ggml.eom_token_id", None));
        let ending = |text: &str| ids.get(text).copied().filter(|id| ends.contains(id));
        let calls = ending("<|call|>").or(ending("<|calls|>")).is_some();
        let mut kept = Vec::new();
        if calls && (ending("<|return|>").is_some() || ending("<|flush|>").is_some()) {
            kept.extend(ending("<|end|>").map(|id| (id, TokenKind::UserDefined)));
        }
        if ending("<|tool_response>")
            .or(ending("<|plamo:eos|>"))
            .is_some()
        {
            kept.extend(ending("</s>").map(|id| (id, TokenKind::Normal)));
        }
        for (id, kind) in kept {
            ends.retain(|&end| end != id);
            self.vocab.set_kind(id, kind);
        }
        ends.sort_unstable();
        ends.dedup();
        self.end_of_generation = ends;
    }

    fn hide(&mut self, id: Option<u32>) {
        if let Some(id) = id
            && self.vocab.kind(id) != TokenKind::Control
        {
            self.vocab.set_kind(id, TokenKind::Control);
        }
    }

    /// The tokens to be found in text before it is encoded.
    fn matcher(&self) -> SpecialMatcher {
        let name = self.meta.str("general.name").unwrap_or("").to_lowercase();
        let architecture = self.meta.str("general.architecture").unwrap_or("");
        let pre = self.meta.str("tokenizer.ggml.pre").unwrap_or("");
        let has = |text: &str, any: &[&str]| any.iter().any(|part| text.contains(part));
        let mask = if has(pre, &["jina-v2-de", "jina-v2-es", "jina-v2-code"])
            || has(architecture, &["nomic-bert-moe", "jina-bert-v3"])
        {
            "<mask>"
        } else if has(&name, &["modern-bert"]) {
            "[MASK]"
        } else {
            ""
        };
        let phi3 = mask.is_empty() && has(&name, &["phi-3", "phi3"]);
        let entries = (0u32..).zip(self.tokens.iter()).filter_map(|(id, text)| {
            let kind = self.vocab.kind(id);
            let right = phi3 && !matches!(text, b"<unk>" | b"<s>" | b"<|endoftext|>");
            let left = !mask.is_empty() && text == mask.as_bytes();
            (kind.is_hidden() || kind == TokenKind::UserDefined).then(|| {
                let text = if text.is_empty() {
                    self.vocab.piece(id)
                } else {
                    text
                };
                (text.to_vec(), id, kind.is_hidden(), (left, right))
            })
        });
        SpecialMatcher::new(entries)
    }
}

/// Spellings that end a turn in the published models.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Tokens of code filling that end it: padding, repository, file.
const FILL_KEYS: [&str; 3] = ["fim_pad", "fim_rep", "fim_sep"];
const FILL_ENDS: [[&str; 5]; 3] = [
    ["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
    [
        "<|fim_repo|>",
        "<|repo_name|>",
        "<fim-repo>",
        "<REPO>",
        "<reponame>",
    ],
    ["<|file_sep|>"; 5],
];

/// Tokens by which gpt-oss structures its answers.
pub(crate) const STEERING: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];
