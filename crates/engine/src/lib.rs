//! Catalog, pull, and everything that keeps works and models.
//!
//! [`Store`] finds models by name, file, folder or hub reference and fetches those of the [`Catalog`]; [`Home`] says
//! where they are kept. Errors carry a machine-readable code and a hint: [`EngineError`].

pub mod catalog;
mod error;
pub mod fetch;
pub mod home;
pub mod manifest;
pub mod pull;
pub mod store;

pub use catalog::{Catalog, ModelEntry};
pub use error::{EngineError, Result};
pub use fetch::hub::Hub;
pub use fetch::{CancelFlag, Limits};
pub use home::Home;
pub use pull::{PullEvent, PullOptions, PullStage};
pub use store::{Details, Installed, Resolved, Store};
