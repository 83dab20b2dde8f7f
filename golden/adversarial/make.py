"""Golden cases of a step of two networks against each other: the loss of the discriminator with R1 by PyTorch's second
derivatives, the loss of the generator, and the gradient of every parameter, for the twins of golden/stylegan2.

    python3 golden/adversarial/make.py [CASE ...]

golden/README.md describes the arrays.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from twin import array, filled, torch_version, write  # noqa: E402

SPEC = importlib.util.spec_from_file_location("twins", HERE.parent / "stylegan2" / "make.py")
TWINS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(TWINS)

BATCH = 8
PENALTY = 1.5
SAMPLES = 8


class Pair(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.generator, self.discriminator = TWINS.Generator(c), TWINS.Discriminator(c)

    def made(self, z, condition):
        return self.generator.synthesis(self.generator.mapping(z, condition))


def judging(pair, kind, real, condition):
    """The loss of the discriminator, its penalty, and E of the squared slope."""
    c = pair.discriminator.c
    with torch.no_grad():
        made = pair.made(array("judging", [BATCH, c["latent"]]), condition)
    real = real.requires_grad_()
    real_scores, made_scores = pair.discriminator(real, condition), pair.discriminator(made, condition)
    if kind == "logistic":
        loss = F.softplus(-real_scores).mean() + F.softplus(made_scores).mean()
    else:
        loss = F.relu(1 - real_scores).mean() + F.relu(1 + made_scores).mean()
    (slope,) = torch.autograd.grad(real_scores.sum(), real, create_graph=True)
    square = slope.square().sum([1, 2, 3]).mean()
    return loss, PENALTY / 2 * square, square


def making(pair, kind, condition):
    z = array("making", [BATCH, pair.discriminator.c["latent"]])
    scores = pair.discriminator(pair.made(z, condition), condition)
    return F.softplus(-scores).mean() if kind == "logistic" else -scores.mean()


def gradients(pair, rows, half, loss):
    names = [row["name"] for row in rows if row["name"].startswith(half) and not row["name"].endswith("w_avg")]
    parameters = dict(pair.named_parameters())
    norms, samples = [], []
    wanted = [parameters[name] for name in names]
    for grad, of in zip(torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True), wanted):
        # The penalty does not see a bias that no activation follows.
        grad = torch.zeros(of.numel()) if grad is None else grad.reshape(-1)
        norms.append(grad.norm().item())
        samples.append(grad[[i * grad.numel() // SAMPLES for i in range(SAMPLES)]].tolist())
    return np.array(norms, dtype=np.float32), np.array(samples, dtype=np.float32)


CASES = {
    "logistic": ("logistic", TWINS.config(condition=7)),
    "hinge": ("hinge", TWINS.config()),
}


def make(name: str) -> None:
    kind, c = CASES[name]
    pair = Pair(c).double()
    rows = filled(pair)
    TWINS.rule_fixed(rows, pair)
    condition = array("condition", [BATCH, c["condition"]]) if c["condition"] else None
    loss, penalty, square = judging(pair, kind, array("x", [BATCH, 3, c["size"], c["size"]]), condition)
    losses = {"judging": loss, "penalised": loss + penalty, "penalty": penalty, "making": making(pair, kind, condition)}
    arrays = {name: np.array([value.item()], dtype=np.float32) for name, value in losses.items()}
    arrays["squared_slope"] = np.array([square.item()], dtype=np.float32)
    for what, loss in losses.items():
        half = "generator" if what == "making" else "discriminator"
        norms, samples = gradients(pair, rows, half, loss)
        arrays |= {f"{what}.norms": norms, f"{what}.samples": samples}
    write(HERE / name, c, rows, arrays, torch_version())


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(name)


if __name__ == "__main__":
    main()
