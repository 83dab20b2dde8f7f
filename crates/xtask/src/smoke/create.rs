//! A brief, with a kit of a few works.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::Program;

/// A line, a picture, a card with both, and a page.
const KIT: &str = r#"
name = "card"
title = "A card"

[[work]]
id = "copy"
title = "Copy"
medium = "text"
file = "copy.md"
[[work.parts]]
id = "line"
heading = "Line"
ask = "Headline"
like = "headline"
words = [3, 9]
fallback = ["{{ name }}"]

[[work]]
id = "picture"
title = "Picture"
medium = "image"
file = "picture.png"
prompt = "{{ pictures[0] }}, 3d icon"

[[work]]
id = "card"
title = "Card"
medium = "poster"
file = "card.png"
size = [320, 400]
headline = "@copy.line"
picture = "picture"

[[work]]
id = "page"
title = "Page"
medium = "page"
file = "index.html"
blocks = [{ kind = "hero", show = ["copy.line", "card"] }]
"#;

/// The works are made once, kept the second time, and made again out of a file.
pub fn create(program: &Program) -> Result<()> {
    let place = tempfile::tempdir()?;
    let at = |name: &str| place.path().join(name).to_string_lossy().into_owned();
    std::fs::write(at("card.toml"), KIT)?;
    let (kit, folder) = (at("card.toml"), at("works"));
    let brief = "Ember, a smokeless campfire for small balconies: warm";
    let made = program.json(&["create", brief, "--kit", &kit, "-o", &folder, "--seed", "3"])?;
    let states = |made: &serde_json::Value| -> Vec<String> {
        let works = made["works"].as_array().into_iter().flatten();
        works
            .filter_map(|work| Some(work["state"].as_str()?.to_owned()))
            .collect()
    };
    ensure!(states(&made) == ["done"; 4], "{made}");
    let page = std::fs::read_to_string(at("works/index.html"))?;
    ensure!(
        page.contains("data:image/png;base64,"),
        "the page holds no picture"
    );
    let again = program.json(&["create", "-o", &folder])?;
    ensure!(states(&again) == ["kept"; 4], "{again}");
    program.json(&["remake", &at("works/card.png"), "-o", &at("card.png")])?;
    ensure!(
        std::fs::read(at("works/card.png"))? == std::fs::read(at("card.png"))?,
        "the card is remade with other bytes"
    );
    let shown = program.json(&["inspect", &at("works/index.html")])?;
    ensure!(shown["recipe"]["work"] == json!("page"), "{shown}");
    let other = program.run(&["create", "Nook, a café", "-o", &folder])?;
    let said = other.stderr.lines().next().context("it says why")?;
    ensure!(said.contains("another brief"), "{said}");
    Ok(())
}
