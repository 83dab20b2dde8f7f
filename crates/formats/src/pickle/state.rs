//! From the value that a checkpoint holds to named tensors.

use std::collections::HashSet;

use super::limit;
use super::node::{Id, Node, TensorRecord};
use super::vm::Machine;
use crate::error::{Problem, quote};

/// Keys under which training programs keep the weights beside epochs, optimisers and settings, in
/// the order of preference (`params_ema` before `params`: averaged weights are the published ones).
const WRAPPERS: [&str; 9] = [
    "state_dict",
    "model_state_dict",
    "params_ema",
    "params",
    "model",
    "module",
    "net",
    "generator",
    "weights",
];

/// All tensors below `root` with their names.
///
/// The keys on the way to a tensor are joined with dots. Where the root has no tensors of its own but
/// one of [`WRAPPERS`] with a dictionary of tensors, that dictionary is taken instead of the root.
pub(super) fn named_tensors(
    machine: &Machine,
    root: Id,
) -> Result<Vec<(String, TensorRecord)>, Problem> {
    let mut walk = Walk {
        machine,
        found: Vec::new(),
        names: HashSet::new(),
        path: Vec::new(),
        visits: 0,
    };
    walk.visit(unwrap_state(machine, root), "")?;
    if walk.found.is_empty() {
        return Err(Problem::invalid(
            "the checkpoint",
            "without any tensor",
            "a state dict, as torch.save(model.state_dict(), …) writes it",
        ));
    }
    Ok(walk.found)
}

fn has_tensors(machine: &Machine, id: Id) -> bool {
    match machine.node(id) {
        Node::Dict(pairs) => pairs
            .iter()
            .any(|&(_, value)| matches!(machine.node(value), Node::Tensor(_))),
        _ => false,
    }
}

fn unwrap_state(machine: &Machine, root: Id) -> Id {
    let Node::Dict(pairs) = machine.node(root) else {
        return root;
    };
    if has_tensors(machine, root) {
        return root;
    }
    let named = |wrapper: &str| {
        pairs.iter().rev().find_map(|&(key, value)| {
            let is_key = matches!(machine.node(key), Node::Str(key) if &**key == wrapper);
            (is_key && has_tensors(machine, value)).then_some(value)
        })
    };
    WRAPPERS.iter().find_map(|w| named(w)).unwrap_or(root)
}

struct Walk<'a> {
    machine: &'a Machine,
    found: Vec<(String, TensorRecord)>,
    names: HashSet<String>,
    /// The containers that are being walked, outermost first.
    path: Vec<Id>,
    visits: u64,
}

impl Walk<'_> {
    fn visit(&mut self, id: Id, name: &str) -> Result<(), Problem> {
        // Names repeat their path and count as work.
        self.visits += 1 + name.len() as u64 / 8;
        Problem::check_limit(
            "the number of values in the checkpoint",
            self.visits,
            limit::VISITS,
        )?;
        let machine = self.machine;
        match machine.node(id) {
            &Node::Tensor(index) => self.tensor(index, name),
            Node::Dict(pairs) => {
                self.enter(id, name)?;
                for &(key, value) in pairs {
                    if self.may_hold_tensors(value) {
                        let name = join(name, &self.key(key, name)?);
                        self.visit(value, &name)?;
                    }
                }
                self.path.pop();
                Ok(())
            }
            Node::List(items) => self.items(id, items, name),
            Node::Tuple(items) => self.items(id, items, name),
            _ => Ok(()),
        }
    }

    fn items(&mut self, id: Id, items: &[Id], name: &str) -> Result<(), Problem> {
        self.enter(id, name)?;
        for (i, &item) in items.iter().enumerate() {
            if self.may_hold_tensors(item) {
                self.visit(item, &join(name, &i.to_string()))?;
            }
        }
        self.path.pop();
        Ok(())
    }

    fn may_hold_tensors(&mut self, id: Id) -> bool {
        self.visits += 1;
        matches!(
            self.machine.node(id),
            Node::Tensor(_) | Node::Dict(_) | Node::List(_) | Node::Tuple(_)
        )
    }

    fn enter(&mut self, id: Id, name: &str) -> Result<(), Problem> {
        if self.path.contains(&id) {
            return Err(Problem::invalid(
                format!("the value at {}", quote(name)),
                "a container that contains itself",
                "a tree",
            ));
        }
        self.path.push(id);
        Problem::check_limit(
            "the depth of containers in the checkpoint",
            self.path.len() as u64,
            limit::DEPTH as u64,
        )
    }

    fn key(&self, id: Id, name: &str) -> Result<String, Problem> {
        match self.machine.node(id) {
            Node::Str(key) => Ok(key.to_string()),
            Node::Int(key) => Ok(key.to_string()),
            Node::Float(key) => Ok(key.to_string()),
            Node::Bool(key) => Ok(key.to_string()),
            Node::None => Ok("None".to_owned()),
            other => Err(Problem::invalid(
                format!("a key of the dictionary at {}", quote(name)),
                other.kind(),
                "a string or number",
            )),
        }
    }

    fn tensor(&mut self, index: u32, name: &str) -> Result<(), Problem> {
        let Some(record) = self.machine.tensor(index) else {
            return Ok(());
        };
        let name = if name.is_empty() { "tensor" } else { name };
        self.visits += record.shape.len() as u64;
        // Tied weights are found under several names, but lists that share lists, which share lists,
        // would give one tensor a name for each of exponentially many paths.
        let made = self.machine.tensor_count() as u64;
        Problem::check_limit(
            format!("the number of names that the checkpoint gives its {made} tensors"),
            self.found.len() as u64 + 1,
            made.saturating_mul(limit::NAMES).saturating_add(1024),
        )?;
        if !self.names.insert(name.to_owned()) {
            return Err(Problem::Duplicate {
                what: "tensor",
                name: name.to_owned(),
            });
        }
        self.found.push((name.to_owned(), record.clone()));
        Ok(())
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        return key.to_owned();
    }
    format!("{path}.{key}")
}
