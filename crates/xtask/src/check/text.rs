//! Rules over the text of the files in the repository.

use std::path::{Path, PathBuf};

use crate::process;

/// Lines a source file may have.
const MAX_LINES: usize = 600;

/// Marks of unfinished work, as whole words. Written in halves, so that this file passes its own check.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Use", "rs/"),
    concat!("/wo", "rk/"),
    concat!("/pri", "vate/"),
    concat!("/mn", "t/"),
    concat!("C:", "\\Users"),
];

/// Places with modules that may allow `unsafe`: kernels, the memory maps of weight files, and what starts kernels on GPUs.
const UNSAFE_PLACES: &[&str] = &["crates/kernels/", "crates/formats/", "crates/nn/src/gpu/"];

/// Apply one rule to every readable text file.
pub fn over_all(files: &[PathBuf], rule: fn(&Path, &str) -> Vec<String>) -> Vec<String> {
    files
        .iter()
        .filter_map(|path| {
            let bytes = std::fs::read(process::root().join(path)).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            Some(rule(path, &text))
        })
        .flatten()
        .collect()
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| extensions.contains(&extension))
}

fn is_source(path: &Path) -> bool {
    has_extension(
        path,
        &["rs", "py", "c", "cpp", "js", "css", "html", "sh", "toml"],
    ) || path.starts_with(".ci")
}

/// Source files that are longer than one can keep in mind.
pub fn too_long(path: &Path, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= MAX_LINES || !has_extension(path, &["rs", "py", "c", "cpp", "js", "css"]) {
        return Vec::new();
    }
    vec![format!(
        "{}: {lines} lines, at most {MAX_LINES}: split it by purpose",
        path.display()
    )]
}

/// Marks that say somebody meant to come back.
pub fn unfinished(path: &Path, text: &str) -> Vec<String> {
    if !is_source(path) && !has_extension(path, &["md"]) {
        return Vec::new();
    }
    find_lines(text, |line| {
        line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .find(|word| UNFINISHED.contains(word))
            .map(str::to_owned)
    })
    .map(|(number, word)| {
        format!(
            "{}:{number}: {word}: finish it or open an issue",
            path.display()
        )
    })
    .collect()
}

/// Paths that hold on one machine only.
pub fn machine_paths(path: &Path, text: &str) -> Vec<String> {
    // Templates that others published are kept as they are.
    if has_extension(path, &["jinja"]) {
        return Vec::new();
    }
    find_lines(text, |line| {
        MACHINE_PATHS
            .iter()
            .find(|start| {
                line.match_indices(**start).any(|(at, _)| {
                    // `docs/home/x` and `https://host/work/x` are not absolute paths.
                    !line[..at].ends_with(|before: char| {
                        before.is_alphanumeric() || matches!(before, '.' | '-' | '_' | '}' | '$')
                    })
                })
            })
            .map(|start| (*start).to_owned())
    })
    .map(|(number, start)| {
        format!(
            "{}:{number}: the path {start}… exists on one machine only",
            path.display()
        )
    })
    .collect()
}

/// `unsafe` allowed outside the places whose purpose needs it.
pub fn misplaced_unsafe(path: &Path, text: &str) -> Vec<String> {
    let needle = concat!("allow(unsafe", "_code");
    if !has_extension(path, &["rs"]) || UNSAFE_PLACES.iter().any(|own| path.starts_with(own)) {
        return Vec::new();
    }
    find_lines(text, |line| line.contains(needle).then_some(()))
        .map(|(number, ())| {
            format!(
                "{}:{number}: unsafe lives in kernels, in the memory maps of formats and in what starts kernels on GPUs",
                path.display()
            )
        })
        .collect()
}

fn find_lines<T>(text: &str, find: impl Fn(&str) -> Option<T>) -> impl Iterator<Item = (usize, T)> {
    text.lines()
        .enumerate()
        .filter_map(move |(index, line)| find(line).map(|found| (index + 1, found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_told_and_data_is_not() {
        let long = "x\n".repeat(MAX_LINES + 1);
        assert_eq!(
            too_long(Path::new("a.rs"), &long),
            ["a.rs: 601 lines, at most 600: split it by purpose"]
        );
        assert!(too_long(Path::new("a.rs"), &"x\n".repeat(MAX_LINES)).is_empty());
        assert!(too_long(Path::new("a.json"), &long).is_empty());
    }

    #[test]
    fn unfinished_words_are_whole_words() {
        let text = format!("fine\n// {}: later\nMASTO{}N", UNFINISHED[0], "DO");
        let found = unfinished(Path::new("a.rs"), &text);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.rs:2: "), "{found:?}");
        assert!(unfinished(Path::new("a.bin"), &text).is_empty());
    }

    #[test]
    fn machine_paths_are_absolute() {
        let bad = format!("open('{}me/x')", MACHINE_PATHS[0]);
        assert_eq!(machine_paths(Path::new("a.py"), &bad).len(), 1);
        let url = format!("https://example.org{}x", MACHINE_PATHS[3]);
        let relative = format!("docs{}x", MACHINE_PATHS[0]);
        for fine in [url, relative] {
            assert!(machine_paths(Path::new("a.md"), &fine).is_empty(), "{fine}");
        }
    }

    #[test]
    fn unsafe_has_its_place() {
        let text = concat!("#![allow(unsafe", "_code, reason = \"speed\")]");
        assert_eq!(
            misplaced_unsafe(Path::new("crates/nn/src/a.rs"), text).len(),
            1
        );
        assert!(misplaced_unsafe(Path::new("crates/kernels/src/a.rs"), text).is_empty());
    }
}
