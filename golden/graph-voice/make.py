"""Tiny graphs that are voices of no known architecture, and some that are none.

    python3 golden/graph-voice/make.py

`pip install onnx numpy onnxruntime` beside it. Each symbol is eight samples of a table, which the length scale multiplies
where there is one, so that a test sees what arrived.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
TABLE = (np.arange(48, dtype=np.float32).reshape(6, 8) / 64).astype(np.float32)


def save(name, inputs, nodes, output, constants=()):
    tensors = [numpy_helper.from_array(TABLE, "table")] + [numpy_helper.from_array(v, n) for n, v in constants]
    graph = helper.make_graph(nodes, "voice", inputs, [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / f"{name}.onnx")
    return onnxruntime.InferenceSession(model.SerializeToString())


def whole(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.INT64, shape)


def floats(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def main() -> None:
    # As Piper's: numbers, how many, three scales; samples behind two axes of one.
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["rows"]),
        helper.make_node("Gather", ["scales", "middle"], ["length"]),
        helper.make_node("Mul", ["rows", "length"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "shape"], ["output"]),
    ]
    constants = [("middle", np.array([1], np.int64)), ("shape", np.array([1, 1, -1], np.int64))]
    inputs = [whole("input", [1, "n"]), whole("input_lengths", [1]), floats("scales", [3])]
    piper = save("piper-like", inputs, nodes, floats("output", [1, 1, "m"]), constants)
    feed = {
        "input": np.array([[2, 5]], np.int64),
        "input_lengths": np.array([2], np.int64),
        "scales": np.array([0, 2, 0], np.float32),
    }
    (out,) = piper.run(None, feed)
    assert np.array_equal(out.reshape(-1), 2 * TABLE[[2, 5]].reshape(-1))
    # Numbers alone.
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Reshape", ["rows", "shape"], ["waveform"]),
    ]
    flat = [("shape", np.array([-1], np.int64))]
    save("ids-only", [whole("input_ids", ["n"])], nodes, floats("waveform", ["m"]), flat)
    # What nobody knows how to fill in.
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Add", ["rows", "style"], ["styled"]),
        helper.make_node("Reshape", ["styled", "shape"], ["waveform"]),
    ]
    inputs = [whole("input_ids", ["n"]), floats("style", [8])]
    save("style", inputs, nodes, floats("waveform", ["m"]), flat)
    # A spectrum, which is no sound.
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["mel"])]
    save("spectrum", [whole("input_ids", ["n"])], nodes, floats("mel", ["n", 8]))


if __name__ == "__main__":
    main()
