"""Checks of the draws of a run: convergence, and walkers that arrive late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fermiac._base.folders import sections
from fermiac.errors import ConvergenceWarning, FermiacWarning
from fermiac.results import chain_summary

if TYPE_CHECKING:
    from fermiac.mcmc.result import Chains

__all__ = ["findings"]

#: The most numbers that are checked: of larger samples only some of the coordinates.
_MOST = 2**23
#: A walker that starts so many times farther out than the others ever go has not arrived.
_LATE = 20.0


def findings(sample: Chains) -> list[tuple[type[FermiacWarning], str]]:
    """Return the warnings about the draws, with their classes."""
    judged = min(sample.n_draws, chain_summary.BLOCK)
    step = -(-judged * sample.dim // _MOST)
    some = sample if step == 1 else sample._coordinates(range(0, sample.dim, step))
    found = list(chain_summary.findings(some))
    # Walkers depend on each other, so that only their distances can be compared.
    late = _late(some.draws) if sample.settings.get("ensemble") else 0
    if late:
        found.insert(
            0,
            (
                ConvergenceWarning,
                f"{late} of {len(some.draws)} walkers start {_LATE:g} times farther out than all "
                f"points of the others: they arrived late, or not at all, and averages are wrong; "
                "give a longer warm-up, or starts nearer to the bulk (init=)",
            ),
        )
    return found


def _late(draws: NDArray[np.float64]) -> int:
    """Return the number of walkers (w, n, d) that start far from all points of the others."""
    n_walkers, n, d = draws.shape
    settled = draws[:, n // 2 :]
    # The centre of long chains is that of some of their draws.
    every = max(n_walkers * settled.shape[1] // chain_summary.BLOCK, 1)
    step = max(chain_summary.BLOCK // (n_walkers * -(-settled.shape[1] // every)), 1)
    centre = np.concatenate(
        [
            np.median(chain_summary.copied(settled[:, ::every, at : at + step]), axis=(0, 1))
            for at in range(0, d, step)
        ]
    )
    farthest = np.zeros((n_walkers, d))
    for chains, rows in sections(settled):
        far = np.abs(settled[chains, rows] - centre).max(axis=1)
        np.maximum(farthest[chains], far, out=farthest[chains])
    reach = np.median(farthest, axis=0)
    late = np.abs(draws[:, 0] - centre) > _LATE * reach
    return int(np.count_nonzero((late & (reach > 0)).any(axis=1)))
