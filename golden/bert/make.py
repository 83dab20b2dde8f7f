"""Golden cases of the sentence encoders: tiny seeded models by transformers.

    python3 golden/bert/make.py [CASE ...]

`minilm` pools the mean, `bge` the first token (1_Pooling/config.json says which, as sentence-transformers
publishes it), `nomic` has rotary positions, a gated MLP and fused projections. golden/README.md describes the arrays.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from case import filled_model, write  # noqa: E402
from fill import ids  # noqa: E402

LENGTHS = (12, 7)
VOCAB = 96


def bert(**more):
    return dict(
        architectures=["BertModel"], model_type="bert", vocab_size=VOCAB, hidden_size=64,
        num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, hidden_act="gelu",
        hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, max_position_embeddings=32,
        type_vocab_size=2, layer_norm_eps=1e-12, pad_token_id=0, position_embedding_type="absolute",
    ) | more  # fmt: skip


# nomic-embed-text publishes the names of its remote code; transformers has its own.
NOMIC = dict(
    architectures=["NomicBertModel"], model_type="nomic_bert", activation_function="swiglu", causal=False,
    layer_norm_epsilon=1e-12, mlp_fc1_bias=False, mlp_fc2_bias=False, n_embd=64, n_head=4, n_inner=96,
    n_layer=3, n_positions=32, parallel_block=False, prenorm=False, qkv_proj_bias=False,
    rotary_emb_base=1000, rotary_emb_fraction=1.0, rotary_emb_interleaved=False, rotary_scaling_factor=None,
    type_vocab_size=2, use_rms_norm=False, vocab_size=VOCAB,
)  # fmt: skip
NOMIC_NATIVE = dict(
    architectures=["NomicBertModel"], model_type="nomic_bert", vocab_size=VOCAB, hidden_size=64,
    num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, hidden_act="silu",
    max_position_embeddings=32, type_vocab_size=2, layer_norm_eps=1e-12, pad_token_id=0,
    rope_parameters=dict(rope_type="default", rope_theta=1000.0),
)  # fmt: skip

# name: published configuration, the one transformers reads, pooling mode
CASES = {
    "minilm": (bert(), bert(), "mean_tokens"),
    "bge": (bert(num_hidden_layers=2), bert(num_hidden_layers=2), "cls_token"),
    "nomic": (NOMIC, NOMIC_NATIVE, "mean_tokens"),
}


def pool(hidden, mask, mode: str):
    """One normalised vector per row, as sentence-transformers' Pooling and Normalize."""
    if mode == "cls_token":
        pooled = hidden[:, 0]
    else:
        weight = mask[..., None].to(hidden.dtype)
        pooled = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(pooled, dim=1)


def pooling_files(folder: Path, width: int, mode: str) -> None:
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    config = {"word_embedding_dimension": width} | {f"pooling_mode_{m}": m == mode for m in modes}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps(config, indent=2) + "\n")
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n")


def make(name: str) -> None:
    published, config, mode = CASES[name]
    model, tensors = filled_model(config, getattr(transformers, config["architectures"][0]))
    tokens = torch.from_numpy(ids("input_ids", [2, LENGTHS[0]], VOCAB - 1)) + 1
    mask = torch.zeros_like(tokens)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
    tokens *= mask
    out = model(tokens, attention_mask=mask, output_hidden_states=True)
    hidden = out.last_hidden_state
    # Padding must not show.
    alone = model(tokens[1:, : LENGTHS[1]]).last_hidden_state
    gap = (alone - hidden[1:, : LENGTHS[1]]).abs().max().item()
    if gap > 2e-5:
        raise SystemExit(f"{name}: padding moves the second row by {gap}")
    keep = mask[..., None].to(hidden.dtype)
    arrays = {
        "input_ids": tokens.numpy(),
        "attention_mask": mask.numpy(),
        "activation.embedding": (out.hidden_states[0] * keep).numpy(),
        "activation.layer.0": (out.hidden_states[1] * keep).numpy(),
        "last_hidden_state": (hidden * keep).numpy(),
        "embedding": pool(hidden, mask, mode).numpy(),
    }
    write(HERE / name, published, tensors, arrays)
    pooling_files(HERE / name, 64, mode)
    size = (HERE / name / "case.safetensors").stat().st_size
    print(f"{name:8} hidden std {hidden.std().item():.2f}, padding moves {gap:.1e}, {size} bytes")


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in sys.argv[1:] or CASES:
        make(name)


if __name__ == "__main__":
    main()
