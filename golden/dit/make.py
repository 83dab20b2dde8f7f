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


def along(axes, still, theta):
    """Angles [tokens, pairs] of (places, pairs, closed) along each axis, the last one running fastest."""
    parts = []
    for count, pairs, closed in axes:
        i = torch.arange(pairs, dtype=torch.float64)
        if closed:
            turns = (count // 2) ** (1 - i / (pairs - 1))
            steps = torch.floor(turns + 0.5) * 2 * math.pi / count
        else:
            steps = theta ** (-i / pairs)
        parts.append(torch.arange(count)[:, None] * steps)
    places = torch.meshgrid(*(torch.arange(count) for count, _, _ in axes), indexing="ij")
    grid = torch.cat([part[at.reshape(-1)] for part, at in zip(parts, places)], dim=1)
    return torch.cat([grid, torch.zeros(still, grid.shape[1], dtype=torch.float64)])


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


class Over(nn.Module):
    """Attention of each place along the frames."""

    def __init__(self, c):
        super().__init__()
        h, dim = c["hidden_size"], c["hidden_size"] // c["num_attention_heads"]
        self.c = c
        if c["shared_modulation"]:
            self.modulation_table = nn.Parameter(torch.zeros(3 * h))
        else:
            self.adaLN_modulation = nn.Linear(h, 3 * h)
        self.qkv, self.proj = nn.Linear(h, 3 * h), nn.Linear(h, h)
        self.q_norm, self.k_norm = Norm(dim, c["norm_eps"]), Norm(dim, c["norm_eps"])

    def forward(self, x, c, shared, frames):
        h, heads = self.c["hidden_size"], self.c["num_attention_heads"]
        if self.c["shared_modulation"]:
            m = (shared + self.modulation_table).split(h, dim=1)
        else:
            m = self.adaLN_modulation(c).split(h, dim=1)
        rows, tokens, _ = x.shape
        y = modulated(x, m[0], m[1], self.c["norm_eps"])
        y = y.view(rows // frames, frames, tokens, h).transpose(1, 2).reshape(-1, frames, h)
        q, k, v = (split_heads(part, heads) for part in self.qkv(y).chunk(3, dim=-1))
        angles = along([(frames, h // heads // 2, self.c["loop"])], 0, self.c["rope_theta"])
        y = self.proj(attend(rotate(self.q_norm(q), angles), rotate(self.k_norm(k), angles), v))
        y = y.view(rows // frames, tokens, frames, h).transpose(1, 2).reshape(x.shape)
        return x + m[2][:, None] * y


class Block(Stream):
    def __init__(self, c, last):
        super().__init__(c)
        if c.get("time") == "factorised":
            self.time = Over(c)
        if c["text"] == "joint":
            self.text = Stream(c, whole=not last)
        if c["text"] == "cross":
            self.cross = Cross(c)

    def forward(self, x, text, c, shared, angles, lengths, frames):
        # c and shared: of each frame, of each clip; rows of x are frames.
        rows, tokens, h = x.shape
        whole = lambda y: y.reshape(rows // frames, frames * tokens, -1)
        m = self.modulation(c[0], shared["image"])
        q, k, v = self.project(x, m)
        if self.c.get("time") == "full":
            heads = self.c["num_attention_heads"]
            q, k, v = (split_heads(whole(y.transpose(1, 2).flatten(2)), heads) for y in (q, k, v))
        if self.c["text"] != "joint":
            mixed = attend(rotate(q, angles), rotate(k, angles), v).reshape(x.shape)
            x = self.attended(x, mixed, m)
            if self.c.get("time") == "factorised":
                x = self.time(x, c[0], shared.get("time"), frames)
            if self.c["text"] == "cross":
                x = x + self.cross(whole(x), text, lengths).reshape(x.shape)
            return self.fed(x, m), text
        tm = self.text.modulation(c[1], shared["text"])
        q, k, v = (torch.cat(pair, dim=2) for pair in zip((q, k, v), self.text.project(text, tm)))
        images = frames * tokens
        mixed = attend(rotate(q, angles), rotate(k, angles), v, [images + n for n in lengths])
        x = self.fed(self.attended(x, mixed[:, :images].reshape(x.shape), m), m)
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


class Shared(nn.Module):
    def __init__(self, h, parts):
        super().__init__()
        self.adaLN_modulation = nn.Linear(h, parts * h)


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


def beside(linear, x, frames, closed):
    """What a linear layer makes of each frame between the ones before and after, added."""
    clips = x.permute(0, 2, 3, 1).unflatten(0, (-1, frames))
    if closed:
        before, after = clips.roll(1, dims=1), clips.roll(-1, dims=1)
    else:
        before = torch.cat([clips[:, :1], clips[:, :-1]], dim=1)
        after = torch.cat([clips[:, 1:], clips[:, -1:]], dim=1)
    added = linear(torch.cat([before, clips, after], dim=-1))
    return x + added.flatten(0, 1).permute(0, 3, 1, 2)


class Level(nn.Module):
    def __init__(self, c, width, inner):
        super().__init__()
        self.down, self.up = Residual(c, width), Residual(c, width)
        if c.get("time"):
            self.down.neighbours = nn.Linear(3 * width, width)
            self.up.neighbours = nn.Linear(3 * width, width)
        self.merge, self.expand = nn.Linear(4 * width, inner), nn.Linear(inner, 4 * width)


class Stem(nn.Module):
    """From pixels to tokens and back, in levels that halve the sides."""

    def __init__(self, c):
        super().__init__()
        widths, h = c["stem_channels"], c["hidden_size"]
        self.eps, self.closed = c["norm_eps"], c.get("loop")
        self.block = c.get("pixel_unshuffle", 1)
        channels = c["channels"] * self.block**2
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.levels = nn.ModuleList(Level(c, w, n) for w, n in zip(widths, widths[1:] + [h]))
        self.modulation = nn.Linear(h, 2 * widths[0])
        self.conv_out = nn.Conv2d(widths[0], channels, 3, padding=1)

    def inwards(self, x, c, frames):
        x, skips = self.conv_in(F.pixel_unshuffle(x, self.block)), []
        for level in self.levels:
            x = level.down(x, c)
            if frames > 1:
                x = beside(level.down.neighbours, x, frames, self.closed)
            skips.append(x)
            x = level.merge(F.pixel_unshuffle(x, 2).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x.flatten(2).transpose(1, 2), skips

    def outwards(self, x, skips, c, frames):
        for level, skip in zip(reversed(self.levels), reversed(skips)):
            height, width = skip.shape[2] // 2, skip.shape[3] // 2
            if x.dim() == 3:
                x = x.transpose(1, 2).reshape(x.shape[0], -1, height, width)
            x = F.pixel_shuffle(level.expand(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), 2)
            x = level.up(x + skip, c)
            if frames > 1:
                x = beside(level.up.neighbours, x, frames, self.closed)
        shift, scale = self.modulation(c).chunk(2, dim=1)
        return F.pixel_shuffle(self.conv_out(normed_pixels(x, shift, scale, self.eps)), self.block)


class Dit(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, h = c, c["hidden_size"]
        patch = c["channels"] * c.get("frame_patch_size", 1) * c["patch_size"] ** 2
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
                self.text = Shared(h, 6)
            if c.get("time") == "factorised":
                self.time = Shared(h, 3)
        layers = c["num_hidden_layers"]
        self.blocks = nn.ModuleList(Block(c, i + 1 == layers) for i in range(layers))
        self.final = Final(c, patch)

    def forward(self, x, t, text=None, lengths=None, classes=None, known=None):
        """x is [batch, channels, height, width], or [batch, channels, frames, height, width] with `known` frames."""
        c, p, still = self.c, self.c["patch_size"], 0
        shape = x.shape
        x = x if x.dim() == 5 else x.unsqueeze(2)
        batch, channels, frames, height, width = x.shape
        together = c.get("frame_patch_size", 1)
        rows, columns, count = height // p, width // p, frames // together
        given = torch.zeros(batch, frames) if known is None else torch.tensor(known)
        given = given.view(batch, count, together).bool().all(dim=2)
        each = torch.where(given, torch.zeros(()), t[:, None]).flatten()
        more, context = torch.zeros(()), None
        if c["num_classes"]:
            more = more + self.y_embedder(classes)
        if c["text"] != "none":
            context = self.text_embedder(text)
            still = text.shape[1] if c["text"] == "joint" else 0
            mask = torch.arange(text.shape[1])[None] < torch.tensor(lengths)[:, None]
            count_of = mask.sum(1, keepdim=True).clamp(min=1)
            more = more + self.pool_embedder((text * mask[..., None]).sum(1) / count_of)
        of_clip = F.silu(self.t_embedder(t) + more)
        more = more.repeat_interleave(count, dim=0) if more.dim() else more
        of_frame = F.silu(self.t_embedder(each) + more)
        if c.get("stem_channels"):
            x, skips = self.stem.inwards(x.transpose(1, 2).flatten(0, 1), of_frame, frames)
        else:
            # [batch * count, tokens, channels * together * p * p]
            x = x.unfold(2, together, together).unfold(3, p, p).unfold(4, p, p)
            x = x.permute(0, 2, 3, 4, 1, 5, 6, 7).flatten(4).flatten(2, 3).flatten(0, 1)
            x = self.x_embedder(x)
        shared = {"image": None, "text": None}
        if c["shared_modulation"]:
            shared["image"] = self.adaLN_modulation(of_frame)
            if c["text"] == "joint":
                shared["text"] = self.text.adaLN_modulation(of_clip)
            if c.get("time") == "factorised":
                shared["time"] = self.time.adaLN_modulation(of_frame)
        dim = c["hidden_size"] // c["num_attention_heads"]
        if c.get("time") == "full":
            third = dim // 6
            axes = [(count, dim // 2 - 2 * third, c["loop"])]
            axes += [(rows, third, False), (columns, third, False)]
            angles = along(axes, still, c["rope_theta"])
        else:
            angles = rotations(rows, columns, still, dim, c["rope_theta"])
        for block in self.blocks:
            x, context = block(x, context, (of_frame, of_clip), shared, angles, lengths, count)
        shift, scale = self.final.adaLN_modulation(of_frame).chunk(2, dim=1)
        x = modulated(x, shift, scale, c["norm_eps"])
        if c.get("stem_channels"):
            x = self.stem.outwards(x, skips, of_frame, frames)
            return x.unflatten(0, (batch, frames)).transpose(1, 2).reshape(shape)
        x = self.final.linear(x).view(batch, count, rows, columns, channels, together, p, p)
        return x.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(shape)


def config(**more):
    return dict(
        model_type="dit", channels=3, sample_height=8, sample_width=12, patch_size=2, stem_channels=[], hidden_size=48,
        num_hidden_layers=2, num_attention_heads=3, intermediate_size=80, text="none", text_width=0,
        num_classes=0, shared_modulation=False, rope_theta=100.0, norm_eps=1e-6,
    ) | more  # fmt: skip


def clip(time, **more):
    return dict(time=time, sample_frames=4, frame_patch_size=1) | more


CASES = {
    "classes": config(num_classes=5),
    "cross": config(text="cross", text_width=24),
    "cross_shared": config(text="cross", text_width=24, shared_modulation=True, num_hidden_layers=3),
    "joint": config(text="joint", text_width=24, channels=4, patch_size=4),
    "stem": config(text="cross", text_width=24, shared_modulation=True, patch_size=4, stem_channels=[12, 20]),
    "joint_shared": config(text="joint", text_width=24, shared_modulation=True, num_classes=3),
    "clip": config(
        text="cross", text_width=24, shared_modulation=True, patch_size=4, stem_channels=[12, 20],
        **clip("factorised", loop=True),
    ),
    "clip_fine": config(
        text="cross", text_width=24, shared_modulation=True, patch_size=4, stem_channels=[12], pixel_unshuffle=2,
        **clip("factorised", loop=True),
    ),
    "clip_own": config(num_classes=5, **clip("factorised", loop=False)),
    "clip_full": config(text="joint", text_width=24, **clip("full", loop=True, frame_patch_size=2)),
    "clip_cross": config(text="cross", text_width=24, shared_modulation=True, **clip("full", loop=False)),
}  # fmt: skip
# Frames that are given: none, the first two, and every other one.
KNOWN = [[0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]]


def make(name: str) -> None:
    c = CASES[name]
    model = Dit(c).double()
    rows = filled(model)
    sides = [c["sample_height"], c["sample_width"]]
    sides = [c["sample_frames"]] + sides if "time" in c else sides
    x = array("x", [3, c["channels"]] + sides).requires_grad_()
    inputs, more = {"x": x}, {}
    if "time" in c:
        more["known"] = KNOWN
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
