//! A tiny model that listens: the golden one with forty words, two languages and 46 times. It hears half a second at a
//! time, and what it writes means nothing.

use std::path::Path;

use medley_testkit::Case;
use serde_json::json;

/// The folder of the model, as Hugging Face has it but for the list of words.
pub fn write(folder: &Path) {
    let case = Case::open("whisper/tiny").unwrap();
    case.write_checkpoint(folder).unwrap();
    let letters = ('a'..='z').map(String::from);
    let begun = ('a'..='n').map(|letter| format!("Ġ{letter}"));
    let roles = [
        "endoftext",
        "startoftranscript",
        "en",
        "de",
        "translate",
        "transcribe",
        "startoflm",
        "startofprev",
        "nospeech",
        "notimestamps",
    ];
    let roles = roles.iter().map(|role| format!("<|{role}|>"));
    let words: Vec<String> = letters.chain(begun).chain(roles).collect();
    std::fs::write(folder.join("vocabulary.json"), json!(words).to_string()).unwrap();
}

/// Two seconds of a tone that comes and goes, at 16000 samples a second.
pub fn sound() -> Vec<f32> {
    let tone = |i: usize| (i as f32 * 0.13).sin() * ((i / 4000) % 2) as f32 * 0.4;
    (0..32_000).map(tone).collect()
}

/// The same as a WAV file.
pub fn wav(samples: &[f32]) -> Vec<u8> {
    let data = 2 * samples.len() as u32;
    let mut out = b"RIFF".to_vec();
    out.extend((36 + data).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend(16_000u32.to_le_bytes());
    out.extend(32_000u32.to_le_bytes());
    out.extend_from_slice(b"\x02\0\x10\0data");
    out.extend(data.to_le_bytes());
    out.extend(
        samples
            .iter()
            .flat_map(|x| ((x * 32767.0) as i16).to_le_bytes()),
    );
    out
}
