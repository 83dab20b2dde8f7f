//! The page that shows the works together: one file that can be sent to somebody, with everything in it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medley_media::Origin;
use medley_media::audio::SoundFormat;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde_json::{Value, json};

use super::folder::Folder;
use super::plan::{Block, BlockKind, Make, Plan, WorkPlan, wrong};
use super::texts::Said;
use crate::image::read_limited;
use crate::video;
use crate::{EngineError, Result};

const TEMPLATE: &str = include_str!("../../kits/page.html");

/// Bytes of the largest file that is put into the page.
const MOST: u64 = 64 << 20;

/// The page of some blocks.
///
/// # Errors
/// Files that are missing or cannot be read; [`EngineError::Plan`] for a template that fails.
pub fn render(
    plan: &Plan,
    folder: &Folder,
    blocks: &[Block],
    said: &Said,
    recipe: Option<&str>,
) -> Result<String> {
    let blocks: Result<Vec<Value>> = blocks
        .iter()
        .map(|block| of_block(plan, folder, block, said))
        .collect();
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    let syntax = syntax.build().map_err(|error| wrong("page", error))?;
    environment.set_syntax(syntax);
    let context = json!({
        "name": plan.name,
        "what": plan.what,
        "palette": plan.palette,
        "blocks": blocks?,
        "script": crate::work_file::SCRIPT,
        "synthetic": crate::work_file::SYNTHETIC,
        // In a script element nothing is escaped, so that nothing may end it.
        "recipe": recipe.map(|recipe| recipe.replace('<', "\\u003c")),
    });
    let rendered = environment.render_str(TEMPLATE, Serde(&context));
    rendered.map_err(|error| wrong("page", error.to_string().replace('\n', " ")))
}

fn of_block(plan: &Plan, folder: &Folder, block: &Block, said: &Said) -> Result<Value> {
    let mut texts = Vec::new();
    let mut media = Vec::new();
    for shown in &block.show {
        let id = shown.split('.').next().unwrap_or(shown);
        match plan.work(id) {
            Some(work) if matches!(work.make, Make::Text { .. }) => {
                let items = said.items(shown);
                texts.push(match block.kind {
                    BlockKind::Questions => {
                        json!(items.iter().map(|item| pair(item)).collect::<Vec<_>>())
                    }
                    _ => json!(items),
                });
            }
            Some(work) => media.push(of_work(folder, work)?),
            None => return Err(wrong("page", format!("there is no work {id:?}"))),
        }
    }
    Ok(
        json!({ "kind": block.kind, "heading": said.fill(&block.heading), "texts": texts, "media": media }),
    )
}

/// A question and its answer.
fn pair(item: &str) -> Value {
    let (question, answer) = item.split_once('\n').unwrap_or((item, ""));
    json!({ "question": question, "answer": answer })
}

fn of_work(folder: &Folder, work: &WorkPlan) -> Result<Value> {
    let path = folder.file(&work.file);
    let (kind, mime, bytes) = match &work.make {
        Make::Music { .. } | Make::Speech { .. } => {
            ("sound", SoundFormat::Mp3.mime(), small_sound(&path)?)
        }
        Make::Video { .. } => ("clip", "video/mp4", read_limited(&path, MOST)?),
        Make::Film { .. } => ("film", "video/mp4", read_limited(&path, MOST)?),
        _ => {
            let format = medley_media::Format::from_path(&path)?;
            ("picture", format.mime(), read_limited(&path, MOST)?)
        }
    };
    let mut shown = json!({
        "kind": kind, "title": work.title, "file": work.file, "about": about(work),
        "src": format!("data:{mime};base64,{}", STANDARD.encode(bytes)),
    });
    if let Make::Speech { .. } = &work.make {
        let vtt = folder.file(&work.files()[1]);
        let text = std::fs::read_to_string(&vtt).map_err(EngineError::io("read", &vtt))?;
        let words = super::captions::words(&text);
        let words: Vec<String> = words.into_iter().map(|word| word.word).collect();
        shown["transcript"] = json!(words.join(" "));
    }
    Ok(shown)
}

/// What is seen or heard, for those who do not see or hear it.
fn about(work: &WorkPlan) -> &str {
    match &work.make {
        Make::Image { prompt, .. } | Make::Video { prompt, .. } | Make::Music { prompt, .. } => {
            prompt
        }
        _ => &work.title,
    }
}

/// A sound as MP3, a tenth of what it takes as WAV.
fn small_sound(path: &Path) -> Result<Vec<u8>> {
    let (audio, _) = video::read_sound(path)?;
    Ok(audio.encode(SoundFormat::Mp3, Origin::Generated { recipe: None })?)
}
