"""The loss curve of a tiny diffusion transformer over 200 steps of flow matching by PyTorch, for
crates/train/tests/denoise_curve.rs.

    python3 golden/train/denoise.py

The twin is that of golden/dit. Weights, pictures, noise and captions are filled by golden/fill.py: both sides train on the
same numbers in the same order with AdamW, warm-up and cosine, clipping.
"""

import importlib.util
import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from twin import array, rule, torch_version  # noqa: E402
from fill import fill  # noqa: E402

sys.path.insert(0, str(HERE))
from make import rate  # noqa: E402

spec = importlib.util.spec_from_file_location("dit", HERE.parent / "dit" / "make.py")
dit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dit)

STEPS, BATCH, TOKENS, PICTURES = 200, 4, 5, 6
CONFIG = dit.config(
    text="cross", text_width=24, shared_modulation=True, patch_size=4, stem_channels=[12, 20], sample_width=8,
    num_hidden_layers=2,
)  # fmt: skip


def main():
    torch.set_num_threads(1)
    model = dit.Dit(CONFIG).double()
    names = []
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            mean, scale = rule(name, list(p.shape))
            names.append(dict(name=name, shape=list(p.shape), mean=mean, scale=scale))
            p.copy_(torch.from_numpy(fill(name, list(p.shape), mean, scale)))
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [dict(params=matrices, weight_decay=0.1), dict(params=vectors, weight_decay=0.0)]
    optimiser = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    c, losses = CONFIG, []
    shape = [c["channels"], c["sample_height"], c["sample_width"]]
    for step in range(1, STEPS + 1):
        numbers = [(step * BATCH + i) % PICTURES for i in range(BATCH)]
        pictures = torch.stack([array(f"picture.{n}", shape) for n in numbers])
        text = torch.stack([array(f"text.{n}", [TOKENS, c["text_width"]]) for n in numbers])
        noise = array(f"noise.{step}", [BATCH, *shape], scale=2.0)
        sigma = array(f"sigma.{step}", [BATCH], 0.5, 0.5)
        lengths = [n % (TOKENS + 1) for n in numbers]
        s = sigma[:, None, None, None]
        noisy, target = (1 - s) * pictures + s * noise, noise - pictures
        output = model(noisy, sigma * 1000, text, lengths)
        loss = (output - target).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate(step) / 3
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    out = dict(reference=torch_version(), config=CONFIG, tensors=names, losses=losses)
    (HERE / "denoise.json").write_text(json.dumps(out, indent=1) + "\n")
    print(losses[0], losses[99], losses[-1])


if __name__ == "__main__":
    main()
