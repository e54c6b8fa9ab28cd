"""Integrators of k-diffusion and diffusers as functions of a denoiser.

``pip install torchsde torchdiffeq scipy tqdm`` and ``pip install --no-deps k-diffusion`` bring what
k-diffusion's samplers need; the rest of its dependencies is for training, and some of it needs an
older NumPy. Hence its file of samplers is loaded on its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Denoiser = Callable[[Array, float], Array]


def k_diffusion_sampling() -> Any:
    """k_diffusion.sampling as it is in the file, without what the package imports beside it.

    Raises
    ------
    ImportError
        If it, or what that file imports, is not installed.
    """
    name = "k_diffusion.sampling"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.find_spec("k_diffusion")
    if found is None or found.origin is None:
        raise ImportError("k_diffusion is not installed")
    package, utils = ModuleType("k_diffusion"), ModuleType("k_diffusion.utils")
    package.__path__ = [str(Path(found.origin).parent)]
    # All that samplers take from there: dimensions of size 1 at the end.
    utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]  # type: ignore[attr-defined]
    package.utils = utils  # type: ignore[attr-defined]
    added = {"k_diffusion": package, "k_diffusion.utils": utils}
    sys.modules.update(added)
    try:
        return importlib.import_module(name)
    except ImportError:
        for key in added:
            sys.modules.pop(key, None)
        raise


def k_diffusion(sampler: str, f: Denoiser, y: Array, levels: Array, **settings: Any) -> Array:
    """Run ``sample_<sampler>`` in float64."""
    import torch

    def model(x: Any, sigma: Any) -> Any:
        return torch.from_numpy(f(x.numpy(), float(sigma[0])))

    sample = getattr(k_diffusion_sampling(), f"sample_{sampler}")
    start = torch.from_numpy(np.array(y, float))
    out: Array = sample(model, start, torch.from_numpy(levels), disable=True, **settings).numpy()
    return out


def diffusers_scheduler(kind: str, f: Denoiser, y: Array, levels: Array, **settings: Any) -> Array:
    """Run a scheduler of diffusers on exactly these levels.

    It is made for x = a y with a² + b² = 1 and predicts data, so that scaling is all that is added.
    """
    import diffusers
    import torch

    made = getattr(diffusers, kind)(prediction_type="sample", **settings)
    n = len(levels) - 1
    made.set_timesteps(n)
    # Its own levels are float32 and end in one of its choice.
    made.sigmas = torch.from_numpy(levels)
    made.timesteps = torch.arange(n)
    made._step_index, made._begin_index = None, 0
    x = torch.from_numpy(y / np.sqrt(1 + levels[0] ** 2))
    for i, t in enumerate(made.timesteps):
        scale = float(np.sqrt(1 + levels[i] ** 2))
        denoised = torch.from_numpy(f(x.numpy() * scale, float(levels[i])))
        x = made.step(denoised, t, x).prev_sample
    out: Array = x.numpy() * np.sqrt(1 + levels[-1] ** 2)
    return out
