use std::sync::{Arc, OnceLock};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{
    InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenizerEnv,
};
use llguidance::{Matcher, ParserFactory, panic_utils};

use super::one_line;
use crate::{SamplingError, TokenMask};

/// Tokens longer than this cannot be stored in the prefix tree; no text needs them.
const LONGEST_TOKEN: usize = 1000;
/// The prefix tree numbers tokens with 24 bits.
const MOST_TOKENS: usize = (1 << 24) - 2;

/// Sets of tokens that are allowed all at once, without looking at each, inside a JSON string that
/// is still free for as many characters. Each set takes three more prefix trees: llguidance's own
/// choice of four takes twice the time for little.
const SLICES: [&str; 2] = [r#"[^"\\\x00-\x1F\x7F]{1,10}"#, r#"[^"\\\x00-\x1F\x7F]+"#];

/// Cuts bytes into tokens.
type Tokenize = dyn Fn(&[u8]) -> Vec<u32> + Send + Sync;

/// A model's tokens as constraints see them. Cloning is cheap, and clones share the prefix tree,
/// which the first constraint builds; keep one per model.
#[derive(Clone)]
pub struct Vocabulary {
    shared: Arc<Shared>,
}

struct Shared {
    words: Vec<Vec<u8>>,
    end: Vec<u32>,
    tokenize: Option<Arc<Tokenize>>,
    engine: OnceLock<Result<Engine, SamplingError>>,
}

/// The prefix tree and what is derived from it.
struct Engine {
    factory: ParserFactory,
    white: TokenMask,
    closing: Closing,
}

/// Tokens by which JSON comes to its end.
pub(super) struct Closing {
    /// Special ones: marks, and the end.
    pub(super) special: TokenMask,
    /// Those that end a text, and perhaps what it stands in.
    pub(super) text: TokenMask,
    /// Those that end objects and lists.
    pub(super) bracket: TokenMask,
    /// Those that lead from one part to the next.
    pub(super) joint: TokenMask,
    /// Letters, which are allowed within texts alone.
    pub(super) letters: Vec<u32>,
}

impl Closing {
    fn new(words: &[Vec<u8>], end: &[u32]) -> Self {
        let none = || TokenMask::none(words.len());
        let mut closing = Self {
            special: TokenMask::of(end, words.len()),
            text: none(),
            bracket: none(),
            joint: none(),
            letters: Vec::new(),
        };
        for (id, word) in (0u32..).zip(words) {
            let of = |bytes: &[u8]| word.iter().all(|byte| bytes.contains(byte));
            match word.as_slice() {
                [] => {}
                [first, ..] if *first == TokTrie::SPECIAL_TOKEN_MARKER => closing.special.allow(id),
                [b'"', rest @ ..] if rest.iter().all(|b| b"]}".contains(b)) => {
                    closing.text.allow(id);
                }
                _ if of(b"]}") => closing.bracket.allow(id),
                _ if of(b"]}[{\",: ") && !of(b" ") => closing.joint.allow(id),
                [b'q' | b'z'] => closing.letters.push(id),
                _ => {}
            }
        }
        closing
    }
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocabulary")
            .field("tokens", &self.shared.words.len())
            .field("end", &self.shared.end)
            .finish_non_exhaustive()
    }
}

impl Vocabulary {
    /// `tokens[id]` are the bytes that token `id` stands for, or its name where `special[id]` is
    /// set: special tokens come into a text only where a grammar names them. `end` are the tokens
    /// that end the model's turn. Nothing is built yet.
    ///
    /// # Errors
    /// No token, too many, `special` of another length, no end, or one outside the vocabulary.
    pub fn new(
        mut tokens: Vec<Vec<u8>>,
        special: &[bool],
        end: &[u32],
    ) -> Result<Self, SamplingError> {
        let size = tokens.len();
        if size == 0 || size > MOST_TOKENS || special.len() != size {
            let marks = special.len();
            return Err(SamplingError::Vocabulary {
                reason: format!(
                    "{size} tokens and {marks} marks of special ones were given, but there must \
                     be as many of both, 1 to {MOST_TOKENS}"
                ),
            });
        }
        if end.is_empty() {
            return Err(SamplingError::Vocabulary {
                reason: "no token ends the model's turn, but a constrained text must end".into(),
            });
        }
        if let Some(&id) = end.iter().find(|&&id| id as usize >= size) {
            return Err(SamplingError::UnknownToken {
                parameter: "the end of the turn",
                id,
                last: (size - 1) as u32,
            });
        }
        for ((id, token), &special) in (0u32..).zip(&mut tokens).zip(special) {
            let special = special || end.contains(&id);
            let marker = TokTrie::SPECIAL_TOKEN_MARKER;
            if token.len() > LONGEST_TOKEN || (!special && token.first() == Some(&marker)) {
                // 0xFF starts no character: such a token has no place in a text.
                token.clear();
            } else if special && !token.is_empty() {
                token.insert(0, marker);
            }
        }
        Ok(Self {
            shared: Arc::new(Shared {
                words: tokens,
                end: end.to_vec(),
                tokenize: None,
                engine: OnceLock::new(),
            }),
        })
    }

    /// Adds the model's own way of cutting bytes into tokens. Bytes that a constraint leaves no
    /// choice about are then cut as the model has learnt it, and [`super::Constraint::forced`]
    /// knows them ahead. The ids must stand for just the given bytes: no start token, no added
    /// space; where they do not, the longest tokens are taken.
    pub fn with_tokenizer(
        self,
        tokenize: impl Fn(&[u8]) -> Vec<u32> + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                words: self.shared.words.clone(),
                end: self.shared.end.clone(),
                tokenize: Some(Arc::new(tokenize)),
                engine: OnceLock::new(),
            }),
        }
    }

    /// The number of tokens.
    pub fn size(&self) -> usize {
        self.shared.words.len()
    }

    /// The tokens that end the model's turn.
    pub fn end(&self) -> &[u32] {
        &self.shared.end
    }

    /// Builds the prefix tree now, which otherwise the first constraint does.
    ///
    /// # Errors
    /// Tokens that no prefix tree can be made of.
    pub fn prepare(&self) -> Result<(), SamplingError> {
        self.engine().map(|_| ())
    }

    /// The tokens that are nothing but white space of JSON.
    pub(super) fn white(&self) -> Result<&TokenMask, SamplingError> {
        Ok(&self.engine()?.white)
    }

    /// The tokens by which JSON comes to its end.
    pub(super) fn closing(&self) -> Result<&Closing, SamplingError> {
        Ok(&self.engine()?.closing)
    }

    /// A matcher for a grammar, or the engine's message.
    pub(super) fn matcher(
        &self,
        grammar: TopLevelGrammar,
    ) -> Result<Result<Matcher, String>, SamplingError> {
        let factory = &self.engine()?.factory;
        let compile = || Matcher::new(factory.create_parser(grammar));
        let matcher = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(256 << 20);
            let running = thread.spawn_scoped(scope, compile);
            running.ok().and_then(|running| running.join().ok())
        });
        let Some(matcher) = matcher else {
            return Err(super::stuck("no thread to compile it could be started"));
        };
        Ok(match matcher.get_error() {
            Some(message) => Err(message),
            None => Ok(matcher),
        })
    }

    fn engine(&self) -> Result<&Engine, SamplingError> {
        let built = self.shared.engine.get_or_init(|| self.build());
        built.as_ref().map_err(Clone::clone)
    }

    fn build(&self) -> Result<Engine, SamplingError> {
        let Shared {
            words,
            end,
            tokenize,
            ..
        } = &*self.shared;
        let failed = |reason: String| SamplingError::Vocabulary {
            reason: one_line(&reason),
        };
        let mut white = TokenMask::none(words.len());
        for (id, word) in (0u32..).zip(words) {
            if !word.is_empty() && word.iter().all(|byte| b" \t\r\n".contains(byte)) {
                white.allow(id);
            }
        }
        // The tree's builder asserts what it cannot hold.
        let factory = panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let info = TokRxInfo::new(words.len() as u32, end[0]);
            let tree = TokTrie::from(&info, words).with_eos_tokens(end);
            let env: TokEnv = Arc::new(Tokens {
                tree,
                tokenize: tokenize.clone(),
            });
            let capabilities = InferenceCapabilities {
                ff_tokens: tokenize.is_some(),
                ..InferenceCapabilities::default()
            };
            let slices = SLICES.map(str::to_owned);
            ParserFactory::new(&env, capabilities, &slices)
        }));
        let mut factory = factory.map_err(|error| failed(error.to_string()))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        let closing = Closing::new(words, end);
        Ok(Engine {
            factory,
            white,
            closing,
        })
    }
}

/// The vocabulary as the engine wants it.
struct Tokens {
    tree: TokTrie,
    tokenize: Option<Arc<Tokenize>>,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.tree
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        if let Some(tokenize) = &self.tokenize {
            let ids = tokenize(bytes);
            let mut rest = bytes;
            let fits = ids.iter().all(|&id| {
                let word = self.tree.token(id);
                let next = rest.strip_prefix(word);
                rest = next.unwrap_or(rest);
                !word.is_empty() && next.is_some()
            });
            if fits && rest.is_empty() {
                return ids;
            }
        }
        self.tree.greedy_tokenize(bytes)
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.tokenize.is_some()
    }
}

/// The engine's set of tokens as ours.
pub(super) fn mask(set: SimpleVob, size: usize) -> TokenMask {
    TokenMask::from_words(set.into(), size)
}
