//! How near drawn pictures come to real ones, by the features of a scorer, and whether they are copies.
//!
//! - [`frechet`]: the distance of two sets of features, taken as Gaussians;
//! - [`kernel_distance`]: one that does not grow where there are few of them;
//! - [`retrieve`]: whether each picture finds its caption among others;
//! - [`nearest`]: what of the pictures that were learned from lies nearest.

mod eigen;
mod frechet;
mod kernel;
mod neighbours;
mod retrieval;

pub use frechet::{Gaussian, frechet};
pub use kernel::kernel_distance;
pub use neighbours::{Spread, nearest};
pub use retrieval::{Retrieval, retrieve, similarity};
