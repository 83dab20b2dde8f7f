"""Golden cases of the diffusion transformer: a twin in plain PyTorch, after Peebles & Xie (DiT), Esser et al. (MMDiT)
and Chen et al. (PixArt-alpha).

    python3 golden/dit/make.py [CASE ...]

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

TIME_WIDTH = 256


def sinusoids(t):
    half = TIME_WIDTH // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float64) / half)
    angles = t[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def rotations(rows, columns, still, dim, theta):
    """Angles [tokens, dim / 2]: half of the pairs by row, half by column."""
    frequencies = theta ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    y, x = y.reshape(-1, 1) * frequencies, x.reshape(-1, 1) * frequencies
    grid = torch.cat([y, x], dim=1)
    return torch.cat([grid, torch.zeros(still, dim // 2, dtype=torch.float64)])


def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Norm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return x / (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt() * self.weight


def modulated(x, shift, scale, eps):
    return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale[:, None]) + shift[:, None]


def split_heads(x, heads):
    batch, tokens, width = x.shape
    return x.view(batch, tokens, heads, width // heads).transpose(1, 2)


def attend(q, k, v, lengths=None):
    mask = None
    if lengths is not None:
        mask = torch.arange(k.shape[2])[None] < torch.tensor(lengths)[:, None]
        mask = mask[:, None, None]
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e300)
    mixed = scores.softmax(-1) @ v
    if mask is not None:
        mixed = mixed * mask.any(-1, keepdim=True)
    batch, heads, tokens, dim = mixed.shape
    return mixed.transpose(1, 2).reshape(batch, tokens, heads * dim)


class Attn(nn.Module):
    def __init__(self, c, whole):
        super().__init__()
        h, dim = c["hidden_size"], c["hidden_size"] // c["num_attention_heads"]
        self.qkv = nn.Linear(h, 3 * h)
        self.q_norm, self.k_norm = Norm(dim, c["norm_eps"]), Norm(dim, c["norm_eps"])
        if whole:
            self.proj = nn.Linear(h, h)


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1 = nn.Linear(c["hidden_size"], c["intermediate_size"])
        self.fc2 = nn.Linear(c["intermediate_size"], c["hidden_size"])

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Cross(nn.Module):
    def __init__(self, c):
        super().__init__()
        h, dim = c["hidden_size"], c["hidden_size"] // c["num_attention_heads"]
        self.heads = c["num_attention_heads"]
        self.q, self.kv, self.proj = nn.Linear(h, h), nn.Linear(h, 2 * h), nn.Linear(h, h)
        self.q_norm, self.k_norm = Norm(dim, c["norm_eps"]), Norm(dim, c["norm_eps"])

    def forward(self, x, text, lengths):
        k, v = self.kv(text).chunk(2, dim=-1)
        q, k, v = (split_heads(y, self.heads) for y in (self.q(x), k, v))
        return self.proj(attend(self.q_norm(q), self.k_norm(k), v, lengths))


class Stream(nn.Module):
    def __init__(self, c, whole=True):
        super().__init__()
        h, parts = c["hidden_size"], 6 if whole else 2
        self.c, self.parts = c, parts
        if c["shared_modulation"]:
            self.modulation_table = nn.Parameter(torch.zeros(parts * h))
        else:
            self.adaLN_modulation = nn.Linear(h, parts * h)
        self.attn = Attn(c, whole)
        if whole:
            self.mlp = Mlp(c)

    def modulation(self, c, shared):
        h = self.c["hidden_size"]
        if self.c["shared_modulation"]:
            return (shared[:, : self.parts * h] + self.modulation_table).split(h, dim=1)
        return self.adaLN_modulation(c).split(h, dim=1)

    def project(self, x, m):
        qkv = self.attn.qkv(modulated(x, m[0], m[1], self.c["norm_eps"]))
        q, k, v = (split_heads(y, self.c["num_attention_heads"]) for y in qkv.chunk(3, dim=-1))
        return self.attn.q_norm(q), self.attn.k_norm(k), v

    def attended(self, x, mixed, m):
        return x + m[2][:, None] * self.attn.proj(mixed)

    def fed(self, x, m):
        return x + m[5][:, None] * self.mlp(modulated(x, m[3], m[4], self.c["norm_eps"]))


class Block(Stream):
    def __init__(self, c, last):
        super().__init__(c)
        if c["text"] == "joint":
            self.text = Stream(c, whole=not last)
        if c["text"] == "cross":
            self.cross = Cross(c)

    def forward(self, x, text, c, shared, angles, lengths):
        m = self.modulation(c, shared[0])
        q, k, v = self.project(x, m)
        if self.c["text"] != "joint":
            mixed = attend(rotate(q, angles), rotate(k, angles), v)
            x = self.attended(x, mixed, m)
            if self.c["text"] == "cross":
                x = x + self.cross(x, text, lengths)
            return self.fed(x, m), text
        tm = self.text.modulation(c, shared[1])
        q, k, v = (torch.cat(pair, dim=2) for pair in zip((q, k, v), self.text.project(text, tm)))
        images = x.shape[1]
        mixed = attend(rotate(q, angles), rotate(k, angles), v, [images + n for n in lengths])
        x = self.fed(self.attended(x, mixed[:, :images], m), m)
        if self.text.parts == 6:
            text = self.text.fed(self.text.attended(text, mixed[:, images:], tm), tm)
        return x, text


class TimeEmbedder(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(TIME_WIDTH, h), nn.Linear(h, h)

    def forward(self, t):
        return self.fc2(F.silu(self.fc1(sinusoids(t))))


class TextEmbedder(nn.Module):
    def __init__(self, width, h):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, h), nn.Linear(h, h)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class SharedText(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.adaLN_modulation = nn.Linear(h, 6 * h)


class Final(nn.Module):
    def __init__(self, c, patch):
        super().__init__()
        self.adaLN_modulation = nn.Linear(c["hidden_size"], 2 * c["hidden_size"])
        if not c.get("stem_channels"):
            self.linear = nn.Linear(c["hidden_size"], patch)


class Residual(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.eps, self.modulation = c["norm_eps"], nn.Linear(c["hidden_size"], 4 * width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x, c):
        m = self.modulation(c).chunk(4, dim=1)
        y = self.conv1(normed_pixels(x, m[0], m[1], self.eps))
        return x + self.conv2(normed_pixels(y, m[2], m[3], self.eps))


def normed_pixels(x, shift, scale, eps):
    batch, channels, height, width = x.shape
    y = F.silu(modulated(x.flatten(2).transpose(1, 2), shift, scale, eps))
    return y.transpose(1, 2).reshape(batch, channels, height, width)


class Level(nn.Module):
    def __init__(self, c, width, inner):
        super().__init__()
        self.down, self.up = Residual(c, width), Residual(c, width)
        self.merge, self.expand = nn.Linear(4 * width, inner), nn.Linear(inner, 4 * width)


class Stem(nn.Module):
    """From pixels to tokens and back, in levels that halve the sides."""

    def __init__(self, c):
        super().__init__()
        widths, h = c["stem_channels"], c["hidden_size"]
        self.eps = c["norm_eps"]
        self.conv_in = nn.Conv2d(c["channels"], widths[0], 3, padding=1)
        self.levels = nn.ModuleList(Level(c, w, n) for w, n in zip(widths, widths[1:] + [h]))
        self.modulation = nn.Linear(h, 2 * widths[0])
        self.conv_out = nn.Conv2d(widths[0], c["channels"], 3, padding=1)

    def inwards(self, x, c):
        x, skips = self.conv_in(x), []
        for level in self.levels:
            x = level.down(x, c)
            skips.append(x)
            x = level.merge(F.pixel_unshuffle(x, 2).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x.flatten(2).transpose(1, 2), skips

    def outwards(self, x, skips, c):
        for level, skip in zip(reversed(self.levels), reversed(skips)):
            height, width = skip.shape[2] // 2, skip.shape[3] // 2
            if x.dim() == 3:
                x = x.transpose(1, 2).reshape(x.shape[0], -1, height, width)
            x = F.pixel_shuffle(level.expand(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), 2)
            x = level.up(x + skip, c)
        shift, scale = self.modulation(c).chunk(2, dim=1)
        return self.conv_out(normed_pixels(x, shift, scale, self.eps))


class Dit(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, h = c, c["hidden_size"]
        patch = c["channels"] * c["patch_size"] ** 2
        self.t_embedder = TimeEmbedder(h)
        if c.get("stem_channels"):
            self.stem = Stem(c)
        else:
            self.x_embedder = nn.Linear(patch, h)
        if c["num_classes"]:
            self.y_embedder = nn.Embedding(c["num_classes"] + 1, h)
        if c["text"] != "none":
            self.text_embedder = TextEmbedder(c["text_width"], h)
            self.pool_embedder = nn.Linear(c["text_width"], h)
        if c["shared_modulation"]:
            self.adaLN_modulation = nn.Linear(h, 6 * h)
            if c["text"] == "joint":
                self.text = SharedText(h)
        layers = c["num_hidden_layers"]
        self.blocks = nn.ModuleList(Block(c, i + 1 == layers) for i in range(layers))
        self.final = Final(c, patch)

    def forward(self, x, t, text=None, lengths=None, classes=None):
        c, p = self.c, self.c["patch_size"]
        batch, channels, height, width = x.shape
        rows, columns = height // p, width // p
        condition, context, still = self.t_embedder(t), None, 0
        if c["num_classes"]:
            condition = condition + self.y_embedder(classes)
        if c["text"] != "none":
            context = self.text_embedder(text)
            still = text.shape[1] if c["text"] == "joint" else 0
            mask = torch.arange(text.shape[1])[None] < torch.tensor(lengths)[:, None]
            count = mask.sum(1, keepdim=True).clamp(min=1)
            condition = condition + self.pool_embedder((text * mask[..., None]).sum(1) / count)
        condition = F.silu(condition)
        if c.get("stem_channels"):
            x, skips = self.stem.inwards(x, condition)
        else:
            # [batch, tokens, channels * p * p]
            x = self.x_embedder(F.unfold(x, p, stride=p).transpose(1, 2))
        shared = [None, None]
        if c["shared_modulation"]:
            shared[0] = self.adaLN_modulation(condition)
            if c["text"] == "joint":
                shared[1] = self.text.adaLN_modulation(condition)
        dim = c["hidden_size"] // c["num_attention_heads"]
        angles = rotations(rows, columns, still, dim, c["rope_theta"])
        for block in self.blocks:
            x, context = block(x, context, condition, shared, angles, lengths)
        shift, scale = self.final.adaLN_modulation(condition).chunk(2, dim=1)
        x = modulated(x, shift, scale, c["norm_eps"])
        if c.get("stem_channels"):
            return self.stem.outwards(x, skips, condition)
        x = self.final.linear(x)
        return F.fold(x.transpose(1, 2), (height, width), p, stride=p)


def config(**more):
    return dict(
        model_type="dit", channels=3, sample_height=8, sample_width=12, patch_size=2, stem_channels=[], hidden_size=48,
        num_hidden_layers=2, num_attention_heads=3, intermediate_size=80, text="none", text_width=0,
        num_classes=0, shared_modulation=False, rope_theta=100.0, norm_eps=1e-6,
    ) | more  # fmt: skip


CASES = {
    "classes": config(num_classes=5),
    "cross": config(text="cross", text_width=24),
    "cross_shared": config(text="cross", text_width=24, shared_modulation=True, num_hidden_layers=3),
    "joint": config(text="joint", text_width=24, channels=4, patch_size=4),
    "stem": config(text="cross", text_width=24, shared_modulation=True, patch_size=4, stem_channels=[12, 20]),
    "joint_shared": config(text="joint", text_width=24, shared_modulation=True, num_classes=3),
}


def make(name: str) -> None:
    c = CASES[name]
    model = Dit(c).double()
    rows = filled(model)
    x = array("x", [3, c["channels"], c["sample_height"], c["sample_width"]]).requires_grad_()
    inputs, more = {"x": x}, {}
    if c["text"] != "none":
        more["text"] = array("text", [3, 5, c["text_width"]]).requires_grad_()
        # A whole one, a part and none at all.
        more["lengths"] = [5, 3, 0]
        inputs["text"] = more["text"]
    if c["num_classes"]:
        more["classes"] = torch.tensor([0, c["num_classes"], 1])
    output = model(x, torch.tensor([0.0, 251.5, 1000.0], dtype=torch.float64), **more)
    loss(output).backward()
    # Text tokens of the last block only lend keys and values.
    idle = [f"blocks.{c['num_hidden_layers'] - 1}.text.attn.q_norm.weight"]
    arrays = {"output": output} | gradients(model, rows, inputs, idle)
    write(HERE / name, c, rows, arrays, torch_version())


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(name)


if __name__ == "__main__":
    main()
