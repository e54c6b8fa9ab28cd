"""The result of a run of chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac.results import Sample

__all__ = ["Chains", "adaptation", "known", "statistics"]

Array = NDArray[np.float64]

#: The statistics that are flags, and those that are counts.
_FLAGS = {"accepted", "diverging", "reached_max_depth"}
_COUNTS = {"n_steps", "tree_depth", "n_evals"}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Chains(Sample):
    """The draws of Markov chains with their statistics and adaptation.

    A `fermiac.Sample` with the error model ``"chains"``, returned by `fermiac.mcmc.sample`.

    Attributes
    ----------
    draws : ndarray, shape (chains, draws, d)
        The draws, of constrained parameters where the call had ``transforms``.
    log_densities : ndarray, shape (chains, draws)
        The log-density at the draws; with ``transforms`` that of the unconstrained density.
    gradients : ndarray, shape (chains, draws, d), or None
        The gradients at the draws, if the kernel uses them, without ``transforms``.
    stats : mapping of str to ndarray, shape (chains, draws)
        The statistics of each transition: ``acceptance_rate``, ``diverging``, ...
    warmup_stats : mapping of str to ndarray, shape (chains, n_warmup)
        The same of the warm-up, with ``keep_warmup=True``.
    warmup_draws : ndarray, shape (chains, n_warmup, d), or None
        The draws of the warm-up, with ``keep_warmup=True``.
    adaptation : mapping
        ``step_sizes``, one list a chain, and ``inverse_metrics`` of the first chain: variances
        (d,) or covariances (d, d).

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 1.0], 2.0)
    >>> s = fm.mcmc.sample(law, kernel=fm.mcmc.MALA(), n_draws=2000, rng=0)
    >>> s.draws.shape, sorted(s.stats)
    ((4, 2000, 2), ['acceptance_rate', 'accepted', 'step_size'])
    >>> len(s.adaptation["step_sizes"]), s.adaptation["inverse_metrics"][0].shape
    (4, (2, 2))
    """

    warmup_draws: Array | None = None
    adaptation: Mapping[str, Any] = field(default_factory=dict)
    #: The state from which `extend` continues.
    _state: Mapping[str, Any] | None = None

    _layout: ClassVar[fit.Layout] = {
        "draws": fit.array("fiu", "chains", "draws", "d", finite=True, least=1),
        "warmup_draws": fit.maybe(fit.array("f", "chains", "warmup", "d")),
        "adaptation": fit.record(
            {},
            {
                "step_sizes": fit.listed(fit.listed(fit.real)),
                "inverse_metrics": fit.listed(fit.array("f")),
            },
        ),
        "_state": fit.maybe(
            fit.record(
                {"words": fit.array("u", "words"), "n_evals": fit.whole(0), "n_draws": fit.whole(0)}
            )
        ),
    }


def known(log_densities: Array) -> Array | None:
    """Return the log-densities, or None for those of exact draws and of users' kernels."""
    return None if np.isnan(log_densities).any() else log_densities


def statistics(names: list[str], values: Array, n_points: int) -> dict[str, NDArray[Any]]:
    """Return the statistics by name, (chains, draws); a state moves `n_points` chains."""
    found: dict[str, NDArray[Any]] = {}
    for i, name in enumerate(names):
        # A view if possible: the values may be on disk.
        array: NDArray[Any] = values[..., i]
        if n_points > 1:
            array = np.repeat(array, n_points, axis=0)
        kind = name.rpartition(".")[2]
        if kind in _FLAGS:
            array = array == 1.0
        elif kind in _COUNTS and np.isfinite(array).all():
            array = array.astype(np.int64)
        found[name] = array
    return found


def adaptation(raw: dict[str, Any], dim: int) -> dict[str, Any]:
    """Return the adapted step sizes and inverse metrics as a result keeps them."""

    def square(array: Array) -> Array:
        side = round(len(array) ** 0.5)
        return array.reshape(side, side) if len(array) == dim * dim > 1 else array

    return {
        "step_sizes": [list(steps) for steps in raw["step_sizes"]],
        "inverse_metrics": [square(array) for array in raw["inverse_metrics"]],
    }
