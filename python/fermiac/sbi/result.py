"""The result of approximate Bayesian computation: weighted parameters with their summaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac.results import Sample

__all__ = ["AbcSample"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AbcSample(Sample):
    """Parameters whose simulations are close to the observation, with weights.

    A `fermiac.Sample`, returned by `fermiac.sbi.abc` and `fermiac.sbi.abc_smc`.

    Attributes
    ----------
    draws : ndarray, shape (n, d)
        The parameters; after a regression those that it has adjusted.
    log_weights : ndarray, shape (n,), or None
        The logarithms of their weights; None for equal weights.
    epsilon : float
        The largest accepted distance.
    distances : ndarray, shape (n,)
        The distances of the simulations.
    rows : ndarray of int, shape (n,), or None
        Their rows in the table; None for `abc_smc`.
    summaries : ndarray, shape (n, k)
        The summaries of the simulations.
    observed : ndarray, shape (k,)
        Those of the observation.
    scale : ndarray, shape (k,)
        The numbers that summaries were divided by for the distance.
    n_simulations : int
        The number of simulations, accepted and rejected.
    rounds : tuple of mapping
        For each round of `abc_smc` its ``epsilon``, the number ``n_simulations`` of its
        simulations, its ``acceptance`` rate and the effective sample size ``ess``.

    Examples
    --------
    >>> import fermiac as fm
    >>> stream = fm.random.Stream(1)
    >>> theta = stream.normal((10_000, 1))
    >>> s = fm.sbi.abc((theta, theta + stream.normal((10_000, 1))), [1.0], n_accept=500)
    >>> bool(abs(s.mean[0] - 0.5) < 0.2), s.summaries.shape
    (True, (500, 1))
    """

    epsilon: float
    distances: Array
    summaries: Array
    observed: Array
    scale: Array
    n_simulations: int
    rows: NDArray[np.int64] | None = None
    rounds: tuple[Mapping[str, Any], ...] = ()

    _layout: ClassVar[fit.Layout] = {
        "epsilon": fit.real,
        "distances": fit.array("f", "n"),
        "rows": fit.maybe(fit.array("i", "n")),
        "summaries": fit.array("f", "n", "k"),
        "observed": fit.array("f", "k"),
        "scale": fit.array("f", "k"),
        "n_simulations": fit.whole(0),
        "rounds": fit.listed(
            fit.record(
                {
                    "epsilon": fit.real,
                    "n_simulations": fit.whole(0),
                    "acceptance": fit.real,
                    "ess": fit.real,
                }
            )
        ),
    }

    def _headline(self) -> str:
        return f"{super()._headline()}, epsilon {self.epsilon:.4g}"
