//! Catalog, pull, and everything that keeps works and models.
