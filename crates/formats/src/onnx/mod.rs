//! ONNX files: the graph, and the weights in it under the names that the model's own code had for them.
//!
//! The format is described in [onnx.proto](https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Nothing is run
//! here: [`Graph`] says which operations there are, and [`Graph::state`] gives the parameters of a known architecture,
//! which then runs as our own model. Exporters fold weights into matrices with names such as `onnx::MatMul_490`; what
//! keeps its name is the bias that is added behind, and from it the matrix gets its name back.

mod state;
mod wire;

use std::collections::HashMap;
use std::path::Path;

pub use state::State;

use crate::dtype::DType;
use crate::error::{FormatError, Problem, quote};
use crate::map::Bytes;
use wire::{Fields, Value, append_ints};

/// Largest file that is read: ONNX keeps larger ones in several, which are not supported.
const MAX_FILE: usize = 2 << 30;

/// A tensor inside the file, its numbers as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxTensor {
    /// How elements are stored.
    pub dtype: DType,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Little-endian elements, row-major.
    pub data: Vec<u8>,
}

impl OnnxTensor {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.data.len() / self.dtype.block_bytes()
    }

    /// The numbers in `f32`.
    ///
    /// # Errors
    /// [`Problem::Unsupported`] for truth values and types that hold no numbers.
    pub fn floats(&self) -> Result<Vec<f32>, Problem> {
        let data = self.data.as_slice();
        Ok(match self.dtype {
            DType::F32 => each(data, f32::from_le_bytes),
            DType::F16 => each(data, |b| half::f16::from_le_bytes(b).to_f32()),
            DType::BF16 => each(data, |b| half::bf16::from_le_bytes(b).to_f32()),
            DType::F64 => each(data, |b| f64::from_le_bytes(b) as f32),
            DType::I8 => each(data, |b| f32::from(i8::from_le_bytes(b))),
            DType::U8 => each(data, |[b]: [u8; 1]| f32::from(b)),
            DType::I32 => each(data, |b| i32::from_le_bytes(b) as f32),
            DType::I64 => each(data, |b| i64::from_le_bytes(b) as f32),
            other => {
                return Err(Problem::unsupported(
                    format!("a weight of type {other}"),
                    "weights are floats or whole numbers",
                ));
            }
        })
    }
}

fn each<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|&b| read(b)).collect()
}

/// One operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its name in the [operator list](https://onnx.ai/onnx/operators/), such as `Conv`.
    pub op: String,
    /// Names of what it takes; empty where an optional one is left out.
    pub inputs: Vec<String>,
    /// Names of what it gives.
    pub outputs: Vec<String>,
    /// Whole-number attributes by name, such as `pads`.
    pub ints: HashMap<String, Vec<i64>>,
}

/// What is in an ONNX file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Operations, in an order in which they can run.
    pub nodes: Vec<Node>,
    /// Weights and constants by name.
    pub tensors: HashMap<String, OnnxTensor>,
    /// Names of the inputs (weights are no inputs).
    pub inputs: Vec<String>,
    /// Names of the outputs.
    pub outputs: Vec<String>,
}

impl Graph {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FormatError`] where it is none, damaged, or keeps its weights in other files.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let bytes = Bytes::map(path)?;
        Self::parse(&bytes).map_err(|problem| problem.at(path))
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`Problem`] as [`Graph::open`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        Problem::check_limit("the size of the file", bytes.len() as u64, MAX_FILE as u64)?;
        let mut graph = None;
        let mut fields = Fields::new(bytes);
        while let Some((number, value)) = fields.next()? {
            if number == 7 {
                graph = Some(read_graph(value.bytes("the graph")?)?);
            }
        }
        graph
            .filter(|graph: &Self| !graph.nodes.is_empty())
            .ok_or_else(|| Problem::invalid("the file", "without operations", "an ONNX model"))
    }
}

fn read_graph(message: &[u8]) -> Result<Graph, Problem> {
    let mut graph = Graph::default();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => {
                let (node, constant) = read_node(value.bytes("an operation")?)?;
                match (constant, node.outputs.first()) {
                    (Some(tensor), Some(name)) if node.op == "Constant" => {
                        insert(&mut graph.tensors, name.clone(), tensor)?;
                    }
                    _ => graph.nodes.push(node),
                }
            }
            5 => {
                let (name, tensor) = read_tensor(value.bytes("a weight")?)?;
                insert(&mut graph.tensors, name, tensor)?;
            }
            11 => graph.inputs.push(read_name(&value)?),
            12 => graph.outputs.push(read_name(&value)?),
            _ => {}
        }
    }
    // Older files list their weights among the inputs.
    let Graph {
        tensors, inputs, ..
    } = &mut graph;
    inputs.retain(|name| !tensors.contains_key(name));
    Ok(graph)
}

fn insert(
    tensors: &mut HashMap<String, OnnxTensor>,
    name: String,
    tensor: OnnxTensor,
) -> Result<(), Problem> {
    if tensors.contains_key(&name) {
        return Err(Problem::Duplicate {
            what: "tensor",
            name,
        });
    }
    tensors.insert(name, tensor);
    Ok(())
}

/// The name of an input or output, whose type says nothing that is needed here.
fn read_name(value: &Value<'_>) -> Result<String, Problem> {
    let mut fields = Fields::new(value.bytes("an input or output")?);
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            return value.text("the name of an input or output");
        }
    }
    Err(Problem::invalid("an input or output", "nameless", "named"))
}

/// An operation, with the value of a constant.
fn read_node(message: &[u8]) -> Result<(Node, Option<OnnxTensor>), Problem> {
    let mut node = Node::default();
    let mut constant = None;
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => node.inputs.push(value.text("an input's name")?),
            2 => node.outputs.push(value.text("an output's name")?),
            4 => node.op = value.text("an operation's name")?,
            5 => {
                let attribute = read_attribute(value.bytes("an attribute")?)?;
                if attribute.name == "value" && attribute.tensor.is_some() {
                    constant = attribute.tensor;
                } else if !attribute.ints.is_empty() {
                    node.ints.insert(attribute.name, attribute.ints);
                }
            }
            _ => {}
        }
    }
    Ok((node, constant))
}

#[derive(Default)]
struct Attribute {
    name: String,
    ints: Vec<i64>,
    tensor: Option<OnnxTensor>,
}

fn read_attribute(message: &[u8]) -> Result<Attribute, Problem> {
    let mut attribute = Attribute::default();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => attribute.name = value.text("an attribute's name")?,
            3 => attribute.ints = vec![value.int("an attribute")?],
            5 => attribute.tensor = Some(read_tensor(value.bytes("an attribute")?)?.1),
            8 => append_ints(&value, "an attribute", &mut attribute.ints)?,
            _ => {}
        }
    }
    Ok(attribute)
}

fn read_tensor(message: &[u8]) -> Result<(String, OnnxTensor), Problem> {
    let (mut name, mut kind) = (String::new(), 0);
    let (mut dims, mut ints, mut floats) = (Vec::new(), Vec::new(), Vec::new());
    let mut raw: Option<&[u8]> = None;
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => append_ints(&value, "a dimension", &mut dims)?,
            2 => kind = value.int("a weight's type")?,
            4 => match value {
                Value::Fixed32(bits) => floats.extend_from_slice(&bits.to_le_bytes()),
                other => floats.extend_from_slice(other.bytes("numbers")?),
            },
            5 | 7 => append_ints(&value, "numbers", &mut ints)?,
            8 => name = value.text("a weight's name")?,
            9 => raw = Some(value.bytes("numbers")?),
            13 | 14 if !matches!(value, Value::Varint(0)) => {
                return Err(Problem::unsupported(
                    "a weight in another file",
                    "save the model as one file",
                ));
            }
            _ => {}
        }
    }
    let dtype = element(kind, &name)?;
    let shape = dims
        .iter()
        .map(|&d| usize::try_from(d))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Problem::invalid("a dimension", "negative", "0 or more"))?;
    let data = match raw {
        Some(raw) => raw.to_vec(),
        None if !floats.is_empty() => floats,
        None => stored_ints(&ints, dtype),
    };
    let expected = shape
        .iter()
        .try_fold(dtype.block_bytes(), |n, &d| n.checked_mul(d));
    if expected != Some(data.len()) {
        return Err(Problem::invalid(
            format!("tensor {}", quote(&name)),
            format!("{} bytes for the shape {shape:?}", data.len()),
            "as long as its shape says",
        ));
    }
    Ok((name, OnnxTensor { dtype, shape, data }))
}

/// Numbers that were written one by one, in the bytes of their type.
fn stored_ints(ints: &[i64], dtype: DType) -> Vec<u8> {
    let bytes = dtype.block_bytes();
    ints.iter()
        .flat_map(|value| value.to_le_bytes().into_iter().take(bytes))
        .collect()
}

fn element(kind: i64, name: &str) -> Result<DType, Problem> {
    Ok(match kind {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::BF16,
        other => {
            return Err(Problem::unsupported(
                format!("type {other} of tensor {}", quote(name)),
                "weights are floats or whole numbers",
            ));
        }
    })
}
