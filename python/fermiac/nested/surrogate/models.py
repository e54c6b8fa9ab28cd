"""Surrogate models, and the true likelihood, on the unit cube."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ArgumentError, TargetError
from fermiac.nested.problem import Prior
from fermiac.nested.surrogate.options import Surrogate
from fermiac.targets import torch as torch_target
from fermiac.targets.torch_target import import_torch

__all__ = [
    "Cube",
    "HandleTarget",
    "Model",
    "Module",
    "Perceptrons",
    "Truth",
    "reach",
    "train",
    "window",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
#: Points of one batch of likelihood calls outside of runs.
_PART = 4096
#: The ensemble is trusted where its spread is below this, in nats.
_SPREAD = 1.0
#: A value is assumed to lie within this many spreads of the mean.
_SURE = 3.0
#: A region of the core reaches this many nats below the best point.
_DEPTH = 30.0
#: The factor on the volume of the region that just contains its points.
_ENLARGE = 1.2
#: Training on more points gains little and takes long.
_MOST = 20_000
#: Training of a module: epochs, points of a batch, the validation share, epochs without a gain.
_EPOCHS, _BATCH, _VALIDATION, _PATIENCE = 500, 64, 0.2, 30


class Cube(Prior):
    """The prior that is uniform on the unit cube."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, np.copy, None)

    @property
    def handle(self) -> Any:
        """Return the prior as the core takes it."""
        return self.dim


class HandleTarget:
    """A target that consists of its handle in the core."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle


class Truth:
    """The true log-likelihood at points of the unit cube, with all points and values so far.

    Attributes
    ----------
    n : int
        The number of points evaluated.
    seconds : float
        Wall time in the likelihood and the map of the prior.
    """

    def __init__(self, prior: Prior, target: Any, on_nan: str) -> None:
        self.prior = prior
        self.n = 0
        self.seconds = 0.0
        self._target = target
        self._on_nan = on_nan
        self._u: list[Array] = []
        self._ell: list[Array] = []

    @property
    def dim(self) -> int:
        """Return the number of parameters."""
        return self.prior.dim

    @property
    def _handle(self) -> Any:
        return (self._evaluate, self.dim, False)

    def _evaluate(self, u: Array, _with_gradient: bool) -> tuple[Array, None]:
        start = time.perf_counter()
        copied = u.copy()  # the map of the prior may write to its points
        values, _ = self._target._evaluate(self.prior.transform(u), False)
        self.seconds += time.perf_counter() - start
        self.n += len(copied)
        self._u.append(copied)
        self._ell.append(values.copy())
        return values, None

    def at(self, u: Array) -> Array:
        """Return the values at points outside a run, -inf for NaN with ``on_nan="-inf"``."""
        parts = np.array_split(u, max(1, -(-len(u) // _PART)))
        values = np.concatenate(
            [self._evaluate(np.ascontiguousarray(part), False)[0] for part in parts]
        )
        if self._on_nan == "-inf":
            values[np.isnan(values)] = -np.inf
        wrong = np.flatnonzero(~(values < np.inf))
        if len(wrong):
            row = wrong[0]
            raise TargetError(
                f"the log-likelihood is {values[row]} at u = {u[row][:6]}, "
                f"x = {self.prior.transform(u[row : row + 1])[0][:6]}; give -inf where the "
                "likelihood is 0, and a finite number elsewhere"
            )
        return values

    @property
    def n_known(self) -> int:
        """The number of points whose values are known."""
        return sum(map(len, self._ell))

    def known(self) -> tuple[Array, Array]:
        """Return all points evaluated so far and their values, -inf for NaN."""
        ell = np.concatenate(self._ell)
        return np.concatenate(self._u), np.where(np.isnan(ell), -np.inf, ell)


def window(dim: int) -> float:
    """Return the approximate depth of a posterior below its maximum, in nats."""
    return 0.5 * dim + 10.0


def reach(dim: int) -> float:
    """Return the depth below the maximum to which training distinguishes values, in nats."""
    return 50.0 + 2.0 * dim


class Model:
    """A trained surrogate, which uses the likelihood where it is not trusted.

    Attributes
    ----------
    architecture : dict
        Its architecture, for the report.
    """

    def __init__(self, truth: Truth, architecture: dict[str, Any]) -> None:
        self.architecture = architecture
        self._truth = truth

    @property
    def handle(self) -> Any:
        """Return surrogate and likelihood together, in the form that the core needs."""
        return (self._evaluate, self._truth.dim, False)

    @property
    def alone(self) -> Any:
        """Return the surrogate alone for the core, -inf where it is not trusted."""
        return (self._evaluate_alone, self._truth.dim, False)

    def predict(self, u: Array) -> tuple[Array, Flags]:
        """Return predicted log-likelihoods, and whether each is trusted."""
        raise NotImplementedError

    def _evaluate(self, u: Array, _with_gradient: bool) -> tuple[Array, None]:
        values, trusted = self.predict(u)
        rows = ~trusted
        if rows.any():
            values[rows] = self._truth._evaluate(u[rows], False)[0]
        return values, None

    def _evaluate_alone(self, u: Array, _with_gradient: bool) -> tuple[Array, None]:
        values, trusted = self.predict(u)
        return np.where(trusted, values, -np.inf), None


class Perceptrons(Model):
    """The surrogate of the core: a quadratic and an ensemble of perceptrons.

    Its region reaches as far down as the training values. Inside, the likelihood is evaluated where
    the spread of the ensemble is large, unless the value is negligible anyway.
    """

    def __init__(
        self,
        core: _core.Surrogate,
        u: Array,
        ell: Array,
        truth: Truth,
        architecture: dict[str, Any],
    ) -> None:
        super().__init__(truth, architecture)
        dim = u.shape[1]
        self._core = core
        self._low = float(ell.max()) - window(dim)
        self._guarded = _core.GuardedDensity(
            core, u, ell * (_DEPTH / reach(dim)), (self._evaluate, dim, False)
        )

    @property
    def handle(self) -> Any:
        """Return the guarded density as the core takes it."""
        return self._guarded

    def predict(self, u: Array) -> tuple[Array, Flags]:
        """Return predicted log-likelihoods, and whether each is trusted."""
        u = np.ascontiguousarray(u)
        values, spread = self._core.predict(u, 1)
        sure = (spread < _SPREAD) | (values + _SURE * spread < self._low)
        return values, self._guarded.trusts(u) & sure


class Region:
    """An ellipsoid about the points of high likelihood."""

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
        """Return whether each point is inside."""
        out: Flags = self._squares(u) <= self._square
        return out


class Module(Model):
    """A torch module, trusted about the points of high likelihood."""

    def __init__(self, options: Surrogate, truth: Truth, u: Array, ell: Array, key: int) -> None:
        module = options.module
        super().__init__(truth, {"module": type(module).__name__})
        self._region = Region(u, ell)
        self._target = torch_target(module, truth.dim)
        self._centre, self._scale = np.zeros(truth.dim), np.ones(truth.dim)
        self._offset, self._unit = 0.0, 1.0
        if options.trained:
            return
        x = truth.prior.transform(u)
        y = np.maximum(ell, ell.max() - reach(truth.dim))
        if callable(getattr(module, "fit", None)):
            module.fit(x, y)
            return
        good = y > y.min()
        self._centre, self._scale = x[good].mean(axis=0), x[good].std(axis=0) + 1e-300
        self._offset, self._unit = float(y[good].mean()), float(y[good].std()) + 1e-300
        error, epochs = _train(
            module,
            (x - self._centre) / self._scale,
            (y - self._offset) / self._unit,
            np.exp((ell - ell.max()) / (10.0 + truth.dim)),
            options.learning_rate,
            key,
            self._target,
        )
        self.architecture |= {"validation_error": self._unit * error, "epochs": epochs}

    def predict(self, u: Array) -> tuple[Array, Flags]:
        """Return predicted log-likelihoods, and whether each is trusted."""
        x = self._truth.prior.transform(np.ascontiguousarray(u))
        values, _ = self._target._evaluate(
            np.ascontiguousarray((x - self._centre) / self._scale), False
        )
        values = self._offset + self._unit * values
        return values, self._region.holds(u) & np.isfinite(values)


def _train(
    module: Any, x: Array, y: Array, weights: Array, rate: float, key: int, target: Any
) -> tuple[float, int]:
    """Train a module by Adam with early stopping; return its best error, and the epochs."""
    torch = import_torch()

    rng = np.random.default_rng(key)
    order = rng.permutation(len(y))
    split = int(_VALIDATION * len(y))
    inputs, outputs, shares = (
        torch.as_tensor(a, dtype=target.dtype, device=target.device)
        for a in (x, y, weights / weights.mean())
    )

    def loss(rows: Any) -> Any:
        left = module(inputs[rows]).reshape(-1) - outputs[rows]
        return (shares[rows] * left**2).sum() / shares[rows].sum()

    held = torch.as_tensor(order[:split], device=target.device)
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _EPOCHS)
    best, kept, since, epoch = np.inf, copy.deepcopy(module.state_dict()), 0, 0
    was_training = module.training
    for epoch in range(1, _EPOCHS + 1):  # noqa: B007
        module.train()
        shuffled = rng.permutation(order[split:])
        for start in range(0, len(shuffled), _BATCH):
            optimizer.zero_grad()
            rows = torch.as_tensor(shuffled[start : start + _BATCH], device=target.device)
            loss(rows).backward()
            optimizer.step()
        schedule.step()
        module.eval()
        with torch.no_grad():
            now = float(loss(held))
        since += 1
        if now < best:
            best, kept, since = now, copy.deepcopy(module.state_dict()), 0
        if since >= _PATIENCE:
            break
    module.load_state_dict(kept)
    module.train(was_training)
    return float(np.sqrt(best)), epoch


def train(options: Surrogate, truth: Truth, key: int, workers: int) -> tuple[Model, int]:
    """Return a surrogate trained on all known values, and the number of its training points."""
    u, ell = truth.known()
    if len(ell) > _MOST:
        rows = np.linspace(0, len(ell) - 1, _MOST).astype(int)
        u, ell = u[rows], ell[rows]
    if options.module is not None:
        return Module(options, truth, u, ell, key), len(ell)
    made: dict[str, Any] = options._training()
    found: dict[str, Any] = {}
    if options.tune:
        found = _core.nested_architecture(u, ell, made, {}, key, workers)
        made |= {name: found.pop(name) for name in ("widths", "learning_rate", "batch")}
    core = _core.Surrogate.train(u, ell, made, key, workers)
    made |= {**found, "validation_errors": core.validation_errors}
    return Perceptrons(core, u, ell, truth, made), len(ell)
