"""The results of `multilevel` and `multifidelity`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac.results import Estimate
from fermiac.results.summary import Summary

__all__ = ["Multifidelity", "Multilevel"]

Array = NDArray[np.float64]


class _Own(Estimate):
    """An estimate for which `ratio` and `transform` return plain estimates."""

    def _derived(self, *arguments: Any) -> Estimate:
        own = {f.name: getattr(self, f.name) for f in fields(Estimate) if f.init}
        return Estimate(**own)._derived(*arguments)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Multilevel(_Own):
    """An expectation as a sum of differences between levels of refinement.

    `stderr` is the statistical error alone. The error of the last level is estimated by `bias`.

    Attributes
    ----------
    n_paths : ndarray of int, shape (L,)
        The paths of each level.
    level_means, level_variances : ndarray, shape (L, J)
        The mean and the variance of the difference of each level.
    level_kurtosis : ndarray, shape (L, J)
        The kurtosis of the difference. Above 100 the variances, and so the numbers of paths, are in
        doubt.
    level_costs : ndarray, shape (L,)
        The cost of a path of each level.
    cost : float
        The sum of the costs of all paths.
    bias : float or ndarray, shape (J,)
        The estimated error of the last level; 0 with ``debias=True``.
    alpha, beta, gamma : float
        The rates of the levels l: the means of differences fall like 2^(-alpha l), their variances
        like 2^(-beta l), and costs grow like 2^(gamma l).

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> def level(l, n, stream):  # E exp(X) by Taylor polynomials
    ...     x = stream.normal(n)
    ...     term, fine, coarse = np.ones(n), np.ones(n), None
    ...     for k in range(1, l + 2):
    ...         coarse, term = fine, term * x / k
    ...         fine = fine + term
    ...     return fine, coarse if l else None
    >>> m = fm.importance.multilevel(level, atol=0.05, rng=0)
    >>> bool(abs(m.mean - np.exp(0.5)) < 0.15)
    True
    """

    n_paths: NDArray[np.int64]
    level_means: Array
    level_variances: Array
    level_kurtosis: Array
    level_costs: Array
    cost: float
    bias: float | Array
    alpha: float
    beta: float
    gamma: float

    _layout: ClassVar[fit.Layout] = {
        "n_paths": fit.array("iu", "levels", low=0),
        "level_means": fit.array("f", "levels", "outputs"),
        "level_variances": fit.array("f", "levels", "outputs"),
        "level_kurtosis": fit.array("f", "levels", "outputs"),
        "level_costs": fit.array("f", "levels"),
        "cost": fit.real,
        "bias": fit.either(fit.real, fit.array("f", "outputs")),
        "alpha": fit.real,
        "beta": fit.real,
        "gamma": fit.real,
    }

    def summary(self) -> Summary:
        """Return a table: for each level the paths, the cost, mean and variance, and kurtosis."""
        # The columns are for the output with the largest variance.
        k = int(np.argmax(self.level_variances[0]))
        columns: dict[str, NDArray[Any]] = {
            "n_paths": self.n_paths,
            "cost": self.level_costs,
            "mean": self.level_means[:, k],
            "variance": self.level_variances[:, k],
            "kurtosis": self.level_kurtosis[:, k],
        }
        bias = float(np.max(np.abs(self.bias)))
        foot = [
            f"rates alpha {self.alpha:.2f}, beta {self.beta:.2f}, gamma {self.gamma:.2f}; "
            f"bias about {bias:.2g}",
            f"method {self.method}, cost {self.cost:.4g}, {self.n_evals} paths, seed {self.seed}",
        ]
        names = [f"level {i}" for i in range(len(self.n_paths))]
        foot += [f"warning: {w}" for w in self.warnings]
        return Summary(names, columns, head=[self._first_line()], foot=foot)

    def plot_multilevel(self, axes: Any = None) -> NDArray[Any]:
        """Draw variances, means and costs by level; see `fermiac.plotting.plot_multilevel`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_multilevel")(self, axes)
        return drawn


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Multifidelity(_Own):
    """An expectation of a model from runs of it and of cheaper models.

    Attributes
    ----------
    n_runs : ndarray of int, shape (M,)
        The runs of each model in the final sample; 0 for a dropped model.
    n_pilot : int
        The runs of every model in the pilot.
    costs : ndarray, shape (M,)
        The cost of a run of each model.
    cost : float
        The cost of all runs, including the pilot.
    correlations : ndarray, shape (M,)
        The correlation of each model with the first in the pilot. With several outputs it is their
        mean with the weights of the allocation.
    coefficients : ndarray, shape (M, J)
        The weight of each model's difference of means; the first model has the weight 1.
    parents : ndarray of int, shape (M,)
        The model whose runs a model shares; -1 for the first and for dropped models.
    gain_forecast : float
        The variance of plain Monte Carlo at the same cost divided by that of this estimate, as
        forecast by the pilot and without its cost.
    gain : float
        The same ratio from the final sample, with the cost of the pilot.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> models = [lambda x: x[:, 0] ** 5, lambda x: x[:, 0] ** 4, lambda x: x[:, 0] ** 3]
    >>> law = fm.distributions.Uniform(0.0, 1.0)
    >>> m = fm.importance.multifidelity(models, law, n=500, costs=[1.0, 0.1, 0.01], rng=0)
    >>> bool(abs(m.mean - 1 / 6) < 5 * m.stderr), m.gain > 3
    (True, True)
    """

    n_runs: NDArray[np.int64]
    n_pilot: int
    costs: Array
    cost: float
    correlations: Array
    coefficients: Array
    parents: NDArray[np.int64]
    gain_forecast: float
    gain: float

    _layout: ClassVar[fit.Layout] = {
        "n_runs": fit.array("iu", "models", low=0),
        "n_pilot": fit.whole(0),
        "costs": fit.array("f", "models"),
        "cost": fit.real,
        "correlations": fit.array("f", "models"),
        "coefficients": fit.array("f", "models", "outputs"),
        "parents": fit.array("iu", "models", low=-1, below="models"),
        "gain_forecast": fit.real,
        "gain": fit.real,
    }

    def summary(self) -> Summary:
        """Return a table: for each model its cost, correlation, runs and weight."""
        columns: dict[str, NDArray[Any]] = {
            "cost": self.costs,
            "correlation": self.correlations,
            "n_runs": self.n_runs,
            "parent": self.parents,
        }
        foot = [
            f"gain over plain Monte Carlo {self.gain:.3g} ({self.gain_forecast:.3g} forecast)",
            f"method {self.method}, cost {self.cost:.4g}, {self.n_evals} runs, {self.n_pilot} of "
            f"each model in the pilot, seed {self.seed}",
        ]
        foot += [f"warning: {w}" for w in self.warnings]
        names = [f"models[{i}]" for i in range(len(self.costs))]
        return Summary(names, columns, head=[self._first_line()], foot=foot)
