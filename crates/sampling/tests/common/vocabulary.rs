//! A small byte-level vocabulary: every byte, some longer tokens, and special ones.

use medley_sampling::{Constraint, Sampler, SamplerConfig, Vocabulary};

use super::Random;

/// Tokens longer than a byte: those that real vocabularies have, cut across the seams of JSON.
const LONGER: [&[u8]; 40] = [
    b"{\"",
    b"\":",
    b"\": ",
    b"\": \"",
    b"\",",
    b"\", \"",
    b"\"}",
    b"}}",
    b"]}",
    b"[]",
    b"{}",
    b"[\"",
    b", ",
    b",\n",
    b"\n  ",
    b"\n    ",
    b"    ",
    b"  ",
    b"\n\n",
    b"\t",
    b"true",
    b"false",
    b"null",
    b"name",
    b"the",
    b" the",
    b"ing",
    b"er",
    b"00",
    b"12",
    b"19",
    b"0.",
    b".5",
    b"e-",
    b"\\n",
    b"\\u",
    "é".as_bytes(),
    "日本".as_bytes(),
    b"\xF0\x9F",
    b"\x98\x80",
];

pub const END: u32 = 256 + LONGER.len() as u32;
pub const END_2: u32 = END + 1;
pub const TOOL: u32 = END + 2;

pub fn words() -> Vec<Vec<u8>> {
    let bytes = (0..=255).map(|byte| vec![byte]);
    let longer = LONGER.iter().map(|word| word.to_vec());
    let special: [&[u8]; 3] = [b"<|end|>", b"<|eot|>", b"<|tool|>"];
    let special = special.iter().map(|word| word.to_vec());
    bytes.chain(longer).chain(special).collect()
}

pub fn vocabulary() -> Vocabulary {
    let words = words();
    let special: Vec<bool> = (0..words.len()).map(|id| id >= END as usize).collect();
    Vocabulary::new(words, &special, &[END, END_2]).unwrap()
}

/// What a model without sense makes of a constraint: the bytes, and whether the text came to its
/// end within `most` tokens. `logits` says what the model wants at each step.
pub fn generate(
    mut constraint: Constraint,
    most: usize,
    seed: u64,
    mut logits: impl FnMut(&[u8]) -> Vec<f32>,
) -> (Vec<u8>, bool) {
    let words = words();
    let config = SamplerConfig::unfiltered(seed);
    let mut sampler = Sampler::new(&config, words.len()).unwrap();
    let mut text = Vec::new();
    for _ in 0..most {
        if constraint.is_done() {
            return (text, true);
        }
        let mask = constraint.mask().unwrap();
        let id = sampler.sample(&logits(&text), Some(&mask)).unwrap().id;
        constraint.accept(id).unwrap();
        if id < END {
            text.extend_from_slice(&words[id as usize]);
        } else if id != TOOL {
            assert!(constraint.is_done());
        }
    }
    (text, constraint.is_done())
}

/// Random wishes in which some tokens are dearer than others, so that texts come to an end.
pub fn wild(random: &mut Random, spread: f32, dear: &str, bonus: f32) -> Vec<f32> {
    let mut logits = random.logits(words().len(), spread);
    for (logit, word) in logits.iter_mut().zip(words()) {
        if word.iter().any(|&byte| dear.as_bytes().contains(&byte)) {
            *logit += bonus;
        }
    }
    logits
}
