//! The stack machine: what values are made of which others.

use std::collections::HashMap;

use super::globals::{self, Global};
use super::limit;
use super::node::{Id, Node, StorageRecord, TensorRecord};
use crate::dtype::DType;
use crate::error::{Problem, quote};

/// State of the machine. Values, storages and tensors stay when a program ends, so that several
/// programs of one file can follow each other.
#[derive(Default)]
pub(super) struct Machine {
    nodes: Vec<Node>,
    pub(super) storages: Vec<StorageRecord>,
    storage_index: HashMap<String, u32>,
    tensors: Vec<TensorRecord>,
    stack: Vec<Id>,
    /// Heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    steps: u64,
}

/// The message for a program that does not follow the rules of pickling.
pub(super) fn broken(what: impl Into<String>, found: impl ToString, expected: &str) -> Problem {
    Problem::invalid(what, found, expected)
}

impl Machine {
    pub(super) fn node(&self, id: Id) -> &Node {
        // Every id was handed out by `make`.
        self.nodes.get(id as usize).unwrap_or(&Node::None)
    }

    pub(super) fn tensor(&self, index: u32) -> Option<&TensorRecord> {
        self.tensors.get(index as usize)
    }

    pub(super) fn tensor_count(&self) -> usize {
        self.tensors.len()
    }

    /// Clears what belongs to one program.
    pub(super) fn start(&mut self) {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
    }

    /// Counts work, so that a short program cannot ask for much of it.
    pub(super) fn charge(&mut self, steps: u64) -> Result<(), Problem> {
        self.steps = self.steps.saturating_add(steps);
        Problem::check_limit(
            "the number of steps of the pickle",
            self.steps,
            limit::STEPS,
        )
    }

    fn make(&mut self, node: Node) -> Result<Id, Problem> {
        let id = Id::try_from(self.nodes.len());
        let id = id.map_err(|_| broken("the number of values", "above 2^32", "smaller"))?;
        self.nodes.push(node);
        Ok(id)
    }

    pub(super) fn push(&mut self, node: Node) -> Result<(), Problem> {
        let id = self.make(node)?;
        self.stack.push(id);
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<Id, Problem> {
        if self.stack.len() > self.floor()
            && let Some(id) = self.stack.pop()
        {
            return Ok(id);
        }
        Err(broken(
            "the pickle's stack",
            "empty",
            "holding a value here",
        ))
    }

    pub(super) fn top(&self) -> Result<Id, Problem> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => Err(broken(
                "the pickle's stack",
                "empty",
                "holding a value here",
            )),
        }
    }

    pub(super) fn mark(&mut self) {
        self.marks.push(self.stack.len());
    }

    /// Values above the last mark, which is closed.
    pub(super) fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            _ => Err(broken(
                "the pickle's stack",
                "without a mark",
                "marked here",
            )),
        }
    }

    /// Drops the top value, or the last mark where there is none above it.
    pub(super) fn discard(&mut self) -> Result<(), Problem> {
        if self.stack.len() == self.floor() && self.marks.pop().is_some() {
            return Ok(());
        }
        self.pop().map(|_| ())
    }

    pub(super) fn remember(&mut self, key: u32) -> Result<(), Problem> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    /// Remembers the top value under the next free number, as protocol 4 does.
    pub(super) fn memoize(&mut self) -> Result<(), Problem> {
        let next = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
        self.remember(next)
    }

    pub(super) fn recall(&mut self, key: u32) -> Result<(), Problem> {
        match self.memo.get(&key) {
            Some(&id) => {
                self.stack.push(id);
                Ok(())
            }
            None => Err(broken("memo entry", key, "one that was stored before")),
        }
    }

    pub(super) fn tuple(&mut self, items: Vec<Id>) -> Result<(), Problem> {
        self.push(Node::Tuple(items.into()))
    }

    pub(super) fn append(&mut self, items: &[Id]) -> Result<(), Problem> {
        let list = self.top()?;
        match self.nodes.get_mut(list as usize) {
            Some(Node::List(list)) => {
                list.extend_from_slice(items);
                Ok(())
            }
            other => {
                let found = other.map_or("nothing", |node| node.kind());
                Err(broken("the target of an append", found, "a list"))
            }
        }
    }

    pub(super) fn set_items(&mut self, items: &[Id]) -> Result<(), Problem> {
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(broken(
                "the items of a dictionary",
                "odd in number",
                "pairs",
            ));
        };
        let dict = self.top()?;
        match self.nodes.get_mut(dict as usize) {
            Some(Node::Dict(dict)) => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            other => {
                let found = other.map_or("nothing", |node| node.kind());
                Err(broken("the target of an item", found, "a dictionary"))
            }
        }
    }

    pub(super) fn global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        let global = globals::lookup(module, name)?;
        self.push(Node::Global(global))
    }

    pub(super) fn stack_global(&mut self) -> Result<(), Problem> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (self.node(module), self.node(name)) {
            (Node::Str(module), Node::Str(name))
                if module.len() <= limit::NAME && name.len() <= limit::NAME =>
            {
                let (module, name) = (module.clone(), name.clone());
                self.global(&module, &name)
            }
            _ => Err(broken(
                "a name of Python",
                "not two short strings",
                "module and name",
            )),
        }
    }

    /// Calls a listed global.
    pub(super) fn reduce(&mut self) -> Result<(), Problem> {
        let (args, callee) = (self.pop()?, self.pop()?);
        let &Node::Global(global) = self.node(callee) else {
            let found = self.node(callee).kind();
            return Err(broken("what the pickle calls", found, "a name of Python"));
        };
        let Node::Tuple(args) = self.node(args) else {
            let found = self.node(args).kind();
            return Err(broken("the arguments of a call", found, "a tuple"));
        };
        let args = args.clone();
        self.charge(args.len() as u64)?;
        self.call(global, &args)
    }

    fn call(&mut self, global: Global, args: &[Id]) -> Result<(), Problem> {
        match (global, args) {
            (Global::Mapping, args) => self.mapping(args),
            (Global::Set, &[items]) => {
                let items = self.sequence(items, "the items of a set")?;
                self.push(Node::List(items))
            }
            (Global::Size, &[dims]) => {
                let dims = self.sequence(dims, "torch.Size")?;
                self.tuple(dims)
            }
            (Global::Device, &[name, ..]) | (Global::RebuildParameter, &[name, ..]) => {
                self.stack.push(name);
                Ok(())
            }
            (Global::Encode, &[text, ..]) => self.encode(text),
            (Global::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                self.view(storage, offset, shape, strides, None)
            }
            (Global::RebuildTensorV3, &[storage, offset, shape, strides, _, _, dtype, ..]) => {
                let &Node::Global(Global::DType(dtype)) = self.node(dtype) else {
                    let found = self.node(dtype).kind();
                    return Err(broken("the type of a tensor", found, "a torch.dtype"));
                };
                self.view(storage, offset, shape, strides, Some(dtype))
            }
            (global, args) => Err(broken(
                format!("the call of {global:?}"),
                format!("with {} arguments", args.len()),
                "with those that PyTorch writes",
            )),
        }
    }

    /// `OrderedDict()`, `OrderedDict([(k, v), …])`, `defaultdict(factory)`.
    fn mapping(&mut self, args: &[Id]) -> Result<(), Problem> {
        let mut pairs = Vec::new();
        for &arg in args {
            match self.node(arg) {
                Node::List(items) => {
                    for &item in items {
                        match self.node(item) {
                            Node::Tuple(pair) if pair.len() == 2 => pairs.push((pair[0], pair[1])),
                            Node::List(pair) if pair.len() == 2 => pairs.push((pair[0], pair[1])),
                            other => {
                                return Err(broken(
                                    "an item of a dictionary",
                                    other.kind(),
                                    "a pair",
                                ));
                            }
                        }
                    }
                }
                Node::Dict(items) => pairs.extend_from_slice(items),
                // The factory of a defaultdict.
                Node::Global(_) | Node::None => {}
                other => {
                    return Err(broken(
                        "the argument of a dictionary",
                        other.kind(),
                        "pairs",
                    ));
                }
            }
        }
        self.charge(pairs.len() as u64)?;
        self.push(Node::Dict(pairs))
    }

    fn sequence(&mut self, id: Id, what: &str) -> Result<Vec<Id>, Problem> {
        let items = match self.node(id) {
            Node::List(items) => &items[..],
            Node::Tuple(items) => items,
            other => return Err(broken(what, other.kind(), "a list or tuple")),
        };
        let count = items.len() as u64;
        let items = items.to_vec();
        self.charge(count)?;
        Ok(items)
    }

    /// `_codecs.encode(text, "latin1")`: bytes, one for each character.
    fn encode(&mut self, text: Id) -> Result<(), Problem> {
        let Node::Str(text) = self.node(text) else {
            let found = self.node(text).kind();
            return Err(broken("the argument of _codecs.encode", found, "a string"));
        };
        let cost = text.len() as u64;
        let latin1 = text.chars().all(|c| u8::try_from(c).is_ok());
        self.charge(cost)?;
        if !latin1 {
            return Err(broken(
                "the argument of _codecs.encode",
                "beyond Latin-1",
                "Latin-1",
            ));
        }
        self.push(Node::Bytes)
    }

    fn count(&self, id: Id, what: &str) -> Result<u64, Problem> {
        match self.node(id) {
            &Node::Int(n) => u64::try_from(n).map_err(|_| broken(what, n, "zero or more")),
            other => Err(broken(what, other.kind(), "an integer")),
        }
    }

    fn counts(&mut self, id: Id, what: &str) -> Result<Vec<u64>, Problem> {
        let items = self.sequence(id, what)?;
        Problem::check_limit("the rank of a tensor", items.len() as u64, limit::RANK)?;
        items.into_iter().map(|id| self.count(id, what)).collect()
    }

    fn view(
        &mut self,
        storage: Id,
        offset: Id,
        shape: Id,
        strides: Id,
        dtype: Option<DType>,
    ) -> Result<(), Problem> {
        let &Node::Storage(storage) = self.node(storage) else {
            let found = self.node(storage).kind();
            return Err(broken("what a tensor is a view of", found, "a storage"));
        };
        let of_storage = self.storages.get(storage as usize).map(|s| s.dtype);
        let offset = self.count(offset, "the offset of a tensor")?;
        let shape = self.counts(shape, "a dimension of a tensor")?;
        let strides = self.counts(strides, "a stride of a tensor")?;
        if shape.len() != strides.len() {
            return Err(broken(
                "the number of strides of a tensor",
                strides.len(),
                &format!("{}, one for each dimension", shape.len()),
            ));
        }
        // Their two vectors make tensors the largest thing that one instruction builds.
        self.charge(2 * shape.len() as u64)?;
        let index = u32::try_from(self.tensors.len()).unwrap_or(u32::MAX);
        self.tensors.push(TensorRecord {
            storage,
            dtype: dtype.or(of_storage).unwrap_or(DType::U8),
            offset,
            shape,
            strides,
        });
        self.push(Node::Tensor(index))
    }

    /// A reference to a storage outside of the pickle:
    /// `("storage", class, key, location, numel)`.
    pub(super) fn persistent(&mut self) -> Result<(), Problem> {
        let id = self.pop()?;
        let expected = "(\"storage\", class, key, location, count)";
        let Node::Tuple(parts) = self.node(id) else {
            let found = self.node(id).kind();
            return Err(broken("a persistent id", found, expected));
        };
        let &[tag, class, key, _, numel, ref views @ ..] = &parts[..] else {
            return Err(broken("a persistent id", "too short", expected));
        };
        let views = views.to_vec();
        match self.node(tag) {
            Node::Str(tag) if &**tag == "storage" => {}
            Node::Str(tag) => return Err(broken("a persistent id", quote(tag), expected)),
            other => return Err(broken("a persistent id", other.kind(), expected)),
        }
        let &Node::Global(Global::Storage(dtype)) = self.node(class) else {
            let found = self.node(class).kind();
            return Err(broken(
                "the class of a storage",
                found,
                "such as torch.FloatStorage",
            ));
        };
        let key = match self.node(key) {
            Node::Str(key) => key.to_string(),
            Node::Int(key) => key.to_string(),
            other => return Err(broken("the key of a storage", other.kind(), "a string")),
        };
        if views
            .iter()
            .any(|&view| !matches!(self.node(view), Node::None))
        {
            return Err(Problem::unsupported(
                format!("storage {} as a view of another", quote(&key)),
                "save the checkpoint again with PyTorch 1.6 or later",
            ));
        }
        let numel = self.count(numel, "the length of a storage")?;
        let index = self.storage(key, dtype, numel)?;
        self.push(Node::Storage(index))
    }

    fn storage(&mut self, key: String, dtype: DType, numel: u64) -> Result<u32, Problem> {
        if let Some(&index) = self.storage_index.get(&key) {
            let known = &self.storages[index as usize];
            if known.dtype != dtype || known.numel != numel {
                return Err(broken(
                    format!("storage {}", quote(&key)),
                    format!(
                        "{numel} of {dtype} here and {} of {} there",
                        known.numel, known.dtype
                    ),
                    "the same wherever it is used",
                ));
            }
            return Ok(index);
        }
        let index = u32::try_from(self.storages.len()).unwrap_or(u32::MAX);
        self.storage_index.insert(key.clone(), index);
        self.storages.push(StorageRecord { key, dtype, numel });
        Ok(index)
    }

    pub(super) fn storage_named(&self, key: &str) -> Option<u32> {
        self.storage_index.get(key).copied()
    }

    /// State given to an object after it was made. PyTorch gives dictionaries their `_metadata` and
    /// parameters their attributes that way; neither matters here.
    pub(super) fn build(&mut self) -> Result<(), Problem> {
        let _state = self.pop()?;
        let object = self.top()?;
        match self.node(object) {
            Node::Dict(_) | Node::Tensor(_) => Ok(()),
            other => Err(broken(
                "an object with state",
                other.kind(),
                "a dictionary or tensor",
            )),
        }
    }
}
