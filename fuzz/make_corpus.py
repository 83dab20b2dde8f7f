"""Writes the named files of corpus/: small valid files, and one of each kind of hostile one.

Only Python's standard library; the valid files come from crates/formats/tests/fixtures.
"""

import json
import pathlib
import shutil
import struct

HERE = pathlib.Path(__file__).parent
FIXTURES = HERE.parent / "crates/formats/tests/fixtures"

U32, I32, STRING, ARRAY = 4, 5, 8, 9
HUGE = 2**64 - 1


def put(target, name, data):
    (HERE / "corpus" / target / name).write_bytes(data)


def u32(x):
    return struct.pack("<I", x)


def u64(x):
    return struct.pack("<Q", x)


def string(s):
    return u64(len(s)) + s


def gguf(pairs=(), tensors=(), data=b"", version=3, counts=None):
    """pairs: (key, type, value bytes); tensors: (name, dims, type, offset)."""
    tensor_count, pair_count = counts or (len(tensors), len(pairs))
    out = b"GGUF" + u32(version) + u64(tensor_count) + u64(pair_count)
    for key, kind, value in pairs:
        out += string(key) + u32(kind) + value
    for name, dims, kind, offset in tensors:
        out += string(name) + u32(len(dims)) + b"".join(map(u64, dims)) + u32(kind) + u64(offset)
    return out + bytes(-len(out) % 32) + data


def array(kind, count, elements=b""):
    return u32(kind) + u64(count) + elements


def varint(x):
    out = b""
    while x >= 0x80:
        out += bytes([x & 0x7F | 0x80])
        x >>= 7
    return out + bytes([x])


def field(number, data):
    """A field of a protocol buffer: bytes, or a whole number."""
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def onnx_tensor(name, kind, dims, raw):
    return field(5, b"".join(field(1, d) for d in dims) + field(2, kind) + field(8, name) + field(9, raw))


def onnx_node(op, inputs, output, more=b""):
    return field(1, b"".join(field(1, i) for i in inputs) + field(2, output) + field(4, op) + more)


def make_onnx():
    def model(*parts):
        return field(7, b"".join(parts))

    def ints(name, *values):
        return field(5, field(1, name) + b"".join(field(8, v) for v in values))

    f32, i8, i64 = 1, 3, 7
    kernel = onnx_tensor(b"onnx::Conv_1", f32, [1, 1, 3], bytes(12))
    bias = onnx_tensor(b"c.bias", f32, [1], bytes(4))
    conv = onnx_node(b"Conv", [b"x", b"onnx::Conv_1", b"c.bias"], b"y", ints(b"dilations", 2))
    matrix = onnx_tensor(b"onnx::2", f32, [1, 2], bytes(8))
    product = onnx_node(b"MatMul", [b"x", b"onnx::2"], b"m") + onnx_node(b"Add", [b"m", b"d.bias"], b"o")
    wide = onnx_tensor(b"d.bias", f32, [2], bytes(8))
    put("onnx", "ok-convolution", model(conv, kernel, bias))
    put("onnx", "ok-product", model(product, matrix, wide))
    put("onnx", "ok-without-its-weights", model(conv, product))
    put("onnx", "ok-table", model(onnx_node(b"Gather", [b"t", b"x"], b"y"), onnx_tensor(b"t", f32, [2, 1], bytes(8))))
    put("onnx", "ok-shift", model(onnx_node(b"Sub", [b"x", b"a.m"], b"s"), onnx_node(b"Mul", [b"s", b"f"], b"y"),
                                  onnx_tensor(b"a.m", f32, [1], bytes(4)), onnx_tensor(b"f", f32, [1], bytes(4))))
    put("onnx", "bad-empty", b"")
    put("onnx", "bad-no-operations", model(bias))
    put("onnx", "bad-length", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
    put("onnx", "bad-cut", model(conv, kernel, bias)[:-3])
    put("onnx", "bad-huge-shape", model(conv, onnx_tensor(b"c.bias", f32, [1 << 40, 1 << 40], bytes(4))))
    put("onnx", "bad-short-data", model(conv, onnx_tensor(b"c.bias", f32, [9], bytes(4))))
    put("onnx", "bad-negative-dimension", model(conv, onnx_tensor(b"c.bias", f32, [HUGE], bytes(4))))
    put("onnx", "bad-type", model(conv, onnx_tensor(b"c.bias", 77, [1], bytes(4))))
    put("onnx", "bad-twice", model(conv, bias, bias))
    far = onnx_node(b"Conv", [b"x", b"onnx::Conv_1", b"c.bias"], b"y", ints(b"dilations", 1 << 50))
    put("onnx", "bad-dilation", model(far, kernel, bias))
    outside = onnx_tensor(b"c.bias", f32, [1], bytes(4))
    put("onnx", "bad-outside-data", model(conv, field(5, outside[2:] + field(14, 1))))


def make_gguf():
    f32 = 0
    shutil.copy(FIXTURES / "tiny.gguf", HERE / "corpus/gguf/ok-every-type")
    put("gguf", "ok-empty", gguf())
    put("gguf", "ok-version-2", gguf([(b"k", I32, u32(7))], version=2))
    nested = array(ARRAY, 2, array(I32, 1, u32(7)) + array(STRING, 0))
    put("gguf", "ok-nested-arrays", gguf([(b"k", ARRAY, nested)]))
    put("gguf", "ok-not-utf8", gguf([(b"k", STRING, string(b"\xff"))]))
    put("gguf", "ok-scalar", gguf([], [(b"w", [], f32, 0)], bytes(4)))
    put("gguf", "bad-version-1", gguf(version=1))
    put("gguf", "bad-big-endian", gguf(version=0x03000000))
    put("gguf", "bad-huge-counts", gguf(counts=(HUGE, HUGE)))
    put("gguf", "bad-huge-string", gguf([(b"k", STRING, u64(HUGE))]))
    put("gguf", "bad-huge-array", gguf([(b"k", ARRAY, array(STRING, 2**61))]))
    put("gguf", "bad-recursion", gguf([(b"k", ARRAY, array(ARRAY, 1) * 100)]))
    put("gguf", "bad-duplicate-key", gguf([(b"k", I32, u32(1))] * 2))
    put("gguf", "bad-duplicate-tensor", gguf([], [(b"w", [8], f32, 0), (b"w", [8], f32, 32)], bytes(64)))
    put("gguf", "bad-overlap", gguf([], [(b"v", [16], f32, 0), (b"w", [8], f32, 32)], bytes(64)))
    put("gguf", "bad-out-of-file", gguf([], [(b"w", [8], f32, 2**63)], bytes(64)))
    put("gguf", "bad-dims-overflow", gguf([], [(b"w", [2**40, 2**40], f32, 0)], bytes(64)))
    put("gguf", "bad-five-dims", gguf([], [(b"w", [1] * 5, f32, 0)], bytes(64)))
    put("gguf", "bad-part-of-a-block", gguf([], [(b"w", [16], 2, 0)], bytes(64)))
    put("gguf", "bad-alignment", gguf([(b"general.alignment", U32, u32(3))]))


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return u64(len(text)) + text + data


def make_safetensors():
    def entry(start, end, shape, dtype="F32"):
        return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}

    shutil.copy(FIXTURES / "tiny.safetensors", HERE / "corpus/safetensors/ok-every-type")
    put("safetensors", "ok-empty", safetensors({}))
    put("safetensors", "ok-notes", safetensors({"__metadata__": {"a": "b"}, "w": entry(0, 4, [1])}, bytes(4)))
    put("safetensors", "bad-huge-length", u64(HUGE) + b"{}")
    put("safetensors", "bad-recursion", safetensors(b'{"w":' + b"[" * 10_000))
    put("safetensors", "bad-gap", safetensors({"w": entry(4, 8, [1])}, bytes(8)))
    put("safetensors", "bad-overlap", safetensors({"v": entry(0, 8, [2]), "w": entry(4, 12, [2])}, bytes(12)))
    put("safetensors", "bad-out-of-file", safetensors({"w": entry(HUGE - 7, HUGE, [1])}, bytes(4)))
    put("safetensors", "bad-dims-overflow", safetensors({"w": entry(0, 4, [2**32, 2**32])}, bytes(4)))
    put("safetensors", "bad-size", safetensors({"w": entry(0, 4, [2])}, bytes(4)))
    put("safetensors", "bad-type", safetensors({"w": entry(0, 4, [1], "F31")}, bytes(4)))
    one = json.dumps(entry(0, 4, [1])).encode()
    put("safetensors", "bad-duplicate", safetensors(b'{"w":' + one + b',"w":' + one + b"}", bytes(4)))
    put("safetensors", "bad-trailing", safetensors({"w": entry(0, 4, [1])}, bytes(5)))


def view(numel=b"K\x06", offset=b"K\x00", shape=b"K\x02K\x03\x86", strides=b"K\x03K\x01\x86"):
    """The pickle of a dictionary with one tensor."""
    return (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n("
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        + numel + b"tQ" + offset + shape + strides + b"\x89}tRs."
    )


def make_pytorch():
    for name in ["state", "legacy", "protocol4", "float8", "training", "nested"]:
        shutil.copy(FIXTURES / f"{name}.pt", HERE / f"corpus/pytorch/ok-{name}")
    for name in ["evil", "module", "cycle", "complex", "no-tensors", "bomb", "script"]:
        shutil.copy(FIXTURES / f"{name}.pt", HERE / f"corpus/pytorch/bad-{name}")
    put("pytorch", "ok-pickle", view())
    put("pytorch", "bad-out-of-storage", view(offset=b"K\x01"))
    put("pytorch", "bad-huge-storage", view(numel=b"\x8a\x08" + b"\xff" * 7 + b"\x7f"))
    put("pytorch", "bad-negative", view(offset=b"J\xff\xff\xff\xff"))
    put("pytorch", "bad-expanded", view(shape=b"M\xff\xffM\xff\xff\x86", strides=b"K\x00K\x00\x86"))
    put("pytorch", "bad-huge-string", b"\x8d" + u64(HUGE))
    put("pytorch", "bad-list-in-itself", b"]q\x00h\x00a.")
    put("pytorch", "bad-stack", b"((tt1110RRR")
    put("pytorch", "bad-eval", b"cbuiltins\neval\nX\x01\x00\x00\x001\x85R.")
    put("pytorch", "bad-eval-protocol-4", b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.")
    put("pytorch", "bad-copies", b"(" + b"N" * 8000 + b"tq\x00" + b"cbuiltins\nset\nh\x00\x85R0" * 1200)


if __name__ == "__main__":
    (HERE / "corpus/onnx").mkdir(exist_ok=True)
    make_onnx()
    make_gguf()
    make_safetensors()
    make_pytorch()
