//! Pictures: the bundled models where their weights are there, and a tiny one everywhere.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use medley_formats::DType;
use medley_formats::safetensors::{TensorData, write};
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
    Ok(())
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
