//! ONNX files: a small graph written by hand, whole, damaged and hostile.

#![allow(clippy::unwrap_used, reason = "a test stops when something is wrong")]

use medley_formats::onnx::Graph;

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(number: u64, data: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(data.len() as u64, out);
    out.extend_from_slice(data);
}

fn tensor(name: &str, kind: u64, dims: &[u64], raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &dim in dims {
        varint(1 << 3, &mut out);
        varint(dim, &mut out);
    }
    varint(2 << 3, &mut out);
    varint(kind, &mut out);
    bytes(8, name.as_bytes(), &mut out);
    bytes(9, raw, &mut out);
    out
}

fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for input in inputs {
        bytes(1, input.as_bytes(), &mut out);
    }
    bytes(2, output.as_bytes(), &mut out);
    bytes(4, op.as_bytes(), &mut out);
    out
}

/// `y = scale · (q(x) − z) (W − 1) + a.bias`, and `z = y onnx::1 + b.bias`.
fn sample() -> Vec<u8> {
    let mut graph = Vec::new();
    for n in [
        node("DynamicQuantizeLinear", &["x"], "q"),
        node("MatMulInteger", &["q", "w_quantized", "z", "w_zero"], "i"),
        node("Cast", &["i"], "c"),
        node("Mul", &["q_scale", "w_scale"], "s"),
        node("Mul", &["c", "s"], "m"),
        node("Add", &["a.bias", "m"], "y"),
        node("MatMul", &["y", "onnx::1"], "n"),
        node("Add", &["n", "b.bias"], "out"),
    ] {
        bytes(1, &n, &mut graph);
    }
    let floats =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    for t in [
        tensor("w_quantized", 3, &[2, 3], &[1, 2, 3, 4, 5, 0x80]),
        tensor("w_zero", 3, &[], &[1]),
        tensor("w_scale", 1, &[], &floats(&[0.5])),
        tensor("a.bias", 1, &[3], &floats(&[1.0, 2.0, 3.0])),
        tensor("onnx::1", 1, &[3, 1], &floats(&[7.0, 8.0, 9.0])),
        tensor("b.bias", 1, &[1], &floats(&[4.0])),
    ] {
        bytes(5, &t, &mut graph);
    }
    let mut file = Vec::new();
    bytes(7, &graph, &mut file);
    file
}

#[test]
fn matrices_get_the_names_of_their_biases() {
    let graph = Graph::parse(&sample()).unwrap();
    assert_eq!(graph.nodes.len(), 8);
    let state = graph.state().unwrap();
    assert_eq!(
        state["a.weight"],
        (vec![3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, -129.0])
    );
    assert_eq!(state["a.weight_scale"], (vec![], vec![0.5]));
    assert_eq!(state["b.weight"], (vec![1, 3], vec![7.0, 8.0, 9.0]));
    assert_eq!(state["a.bias"], (vec![3], vec![1.0, 2.0, 3.0]));
    assert_eq!(state.len(), 5);
}

#[test]
fn damaged_files_give_errors_and_nothing_else() {
    let whole = sample();
    for length in 0..whole.len() {
        assert!(Graph::parse(&whole[..length]).is_err(), "cut at {length}");
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            if let Ok(graph) = Graph::parse(&bytes) {
                let _ = graph.state();
            }
        }
    }
}

#[test]
fn lengths_are_not_trusted() {
    for name in ["t", "n"] {
        // A tensor of a shape that no memory holds.
        let huge = tensor(name, 1, &[1 << 40, 1 << 40], &[0; 8]);
        let mut graph = Vec::new();
        bytes(5, &huge, &mut graph);
        let mut file = Vec::new();
        bytes(7, &graph, &mut file);
        let error = Graph::parse(&file).unwrap_err().to_string();
        assert!(error.contains("shape"), "{error}");
    }
    assert!(Graph::parse(b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f").is_err());
    assert!(Graph::parse(&[0xFF; 32]).is_err());
}

/// A node with whole-number attributes.
fn with_ints(node: &[u8], ints: &[(&str, u64)]) -> Vec<u8> {
    let mut out = node.to_vec();
    for (name, value) in ints {
        let mut attribute = Vec::new();
        bytes(1, name.as_bytes(), &mut attribute);
        varint(8 << 3, &mut attribute);
        varint(*value, &mut attribute);
        bytes(5, &attribute, &mut out);
    }
    out
}

#[test]
fn kernels_tables_and_factors_are_found() {
    let conv = node("Conv", &["x", "onnx::Conv_1", "c.bias"], "y");
    let mut graph = Vec::new();
    for n in [
        with_ints(&conv, &[("dilations", 3), ("strides", 2)]),
        node("Gather", &["table", "ids"], "rows"),
        node("Sub", &["y", "a.m"], "s"),
        node("Mul", &["s", "by"], "z"),
    ] {
        bytes(1, &n, &mut graph);
    }
    for t in [
        tensor("onnx::Conv_1", 1, &[1, 1, 2], &[0; 8]),
        tensor("c.bias", 1, &[1], &[0; 4]),
        tensor("table", 1, &[2, 1], &[0; 8]),
        tensor("a.m", 1, &[1], &[0; 4]),
        tensor("by", 1, &[1], &1.5f32.to_le_bytes()),
    ] {
        bytes(5, &t, &mut graph);
    }
    let mut file = Vec::new();
    bytes(7, &graph, &mut file);
    let graph = Graph::parse(&file).unwrap();
    assert_eq!(graph.state().unwrap()["c.weight"].0, [1, 1, 2]);
    assert_eq!(graph.steps().unwrap()["c"], [3, 2]);
    assert_eq!(graph.table("ids").unwrap().shape, [2, 1]);
    assert!(graph.table("x").is_none());
    assert_eq!(graph.factor("a.m").unwrap().floats().unwrap(), [1.5]);
    assert!(graph.factor("c.bias").is_none());
}
