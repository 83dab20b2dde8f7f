//! Pictures: the bundled models where their weights are there, and a tiny one everywhere.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use medley_formats::DType;
use medley_formats::safetensors::{TensorData, write};
use medley_media::{Format, Origin, Picture, encode};
use serde_json::{Value, json};

use super::Program;
use crate::process;

/// Draw, look into the file, and make it again from its recipe: the same bytes. With `icons` where it is there, else with
/// a model of a few thousand numbers that reads no prompt.
pub fn draws(program: &Program) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (first, second) = (at("first.png"), at("second.png"));
    let tiny = at("tiny");
    let mut args = vec!["image", "--seed", "3", "-o", &first];
    if process::root().join("starter/icons").is_dir() {
        args.push("a red apple");
    } else {
        model(Path::new(&tiny))?;
        args.extend(["--model", &tiny, "--steps", "4"]);
    }
    let drawn = program.json(&args)?;
    let recipe = &drawn["recipe"];
    ensure!(recipe["seed"] == 3, "the seed of {recipe}");
    ensure!(
        !recipe.to_string().contains(&at("")),
        "a path stands in {recipe}"
    );
    let shown = program.json(&["inspect", &first])?;
    ensure!(
        shown["recipe"] == *recipe && shown["digitalSourceType"].is_string(),
        "the file says {shown}, not {recipe}"
    );
    let mut again = vec!["remake", &first, "-o", &second, "--threads", "1"];
    if !args.contains(&"a red apple") {
        again.extend(["--model", &tiny]);
    }
    program.json(&again)?;
    ensure!(
        std::fs::read(&first)? == std::fs::read(&second)?,
        "the picture that was made again has other bytes"
    );
    Ok(())
}

/// A walk of the bundled GAN, where it is there.
pub fn walks(program: &Program) -> Result<()> {
    if !process::root().join("starter/icon-gan").is_dir() {
        return program.refuses(
            &[
                "image", "--model", "icon-gan", "--walk", "4", "-o", "walk.gif",
            ],
            1,
            &["icon-gan", "comes with the program"],
        );
    }
    let folder = tempfile::tempdir()?;
    let file = folder
        .path()
        .join("walk.gif")
        .to_string_lossy()
        .into_owned();
    let walk = program.json(&["image", "--model", "icon-gan", "--walk", "8", "-o", &file])?;
    ensure!(
        walk["files"][0]["frames"] == 8,
        "no walk of 8 frames: {walk}"
    );
    // Between two seeds; the recipe in the file says where.
    let (mixed, again) = (file.replace(".gif", ".png"), file.replace(".gif", "-2.png"));
    let mix = ["image", "--model", "icon-gan", "--mix", "1:0.7", "2:0.3"];
    program.json(&[&mix[..], &["--seed", "9", "-o", &mixed]].concat())?;
    program.json(&["remake", &mixed, "-o", &again])?;
    ensure!(
        std::fs::read(&mixed)? == std::fs::read(&again)?,
        "the mixture that was made again has other bytes"
    );
    Ok(())
}

/// From a folder of captioned pictures to a model that draws: a stop in the middle, the rest, a picture, and what cannot be
/// trained on. Prompts are read where the bundled icons lend their encoder.
pub fn learns(program: &Program) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::create_dir(at("data"))?;
    for n in 0..12u8 {
        let picture = Picture::filled(9, 8, [20 * n, 255 - 20 * n, 90])?;
        let bytes = encode(&picture, Format::Png, Origin::Collected)?;
        std::fs::write(at(&format!("data/{n}.png")), bytes)?;
        std::fs::write(at(&format!("data/{n}.txt")), format!("colour number {n}"))?;
    }
    std::fs::write(at("data/broken.png"), b"\x89PNG but no more")?;
    std::fs::write(at("data/broken.txt"), "nothing")?;
    let (data, out) = (at("data"), at("run"));
    let text = process::root()
        .join("starter/icon-encoder/encoder.gguf")
        .is_file();
    let mut train = vec!["train", "image", "--data", &data, "--out", &out];
    let dry = program.json(&[&train[..], &["--encoder", "none", "--dry-run"]].concat())?;
    ensure!(
        dry["found"]["pictures"] == 13 && Path::new(&at("run/contact-sheet.png")).is_file(),
        "the dry run found {dry}"
    );
    if !text {
        train.extend(["--encoder", "none"]);
    }
    train.extend([
        "--size", "8x8", "--width", "32", "--layers", "1", "--heads", "2",
    ]);
    train.extend(["--batch", "4", "--seed", "5", "--hold-out", "0"]);
    let first = program.json(&[&train[..], &["--steps", "3", "--stem", "8,12"]].concat())?;
    ensure!(first["steps"] == 3, "three steps: {first}");
    program.refuses(&train, 2, &["--resume", "another folder"])?;
    let more = [
        "train", "image", "--data", &data, "--out", &out, "--resume", "--steps", "5",
    ];
    let last = program.json(&more)?;
    ensure!(
        last["steps"] == 5 && last["loss"].as_f64().is_some_and(f64::is_finite),
        "five steps: {last}"
    );
    let file = at("drawn.png");
    let mut draw = vec!["image", "--model", &out, "--seed", "1", "-o", &file];
    if text {
        draw.push("colour number 3");
    }
    let drawn = program.json(&draw)?;
    ensure!(drawn["files"][0]["width"] == 8, "a picture: {drawn}");
    std::fs::create_dir(at("empty"))?;
    let (empty, new) = (at("empty"), at("new"));
    let nothing = [
        "train",
        "image",
        "--encoder",
        "none",
        "--data",
        &empty,
        "--out",
        &new,
    ];
    program.refuses(&nothing, 1, &[&empty])?;
    let size = [
        "train",
        "image",
        "--encoder",
        "none",
        "--data",
        &data,
        "--out",
        &new,
    ];
    let size = [&size[..], &["--size", "30x33"]].concat();
    program.refuses(&size, 2, &["28x32", "32x36"])
}

pub fn refusals(program: &Program) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tiny = folder.path().join("tiny");
    model(&tiny)?;
    let tiny = tiny.to_string_lossy().into_owned();
    let with = |flags: &[&'static str], code, words: &[&str]| {
        let base = ["image", "--model", &tiny, "-o", "nothing.png"];
        program.refuses(&[&base[..], flags].concat(), code, words)
    };
    with(&["a pear"], 1, &["prompt"])?;
    with(&["--size", "9x9"], 1, &["9x9", "8x8"])?;
    with(&["--steps", "0"], 2, &["steps"])?;
    with(&["--sampler", "ddim"], 1, &["ddim", "flow_euler"])?;
    with(&["--truncation", "0.5"], 1, &["truncation"])?;
    with(&["--init", "nowhere.png"], 1, &["nowhere.png"])?;
    ensure!(
        !Path::new("nothing.png").exists(),
        "a refused run left a file"
    );
    Ok(())
}

/// The folder of a diffusion transformer of 8 × 8 pixels, its weights small and different.
fn model(folder: &Path) -> Result<()> {
    const HIDDEN: usize = 16;
    const WIDE: usize = 32;
    const PATCH: usize = 12;
    let linear = |name: &str, out, inputs| {
        [
            (format!("{name}.weight"), vec![out, inputs]),
            (format!("{name}.bias"), vec![out]),
        ]
    };
    let block = "blocks.0";
    let mut shapes: Vec<(String, Vec<usize>)> = [
        ("x_embedder".to_owned(), HIDDEN, PATCH),
        ("t_embedder.fc1".to_owned(), HIDDEN, 256),
        ("t_embedder.fc2".to_owned(), HIDDEN, HIDDEN),
        (format!("{block}.adaLN_modulation"), 6 * HIDDEN, HIDDEN),
        (format!("{block}.attn.qkv"), 3 * HIDDEN, HIDDEN),
        (format!("{block}.attn.proj"), HIDDEN, HIDDEN),
        (format!("{block}.mlp.fc1"), WIDE, HIDDEN),
        (format!("{block}.mlp.fc2"), HIDDEN, WIDE),
        ("final.adaLN_modulation".to_owned(), 2 * HIDDEN, HIDDEN),
        ("final.linear".to_owned(), PATCH, HIDDEN),
    ]
    .into_iter()
    .flat_map(|(name, out, inputs)| linear(&name, out, inputs))
    .collect();
    for norm in ["q_norm", "k_norm"] {
        shapes.push((format!("{block}.attn.{norm}.weight"), vec![HIDDEN / 2]));
    }
    let mut word = 1u32;
    let mut number = || {
        word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (word >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let stored: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, shape)| {
            let count: usize = shape.iter().product();
            (0..count).flat_map(|_| number().to_le_bytes()).collect()
        })
        .collect();
    let tensors: Vec<TensorData> = shapes
        .iter()
        .zip(&stored)
        .map(|((name, shape), bytes)| TensorData {
            name,
            dtype: DType::F32,
            shape,
            bytes,
        })
        .collect();
    let config: Value = json!({
        "medium": "image", "architecture": "dit", "size": [8, 8],
        "model": {
            "model_type": "dit", "channels": 3, "sample_size": 8, "patch_size": 2, "hidden_size": HIDDEN,
            "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": WIDE, "text": "none",
        },
    });
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("config.json"), config.to_string())?;
    write(&folder.join("model.safetensors"), &tensors, &[]).context("cannot write a tiny model")
}
