//! Regular expressions: checked here for their errors' places, anchors taken off.

use llguidance::Matcher;
use llguidance::api::TopLevelGrammar;
use regex_syntax::ast;
use regex_syntax::hir::{Hir, HirKind, Look};

use super::{Vocabulary, one_line};
use crate::SamplingError;

pub(super) fn compile(vocabulary: &Vocabulary, pattern: &str) -> Result<Matcher, SamplingError> {
    let tree = regex_syntax::parse(pattern).map_err(|error| syntax_error(&error))?;
    let bare = strip(&tree, true, true);
    let text = if bare == tree {
        // Kept as written: printing would spell out each class.
        pattern.to_owned()
    } else {
        bare.to_string()
    };
    if text.is_empty() || bare.properties().maximum_len() == Some(0) {
        return Err(fail("", "it matches nothing but the empty text"));
    }
    // As a group, so that a flag or an alternation at the top stays inside.
    let grammar = TopLevelGrammar::from_regex(&format!("(?:{text})"));
    vocabulary
        .matcher(grammar)?
        .map_err(|message| fail("", &reason_of(&message)))
}

fn fail(place: &str, reason: &str) -> SamplingError {
    SamplingError::Regex {
        place: place.into(),
        reason: one_line(reason),
    }
}

fn syntax_error(error: &regex_syntax::Error) -> SamplingError {
    let at = |span: &ast::Span| {
        let start = span.start;
        if start.line > 1 {
            format!("line {}, character {}", start.line, start.column)
        } else {
            format!("character {}", start.column)
        }
    };
    match error {
        regex_syntax::Error::Parse(error) => fail(&at(error.span()), &error.kind().to_string()),
        regex_syntax::Error::Translate(error) => fail(&at(error.span()), &error.kind().to_string()),
        other => fail("", &other.to_string()),
    }
}

/// What is left of the engine's message without where it stands in the wrapping grammar.
fn reason_of(message: &str) -> String {
    let message = one_line(message);
    let reason = message
        .rsplit_once("): ")
        .map_or(&*message, |(_, rest)| rest);
    reason.to_owned()
}

/// Takes off the anchors of the text's start and end where they say nothing new, since the whole
/// text has to match anyway.
fn strip(hir: &Hir, at_start: bool, at_end: bool) -> Hir {
    match hir.kind() {
        HirKind::Look(Look::Start) if at_start => Hir::empty(),
        HirKind::Look(Look::End) if at_end => Hir::empty(),
        HirKind::Capture(group) => strip(&group.sub, at_start, at_end),
        HirKind::Alternation(branches) => Hir::alternation(
            branches
                .iter()
                .map(|branch| strip(branch, at_start, at_end))
                .collect(),
        ),
        HirKind::Concat(parts) => {
            // Of several anchors in a row all are at the edge.
            let is =
                |look| move |part: &&Hir| matches!(part.kind(), HirKind::Look(l) if *l == look);
            let starts = parts.iter().take_while(is(Look::Start)).count();
            let ends = parts.iter().rev().take_while(is(Look::End)).count();
            let last = parts.len() - ends.min(parts.len());
            let stripped = parts.iter().enumerate().map(|(index, part)| {
                strip(
                    part,
                    at_start && index <= starts,
                    at_end && index + 1 >= last,
                )
            });
            Hir::concat(stripped.collect())
        }
        _ => hir.clone(),
    }
}
