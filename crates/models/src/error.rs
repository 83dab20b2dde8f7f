/// Why a configuration describes no model that can be built.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No architecture of this name is implemented.
    #[error("unknown architecture `{name}`; implemented are {known}")]
    UnknownArchitecture {
        /// Name in the file.
        name: String,
        /// Names that would do.
        known: String,
    },
    /// A value is missing.
    #[error("the configuration lacks `{key}`")]
    Missing {
        /// Key in the file.
        key: String,
    },
    /// A value cannot be used.
    #[error("the configuration has `{key}` = {found}, but {expected}")]
    Invalid {
        /// Key in the file.
        key: String,
        /// Value in the file.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A low-rank adapter that does not fit.
    #[error("the adapter's {part} {problem}")]
    Adapter {
        /// Layer, tensor or setting.
        part: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// An error while layers were made or run.
    #[error(transparent)]
    Nn(#[from] medley_nn::Error),
}

/// Result of this crate.
pub type Result<T, E = ConfigError> = std::result::Result<T, E>;

impl From<medley_nn::TensorError> for ConfigError {
    fn from(error: medley_nn::TensorError) -> Self {
        Self::Nn(error.into())
    }
}

impl ConfigError {
    pub(crate) fn adapter(part: &str, problem: impl Into<String>) -> Self {
        Self::Adapter {
            part: part.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn missing(key: &str) -> Self {
        Self::Missing {
            key: key.to_owned(),
        }
    }

    pub(crate) fn invalid(key: &str, found: impl ToString, expected: &str) -> Self {
        Self::Invalid {
            key: key.to_owned(),
            found: found.to_string(),
            expected: expected.to_owned(),
        }
    }
}
