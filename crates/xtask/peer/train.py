"""Training speed of a small Llama decoder and of a diffusion transformer in PyTorch: the peer of `medley bench train`.

    python3 train.py --model decoder|transformer --compute f32|bf16 --threads N --steps N [--vocab V]

Prints one JSON object: seconds of every step (forward, backward, clipping, AdamW) after the warm-up
steps, tokens or pictures per step, the losses, and versions. The decoder is transformers' Llama written with
PyTorch's own fused functions: joint projections of queries, keys and values and of gate and up,
`rms_norm`, `scaled_dot_product_attention`, `cross_entropy`, the fused AdamW; bf16 by autocast. The transformer is the
twin of golden/dit with PyTorch's fused functions where the twin spells things out.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads = c.heads
        self.norm1 = nn.RMSNorm(c.hidden, eps=1e-5)
        self.qkv = nn.Linear(c.hidden, 3 * c.hidden, bias=False)
        self.o = nn.Linear(c.hidden, c.hidden, bias=False)
        self.norm2 = nn.RMSNorm(c.hidden, eps=1e-5)
        self.gate_up = nn.Linear(c.hidden, 2 * c.ffn, bias=False)
        self.down = nn.Linear(c.ffn, c.hidden, bias=False)

    def forward(self, x, cos, sin):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads).unbind(2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        q, k, v = (y.transpose(1, 2) for y in (q, k, v))
        y = F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, d))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1).to(x.dtype)


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed = nn.Embedding(c.vocab, c.hidden)
        self.layers = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = nn.RMSNorm(c.hidden, eps=1e-5)
        dim = c.hidden // c.heads
        turns = 10000.0 ** (-torch.arange(0, dim, 2) / dim)
        angles = torch.arange(c.length)[:, None] * turns
        self.register_buffer("cos", angles.cos()[:, None])
        self.register_buffer("sin", angles.sin()[:, None])
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return F.linear(self.norm(x), self.embed.weight)


def decoder(c):
    """A model, what draws a batch and gives its loss as a function, and the units of a step."""
    model = Decoder(c)

    def draw():
        ids = torch.randint(0, c.vocab, (c.batch, c.length + 1))
        return lambda: F.cross_entropy(
            model(ids[:, :-1]).view(-1, c.vocab).float(), ids[:, 1:].reshape(-1)
        )

    return model, draw, c.batch * c.length


def transformer(c):
    import pictures

    model, size = pictures.transformer(), [c.pictures, 3, 32, 32]
    torch.nn.init.normal_(model.final.linear.weight, std=0.02)

    def draw():
        x, noise = torch.rand(size) * 2 - 1, torch.randn(size)
        sigma, text = torch.rand(c.pictures), torch.randn(c.pictures, pictures.TOKENS, 384)
        s, lengths = sigma[:, None, None, None], [pictures.TOKENS] * c.pictures
        return lambda: F.mse_loss(model((1 - s) * x + s * noise, sigma * 1000, text, lengths).float(), noise - x)

    return model, draw, c.pictures


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", choices=["decoder", "transformer"], default="decoder")
    p.add_argument("--compute", choices=["f32", "bf16"], default="f32")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--warm-up", type=int, default=1)
    p.add_argument("--vocab", type=int, default=32000)
    p.add_argument("--hidden", type=int, default=384)
    p.add_argument("--ffn", type=int, default=1024)
    p.add_argument("--heads", type=int, default=6)
    p.add_argument("--layers", type=int, default=6)
    p.add_argument("--length", type=int, default=256)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--pictures", type=int, default=32)
    c = p.parse_args()
    torch.set_num_threads(c.threads)
    torch.manual_seed(0)
    model, draw, units = {"decoder": decoder, "transformer": transformer}[c.model](c)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    seconds, losses = [], []
    for step in range(c.warm_up + c.steps):
        f = draw()
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=c.compute == "bf16"):
            loss = f()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
        losses.append(loss.item())
    print(
        json.dumps(
            {
                "seconds": seconds[c.warm_up :],
                "units": units,
                "losses": losses,
                "parameters": sum(p.numel() for p in model.parameters()),
                "version": f"torch {torch.__version__}",
            }
        )
    )


if __name__ == "__main__":
    main()
