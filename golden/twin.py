"""What the scripts of the picture models share: a PyTorch twin is filled by its parameters' names, run in f64, and its
output and every gradient are written.

The loss is the sum of the output times the array "loss" of the generator, so that its gradient has all kinds of
numbers in it.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from fill import fill

SAMPLES = 8


def rule(name: str, shape) -> tuple[float, float]:
    """(mean, scale) of a tensor, powers of two: norms around 1, matrices by their fan-in."""
    if name.endswith("running_var"):
        return 1.0, 0.5
    if len(shape) == 1:
        is_weight = name.endswith("weight")
        return (1.0, 0.25) if is_weight else (0.0, 0.125)
    k = 0
    while 4**k < np.prod(shape[1:]):
        k += 1
    return 0.0, 2.0 ** (1 - k)


def filled(module, skip=()) -> list:
    """Fills the parameters and running statistics; returns the rows of tensors.json."""
    rows = []
    state = dict(module.named_parameters()) | {
        name: buffer for name, buffer in module.named_buffers() if buffer.is_floating_point()
    }
    with torch.no_grad():
        for name in sorted(state):
            if name in skip:
                continue
            shape = list(state[name].shape)
            mean, scale = rule(name, shape)
            rows.append({"name": name, "shape": shape, "mean": mean, "scale": scale})
            state[name].copy_(torch.from_numpy(fill(name, shape, mean, scale)))
    return rows


def array(name: str, shape, mean=0.0, scale=1.0) -> torch.Tensor:
    """An input by name."""
    return torch.from_numpy(fill(name, shape, mean, scale)).double()


def loss(output: torch.Tensor, name="loss") -> torch.Tensor:
    return (output * array(name, list(output.shape))).sum()


def gradients(module, rows: list, inputs: dict, idle=()) -> dict:
    """Norms and samples of every gradient: of the rows that are parameters in order, then of the inputs.

    Only the parameters `idle` may have a gradient of 0.
    """
    parameters = dict(module.named_parameters())
    tensors = [(r["name"], parameters[r["name"]]) for r in rows if r["name"] in parameters]
    tensors += list(inputs.items())
    norms, samples = [], []
    for name, tensor in tensors:
        if tensor.grad is None:
            raise SystemExit(f"{name} has no gradient")
        grad = tensor.grad.reshape(-1)
        norms.append(grad.norm().item())
        at = [i * grad.numel() // SAMPLES for i in range(SAMPLES)]
        samples.append(grad[at].tolist())
        if norms[-1] == 0 and name not in idle:
            raise SystemExit(f"{name} has a gradient of 0")
    return {
        "gradient.norms": np.array(norms, dtype=np.float32),
        "gradient.samples": np.array(samples, dtype=np.float32),
    }


def write(folder: Path, config: dict, rows: list, arrays: dict, reference: str) -> None:
    """Writes config.json, tensors.json and case.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    lines = ",\n".join(json.dumps(row) for row in rows)
    (folder / "tensors.json").write_text(f"[\n{lines}\n]\n")
    plain = {
        name: np.ascontiguousarray(
            value.detach().numpy().astype(np.float32) if isinstance(value, torch.Tensor) else value
        )
        for name, value in arrays.items()
    }
    save_file(plain, folder / "case.safetensors", metadata={"reference": reference})
    size = (folder / "case.safetensors").stat().st_size
    if size > 200_000:
        raise SystemExit(f"{folder}: case.safetensors has {size} bytes, more than 200 kB")
    spread = {n: f"{v.std():.2f}" for n, v in plain.items() if not n.startswith("gradient")}
    print(f"{folder.parent.name}/{folder.name}: {len(rows)} tensors, {size} bytes, std {spread}")


def torch_version() -> str:
    return f"torch {torch.__version__.split('+')[0]}, float64"
