//! Tensors, weights and shared neural blocks; the one crate that names candle.
