//! Embeddings.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Program;

pub fn embed(program: &Program) -> Result<()> {
    let value = program.json(&["embed", "A sentence."])?;
    let vector = first_vector(&value)
        .with_context(|| format!("`medley embed --json` printed no vector: {value}"))?;
    let norm = vector
        .iter()
        .map(|element| element * element)
        .sum::<f64>()
        .sqrt();
    ensure!(
        vector.len() == 384,
        "MiniLM has 384 dimensions, not {}",
        vector.len()
    );
    ensure!((norm - 1.0).abs() < 1e-4, "the vector's norm is {norm}");
    Ok(())
}

/// Depth-first search for an array of numbers.
fn first_vector(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Array(items) => match items.iter().map(Value::as_f64).collect::<Option<Vec<_>>>() {
            Some(numbers) if !numbers.is_empty() => Some(numbers),
            _ => items.iter().find_map(first_vector),
        },
        Value::Object(fields) => fields.values().find_map(first_vector),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn vectors_are_found_at_any_depth() {
        let value = json!({"data": [{"v": [0.5, 1]}]});
        assert_eq!(first_vector(&value), Some(vec![0.5, 1.0]));
        assert_eq!(first_vector(&json!({"a": []})), None);
    }
}
