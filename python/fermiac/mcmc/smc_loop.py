"""The run loop of sequential Monte Carlo: reweighting, resampling, and moves in lock step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core, special
from fermiac._base import layout as fit
from fermiac.distributions import Law, MultivariateNormal
from fermiac.distributions.law import subkey
from fermiac.errors import ConvergenceWarning, TargetError
from fermiac.mcmc.smc_result import SmcSample
from fermiac.random import Stream
from fermiac.results.result import Finding
from fermiac.runs.loop import Budget, RunLoop
from fermiac.targets.density import LogDensity

__all__ = ["KIND", "SmcLoop"]

Array = NDArray[np.float64]

#: The kind of the checkpoints.
KIND = "smc"
#: The block of the streams of a step: its moves, or the resampling before the first one.
_MOVES, _RESAMPLING = 0, 1
#: The degrees of freedom of the law that the proposals leave as it is.
_DF = 5
#: The acceptance rate that the step is adapted to, how fast, and the bounds of the step.
_WANTED, _RATE, _LEAST, _MOST = 0.4, 2.0, 1e-3, 1.0
#: Particles for each coordinate below which the covariance is shrunk to its diagonal.
_DENSE = 10
#: Rows that are summed at a time, so that Ctrl-C is answered in between.
_BLOCK = 2**14
#: The doublings of the search of a power.
_BISECTIONS = 60
#: The total of the progress, in thousandths of the power.
_TOTAL = 1000
#: The share of NaN values, the standard deviation of the log-evidences of the islands, and the
#: acceptance rate of the last stage at which a run warns.
_FAILED, _DISAGREE, _STUCK = 1e-3, 1.0, 0.02
#: The share of the variance of the log-likelihood's ranks that is between the chains of a stage,
#: above which a run warns. Good chains of 16 steps have 0.15 to 0.3, and chains between two modes
#: with right evidences 0.6. Above, regions were lost that no island visits again: log Z of a
#: banana, of modes of Student's t and of aliases was too low by three to five reported errors.
_SLOW = 0.65

_STATE: fit.Layout = {
    "z": fit.array("f", "islands", "kept", "d"),
    "logs": fit.array("f", "islands", "kept"),
    "at": fit.array("f", "islands", "chains", "d"),
    "at_logs": fit.array("f", "islands", "chains"),
    "new_z": fit.array("f", "islands", "done", "d"),
    "new_logs": fit.array("f", "islands", "done"),
    "evidences": fit.array("f", "islands"),
    "means": fit.array("f", 2, "d", finite=True),
    "covariances": fit.array("f", 2, "d", "d", finite=True),
    "stages": fit.array("f", "stages", 5),
    "stage": fit.whole(0),
    "step": fit.whole(0),
    "n_accepted": fit.whole(0),
    "n_evals": fit.whole(0),
    "n_failed": fit.whole(0),
    "beta": fit.real,
    "size": fit.real,
}


@dataclass(kw_only=True, eq=False, repr=False)
class SmcLoop(RunLoop[SmcSample]):
    """The run loop, one step of all chains at a time.

    Attributes
    ----------
    target : LogDensity
        The log-likelihood.
    law : Law
        The prior.
    shape : tuple of int
        The islands, the chains of each, and the points of a chain in a stage.
    share : float
        The effective sample size in a stage, as a share of the particles.
    """

    target: LogDensity
    law: Law
    shape: tuple[int, int, int]
    share: float
    key: int
    names: tuple[str, ...]
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        islands, chains, _ = self.shape
        d = self.law.dim
        self.total = _TOTAL
        self._z, self._logs = np.empty((islands, 0, d)), np.empty((islands, 0))
        self._at, self._at_logs = np.zeros((islands, chains, d)), np.zeros((islands, chains))
        self._new_z: list[Array] = []
        self._new_logs: list[Array] = []
        self._evidences = np.zeros(islands)
        self._set_proposals(np.zeros((2, d)), np.stack([np.eye(d)] * 2))
        self._stages: list[tuple[float, float, float, float, float]] = []
        self._stage = self._step = self._n_accepted = self._n_evals = self._n_failed = 0
        self._beta, self._size = 0.0, 1.0

    # One step.

    def advance(self, budget: Budget) -> BaseException | None:
        """Make steps of all chains."""
        for _ in range(budget.steps):
            if self.is_complete():
                break
            self._move()
        return None

    def _move(self) -> None:
        """Draw from the prior, or move every chain by one step; end the stage after the last."""
        islands, chains, length = self.shape
        stream = Stream(self.key, self._stage * length + self._step, _MOVES)
        if self._stage == 0:
            z = stream.normal((islands, chains, self.law.dim))
            logs = self._likelihood(z)
            accepted = 0
        else:
            z, logs, accepted = self._proposed(stream)
        # Only now, so that an error before leaves the state as it was.
        self._at, self._at_logs = z, logs
        self._new_z.append(z)
        self._new_logs.append(logs)
        self._n_accepted += accepted
        self._step += 1
        if self._step == length:
            self._end_stage()

    def _proposed(self, stream: Stream) -> tuple[Array, Array, int]:
        """Return the chains after a step, and the number of accepted proposals."""
        d = self.law.dim
        before = self._distances(self._at)
        # A draw of the chi-squared law with df + d degrees of freedom.
        scale = np.sqrt((_DF + before) / (2 * stream.gamma(0.5 * (_DF + d), before.shape)))
        rest = math.sqrt(max(1 - self._size**2, 0.0))
        new = np.empty_like(self._at)
        for half, law in enumerate(self._laws):
            mean, own = self._means[half], self._at[half::2]
            key = subkey(self.key, 2 * (self._stage * self.shape[2] + self._step) + half)
            noise = law.sample(own.shape[0] * own.shape[1], rng=key).reshape(own.shape) - mean
            moved = rest * (own - mean) + self._size * scale[half::2, :, None] * noise
            new[half::2] = mean + moved
        logs = self._likelihood(new)
        log_ratio = self._beta * (logs - self._at_logs)
        log_ratio += 0.5 * ((self._at**2).sum(axis=-1) - (new**2).sum(axis=-1))
        after = self._distances(new)
        log_ratio += 0.5 * (_DF + d) * (np.log1p(after / _DF) - np.log1p(before / _DF))
        accepts = -stream.exponential(logs.shape) < log_ratio
        z = np.where(accepts[..., None], new, self._at)
        return z, np.where(accepts, logs, self._at_logs), int(accepts.sum())

    def _distances(self, z: Array) -> Array:
        """Return the squared distances from the mean, in the metric of the covariance."""
        out = np.empty(z.shape[:-1])
        for half, law in enumerate(self._laws):
            own = z[half::2]
            logs = law.log_density(np.ascontiguousarray(own.reshape(-1, z.shape[-1])))
            top = law.log_density(self._means[half][None])[0]
            out[half::2] = 2 * (top - logs).reshape(own.shape[:-1])
        return np.maximum(out, 0.0)

    def _likelihood(self, z: Array) -> Array:
        """Return the log-likelihoods of points (islands, chains, d)."""
        x = self._points(z.reshape(-1, z.shape[-1]))
        values, _ = self.target._evaluate(x, False)
        values = np.array(values)
        if (values == np.inf).any():
            i = int(np.argmax(values == np.inf))
            raise TargetError(f"log_likelihood: it is +inf at x = {x[i]}; a finite number, or -inf")
        failed = np.isnan(values)
        self._n_failed += int(failed.sum())
        self._n_evals += len(values)
        values[failed] = -np.inf
        return values.reshape(z.shape[:-1])

    def _points(self, z: Array) -> Array:
        u = np.clip(special.ndtr(z), 2.0**-53, 1 - 2.0**-53)
        return np.ascontiguousarray(self.law.from_unit(u))

    # The end of a stage.

    def _end_stage(self) -> None:
        """Make the points of the chains the particles; choose the next power and resample."""
        islands, chains, length = self.shape
        if self._stage:
            rate = self._n_accepted / (islands * chains * length)
            beta, size, *_ = self._stages[-1]
            between = _between(np.stack(self._new_logs))
            self._stages[-1] = beta, size, rate, self._size, between
            self._size = float(
                np.clip(self._size * math.exp(_RATE * (rate - _WANTED)), _LEAST, _MOST)
            )
        self._z = np.concatenate(self._new_z, axis=1)
        self._logs = np.concatenate(self._new_logs, axis=1)
        self._new_z, self._new_logs = [], []
        self._step = self._n_accepted = 0
        self._stage += 1
        if self._beta == 1.0:
            return
        if not np.isfinite(self._logs).any(axis=1).all():
            raise TargetError(
                "log_likelihood: it is 0 at all particles of an island; give more particles, or a "
                "prior that is nearer to the posterior"
            )
        beta = self._next_power()
        steps = (beta - self._beta) * self._logs
        # -inf times 0 cannot occur, since the power grows.
        top = steps.max(axis=1, keepdims=True)
        weights = np.exp(steps - top)
        self._evidences = self._evidences + top[:, 0] + np.log(weights.mean(axis=1))
        pooled = np.exp(steps - steps.max())
        effective = float(pooled.sum() ** 2 / (pooled**2).sum())
        self._beta = beta
        self._stages.append((beta, effective, 0.0, self._size, 0.0))
        self._fit(pooled / pooled.sum())
        self._resample(weights / weights.sum(axis=1, keepdims=True))

    def _next_power(self) -> float:
        """Return the power at which the effective sample size falls to its share."""
        n = self._logs.size

        def enough(step: float) -> bool:
            logs = step * self._logs
            w = np.exp(logs - logs.max())
            return float(w.sum() ** 2 / (w**2).sum()) >= self.share * n

        whole = 1.0 - self._beta
        if enough(whole):
            return 1.0
        # Particles without likelihood have no weight at any power.
        low, high = 0.0, whole
        for _ in range(_BISECTIONS):
            middle = math.sqrt(low * high) if low > 0 else high * 1e-3
            if enough(middle):
                low = middle
            else:
                high = middle
            if low > 0 and high / low < 1 + 1e-3:
                break
        return self._beta + (low if low > 0 else high)

    def _fit(self, weights: Array) -> None:
        """Fit the proposals to the reweighted particles.

        Each half of the islands gets the moments of the other half: moments of the particles from
        which the chains start would bias the evidence.
        """
        fits = [self._moments(self._z[half::2], weights[half::2]) for half in (1, 0)]
        self._set_proposals(np.stack([m for m, _ in fits]), np.stack([c for _, c in fits]))

    def _moments(self, z: Array, weights: Array) -> tuple[Array, Array]:
        """Return the mean and the covariance of weighted particles."""
        d = self.law.dim
        z, w = z.reshape(-1, d), weights.ravel() / weights.sum()
        # Sums of a threaded matrix product may depend on its threads, those of einsum do not.
        mean = np.einsum("n,nj->j", w, z)
        cov = np.zeros((d, d))
        for at in range(0, len(z), _BLOCK):
            off = z[at : at + _BLOCK] - mean
            cov += np.einsum("ni,nj->ij", w[at : at + _BLOCK, None] * off, off)
        effective = 1 / float(w @ w)
        keep = min(1.0, effective / (_DENSE * d))
        diagonal = np.maximum(np.diag(cov), 1e-12)
        return mean, keep * cov + (1 - keep + 1e-9) * np.diag(diagonal)

    def _set_proposals(self, means: Array, covariances: Array) -> None:
        """Set the moments of the proposals of the even and of the odd islands."""
        self._means, self._covariances = means, covariances
        pairs = zip(means, covariances, strict=True)
        self._laws = [MultivariateNormal(mean, cov) for mean, cov in pairs]

    def _resample(self, weights: Array) -> None:
        """Draw the starts of the chains from the particles of each island, systematically."""
        islands, chains, length = self.shape
        shifts = Stream(self.key, self._stage * length, _RESAMPLING).uniform((islands, 1))
        places = (np.arange(chains) + shifts) / chains
        edges = np.cumsum(weights, axis=1)
        for r in range(islands):
            last = float(edges[r, -1])
            rows = np.searchsorted(edges[r], places[r] * last)
            self._at[r], self._at_logs[r] = self._z[r, rows], self._logs[r, rows]

    # The loop.

    def done(self) -> int:
        """Return the power in thousandths; the last stage counts as one."""
        if self.is_complete():
            return _TOTAL
        return min(int(_TOTAL * self._beta), _TOTAL - 1)

    def is_complete(self) -> bool:
        """Return whether the particles have moved under the posterior."""
        return self._beta == 1.0 and self._stage == len(self._stages) + 1

    def note(self) -> str:
        """Return the stage and the evidence so far."""
        return f"stage {self._stage}, log Z {_mean(self._evidences)[0]:.2f}"

    def where(self) -> str:
        """Return the stage."""
        return f"in stage {self._stage}, after {self._step} steps, at the power {self._beta:.3g}"

    def snapshot(self, status: str) -> SmcSample | None:
        """Return the particles of the posterior; None before the end."""
        if not self.is_complete():
            return None
        islands, n = self._logs.shape
        log_z, stderr = _mean(self._evidences)
        x = self._points(self._z.reshape(-1, self.law.dim))
        names = ("beta", "ess", "acceptance", "step", "between")
        return SmcSample(
            draws=x.reshape(islands, n, -1),
            log_weights=np.repeat(self._evidences[:, None], n, axis=1),
            log_densities=self._logs + np.asarray(self.law.log_density(x)).reshape(islands, n),
            names=self.names,
            error_model="replicas",
            log_evidence=log_z,
            log_evidence_stderr=stderr,
            df=float(islands - 1),
            log_evidences=self._evidences.copy(),
            stages=tuple(dict(zip(names, row, strict=True)) for row in self._stages),
            seed=self.key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=dict(self.settings),
            n_evals=self._n_evals,
            wall_time=self.elapsed,
            status=status,
        )

    def state(self) -> dict[str, Any]:
        """Return the particles, and the points of the stage so far."""
        islands, _, _ = self.shape
        d = self.law.dim
        empty = [np.empty((islands, 0, d))], [np.empty((islands, 0))]
        return {
            "z": self._z,
            "logs": self._logs,
            "at": self._at,
            "at_logs": self._at_logs,
            "new_z": np.concatenate(self._new_z or empty[0], axis=1),
            "new_logs": np.concatenate(self._new_logs or empty[1], axis=1),
            "evidences": self._evidences,
            "means": self._means,
            "covariances": self._covariances,
            "stages": np.array(self._stages).reshape(-1, 5),
            "stage": self._stage,
            "step": self._step,
            "n_accepted": self._n_accepted,
            "n_evals": self._n_evals,
            "n_failed": self._n_failed,
            "beta": self._beta,
            "size": self._size,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another loop."""
        islands, chains, length = self.shape
        with self.decoding():
            sizes = {"d": self.law.dim, "islands": islands, "chains": chains}
            fit.require(state, _STATE, sizes)
            if state["new_logs"].shape[1] != state["step"] * chains or state["step"] >= length:
                raise fit.Misfit("points that are not those of its steps")
            if state["logs"].shape[1] not in (0, chains * length):
                raise fit.Misfit("particles that are not those of its chains")
        self._z, self._logs = state["z"], state["logs"]
        self._at, self._at_logs = state["at"], state["at_logs"]
        parts = state["step"]
        self._new_z = list(np.split(state["new_z"], parts, axis=1)) if parts else []
        self._new_logs = list(np.split(state["new_logs"], parts, axis=1)) if parts else []
        self._evidences = state["evidences"]
        self._set_proposals(state["means"], state["covariances"])
        rows = state["stages"].tolist()
        self._stages = [(a, b, c, e, f) for a, b, c, e, f in rows]
        self._stage, self._step = state["stage"], state["step"]
        self._n_accepted, self._n_evals = state["n_accepted"], state["n_evals"]
        self._n_failed = state["n_failed"]
        self._beta, self._size = float(state["beta"]), float(state["size"])
        if self.checkpoint is not None and self._stage + self._step:
            at, logs = self._at.reshape(-1, self.law.dim)[:1], self._at_logs.reshape(-1)[:1]
            self.checkpoint.verify(
                "the likelihood gives",
                "at a particle",
                lambda: np.nan_to_num(
                    self.target._evaluate(self._points(at), False)[0], nan=-np.inf
                ),
                logs,
            )

    def findings(self, made: SmcSample) -> list[Finding]:
        """Return doubts about the result."""
        found: list[Finding] = []
        spread = float(np.std(made.log_evidences, ddof=1))
        if spread > _DISAGREE:
            found.append((
                ConvergenceWarning,
                f"the log-evidences of the islands have a standard deviation of {spread:.2g}: few "
                "of them carry the weight, and errors are rough; give more particles, or longer "
                "chains (n_steps=)",
            ))  # fmt: skip
        rate = made.stages[-1]["acceptance"]
        if rate < _STUCK:
            found.append((
                ConvergenceWarning,
                f"{100 * rate:.2g} % of the moves of the last stage were accepted: chains hardly "
                "move; give more particles, or sample by nested sampling or Tempered",
            ))  # fmt: skip
        between = max(stage["between"] for stage in made.stages)
        if between > _SLOW:
            found.append((
                ConvergenceWarning,
                f"chains forget their starts slowly: {100 * between:.0f} % of the variance of the "
                "log-likelihood's ranks in a stage is between chains, where good chains have 15 to "
                "30 %: regions that are lost on the way do not come back, so that log Z may "
                "be too low by more than its error; give longer chains (n_steps=), or sample by "
                "nested sampling or Tempered",
            ))  # fmt: skip
        if self._n_failed > _FAILED * self._n_evals:
            found.append((
                ConvergenceWarning,
                f"the log-likelihood was NaN, or failed, at {self._n_failed} of {self._n_evals} "
                "points; these counted as points without likelihood",
            ))  # fmt: skip
        return found


def _between(logs: Array) -> float:
    """Return the share of the variance of ranks that is between chains, of logs (steps, ...)."""
    order = np.argsort(logs, axis=None, kind="stable")
    ranks = np.empty(logs.size)
    ranks[order] = np.arange(logs.size)
    return float(ranks.reshape(logs.shape).mean(axis=0).var() / ranks.var())


def _mean(logs: Array) -> tuple[float, float]:
    """Return the logarithm of the mean of exp(logs), and its standard error."""
    top = float(logs.max())
    w = np.exp(logs - top)
    mean = float(w.mean())
    stderr = float(np.std(w, ddof=1) / math.sqrt(len(w)) / mean)
    return top + math.log(mean), stderr
