use serde_json::json;

use crate::args::Global;
use crate::output::{Outcome, print_json, print_now};

/// `medley doctor`
pub fn run(global: &Global) -> Outcome {
    let report = medley_engine::doctor::look();
    if global.json {
        return print_json(&json!(report));
    }
    Ok(print_now(&report.describe())?)
}
