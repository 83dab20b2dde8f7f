"""Speed of drawing in PyTorch: the peer of `medley bench image`.

    python3 image.py --make DIR                 a model of the icons' size with random weights, and its upscaler
    python3 image.py --model DIR [--threads N] [--rounds R]

The networks are the golden cases' twins with PyTorch's fused functions (`scaled_dot_product_attention`, `rms_norm`),
f32, eager. A picture is `steps` evaluations of two samples (with and without the prompt), guided, with Euler's method for
flows, then one pass of the upscaler. The states of the prompt are random numbers: reading it is not timed. Prints one
JSON object with medians in seconds.
"""

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parents[3] / "golden"
sys.path.insert(0, str(GOLDEN))


def load(name):
    spec = importlib.util.spec_from_file_location(f"{name}_twin", GOLDEN / name / "make.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


twin, rrdb = load("dit"), load("rrdb")

# "a red apple" with its two marks.
TOKENS = 5
CONFIG = dict(
    model_type="dit", channels=3, sample_height=32, sample_width=32, patch_size=4, hidden_size=256,
    num_hidden_layers=8, num_attention_heads=4, intermediate_size=1024, text="cross", text_width=384,
    num_classes=0, shared_modulation=True, rope_theta=100.0, norm_eps=1e-6,
)  # fmt: skip
UPSCALER = dict(model_type="rrdb", channels=3, scale=4, num_feat=32, num_block=6, num_grow_ch=16)
masks = {}


def attend(q, k, v, lengths=None):
    """0 where there is no text; masks are made once."""
    bias, some = None, 1
    if lengths is not None:
        key = (tuple(lengths), k.shape[2])
        if key not in masks:
            mask = (torch.arange(k.shape[2])[None] < torch.tensor(lengths)[:, None])[:, None, None]
            masks[key] = torch.where(mask, 0.0, -1e9), mask.any(-1, keepdim=True).float()
        bias, some = masks[key]
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias) * some
    batch, heads, tokens, dim = mixed.shape
    return mixed.transpose(1, 2).reshape(batch, tokens, heads * dim)


def fuse():
    """PyTorch's fused functions in the twin; what depends on the size alone is computed once."""
    sinusoids, original, along, kept = twin.sinusoids, twin.rotations, twin.along, {}

    def rotations(*a):
        if a not in kept:
            kept[a] = original(*a).float()
        return kept[a]

    def lines(axes, still, theta):
        key = (tuple(axes), still, theta)
        if key not in kept:
            kept[key] = along(axes, still, theta).float()
        return kept[key]

    twin.along = lines
    twin.attend, twin.Norm, twin.rotations = attend, torch.nn.RMSNorm, rotations
    twin.sinusoids = lambda t: sinusoids(t.double()).float()


def weights(model):
    """Small random numbers around what each parameter begins with, so that no output is 0."""
    rng = np.random.default_rng(0)

    def of(name, tensor):
        shape = tuple(tensor.shape)
        if name.endswith("norm.weight"):
            return np.ones(shape, np.float32)
        if len(shape) == 1:
            return np.zeros(shape, np.float32)
        fan = int(np.prod(shape[1:]))
        return (rng.standard_normal(shape) * 0.5 / np.sqrt(fan)).astype(np.float32)

    return {name: of(name, tensor) for name, tensor in model.state_dict().items()}


def make(folder):
    sampler = dict(name="flow_euler", steps=20, guidance=3.0, upscale=4)
    config = dict(
        medium="image", architecture="dit", model=CONFIG, size=[32, 32], text_encoder="minilm", text_tokens=32,
        upscaler="upscaler", sampler=sampler,
    )  # fmt: skip
    up = dict(medium="image", architecture="rrdb", model=UPSCALER)
    for path, config, network in [
        (folder, config, twin.Dit(CONFIG)),
        (folder / "upscaler", up, rrdb.Rrdb(UPSCALER)),
    ]:
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text(json.dumps(config))
        save_file(weights(network), path / "model.safetensors")


def loaded(network, folder):
    network = network.float().eval()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network


def median(f, rounds):
    f()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--make", type=Path)
    p.add_argument("--model", type=Path)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    args = p.parse_args()
    fuse()
    if args.make:
        return make(args.make)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = json.loads((args.model / "config.json").read_text())
    network = loaded(twin.Dit(config["model"]), args.model)
    folder = args.model / config["upscaler"]
    if not folder.is_dir():
        folder = args.model.parent / config["upscaler"]
    upscaler = loaded(rrdb.Rrdb(json.loads((folder / "config.json").read_text())["model"]), folder)
    steps, guidance = config["sampler"]["steps"], config["sampler"]["guidance"]
    width, height = config["size"]
    text = torch.randn(2, TOKENS, config["model"]["text_width"])
    frames = config["clip"]["frames"] if "clip" in config else 1
    noise = torch.randn(1, 3, frames, height, width)

    @torch.no_grad()
    def sample():
        x = noise
        levels = torch.linspace(1, 0, steps + 1).tolist()
        for here, there in zip(levels, levels[1:]):
            t = torch.full((2,), here * 1000)
            out = network(x.expand(2, -1, -1, -1, -1), t, text, [TOKENS, 0])
            guided = out[1:] + guidance * (out[:1] - out[1:])
            x = x + (there - here) * guided
        return x

    # Of a clip one frame.
    picture = sample()[:, :, 0]

    # Convolutions in the faster of both memory formats.
    enlarging = []
    for form in (torch.contiguous_format, torch.channels_last):
        network_of = upscaler.to(memory_format=form)
        pixels = ((picture + 1) / 2).to(memory_format=form)

        @torch.no_grad()
        def enlarge():
            return network_of(pixels)

        enlarging.append(median(enlarge, args.rounds))
    sampling, upscaling = median(sample, args.rounds), min(enlarging)
    print(
        json.dumps(
            {
                "version": f"torch {torch.__version__}",
                "parameters": sum(p.numel() for p in network.parameters()),
                "upscaler_parameters": sum(p.numel() for p in upscaler.parameters()),
                "sample_s": sampling,
                "upscale_s": upscaling,
                "picture_s": sampling + upscaling,
            }
        )
    )


if __name__ == "__main__":
    main()
