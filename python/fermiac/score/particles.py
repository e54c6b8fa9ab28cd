"""Particles along noise levels: weights, resampling, stored states and partial results."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.plan import Plan
from fermiac._base.progress import Report
from fermiac._base.validate import RngLike, key_of
from fermiac.errors import TargetError
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.score.model import Model, reserve
from fermiac.score.noise import CHOICE, INTEGRATE, START

__all__ = [
    "Cloud",
    "Moves",
    "Run",
    "denoised_at",
    "digest",
    "ess_of",
    "log_normal",
    "resampled_rows",
]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_KIND = "score.particles"
_STATE: fit.Layout = {
    "y": fit.array("f", "n", "d", finite=True),
    "carried": fit.mapping(fit.array("f")),
    "log_weights": fit.array("f", "n"),
    "log_total": fit.real,
    "ancestors": fit.array("i", "n", low=0, below="n"),
    "n_resamplings": fit.whole(0),
    "ess": fit.array("f", "history"),
    "level": fit.whole(0),
    "n_evals": fit.whole(0),
    "probe": fit.array("f", "points", "d"),
}


def log_normal(z: Array, spread: float) -> Array:
    """Return the log-density of N(0, spread² I) at spread z."""
    scale = math.log(math.sqrt(2 * math.pi) * spread)
    return np.asarray(-0.5 * np.square(z).sum(axis=-1) - z.shape[-1] * scale)


def ess_of(log_weights: Array) -> float:
    """Return the effective sample size of weights."""
    return float(1 / np.sum(_core.normalize_weights(log_weights)[0] ** 2))


def resampled_rows(key: int, log_weights: Array, step: int) -> tuple[Ints, float]:
    """Return the rows that systematic resampling keeps, and the logarithm of the mean weight."""
    n = len(log_weights)
    weights, log_mean = _core.normalize_weights(log_weights)
    # An address after those of the points.
    word = _core.score_noise(key, CHOICE, n, 1, step, 0, 1)[1][0, 0]
    rows = _core.resample_indices(weights, n, "systematic", int(word * 2.0**53))
    return rows, log_mean


def denoised_at(model: Model, y: Array, s: float) -> Array:
    """Return denoised points at a level, which must be finite."""
    out = np.asarray(model._denoise(np.ascontiguousarray(y), np.array([s])))
    if not np.isfinite(out).all():
        row = int(np.argmin(np.isfinite(out).all(axis=1)))
        raise TargetError(
            f"model: it gave a number that is not finite for row {row} at level {s:g}; check the "
            "network, or choose levels on which it was trained"
        )
    return out


def digest(*arrays: Array | None) -> str:
    """Return a short text that distinguishes arrays, for the identity of a run."""
    made = blake2b(digest_size=8)
    for array in arrays:
        made.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return made.hexdigest()


@dataclass(frozen=True)
class Cloud:
    """All particles at a level, replaced as a whole, so that Ctrl-C never finds half a step."""

    y: Array
    log_weights: Array
    ancestors: Ints
    #: Arrays with a row for each particle, which go with it.
    carried: Mapping[str, Array] = field(default_factory=dict)
    #: The logarithm of the factor that resampling has removed from the weights.
    log_total: float = 0.0
    n_resamplings: int = 0
    ess: tuple[float, ...] = ()
    level: int = 0

    def kept(self, rows: Ints, log_mean: float) -> Cloud:
        """Return the particles of some rows with equal weights."""
        return replace(
            self,
            y=self.y[rows],
            log_weights=np.zeros(len(rows)),
            ancestors=self.ancestors[rows],
            carried={name: array[rows] for name, array in self.carried.items()},
            log_total=self.log_total + log_mean,
            n_resamplings=self.n_resamplings + 1,
        )


class Moves(Protocol):
    """The law of particles: their start, their moves, and the factors of their weights."""

    #: The model whose values are compared in a resumed run.
    model: Model
    n_evals: int
    #: Normal numbers of a step, as multiples of the coordinates.
    n_normals: int = 1

    def laws(self) -> Sequence[Model]:
        """Return the models of the laws that pure noise must hide at the highest level."""
        return [self.model]

    def replace_models(self, replaced: Callable[[Model], Model]) -> None:
        """Replace the models that denoise points."""
        self.model = replaced(self.model)

    def begin(self, z: Array, s: float) -> tuple[Array, Array, dict[str, Array]]:
        """Return the points at the highest level, their log-weights and further arrays."""

    def step(
        self, s: float, to: float, y: Array, carried: Mapping[str, Array], z: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return points at the next level, factors of the weights, and further arrays."""


class Run:
    """The particles of a call, from the highest level down."""

    def __init__(
        self,
        moves: Moves,
        grid: Array,
        shape: tuple[int, int],
        ess_threshold: float,
        rng: RngLike,
        plan: Plan,
        identity: Mapping[str, Any],
    ) -> None:
        self._moves, self.grid, self._shape = moves, grid, shape
        self._share = ess_threshold
        self._kept = RunCheckpoint.of(plan, _KIND)
        self.key = key_of(rng) if self._kept is None else self._kept.key(rng)
        self.cloud: Cloud | None = None
        self._start = time.monotonic()
        self._probe = np.empty((0, shape[1]))
        if self._kept is not None:
            own = {
                "version": _core.__version__,
                "isa": _core.isa_level,
                "seed": self.key,
                "n": shape[0],
                "dim": shape[1],
                "levels": digest(grid),
                "ess_threshold": ess_threshold,
            }
            self._kept.begin({**own, **identity})

    @property
    def n_steps(self) -> int:
        """The number of steps."""
        return len(self.grid) - 1

    def run(self, report: Report | None) -> Cloud:
        """Move to the last level, and return the particles there."""
        n, d = self._shape
        reserve(n, d * self._moves.n_normals)
        if self._kept is not None:
            self._prepare()
        try:
            if self.cloud is None:
                z = _core.score_noise(self.key, START, 0, n, 0, d, 0)[0]
                y, log_weights, carried = self._moves.begin(z, float(self.grid[0]))
                self.cloud = Cloud(
                    y,
                    _weights(log_weights, float(self.grid[0])),
                    np.arange(n, dtype=np.int64),
                    carried,
                    ess=(ess_of(log_weights),),
                )
            while self.cloud.level < self.n_steps:
                self.cloud = self._stepped(self.cloud)
                if report is not None:
                    report(self.cloud.level, self.n_steps)
                if self._kept is not None and self._kept.wait() == 0:
                    self._write()
        finally:
            if self._kept is not None and self.cloud is not None:
                self._write()
        return self.cloud

    def _stepped(self, cloud: Cloud) -> Cloud:
        (n, d), i = self._shape, cloud.level
        s, to = float(self.grid[i]), float(self.grid[i + 1])
        z = _core.score_noise(self.key, INTEGRATE, 0, n, i, d * self._moves.n_normals, 0)[0]
        y, factors, carried = self._moves.step(s, to, cloud.y, cloud.carried, z)
        log_weights = _weights(cloud.log_weights + factors, to)
        ess = ess_of(log_weights)
        moved = replace(
            cloud, y=y, log_weights=log_weights, carried=carried, ess=(*cloud.ess, ess), level=i + 1
        )
        # No resampling after the last step: averages over the particles use the weights.
        if i + 1 < self.n_steps and n > 1 and ess < self._share * n:
            return moved.kept(*resampled_rows(self.key, log_weights, i))
        return moved

    def _prepare(self) -> None:
        assert self._kept is not None
        stored = self._kept.take()
        n, d = self._shape
        model, s = self._moves.model, float(self.grid[0])
        points = s * _core.score_noise(self.key, START, 0, min(n, 3), 0, d, 0)[0]
        self._probe = denoised_at(model, points, s)
        if not stored:
            return
        self._kept.fit(stored, _STATE, n=n, d=d)
        self._kept.verify(
            "the model gives",
            "at the first points",
            lambda: denoised_at(model, points, s),
            stored["probe"],
        )
        self._moves.n_evals = int(stored["n_evals"])
        self.cloud = Cloud(
            stored["y"],
            stored["log_weights"],
            stored["ancestors"],
            dict(stored["carried"]),
            float(stored["log_total"]),
            int(stored["n_resamplings"]),
            tuple(stored["ess"].tolist()),
            int(stored["level"]),
        )

    def _write(self) -> None:
        cloud = self.cloud
        assert cloud is not None
        assert self._kept is not None
        elapsed = self._kept.elapsed + time.monotonic() - self._start
        self._kept.write(
            lambda: {
                "y": cloud.y,
                "carried": dict(cloud.carried),
                "log_weights": cloud.log_weights,
                "log_total": cloud.log_total,
                "ancestors": cloud.ancestors,
                "n_resamplings": cloud.n_resamplings,
                "ess": np.array(cloud.ess),
                "level": cloud.level,
                "n_evals": self._moves.n_evals,
                "probe": self._probe,
            },
            elapsed,
        )


def _weights(log_weights: Array, s: float) -> Array:
    """Return log-weights; at least one weight must be above 0 and none infinite."""
    bad = np.isnan(log_weights) | (log_weights == np.inf)
    if bad.any():
        row = int(np.argmax(bad))
        raise TargetError(
            f"weights: that of particle {row} at level {s:g} is {np.exp(log_weights[row])}; its "
            "potential or log-density is not finite there"
        )
    if not (log_weights > -np.inf).any():
        raise TargetError(
            f"weights: all {len(log_weights)} are 0 at level {s:g}; the potential or the "
            "observation excludes every particle: take more of them, more steps, or a wider "
            "potential"
        )
    return log_weights
