//! HTML: what a page says, without what leads around it.

use std::cell::RefCell;

use html5ever::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::{Block, Content, Kind};

/// Elements that hold no text of the page.
const SKIPPED: &[&str] = &[
    "nav", "footer", "script", "style", "noscript", "aside", "form", "button", "svg", "template",
    "iframe", "select", "object", "audio", "video", "canvas", "math",
];

/// Elements that end what stands before them.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "blockquote",
    "body",
    "caption",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "ul",
];

/// Elements without an end.
const VOID: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
    "wbr",
];

/// Open elements at most; deeper ones are not counted.
const DEPTH: usize = 4096;

/// Reads a page. Where it says what its main part is, that alone is read.
pub(super) fn read(text: &str) -> Content {
    let tokenizer = Tokenizer::new(
        Sink(RefCell::new(Page::default())),
        TokenizerOpts::default(),
    );
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from(text));
    while let TokenizerResult::Script(_) | TokenizerResult::EncodingIndicator(_) =
        tokenizer.feed(&queue)
    {}
    tokenizer.end();
    let mut page = tokenizer.sink.0.into_inner();
    page.end();
    let main = page.blocks.iter().any(|(_, main)| *main);
    let blocks = page.blocks.into_iter().filter(|(_, of)| *of || !main);
    let title = super::squeezed(&page.title);
    Content {
        title: (!title.is_empty()).then_some(title),
        blocks: blocks.map(|(block, _)| block).collect(),
    }
}

struct Sink(RefCell<Page>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut page = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(text) => page.add(&text),
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return page.open(&tag),
            Token::TagToken(tag) => page.close(&tag.name),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

#[derive(Default)]
struct Page {
    open: Vec<String>,
    blocks: Vec<(Block, bool)>,
    text: String,
    title: String,
    in_title: bool,
    /// How many elements were open where what is skipped began; where the main part began; where lines stay.
    skipped: Option<usize>,
    main: Option<usize>,
    pre: Option<usize>,
    cells: Vec<String>,
    /// Tables that are open: those within others are lines of the outer.
    tables: usize,
    kind: Option<Kind>,
}

impl Page {
    fn open(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        let void = VOID.contains(&name) || tag.self_closing && self.skipped.is_some();
        match name {
            "title" if self.skipped.is_none() => self.in_title = true,
            "br" => self.add("\n"),
            _ => {}
        }
        if self.skipped.is_none() {
            self.begin(name);
            let apart = SKIPPED.contains(&name) || leads(tag);
            if apart && !void {
                self.skipped = Some(self.open.len());
            }
            if self.main.is_none() && (name == "main" || attribute(tag, "role") == Some("main")) {
                self.main = Some(self.open.len());
            }
            if name == "pre" && self.pre.is_none() {
                self.pre = Some(self.open.len());
            }
        }
        if !void && self.open.len() < DEPTH {
            self.open.push(name.to_owned());
        }
        match name {
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" | "iframe" | "noscript" | "noembed" | "noframes" | "xmp" => {
                TokenSinkResult::RawData(RawKind::Rawtext)
            }
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            _ => TokenSinkResult::Continue,
        }
    }

    /// What an element begins.
    fn begin(&mut self, name: &str) {
        let in_table = self.tables > 0;
        if BLOCKS.contains(&name) && !in_table {
            self.end();
        }
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" if !in_table => {
                self.kind = name[1..].parse().ok().map(Kind::Heading);
            }
            "li" | "dt" if !in_table => self.kind = Some(Kind::Item),
            "pre" if !in_table => self.kind = Some(Kind::Code),
            "table" => {
                self.tables += 1;
                if self.tables == 1 {
                    (self.kind, self.cells) = (Some(Kind::Table), Vec::new());
                }
            }
            "tr" if self.tables == 1 => self.row(),
            "td" | "th" if self.tables == 1 => self.cells.push(String::new()),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        self.in_title &= name != "title";
        let Some(at) = self.open.iter().rposition(|open| open == name) else {
            return;
        };
        if self.skipped.is_none() {
            match name {
                "tr" if self.tables == 1 => self.row(),
                "table" if self.tables > 1 => self.tables -= 1,
                "table" if self.tables == 1 => {
                    self.row();
                    self.tables = 0;
                    self.end();
                }
                _ if BLOCKS.contains(&name) && self.tables == 0 => self.end(),
                _ => {}
            }
        }
        self.open.truncate(at);
        for mark in [&mut self.skipped, &mut self.main, &mut self.pre] {
            if mark.is_some_and(|from| from >= at) {
                *mark = None;
            }
        }
    }

    fn row(&mut self) {
        let cells: Vec<String> = self.cells.drain(..).map(|c| super::squeezed(&c)).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            self.text.push_str(&cells.join(" | "));
            self.text.push('\n');
        }
    }

    fn add(&mut self, text: &str) {
        if self.in_title {
            self.title.push_str(text);
        } else if self.skipped.is_none() {
            match self.cells.last_mut().filter(|_| self.tables > 0) {
                Some(cell) => cell.push_str(text),
                None if self.tables == 0 => self.text.push_str(text),
                None => {}
            }
        }
    }

    /// Ends the block that is being read.
    fn end(&mut self) {
        let mut kind = self.kind.take().unwrap_or(Kind::Text);
        if self.pre.is_some() {
            kind = Kind::Code;
        }
        let mut read = Content::default();
        read.push(kind, &self.text, None);
        self.text.clear();
        let main = self.main.is_some();
        self.blocks
            .extend(read.blocks.into_iter().map(|block| (block, main)));
    }
}

fn attribute<'t>(tag: &'t Tag, name: &str) -> Option<&'t str> {
    let found = tag.attrs.iter().find(|a| &*a.name.local == name);
    found.map(|attribute| &*attribute.value)
}

/// Whether an element leads around the page, or is not shown.
fn leads(tag: &Tag) -> bool {
    let role = attribute(tag, "role");
    let class = attribute(tag, "class").unwrap_or_default();
    let shown = attribute(tag, "hidden").is_none() && attribute(tag, "aria-hidden") != Some("true");
    matches!(
        role,
        Some("navigation" | "search" | "contentinfo" | "banner")
    ) || class.split_ascii_whitespace().any(|class| {
        matches!(
            class,
            "headerlink" | "sphinxsidebar" | "navigation" | "breadcrumb" | "breadcrumbs" | "toc"
        )
    }) || !shown
}
