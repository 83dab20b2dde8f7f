//! Texts as files that people read and edit, and what the other works take out of them.

use std::collections::BTreeMap;

use super::plan::{Form, Make, Part, Plan, WorkPlan};
use super::refs;

/// The items of each part of a text.
pub type Items = BTreeMap<String, Vec<String>>;

/// The file of a text work: Markdown with a heading for each part, or the one part as it is.
pub fn render(plan: &Plan, work: &WorkPlan, parts: &[Part], items: &Items) -> String {
    let said = |part: &Part| -> String {
        let items = items.get(&part.id).map(Vec::as_slice).unwrap_or_default();
        let item = |item: &String| match part.form {
            Form::List => format!("- {item}"),
            Form::Questions => match item.split_once('\n') {
                Some((question, answer)) => format!("**{question}**\n{answer}"),
                None => item.clone(),
            },
            Form::Line | Form::Sentences => item.clone(),
        };
        let between = if part.form == Form::List {
            "\n"
        } else {
            "\n\n"
        };
        items.iter().map(item).collect::<Vec<_>>().join(between)
    };
    if work.file.ends_with(".txt") {
        return parts.iter().map(said).collect::<Vec<_>>().join("\n");
    }
    let mut out = format!("# {}: {}\n", plan.name, work.title);
    for part in parts {
        out += &format!("\n## {}\n\n{}\n", part.heading, said(part));
    }
    out
}

/// The items of each part out of a file that was written by [`render`] and perhaps edited. What is not there is empty.
pub fn parse(work: &WorkPlan, text: &str) -> Items {
    let Make::Text { parts, .. } = &work.make else {
        return Items::new();
    };
    // The mark of synthetic media is a comment at the end.
    let text = text.split("\n<!-- medley ").next().unwrap_or(text);
    if work.file.ends_with(".txt") {
        let only = parts.iter().map(|part| part.id.clone());
        return only.map(|id| (id, vec![text.trim().to_owned()])).collect();
    }
    let mut items = Items::new();
    let mut current: Option<&Part> = None;
    let mut body = String::new();
    let mut end = |part: Option<&Part>, body: &mut String| {
        if let Some(part) = part {
            items.insert(part.id.clone(), items_of(part, body));
        }
        body.clear();
    };
    for line in text.lines() {
        match line.strip_prefix("## ") {
            Some(heading) => {
                end(current, &mut body);
                current = parts.iter().find(|part| part.heading == heading.trim());
            }
            None => {
                body.push_str(line);
                body.push('\n');
            }
        }
    }
    end(current, &mut body);
    items
}

fn items_of(part: &Part, body: &str) -> Vec<String> {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match part.form {
        Form::List => {
            let mut found: Vec<String> = Vec::new();
            for line in body.lines().map(str::trim).filter(|line| !line.is_empty()) {
                match (line.strip_prefix("- "), found.last_mut()) {
                    (Some(item), _) => found.push(plain(item)),
                    // A line without a dash goes on with the item above it.
                    (None, Some(last)) => *last = format!("{last} {line}"),
                    (None, None) => found.push(line.to_owned()),
                }
            }
            found
        }
        Form::Questions => body
            .split("\n\n")
            .map(str::trim)
            .filter(|block| !block.is_empty())
            .map(|block| {
                let (question, answer) = block.split_once('\n').unwrap_or((block, ""));
                format!("{}\n{}", question.trim_matches('*'), plain(answer))
            })
            .collect(),
        Form::Line | Form::Sentences => vec![plain(body)],
    }
}

/// What texts of other works say, by their ids.
#[derive(Clone, Debug, Default)]
pub struct Said(pub BTreeMap<String, Items>);

impl Said {
    /// What `ID`, `ID.PART` or `ID.PART.N` stands for.
    pub fn get(&self, name: &str) -> Option<String> {
        let mut names = name.splitn(3, '.');
        let items = self.0.get(names.next()?)?;
        let Some(part) = names.next() else {
            return Some(
                items
                    .values()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        };
        let list = items.get(part)?;
        match names.next() {
            None => Some(list.join(" ")),
            Some(number) => {
                let number: usize = number.parse().ok()?;
                list.get(number.checked_sub(1)?).cloned()
            }
        }
    }

    /// All items of `ID.PART`, or of the whole work.
    pub fn items(&self, name: &str) -> Vec<String> {
        let (id, part) = name.split_once('.').unwrap_or((name, ""));
        let Some(items) = self.0.get(id) else {
            return Vec::new();
        };
        match (part, items.get(part)) {
            ("", _) => items.values().flatten().cloned().collect(),
            (_, Some(list)) => list.clone(),
            (_, None) => self.get(name).into_iter().collect(),
        }
    }

    /// A text with all that it refers to, its marks put right where two met.
    pub fn fill(&self, text: &str) -> String {
        let filled = refs::fill(text, &|name| self.get(name));
        filled
            .replace("?.", "?")
            .replace("!.", "!")
            .replace("..", ".")
            .trim()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_edits_are_taken() {
        let part = |id: &str, heading: &str, form: &str| json!({ "id": id, "heading": heading, "form": form, "ask": "x", "words": [1, 9], "fallback": ["f"] });
        let work: WorkPlan = serde_json::from_value(json!({
            "id": "copy", "title": "Copy", "file": "copy.md", "medium": "text", "seed": 1,
            "parts": [part("line", "Headline", "line"), part("list", "Benefits", "list"),
                      part("asked", "Questions", "questions"), part("long", "Mail: text", "sentences")],
        }))
        .unwrap();
        let Make::Text { parts, .. } = &work.make else {
            panic!("a text");
        };
        let items: Items = [
            ("line", vec!["Fire it up"]),
            ("list", vec!["One.", "Two."]),
            ("asked", vec!["Why?\nBecause.", "How?\nSo."]),
            ("long", vec!["First. Second."]),
        ]
        .map(|(id, list)| (id.to_owned(), list.into_iter().map(str::to_owned).collect()))
        .into();
        let plan = Plan {
            version: 1,
            brief: String::new(),
            kit: String::new(),
            name: "Ember".into(),
            what: String::new(),
            audience: String::new(),
            tone: String::new(),
            message: String::new(),
            palette: super::super::palette::SWATCHES[0].palette(),
            models: serde_json::from_value(
                json!({ "text": "", "image": "", "video": "", "music": "", "speech": "" }),
            )
            .unwrap(),
            works: Vec::new(),
        };
        let text = render(&plan, &work, parts, &items);
        assert_eq!(parse(&work, &text), items);
        let edited = text
            .replace("Fire it up", "Light it\n  up")
            .replace("- Two.", "- Two\nand a half.")
            + "\n<!-- medley {\"recipe\": \"## Headline\"} -->\n";
        let read = Said([("copy".to_owned(), parse(&work, &edited))].into());
        assert_eq!(read.get("copy.line").as_deref(), Some("Light it up"));
        assert_eq!(read.get("copy.list.2").as_deref(), Some("Two and a half."));
        assert_eq!(read.get("copy.list.3"), None);
        assert_eq!(read.items("copy.asked").len(), 2);
        assert_eq!(
            read.fill("@copy.asked.1. @copy.list.1."),
            "Why?\nBecause. One."
        );
    }
}
