//! `medley music`

use std::path::Path;

use medley_engine::image::recipe_name;
use medley_engine::music::{self, Music, MusicGenerator, MusicInputs, MusicModel, Target};
use medley_engine::train::music::{Card, Likeness, measure};
use medley_engine::{EngineError, Resolved, Run, speech};
use medley_types::{MusicRequest, Request};
use serde_json::{Value, json};

use crate::app::{self, DEFAULT_MUSIC, cancel_token, device, fresh_seed, prompt_text, with_bar};
use crate::args::Global;
use crate::bench_args::BenchMusicArgs;
use crate::output::{Failure, Outcome, note, peak_rss, print_json, print_now};
use crate::sound_args::MusicArgs;

/// `medley music`
pub fn run(args: &MusicArgs, global: &Global) -> Outcome {
    let mut request = MusicRequest {
        model: args.model.clone().unwrap_or_else(|| DEFAULT_MUSIC.into()),
        prompt: match &args.prompt {
            Some(prompt) => prompt_text(prompt)?.trim().to_owned(),
            None => String::new(),
        },
        seconds: args.seconds,
        seed: args.seed.unwrap_or_else(fresh_seed),
        temperature: args.temperature,
        ..MusicRequest::default()
    };
    let output = args.output.clone();
    let output = output.unwrap_or_else(|| music::default_output(&request));
    music::check_output(&output)?;
    let mut inputs = MusicInputs::default();
    if let Some(path) = &args.init {
        let (tune, file) = music::read_tune(path)?;
        (inputs.init, request.init) = (Some(tune), Some(file));
    }
    if let Some(path) = &args.soundfont {
        let (font, file) = music::read_soundfont(path)?;
        (inputs.soundfont, request.soundfont) = (Some(font), Some(file));
    }
    let completed = music::complete(&request, inputs.init.as_ref());
    let request = completed.map_err(|e| Failure::Usage(e.report()))?;
    let name = args.model.as_deref().unwrap_or(DEFAULT_MUSIC);
    if let Some(rate) = args.sample_rate {
        speech::check_rate(rate)?;
    }
    let model = find(name, global)?;
    let file = (output.as_path(), args.sample_rate);
    finish(&model, request, inputs, file, global)
}

/// A model of music.
pub fn find(name: &str, global: &Global) -> Outcome<Resolved> {
    app::find(name, music::check_medium, global)
}

/// Runs a completed request with this model and writes its file, with samples at this rate where one is given.
pub fn finish(
    model: &Resolved,
    request: MusicRequest,
    inputs: MusicInputs,
    (output, rate): (&Path, Option<u32>),
    global: &Global,
) -> Outcome {
    let request = MusicRequest {
        model: recipe_name(model),
        ..request
    };
    let inputs = MusicInputs {
        sound: matches!(music::check_output(output)?, Target::Sound(_)),
        ..inputs
    };
    let generator = MusicModel::load(&model.path, &device(global)?)?;
    let mut music = with_bar(global, |run| generator.generate(&request, &inputs, run))?;
    if let (Some(rate), Some(sound)) = (rate, &mut music.sound) {
        *sound = sound.resampled(rate).map_err(EngineError::from)?;
    }
    let file = music::write(output, &request, &music, !global.no_recipe)?;
    if global.json {
        let mut value = json!({
            "files": [file],
            "seed": request.seed,
            "model": request.model,
            "work": music.work,
            "timings": music.work.timings,
            "peak_rss_bytes": peak_rss(),
        });
        if !global.no_recipe {
            value["recipe"] = json!(Request::Music(request));
        }
        return print_json(&value);
    }
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    note(
        global,
        &format!(
            "{} ({}, {}, {}, {:.1} s, seed {}, made in {:.1} s)",
            output.display(),
            said(&request.style),
            said(&request.key),
            said(&request.metre),
            music.work.seconds,
            request.seed,
            music.work.timings.total_s
        ),
    );
    Ok(())
}

/// Prompts that a model is looked at by.
const PROMPTS: [&str; 8] = [
    "a reel in D",
    "a jig in G",
    "a hornpipe in A",
    "a slow waltz in D minor",
    "a march in G",
    "a calm air in E dorian",
    "a slip jig in A minor",
    "a happy tune",
];

/// Tokens of a held-out tune that are looked at.
const LOOKED_AT: usize = 512;

/// `medley bench music`
pub fn bench(args: &BenchMusicArgs, global: &Global) -> Outcome {
    let model = find(args.model.as_deref().unwrap_or(DEFAULT_MUSIC), global)?;
    let generator = MusicModel::load(&model.path, &device(global)?)?;
    let ask = |seed: u64, seconds: Option<f64>, sound: bool| -> Outcome<Music> {
        let request = MusicRequest {
            model: recipe_name(&model),
            prompt: PROMPTS[(seed % PROMPTS.len() as u64) as usize].into(),
            seconds,
            seed,
            ..MusicRequest::default()
        };
        let inputs = MusicInputs {
            sound,
            ..MusicInputs::default()
        };
        let request = music::complete(&request, None)?;
        Ok(generator.generate(&request, &inputs, &mut Run::new(cancel_token(), |_| {}))?)
    };
    let mut timings = Vec::new();
    for round in 0..u64::from(args.rounds) {
        timings.push(ask(round, Some(60.0), true)?.work.timings);
    }
    timings.sort_by(|a, b| a.total_s.total_cmp(&b.total_s));
    let median = timings[timings.len() / 2];
    let mut value = json!({
        "model": recipe_name(&model),
        "seconds": 60,
        "rounds": args.rounds,
        "timings": median,
        "threads": medley_engine::threads(),
    });
    let mut lines = format!(
        "a minute of music: {:.2} s ({:.2} s to write, {:.2} s to render; median of {})\n",
        median.total_s, median.write_s, median.render_s, args.rounds
    );
    if let Some(data) = &args.data {
        let mut tunes = Vec::new();
        for seed in 0..u64::from(args.count) {
            tunes.push(ask(1000 + seed, None, false)?.tune);
        }
        let card = measure(&model.path, data, args.hold_out, LOOKED_AT, &tunes);
        let card = card.map_err(|e| Failure::Failed(e.report()))?;
        value["card"] = card_value(&card);
        lines.push_str(&card_lines(&card));
    }
    value["peak_rss_bytes"] = json!(peak_rss());
    if global.json {
        return print_json(&value);
    }
    Ok(print_now(&lines)?)
}

fn card_value(card: &Card) -> Value {
    let side = |l: &Likeness| {
        json!({
            "tunes": l.tunes,
            "in_key": l.in_key,
            "valid_bars": l.valid_bars,
            "repetition": l.repetition,
            "mean_copied_notes": l.mean_copied,
            "longest_copied_notes": l.longest_copied,
        })
    };
    json!({
        "held_out": card.held_out,
        "notes": card.notes,
        "bits_per_note": card.model,
        "trigram_bits_per_note": card.trigram,
        "held_out_tunes": side(&card.data),
        "written": side(&card.written),
    })
}

fn card_lines(card: &Card) -> String {
    let mut lines = format!(
        "{} held-out tunes of {} notes: {:.3} bits a note, trigrams {:.3}\n",
        card.held_out, card.notes, card.model, card.trigram
    );
    for (name, l) in [("held out", &card.data), ("written", &card.written)] {
        lines.push_str(&format!(
            "{name}: {} tunes, in key {:.1} %, valid bars {:.1} %, repeated bars {:.1} %, copied runs {:.1} notes on average, {} at most\n",
            l.tunes,
            100.0 * l.in_key,
            100.0 * l.valid_bars,
            100.0 * l.repetition,
            l.mean_copied,
            l.longest_copied
        ));
    }
    lines
}
