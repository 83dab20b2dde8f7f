//! The generators, one module per medium.
//!
//! Text through the library alone:
//!
//! ```no_run
//! use medley_pipelines::text::{LoadOptions, TextModel};
//! use medley_pipelines::{Run, TextGenerator};
//! use medley_types::{Message, Prompt, TextRequest};
//!
//! # fn main() -> Result<(), medley_pipelines::PipelineError> {
//! let model = TextModel::load("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref(), &LoadOptions::default())?;
//! let prompt = Prompt::Messages(vec![Message::new("user", "Name three rivers.")]);
//! let request = TextRequest {
//!     max_tokens: Some(40),
//!     ..TextRequest::new("smollm2-135m", prompt, 1)
//! };
//! let work = model.generate(&request, &mut Run::quiet())?;
//! assert!(work.tokens <= 40);
//! # Ok(())
//! # }
//! ```

pub mod embed;
mod error;
pub mod image;
pub mod music;
mod run;
pub mod speech;
pub mod text;
pub mod transcript;
pub mod video;

pub use error::PipelineError;
pub use run::{CancelToken, Run, TextGenerator};
pub use speech::SpeechGenerator;
pub use transcript::Listener;
pub use video::VideoGenerator;
