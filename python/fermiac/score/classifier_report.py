"""How well a noise classifier does on points that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac.results.result import Result
from fermiac.score import fitting as fitting
from fermiac.special import gammaincinv

__all__ = ["Calibration", "ClassifierTraining", "calibration", "floor", "judge", "moments"]

Array = NDArray[np.float64]


class Calibration(NamedTuple):
    """How often levels fell where a classifier put them.

    Where it is calibrated, the share of its posterior below the true level is uniform.
    `NoiseClassifier.calibration` makes them, of a classifier of `train_noise_classifier`; that
    has an example.
    """

    #: Ends of equal bins of that share, (n_bins + 1,).
    edges: Array
    #: Shares of held-out points in the bins, (n_bins,), each n_bins⁻¹ if calibrated; their errors.
    shares: Array
    stderr: Array
    #: The largest distance of the shares' distribution from the uniform one.
    distance: float
    #: Mean and standard deviation of (log s - its posterior mean) / its posterior sd: 0 and 1.
    pull_mean: float
    pull_sd: float


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ClassifierTraining(Result):
    """How a noise classifier was trained, and how it did on points that were held out.

    Attributes
    ----------
    losses : ndarray, shape (n_steps,)
        The loss of each step.
    cross_entropy, cross_entropy_stderr : float
        Mean of -log p(level | point) on held-out points; its error.
    entropy_floor : float
        What no classifier can be below: the same for one that sees the noise itself.
    accuracy : float
        The share of held-out points of which the likeliest level is the true one.
    ranks : ndarray, shape (n_probes,)
        The share of the posterior below the true level, for `NoiseClassifier.calibration`.
    pulls : ndarray, shape (n_probes,)
        (log s - its posterior mean) / its posterior standard deviation.
    n_parameters : int
        Numbers that were trained.

    See Also
    --------
    fermiac.score.train_noise_classifier : Trains a classifier, which has this as ``training``.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((1000, 16))
    >>> c = fm.score.train_noise_classifier(x, [4.0, 2.0, 1.0, 0.5], rng=0)  # doctest: +SKIP
    >>> bool(c.training.accuracy > 0.5)  # doctest: +SKIP
    True
    >>> bool(c.training.cross_entropy > c.training.entropy_floor)  # doctest: +SKIP
    True
    """

    losses: Array
    cross_entropy: float
    cross_entropy_stderr: float
    entropy_floor: float
    accuracy: float
    ranks: Array
    pulls: Array
    n_parameters: int

    def _headline(self) -> str:
        return (
            f"Training of a noise classifier: {len(self.losses)} steps, {self.n_parameters} "
            f"parameters, cross-entropy {self.cross_entropy:.4g} ± {self.cross_entropy_stderr:.2g} "
            f"(not below {self.entropy_floor:.4g}), right level {self.accuracy:.1%}"
        )


def calibration(told: ClassifierTraining, n_bins: int) -> Calibration:
    """Where true levels fell in their posteriors, in bins of the share below them."""
    n = len(told.ranks)
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    ordered, steps = np.sort(told.ranks), np.arange(n + 1) / n
    distance = max(np.max(ordered - steps[:-1]), np.max(steps[1:] - ordered))
    return Calibration(
        edges,
        np.histogram(told.ranks, edges)[0] / n,
        np.full(n_bins, np.sqrt((1 - 1 / n_bins) / n_bins / n)),
        float(distance),
        float(told.pulls.mean()),
        float(told.pulls.std()),
    )


def moments(logits: Array, levels: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of log s under logits of levels."""
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    log_s = np.log(levels)
    mean = p @ log_s
    return mean, np.sqrt(np.maximum(np.sum(p * (log_s - mean[:, None]) ** 2, axis=1), 0.0))


def judge(logits: Array, k: NDArray[np.int64], levels: Array, key: int) -> dict[str, Any]:
    """What held-out points say of logits."""
    n = len(k)
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    own = log_p[np.arange(n), k]
    # Levels by size, so that the share below is one in the level itself.
    order = np.argsort(levels, kind="stable")
    below = np.cumsum(np.exp(log_p[:, order]), axis=1)[np.arange(n), np.argsort(order)[k]]
    mean, sd = moments(logits, levels)
    # A level is one of many: within its own share the rank is uniform.
    within = fitting.uniforms(key, n, fitting.RANKS)
    return {
        "cross_entropy": float(-own.mean()),
        "cross_entropy_stderr": float(own.std() / np.sqrt(n)),
        "accuracy": float(np.mean(np.argmax(logits, axis=1) == k)),
        "ranks": np.clip(below - within * np.exp(own), 0.0, 1.0),
        "pulls": (np.log(levels)[k] - mean) / np.maximum(sd, 1e-12),
    }


def floor(levels: Array, d: int) -> float:
    """The mean entropy of the level given the noise itself, of which only the norm tells.

    Given s the squared norm is s² times a chi-squared number; at its quantiles and at each level
    the posterior is known.
    """
    quantiles = 2 * gammaincinv(d / 2, (np.arange(256) + 0.5) / 256)
    log_s = np.log(levels)
    total = 0.0
    for own in range(len(levels)):
        norm = levels[own] ** 2 * quantiles[:, None]
        logits = -d * log_s - 0.5 * norm / levels**2
        total += float(np.mean(np.logaddexp.reduce(logits, axis=1) - logits[:, own]))
    return total / len(levels)
