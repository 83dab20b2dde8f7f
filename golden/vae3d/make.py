"""Golden cases of the autoencoder of clips: diffusers' AutoencoderKLWan in f64.

    python3 golden/vae3d/make.py [CASE ...]

golden/README.md describes the arrays. Clips go through the encoder one frame and then four at a time, latents through the
decoder one by one, as diffusers does it; `output` is not clamped.
"""

import sys
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders import autoencoder_kl_wan
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import twin  # noqa: E402
from twin import array, filled, gradients, loss, torch_version, write  # noqa: E402

# diffusers enlarges in f32 whatever it is given.
autoencoder_kl_wan.WanUpsample.forward = nn.Upsample.forward


def config(**more):
    return dict(
        model_type="vae3d", in_channels=3, out_channels=3, base_dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1,
        temperal_downsample=[True], latents_mean=[0.5, -0.25, 0.125, 0.0], latents_std=[2.0, 1.5, 0.5, 1.0],
        attention=False,
    ) | more  # fmt: skip


CASES = {
    # Tiles of space are exact.
    "tiles": config(),
    # As Wan 2.1 has it, with a level that keeps the frames.
    "wan": config(
        _class_name="AutoencoderKLWan", base_dim=4, dim_mult=[1, 2, 2, 3], temperal_downsample=[False, True, True],
        attention=True,
    ),
}  # fmt: skip
# Frames and sides of the clips.
SIZES = {"tiles": [5, 8, 12], "wan": [9, 16, 24]}


def rule(name: str, shape) -> tuple[float, float]:
    return (1.0, 0.25) if name.endswith("gamma") else plain_rule(name, shape)


plain_rule, twin.rule = twin.rule, rule


def decode(model, z):
    """diffusers' `decode` without its clamp."""
    model.clear_cache()
    x, frames = model.post_quant_conv(z), []
    for i in range(z.shape[2]):
        model._conv_idx = [0]
        frames.append(
            model.decoder(x[:, :, i : i + 1], model._feat_map, model._conv_idx, first_chunk=i == 0)
        )
    return torch.cat(frames, dim=2)


def make(name: str) -> None:
    c = CASES[name]
    ours = ("_class_name", "model_type", "attention")
    model = AutoencoderKLWan(**{k: v for k, v in c.items() if k not in ours})
    if not c["attention"]:
        for half in (model.encoder, model.decoder):
            half.mid_block.attentions = nn.ModuleList([nn.Identity()])
    model = model.double()
    rows = filled(model)
    x = array("x", [2, 3] + SIZES[name]).requires_grad_()
    posterior = model.encode(x).latent_dist
    z = posterior.mean + posterior.std * array("noise", list(posterior.mean.shape))
    output = decode(model, z)
    clamped = model.decode(z).sample
    if not torch.equal(output.clamp(-1, 1), clamped):
        raise SystemExit(f"{name}: another decode than diffusers'")
    # diffusers leaves the columns apart.
    kl = posterior.kl().flatten(1).sum(1)
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
