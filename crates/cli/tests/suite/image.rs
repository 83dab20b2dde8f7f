//! `medley image` as a user calls it, with tiny models.

use std::path::Path;

use crate::desk::{Desk, sides};
use medley_media::{Label, Limits};
use serde_json::{Value, json};

#[test]
fn a_picture_carries_its_recipe_and_is_remade_from_it() {
    let desk = Desk::new();
    crate::models::icons(&desk.path("icons-of-mine"));
    let drawn = desk.json(&[
        "image",
        "a red apple",
        "--model",
        "icons-of-mine",
        "--seed",
        "5",
        "-o",
        "apple.png",
    ]);
    assert_eq!(sides(&desk.picture("apple.png")), (32, 32));
    let file = &drawn["files"][0];
    assert_eq!(
        (
            &file["path"],
            &file["mime"],
            &file["width"],
            &file["height"]
        ),
        (
            &json!("apple.png"),
            &json!("image/png"),
            &json!(32),
            &json!(32)
        )
    );
    assert_eq!(drawn["seed"], 5);
    assert!(drawn["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(drawn["timings"]["total_s"].as_f64().unwrap() > 0.0);
    let recipe = json!({
        "medium": "image", "model": "./icons-of-mine", "prompt": "a red apple", "size": [8, 8], "steps": 4,
        "guidance": 2.0, "sampler": "flow_euler", "seed": 5, "upscale": 4,
    });
    assert_eq!(drawn["recipe"], recipe);
    let label = Label::of(&desk.bytes("apple.png"));
    assert!(label.synthetic);
    assert_eq!(
        serde_json::from_str::<Value>(&label.recipe.unwrap()).unwrap(),
        recipe
    );

    let again = desk.json(&["remake", "apple.png", "-o", "again.png"]);
    assert_eq!(again["recipe"], recipe);
    assert_eq!(desk.bytes("again.png"), desk.bytes("apple.png"));
    // Threads split outputs, never a sum.
    desk.json(&["remake", "apple.png", "--threads", "1"]);
    assert_eq!(desk.bytes("apple-remade.png"), desk.bytes("apple.png"));
    let shown = desk.json(&["inspect", "apple.png"]);
    assert_eq!(
        (&shown["kind"], &shown["width"]),
        (&json!("picture"), &json!(32))
    );
    assert_eq!(shown["recipe"], recipe);

    let shown = desk.json(&["inspect", "icons-of-mine"]);
    assert_eq!(
        (&shown["kind"], &shown["medium"]),
        (&json!("model"), &json!("image"))
    );
    assert_eq!(shown["config"]["sampler"]["upscale"], 4);

    // Other words, another picture; the same words, the same one.
    for (name, prompt, same) in [
        ("b.png", "a red apple", true),
        ("c.png", "a green pear", false),
    ] {
        let args = [
            "image",
            prompt,
            "--model",
            "icons-of-mine",
            "--seed",
            "5",
            "-o",
            name,
        ];
        desk.json(&args);
        assert_eq!(
            desk.bytes(name) == desk.bytes("apple.png"),
            same,
            "{prompt}"
        );
    }
    // Elsewhere the model is needed.
    std::fs::rename(desk.path("icons-of-mine"), desk.path("moved")).unwrap();
    desk.refuses(
        &["remake", "apple.png", "-o", "x.png"],
        1,
        &["--model", "icons-of-mine"],
    );
    desk.json(&["remake", "apple.png", "-o", "x.png", "--model", "moved"]);
    assert_eq!(desk.picture("x.png"), desk.picture("apple.png"));
}

#[test]
fn counts_grids_and_formats() {
    let desk = Desk::new();
    crate::models::icons(&desk.path("m"));
    let base = ["image", "a tree", "--model", "m", "--seed", "7"];
    let three = desk.json(&[&base[..], &["--count", "3", "-o", "t.png"]].concat());
    let paths: Vec<&str> = three["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["t-1.png", "t-2.png", "t-3.png"]);
    assert_eq!(three["files"][2]["seed"], 9);
    // Each carries the recipe that makes it alone.
    desk.json(&["remake", "t-3.png", "-o", "third.png"]);
    assert_eq!(desk.bytes("third.png"), desk.bytes("t-3.png"));
    desk.json(&[&base[..], &["--count", "3", "--grid", "-o", "grid.webp"]].concat());
    assert_eq!(sides(&desk.picture("grid.webp")), (68, 68));
    desk.json(&["remake", "grid.webp", "-o", "grid2.webp"]);
    assert_eq!(desk.bytes("grid2.webp"), desk.bytes("grid.webp"));
    for name in ["t.jpg", "t.webp", "t.gif"] {
        desk.json(&[&base[..], &["-o", name]].concat());
        let label = Label::of(&desk.bytes(name));
        assert!(label.synthetic && label.recipe.is_some(), "{name}");
        desk.json(&["remake", name]);
        let remade = name.replace("t.", "t-remade.");
        assert_eq!(desk.bytes(&remade), desk.bytes(name));
    }
    let quiet = desk.json(&[&base[..], &["--no-recipe", "-o", "plain.png"]].concat());
    assert!(quiet.get("recipe").is_none());
    let label = Label::of(&desk.bytes("plain.png"));
    assert!(label.synthetic && label.recipe.is_none());
    desk.refuses(&["remake", "plain.png"], 1, &["left out"]);
    // Without -o the name is made of the prompt.
    let named = desk.json(&[&base[..], &["--upscale", "1"]].concat());
    assert_eq!(named["files"][0]["path"], "a-tree-7.png");
    assert_eq!(sides(&desk.picture("a-tree-7.png")), (8, 8));
    let previews = desk.json(&[&base[..], &["--previews", "2", "-o", "p.png"]].concat());
    assert_eq!(
        previews["previews"],
        json!(["p-step-2.png", "p-step-4.png"])
    );
    assert_eq!(sides(&desk.picture("p-step-2.png")), (8, 8));
    assert!(Label::of(&desk.bytes("p-step-2.png")).synthetic);
}

#[test]
fn sizes_and_upscaling() {
    let desk = Desk::new();
    crate::models::icons(&desk.path("m"));
    for (flags, size) in [
        (&["--size", "16x8"][..], (16, 8)),
        (&["--size", "128x64"], (128, 64)),
        (&["--size", "16x8", "--upscale", "2"], (32, 16)),
        (&["--size", "16x8", "--upscale", "4"], (64, 32)),
    ] {
        let base = [
            "image", "a tree", "--model", "m", "-o", "s.png", "--steps", "2",
        ];
        desk.json(&[&base[..], flags].concat());
        assert_eq!(sides(&desk.picture("s.png")), size, "{flags:?}");
    }
    let base = ["image", "a tree", "--model", "m", "-o", "x.png"];
    for (flags, code, words) in [
        (&["--size", "33x33"][..], 1, &["33x33", "32x32"][..]),
        (&["--size", "999999x4"], 2, &["999999x4", "8192"]),
        (&["--size", "0x8"], 2, &["0x8"]),
        (&["--size", "big"], 2, &["WxH"]),
        (&["--upscale", "3"], 2, &["2, 4, 8 or 16"]),
    ] {
        desk.refuses(&[&base[..], flags].concat(), code, words);
    }
}

#[test]
fn a_gan_walks() {
    let desk = Desk::new();
    crate::models::gan(&desk.path("gan"));
    let walk = desk.json(&[
        "image", "--model", "gan", "--walk", "6", "--seed", "2", "-o", "walk.gif",
    ]);
    assert_eq!(
        (&walk["files"][0]["frames"], &walk["files"][0]["mime"]),
        (&json!(6), &json!("image/gif"))
    );
    let frames = medley_media::decode_frames(&desk.bytes("walk.gif"), &Limits::default()).unwrap();
    assert_eq!(frames.len(), 6);
    assert!(
        frames
            .iter()
            .all(|frame| frame.picture != frames[0].picture || frame == &frames[0])
    );
    desk.json(&["remake", "walk.gif"]);
    assert_eq!(desk.bytes("walk-remade.gif"), desk.bytes("walk.gif"));
    desk.json(&[
        "image", "--model", "gan", "--walk", "6", "--seed", "2", "-o", "walk.png",
    ]);
    let shown = desk.json(&["inspect", "walk.png"]);
    assert_eq!(
        (&shown["frames"], &shown["recipe"]["walk"]),
        (&json!(6), &json!(6))
    );
    desk.json(&[
        "image",
        "--model",
        "gan",
        "--truncation",
        "0",
        "--count",
        "2",
        "-o",
        "mean.png",
    ]);
    assert_eq!(desk.picture("mean-1.png"), desk.picture("mean-2.png"));
    let args = |flags: &[&'static str]| [&["image", "--model", "gan"][..], flags].concat();
    desk.refuses(
        &args(&["--walk", "6", "-o", "walk.jpg"]),
        1,
        &["walk.jpg", ".gif"],
    );
    desk.refuses(&args(&["--walk", "1"]), 2, &["2 to 1000"]);
    desk.refuses(&args(&["--walk", "4000000"]), 2, &["2 to 1000"]);
    desk.refuses(&args(&["--steps", "4"]), 1, &["no steps"]);
    desk.refuses(&args(&["--sampler", "ddim"]), 1, &["no sampler"]);
    desk.refuses(&["image", "a pear", "--model", "gan"], 1, &["no prompt"]);
}

#[test]
fn latents_and_published_weights() {
    let desk = Desk::new();
    crate::models::latent(&desk.path("latent"));
    let args = ["image", "a red tree", "--model", "latent", "--seed", "1"];
    for sampler in ["ddim", "euler_a", "dpmpp_2m", "unipc", "heun"] {
        desk.json(&[&args[..], &["--sampler", sampler, "-o", "l.png"]].concat());
        assert_eq!(sides(&desk.picture("l.png")), (8, 8));
    }
    desk.refuses(
        &[&args[..], &["--sampler", "flow_euler", "-o", "x.png"]].concat(),
        1,
        &["flow_euler", "ddim"],
    );
    let file = crate::models::dcgan(&desk.path("netG"));
    let file = file.to_str().unwrap();
    desk.json(&["image", "--model", file, "-o", "d.png"]);
    assert_eq!(sides(&desk.picture("d.png")), (16, 16));
    desk.refuses(
        &[
            "image",
            "--model",
            file,
            "--truncation",
            "0.5",
            "-o",
            "x.png",
        ],
        1,
        &["truncation"],
    );
}

/// The models that come with the program: found in the home, told in one line where they are not there.
#[test]
fn bundled_models_are_found_by_name() {
    let desk = Desk::new();
    crate::models::icons(&desk.path("home/models/icons"));
    let drawn = desk.json(&["image", "a red apple", "--seed", "1", "-o", "a.png"]);
    assert_eq!(drawn["model"], "icons");
    assert_eq!(drawn["recipe"]["model"], "icons");
    desk.json(&["remake", "a.png", "-o", "b.png"]);
    assert_eq!(desk.bytes("b.png"), desk.bytes("a.png"));
    // A prompt alone asks for a picture by its words.
    let output = desk.run(&["draw a red apple", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["recipe"]["prompt"], "a red apple");
    assert!(Path::new(&desk.path(value["files"][0]["path"].as_str().unwrap())).exists());
}
