"""Speed of the diffusion transformer in PyTorch: the peer of `cargo bench --bench dit` of medley-models.

    python3 dit.py --threads N [--batch B] [--rounds R]

The network is the golden cases' twin with PyTorch's fused functions (`scaled_dot_product_attention`,
`rms_norm`), f32. Prints one JSON object: samples per second of the forward pass alone and of forward and
backward, medians.
"""

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

GOLDEN = Path(__file__).resolve().parents[3] / "golden"
sys.path.insert(0, str(GOLDEN))
spec = importlib.util.spec_from_file_location("dit_twin", GOLDEN / "dit/make.py")
twin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(twin)

CONFIG = dict(
    model_type="dit", channels=3, sample_height=32, sample_width=32, patch_size=4, hidden_size=256,
    num_hidden_layers=8, num_attention_heads=4, intermediate_size=1024, text="cross", text_width=384,
    num_classes=0, shared_modulation=True, rope_theta=100.0, norm_eps=1e-6,
)  # fmt: skip
TOKENS = 12


def attend(q, k, v, lengths=None):
    mask = None
    if lengths is not None and min(lengths) < k.shape[2]:
        mask = (torch.arange(k.shape[2])[None] < torch.tensor(lengths)[:, None])[:, None, None]
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    batch, heads, tokens, dim = mixed.shape
    return mixed.transpose(1, 2).reshape(batch, tokens, heads * dim)


class Norm(torch.nn.RMSNorm):
    pass


def sinusoids(t):
    return sinusoids_f64(t.double()).float()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--rounds", type=int, default=7)
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    twin.attend, twin.Norm, twin.sinusoids = attend, Norm, sinusoids
    rotations = twin.rotations
    twin.rotations = lambda *a: rotations(*a).float()
    model = twin.Dit(CONFIG).float()
    b = args.batch
    x, target = torch.randn(b, 3, 32, 32), torch.randn(b, 3, 32, 32)
    text, lengths, t = torch.randn(b, TOKENS, 384), [TOKENS] * b, torch.rand(b) * 1000

    def forward():
        with torch.no_grad():
            return model(x, t, text, lengths)

    def both():
        model.zero_grad(set_to_none=True)
        F.mse_loss(model(x, t, text, lengths), target).backward()

    def seconds(f):
        f()
        times = []
        for _ in range(args.rounds):
            start = time.perf_counter()
            f()
            times.append(time.perf_counter() - start)
        return sorted(times)[len(times) // 2]

    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "parameters": sum(p.numel() for p in model.parameters()),
                "threads": args.threads,
                "batch": b,
                "forward_samples_per_second": round(b / seconds(forward), 2),
                "both_samples_per_second": round(b / seconds(both), 2),
            }
        )
    )


sinusoids_f64 = twin.sinusoids

if __name__ == "__main__":
    main()
