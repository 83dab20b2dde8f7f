"""Speed of the picture models in PyTorch: the peer of medley-models' bench `pictures`.

    python3 pictures.py --threads N [MODEL ...]

The networks are the twins of the golden cases, with PyTorch's fused functions where the twins spell things out, f32;
the autoencoder is diffusers'. Convolutions run in the faster of both memory formats. Prints one JSON object a model:
samples per second of the forward pass alone and of forward and backward, medians.
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
ROUNDS, TOKENS = 7, 12


def load(name):
    spec = importlib.util.spec_from_file_location(f"{name}_twin", GOLDEN / name / "make.py")
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    return twin


def seconds(f):
    f()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def report(name, batch, model, run):
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.02)

    def forward():
        with torch.no_grad():
            run()

    def both():
        model.zero_grad(set_to_none=True)
        run().square().mean().backward()

    line = {
        "model": name,
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
        "batch": batch,
        "forward_samples_per_second": round(batch / seconds(forward), 2),
        "both_samples_per_second": round(batch / seconds(both), 2),
    }
    return line


def images(name, batch, model, run, x):
    """The better of both memory formats, for each of both figures."""
    lines = []
    for form in (torch.contiguous_format, torch.channels_last):
        model = model.to(memory_format=form)
        y = x.to(memory_format=form) if x.dim() == 4 else x
        lines.append(report(name, batch, model, lambda: run(model, y)))
    best = lines[0]
    for key in ("forward_samples_per_second", "both_samples_per_second"):
        best[key] = max(line[key] for line in lines)
    print(json.dumps(best), flush=True)


def transformer():
    """The diffusion transformer of 9.4 M parameters."""
    twin = load("dit")

    def attend(q, k, v, lengths=None):
        mixed = F.scaled_dot_product_attention(q, k, v)
        batch, heads, tokens, dim = mixed.shape
        return mixed.transpose(1, 2).reshape(batch, tokens, heads * dim)

    sinusoids, rotations = twin.sinusoids, twin.rotations
    twin.attend, twin.Norm = attend, torch.nn.RMSNorm
    twin.sinusoids = lambda t: sinusoids(t.double()).float()
    twin.rotations = lambda *a: rotations(*a).float()
    config = dict(
        model_type="dit", channels=3, sample_height=32, sample_width=32, patch_size=4, hidden_size=256,
        num_hidden_layers=8, num_attention_heads=4, intermediate_size=1024, text="cross", text_width=384,
        num_classes=0, shared_modulation=True, rope_theta=100.0, norm_eps=1e-6,
    )  # fmt: skip
    return twin.Dit(config).float()


def dit(batch):
    model = transformer()
    x, text = torch.randn(batch, 3, 32, 32), torch.randn(batch, TOKENS, 384)
    t, lengths = torch.rand(batch) * 1000, [TOKENS] * batch
    print(json.dumps(report("dit", batch, model, lambda: model(x, t, text, lengths))), flush=True)


def rrdb(batch):
    config = dict(channels=3, scale=4, num_feat=64, num_block=4, num_grow_ch=32)
    model = load("rrdb").Rrdb(config)
    images("rrdb", batch, model, lambda m, x: m(x), torch.rand(batch, 3, 32, 32))


def vae(batch):
    from diffusers import AutoencoderKL

    model = AutoencoderKL(
        block_out_channels=[64, 128, 128], down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3, layers_per_block=1, latent_channels=4,
    )  # fmt: skip
    run = lambda m, x: m.decode(m.encode(x).latent_dist.mean).sample  # noqa: E731
    images("vae", batch, model, run, torch.randn(batch, 3, 64, 64))


def stylegan2(batch):
    twin = load("stylegan2")
    config = dict(
        latent=128, style=128, mapping_layers=4, condition=64, channels=3, size=32, channel_base=2048,
        channel_max=128,
    )  # fmt: skip
    condition = torch.randn(batch, 64)
    generator = twin.Generator(config)
    run = lambda m, z: m.synthesis(m.mapping(z, condition))  # noqa: E731
    images("stylegan2 generator", batch, generator, run, torch.randn(batch, 128))
    discriminator = twin.Discriminator(config)
    run = lambda m, x: m(x, condition)  # noqa: E731
    images("stylegan2 discriminator", batch, discriminator, run, torch.randn(batch, 3, 32, 32))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("models", nargs="*")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    for name, f, batches in [
        ("dit", dit, [2, 32]),
        ("rrdb", rrdb, [1, 8]),
        ("vae", vae, [4]),
        ("stylegan2", stylegan2, [16]),
    ]:
        if not args.models or name in args.models:
            for batch in batches:
                f(batch)


if __name__ == "__main__":
    main()
