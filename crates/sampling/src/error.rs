use thiserror::Error;

/// What can go wrong while choosing tokens. Every message is one line.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SamplingError {
    /// A sampling parameter is outside its range.
    #[error("{parameter} is {value}, but it must be {allowed}")]
    OutOfRange {
        /// The field of the configuration.
        parameter: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        allowed: &'static str,
    },
    /// A parameter names a token that the vocabulary does not have.
    #[error("{parameter} names token {id}, but the vocabulary ends at token {last}")]
    UnknownToken {
        /// The field of the configuration.
        parameter: &'static str,
        /// The token that was named.
        id: u32,
        /// The highest token id there is.
        last: u32,
    },
    /// The vocabulary has no token, or more than 2^32.
    #[error("a vocabulary of {size} tokens cannot be sampled: it must have 1 to 4294967295")]
    VocabularySize {
        /// The size that was given.
        size: usize,
    },
    /// A row of logits does not have the vocabulary's width.
    #[error("{got} logits were given, but the vocabulary has {expected} tokens")]
    LogitCount {
        /// How many logits came.
        got: usize,
        /// How many were expected.
        expected: usize,
    },
    /// A logit is NaN or +∞: the model's output is broken.
    #[error(
        "the model gave the logit {value} for token {id}: every logit must be finite, or -inf for a token that cannot be chosen"
    )]
    BadLogit {
        /// The token.
        id: u32,
        /// `NaN` or `inf`.
        value: String,
    },
    /// A vocabulary that constraints cannot be made over.
    #[error("the vocabulary cannot be used for constraints: {reason}")]
    Vocabulary {
        /// What is wrong with it.
        reason: String,
    },
    /// A JSON schema that is invalid, unsatisfiable or beyond what is supported.
    #[error("the JSON schema is wrong{}: {reason}", at(place))]
    Schema {
        /// A JSON pointer; empty for the whole schema.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// A regular expression that is invalid or beyond what is supported.
    #[error("the regular expression is wrong{}: {reason}", at(place))]
    Regex {
        /// The character, counted from 1; empty when unknown.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// A grammar that is invalid or beyond what is supported.
    #[error("the grammar is wrong{}: {reason}", at(place))]
    Grammar {
        /// Line and column, counted from 1; empty when unknown.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// A constraint cannot be followed any further.
    #[error("the constraint cannot be followed: {reason}")]
    Constraint {
        /// Why.
        reason: String,
    },
    /// A constraint was given a token that it does not allow.
    #[error("token {id} is not allowed here by the constraint")]
    NotAllowed {
        /// The token.
        id: u32,
    },
    /// Constraint, bias and model together leave no token to choose.
    #[error(
        "no token can be chosen: the constraint, the logit bias and the model together rule out all of them"
    )]
    NothingAllowed,
}

fn at(place: &str) -> String {
    if place.is_empty() {
        String::new()
    } else {
        format!(" at {place}")
    }
}
