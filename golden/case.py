"""What the make scripts share: filling a model, and writing a case folder."""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.numpy import save_file

from fill import fill

REFERENCE = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"


def rule(name: str, shape, norm_mean: float) -> tuple[float, float]:
    """(mean, scale) of a tensor. Powers of two, so that the numbers in tensors.json are exact.

    Norm weights lie around `norm_mean`, biases are small, and a matrix has its scale from its
    fan-in: large enough that attention is not flat and a wrong rotary angle shows in the logits.
    """
    if len(shape) == 1:
        is_weight = name.endswith("weight")
        return (norm_mean, 0.25) if is_weight else (0.0, 0.125)
    if "embed" in name:
        return 0.0, 0.25
    k = 0
    while 4**k < shape[-1]:
        k += 1
    return 0.0, 2.0 ** (1 - k)


def filled_model(config: dict, model_class):
    """A model of the published `config` with every tensor filled by its published name.

    The model is saved once to learn the names and shapes that a checkpoint on disk has (which are
    not always those of the modules), filled, and loaded back. Returns (model, tensors), where
    tensors are the rows of tensors.json.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "config.json").write_text(json.dumps(config))
        parsed = transformers.AutoConfig.from_pretrained(folder, attn_implementation="eager")
        torch.manual_seed(0)
        model_class._from_config(parsed).save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps(config))
        # Gemma's norms multiply by 1 + weight.
        norm_mean = 0.0 if config["model_type"].startswith("gemma") else 1.0
        tensors, weights = [], {}
        with safe_open(folder / "model.safetensors", "np") as file:
            for name in sorted(file.keys()):
                shape = list(file.get_slice(name).get_shape())
                mean, scale = rule(name, shape, norm_mean)
                tensors.append({"name": name, "shape": shape, "mean": mean, "scale": scale})
                weights[name] = fill(name, shape, mean, scale)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        model, info = model_class.from_pretrained(
            folder, config=parsed, dtype=torch.float32, output_loading_info=True
        )
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if info[kind]:
                raise SystemExit(f"{config['model_type']}: {kind}: {info[kind]}")
    return model.eval(), tensors


def write(folder: Path, config: dict, tensors: list, arrays: dict) -> None:
    """Writes config.json, tensors.json and case.safetensors into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    rows = ",\n".join(json.dumps(t) for t in tensors)
    (folder / "tensors.json").write_text(f"[\n{rows}\n]\n")
    contiguous = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    save_file(contiguous, folder / "case.safetensors", metadata={"reference": REFERENCE})
    size = (folder / "case.safetensors").stat().st_size
    if size > 200_000:
        raise SystemExit(f"{folder}: case.safetensors has {size} bytes, more than 200 kB")
