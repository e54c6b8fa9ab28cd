"""Surrogates and the region where each may be trusted."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ArgumentError
from fermiac.nested.surrogate.options import Surrogate
from fermiac.nested.surrogate.truth import Truth

__all__ = ["Model", "Perceptrons", "Region", "alone", "guarded", "reach", "train", "window"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
#: The ensemble guesses where its spread is not below this, in nats.
_SPREAD = 1.0
#: Spreads above the mean within which it is sure that a value lies.
_SURE = 3.0
#: A region of the core reaches this many nats below the best point.
_DEPTH = 30.0
#: The factor by which a region's volume exceeds what just holds its points.
_ENLARGE = 1.2
#: More points than this teach a surrogate little, and take it long.
_MOST = 20_000


def window(dim: int) -> float:
    """How many nats below the top a posterior reaches, nearly."""
    return 0.5 * dim + 10.0


def reach(dim: int) -> float:
    """How many nats below the top values are told apart in training."""
    return 50.0 + 2.0 * dim


class Model(Protocol):
    """A trained surrogate, with the likelihood where it may not be trusted."""

    @property
    def handle(self) -> Any:
        """Both together, as the core takes them."""

    @property
    def told(self) -> dict[str, Any]:
        """Its architecture, for the report."""

    def predict(self, u: Array) -> tuple[Array, Flags]:
        """Its values, and whether they may be trusted."""

    def guarded(self, u: Array) -> Array:
        """What the handle gives."""


class Perceptrons:
    """The surrogate of the core.

    Its region reaches as far down as training does. In it the likelihood is asked where the
    ensemble guesses, unless it is sure that nothing there counts.
    """

    def __init__(
        self, core: _core.Surrogate, u: Array, ell: Array, truth: Truth, told: dict[str, Any]
    ) -> None:
        dim = u.shape[1]
        self.told = told
        self._core = core
        self._truth = truth
        self._low = float(ell.max()) - window(dim)
        self._guarded = _core.GuardedDensity(
            core, u, ell * (_DEPTH / reach(dim)), (self._ask, dim, False)
        )

    @property
    def handle(self) -> Any:
        """Return the guarded density as the core takes it."""
        return self._guarded

    def predict(self, u: Array) -> tuple[Array, Flags]:
        """Return predicted log-likelihoods, and whether each may be trusted."""
        u = np.ascontiguousarray(u)
        values, spread = self._core.predict(u, 1)
        sure = (spread < _SPREAD) | (values + _SURE * spread < self._low)
        return values, self._guarded.trusts(u) & sure

    def guarded(self, u: Array) -> Array:
        """Return predictions, with the likelihood itself where they are not trusted."""
        return guarded(self, self._truth, u)

    def _ask(self, u: Array, _with_gradient: bool) -> tuple[Array, None]:
        return self.guarded(u), None


def guarded(model: Model, truth: Truth, u: Array) -> Array:
    """The values of a surrogate where it is trusted, and those of the likelihood elsewhere."""
    values, trusted = model.predict(u)
    asked = ~trusted
    if asked.any():
        values[asked] = truth._evaluate(u[asked], False)[0]
    return values


class Region:
    """The ellipsoid about the good ones of some points."""

    def __init__(self, u: Array, ell: Array) -> None:
        dim = u.shape[1]
        good = u[ell > ell.max() - reach(dim)]
        n = len(good)
        if n <= dim:
            raise ArgumentError(
                f"{n} points lie within {reach(dim):g} nats of the best; {dim + 1} are needed for "
                f"a region in {dim} dimensions"
            )
        self._centre = good.mean(axis=0)
        spread = np.atleast_2d(np.cov(good.T)) + 1e-12 * np.eye(dim)
        self._root = np.linalg.inv(np.linalg.cholesky(spread)).T
        self._square = float(self._squares(good).max()) * _ENLARGE ** (2 / dim)

    def _squares(self, u: Array) -> Array:
        out: Array = (((u - self._centre) @ self._root) ** 2).sum(axis=1)
        return out

    def holds(self, u: Array) -> Flags:
        """Whether each point is inside."""
        out: Flags = self._squares(u) <= self._square
        return out


def alone(model: Model, dim: int) -> Any:
    """The surrogate without the likelihood, as the core takes it: -inf where it is not trusted."""

    def evaluate(u: Array, _with_gradient: bool) -> tuple[Array, None]:
        values, trusted = model.predict(u)
        return np.where(trusted, values, -np.inf), None

    return (evaluate, dim, False)


def train(options: Surrogate, truth: Truth, key: int, workers: int) -> tuple[Model, int]:
    """A surrogate trained on all that is known of the likelihood, and on how many points."""
    u, ell = truth.known()
    if len(ell) > _MOST:
        rows = np.linspace(0, len(ell) - 1, _MOST).astype(int)
        u, ell = u[rows], ell[rows]
    if options.module is not None:
        from fermiac.nested.surrogate.modules import Module

        return Module(options, truth, u, ell, key), len(ell)
    told: dict[str, Any] = options._training()
    if options.tune:
        found = _core.nested_architecture(u, ell, told, {}, key, workers)
        told |= {name: found[name] for name in ("widths", "learning_rate", "batch")}
        core = _core.Surrogate.train(u, ell, told, key, workers)
        told |= {"loss": found["loss"], "n_trials": found["n_trials"]}
    else:
        core = _core.Surrogate.train(u, ell, told, key, workers)
    told["validation_errors"] = core.validation_errors
    return Perceptrons(core, u, ell, truth, told), len(ell)
