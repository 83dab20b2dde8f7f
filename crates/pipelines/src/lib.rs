//! The generators, one module per medium.
