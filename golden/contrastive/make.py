"""Golden cases of the contrastive scorer: a twin in plain PyTorch, in f64.

    python3 golden/contrastive/make.py [CASE ...]

golden/README.md describes the arrays. The loss is that of CLIP, where rows of one group are no negatives of each other.
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from twin import array, filled, gradients, torch_version, write  # noqa: E402

EPS = 1e-5
FIRST_SCALE = math.log(1 / 0.07)


class Block(nn.Module):
    def __init__(self, inputs, out, stride, groups):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, EPS)
        self.conv1 = nn.Conv2d(inputs, out, 3, stride, 1)
        self.norm2 = nn.GroupNorm(groups, out, EPS)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1)
        if inputs != out or stride != 1:
            self.shortcut = nn.Conv2d(inputs, out, 1, stride)

    def forward(self, x):
        y = F.silu(self.norm1(x))
        kept = self.shortcut(y) if hasattr(self, "shortcut") else x
        return kept + self.conv2(F.silu(self.norm2(self.conv1(y))))


class Visual(nn.Module):
    def __init__(self, c):
        super().__init__()
        widths, groups = c["image_widths"], c["norm_groups"]
        inputs = widths[0]
        self.conv_in = nn.Conv2d(c["channels"], inputs, 3, 1, 1)
        self.stages = nn.ModuleList()
        for i, (width, blocks) in enumerate(zip(widths, c["image_blocks"])):
            stage = nn.ModuleList()
            for j in range(blocks):
                stage.append(Block(inputs, width, 2 if i > 0 and j == 0 else 1, groups))
                inputs = width
            self.stages.append(stage)
        self.norm = nn.GroupNorm(groups, inputs, EPS)
        self.proj = nn.Linear(inputs, c["embed_dim"], bias=False)

    def forward(self, x):
        x, states = self.conv_in(x), []
        for stage in self.stages:
            for block in stage:
                x = block(x)
            states.append(x)
        pooled = F.silu(self.norm(x)).mean((2, 3))
        return states, pooled, F.normalize(self.proj(pooled), dim=1)


class Layer(nn.Module):
    def __init__(self, w, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(w, EPS), nn.LayerNorm(w, EPS)
        self.qkv, self.proj = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.fc1, self.fc2 = nn.Linear(w, 4 * w), nn.Linear(4 * w, w)

    def forward(self, x, mask):
        b, t, w = x.shape
        q, k, v = (
            part.reshape(b, t, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, 2)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, mask[:, None, None, :])
        x = x + self.proj(mixed.transpose(1, 2).reshape(b, t, w))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class Text(nn.Module):
    def __init__(self, c):
        super().__init__()
        w = c["text_width"]
        self.token_embedding = nn.Embedding(c["vocab_size"], w)
        self.position_embedding = nn.Embedding(c["text_tokens"], w)
        self.layers = nn.ModuleList(Layer(w, c["text_heads"]) for _ in range(c["text_layers"]))
        self.norm = nn.LayerNorm(w, EPS)
        self.proj = nn.Linear(w, c["embed_dim"], bias=False)

    def forward(self, ids, lengths):
        mask = torch.arange(ids.shape[1])[None] < lengths[:, None]
        x = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, mask)
        x = self.norm(x) * mask[..., None]
        return F.normalize(self.proj(x.sum(1) / lengths[:, None]), dim=1)


class Contrastive(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.visual, self.text = Visual(c), Text(c)
        self.logit_scale = nn.Parameter(torch.zeros(1))

    def forward(self, x, ids, lengths, groups):
        states, pooled, images = self.visual(x)
        captions = self.text(ids, lengths)
        logits = (self.logit_scale + FIRST_SCALE).exp() * images @ captions.T
        same = (groups[:, None] == groups[None]) & ~torch.eye(len(groups), dtype=torch.bool)
        logits = logits.masked_fill(same, -1e9)
        target = torch.arange(len(groups))
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return loss, {"state": states[1], "pooled": pooled, "images": images, "captions": captions}


CONFIG = dict(
    model_type="contrastive", channels=3, image_widths=[8, 12, 16], image_blocks=[0, 1, 2],
    norm_groups=4, vocab_size=40, text_tokens=8, text_width=16, text_layers=2, text_heads=2,
    embed_dim=10,
)
IDS = [[3, 17, 5, 0, 0], [9, 9, 31, 4, 2], [12, 0, 0, 0, 0], [1, 39, 22, 8, 0]]
LENGTHS = [3, 5, 1, 4]
GROUPS = [0, 1, 2, 1]


def make() -> None:
    model = Contrastive(CONFIG).double()
    rows = filled(model)
    x = array("x", [4, 3, 14, 10], 0.0, 1.0).requires_grad_()
    loss, arrays = model(x, torch.tensor(IDS), torch.tensor(LENGTHS), torch.tensor(GROUPS))
    loss.backward()
    arrays["state"] = arrays["state"].permute(0, 2, 3, 1)
    # A bias of keys shifts all scores of a query alike, which softmax does not see; its part of the gradient is 0.
    arrays |= {"loss": loss.reshape(1)} | gradients(model, rows, {"x": x})
    write(HERE / "towers", CONFIG, rows, arrays, torch_version())


if __name__ == "__main__":
    torch.set_num_threads(1)
    make()
