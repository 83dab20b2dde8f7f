use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One of the works that were made of a brief, which no single model made: what makes it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateRequest {
    /// The whole plan, as `plan.json` holds it.
    pub plan: Value,
    /// The work's id in it.
    pub work: String,
    /// SHA-256 of the files that it was made of, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
}
