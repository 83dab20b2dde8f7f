use std::path::PathBuf;

/// What can go wrong between a weight file and a tensor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The weight file has no tensor of this name.
    #[error(
        "{path}: the tensor `{name}` is missing; the file does not fit this architecture or is incomplete"
    )]
    MissingTensor {
        /// File or folder that was read.
        path: PathBuf,
        /// Name as it would stand in the file.
        name: String,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error(
        "tensor `{name}` has the shape {found:?} where the configuration asks for {expected:?}"
    )]
    Shape {
        /// Name as it stands in the file.
        name: String,
        /// Shape in the file, outermost first.
        found: Vec<usize>,
        /// Shape that the model expects.
        expected: Vec<usize>,
    },
    /// A configuration value that no block can be built from.
    #[error("model configuration: {0}")]
    Config(String),
    /// The KV cache cannot take more positions.
    #[error("the context holds {limit} tokens, but {needed} were asked for")]
    ContextFull {
        /// Largest number of positions.
        limit: usize,
        /// Positions that were asked for.
        needed: usize,
    },
    /// An error of the weight containers.
    #[error(transparent)]
    Format(#[from] medley_formats::FormatError),
    /// An error of the kernels.
    #[error(transparent)]
    Kernel(#[from] medley_kernels::KernelError),
    /// An error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
