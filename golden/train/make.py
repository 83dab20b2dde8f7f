"""The loss curve of a tiny Llama over 200 steps by transformers and PyTorch, for crates/train/tests/curve.rs.

    python3 golden/train/make.py

First weights are filled by golden/fill.py, tokens come from a formula, so both sides train on the
same numbers in the same order: AdamW, warm-up and cosine, clipping.
"""

import json
import math
import sys
from pathlib import Path

import torch
import transformers

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from fill import fill  # noqa: E402

VOCAB, LENGTH, BATCH, STEPS, WARM_UP, PEAK = 64, 24, 4, 200, 20, 3e-3
CONFIG = dict(
    architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=VOCAB, hidden_size=32,
    intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    max_position_embeddings=LENGTH, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=10000.0,
    attention_bias=False, tie_word_embeddings=True,
)  # fmt: skip


def token(step, sequence, i):
    """Walks whose stride is one of three, with a turn now and then."""
    s = step * BATCH + sequence
    return (s * 7 + i * (1 + s % 3) + (i * i // 11) * (s % 5)) % VOCAB


def rate(step):
    if step <= WARM_UP:
        return PEAK * step / WARM_UP
    done = (step - WARM_UP) / (STEPS - WARM_UP)
    return PEAK * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


def main():
    config = transformers.LlamaConfig(**{k: v for k, v in CONFIG.items() if k != "model_type"}, attn_implementation="eager")
    model = transformers.LlamaForCausalLM(config).float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            mean, scale = (1.0, 0.0) if p.dim() == 1 else (0.0, 0.0625)
            p.copy_(torch.from_numpy(fill(name, list(p.shape), mean, scale)))
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [dict(params=matrices, weight_decay=0.1), dict(params=vectors, weight_decay=0.0)]
    optimiser = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for step in range(1, STEPS + 1):
        rows = [[token(step, s, i) for i in range(LENGTH + 1)] for s in range(BATCH)]
        ids = torch.tensor(rows)
        logits = model(ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCAB), ids[:, 1:].reshape(-1))
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    names = [dict(name=n, shape=list(p.shape)) for n, p in model.named_parameters()]
    reference = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"
    out = dict(reference=reference, config=CONFIG, tensors=names, losses=losses, norms=norms)
    (HERE / "curve.json").write_text(json.dumps(out, indent=1) + "\n")
    print(losses[0], losses[99], losses[-1])


if __name__ == "__main__":
    main()
