"""The built-in networks: residual multilayer perceptrons, with and without a noise level."""

from __future__ import annotations

import functools
import math
import os
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base import store
from fermiac._base.validate import path_of, shown
from fermiac.errors import ArgumentError
from fermiac.results.result import Result
from fermiac.targets.torch_modules import import_torch

__all__ = ["level_classifier", "read_network", "score_mlp", "write_network"]

PathLike: TypeAlias = "str | os.PathLike[str]"
Array = NDArray[np.float64]
#: Frequencies of the features of ln(s) / 4: from one wave over all levels to one wave over a
#: factor of two.
_N_FREQUENCIES, _LOWEST, _HIGHEST = 16, 0.125, 6.0

_WIDTH = fit.whole(1, 2**31)
_NETWORK: fit.Layout = {
    "network": fit.text("ScoreMLP", "LevelMLP"),
    "settings": fit.record(
        {"dim": _WIDTH, "width": _WIDTH, "n_blocks": fit.whole(0)},
        {"sigma_data": fit.real, "scale": fit.real, "n_out": _WIDTH, "n_classes": fit.whole(0)},
        rest=False,
    ),
    "weights": fit.mapping(fit.array("f", finite=True)),
}


def score_mlp(
    centre: Array, sigma_data: float, width: int, n_blocks: int, n_classes: int = 0
) -> Any:
    """Return a network F for ``prediction="edm"``: (n, d) and (n,) -> (n, d).

    With classes it also takes their numbers (n,), of which `n_classes` is that of no class.

    Its inputs are c_in y and ln(s) / 4. The centre of the data is subtracted from the input and
    added to the output in closed form, so that only deviations from it have to be learnt.
    """
    module = classes()["ScoreMLP"](len(centre), sigma_data, width, n_blocks, n_classes)
    module.centre.copy_(import_torch().as_tensor(centre))
    return module


def level_classifier(centre: Array, scale: float, width: int, n_blocks: int, n_out: int) -> Any:
    """Return a network from noisy points to `n_out` numbers: (n, d) -> (n, n_out)."""
    module = classes()["LevelMLP"](len(centre), scale, width, n_blocks, n_out)
    module.centre.copy_(import_torch().as_tensor(centre))
    return module


def write_network(path: PathLike, kind: str, module: Any, training: Result, more: Any) -> None:
    """Write a network of this module with the report of its training."""
    name = type(module).__qualname__
    if type(module) not in classes().values() or not hasattr(module, "settings"):
        raise ArgumentError(
            f"module: a {type(module).__name__} of your own cannot be saved without pickle; keep "
            "its state_dict(), and make the model again around it"
        )
    weights = {k: v.detach().cpu().double().numpy() for k, v in module.state_dict().items()}
    tensors: store.Tensors = {}
    node = store.encode(
        {
            "network": name,
            "settings": module.settings,
            "weights": weights,
            "told": training,
            **more,
        },
        tensors,
    )
    store.write(path, kind, node, tensors)


def read_network(path: PathLike, kind: str, more: fit.Layout) -> tuple[Any, dict[str, Any]]:
    """Return a network and the other content of a file of `write_network`, of this layout."""
    torch = import_torch()
    file = path_of("path", path)
    node, tensors = store.read(file, kind)
    content = store.decode(node, tensors, file)
    store.fit(content, {**_NETWORK, **more}, file)
    network, weights = classes()[content["network"]], content["weights"]
    with store.decoding(file):
        if content["settings"]["n_blocks"] > len(weights):
            raise fit.Misfit("more blocks than there are weights")
        # Sizes are compared before there is room for any of them.
        with torch.device("meta"):
            shapes = {
                k: tuple(v.shape) for k, v in network(**content["settings"]).state_dict().items()
            }
        if shapes != {k: v.shape for k, v in weights.items()}:
            raise fit.Misfit("its weights are not those of its network")
        module = network(**content["settings"])
        module.load_state_dict({k: torch.as_tensor(v) for k, v in weights.items()})
    return module.eval(), content


@functools.cache
def classes() -> dict[str, Any]:
    """Return the classes of the networks, which can be made only if torch is installed."""
    torch = import_torch()
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        """A residual layer, scaled and shifted by features of the level."""

        def __init__(self, width: int, n_context: int) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(width)
            self.first = nn.Linear(width, width)
            self.context = nn.Linear(n_context, 2 * width) if n_context else None
            self.second = nn.Linear(width, width)
            # A block begins as the identity.
            nn.init.zeros_(self.second.weight)
            nn.init.zeros_(self.second.bias)

        def forward(self, h: Any, context: Any = None) -> Any:
            inner = self.first(self.norm(h))
            if self.context is not None:
                scale, shift = self.context(context).chunk(2, dim=-1)
                inner = inner * (1 + scale) + shift
            return h + self.second(nn.functional.silu(inner))

    class ScoreMLP(nn.Module):  # type: ignore[misc, name-defined]
        """Residual SiLU blocks with Fourier features of ln(s) / 4."""

        def __init__(
            self, dim: int, sigma_data: float, width: int, n_blocks: int, n_classes: int = 0
        ) -> None:
            super().__init__()
            self.settings = {
                "dim": dim, "sigma_data": sigma_data, "width": width, "n_blocks": n_blocks
            }  # fmt: skip
            if n_classes:
                self.settings["n_classes"] = n_classes
            self.register_buffer("centre", torch.zeros(dim))
            steps = np.geomspace(_LOWEST, _HIGHEST, _N_FREQUENCIES)
            waves = torch.as_tensor(2 * math.pi * steps, dtype=torch.float32)
            self.register_buffer("waves", waves)
            n_context = min(width, 128)
            self.level = nn.Sequential(
                nn.Linear(2 * _N_FREQUENCIES, n_context), nn.SiLU(),
                nn.Linear(n_context, n_context), nn.SiLU(),
            )  # fmt: skip
            self.enter = nn.Linear(dim, width)
            self.blocks = nn.ModuleList([Block(width, n_context) for _ in range(n_blocks)])
            self.norm = nn.LayerNorm(width)
            self.leave = nn.Linear(width, dim)
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)
            # Made last, so that the other weights are those without classes.
            self.label = nn.Embedding(n_classes + 1, n_context) if n_classes else None

        def forward(self, x: Any, t: Any, c: Any = None) -> Any:
            shape, t = x.shape, t.reshape(-1, 1)
            sigma, scale = torch.exp(4 * t), self.settings["sigma_data"]
            total = torch.sqrt(sigma**2 + scale**2)
            phase = t * self.waves
            context = self.level(torch.cat([phase.sin(), phase.cos()], dim=-1))
            if self.label is not None:
                none = self.label.num_embeddings - 1
                c = torch.full((len(x),), none, device=x.device) if c is None else c
                context = context + self.label(c.long())
            h = self.enter(x.flatten(1) - self.centre / total)
            for block in self.blocks:
                h = block(h, context)
            out = self.leave(nn.functional.silu(self.norm(h)))
            return (out + self.centre * (sigma / (scale * total))).reshape(shape)

    class LevelMLP(nn.Module):  # type: ignore[misc, name-defined]
        """Residual SiLU blocks on points of any norm, and on the norm."""

        def __init__(self, dim: int, scale: float, width: int, n_blocks: int, n_out: int) -> None:
            super().__init__()
            self.settings = {
                "dim": dim, "scale": scale, "width": width, "n_blocks": n_blocks, "n_out": n_out
            }  # fmt: skip
            self.register_buffer("centre", torch.zeros(dim))
            self.enter = nn.Linear(2 * dim + 2, width)
            self.blocks = nn.ModuleList([Block(width, 0) for _ in range(n_blocks)])
            self.norm = nn.LayerNorm(width)
            self.leave = nn.Linear(width, n_out)
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

        def forward(self, x: Any) -> Any:
            x = (x - self.centre) / self.settings["scale"]
            size = torch.log1p(x.square().mean(dim=-1, keepdim=True))
            unit = x * torch.exp(-0.5 * size)
            # The input of points near the data is the point, far away the direction.
            h = self.enter(torch.cat([unit, x.clamp(-4, 4), size, size.square() / 8], dim=-1))
            for block in self.blocks:
                h = block(h)
            return self.leave(nn.functional.silu(self.norm(h)))

    made = {"ScoreMLP": ScoreMLP, "LevelMLP": LevelMLP, "Block": Block}
    for name, kind in made.items():
        # With this name they can be pickled.
        kind.__module__, kind.__qualname__ = __name__, name
    return made


def __getattr__(name: str) -> Any:
    if name in ("ScoreMLP", "LevelMLP", "Block"):
        return classes()[name]
    raise AttributeError(f"module {shown(__name__)} has no attribute {name!r}")
