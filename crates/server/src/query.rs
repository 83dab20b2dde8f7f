//! What stands behind the `?` of an address.

use std::collections::HashMap;

use axum::extract::Query;
use axum::http::Uri;
use medley_types::Medium;
use serde_json::Value;

use crate::error::{Answer, ApiError};

/// Items of a list where no number is asked for, and at most.
const USUAL: usize = 20;
const MOST: usize = 100;

/// The parameters of an address; empty ones count as absent.
pub(crate) struct Parameters(HashMap<String, String>);

impl Parameters {
    pub(crate) fn of(uri: &Uri) -> Answer<Self> {
        let wrong = |_| ApiError::invalid(None, "The address's query cannot be read.");
        let Query(map) = Query::try_from_uri(uri).map_err(wrong)?;
        Ok(Self(map))
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|text| !text.is_empty()).cloned()
    }

    /// How many items are asked for.
    pub(crate) fn limit(&self) -> Answer<usize> {
        let Some(text) = self.text("limit") else {
            return Ok(USUAL);
        };
        match text.parse() {
            Ok(limit @ 1..=MOST) => Ok(limit),
            _ => Err(self.wrong("limit", &format!("it must be a number from 1 to {MOST}"))),
        }
    }

    pub(crate) fn medium(&self) -> Answer<Option<Medium>> {
        let Some(text) = self.text("medium") else {
            return Ok(None);
        };
        let medium = serde_json::from_value(Value::from(text));
        medium
            .map(Some)
            .map_err(|_| self.wrong("medium", "it must be text, image, speech, music or video"))
    }

    pub(crate) fn wrong(&self, name: &str, problem: &str) -> ApiError {
        let message = format!("Invalid value for '{name}': {problem}.");
        ApiError::invalid(Some("invalid_value"), message).about(name)
    }
}
