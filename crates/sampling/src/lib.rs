//! Token filters and samplers, constrained output.
