"""The result of sequential Monte Carlo: islands of particles and the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.validate import probability
from fermiac.results import Sample

__all__ = ["SmcSample"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SmcSample(Sample):
    """Particles of a posterior, in islands, and its evidence.

    A `fermiac.Sample`, returned by `fermiac.mcmc.smc` [1]_. Averages over it have errors from the
    spread of the islands.

    Attributes
    ----------
    draws : ndarray, shape (islands, n, d)
        The particles.
    log_weights : ndarray, shape (islands, n)
        The logarithms of their weights, equal within an island.
    log_evidence : float
        The logarithm of the mean of the evidences of the islands.
    log_evidence_stderr : float
        Its standard error, from the spread of the islands.
    df : float
        The degrees of freedom of this error: one less than the number of islands.
    log_evidences : ndarray, shape (islands,)
        The logarithms of the evidences of the islands.
    stages : tuple of mapping
        For each stage the power ``beta`` of the likelihood, the effective sample size ``ess`` of
        the particles after reweighting, the ``acceptance`` rate of the moves, their ``step``, and
        the share ``between`` chains of the variance of the log-likelihood's ranks: near 1 / n_steps
        if a chain forgets its start at once, and near 1 if it stays there.

    References
    ----------
    .. [1] H.-D. Dau, N. Chopin, "Waste-free sequential Monte Carlo", Journal of the Royal
       Statistical Society B, 2022, arXiv:2011.02328.

    Examples
    --------
    >>> import fermiac as fm
    >>> prior = fm.distributions.Normal(0.0, 1.0)
    >>> s = fm.mcmc.smc(lambda x: -0.5 * (x[:, 0] - 1) ** 2, prior, 2048, rng=0)
    >>> low, high = s.log_evidence_interval()
    >>> low < s.log_evidence < high
    True
    """

    log_evidence: float
    log_evidence_stderr: float
    df: float
    log_evidences: Array
    stages: tuple[Mapping[str, Any], ...] = ()

    _layout: ClassVar[fit.Layout] = {
        "log_evidence": fit.real,
        "log_evidence_stderr": fit.real,
        "df": fit.real,
        "log_evidences": fit.array("f", "islands"),
        "stages": fit.listed(
            fit.record(
                {
                    "beta": fit.real,
                    "ess": fit.real,
                    "acceptance": fit.real,
                    "step": fit.real,
                    "between": fit.real,
                }
            )
        ),
    }

    @public
    def log_evidence_interval(self, prob: float = 0.95) -> tuple[float, float]:
        """Return a confidence interval of the log-evidence.

        Parameters
        ----------
        prob : float, default 0.95
            The nominal coverage, above 0 and below 1.

        Returns
        -------
        tuple of float
            Its ends, by Student's t with `df` degrees of freedom.

        Raises
        ------
        ArgumentError
            If `prob` is outside its domain.
        """
        prob = probability("prob", prob)
        half = float(stdtrit(self.df, 0.5 + 0.5 * prob)) * self.log_evidence_stderr
        return self.log_evidence - half, self.log_evidence + half

    def _headline(self) -> str:
        return (
            f"{super()._headline()}, log Z {self.log_evidence:.4g} ± {self.log_evidence_stderr:.2g}"
        )
