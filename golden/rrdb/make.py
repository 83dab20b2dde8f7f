"""Golden cases of the upscaler: a twin in plain PyTorch with the names of Real-ESRGAN's RRDBNet.

    python3 golden/rrdb/make.py [CASE ...]

golden/README.md describes the arrays. The case x4 is also written as a checkpoint in Real-ESRGAN's form,
checkpoint.pth, for the reader of such files.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from twin import array, filled, gradients, loss, torch_version, write  # noqa: E402


def leaky(x):
    return F.leaky_relu(x, 0.2)


class Dense(nn.Module):
    def __init__(self, width, growth):
        super().__init__()
        for i in range(1, 6):
            out = width if i == 5 else growth
            setattr(self, f"conv{i}", nn.Conv2d(width + (i - 1) * growth, out, 3, padding=1))

    def forward(self, x):
        seen = [x]
        for i in range(1, 5):
            seen.append(leaky(getattr(self, f"conv{i}")(torch.cat(seen, 1))))
        return self.conv5(torch.cat(seen, 1)) * 0.2 + x


class Block(nn.Module):
    def __init__(self, width, growth):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(width, growth) for _ in range(3))

    def forward(self, x):
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class Rrdb(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.squeeze = {4: 1, 2: 2, 1: 4}[c["scale"]]
        width, growth, channels = c["num_feat"], c["num_grow_ch"], c["channels"]
        self.conv_first = nn.Conv2d(channels * self.squeeze**2, width, 3, padding=1)
        self.body = nn.Sequential(*(Block(width, growth) for _ in range(c["num_block"])))
        for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
            setattr(self, name, nn.Conv2d(width, width, 3, padding=1))
        self.conv_last = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x):
        first = self.conv_first(F.pixel_unshuffle(x, self.squeeze))
        x = first + self.conv_body(self.body(first))
        for conv in (self.conv_up1, self.conv_up2):
            x = leaky(conv(F.interpolate(x, scale_factor=2, mode="nearest")))
        return self.conv_last(leaky(self.conv_hr(x)))


def config(**more):
    return dict(model_type="rrdb", channels=3, scale=4, num_feat=12, num_block=2, num_grow_ch=6) | more


CASES = {"x4": config(), "x2": config(scale=2, num_block=1)}


def make(name: str) -> None:
    c = CASES[name]
    model = Rrdb(c).double()
    rows = filled(model)
    x = array("x", [2, 3, 8, 6], 0.5, 0.5).requires_grad_()
    output = model(x)
    loss(output).backward()
    write(HERE / name, c, rows, {"output": output} | gradients(model, rows, {"x": x}), torch_version())
    if name == "x4":
        # As small as it can be: half precision is enough to see that names and layouts are met.
        state = {key: value.half() for key, value in model.state_dict().items()}
        torch.save({"params_ema": state}, HERE / name / "checkpoint.pth")


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(name)


if __name__ == "__main__":
    main()
