//! Golden cases and comparisons for the tests.
