"""Golden cases of the decoder: one tiny seeded model per architecture, by transformers.

    python3 golden/decoder/make.py [CASE ...]

Each configuration has the form that published checkpoints of that architecture have (`rope_theta`,
`rope_scaling`, no `layer_types` where the first releases had none); config.v5.json beside it is the
same configuration as transformers 5 writes it. golden/README.md describes the arrays.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from case import filled_model, write  # noqa: E402
from fill import ids  # noqa: E402

LENGTH = 12
LONG = 40
AGREE = 2e-5

# Widths that every block format divides, so that the same weights go through K-quants.
WIDE = dict(
    vocab_size=96, hidden_size=256, intermediate_size=512, num_hidden_layers=3,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
    torch_dtype="float32", bos_token_id=1, eos_token_id=2,
)  # fmt: skip
NARROW = WIDE | dict(hidden_size=64, intermediate_size=96)


def llama(**more):
    return dict(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu", rms_norm_eps=1e-5,
        rope_theta=10000.0, rope_scaling=None, attention_bias=False, tie_word_embeddings=False,
    ) | more  # fmt: skip


def phi3(**more):
    return dict(
        architectures=["Phi3ForCausalLM"], model_type="phi3", hidden_act="silu", rms_norm_eps=1e-5,
        rope_theta=10000.0, rope_scaling=None, sliding_window=None, tie_word_embeddings=False,
        original_max_position_embeddings=128, pad_token_id=0,
    ) | more  # fmt: skip


def gemma3(**more):
    return dict(
        architectures=["Gemma3ForCausalLM"], model_type="gemma3_text", num_hidden_layers=4, head_dim=128,
        hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, query_pre_attn_scalar=100,
        rope_theta=1000000.0, rope_local_base_freq=10000.0, rope_scaling=None, sliding_window=4,
        attn_logit_softcapping=None, final_logit_softcapping=None, attention_bias=False, pad_token_id=0,
    ) | more  # fmt: skip


def qwen3_moe(**more):
    return dict(
        architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", head_dim=128, hidden_act="silu",
        rms_norm_eps=1e-6, rope_theta=1000000.0, rope_scaling=None, attention_bias=False,
        use_sliding_window=False, sliding_window=None, max_window_layers=3, num_experts=4,
        num_experts_per_tok=2, moe_intermediate_size=256, decoder_sparse_step=1, mlp_only_layers=[],
        norm_topk_prob=True, router_aux_loss_coef=0.001, tie_word_embeddings=False,
    ) | more  # fmt: skip


LONGROPE = dict(
    type="longrope",
    short_factor=[1.0, 1.05, 1.1, 1.2, 1.3, 1.5],
    long_factor=[1.0, 1.3, 2.0, 3.1, 4.5, 6.0],
)

CASES = {
    "llama": WIDE | llama(),
    "smollm": WIDE | llama(tie_word_embeddings=True, rope_theta=100000.0),
    "llama_bias": NARROW | llama(attention_bias=True, mlp_bias=True),
    "llama_linear": NARROW | llama(rope_scaling=dict(type="linear", factor=4.0)),
    "llama_dynamic": NARROW
    | llama(rope_scaling=dict(type="dynamic", factor=2.0), max_position_embeddings=16),
    "llama_yarn": NARROW
    | llama(rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)),
    "llama_yarn_tuned": NARROW
    | llama(
        rope_scaling=dict(
            rope_type="yarn", factor=4.0, original_max_position_embeddings=32,
            beta_fast=4.0, beta_slow=0.5, attention_factor=1.25,
        )
    ),  # fmt: skip
    "llama_llama3": NARROW
    | llama(
        rope_theta=10000.0, max_position_embeddings=512,
        rope_scaling=dict(
            rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=128,
        ),
    ),  # fmt: skip
    "mistral": WIDE
    | dict(
        architectures=["MistralForCausalLM"], model_type="mistral", hidden_act="silu", rms_norm_eps=1e-5,
        rope_theta=10000.0, sliding_window=4, tie_word_embeddings=False,
    ),  # fmt: skip
    "mistral_nemo": WIDE
    | dict(
        architectures=["MistralForCausalLM"], model_type="mistral", hidden_act="silu", rms_norm_eps=1e-5,
        rope_theta=1000000.0, sliding_window=None, head_dim=128, tie_word_embeddings=False,
    ),  # fmt: skip
    "smollm3": WIDE
    | dict(
        architectures=["SmolLM3ForCausalLM"], model_type="smollm3", num_hidden_layers=4, hidden_act="silu",
        rms_norm_eps=1e-6, rope_theta=5000000.0, rope_scaling=None, no_rope_layer_interval=4,
        no_rope_layers=[1, 1, 1, 0], use_sliding_window=False, sliding_window=None, attention_bias=False,
        mlp_bias=False, max_window_layers=28, pad_token_id=0, tie_word_embeddings=True,
    ),  # fmt: skip
    "qwen2": WIDE
    | dict(
        architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_act="silu", rms_norm_eps=1e-6,
        rope_theta=1000000.0, sliding_window=4, max_window_layers=3, use_sliding_window=False,
        tie_word_embeddings=True,
    ),  # fmt: skip
    "qwen2_window": NARROW
    | dict(
        architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_act="silu", rms_norm_eps=1e-6,
        rope_theta=1000000.0, sliding_window=4, max_window_layers=1, use_sliding_window=True,
        tie_word_embeddings=False,
    ),  # fmt: skip
    "qwen3": WIDE
    | dict(
        architectures=["Qwen3ForCausalLM"], model_type="qwen3", head_dim=128, hidden_act="silu",
        rms_norm_eps=1e-6, rope_theta=1000000.0, rope_scaling=None, attention_bias=False,
        sliding_window=None, max_window_layers=3, use_sliding_window=False, tie_word_embeddings=True,
    ),  # fmt: skip
    "gemma2": WIDE
    | dict(
        architectures=["Gemma2ForCausalLM"], model_type="gemma2", num_hidden_layers=4, head_dim=128,
        hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6,
        query_pre_attn_scalar=100, rope_theta=10000.0, sliding_window=4, attn_logit_softcapping=5.0,
        final_logit_softcapping=4.0, attention_bias=False, pad_token_id=0,
    ),  # fmt: skip
    "gemma3_text": WIDE
    | gemma3(
        _sliding_window_pattern=3, use_bidirectional_attention=False,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
    ),  # fmt: skip
    # The form of the first releases: the pattern is a number, and the full layers are scaled.
    "gemma3_scaled": NARROW
    | gemma3(
        head_dim=32, query_pre_attn_scalar=32, sliding_window_pattern=2,
        rope_scaling=dict(rope_type="linear", factor=8.0),
    ),  # fmt: skip
    "phi3": WIDE | phi3(sliding_window=6),
    "phi3_longrope": NARROW
    | phi3(
        rope_scaling=LONGROPE, partial_rotary_factor=0.75, original_max_position_embeddings=16,
        tie_word_embeddings=True,
    ),  # fmt: skip
    "granite": WIDE
    | dict(
        architectures=["GraniteForCausalLM"], model_type="granite", hidden_act="silu", rms_norm_eps=1e-5,
        rope_theta=10000000.0, rope_scaling=None, attention_bias=False, mlp_bias=False,
        attention_multiplier=0.0625, embedding_multiplier=12.0, logits_scaling=8.0,
        residual_multiplier=0.22, tie_word_embeddings=True,
    ),  # fmt: skip
    "olmo2": WIDE
    | dict(
        architectures=["Olmo2ForCausalLM"], model_type="olmo2", hidden_act="silu", rms_norm_eps=1e-6,
        rope_theta=500000.0, rope_scaling=None, attention_bias=False, pad_token_id=0,
        tie_word_embeddings=False,
    ),  # fmt: skip
    "mixtral": WIDE
    | dict(
        architectures=["MixtralForCausalLM"], model_type="mixtral", hidden_act="silu", rms_norm_eps=1e-5,
        rope_theta=1000000.0, sliding_window=None, num_local_experts=4, num_experts_per_tok=2,
        router_aux_loss_coef=0.02, tie_word_embeddings=False,
    ),  # fmt: skip
    "qwen3_moe": WIDE | qwen3_moe(),
    # A dense layer among the sparse ones, and router weights that are not renormalised.
    "qwen3_moe_dense": WIDE
    | qwen3_moe(head_dim=32, moe_intermediate_size=64, mlp_only_layers=[1], norm_topk_prob=False)
    | dict(hidden_size=64, intermediate_size=96),
}

# Cases that also run a sequence past original_max_position_embeddings.
PAST_ORIGINAL = ("llama_dynamic", "llama_yarn", "llama_yarn_tuned", "llama_llama3", "phi3_longrope")
# Here transformers keeps cached keys at the angles of the step that wrote them, while a full forward
# pass turns all of them by the final length: the two differ by design, and both are stored.
LENGTH_DEPENDENT = ("llama_dynamic", "phi3_longrope")

# Cases that also hold where the first sequence looks: grouped heads, norms on queries and keys, windows and soft caps.
LOOKS = ("llama", "gemma2", "gemma3_text", "qwen3", "olmo2")

# Settings that the stored logits must depend on: each change has to move some logit by FELT.
FELT = 1e-2
MATTERS = {
    "llama": [dict(rope_theta=500000.0)],
    "llama_linear": [dict(rope_scaling=None)],
    "llama_dynamic": [dict(rope_scaling=None)],
    "llama_yarn": [dict(rope_scaling=None), dict(rope_scaling=dict(type="linear", factor=4.0))],
    "llama_yarn_tuned": [dict(rope_scaling=None)],
    "llama_llama3": [dict(rope_scaling=None), dict(rope_scaling=dict(type="linear", factor=4.0))],
    "mistral": [dict(sliding_window=None), dict(sliding_window=5)],
    "smollm3": [dict(no_rope_layers=[1, 1, 1, 1]), dict(no_rope_layers=[0, 1, 1, 1])],
    "qwen2_window": [dict(use_sliding_window=False), dict(max_window_layers=2), dict(sliding_window=3)],
    "gemma2": [
        dict(attn_logit_softcapping=None), dict(final_logit_softcapping=None), dict(sliding_window=5),
        dict(query_pre_attn_scalar=128), dict(hidden_activation="silu"),
    ],
    "gemma3_text": [
        dict(rope_theta=10000.0), dict(rope_local_base_freq=1000000.0), dict(sliding_window=5),
        dict(query_pre_attn_scalar=128), dict(layer_types=["full_attention"] * 4),
    ],
    "gemma3_scaled": [dict(rope_scaling=None), dict(sliding_window_pattern=3)],
    "phi3": [dict(sliding_window=None)],
    "phi3_longrope": [dict(max_position_embeddings=64), dict(rope_scaling=None)],
    "granite": [
        dict(attention_multiplier=0.125), dict(embedding_multiplier=1.0), dict(logits_scaling=1.0),
        dict(residual_multiplier=1.0),
    ],
    "mixtral": [dict(num_experts_per_tok=1), dict(num_experts_per_tok=3)],
    "qwen3_moe": [dict(norm_topk_prob=False), dict(num_experts_per_tok=1)],
    "qwen3_moe_dense": [dict(norm_topk_prob=True)],
}  # fmt: skip


def cached(model, tokens, prefill: int):
    """Logits of all positions: a prefill of `prefill` tokens, then one token at a time."""
    cache = transformers.DynamicCache(config=model.config)
    out = [model(tokens[:, :prefill], past_key_values=cache, use_cache=True).logits]
    for t in range(prefill, tokens.shape[1]):
        out.append(model(tokens[:, t : t + 1], past_key_values=cache, use_cache=True).logits)
    return torch.cat(out, 1)


def check_router(name: str, model, tokens) -> None:
    """A choice of experts that hangs on the last bit would make a useless case."""
    if not hasattr(model.config, "num_experts_per_tok"):
        return
    top = model.config.num_experts_per_tok
    for logits in model(tokens, output_router_logits=True).router_logits:
        order = logits.softmax(-1).sort(-1, descending=True).values
        gap = (order[:, top - 1] - order[:, top]).min().item()
        if gap < 1e-3:
            raise SystemExit(f"{name}: the router's choice hangs on {gap:.1e}")


def activations(model, tokens, positions) -> dict:
    """Input of the first layer, output of the first layer, and the normed last hidden state."""
    seen = {}

    def keep(key, value):
        value = value[0] if isinstance(value, tuple) else value
        seen[f"activation.{key}"] = value[:, positions].numpy()

    layers = model.model.layers
    hooks = [
        layers[0].register_forward_pre_hook(
            lambda _, args, kwargs: keep("embedding", args[0] if args else kwargs["hidden_states"]),
            with_kwargs=True,
        ),
        layers[0].register_forward_hook(lambda _m, _i, out: keep("layer.0", out)),
        model.model.norm.register_forward_hook(lambda _m, _i, out: keep("norm", out)),
    ]
    model(tokens)
    for hook in hooks:
        hook.remove()
    return seen


def attention(model, tokens):
    """Weights of attention of one sequence: layers, heads, queries, keys."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    seen = model(tokens, output_attentions=True).attentions
    model.set_attn_implementation(before)
    return torch.cat(seen).numpy()


def check_settings(name: str, config: dict, tokens, expected) -> None:
    """Each setting of MATTERS must show in the logits."""
    for change in MATTERS.get(name, []):
        other, _ = filled_model(config | change, getattr(transformers, config["architectures"][0]))
        moved = (other(tokens).logits - torch.from_numpy(expected)).abs().max().item()
        if moved < FELT:
            raise SystemExit(f"{name}: {change} moves the logits by {moved:.1e} only")


def make(name: str, config: dict) -> None:
    model, tensors = filled_model(config, getattr(transformers, config["architectures"][0]))
    folder = HERE / name
    tokens = torch.from_numpy(ids("input_ids", [2, LENGTH], config["vocab_size"]))
    positions = [0, LENGTH - 1]
    check_router(name, model, tokens)
    logits = model(tokens).logits
    arrays = {"input_ids": tokens.numpy(), "logits": logits.numpy(), "positions": np.array(positions)}
    arrays |= activations(model, tokens, positions)
    if name in LOOKS:
        arrays["attention"] = attention(model, tokens[:1])
    worst = (cached(model, tokens, 5) - logits).abs().max().item()
    if worst > AGREE:
        raise SystemExit(f"{name}: cached decoding differs by {worst}")
    if name in PAST_ORIGINAL:
        tokens = torch.from_numpy(ids("long.input_ids", [2, LONG], config["vocab_size"]))
        long = model(tokens).logits
        arrays |= {"long.input_ids": tokens.numpy(), "long.logits": long.numpy()}
        stepwise = cached(model, tokens, LENGTH)
        gap = (stepwise - long).abs().max().item()
        if name in LENGTH_DEPENDENT:
            arrays["long.cached_logits"] = stepwise.numpy()
            assert gap > 1e-3, name
        elif gap > AGREE:
            raise SystemExit(f"{name}: cached decoding of the long input differs by {gap}")
    check_settings(name, config, tokens, arrays.get("long.logits", arrays["logits"]))
    write(folder, config, tensors, arrays)
    with tempfile.TemporaryDirectory() as saved:
        model.config.save_pretrained(saved)
        text = (Path(saved) / "config.json").read_text()
    (folder / "config.v5.json").write_text(text.rstrip() + "\n")
    spread = logits.std().item()
    size = (folder / "case.safetensors").stat().st_size
    print(f"{name:18} logits std {spread:5.2f}, cached differs by {worst:.1e}, {size} bytes")


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in sys.argv[1:] or CASES:
        make(name, CASES[name])


if __name__ == "__main__":
    main()
