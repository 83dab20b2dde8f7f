//! `cargo xtask starter`: a trained model's folder as it is shipped in `starter/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use medley_formats::safetensors::{TensorData, write};
use medley_formats::{BlockType, DType, WeightFile};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::process;

/// Bytes that all starters together may have.
const MOST: u64 = 90_000_000;

#[derive(Args)]
pub struct StarterArgs {
    /// Folder that `medley train` made
    run: PathBuf,
    /// Name in the catalog, and of the folder in starter/
    name: String,
    /// Keys of config.json that are set otherwise, as JSON, such as sampler.guidance=4
    #[arg(long = "set", value_name = "KEY=JSON")]
    set: Vec<String>,
    /// Matrices that are kept in 8 bits (E4M3), so that the file stays below its size
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    eight: Vec<String>,
}

/// What a run calls its copy of the encoder of captions, which the starters have once, as a model of the catalog.
const ENCODER: [&str; 2] = ["encoder.gguf", "icon-encoder"];

/// Files that are copied as they are, where they exist.
const COPIED: [&str; 3] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
];

pub fn run(args: &StarterArgs) -> Result<()> {
    let out = process::root().join("starter").join(&args.name);
    std::fs::create_dir_all(&out)?;
    shrink(
        &args.run.join("model.safetensors"),
        &out.join("model.safetensors"),
        &args.eight,
    )?;
    for name in COPIED {
        let from = args.run.join(name);
        if from.exists() {
            std::fs::copy(&from, out.join(name)).with_context(|| format!("cannot copy {name}"))?;
        }
    }
    let mut config = json(&args.run.join("config.json"))?;
    if config["text_encoder"] == ENCODER[0] {
        ensure!(
            std::fs::read(args.run.join(ENCODER[0]))? == std::fs::read(encoder())?,
            "the run read captions with another encoder than starter/{}",
            ENCODER[1]
        );
        config["text_encoder"] = ENCODER[1].into();
    }
    for pair in &args.set {
        set(&mut config, pair)?;
    }
    put(&out.join("config.json"), &config)?;
    put(
        &out.join("training.json"),
        &json(&args.run.join("training.json"))?,
    )?;
    describe(&out)?;
    let all = size(&process::root().join("starter"))?;
    ensure!(
        all <= MOST,
        "all starters together have {all} bytes, more than {MOST}"
    );
    println!("{all} bytes in all starters");
    Ok(())
}

/// The encoder that all starters share.
fn encoder() -> PathBuf {
    let [file, name] = ENCODER;
    process::root().join("starter").join(name).join(file)
}

fn json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
}

fn put(path: &Path, value: &Value) -> Result<()> {
    std::fs::write(path, format!("{value:#}\n")).with_context(|| path.display().to_string())
}

/// Sets `a.b=JSON` in an object.
fn set(config: &mut Value, pair: &str) -> Result<()> {
    let (key, value) = pair.split_once('=').context("--set takes KEY=JSON")?;
    let mut place = config;
    for part in key.split('.') {
        place = &mut place[part];
    }
    *place = serde_json::from_str(value).with_context(|| format!("--set {pair}"))?;
    Ok(())
}

/// The weights with every tensor of two and more dimensions in bf16, or in 8 bits where it is named.
fn shrink(from: &Path, to: &Path, eight: &[String]) -> Result<()> {
    let file = WeightFile::open(from)?;
    for name in eight {
        ensure!(
            file.info(name).is_some(),
            "--eight {name}: there is no such tensor"
        );
    }
    let mut kept: Vec<(String, Vec<usize>, DType, Vec<u8>)> = Vec::new();
    for info in file.tensors() {
        let values = file.to_f32(&info.name)?;
        if values.iter().any(|v| !v.is_finite()) {
            bail!("{} is not finite", info.name);
        }
        let (ty, bytes) = match info.shape.len() {
            0 | 1 => (
                DType::Block(BlockType::F32),
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
            _ if eight.contains(&info.name) => {
                (DType::F8E4M3, values.iter().map(|&v| e4m3(v)).collect())
            }
            _ => (
                DType::Block(BlockType::BF16),
                values.iter().flat_map(|&v| bf16(v).to_le_bytes()).collect(),
            ),
        };
        kept.push((info.name.clone(), info.shape.clone(), ty, bytes));
    }
    let tensors: Vec<TensorData> = kept
        .iter()
        .map(|(name, shape, ty, bytes)| TensorData {
            name,
            dtype: *ty,
            shape,
            bytes,
        })
        .collect();
    Ok(write(to, &tensors, &[("format", "pt")])?)
}

/// The nearest number of E4M3 (Open Compute Project, OFP8), ties to even; what is beyond 448 is 448.
fn e4m3(value: f32) -> u8 {
    let size = value.abs().min(448.0);
    // Below 2⁻⁶ steps are those of 2⁻⁶.
    let exponent = (size.max(f32::MIN_POSITIVE).log2().floor() as i32).max(-6);
    let steps = (size / 2f32.powi(exponent - 3)).round_ties_even() as i32;
    let code = ((exponent + 6) * 8 + steps).min(0x7E) as u8;
    code | u8::from(value.is_sign_negative()) << 7
}

/// The nearest bf16, ties to even.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) as u16
}

/// Prints the files as the catalog lists them.
fn describe(folder: &Path) -> Result<()> {
    for (name, bytes, hash) in files(folder)? {
        println!("[[model.files]]\nname = \"{name}\"\nsize = {bytes}\nsha256 = \"{hash}\"\n");
    }
    Ok(())
}

/// Name, size and hash of each file of a starter that a program reads.
pub fn files(folder: &Path) -> Result<Vec<(String, u64, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_file() && !name.ends_with(".md") {
            let bytes = std::fs::read(&path)?;
            let hash = Sha256::digest(&bytes);
            let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            found.push((name, bytes.len() as u64, hash));
        }
    }
    found.sort();
    Ok(found)
}

/// Starters whose files are not those that the catalog lists, or that have no card.
pub fn unlisted() -> Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Catalog {
        model: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        name: String,
        #[serde(default)]
        files: Vec<File>,
    }
    #[derive(serde::Deserialize)]
    struct File {
        name: String,
        size: u64,
        sha256: String,
    }
    let starters = process::root().join("starter");
    let text = std::fs::read_to_string(process::root().join("crates/engine/catalog.toml"))?;
    let catalog: Catalog = toml::from_str(&text)?;
    let mut wrong = Vec::new();
    for entry in catalog.model {
        let folder = starters.join(&entry.name);
        if !folder.is_dir() {
            continue;
        }
        let mut listed: Vec<_> = entry
            .files
            .into_iter()
            .map(|f| (f.name, f.size, f.sha256))
            .collect();
        listed.sort();
        if files(&folder)? != listed {
            wrong.push(format!(
                "starter/{}: its files are not those of the catalog",
                entry.name
            ));
        }
        if !folder.join("README.md").is_file() {
            wrong.push(format!(
                "starter/{}: README.md, the model card, is missing",
                entry.name
            ));
        }
    }
    if starters.is_dir() && size(&starters)? > MOST {
        wrong.push(format!("starter: more than {MOST} bytes"));
    }
    Ok(wrong)
}

fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        sum += if kind.is_dir() {
            size(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        assert_eq!(bf16(1.0), 0x3F80);
        assert_eq!(bf16(-2.5), 0xC020);
        // Half way between two: the even one.
        assert_eq!(bf16(f32::from_bits(0x3F80_8000)), 0x3F80);
        assert_eq!(bf16(f32::from_bits(0x3F81_8000)), 0x3F82);
    }

    #[test]
    fn eight_bits_are_the_nearest() {
        for (value, code) in [
            (0.0, 0x00),
            (1.0, 0x38),
            (-1.0, 0xB8),
            (448.0, 0x7E),
            (1e9, 0x7E),
            (0.015_625, 0x08),
            (0.001_953_125, 0x01),
            // Half-way between 1 and 1.125, and between 1.125 and 1.25: the even one.
            (1.0625, 0x38),
            (1.1875, 0x3A),
            (1.95, 0x40),
        ] {
            assert_eq!(e4m3(value), code, "{value}");
        }
    }

    #[test]
    fn keys_are_set_where_they_lie() {
        let mut config = serde_json::json!({ "sampler": { "steps": 20 } });
        set(&mut config, "sampler.guidance=4.5").unwrap();
        assert_eq!(config["sampler"]["guidance"], 4.5);
        assert_eq!(config["sampler"]["steps"], 20);
        assert!(set(&mut config, "sampler.guidance").is_err());
    }
}
