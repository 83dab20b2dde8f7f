//! Grammars (llguidance's Lark) that hold answers to their form.

use serde_json::json;

use super::answer::{DELETE, DIVIDE, END, FILE, NEW, RENAME, REPLACE, SEARCH};
use super::ask::{Aim, Wanted};
use super::source::identifiers;
use super::{Choice, Repository, Shown};

/// Lines of a search at most: what a change needs to be found.
const SEARCHED: usize = 20;

/// Lines that stand in their place at most, and lines of a new file.
const WRITTEN: usize = 160;

/// Edits of one file at most.
const EDITS: usize = 8;

/// Places that an explanation may point at.
const PLACES: usize = 60;

/// Names that may be renamed.
const NAMES: usize = 200;

impl Repository {
    /// The grammar of the answer to what is wanted; with `lines`, searches hold lines of the files alone.
    pub(super) fn grammar(&self, wanted: &Wanted<'_>, choice: &Choice, lines: bool) -> String {
        match wanted.aim {
            Aim::Explain => self.prose(choice, true),
            Aim::Review => self.prose(choice, false),
            _ => self.edits(wanted, choice, lines),
        }
    }

    /// Prose, then sentences that each have their place: a line where something that is shown is defined.
    fn prose(&self, choice: &Choice, overview: bool) -> String {
        let mut items = String::new();
        let mut count = 0;
        for shown in &choice.shown {
            let file = &self.files[shown.file];
            let within = |line: usize| {
                shown
                    .parts
                    .as_ref()
                    .is_none_or(|parts| parts.iter().any(|part| part.contains(&(line - 1))))
            };
            let defined = file
                .definitions
                .iter()
                .map(|d| d.line)
                .filter(|line| within(*line));
            let mut places: Vec<usize> = defined.collect();
            if places.is_empty() {
                places.push(
                    shown
                        .parts
                        .as_ref()
                        .and_then(|parts| parts.first())
                        .map_or(1, |part| part.start + 1),
                );
            }
            for line in places {
                if count < PLACES {
                    items.push_str(&format!(
                        "item_{count}: {} SENTENCE \"\\n\"\n",
                        quoted(&format!("- {}:{line}: ", file.path))
                    ));
                    count += 1;
                }
            }
        }
        let all: Vec<String> = (0..count).map(|i| format!("item_{i}?")).collect();
        let all = all.join(" ");
        let start = match overview {
            true => format!("start: SENTENCE \"\\n\" (\"\\n\" {all})?\n"),
            false => format!("start: {all} | \"Nothing to report.\\n\"\n"),
        };
        format!("{start}{items}SENTENCE: /[A-Za-z`\"'(][^\\n]{{12,400}}[.!`)]/\n")
    }

    /// Edits of the files that are shown, and new files.
    fn edits(&self, wanted: &Wanted<'_>, choice: &Choice, lines: bool) -> String {
        let mut changes: Vec<String> = Vec::new();
        let mut rules = String::new();
        for (index, shown) in choice.shown.iter().enumerate() {
            let path = &self.files[shown.file].path;
            if wanted.aim == Aim::Tests && !path.to_lowercase().contains("test") {
                continue;
            }
            changes.push(format!("file_{index}"));
            rules.push_str(&format!(
                "file_{index}: {} edit_{index}{{1,{EDITS}}}\nedit_{index}: {} FIND_{index} {} LINE{{0,{WRITTEN}}} {}\n",
                quoted(&format!("{FILE}{path}\n")),
                quoted(&format!("{SEARCH}\n")),
                quoted(&format!("{DIVIDE}\n")),
                quoted(&format!("{REPLACE}\n")),
            ));
            match lines {
                true => rules.push_str(&self.searched(index, shown)),
                false => rules.push_str(&format!(
                    "FIND_{index}: /([^\\n=][^\\n]*\\n){{1,{SEARCHED}}}/\n"
                )),
            }
        }
        for (name, rule) in self.whole_files(wanted, choice) {
            changes.push(name.to_owned());
            rules.push_str(&rule);
        }
        format!(
            "start: change{{1,{}}}\nchange: {}\n{rules}LINE: /(>{{0,6}}[^>\\n][^\\n]{{0,300}}|>{{0,6}})\\n/\n",
            choice.shown.len() + 2,
            changes.join(" | ")
        )
    }

    /// New files, deletions and renamings, as far as the request speaks of such.
    fn whole_files(&self, wanted: &Wanted<'_>, choice: &Choice) -> Vec<(&'static str, String)> {
        let asked: Vec<String> = identifiers(wanted.request).map(str::to_lowercase).collect();
        let says = |words: &[&str]| asked.iter().any(|word| words.contains(&word.as_str()));
        let mut changes = Vec::new();
        if wanted.aim == Aim::Tests
            || says(&[
                "new", "add", "create", "write", "split", "extract", "move", "test", "tests",
                "file",
            ])
        {
            changes.push(("new", format!(
                "new: {} PATH \"\\n\" LINE{{1,{WRITTEN}}} {}\nPATH: /[A-Za-z0-9_][A-Za-z0-9_.-]{{0,40}}(\\/[A-Za-z0-9_][A-Za-z0-9_.-]{{0,40}}){{0,6}}/\n",
                quoted(NEW),
                quoted(&format!("{END}\n")),
            )));
        }
        if says(&["delete", "remove", "drop", "move", "merge"]) && wanted.aim == Aim::Change {
            let paths: Vec<String> = choice
                .shown
                .iter()
                .map(|shown| quoted(&self.files[shown.file].path))
                .collect();
            changes.push((
                "delete",
                format!(
                    "delete: {} ({}) \"\\n\"\n",
                    quoted(DELETE),
                    paths.join(" | ")
                ),
            ));
        }
        let names = self.renamable(choice);
        if says(&["rename", "renaming", "call", "name"])
            && wanted.aim == Aim::Change
            && !names.is_empty()
        {
            changes.push(("rename", format!(
                "rename: {} ({}) \" -> \" NAME \"\\n\"\nNAME: /[A-Za-z_][A-Za-z0-9_]{{0,60}}/\n",
                quoted(RENAME),
                names
                    .iter()
                    .map(|name| quoted(name))
                    .collect::<Vec<_>>()
                    .join(" | ")
            )));
        }
        changes
    }

    /// Lines of a file one after another, of which one is not empty.
    fn searched(&self, index: usize, shown: &Shown) -> String {
        let lines: Vec<&str> = self.files[shown.file].text.lines().collect();
        let mut rules = String::new();
        let mut parts = Vec::new();
        for (number, part) in shown.ranges(lines.len()).iter().enumerate() {
            let chunks: Vec<String> = lines[part.clone()]
                .iter()
                .map(|line| format!("{line}\n"))
                .collect();
            // A line each, so that no line of the grammar has all of the file's brackets.
            let chunks: Vec<String> = chunks
                .iter()
                .map(|chunk| json!(chunk).to_string())
                .collect();
            rules.push_str(&format!(
                "PART_{index}_{number}: %regex {{ \"substring_chunks\": [\n{}\n] }}\n",
                chunks.join(",\n")
            ));
            parts.push(format!("PART_{index}_{number}"));
        }
        format!(
            "FIND_{index}: /([^\\n]*\\n){{1,{SEARCHED}}}/ & /(.|\\n)*[^ \\t\\n](.|\\n)*/ & ({})\n{rules}",
            parts.join(" | ")
        )
    }

    /// Names that files which are shown define, without those that are words of every program.
    fn renamable(&self, choice: &Choice) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for shown in &choice.shown {
            let defined = self.files[shown.file]
                .definitions
                .iter()
                .map(|d| d.name.as_str());
            for name in defined.filter(|name| name.len() > 1 && *name != "main") {
                if !names.contains(&name) && names.len() < NAMES {
                    names.push(name);
                }
            }
        }
        names
    }
}

/// A text as a string of Lark.
pub(super) fn quoted(text: &str) -> String {
    json!(text).to_string()
}
