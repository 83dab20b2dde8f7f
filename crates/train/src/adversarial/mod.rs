//! What all training of two networks against each other shares: losses, the penalty on the discriminator's gradient,
//! and adaptive augmentation.

mod augment;
mod critic;
mod loss;
mod penalty;

pub use augment::{Adaptive, Augmentation, Distortion, distort};
pub use critic::{Critic, Judged};
pub use loss::AdversarialLoss;
pub use penalty::{input_gradient, r1};
