//! A vocabulary out of texts, and the files that a model of its own needs beside its weights.

use std::path::Path;

use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, NormalizerWrapper, TokenizerBuilder};

use super::data::{Document, TextSource};
use crate::files::write_whole;
use crate::{Error, Result};

/// Ends a text, and stands before one.
pub const END_OF_TEXT: &str = "<|endoftext|>";
const SPECIAL: [&str; 3] = [END_OF_TEXT, "<|im_start|>", "<|im_end|>"];
/// Smallest vocabulary: every byte, and the special tokens.
pub const LEAST_VOCAB: usize = 256 + SPECIAL.len();
/// Bytes of text that a vocabulary is learned from.
const LOOKED_AT: usize = 64 << 20;

/// Turns of a chat between its special tokens, as Qwen and SmolLM write them (ChatML).
const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) over these documents: writes `tokenizer.json` and
/// `tokenizer_config.json` into `folder`.
pub fn make(
    source: &mut TextSource,
    documents: &[usize],
    size: usize,
    folder: &Path,
) -> Result<()> {
    let (texts, chats) = texts(source, documents);
    learn(&texts, size, chats, folder)
}

/// The same over these texts; `chats` says whether a template of chats belongs to them.
pub(crate) fn learn(texts: &[String], size: usize, chats: bool, folder: &Path) -> Result<()> {
    if size < LEAST_VOCAB {
        return Err(Error::Setting(format!(
            "a vocabulary has at least {LEAST_VOCAB} tokens: every byte and {}",
            SPECIAL.join(", ")
        )));
    }
    let failed = |e: tokenizers::Error| Error::Setting(format!("no vocabulary: {e}"));
    let special = SPECIAL.map(|text| AddedToken::from(text, true)).to_vec();
    let mut trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(size)
        .min_frequency(2)
        .special_tokens(special)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let bytes = ByteLevel::new(false, false, true);
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<NormalizerWrapper>)
        .with_pre_tokenizer(Some(bytes))
        .with_post_processor(Some(bytes))
        .with_decoder(Some(bytes))
        .build()
        .map_err(failed)?;
    tokenizer
        .train(&mut trainer, texts.iter())
        .map_err(failed)?;
    let text = tokenizer.to_string(true).map_err(failed)?;
    write_whole(&folder.join("tokenizer.json"), text.as_bytes())?;
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
    });
    if chats {
        config["chat_template"] = json!(TEMPLATE);
    }
    let text = format!("{config:#}\n");
    write_whole(&folder.join("tokenizer_config.json"), text.as_bytes())
}

/// Texts to learn from, up to a limit, and whether there are chats among them.
fn texts(source: &mut TextSource, documents: &[usize]) -> (Vec<String>, bool) {
    let (mut texts, mut chats, mut bytes) = (Vec::new(), false, 0);
    for &number in documents {
        let text = match source.read(number) {
            None => continue,
            Some(Document::Text(text)) => text,
            Some(Document::Chat(messages)) => {
                chats = true;
                let contents = messages.iter().filter_map(|m| m["content"].as_str());
                contents.collect::<Vec<_>>().join("\n")
            }
        };
        bytes += text.len();
        texts.push(text);
        if bytes > LOOKED_AT {
            break;
        }
    }
    (texts, chats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use medley_tokenize::Tokenizer;

    #[test]
    fn a_vocabulary_spells_every_text_and_shortens_common_words() {
        let folder = tempfile::tempdir().unwrap();
        let text = "the quick brown fox jumps over the lazy dog\n".repeat(50);
        std::fs::write(folder.path().join("a.txt"), &text).unwrap();
        let mut source = TextSource::open(folder.path()).unwrap();
        let out = tempfile::tempdir().unwrap();
        make(&mut source, &[0], 300, out.path()).unwrap();
        let tokenizer = Tokenizer::from_file(out.path()).unwrap();
        assert!(tokenizer.vocab_size() <= 300);
        assert_eq!(tokenizer.eos(), tokenizer.token_id(END_OF_TEXT));
        for text in ["the quick fox", "größe 漢字 \u{1f34e}\n\ttabs", ""] {
            let ids = tokenizer.encode(text, false, false).unwrap();
            assert_eq!(tokenizer.decode(&ids), text);
        }
        let ids = tokenizer.encode(" lazy the", false, false).unwrap();
        assert!(ids.len() < 5, "{ids:?}");
        assert!(make(&mut source, &[0], 10, out.path()).is_err());
    }
}
