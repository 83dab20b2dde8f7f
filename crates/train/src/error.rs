/// What can end a training run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A loss or a gradient is no number.
    #[error(
        "step {step}: the {what} is {value}; a smaller learning rate or a longer warm-up may help"
    )]
    NotFinite {
        /// The step that was given up.
        step: u64,
        /// Loss or norm of the gradient.
        what: &'static str,
        /// What it was.
        value: f64,
    },
    /// Saved state that does not fit this run.
    #[error("{0}")]
    State(String),
    /// A setting that no run can have.
    #[error("{0}")]
    Setting(String),
    /// An error of tensors and blocks.
    #[error(transparent)]
    Nn(#[from] medley_nn::Error),
    /// An error of a model.
    #[error(transparent)]
    Model(#[from] medley_models::ConfigError),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
