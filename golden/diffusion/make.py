"""Schedules, sampler runs and noise of diffusers and PyTorch, for crates/sampling/tests/diffusion.rs.

    python3 golden/diffusion/make.py

Each run has 10 steps over the exact answer for a mixture of two Gaussians in place of a network:
`mixture.json` describes it, `denoise` here and in the test computes it in f64. The runs are listed in
`runs.json`, in the terms of medley_sampling::diffusion.
"""

import functools
import importlib.util
import json
import sys
import types
from pathlib import Path

import diffusers
import numpy as np
import scipy
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from safetensors.numpy import save_file

HERE = Path(__file__).parent
VERSIONS = {"diffusers": diffusers, "torch": torch, "scipy": scipy, "numpy": np}
REFERENCE = ", ".join(f"{k} {v.__version__.split('+')[0]}" for k, v in VERSIONS.items())
REFERENCE += ", k-diffusion 0.1.1"
SHAPE = (4, 4)
SEED = 7
STEPS = 10
MIXTURE = {
    "weights": [0.3, 0.7],
    "means": [[0.9, -0.6, 0.2, 0.5], [-0.4, 0.3, -0.7, 0.1]],
    "deviations": [0.25, 0.4],
}
BETAS = {
    "linear": ("linear", 1e-4, 0.02),
    "scaled_linear": ("scaled_linear", 0.00085, 0.012),
    "cosine": ("squaredcos_cap_v2", 1e-4, 0.02),
}
RUN = {
    "prediction": "epsilon",
    "betas": "scaled_linear",
    "timestep_spacing": "linspace",
    "steps_offset": 0,
    "sigma_spacing": "native",
}
K_CLASSES = {
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_a": diffusers.EulerAncestralDiscreteScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "dpm2": diffusers.KDPM2DiscreteScheduler,
}
CLASSES = K_CLASSES | {
    "ddpm": diffusers.DDPMScheduler,
    "ddim": diffusers.DDIMScheduler,
    "lcm": diffusers.LCMScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_2m_sde": diffusers.DPMSolverMultistepScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
    "flow_euler": diffusers.FlowMatchEulerDiscreteScheduler,
    "flow_heun": diffusers.FlowMatchHeunDiscreteScheduler,
}


@functools.cache
def k_diffusion_sampling():
    """k-diffusion's sampling.py alone; its package pulls in training, metrics and their dependencies."""
    folder = Path(importlib.util.find_spec("k_diffusion").origin).parent
    package, utils = types.ModuleType("k_diffusion"), types.ModuleType("k_diffusion.utils")
    package.__path__ = [str(folder)]
    package.utils = utils
    utils.append_dims = lambda x, dims: x.reshape(x.shape + (1,) * (dims - x.ndim))
    sys.modules |= {"k_diffusion": package, "k_diffusion.utils": utils}
    return importlib.import_module("k_diffusion.sampling")


def run(name: str, sampler: str, **settings) -> dict:
    return {"name": name, "sampler": sampler} | RUN | settings


def runs() -> list[dict]:
    discrete = [
        run("ddpm", "ddpm", timestep_spacing="leading"),
        run("ddpm_clip", "ddpm", timestep_spacing="trailing", betas="cosine", clip=0.8),
        run("ddpm_v", "ddpm", prediction="v_prediction", betas="linear"),
        run("ddim", "ddim", timestep_spacing="leading"),
        run("ddim_eta", "ddim", timestep_spacing="trailing", eta=0.6, betas="linear"),
        run("ddim_v", "ddim", timestep_spacing="trailing", prediction="v_prediction"),
        run("ddim_clip", "ddim", timestep_spacing="leading", clip=0.7, steps_offset=1,
            keep_last_noise=True),
        run("ddim_sample", "ddim", timestep_spacing="leading", prediction="sample", betas="cosine"),
        run("lcm", "lcm"),
        run("lcm_v", "lcm", prediction="v_prediction", steps=4),
    ]
    k = [run(f"{s}_{spacing}", s, timestep_spacing=spacing, steps_offset=int(spacing == "leading"))
         for s in K_CLASSES for spacing in ("linspace", "leading", "trailing")]
    k += [run(f"{s}_{spacing}", s, sigma_spacing=spacing)
          for s in ("euler", "heun", "dpm2") for spacing in ("karras", "exponential", "beta")]
    k += [
        run("euler_v", "euler", prediction="v_prediction", betas="linear"),
        run("euler_end", "euler", keep_last_noise=True),
        run("euler_zero_snr", "euler", prediction="v_prediction", timestep_spacing="trailing",
            zero_terminal_snr=True),
        run("euler_a_v", "euler_a", prediction="v_prediction"),
        run("heun_sample", "heun", prediction="sample"),
        run("dpm2_v", "dpm2", prediction="v_prediction"),
        run("dpmpp_2s_a", "dpmpp_2s_a"),
        run("dpmpp_2s_a_karras", "dpmpp_2s_a", sigma_spacing="karras"),
    ]
    multistep = []
    for s in ("dpmpp_2m", "dpmpp_2m_sde", "unipc"):
        multistep += [run(f"{s}_{spacing}", s, timestep_spacing=spacing)
                      for spacing in ("linspace", "leading", "trailing")]
        multistep += [run(f"{s}_{spacing}", s, sigma_spacing=spacing)
                      for spacing in ("karras", "exponential", "beta")]
        multistep += [
            run(f"{s}_v", s, prediction="v_prediction", betas="linear"),
            run(f"{s}_end", s, keep_last_noise=True, steps=16),
            run(f"{s}_flow", s, prediction="flow_prediction", shift=3.0,
                timestep_spacing="trailing"),
        ]
    multistep += [run(f"unipc_{order}", "unipc", order=order) for order in (1, 3)]
    flow = {"prediction": "flow_prediction", "shift": 1.0}
    flows = [run(s, s, **flow) for s in ("flow_euler", "flow_heun")]
    flows += [run(f"{s}_shift", s, **flow | {"shift": 3.0}) for s in ("flow_euler", "flow_heun")]
    flows += [run("flow_euler_dynamic", "flow_euler", **flow | {"shift": None, "tokens": 1024},
                  timestep_spacing="trailing")]
    flows += [run(f"flow_euler_{spacing}", "flow_euler", **flow | {"shift": 3.0},
                  sigma_spacing=spacing) for spacing in ("karras", "exponential", "beta")]
    pictures = [case | {"name": f"{case['sampler']}_picture", "strength": 0.55}
                for case in discrete + k + multistep + flows
                if case["name"] in ("ddpm", "ddim", "euler_leading", "euler_a_leading", "heun_leading",
                                    "dpm2_leading", "dpmpp_2m_leading", "unipc_leading",
                                    "flow_euler_shift", "flow_heun")]
    return discrete + k + multistep + flows + pictures


def denoise(x: torch.Tensor, alpha: float, sigma: float) -> torch.Tensor:
    """E[x₀ | x] for x = α·x₀ + σ·ε, rows of x apart, in f64."""
    x = x.double()
    logs, means = [], []
    for weight, mean, deviation in zip(*MIXTURE.values()):
        mean = torch.tensor(mean, dtype=torch.float64)
        variance = alpha**2 * deviation**2 + sigma**2
        rest = x - alpha * mean
        square = (rest**2).sum(1, keepdim=True)
        dims = x.shape[1]
        logs.append(np.log(weight) - 0.5 * square / variance - 0.5 * dims * np.log(variance))
        means.append(mean + alpha * deviation**2 / variance * rest)
    share = torch.softmax(torch.cat(logs, 1), 1)
    return share[:, :1] * means[0] + share[:, 1:] * means[1]


def model(x: torch.Tensor, alpha: float, sigma: float, prediction: str) -> torch.Tensor:
    """The exact output for an input that holds `alpha` signal and `sigma` noise."""
    clean = denoise(x, alpha, sigma)
    noise = (x.double() - alpha * clean) / sigma
    return {
        "epsilon": noise,
        "sample": clean,
        "v_prediction": alpha * noise - sigma * clean,
        "flow_prediction": noise - clean,
    }[prediction].float()


def make_scheduler(case: dict):
    name = case["sampler"]
    settings = {}
    if "shift" in case:
        settings = {"shift": case["shift"] or 1.0}
        if case["shift"] is None:
            settings = {"use_dynamic_shifting": True}
        if name in ("dpmpp_2m", "dpmpp_2m_sde", "unipc"):
            settings = {"use_flow_sigmas": True, "flow_shift": case["shift"]}
            settings["prediction_type"] = "flow_prediction"
    else:
        shape, start, end = BETAS[case["betas"]]
        settings = dict(beta_schedule=shape, beta_start=start, beta_end=end,
                        prediction_type=case["prediction"])
    if name not in ("lcm", "flow_euler", "flow_heun"):
        settings |= dict(timestep_spacing=case["timestep_spacing"])
        settings |= dict(steps_offset=case["steps_offset"])
    if case["sigma_spacing"] != "native":
        settings[f"use_{case['sigma_spacing']}_sigmas"] = True
    if name in ("ddpm", "ddim"):
        settings |= dict(clip_sample="clip" in case, clip_sample_range=case.get("clip", 1.0))
    if name == "dpmpp_2m_sde":
        settings["algorithm_type"] = "sde-dpmsolver++"
    if case.get("keep_last_noise"):
        settings |= {"set_alpha_to_one": False} if name == "ddim" else {
            "final_sigmas_type": "sigma_min"}
    if case.get("zero_terminal_snr"):
        settings["rescale_betas_zero_snr"] = True
    if "order" in case:
        settings["solver_order"] = case["order"]
    return CLASSES[name](**settings)


def set_timesteps(scheduler, case: dict, steps: int) -> None:
    name = case["sampler"]
    if "tokens" in case:
        mu = 0.5 + (1.15 - 0.5) / (4096 - 256) * (case["tokens"] - 256)
        scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)], mu=mu)
        return
    scheduler.set_timesteps(steps)
    if name.startswith(("dpmpp_2m", "unipc")) and "shift" in case:
        # One table for all flow methods: 1, 1-1/n, … 1/n, shifted; the first below 1.
        sigmas = np.array([1 - i / steps for i in range(steps)])
        sigmas = 3.0 * sigmas / (1 + 2.0 * sigmas)
        sigmas[0] -= 1e-6
        scheduler.timesteps = torch.tensor(sigmas * 1000, dtype=torch.float32)
        scheduler.sigmas = torch.tensor([*sigmas, 0.0], dtype=torch.float32)


def point(scheduler, case: dict, at: int, timestep) -> tuple[float, float]:
    """Signal and noise of what the network sees at evaluation `at`."""
    if case["sampler"] in ("ddpm", "ddim", "lcm"):
        alpha = scheduler.alphas_cumprod[timestep].double()
        return float(alpha.sqrt()), float((1 - alpha).sqrt())
    sigma = float(scheduler.sigmas[at])
    if case["sampler"] == "dpm2" and at % 2 == 1:
        sigma = float(scheduler.sigmas_interpol[at])
    if "shift" in case:
        return 1 - sigma, sigma
    alpha = 1 / (sigma**2 + 1) ** 0.5
    return alpha, sigma * alpha


def sample(case: dict, arrays: dict) -> None:
    """Runs one case: its timesteps, noise levels and the sample before and after each evaluation."""
    steps = case.get("steps", STEPS)
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(SHAPE, generator=generator)
    if case["sampler"] == "dpmpp_2s_a":
        return sample_2s(case, arrays, x, generator)
    scheduler = make_scheduler(case)
    set_timesteps(scheduler, case, steps)
    flow_grid = case["sampler"].startswith("flow")
    first = 0
    if "strength" in case:
        # From a picture, as diffusers' image-to-image pipelines start: here the means of the mixture.
        first = (steps - int(steps * case["strength"])) * scheduler.order
        timesteps = scheduler.timesteps[first:]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        picture = torch.tensor(MIXTURE["means"] * 2)
        if flow_grid:
            x = scheduler.scale_noise(picture, timesteps[:1], x)
        else:
            x = scheduler.add_noise(picture, x, timesteps[:1])
    else:
        x = x * (1.0 if flow_grid else scheduler.init_noise_sigma)
    trace, levels = [x], []
    for at, timestep in enumerate(scheduler.timesteps[first:], first):
        alpha, sigma = point(scheduler, case, at, timestep)
        levels.append(sigma / alpha if "shift" not in case else sigma)
        seen = x if flow_grid else scheduler.scale_model_input(x, timestep)
        output = model(seen, alpha, sigma, case["prediction"])
        extra = {}
        if case["sampler"] in ("ddpm", "ddim", "lcm", "euler_a", "dpmpp_2m_sde"):
            extra["generator"] = generator
        if case["sampler"] == "ddim":
            extra["eta"] = case.get("eta", 0.0)
        x = scheduler.step(output, timestep, x, **extra).prev_sample
        trace.append(x)
    store(case, arrays, scheduler.timesteps[first:], levels, trace)


def sample_2s(case: dict, arrays: dict, x: torch.Tensor, generator) -> None:
    """DPM-Solver++ 2S ancestral is not in diffusers: k-diffusion's, over the levels of Euler's table."""
    scheduler = make_scheduler(case | {"sampler": "euler"})
    scheduler.set_timesteps(STEPS)
    x = x * scheduler.init_noise_sigma
    trace, levels = [x], []

    def denoiser(x, sigma):
        sigma = float(sigma[0])
        levels.append(sigma)
        if len(levels) > 1:
            trace.append(x)
        return denoise(x / (sigma**2 + 1) ** 0.5, *preserving(sigma)).float()

    def noise(*_):
        return torch.randn(SHAPE, generator=generator)

    x = k_diffusion_sampling().sample_dpmpp_2s_ancestral(
        denoiser, x, scheduler.sigmas, noise_sampler=noise, disable=True)
    store(case, arrays, None, levels, [*trace, x])


def preserving(sigma: float) -> tuple[float, float]:
    alpha = 1 / (sigma**2 + 1) ** 0.5
    return alpha, sigma * alpha


def store(case: dict, arrays: dict, timesteps, levels: list, trace: list) -> None:
    name = case["name"]
    if timesteps is not None:
        arrays[f"{name}.timesteps"] = timesteps.numpy().astype(np.float32)
    arrays[f"{name}.sigmas"] = np.array(levels, dtype=np.float32)
    arrays[f"{name}.trace"] = torch.stack(trace).flatten(1).numpy()
    if not np.isfinite(arrays[f"{name}.trace"]).all():
        raise SystemExit(f"{name}: a sample is not finite")


def noise_arrays() -> dict:
    arrays = {}
    for seed in (0, 42, 2**32 + 5):
        for size in (1, 5, 15, 16, 17, 64, 1000):
            torch.manual_seed(seed)
            arrays[f"randn.{seed}.{size}"] = torch.randn(size).numpy()
            torch.manual_seed(seed)
            arrays[f"rand.{seed}.{size}"] = torch.rand(size).numpy()
    # One generator over several draws: the kept second normal waits through the others.
    torch.manual_seed(3)
    parts = [torch.randn(5), torch.rand(3), torch.randn(20), torch.randn(4), torch.rand(2)]
    arrays["sequence"] = torch.cat(parts).numpy()
    return arrays


def guidance_arrays() -> dict:
    """Classifier-free guidance by 7.5, plain and rescaled by 0.7."""
    generator = torch.Generator().manual_seed(SEED)
    with_prompt, without = torch.randn(2, 1, 64, generator=generator)
    guided = without + 7.5 * (with_prompt - without)
    rescaled = rescale_noise_cfg(guided, with_prompt, guidance_rescale=0.7)
    names = ("with", "without", "guided", "rescaled")
    values = (with_prompt, without, guided, rescaled)
    return {f"guidance.{k}": v.flatten().numpy() for k, v in zip(names, values)}


def write(file: Path, arrays: dict) -> None:
    contiguous = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    save_file(contiguous, file, metadata={"reference": REFERENCE})
    size = file.stat().st_size
    print(f"{file.parent.name}/{file.name}: {size} bytes")
    if size > 200_000:
        raise SystemExit(f"{file} has {size} bytes, more than 200 kB")


def main() -> None:
    if sys.argv[1:]:
        raise SystemExit("golden/diffusion/make.py takes no arguments")
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    diffusers.logging.set_verbosity_error()
    tables = {}
    for name, (shape, start, end) in BETAS.items():
        scheduler = diffusers.DDPMScheduler(beta_schedule=shape, beta_start=start, beta_end=end)
        tables[f"alphas_cumprod.{name}"] = scheduler.alphas_cumprod.numpy()
    cases = runs()
    for case in cases:
        sample(case, tables)
    write(HERE / "case.safetensors", tables | guidance_arrays())
    write(HERE / "noise.safetensors", noise_arrays())
    rows = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "runs.json").write_text(f"[\n{rows}\n]\n")
    (HERE / "mixture.json").write_text(json.dumps(MIXTURE, indent=2) + "\n")


if __name__ == "__main__":
    main()
