"""Steps of PyTorch's optimisers, for crates/train/tests/optim.rs.

    python3 golden/optim/make.py

Parameters and gradients are filled by golden/fill.py. AdamW is torch.optim.AdamW. Muon is
torch.optim.Muon, once as it is (its iteration runs in bf16) and once with that iteration in f32.
`clip` is the norm that torch.nn.utils.clip_grad_norm_ returns, and the gradients after it.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from fill import fill  # noqa: E402

STEPS = 3
SHAPES = [(24, 40), (40, 24), (16, 16)]


def filled(name, shape, scale=1.0):
    return torch.from_numpy(fill(name, shape, 0.0, scale))


def run(optimiser_class, shape, **settings):
    p = torch.nn.Parameter(filled(f"p{shape}", shape))
    optimiser = optimiser_class([p], **settings)
    out = []
    for step in range(STEPS):
        p.grad = filled(f"g{step}{shape}", shape, 0.1)
        optimiser.step()
        out.append(p.detach().clone().numpy())
    return np.stack(out)


class Muon32(torch.optim.Muon):
    """torch.optim.Muon with its iteration in f32."""

    def step(self):
        module = sys.modules["torch.optim._muon"]
        whole, module._zeropower_via_newtonschulz = module._zeropower_via_newtonschulz, newton_schulz
        try:
            super().step()
        finally:
            module._zeropower_via_newtonschulz = whole


def newton_schulz(grad, coefficients, steps, eps):
    a, b, c = coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if grad.size(0) > grad.size(1) else x


def main():
    arrays = {}
    for i, shape in enumerate(SHAPES):
        arrays[f"adamw.{i}"] = run(torch.optim.AdamW, shape, lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
        arrays[f"muon.{i}"] = run(Muon32, shape, lr=0.02, weight_decay=0.1)
        arrays[f"muon_bf16.{i}"] = run(torch.optim.Muon, shape, lr=0.02, weight_decay=0.1)
        arrays[f"muon_as_adamw.{i}"] = run(
            Muon32, shape, lr=0.01, weight_decay=0.0, nesterov=False, adjust_lr_fn="match_rms_adamw"
        )
    ps = [torch.nn.Parameter(torch.zeros(s)) for s in SHAPES]
    for p, shape in zip(ps, SHAPES):
        p.grad = filled(f"g0{shape}", shape, 0.1)
    arrays["clip.norm"] = torch.nn.utils.clip_grad_norm_(ps, 0.5).numpy().reshape(1)
    arrays["clip.gradient"] = ps[0].grad.numpy()
    arrays["shapes"] = np.array(SHAPES, dtype=np.int64)
    contiguous = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    save_file(contiguous, HERE / "case.safetensors", metadata={"reference": f"torch {torch.__version__.split('+')[0]}"})


if __name__ == "__main__":
    main()
