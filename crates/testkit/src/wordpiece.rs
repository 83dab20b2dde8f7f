//! A little tokenizer for sentence encoders.

use serde_json::{Map, Value, json};

/// A `tokenizer.json` of WordPiece over the 96 ids of the golden encoders: marks, words, and pieces that go on within a
/// word.
pub fn wordpiece() -> Value {
    let marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let mut texts: Vec<String> = marks.map(str::to_owned).into();
    texts.extend(
        [
            "a",
            "red",
            "apple",
            "flat",
            "icon",
            "##s",
            "##le",
            "3",
            "##d",
            ",",
            "[unused1]",
        ]
        .map(str::to_owned),
    );
    texts.extend(('b'..='z').map(String::from));
    texts.extend(
        ('a'..='z')
            .filter(|c| !"sd".contains(*c))
            .map(|c| format!("##{c}")),
    );
    texts.extend((0..96 - texts.len()).map(|i| format!("[unused{}]", i + 2)));
    let vocab: Map<String, Value> = texts
        .iter()
        .enumerate()
        .map(|(i, t)| (t.clone(), json!(i)))
        .collect();
    let added: Vec<Value> = marks
        .iter()
        .map(|text| {
            json!({ "id": vocab[*text], "content": text, "special": true, "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": false })
        })
        .collect();
    let special = |text: &str| json!({ "id": text, "ids": [vocab[text]], "tokens": [text] });
    let piece = |text: &str| json!({ "SpecialToken": { "id": text, "type_id": 0 } });
    let sequence = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    json!({
        "version": "1.0", "added_tokens": added,
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                        "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "TemplateProcessing",
            "single": [piece("[CLS]"), sequence, piece("[SEP]")],
            "pair": [piece("[CLS]"), sequence, piece("[SEP]")],
            "special_tokens": { "[CLS]": special("[CLS]"), "[SEP]": special("[SEP]") } },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": vocab },
    })
}
