"""Averages of weights over a training by power functions of the step, rebuilt for any width.

At step t the average with exponent γ has the weight (τ/t)^(γ+1) on all steps up to τ. Its width is
the standard deviation of this law, relative to t. Averages of two widths are kept at many steps;
those of other widths are linear combinations of them.

References
----------
.. [1] T. Karras, M. Aittala, J. Lehtinen, J. Hellsten, T. Aila, S. Laine, "Analyzing and improving
   the training dynamics of diffusion models", 2024, arXiv:2312.02696.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import real
from fermiac.targets.torch_modules import import_torch

__all__ = ["PowerAverages", "combination", "exponent_of"]

Array = NDArray[np.float64]
#: The widths that are kept, the first of which the model has at the end; and the least number of
#: snapshots of each.
WIDTHS, N_SNAPSHOTS = (0.05, 0.10), 64
#: The standard deviation of an average with equal weights, the limit of the widths.
_WIDEST = 1 / math.sqrt(12)
#: Parts of a training over which laws of steps are compared.
_N_PARTS = 4096


def exponent_of(width: float) -> float:
    """Return the exponent γ of a width: (γ + 1) / ((γ + 2)² (γ + 3)) is its square."""
    inverse = width**-2
    return float(np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse]).real.max())


def combination(
    exponents: Sequence[float], times: Sequence[int], exponent: float, end: int
) -> tuple[Array, float]:
    """Return the shares of snapshots that give an average, and how far the law of steps is from it.

    The distance is the total variation of the weights of the steps.
    """
    edges = np.unique(np.linspace(0, end, min(_N_PARTS, end) + 1).round())

    def law(gamma: float, t: float) -> Array:
        reached: Array = np.minimum(edges / t, 1.0) ** (gamma + 1.0)
        return np.diff(reached)

    # In units of the root of the length of a part, so that narrow laws count as wide ones do.
    scale = 1.0 / np.sqrt(np.diff(edges))
    kept = np.array([law(g, t) for g, t in zip(exponents, times, strict=True)]).T
    wanted = law(exponent, end)
    found = np.linalg.lstsq(kept * scale[:, None], wanted * scale, rcond=1e-13)[0]
    shares: Array = np.asarray(found / found.sum(), dtype=np.float64)
    return shares, 0.5 * float(np.abs(kept @ shares - wanted).sum())


class PowerAverages:
    """The averages of some tensors during a training, and their snapshots."""

    def __init__(self, parameters: Sequence[Any], n_steps: int) -> None:
        torch = import_torch()
        self._parameters = parameters
        self._exponents = [exponent_of(width) for width in WIDTHS]
        n = min(N_SNAPSHOTS, n_steps)
        self._times = [round((i + 1) * n_steps / n) for i in range(n)]
        self.now = [[p.detach().clone() for p in parameters] for _ in WIDTHS]
        self._kept = [
            [torch.zeros((n, *p.shape), dtype=p.dtype, device=p.device) for p in parameters]
            for _ in WIDTHS
        ]
        self.done = 0

    @property
    def tensors(self) -> list[Any]:
        """All tensors, for a checkpoint."""
        return [t for group in (*self.now, *self._kept) for t in group]

    def update(self, step: int) -> None:
        """Take in the parameters after a step, counted from 1."""
        torch = import_torch()
        for gamma, now, kept in zip(self._exponents, self.now, self._kept, strict=True):
            share = 1.0 - (1.0 - 1.0 / step) ** (gamma + 1.0)
            torch._foreach_lerp_(now, self._parameters, share)
            if step in self._times:
                for whole, average in zip(kept, now, strict=True):
                    whole[self._times.index(step)] = average
        self.done = step

    def rebuilt(self, width: Any) -> tuple[list[Any], float]:
        """Return the averages of a width, and the distance of their law of steps from it."""
        needed = f"a width above 0 and below {_WIDEST:.4f} is needed"
        wide = real("width", width, needed, lambda w: 0 < w < _WIDEST)
        n = sum(t <= self.done for t in self._times)
        times = [*self._times[:n], *([] if self.done in self._times else [self.done])]
        shares, distance = combination(
            [g for g in self._exponents for _ in times],
            times * len(WIDTHS),
            exponent_of(wide),
            self.done,
        )
        found = []
        for i, p in enumerate(self._parameters):
            total = 0.0
            for k, part in enumerate(shares.reshape(len(WIDTHS), -1)):
                rows = [self._kept[k][i][j] for j in range(n)]
                rows += [self.now[k][i]] if len(times) > n else []
                # In double precision: shares of both signs cancel.
                for share, row in zip(part.tolist(), rows, strict=True):
                    total = total + share * row.double()
            found.append(total.to(p.dtype))  # type: ignore[attr-defined]
        return found, distance
