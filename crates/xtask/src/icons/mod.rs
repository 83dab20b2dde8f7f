//! `cargo xtask icons`: the dataset that the icons are trained on, made of emoji pictures out of npm packages, and
//! the text encoder that ships with them.

mod captions;
mod clips;
mod encoder;
mod packages;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use medley_media::{Filter, Format, Limits, Origin, Picture, contact_sheet};
use serde_json::json;

use crate::process;
use captions::{Emoji, Style};

#[derive(Args)]
pub struct IconsArgs {
    #[command(subcommand)]
    command: Option<IconsCommand>,
    /// Where the dataset is written (default: icons in MEDLEY_REF)
    #[arg(long)]
    out: Option<PathBuf>,
    /// Width and height of every picture; smaller ones are left out, none is enlarged
    #[arg(long, default_value_t = 64)]
    side: u32,
}

#[derive(Subcommand)]
enum IconsCommand {
    /// Quantise the sentence encoder for the icons' captions and measure what that costs
    Encoder(encoder::EncoderArgs),
    /// The dataset of clips: the emoji that move
    Clips,
}

pub fn run(args: &IconsArgs) -> Result<()> {
    match &args.command {
        None => dataset(&folder(args.out.as_deref())?, args.side),
        Some(IconsCommand::Encoder(encoder)) => {
            encoder::run(encoder, &folder(args.out.as_deref())?)
        }
        Some(IconsCommand::Clips) => match &args.out {
            Some(out) => clips::dataset(out),
            None => clips::dataset(&process::ref_dir()?.join("clips")),
        },
    }
}

fn folder(out: Option<&Path>) -> Result<PathBuf> {
    Ok(match out {
        Some(out) => out.to_owned(),
        None => process::ref_dir()?.join("icons"),
    })
}

/// What was made, for the report.
#[derive(Default)]
struct Counts {
    pictures: BTreeMap<&'static str, usize>,
    toned: usize,
    captions: usize,
    groups: BTreeSet<String>,
    both: usize,
    /// Pictures that no entry of the list of emoji names.
    unnamed: Vec<String>,
    /// Pictures that look empty or could not be read.
    unusable: Vec<String>,
}

fn dataset(out: &Path, side: u32) -> Result<()> {
    let packages = packages::fetch()?;
    let emoji = captions::emoji(&packages.list, &packages.words)?;
    let by_file: HashMap<&str, &Emoji> = emoji.iter().map(|e| (e.file.as_str(), e)).collect();
    // Built beside its place, so that a folder with a metadata.jsonl is whole.
    let parent = out.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)
        .with_context(|| format!("cannot create {}", parent.display()))?;
    let work = tempfile::Builder::new()
        .prefix(".icons")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    let mut counts = Counts::default();
    let mut lines = String::new();
    let mut sheet = Vec::new();
    for (style, pictures) in [
        (Style::Flat, &packages.flat),
        (Style::Solid, &packages.solid),
    ] {
        let dir = work.path().join(style.word());
        std::fs::create_dir_all(&dir)?;
        for (name, bytes) in pictures {
            let Some(&emoji) = by_file.get(captions::normalised(name).as_str()) else {
                counts.unnamed.push(format!("{}/{name}", style.word()));
                continue;
            };
            let file = format!("{}/{name}.png", style.word());
            let Some((picture, encoded)) = picture(bytes, style, side)? else {
                counts.unusable.push(file);
                continue;
            };
            medley_media::write_file(&work.path().join(&file), &encoded)?;
            let captions = emoji.captions(style);
            *counts.pictures.entry(style.word()).or_default() += 1;
            counts.toned += usize::from(emoji.tone.is_some());
            counts.captions += captions.len();
            counts.groups.insert(emoji.group.clone());
            let both = packages.flat.contains_key(name) && packages.solid.contains_key(name);
            counts.both += usize::from(both && style == Style::Flat);
            let line = json!({
                "file_name": file,
                "captions": captions,
                "group": emoji.group,
                "name": emoji.name,
                "style": style.word(),
                "category": emoji.category,
                "skin_tone": emoji.tone,
            });
            lines += &line.to_string();
            lines.push('\n');
            if counts.pictures[style.word()] % 70 == 7 {
                sheet.push(picture);
            }
        }
    }
    medley_media::write_file(
        &work.path().join("LICENCES"),
        packages.licences().as_bytes(),
    )?;
    let sheet = medley_media::encode(
        &contact_sheet(&sheet, 12, side)?,
        Format::Png,
        Origin::Collected,
    )?;
    medley_media::write_file(&work.path().join(".contact-sheet.png"), &sheet)?;
    medley_media::write_file(&work.path().join("metadata.jsonl"), lines.as_bytes())?;
    replace(work, out)?;
    report(&counts, out, side);
    Ok(())
}

/// The picture at its size with the bytes of its file; `None` if it is smaller or there is nothing to be seen in it.
fn picture(bytes: &[u8], style: Style, side: u32) -> Result<Option<(Picture, Vec<u8>)>> {
    let Ok(picture) = medley_media::decode(bytes, &Limits::default()) else {
        return Ok(None);
    };
    if picture.width().min(picture.height()) < side {
        return Ok(None);
    }
    let white = picture.over([255; 3]);
    let first = &white.pixels()[..3];
    if white.pixels().chunks_exact(3).all(|pixel| pixel == first) {
        return Ok(None);
    }
    if style == Style::Flat && (picture.width(), picture.height()) == (side, side) {
        // As the package has it.
        return Ok(Some((picture, bytes.to_vec())));
    }
    let picture = picture.cover(side, side, Filter::Lanczos)?;
    let encoded = medley_media::encode(&picture, Format::Png, Origin::Collected)?;
    Ok(Some((picture, encoded)))
}

/// Puts the finished folder into its place. Only a folder that this command made is replaced.
fn replace(work: tempfile::TempDir, out: &Path) -> Result<()> {
    if out.exists() {
        if !out.join("metadata.jsonl").is_file() || !out.join("LICENCES").is_file() {
            bail!(
                "{} is there and no dataset of icons; give another --out",
                out.display()
            );
        }
        std::fs::remove_dir_all(out)
            .with_context(|| format!("cannot replace {}", out.display()))?;
    }
    let made = work.keep();
    std::fs::rename(&made, out)
        .with_context(|| format!("cannot rename {} to {}", made.display(), out.display()))
}

fn report(counts: &Counts, out: &Path, side: u32) {
    let total: usize = counts.pictures.values().sum();
    println!("{}: {total} pictures of {side}x{side}", out.display());
    for (style, count) in &counts.pictures {
        println!("  {count} {style}");
    }
    println!("  {} emoji in both styles", counts.both);
    println!("  {} with a skin tone", counts.toned);
    println!("  {} captions", counts.captions);
    println!("  {} groups", counts.groups.len());
    for (what, names) in [
        ("have no name", &counts.unnamed),
        ("show nothing or are smaller", &counts.unusable),
    ] {
        if !names.is_empty() {
            let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
            println!(
                "  {} left out: they {what} ({} …)",
                names.len(),
                shown.join(", ")
            );
        }
    }
}
