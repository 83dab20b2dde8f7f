//! The parameters of a model under the names that its own code had for them.

use std::collections::{BTreeMap, HashMap};

use super::{Graph, Node, OnnxTensor};
use crate::dtype::DType;
use crate::error::{Problem, quote};

/// Shape and numbers of each parameter, as `torch.nn` names and lays them out: matrices `[out, in]`.
///
/// A matrix that is stored in whole numbers (of `MatMulInteger`) has those numbers, its zero point taken off, and
/// beside `X.weight` stands `X.weight_scale`, what they are to be multiplied by.
pub type State = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl Graph {
    /// Every weight that has a name of its own, and the matrices and kernels that get theirs from the bias behind them.
    ///
    /// # Errors
    /// [`Problem`] where a weight cannot be read as numbers, or two matrices claim one name.
    pub fn state(&self) -> Result<State, Problem> {
        let readers = Readers::new(self);
        let mut state = State::new();
        for (name, tensor) in &self.tensors {
            let named = name.ends_with("bias") || name.contains('.') && !name.contains([':', '/']);
            if named && tensor.dtype != DType::Bool {
                state.insert(name.clone(), (tensor.shape.clone(), tensor.floats()?));
            }
        }
        for node in self.convolutions() {
            // A kernel that lost its name gets it back from its bias.
            let (weight, bias) = (node.inputs.get(1), node.inputs.get(2));
            let (Some(weight), Some(prefix)) = (weight, bias.and_then(|b| b.strip_suffix("bias")))
            else {
                continue;
            };
            let name = format!("{prefix}weight");
            if let (Some(kernel), false) = (self.tensors.get(weight), state.contains_key(&name)) {
                state.insert(name, (kernel.shape.clone(), kernel.floats()?));
            }
        }
        let mut sources: HashMap<String, &str> = HashMap::new();
        for node in &self.nodes {
            let Some(found) = readers.matrix(node) else {
                continue;
            };
            let source = node.inputs[1].as_str();
            match sources.insert(found.name.clone(), source) {
                // Layers that are used several times share their weights.
                Some(before) if before == source => continue,
                Some(_) => {
                    return Err(Problem::Duplicate {
                        what: "matrix",
                        name: found.name,
                    });
                }
                None => {}
            }
            if let Some(scale) = found.scale {
                let values = (scale.shape.clone(), scale.floats()?);
                state.insert(format!("{}_scale", found.name), values);
            }
            let matrix = transposed(found.matrix, found.zero, source)?;
            state.insert(found.name, matrix);
        }
        Ok(state)
    }
}

/// Largest dilation or stride of a convolution that is believed.
const MAX_STEP: i64 = 1 << 12;

impl Graph {
    fn convolutions(&self) -> impl Iterator<Item = &Node> {
        let convolves = |node: &&Node| matches!(node.op.as_str(), "Conv" | "ConvTranspose");
        self.nodes.iter().filter(convolves)
    }

    /// Dilation and stride along the first axis of each convolution whose kernel or bias has a name, by that name without
    /// its ending.
    ///
    /// # Errors
    /// [`Problem`] where one is not from 1 to 4096.
    pub fn steps(&self) -> Result<HashMap<String, [usize; 2]>, Problem> {
        let mut all = HashMap::new();
        for node in self.convolutions() {
            let names = node.inputs.iter().skip(1);
            let prefix = names
                .filter(|name| !name.contains([':', '/']))
                .find_map(|name| name.strip_suffix(".weight").or(name.strip_suffix(".bias")));
            let Some(prefix) = prefix else { continue };
            let step = |what: &str| -> Result<usize, Problem> {
                let value = node.ints.get(what).and_then(|v| v.first()).copied();
                match value.unwrap_or(1) {
                    value @ 1..=MAX_STEP => Ok(value as usize),
                    other => Err(Problem::invalid(what, other, "from 1 to 4096")),
                }
            };
            all.insert(prefix.to_owned(), [step("dilations")?, step("strides")?]);
        }
        Ok(all)
    }

    /// The table of which the numbers of this input take rows.
    pub fn table(&self, input: &str) -> Option<&OnnxTensor> {
        let takes = |node: &&Node| {
            node.op == "Gather" && node.inputs.get(1).is_some_and(|name| name == input)
        };
        let node = self.nodes.iter().find(takes)?;
        self.tensors.get(node.inputs.first()?)
    }

    /// What a difference to the tensor `shift` is multiplied by.
    pub fn factor(&self, shift: &str) -> Option<&OnnxTensor> {
        let readers = Readers::new(self);
        let takes = |node: &&Node| node.op == "Sub" && node.inputs.iter().any(|name| name == shift);
        let node = self.nodes.iter().find(takes)?;
        let (_, factor) = readers.weight_of(readers.follower(node, "Mul")?)?;
        Some(factor)
    }
}

/// A matrix with what belongs to it.
struct Found<'a> {
    name: String,
    matrix: &'a OnnxTensor,
    zero: Option<&'a OnnxTensor>,
    scale: Option<&'a OnnxTensor>,
}

/// Which operations read a value, and which one made it.
struct Readers<'a> {
    graph: &'a Graph,
    readers: HashMap<&'a str, Vec<&'a Node>>,
    makers: HashMap<&'a str, &'a Node>,
}

impl<'a> Readers<'a> {
    fn new(graph: &'a Graph) -> Self {
        let (mut readers, mut makers) = (HashMap::<_, Vec<_>>::new(), HashMap::new());
        for node in &graph.nodes {
            for input in &node.inputs {
                readers.entry(input.as_str()).or_default().push(node);
            }
            for output in &node.outputs {
                makers.insert(output.as_str(), node);
            }
        }
        Self {
            graph,
            readers,
            makers,
        }
    }

    /// The only operation that reads what `node` gives, if it is `op`.
    fn follower(&self, node: &Node, op: &str) -> Option<&'a Node> {
        match self.readers.get(node.outputs.first()?.as_str())?.as_slice() {
            &[one] if one.op == op => Some(one),
            _ => None,
        }
    }

    /// The weight among the inputs of `node`, with its name.
    fn weight_of(&self, node: &'a Node) -> Option<(&'a str, &'a OnnxTensor)> {
        let mut inputs = node.inputs.iter();
        inputs.find_map(|name| Some((name.as_str(), self.graph.tensors.get(name)?)))
    }

    /// The matrix that `node` multiplies by, if a bias is added behind.
    fn matrix(&self, node: &'a Node) -> Option<Found<'a>> {
        let matrix = self.graph.tensors.get(node.inputs.get(1)?)?;
        let (mut last, mut scale, mut zero) = (node, None, None);
        match node.op.as_str() {
            "MatMul" => {}
            "MatMulInteger" => {
                zero = node.inputs.get(3).and_then(|n| self.graph.tensors.get(n));
                last = self.follower(self.follower(node, "Cast")?, "Mul")?;
                // The scale of the activations times that of the matrix.
                let made = last
                    .inputs
                    .iter()
                    .filter_map(|n| self.makers.get(n.as_str()));
                scale = made
                    .filter(|maker| maker.op == "Mul")
                    .find_map(|maker| self.weight_of(maker))
                    .map(|(_, tensor)| tensor);
                scale?;
            }
            _ => return None,
        }
        let (bias, _) = self.weight_of(self.follower(last, "Add")?)?;
        let name = format!("{}weight", bias.strip_suffix("bias")?);
        Some(Found {
            name,
            matrix,
            zero,
            scale,
        })
    }
}

/// `[in, out]` → `[out, in]`, without the zero point.
fn transposed(
    matrix: &OnnxTensor,
    zero: Option<&OnnxTensor>,
    name: &str,
) -> Result<(Vec<usize>, Vec<f32>), Problem> {
    let &[inputs, outputs] = matrix.shape.as_slice() else {
        return Err(Problem::invalid(
            format!("tensor {}", quote(name)),
            format!("of shape {:?}", matrix.shape),
            "a matrix",
        ));
    };
    let zeros = zero
        .map(OnnxTensor::floats)
        .transpose()?
        .unwrap_or_default();
    if !matches!(zeros.len(), 0 | 1) && zeros.len() != outputs {
        return Err(Problem::invalid(
            "the zero points of a matrix",
            zeros.len(),
            "one, or one of each output",
        ));
    }
    let values = matrix.floats()?;
    let mut out = Vec::with_capacity(values.len());
    for o in 0..outputs {
        let zero = zeros.get(o).or(zeros.first()).copied().unwrap_or(0.0);
        out.extend((0..inputs).map(|i| values[i * outputs + o] - zero));
    }
    Ok((vec![outputs, inputs], out))
}
