//! `medley train gan` and `medley train upscaler` as a user calls them, with tiny models.

use crate::desk::{Desk, sides};
use medley_media::Picture;
use serde_json::{Value, json};

fn pictures(desk: &Desk) {
    std::fs::create_dir(desk.path("data")).unwrap();
    for n in 0..16u8 {
        let picture = Picture::filled(16, 16, [15 * n, 90, 255 - 15 * n]).unwrap();
        desk.save(&format!("data/colour {n}.png"), &picture);
    }
}

/// The words, and more.
fn with<'a>(words: &str, more: &[&'a str]) -> Vec<&'a str> {
    let words: Vec<&'static str> = words
        .split(' ')
        .map(|word| &*Box::leak(word.to_owned().into_boxed_str()))
        .collect();
    [words, more.to_vec()].concat()
}

const GAN: &str = "train gan --data data --out gan --encoder none --size 8x8 --width 8 --latent 8 --batch 4 --hold-out 0.2 --seed 3";
const UPSCALER: &str = "train upscaler --data data --out up --size 16x16 --patch 8 --features 4 --blocks 1 --growth 4 --batch 4 --seed 3";

#[test]
fn what_is_trained_draws_walks_and_enlarges() {
    let desk = Desk::new();
    pictures(&desk);
    let made = desk.json(&with(GAN, &["--steps", "3"]));
    assert_eq!(made["steps"], 3);
    assert!(made["evaluation"]["held_out_sign"].is_f64(), "{made}");
    desk.json(&with(UPSCALER, &["--steps", "2", "--adversarial", "0.1"]));
    std::fs::rename(desk.path("up"), desk.path("gan/up")).unwrap();
    let config = desk.path("gan/config.json");
    let mut value: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    value["upscaler"] = json!("up");
    std::fs::write(&config, value.to_string()).unwrap();
    let draw = |more: &[&str]| desk.json(&with("image --model gan --seed 4", more));
    draw(&["--upscale", "4", "-o", "large.png"]);
    assert_eq!(sides(&desk.picture("large.png")), (32, 32));
    let walk = draw(&["--walk", "5", "--truncation", "0.5", "-o", "walk.gif"]);
    assert_eq!(walk["files"][0]["frames"], 5);
    // Without any truncation left, all pictures are the mean one.
    draw(&["--truncation", "0", "-o", "mean.png"]);
    desk.json(&with(
        "image --model gan --seed 5 --truncation 0 -o other.png",
        &[],
    ));
    assert_eq!(
        desk.picture("mean.png").pixels(),
        desk.picture("other.png").pixels()
    );
}

#[test]
fn what_cannot_be_trained_is_refused_in_one_line() {
    let desk = Desk::new();
    pictures(&desk);
    std::fs::create_dir(desk.path("empty")).unwrap();
    let gan = |more: &[&'static str]| with(GAN, more);
    desk.refuses(
        &with("train gan --data empty --out gan --encoder none", &[]),
        1,
        &["empty", "no pictures"],
    );
    desk.refuses(
        &with(
            "train gan --data data --out gan --encoder none --size 48x48",
            &[],
        ),
        2,
        &["48x48", "32x32", "64x64"],
    );
    let with_batch = GAN.replace("--batch 4", "--batch 0");
    desk.refuses(&with(&with_batch, &[]), 2, &["batch"]);
    desk.refuses(&gan(&["--resume"]), 2, &["--resume", "no checkpoint"]);
    desk.refuses(&gan(&["--base", "nothing"]), 1, &["nothing"]);
    desk.refuses(
        &with(&UPSCALER.replace("--patch 8", "--patch 10"), &[]),
        2,
        &["near it is 8"],
    );
    desk.refuses(&with(UPSCALER, &["--scale", "3"]), 2, &["2 and 4"]);
}

/// A disk that is full while a checkpoint is written, as a limit on the size of files brings it about.
#[cfg(unix)]
#[test]
fn a_checkpoint_that_finds_no_room_leaves_the_one_before() {
    let desk = Desk::new();
    pictures(&desk);
    desk.json(&with(GAN, &["--steps", "2"]));
    let before = desk.bytes("gan/checkpoint.safetensors");
    let inside = |desk: &Desk| std::fs::read_dir(desk.path("gan")).unwrap().count();
    let files = inside(&desk);
    // 8 blocks of at most 1024 bytes hold the measurements, not the weights.
    assert!(before.len() > 3 * 8 * 1024, "{}", before.len());
    let resume = with(GAN, &["--steps", "4", "--resume"]);
    let own = desk.command(&resume);
    let output = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
        .arg(own.get_program())
        .args(own.get_args())
        .current_dir(desk.path(""))
        .env("MEDLEY_HOME", desk.path("home"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.contains("checkpoint.safetensors"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    assert!(desk.bytes("gan/checkpoint.safetensors") == before);
    // A new file of events, and no half-written one.
    assert_eq!(inside(&desk), files + 1, "{text}");
    let rest = desk.json(&resume);
    assert_eq!(rest["steps"], 4);
}
