"""A llama of about 1.1 billion random weights, for benchmarks of a larger shape.

    python3 crates/xtask/peer/random_llama.py SmolLM2.gguf OUT.gguf

Tokenizer and other metadata are those of the SmolLM2 file; the shape is TinyLlama's (22 layers, width 2048, 32 heads over 4,
feed-forward 5632). Weights are F16, normal, seeded; quantise the file with `medley models quantize OUT.gguf B.gguf --type
Q4_K_M`. Needs the gguf package.
"""

import sys

import gguf
import numpy as np

LAYERS, WIDTH, HEADS, KV_HEADS, FF = 22, 2048, 32, 4, 5632


def main() -> None:
    reader = gguf.GGUFReader(sys.argv[1])
    writer = gguf.GGUFWriter(sys.argv[2], "llama")
    shape = {
        "llama.block_count": LAYERS,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": FF,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "llama.attention.key_length": WIDTH // HEADS,
        "llama.attention.value_length": WIDTH // HEADS,
        "general.file_type": 1,
    }
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(name, field.contents())
        else:
            writer.add_key_value(name, shape.get(name, field.contents()), field.types[0])
    random = np.random.default_rng(1)
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].contents())

    def matrix(name: str, rows: int, columns: int) -> None:
        values = random.standard_normal((rows, columns), np.float32) * 0.02
        writer.add_tensor(name, values.astype(np.float16))

    def ones(name: str) -> None:
        writer.add_tensor(name, np.ones(WIDTH, np.float32))

    matrix("token_embd.weight", vocabulary, WIDTH)
    matrix("output.weight", vocabulary, WIDTH)
    ones("output_norm.weight")
    kv = WIDTH // HEADS * KV_HEADS
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        ones(block + "attn_norm.weight")
        ones(block + "ffn_norm.weight")
        for name, rows, columns in (
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", kv, WIDTH),
            ("attn_v", kv, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_gate", FF, WIDTH),
            ("ffn_up", FF, WIDTH),
            ("ffn_down", WIDTH, FF),
        ):
            matrix(f"{block}{name}.weight", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
