"""Golden cases of the style-based pair: twins in plain PyTorch, after Karras et al. (StyleGAN2), written with modulated
weights and grouped convolutions where the model scales inputs and outputs.

    python3 golden/stylegan2/make.py [CASE ...]

golden/README.md describes the arrays.
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from twin import array, filled, gradients, loss, torch_version, write  # noqa: E402

RATE = 0.01


def active(x, gain=math.sqrt(2)):
    return F.leaky_relu(x, 0.2) * gain


def unit(x):
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Dense(nn.Module):
    def __init__(self, inputs, out, rate=1.0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(out, inputs)), nn.Parameter(torch.zeros(out))
        self.rate = rate

    def forward(self, x):
        gain = self.rate / math.sqrt(self.weight.shape[1])
        return F.linear(x, self.weight * gain, self.bias * self.rate)


class Styled(nn.Module):
    def __init__(self, style, inputs, out, kernel):
        super().__init__()
        self.affine = Dense(style, inputs)
        self.weight = nn.Parameter(torch.zeros(out, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out))

    def modulated(self, x, style, demodulate):
        batch, inputs, height, width = x.shape
        out, _, kernel, _ = self.weight.shape
        weight = self.weight[None] * style[:, None, :, None, None]
        if demodulate:
            weight = weight * (weight.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
        y = F.conv2d(
            x.reshape(1, batch * inputs, height, width),
            weight.reshape(batch * out, inputs, kernel, kernel),
            padding=kernel // 2,
            groups=batch,
        )
        return y.reshape(batch, out, height, width) + self.bias[:, None, None]

    def forward(self, x, w):
        return active(self.modulated(x, self.affine(w), True))

    def colours(self, x, w):
        gain = 1 / math.sqrt(self.weight.shape[1])
        return self.modulated(x, self.affine(w) * gain, False)


class Const(nn.Module):
    pass


def widths(c):
    sizes = [2**n for n in range(2, c["size"].bit_length())]
    return {size: max(1, min(c["channel_base"] // size, c["channel_max"])) for size in sizes}


def larger(x):
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Mapping(nn.Module):
    def __init__(self, c):
        super().__init__()
        inputs = c["latent"]
        if c["condition"]:
            self.embed = Dense(c["condition"], c["style"])
            inputs += c["style"]
        self.layers = c["mapping_layers"]
        for i in range(self.layers):
            setattr(self, f"fc{i}", Dense(inputs, c["style"], RATE))
            inputs = c["style"]
        self.register_buffer("w_avg", torch.zeros(c["style"]))

    def forward(self, z, condition):
        w = unit(z)
        if condition is not None:
            w = torch.cat([w, unit(self.embed(condition))], 1)
        for i in range(self.layers):
            w = active(getattr(self, f"fc{i}")(w))
        return w


class Synthesis(nn.Module):
    def __init__(self, c):
        super().__init__()
        inputs = widths(c)[4]
        for size, out in widths(c).items():
            block = Const()
            if size == 4:
                block.const = nn.Parameter(torch.zeros(out, 4, 4))
            else:
                block.conv0 = Styled(c["style"], inputs, out, 3)
            block.conv1 = Styled(c["style"], out, out, 3)
            block.torgb = Styled(c["style"], out, c["channels"], 1)
            setattr(self, f"b{size}", block)
            inputs = out
        self.sizes = list(widths(c))

    def forward(self, w):
        x, picture = None, 0
        for size in self.sizes:
            block = getattr(self, f"b{size}")
            if size == 4:
                x = block.const[None].expand(len(w), -1, -1, -1)
            else:
                x, picture = block.conv0(larger(x), w), larger(picture)
            x = block.conv1(x, w)
            picture = picture + block.torgb.colours(x, w)
        return picture


class Generator(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.mapping, self.synthesis = Mapping(c), Synthesis(c)


class Conv(nn.Module):
    def __init__(self, inputs, out, kernel, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None

    def forward(self, x):
        gain = 1 / math.sqrt(self.weight[0].numel())
        return F.conv2d(x, self.weight * gain, self.bias, padding=self.weight.shape[2] // 2)


def with_deviation(x):
    batch, channels, height, width = x.shape
    group = 4 if batch % 4 == 0 else batch
    y = x.reshape(group, batch // group, channels, height, width)
    y = (y - y.mean(0)).square().mean(0)
    y = (y + 1e-8).sqrt().mean([1, 2, 3]).reshape(-1, 1, 1, 1)
    return torch.cat([x, y.repeat(group, 1, height, width)], 1)


class Discriminator(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, wide = c, widths(c)
        self.sizes = sorted((size for size in wide if size > 4), reverse=True)
        for size in self.sizes:
            block, inputs, out = Const(), wide[size], wide[size // 2]
            if size == c["size"]:
                block.fromrgb = Conv(c["channels"], inputs, 1)
            block.skip = Conv(inputs, out, 1, bias=False)
            block.conv0, block.conv1 = Conv(inputs, inputs, 3), Conv(inputs, out, 3)
            setattr(self, f"b{size}", block)
        last, self.b4 = wide[4], Const()
        self.b4.conv, self.b4.fc = Conv(last + 1, last, 3), Dense(last * 16, last)
        self.b4.out = Dense(last, c["style"] if c["condition"] else 1)
        if c["condition"]:
            self.mapping = Const()
            self.mapping.embed = Dense(c["condition"], c["style"])

    def forward(self, x, condition):
        half = math.sqrt(0.5)
        x = active(getattr(self, f"b{self.c['size']}").fromrgb(x))
        for size in self.sizes:
            block = getattr(self, f"b{size}")
            skip = block.skip(F.avg_pool2d(x, 2)) * half
            y = F.avg_pool2d(active(block.conv0(x)), 2)
            x = skip + active(block.conv1(y)) * half
        x = active(self.b4.conv(with_deviation(x)))
        scores = self.b4.out(active(self.b4.fc(x.flatten(1))))
        if condition is None:
            return scores[:, 0]
        return (scores * unit(self.mapping.embed(condition))).sum(1) / math.sqrt(self.c["style"])


def config(**more):
    return dict(
        model_type="stylegan2", latent=12, style=16, mapping_layers=2, condition=0, channels=3, size=16,
        channel_base=128, channel_max=20,
    ) | more  # fmt: skip


CASES = {
    "generator": (Generator, config()),
    "generator_conditioned": (Generator, config(condition=7)),
    "discriminator": (Discriminator, config()),
    "discriminator_conditioned": (Discriminator, config(condition=7)),
}


def rule_fixed(rows, model):
    """Weights of unit scale, as the equalised learning rate wants them."""
    from fill import fill

    state = dict(model.named_parameters())
    for row in rows:
        name, shape = row["name"], row["shape"]
        if name.endswith("weight"):
            row["mean"], row["scale"] = 0.0, 128.0 if "mapping.fc" in name else 2.0
        elif name.endswith("affine.bias"):
            row["mean"], row["scale"] = 1.0, 0.25
        elif "mapping.fc" in name:
            row["mean"], row["scale"] = 0.0, 16.0
        if name in state:
            with torch.no_grad():
                state[name].copy_(torch.from_numpy(fill(name, shape, row["mean"], row["scale"])))


def make(name: str) -> None:
    kind, c = CASES[name]
    model = kind(c).double()
    rows = filled(model)
    rule_fixed(rows, model)
    inputs, arrays, condition = {}, {}, None
    if kind is Generator:
        inputs["x"] = array("x", [4, c["latent"]]).requires_grad_()
    else:
        inputs["x"] = array("x", [8, 3, c["size"], c["size"]]).requires_grad_()
    if c["condition"]:
        condition = array("condition", [len(inputs["x"]), c["condition"]]).requires_grad_()
        inputs["condition"] = condition
    if kind is Generator:
        w = model.mapping(inputs["x"], condition)
        output = model.synthesis(w)
        truncated = model.mapping.w_avg + 0.7 * (w - model.mapping.w_avg)
        arrays = {"styles": w, "truncated": model.synthesis(truncated)}
    else:
        output = model(inputs["x"], condition)
    loss(output).backward()
    arrays = {"output": output} | arrays | gradients(model, rows, inputs)
    write(HERE / name, c, rows, arrays, torch_version())


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(name)


if __name__ == "__main__":
    main()
