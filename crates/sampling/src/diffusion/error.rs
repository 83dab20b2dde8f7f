use thiserror::Error;

/// What can go wrong while denoising. Every message is one line.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum DiffusionError {
    /// A name that stands for nothing.
    #[error("there is no {kind} {name:?}; there are {known}")]
    UnknownName {
        /// What was to be named, such as `sampler`.
        kind: &'static str,
        /// What was given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A setting is outside its range.
    #[error("{parameter} is {value}, but it must be {allowed}")]
    OutOfRange {
        /// The setting.
        parameter: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        allowed: String,
    },
    /// The sampler cannot drive this kind of model.
    #[error("the sampler {sampler} cannot sample a {kind} model; for it there are {known}")]
    WrongSampler {
        /// The sampler's name.
        sampler: &'static str,
        /// `flow` or `diffusion`.
        kind: &'static str,
        /// The names that would do.
        known: String,
    },
    /// A setting that this sampler does not have.
    #[error("the sampler {sampler} has no {setting}")]
    NoSuchSetting {
        /// The sampler's name.
        sampler: &'static str,
        /// The setting that was given.
        setting: &'static str,
    },
    /// Two slices that must agree in length do not.
    #[error("{what} has {got} values, but {expected} are expected")]
    Length {
        /// Which slice.
        what: &'static str,
        /// How many values it has.
        got: usize,
        /// How many it must have.
        expected: usize,
    },
    /// The model's output is broken.
    #[error(
        "the model's output is {value} at value {index} of evaluation {evaluation}: it must be finite"
    )]
    NotFinite {
        /// Which evaluation, counted from 1.
        evaluation: usize,
        /// Where in the output.
        index: usize,
        /// `NaN`, `inf` or `-inf`.
        value: String,
    },
    /// A step after the last one.
    #[error("all {evaluations} evaluations are done: start anew for another sample")]
    Finished {
        /// How many there were.
        evaluations: usize,
    },
}

/// [`DiffusionError::OutOfRange`] unless `valid`.
pub(crate) fn in_range(
    valid: bool,
    parameter: &'static str,
    value: impl ToString,
    allowed: impl Into<String>,
) -> Result<(), DiffusionError> {
    if valid {
        return Ok(());
    }
    Err(DiffusionError::OutOfRange {
        parameter,
        value: value.to_string(),
        allowed: allowed.into(),
    })
}

/// [`DiffusionError::Length`] unless `got` is `expected`.
pub(crate) fn same_length(
    what: &'static str,
    got: usize,
    expected: usize,
) -> Result<(), DiffusionError> {
    if got == expected {
        return Ok(());
    }
    Err(DiffusionError::Length {
        what,
        got,
        expected,
    })
}
