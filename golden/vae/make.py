"""Golden cases of the autoencoder: diffusers' AutoencoderKL in f64.

    python3 golden/vae/make.py [CASE ...]

golden/README.md describes the arrays.
"""

import sys
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from twin import array, filled, gradients, loss, torch_version, write  # noqa: E402


def config(**more):
    widths = more.get("block_out_channels", [16, 24])
    return dict(
        _class_name="AutoencoderKL", act_fn="silu", in_channels=3, out_channels=3, latent_channels=4,
        block_out_channels=widths, down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths), layers_per_block=1, norm_num_groups=4,
        scaling_factor=0.18215, sample_size=16,
    ) | more  # fmt: skip


CASES = {
    # As Stable Diffusion has it.
    "quant": config(layers_per_block=2),
    # As Stable Diffusion 3 and Flux have it.
    "plain": config(
        block_out_channels=[8, 16, 16], latent_channels=6, use_quant_conv=False, use_post_quant_conv=False,
        scaling_factor=1.5305, shift_factor=0.0609,
    ),  # fmt: skip
}


def make(name: str) -> None:
    c = CASES[name]
    model = AutoencoderKL(**{k: v for k, v in c.items() if not k.startswith("_")}).double()
    rows = filled(model)
    x = array("x", [2, 3, 16, 24]).requires_grad_()
    posterior = model.encode(x).latent_dist
    z = posterior.mean + posterior.std * array("noise", list(posterior.mean.shape))
    output = model.decode(z).sample
    kl = posterior.kl()
    (loss(output) + 0.1 * kl.sum()).backward()
    arrays = {
        "mean": posterior.mean,
        "log_variance": posterior.logvar,
        "kl": kl,
        "output": output,
    } | gradients(model, rows, {"x": x})
    write(HERE / name, c, rows, arrays, f"diffusers {diffusers.__version__}, {torch_version()}")


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(name)


if __name__ == "__main__":
    main()
