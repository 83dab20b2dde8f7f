"""Golden cases of low-rank adapters: PEFT over the tiny decoders of golden/decoder, run in f64.

    python3 golden/lora/make.py [CASE ...]

golden/README.md describes the arrays.
"""

import json
import sys
from pathlib import Path

import numpy as np
import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from case import filled_model  # noqa: E402
from fill import fill, ids  # noqa: E402
from twin import SAMPLES, gradients, write  # noqa: E402

ATTENTION, MLP = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
CASES = {
    "llama": dict(r=4, lora_alpha=8, target_modules=ATTENTION + MLP),
    "qwen3": dict(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], use_rslora=True),
    "gemma3_text": dict(r=4, lora_alpha=4, target_modules=ATTENTION + MLP),
    "phi3": dict(r=4, lora_alpha=8, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
}
IGNORED = -100
STEP = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)


def targets(tokens):
    """The next token of each but the last; no loss on the first three, as on a question."""
    following = torch.full_like(tokens, IGNORED)
    following[:, :-1] = tokens[:, 1:]
    following[:, :3] = IGNORED
    return following


def samples(tensors):
    picked = [t.reshape(-1)[[i * t.numel() // SAMPLES for i in range(SAMPLES)]] for t in tensors]
    return torch.stack(picked)


def make(name):
    base = json.loads((HERE.parent / "decoder" / name / "config.json").read_text())
    model, _ = filled_model(base, getattr(transformers, base["architectures"][0]))
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **CASES[name])).double()
    rows, parameters = [], {}
    for long, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        row = dict(name=long.replace(".default", ""), shape=list(parameter.shape), mean=0.0, scale=0.125)
        rows.append(row)
        parameters[row["name"]] = parameter
    rows.sort(key=lambda row: row["name"])
    for row in rows:
        values = fill(row["name"], row["shape"], row["mean"], row["scale"])
        parameters[row["name"]].data.copy_(torch.from_numpy(values))
    tokens = torch.from_numpy(ids("input_ids", [2, 12], base["vocab_size"]).astype(np.int64))
    logits = model(tokens).logits
    with model.disable_adapter(), torch.no_grad():
        felt = (model(tokens).logits - logits).abs().max().item()
    if felt < 0.1:
        raise SystemExit(f"{name}: the adapter moves no logit by more than {felt}")
    loss = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), targets(tokens).reshape(-1), ignore_index=IGNORED
    )
    loss.backward()
    holder = torch.nn.Module()
    holder.named_parameters = lambda: parameters.items()
    arrays = dict(logits=logits, loss=loss.reshape(1)) | gradients(holder, rows, {})
    optimiser = torch.optim.AdamW([parameters[row["name"]] for row in rows], **STEP)
    optimiser.step()
    arrays["step.samples"] = samples([parameters[row["name"]].detach() for row in rows])
    reference = f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float64"
    config = dict(peft_type="LORA", task_type="CAUSAL_LM", base_model_name_or_path=f"golden/decoder/{name}", bias="none") | CASES[name]
    write(HERE / name, config, rows, arrays, reference)


if __name__ == "__main__":
    for case in sys.argv[1:] or CASES:
        make(case)
