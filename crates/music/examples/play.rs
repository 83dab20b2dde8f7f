//! Plays the first tune of an ABC file with an accompaniment: `play TUNE.abc OUT.wav [STYLE AND MOOD …]`.
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use medley_media::audio::{Audio, Depth, encode_wav};
use medley_media::{Origin, abc};
use medley_music::{Band, Mood, Style, TempoClass, Traits, Wish, arrange, harmonise, synth};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, words @ ..] = &args[..] else {
        return Err("play TUNE.abc OUT.wav [STYLE AND MOOD]".into());
    };
    let words = words.join(" ");
    let mut tune = abc::read(&std::fs::read(from)?)?;
    harmonise(&mut tune);
    let traits = Traits::of(&tune);
    let style = Style::of_words(&words).unwrap_or(traits.style);
    let class = TempoClass::of_words(&words).unwrap_or(traits.tempo);
    let band = Band {
        style,
        mood: Mood::of_words(&words),
        tempo: Wish::default().quarters(style, tune.metre, class),
        bars: tune.order().len(),
        seed: 1,
    };
    let score = arrange(&tune, &band);
    let start = std::time::Instant::now();
    let samples = synth::render(&score, 44_100, 1.8, &|| false)?.unwrap_or_default();
    println!(
        "{:.1} s of {} tracks in {:.2} s",
        score.seconds(),
        score.tracks.len(),
        start.elapsed().as_secs_f64()
    );
    let sound = Audio::new(44_100, 2, samples)?;
    std::fs::write(to, encode_wav(&sound, Depth::Int16, Origin::Collected)?)?;
    Ok(())
}
