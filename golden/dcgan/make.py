"""Golden cases of the DCGAN: the networks of PyTorch's example (github.com/pytorch/examples, dcgan), whose names are
those of nn.Sequential, in f64.

    python3 golden/dcgan/make.py [CASE ...]

golden/README.md describes the arrays. `train` is in training mode (norms by the batch), `eval` by running statistics.
"""

import sys
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from twin import array, filled, gradients, loss, torch_version, write  # noqa: E402


class Generator(nn.Module):
    def __init__(self, c):
        super().__init__()
        inputs, layers = c["latent"], []
        levels = c["size"].bit_length() - 3
        for i in reversed(range(levels)):
            out = c["generator_features"] << i
            stride, padding = (1, 0) if not layers else (2, 1)
            layers += [nn.ConvTranspose2d(inputs, out, 4, stride, padding, bias=False)]
            layers += [nn.BatchNorm2d(out), nn.ReLU(True)]
            inputs = out
        layers += [nn.ConvTranspose2d(inputs, c["channels"], 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z):
        return self.main(z[:, :, None, None])


class Discriminator(nn.Module):
    def __init__(self, c):
        super().__init__()
        inputs, layers = c["channels"], []
        levels = c["size"].bit_length() - 3
        for i in range(levels):
            out = c["discriminator_features"] << i
            layers += [nn.Conv2d(inputs, out, 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm2d(out)] if i else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            inputs = out
        # The example ends with a sigmoid; scores are what losses begin with.
        self.main = nn.Sequential(*layers, nn.Conv2d(inputs, 1, 4, 1, 0, bias=False))

    def forward(self, x):
        return self.main(x).reshape(-1)


CONFIG = dict(
    model_type="dcgan", latent=10, channels=3, size=32, generator_features=6, discriminator_features=5
)
CASES = {
    "generator": (Generator, False),
    "generator_train": (Generator, True),
    "discriminator": (Discriminator, False),
    "discriminator_train": (Discriminator, True),
}


def make(name: str) -> None:
    kind, training = CASES[name]
    model = kind(CONFIG).double()
    rows = filled(model)
    model.train(training)
    shape = [3, CONFIG["latent"]] if kind is Generator else [3, 3, CONFIG["size"], CONFIG["size"]]
    x = array("x", shape).requires_grad_()
    output = model(x)
    loss(output).backward()
    arrays = {"output": output} | gradients(model, rows, {"x": x})
    if training:
        arrays |= {f"after.{n}": b for n, b in model.named_buffers() if b.is_floating_point()}
    write(HERE / name, CONFIG, rows, arrays, torch_version())


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(name)


if __name__ == "__main__":
    main()
