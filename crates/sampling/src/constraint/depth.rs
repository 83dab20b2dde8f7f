//! How deep the engine's compilers will recurse, found without recursion.
//!
//! They follow references depth first, on the stack. A hostile grammar or schema of some thousand
//! rules in a row would overflow it, which no error handling can catch.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::SamplingError;

/// Deepest chain of rules or of nested and referenced schemas. The threads that compile have the
/// stack for many times this ([`super::vocabulary`]).
pub(super) const DEEPEST_CHAIN: usize = 500;
/// Deepest nesting of brackets in a grammar.
pub(super) const DEEPEST_NESTING: usize = 100;

/// The depth of a depth-first walk from `root`, in the order of the references.
pub(super) fn chain(references: &[Vec<usize>], root: usize) -> usize {
    let mut seen = vec![false; references.len()];
    let mut path: Vec<std::slice::Iter<usize>> = Vec::new();
    let mut deepest = 0;
    let mut enter = Some(root);
    loop {
        if let Some(place) = enter.take()
            && let Some(next) = references.get(place)
            && !std::mem::replace(&mut seen[place], true)
        {
            path.push(next.iter());
            deepest = deepest.max(path.len());
        }
        let Some(top) = path.last_mut() else {
            return deepest;
        };
        match top.next() {
            Some(&place) => enter = Some(place),
            None => {
                path.pop();
            }
        }
    }
}

/// The depth of a schema, through its references.
pub(super) fn schema(root: &Value) -> usize {
    let mut followed = HashSet::new();
    let mut open = vec![(root, 1)];
    let mut deepest = 0;
    while let Some((node, depth)) = open.pop() {
        deepest = deepest.max(depth);
        if deepest > DEEPEST_CHAIN {
            break;
        }
        match node {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(map) => {
                open.extend(map.values().map(|value| (value, depth + 1)));
                let target = map.get("$ref").and_then(Value::as_str);
                let pointer = target.and_then(|target| target.strip_prefix('#'));
                if let Some(pointer) = pointer
                    && followed.insert((pointer, depth / 8))
                    && let Some(part) = root.pointer(pointer)
                {
                    open.push((part, depth + 1));
                }
            }
            _ => {}
        }
    }
    deepest
}
