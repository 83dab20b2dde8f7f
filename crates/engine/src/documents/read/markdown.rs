//! Markdown, with tables.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::{Content, Kind};

/// Reads a text in Markdown.
pub(super) fn read(text: &str) -> Content {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut reader = Reader::default();
    let (mut line, mut from) = (1u32, 0);
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        if let Some(passed) = text.get(from..range.start) {
            let lines = passed.bytes().filter(|&byte| byte == b'\n').count();
            line = line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            from = range.start;
        }
        reader.take(event, line);
    }
    reader.end();
    let mut content = reader.content;
    let title = |block: &&super::Block| block.kind == Kind::Heading(1);
    content.title = content.blocks.iter().find(title).map(|b| b.text.clone());
    content
}

#[derive(Default)]
struct Reader {
    content: Content,
    text: String,
    kind: Option<Kind>,
    line: u32,
    cells: Vec<String>,
    in_cell: bool,
    skipped: bool,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, line: u32) {
        match event {
            Event::Start(tag) => self.start(&tag, line),
            Event::End(tag) => self.close(tag),
            Event::Text(text) | Event::Code(text) => self.add(&text, line),
            Event::SoftBreak | Event::HardBreak => self.add("\n", line),
            Event::Rule => self.end(),
            Event::TaskListMarker(done) => self.add(if done { "[x] " } else { "[ ] " }, line),
            // What is HTML within Markdown is form, more often than text.
            _ => {}
        }
    }

    fn add(&mut self, text: &str, line: u32) {
        if self.skipped {
            return;
        }
        if self.kind.is_none() {
            self.begin(Kind::Text, line);
        }
        if self.in_cell {
            if let Some(cell) = self.cells.last_mut() {
                cell.push_str(text);
            }
        } else {
            self.text.push_str(text);
        }
    }

    fn start(&mut self, tag: &Tag<'_>, line: u32) {
        match tag {
            Tag::Heading { level, .. } => self.begin(Kind::Heading(depth(*level)), line),
            Tag::Paragraph if self.kind == Some(Kind::Item) => {}
            Tag::Paragraph => self.begin(Kind::Text, line),
            Tag::Item => self.begin(Kind::Item, line),
            Tag::CodeBlock(_) => self.begin(Kind::Code, line),
            Tag::Table(_) => self.begin(Kind::Table, line),
            Tag::TableHead | Tag::TableRow => self.cells.clear(),
            Tag::TableCell => {
                self.in_cell = true;
                self.cells.push(String::new());
            }
            Tag::MetadataBlock(_) => self.skipped = true,
            _ => {}
        }
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::TableCell => self.in_cell = false,
            TagEnd::TableHead | TagEnd::TableRow => {
                let cells: Vec<String> = self.cells.iter().map(|c| super::squeezed(c)).collect();
                self.text.push_str(&cells.join(" | "));
                self.text.push('\n');
            }
            TagEnd::MetadataBlock(_) => self.skipped = false,
            TagEnd::Heading(_)
            | TagEnd::Paragraph
            | TagEnd::Item
            | TagEnd::CodeBlock
            | TagEnd::Table => self.end(),
            _ => {}
        }
    }

    fn begin(&mut self, kind: Kind, line: u32) {
        self.end();
        (self.kind, self.line) = (Some(kind), line);
    }

    fn end(&mut self) {
        if let Some(kind) = self.kind.take() {
            self.content.push(kind, &self.text, Some(self.line));
        }
        self.text.clear();
    }
}

fn depth(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}
