//! Text that must follow a JSON schema, a regular expression or a grammar.
//!
//! A [`Constraint`] says before each token which ones may come ([`Constraint::mask`], for
//! [`crate::Sampler::sample`]) and is told which one did. The work is done by llguidance: an
//! Earley parser over lexemes that are derivatives of regular expressions, walked together with
//! the prefix tree of the vocabulary.

mod gbnf;
mod regex;
mod schema;
mod vocabulary;

use llguidance::Matcher;
use llguidance::api::TopLevelGrammar;
use serde_json::Value;

use crate::speculative::Guide;
use crate::{SamplingError, TokenMask};

pub use schema::embedded_schema;
pub use vocabulary::Vocabulary;

/// Deepest nesting of brackets in a grammar.
const DEEPEST_NESTING: usize = 100;

/// Which tokens may come next, over one text.
///
/// ```
/// use medley_sampling::{Constraint, Sampler, SamplerConfig, Vocabulary};
///
/// # fn main() -> Result<(), medley_sampling::SamplingError> {
/// // 256 tokens of one byte each, and one that ends the text.
/// let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
/// tokens.push(b"<end>".to_vec());
/// let mut special = vec![false; 257];
/// special[256] = true;
/// let vocabulary = Vocabulary::new(tokens, &special, &[256])?;
///
/// let mut constraint = Constraint::regex(&vocabulary, "(yes|no)!")?;
/// let mut sampler = Sampler::new(&SamplerConfig::default(), vocabulary.size())?;
/// let mut text = Vec::new();
/// while !constraint.is_done() {
///     let logits = vec![0.0; 257]; // of the model
///     let token = sampler.sample(&logits, Some(&constraint.mask()?))?;
///     constraint.accept(token.id)?;
///     text.push(token.id as u8);
/// }
/// assert!(text == b"yes!" || text == b"no!");
/// # Ok(())
/// # }
/// ```
pub struct Constraint {
    vocabulary: Vocabulary,
    matcher: Matcher,
    /// White space after a complete text would only delay its end.
    no_white_end: bool,
    done: bool,
    /// The next mask, where it was needed already to find out whether the text is complete.
    next: Option<TokenMask>,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint")
            .field("vocabulary", &self.vocabulary)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Clone for Constraint {
    fn clone(&self) -> Self {
        Self {
            vocabulary: self.vocabulary.clone(),
            // A shallow clone would share the lexer's tables behind a lock.
            matcher: self.matcher.deep_clone(),
            no_white_end: self.no_white_end,
            done: self.done,
            next: self.next.clone(),
        }
    }
}

impl Constraint {
    /// JSON that conforms to a schema. Properties come in the schema's order; an object that lists its properties has no
    /// others unless the schema says `additionalProperties`. Between the parts
    /// there may be one space, or a line break with up to 20 spaces: enough for the layouts that
    /// models have learnt, and too little for a weak model to go on with for ever.
    ///
    /// Supported are `type`, `enum`, `const`, `properties` and its kin, `items`, `prefixItems`,
    /// `minItems`, `maxItems`, `pattern`, `format`, `minLength`, `maxLength`, bounds of numbers,
    /// `multipleOf`, `anyOf`, `allOf`, `oneOf` where its branches exclude each other, and `$ref`
    /// within the schema.
    ///
    /// # Errors
    /// [`SamplingError::Schema`] with the place and what is wrong there.
    pub fn json_schema(vocabulary: &Vocabulary, schema: &Value) -> Result<Self, SamplingError> {
        let matcher = schema::compile(vocabulary, schema)?;
        Self::start(vocabulary, matcher, true)
    }

    /// Any JSON object.
    ///
    /// # Errors
    /// A vocabulary that no prefix tree can be made of.
    pub fn json_object(vocabulary: &Vocabulary) -> Result<Self, SamplingError> {
        Self::json_schema(vocabulary, &serde_json::json!({"type": "object"}))
    }

    /// Text that a regular expression (in the syntax of the `regex` crate) matches as a whole.
    ///
    /// # Errors
    /// [`SamplingError::Regex`] with the place and what is wrong there.
    pub fn regex(vocabulary: &Vocabulary, pattern: &str) -> Result<Self, SamplingError> {
        let matcher = regex::compile(vocabulary, pattern)?;
        Self::start(vocabulary, matcher, false)
    }

    /// Text that a grammar derives: llguidance's form of Lark (start rule `start`) or llama.cpp's
    /// GBNF (start rule `root`), told apart by how rules are written.
    ///
    /// # Errors
    /// [`SamplingError::Grammar`] with the place and what is wrong there.
    pub fn grammar(vocabulary: &Vocabulary, grammar: &str) -> Result<Self, SamplingError> {
        let converted;
        let is_gbnf = gbnf::is_gbnf(grammar);
        let mut lark = grammar;
        if is_gbnf {
            converted = gbnf::to_lark(grammar)?;
            lark = &converted;
        } else {
            check_nesting(grammar)?;
        }
        let compiled = vocabulary.matcher(TopLevelGrammar::from_lark(lark.to_owned()))?;
        // Places in a converted grammar would mislead.
        let matcher = compiled.map_err(|message| match place_of(&message) {
            Some((line, column, reason)) if !is_gbnf => SamplingError::Grammar {
                place: format!("line {line}, column {column}"),
                reason,
            },
            Some((_, _, reason)) => grammar_error(&reason),
            None => grammar_error(&message),
        })?;
        Self::start(vocabulary, matcher, false)
    }

    fn start(
        vocabulary: &Vocabulary,
        matcher: Matcher,
        no_white_end: bool,
    ) -> Result<Self, SamplingError> {
        let mut constraint = Self {
            vocabulary: vocabulary.clone(),
            matcher,
            no_white_end,
            done: false,
            next: None,
        };
        constraint.look_for_end()?;
        // A grammar without any text shows here, and not only with the first token.
        constraint.next = Some(constraint.mask()?);
        Ok(constraint)
    }

    /// The tokens that may come next: at least one. After the end, the tokens that end a turn.
    ///
    /// # Errors
    /// [`SamplingError::Constraint`] when the grammar has become too complex to follow.
    pub fn mask(&mut self) -> Result<TokenMask, SamplingError> {
        match &self.next {
            Some(mask) => Ok(mask.clone()),
            None if self.done => Ok(self.end_mask()),
            None => self.compute_mask(),
        }
    }

    /// Of the tokens that may come next those by which a text of JSON comes to its end soonest, as far as their spelling
    /// shows it: at least one. With it a model that would write for ever is made to end within its budget.
    ///
    /// # Errors
    /// As for [`Constraint::mask`].
    pub fn closing_mask(&mut self) -> Result<TokenMask, SamplingError> {
        let all = self.mask()?;
        let closing = self.vocabulary.closing()?;
        let in_text = closing.letters.iter().any(|&id| all.is_allowed(id));
        // A bracket within a text ends nothing; before a key, a quotation mark begins one.
        let order: &[_] = match in_text {
            true => &[&closing.special, &closing.text],
            false => &[
                &closing.special,
                &closing.bracket,
                &closing.text,
                &closing.joint,
            ],
        };
        for some in order {
            let mut mask = all.clone();
            mask.intersect(some);
            if !mask.is_empty() {
                return Ok(mask);
            }
        }
        Ok(all)
    }

    /// Takes in the token that came.
    ///
    /// # Errors
    /// [`SamplingError::NotAllowed`] for a token that the mask rules out; the constraint is
    /// unchanged then.
    pub fn accept(&mut self, id: u32) -> Result<(), SamplingError> {
        if self.vocabulary.end().contains(&id) {
            if !self.is_complete()? {
                return Err(SamplingError::NotAllowed { id });
            }
            self.done = true;
            self.next = None;
            return Ok(());
        }
        let known = (id as usize) < self.vocabulary.size();
        if self.done || !known || self.valid_prefix(&[id])? == 0 {
            return Err(SamplingError::NotAllowed { id });
        }
        self.next = None;
        let consumed = self.matcher.consume_token(id);
        consumed.map_err(|error| stuck(&error.to_string()))?;
        self.look_for_end()
    }

    /// Whether the text is complete and nothing but its end can follow.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the text may end here.
    ///
    /// # Errors
    /// As for [`Constraint::mask`].
    pub fn is_complete(&mut self) -> Result<bool, SamplingError> {
        let accepting = self.done
            || self
                .matcher
                .is_accepting()
                .map_err(|e| stuck(&e.to_string()))?;
        Ok(accepting)
    }

    /// How many of these tokens, from the first, would be accepted one after another. The
    /// constraint is unchanged. With it a draft is cut before the model looks at it.
    ///
    /// # Errors
    /// As for [`Constraint::mask`].
    pub fn valid_prefix(&mut self, tokens: &[u32]) -> Result<usize, SamplingError> {
        let known = tokens
            .iter()
            .take_while(|&&id| (id as usize) < self.vocabulary.size())
            .count();
        if self.done {
            return Ok(0);
        }
        self.matcher
            .validate_tokens(&tokens[..known])
            .map_err(|error| stuck(&error.to_string()))
    }

    /// Tokens that must come next whatever the model says, so that it need not be asked. Always
    /// empty without [`Vocabulary::with_tokenizer`]. They still have to be accepted.
    pub fn forced(&mut self) -> Vec<u32> {
        if self.done {
            return Vec::new();
        }
        self.matcher.compute_ff_tokens()
    }

    fn compute_mask(&mut self) -> Result<TokenMask, SamplingError> {
        let set = self.matcher.compute_mask_or_eos();
        let set = set.map_err(|error| stuck(&error.to_string()))?;
        let mut mask = vocabulary::mask(set, self.vocabulary.size());
        if self.no_white_end && self.is_complete()? {
            mask.subtract(self.vocabulary.white()?);
        }
        if mask.is_empty() {
            return Err(stuck("no token can continue the text"));
        }
        Ok(mask)
    }

    /// Ends the text when only the end can follow. The mask that this needs is kept.
    fn look_for_end(&mut self) -> Result<(), SamplingError> {
        if self.matcher.is_stopped() {
            if self.matcher.is_error() {
                return Err(stuck(&self.matcher.get_error().unwrap_or_default()));
            }
            self.done = true;
        } else if self.is_complete()? {
            let mask = self.compute_mask()?;
            let mut others = mask.clone();
            others.subtract(&self.end_mask());
            self.done = others.is_empty();
            self.next = Some(mask);
        }
        Ok(())
    }

    fn end_mask(&self) -> TokenMask {
        TokenMask::of(self.vocabulary.end(), self.vocabulary.size())
    }
}

impl Guide for Constraint {
    fn mask(&mut self) -> Result<Option<TokenMask>, SamplingError> {
        Constraint::mask(self).map(Some)
    }

    fn accept(&mut self, id: u32) -> Result<bool, SamplingError> {
        Constraint::accept(self, id)?;
        Ok(self.is_done())
    }
}

/// Keeps hostile grammars from overflowing the stack of the grammar's parser, which recurses.
fn check_nesting(grammar: &str) -> Result<(), SamplingError> {
    for (line, text) in (1..).zip(grammar.lines()) {
        let mut depth = 0usize;
        for byte in text.bytes() {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEEPEST_NESTING {
                return Err(SamplingError::Grammar {
                    place: format!("line {line}"),
                    reason: format!("brackets nest deeper than {DEEPEST_NESTING}"),
                });
            }
        }
    }
    Ok(())
}

fn grammar_error(message: &str) -> SamplingError {
    SamplingError::Grammar {
        place: String::new(),
        reason: one_line(message),
    }
}

fn stuck(message: &str) -> SamplingError {
    SamplingError::Constraint {
        reason: one_line(message),
    }
}

/// The engine's messages begin with what is wrong; excerpts and traces follow on further lines,
/// and for a regular expression what is wrong with it.
fn one_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|l| !l.is_empty());
    let first = lines.next().unwrap_or("unknown").trim_end_matches(':');
    match lines.find_map(|line| line.strip_prefix("error: ")) {
        Some(detail) => format!("{first}: {detail}"),
        None => first.to_owned(),
    }
}

/// Line, column and the rest of a message of the form `at 3(7): …` or `3(7): …`.
fn place_of(message: &str) -> Option<(usize, usize, String)> {
    let message = one_line(message);
    let rest = message.strip_prefix("at ").unwrap_or(&message);
    let (line, rest) = rest.split_once('(')?;
    let (column, reason) = rest.split_once("): ")?;
    let reason = match reason {
        "lexer error" => "nothing that a grammar may contain begins here",
        reason => reason,
    };
    Some((line.parse().ok()?, column.parse().ok()?, reason.to_owned()))
}
