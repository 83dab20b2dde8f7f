//! The packages, fetched by npm's own client and held to their hashes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use crate::process;

/// A package at one version.
struct Package {
    name: &'static str,
    version: &'static str,
    /// The archive's name, as `npm pack` gives it.
    file: &'static str,
    sha256: &'static str,
}

/// Noto pictures of 64 pixels and the list of emoji.
const NOTO: Package = Package {
    name: "emoji-datasource-google",
    version: "16.0.0",
    file: "emoji-datasource-google-16.0.0.tgz",
    sha256: "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
};

/// Fluent pictures of 256 pixels.
const FLUENT: Package = Package {
    name: "@lobehub/fluent-emoji-3d",
    version: "1.1.0",
    file: "lobehub-fluent-emoji-3d-1.1.0.tgz",
    sha256: "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
};

/// Fluent clips of 256 pixels, and pictures that do not move.
const MOVING: Package = Package {
    name: "@lobehub/fluent-emoji-anim-1",
    version: "1.0.0",
    file: "lobehub-fluent-emoji-anim-1-1.0.0.tgz",
    sha256: "4c03ac178c1eabf2e2a16dd498f3cc2b92dc30ec3466ae38fdc497d4774c99ea",
};

/// Words for each emoji.
const WORDS: Package = Package {
    name: "emojilib",
    version: "4.0.3",
    file: "emojilib-4.0.3.tgz",
    sha256: "7f9a6b43cff31d18985b7d65d11faba5bd971cbcc60020cf6d09322fbaaaf303",
};

/// Longest member that is read out of an archive.
const MAX_MEMBER: u64 = 16 << 20;

/// What the packages hold that is used.
pub struct Packages {
    /// `emoji.json` of the list.
    pub list: Vec<u8>,
    /// Words by emoji, JSON.
    pub words: Vec<u8>,
    /// Noto PNG pictures by name without ending.
    pub flat: BTreeMap<String, Vec<u8>>,
    /// Fluent WebP pictures by name without ending.
    pub solid: BTreeMap<String, Vec<u8>>,
    list_licence: String,
    words_licence: String,
}

/// Fetches what is missing into `MEDLEY_REF/npm` and reads it.
pub fn fetch() -> Result<Packages> {
    let dir = process::ref_dir()?.join("npm");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut noto = NOTO.members(&dir, |name| {
        name == "emoji.json" || name == "LICENSE" || name.starts_with("img/google/64/")
    })?;
    let mut words = WORDS.members(&dir, |name| {
        name == "dist/emoji-en-US.json" || name == "LICENSE"
    })?;
    let fluent = FLUENT.members(&dir, |name| name.starts_with("assets/"))?;
    let list = take(&mut noto, "emoji.json")?;
    let list_licence = String::from_utf8(take(&mut noto, "LICENSE")?)?;
    Ok(Packages {
        list,
        words: take(&mut words, "dist/emoji-en-US.json")?,
        list_licence,
        words_licence: String::from_utf8(take(&mut words, "LICENSE")?)?,
        flat: pictures(noto, ".png"),
        solid: pictures(fluent, ".webp"),
    })
}

/// Animated Fluent pictures, WebP, by name without ending, and those that do not move; with what the dataset of clips says of
/// licences.
pub fn moving() -> Result<(BTreeMap<String, Vec<u8>>, String)> {
    let dir = process::ref_dir()?.join("npm");
    let members = MOVING.members(&dir, |name| name.starts_with("assets/"))?;
    let licences = format!(
        "Fluent Emoji, Copyright (c) Microsoft Corporation, MIT (https://github.com/microsoft/fluentui-emoji), animated, as in \
         the npm package {}, Copyright (c) 2023 LobeHub, MIT. Names and words as in the dataset of icons: {}, MIT; {}, MIT.\n\n{MIT}",
        MOVING.label(),
        NOTO.label(),
        WORDS.label(),
    );
    Ok((pictures(members, ".webp"), licences))
}

fn take(members: &mut BTreeMap<String, Vec<u8>>, name: &str) -> Result<Vec<u8>> {
    members
        .remove(name)
        .with_context(|| format!("the package has no {name}"))
}

/// Pictures by the last part of their names.
fn pictures(members: BTreeMap<String, Vec<u8>>, ending: &str) -> BTreeMap<String, Vec<u8>> {
    members
        .into_iter()
        .filter_map(|(name, bytes)| {
            let stem = name.rsplit('/').next()?.strip_suffix(ending)?;
            Some((stem.to_owned(), bytes))
        })
        .collect()
}

impl Package {
    /// The wanted members of the archive by their names within the package.
    fn members(
        &self,
        dir: &Path,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Vec<u8>>> {
        let path = dir.join(self.file);
        if !path.is_file() {
            self.pack(dir)?;
        }
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if hash != self.sha256 {
            bail!(
                "{} has the SHA-256 {hash}, but {}@{} has {}; remove it and run this again",
                path.display(),
                self.name,
                self.version,
                self.sha256
            );
        }
        let mut found = BTreeMap::new();
        let mut archive = tar::Archive::new(GzDecoder::new(bytes.as_slice()));
        for entry in archive.entries()? {
            let entry = entry?;
            let path = entry.path()?.to_string_lossy().replace('\\', "/");
            let name = path.strip_prefix("package/").unwrap_or(&path).to_owned();
            if wanted(&name) && entry.header().entry_type().is_file() {
                let mut content = Vec::new();
                entry.take(MAX_MEMBER).read_to_end(&mut content)?;
                found.insert(name, content);
            }
        }
        Ok(found)
    }

    fn pack(&self, dir: &Path) -> Result<()> {
        let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
        if !process::available(npm, "--version") {
            bail!(
                "this command fetches packages with npm, which cannot be started: install Node.js"
            );
        }
        println!("fetching {}@{}", self.name, self.version);
        process::run(
            Command::new(npm)
                .args(["pack", "--silent", "--pack-destination"])
                .arg(dir)
                .arg(format!("{}@{}", self.name, self.version)),
        )
    }
}

impl Packages {
    /// The text of the dataset's LICENCES file.
    pub fn licences(&self) -> String {
        format!(
            "Where the pictures and words of this dataset are from, and under which licences.\n\
             \n\
             flat/: Noto Emoji, Copyright Google LLC, Apache License 2.0 \
             (https://github.com/googlefonts/noto-emoji), pictures of 64 pixels as in the npm package {noto}.\n\
             3d/: Fluent Emoji, Copyright (c) Microsoft Corporation, MIT \
             (https://github.com/microsoft/fluentui-emoji), resized from 256 to 64 pixels out of the npm package \
             {fluent}, Copyright (c) 2023 LobeHub, MIT.\n\
             Names and categories: the npm package {noto}, MIT. Further words: the npm package {words}, MIT.\n\
             \n\
             The Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0\n\
             \n\
             ---- {noto} (list of names) ----\n{}\n\
             ---- {words} ----\n{}\n\
             ---- Fluent Emoji and {fluent} ----\n{}",
            self.list_licence.trim_end(),
            self.words_licence.trim_end(),
            MIT,
            noto = NOTO.label(),
            fluent = FLUENT.label(),
            words = WORDS.label(),
        )
    }
}

impl Package {
    fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// The licence's text, which the package with the Fluent pictures names and does not hold.
const MIT: &str = "\
MIT License

Copyright (c) Microsoft Corporation.
Copyright (c) 2023 LobeHub

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the \"Software\"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
";
