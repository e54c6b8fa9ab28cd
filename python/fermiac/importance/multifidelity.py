"""The call that estimates an expectation of a costly model with the help of cheaper ones."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads, threads
from fermiac._base.exponents import exponents, scaled
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import Report, finish, reporter
from fermiac._base.validate import choice, listed, positive, real_numbers, shown, whole, yes
from fermiac._base.variables import Params
from fermiac.distributions import Law
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning, WorkerError
from fermiac.importance.allocation import Allocation, allocate, coefficients
from fermiac.importance.fidelity_results import Multifidelity
from fermiac.importance.outputs import Outputs, rows_at_once, tolerances
from fermiac.importance.settings import expectation_names, with_dim
from fermiac.random import RngLike, key_of
from fermiac.results.result import Finding, warn
from fermiac.results.unseen import equal_finding
from fermiac.runs.checkpoint import Log, identity_of
from fermiac.runs.shards import evaluation
from fermiac.targets.conversion import adapted, as_integrand, compared
from fermiac.targets.named import named_law

__all__ = ["multifidelity"]

Array = NDArray[np.float64]

#: The largest number of models.
_MODELS = 64
#: Points that share a key of the law.
_BLOCK = 1024
#: The share of the budget for the pilot, its fewest and most runs, and the share that the fewest
#: runs may take.
_PILOT, _LEAST, _MOST, _LARGEST = 0.1, 20, 1000, 0.4
#: Pilot runs without a budget.
_UNKNOWN = 100
#: The smallest number of runs of the first model in the final sample.
_TRUTH = 10
#: The largest number of rounds to reach a tolerance.
_ROUNDS = 12


@public
def multifidelity(
    models: Sequence[Callable[..., ArrayLike]],
    law: Law | Mapping[str, Any] | Any,
    n: int | None = None,
    costs: ArrayLike | None = None,
    *,
    cost: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    method: Literal["auto", "mfmc", "acv", "mc"] = "auto",
    n_pilot: int | None = None,
    on_nan: Literal["raise", "zero"] = "raise",
    names: Sequence[str] | None = None,
    check: bool = True,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Multifidelity:
    r"""Estimate the expectation of a costly model with the help of cheaper, correlated ones.

    A pilot runs all models at the same points and gives their covariance. Then few runs of the
    first model and many of cheaper ones are combined, so that the variance is least for the cost.
    The estimate is unbiased, however wrong the cheaper models are.

    Parameters
    ----------
    models : sequence of callables or targets of `fermiac.targets`
        The models. The expectation of the first one is estimated. Each takes a batch of points,
        shape (n, d), and returns shape (n,) or (n, K), the same for all. With `params`, or a `law`
        that names its coordinates, they take the parameters by name.
    law : Law, frozen scipy.stats law or mapping
        The law of the points. A mapping from names to laws is a `fermiac.distributions.Joint`.
    n : int, optional
        The budget, as an equivalent number of runs of the first model, including the pilot. One of
        `n`, `cost`, `rtol` and `atol` is needed.
    costs : array_like, shape (M,), optional
        The cost of a run of each model; by default the time that it takes in the pilot. With the
        default the result differs from call to call, even with the same `rng`.
    cost : float, optional
        The budget in the unit of `costs`, instead of `n`.
    rtol, atol : float, optional
        The target for the root mean square error, ``max(atol, rtol * abs(mean))``, of each output.
        `n` or `cost`, if given, is then an upper limit.
    params, args, kwargs
        The parameters that the models take by name, by default those of `law`, and further
        arguments of all of them; see `fermiac.targets.as_target`.
    method : {"auto", "mfmc", "acv", "mc"}, default "auto"
        ``"mfmc"``: multifidelity Monte Carlo, a chain of models by falling correlation. ``"acv"``:
        approximate control variates, all models around the first. ``"mc"``: the first model alone.
        ``"auto"``: the best forecast of these, over subsets of the models.
    n_pilot : int, optional
        Runs of every model in the pilot: by default a tenth of the budget, from 20 to 1000, and 100
        without a budget.
    on_nan : {"raise", "zero"}, default "raise"
        NaN and infinities from a model stop the run with an error that names the first point, or
        count as 0 with a warning.
    names : sequence of str, optional
        Names of the K outputs.
    check : bool, default True
        Compare a batch of two points with the two points alone at the first call of each model in
        Python, at the cost of three calls that are not counted; see `fermiac.targets.as_target`.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.
        ``store``: a folder for a file with the values of the models, from which the same call
        resumes. It needs `costs`.

    Returns
    -------
    Multifidelity
        An `Estimate` with ``n_runs``, ``costs``, ``correlations``, ``gain_forecast`` and ``gain``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain, and for a budget that is too small for a pilot.
    TargetError
        If a model gives a wrong shape or type, a NaN or an infinity.
    CheckpointError
        If a file in the store is damaged, belongs to another run, or cannot be written.
    WorkerError
        If a worker of the executor dies twice on the same points, or is not like the driver.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is the `Multifidelity` of the last complete round, or
        None. A `WorkerError` has one as well.

    Warns
    -----
    ConvergenceWarning
        If the tolerance was not met within the budget.

    Notes
    -----
    With :math:`\bar f_k(N)` the mean of model k over the first N points, the estimate is
    :math:`\bar f_0(N_0) + \sum_k \alpha_k [\bar f_k(N_{p(k)}) - \bar f_k(N_k)]`, where p(k) is the
    parent of model k. In a chain the optimal numbers are :math:`N_k / N_0 = \sqrt{c_0 (\rho_k^2 -
    \rho_{k+1}^2) / (c_k (1 - \rho_1^2))}` [1]_. Models that violate its conditions are dropped, by
    a search over all subsets of ten models. With the first model as every parent [2]_ [3]_ the
    numbers are found by a projected Newton search. The coefficients come from the pilot alone,
    whose points are not used again, so the estimate is unbiased.

    The standard error comes from the final sample. Points that were evaluated by the same models
    are independent and identically distributed, and the estimate is a sum over such segments.

    References
    ----------
    .. [1] B. Peherstorfer, K. Willcox, M. Gunzburger, "Optimal model management for multifidelity
       Monte Carlo estimation", SIAM Journal on Scientific Computing, 2016, doi:10.1137/15M1046472.
    .. [2] A. A. Gorodetsky, G. Geraci, M. S. Eldred, J. D. Jakeman, "A generalized approximate
       control variate framework for multifidelity uncertainty quantification", Journal of
       Computational Physics, 2020, doi:10.1016/j.jcp.2020.109257.
    .. [3] G. F. Bomarito, P. E. Leser, J. E. Warner, W. P. Leser, "On the optimization of
       approximate control variates with parametrically defined estimators", Journal of
       Computational Physics, 2022, doi:10.1016/j.jcp.2021.110882.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> def fine(x):
    ...     return np.exp(x[:, 0])
    >>> def coarse(x):
    ...     return 1 + x[:, 0] + x[:, 0] ** 2 / 2
    >>> law = fm.distributions.Uniform(0.0, 1.0)
    >>> m = fm.importance.multifidelity(
    ...     [fine, coarse], law, n=400, costs=[1.0, 0.01], rng=0
    ... )
    >>> bool(abs(m.mean - (np.e - 1)) < 5 * m.stderr), m.gain > 10
    (True, True)
    """
    where = plan_of(plan, "executor", "store")
    start = time.perf_counter()
    given = None if callable(models) else listed(models, _MODELS)
    if not given:
        raise ArgumentError(
            f"models: {shown(models)} given; a sequence of 1 to {_MODELS} functions is needed, the "
            "model whose expectation is wanted first"
        )
    law, params = named_law(law, params)
    law = with_dim(law)
    known = None if costs is None else _known_costs(costs, len(given))
    tolerance = tolerances(rtol, atol)
    if n is not None and cost is not None:
        raise ArgumentError("n, cost: both given; give one of them")
    if n is None and cost is None and tolerance is None:
        raise ArgumentError("n: not given; one of n, cost, rtol and atol is needed")
    if known is None and (cost is not None or where.store is not None):
        what = "cost" if cost is not None else "store"
        raise ArgumentError(f"costs: not given, with {what}=, which needs them")
    settings: dict[str, Any] = {
        "n": None if n is None else whole("n", n, 1, 2**62),
        "cost": None if cost is None else positive("cost", cost),
        "costs": None if known is None else known.tolist(),
        "rtol": rtol,
        "atol": atol,
        "method": choice("method", method, ("auto", "mfmc", "acv", "mc")),
        "n_pilot": None if n_pilot is None else whole("n_pilot", n_pilot, 4, 2**40),
        "on_nan": choice("on_nan", on_nan, ("raise", "zero")),
    }
    labels = expectation_names(names)
    log = Log.of(where)
    key = log.seed if rng is None and log is not None and log.seed is not None else key_of(rng)
    targets = []
    for k, model in enumerate(given):
        f = adapted(model, law.dim, params, args, kwargs, f"models[{k}]")
        f = compared(f, f"models[{k}]") if yes("check", check) else f
        as_integrand(f, law.dim)
        targets.append(f)
    workers = resolve_threads(where.n_threads)
    with (
        reporter(where.progress, "multifidelity", "runs") as bar,
        evaluation(
            _Models(targets),
            executor=where.executor,
            log=log,
            identity=lambda: identity_of(
                "importance.multifidelity", key, [law], {**settings, "models": len(targets)}
            ),
            n_threads=workers,
            report=bar,
            integrand=True,
        ) as (evaluated, _),
        threads(workers),
    ):
        job = _Job(
            evaluated, len(targets), law, known, tolerance, settings, key, labels, bar, start
        )
        try:
            job.run()
        except (KeyboardInterrupt, WorkerError) as error:
            error.partial_result = job.result("interrupted")  # type: ignore[union-attr]
            raise
        result = job.result("complete")
        assert result is not None
        finish(bar, result.n_evals, result)
    warn(job.findings, result)
    return result


def _known_costs(costs: ArrayLike, count: int) -> Array:
    """Return the costs of the models, checked."""
    array = real_numbers("costs", costs)
    if array.shape != (count,):
        raise ArgumentError(
            f"costs: an array of shape {array.shape} given for {count} models; one number for each "
            "is needed"
        )
    return np.array([positive("costs", x) for x in array])


class _Models:
    """All models as one target, of rows (number of the model, point)."""

    def __init__(self, models: list[Any]) -> None:
        self._models = models

    def __call__(self, x: Array) -> Any:
        """Return the values of one model: all rows of a batch have its number."""
        return self._models[int(x[0, 0])](np.ascontiguousarray(x[:, 1:]))


@dataclass(frozen=True)
class _Found:
    """An estimate for K outputs from M models."""

    mean: Array
    cov: Array
    df: Array
    #: The coefficients of the models, (M, K).
    coefficients: Array
    #: The variances of the first model, (K,).
    truth: Array


def _blocks(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the starts and stops of blocks of points that are short enough for an interrupt."""
    for at in range(start, stop, 2**16):
        yield at, min(at + 2**16, stop)


class _Job:
    """The state of one call."""

    def __init__(
        self,
        target: Callable[[Array], Any],
        count: int,
        law: Any,
        costs: Array | None,
        tolerance: tuple[float, float] | None,
        settings: dict[str, Any],
        key: int,
        names: tuple[str, ...] | None,
        report: Report | None,
        start: float,
    ) -> None:
        self._target = target
        self._count = count
        self._law = law
        self._costs = costs
        self._tolerance = tolerance
        self._settings = settings
        self._key = key
        self._names = names
        self._report = report
        self._start = start
        self._models = [
            Outputs(self._model(k), settings["on_nan"], f"models[{k}]") for k in range(count)
        ]
        #: The values of each model in the final sample, minus its centres.
        self._values: list[Array] = []
        #: The result of the last complete round.
        self._found: _Found | None = None
        #: The number of points of the pilot.
        self._pilot = 0
        self._plan: Allocation | None = None
        #: The covariances of the models in the pilot, one matrix for each output.
        self._covs: Array | None = None
        #: The weights of the outputs in the variance that is made small, and the scale of the one
        #: with weight 1.
        self._weights: Array | None = None
        self._least = math.inf
        #: The means of each model in the pilot.
        self._centres: Array | None = None
        #: The value of each output of the first model at all points of the pilot; NaN if it varies.
        self._only: Array | None = None
        #: The number of points of each model in the final sample.
        self._sizes: NDArray[np.int64] | None = None
        #: Whether a tolerance was met; None without one.
        self._converged: bool | None = None
        self.findings: list[Finding] = []

    def _model(self, k: int) -> Callable[[Array], Any]:
        """Return a model as a function of points."""
        return lambda x: self._target(np.column_stack([np.full(len(x), float(k)), x]))

    def _points(self, stage: int, start: int, stop: int) -> Array:
        """Return points of a stage, which do not depend on the size of the request."""
        first, last = start // _BLOCK, -(-stop // _BLOCK)
        blocks = [
            np.asarray(self._law.sample(_BLOCK, rng=subkey(self._key, 2 * b + stage)), np.float64)
            for b in range(first, last)
        ]
        return np.vstack(blocks)[start - first * _BLOCK : stop - first * _BLOCK]

    def _evaluated(
        self, k: int, stage: int, start: int, stop: int, centre: Array | float = 0.0
    ) -> Array:
        """Return the values of a model at some points, minus a centre."""
        step = rows_at_once(1, self._law.dim)
        out: Array | None = None
        for at in range(start, stop, step):
            values = self._models[k](self._points(stage, at, min(at + step, stop)))
            if out is None:
                # One allocation, so that a size that exceeds the memory is refused at once.
                out = np.empty((stop - start, values.shape[1]))
            out[at - start : at - start + len(values)] = values - centre
            if self._report is not None:
                done = sum(model.n_evals for model in self._models)
                self._report(done, max(done, self._expected()))
        assert out is not None
        return out

    def _expected(self) -> int:
        runs = self._count * self._pilot
        return runs if self._sizes is None else runs + int(self._sizes.sum())

    def _budget(self, costs: Array) -> float:
        """Return the budget, infinite if there is none."""
        if self._settings["n"] is not None:
            return float(self._settings["n"] * costs[0])
        return math.inf if self._settings["cost"] is None else float(self._settings["cost"])

    def run(self) -> None:
        """Run the pilot, allocate, and run the final sample."""
        pilot = self._run_pilot()
        costs, budget = self._costs, self._budget(self._costs)  # type: ignore[arg-type]
        assert costs is not None
        left = budget - self._pilot * costs.sum()
        if left < _TRUTH * costs[0]:
            name = "cost" if self._settings["n"] is None else "n"
            raise ArgumentError(
                f"{name}: a budget of {budget:.4g} given; the "
                f"pilot costs {self._pilot * costs.sum():.4g} and the final sample "
                f"{_TRUTH * costs[0]:.4g} at least: raise it, or lower n_pilot"
            )
        outputs = pilot[0].shape[1]
        self._centres = np.array([v.mean(axis=0) for v in pilot])
        self._only = np.where((pilot[0] == pilot[0][0]).all(axis=0), pilot[0][0], np.nan)
        self._values = [np.empty((0, outputs)) for _ in range(self._count)]
        table = np.stack([v - v.mean(axis=0) for v in pilot], axis=1)  # (n, M, K)
        covs = np.einsum("nik,njk->kij", table, table) / (self._pilot - 1)
        size = np.abs(pilot[0]).mean(axis=0)
        if self._tolerance is not None:
            rtol, atol = self._tolerance
            scale = np.maximum(atol, rtol * np.abs(pilot[0].mean(axis=0)))
        else:
            scale = size
        # Relative to the smallest scale, so that squares are within the range of doubles.
        least = float(scale[scale > 0].min(initial=math.inf))
        shares = np.ones(outputs)
        if math.isfinite(least):
            shares = np.where(scale > 0, (least / np.where(scale > 0, scale, 1.0)) ** 2, 0.0)
        self._covs, self._weights, self._least = covs, shares, least
        plan = allocate(
            np.einsum("k,kij->ij", shares, covs),
            costs,
            self._settings["method"],
            float(self._pilot),
        )
        self._plan = plan
        if self._tolerance is None:
            self._sample(self._for_cost(left))
            return
        self._to_tolerance(left)

    def _run_pilot(self) -> list[Array]:
        """Run all models at the points of the pilot; measure the costs if they are not known."""
        given, costs = self._settings["n_pilot"], self._costs
        if costs is None:
            # Time the second runs, because the first may include compilation.
            seconds = []
            for k in range(self._count):
                self._evaluated(k, 0, 0, 2)
                before = time.perf_counter()
                self._evaluated(k, 0, 0, 4)
                seconds.append(max((time.perf_counter() - before) / 4, 1e-9))
            costs = np.array(seconds)
        budget = self._budget(costs)
        if given is not None:
            self._pilot = given
        elif math.isinf(budget):
            self._pilot = _UNKNOWN
        else:
            share = budget / costs.sum()
            n = int(min(max(_PILOT * share, _LEAST), _MOST))
            if n > _LARGEST * share:
                raise ArgumentError(
                    f"n, cost: a budget of {budget:.4g} given; the pilot needs {_LEAST} runs of "
                    f"each model, and so {_LEAST / _LARGEST * costs.sum():.4g} for all: raise it, "
                    "or give n_pilot"
                )
            self._pilot = n
        values = []
        seconds = []
        for k in range(self._count):
            before = time.perf_counter()
            values.append(self._evaluated(k, 0, 0, self._pilot))
            seconds.append(max((time.perf_counter() - before) / self._pilot, 1e-9))
            if values[k].shape != values[0].shape or (
                self._models[k].scalar != self._models[0].scalar
            ):
                raise ArgumentError(
                    f"models[{k}]: it gives {values[k].shape[1]} numbers for a point, the first "
                    f"model {values[0].shape[1]}; all must give arrays of one shape"
                )
        if self._names is not None and len(self._names) != values[0].shape[1]:
            raise ArgumentError(f"names: {len(self._names)} given for {values[0].shape[1]} outputs")
        self._costs = np.array(seconds) if self._costs is None else self._costs
        return values

    def _for_cost(self, cost: float) -> NDArray[np.int64]:
        """Return the numbers of runs that a cost pays for."""
        plan, costs = self._plan, self._costs
        assert plan is not None
        assert costs is not None
        w = costs[list(plan.models)]
        sizes = np.zeros(self._count, np.int64)
        first = cost / (costs[0] + plan.ratios @ w)
        ratios = plan.ratios
        if first < _TRUTH:
            # Fewer runs of the other models, for enough of the first.
            first = float(_TRUTH)
            spare = max(cost - first * costs[0], 0.0) / first
            ratios = ratios * min(1.0, spare / max(float(ratios @ w), 1e-300))
        sizes[0] = _count(first)
        for model, parent, ratio in zip(plan.models, plan.parents, ratios, strict=True):
            n = max(_count(first * ratio), int(sizes[parent]))
            # A segment needs two points for its variance.
            sizes[model] = n if n >= sizes[parent] + 2 else sizes[parent]
        return self._spaced(sizes)

    def _spaced(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return sizes no two of which differ by 1."""
        last = 0
        for k in np.argsort(sizes, kind="stable"):
            if sizes[k] and sizes[k] - last == 1:
                sizes[k] = last
            last = max(last, int(sizes[k]))
        return sizes

    def _sample(self, sizes: NDArray[np.int64]) -> None:
        """Run the models up to these numbers of points of the final sample, and estimate."""
        assert self._centres is not None
        for k in range(self._count):
            have = len(self._values[k])
            if sizes[k] > have:
                # Centred by the means of the pilot, so that large values lose no digits.
                more = self._evaluated(k, 1, have, int(sizes[k]), self._centres[k])
                self._values[k] = np.concatenate([self._values[k], more]) if have else more
        self._found = self._estimate(sizes)
        self._sizes = sizes

    def _to_tolerance(self, most: float) -> None:
        """Run models until the standard errors are within the tolerance or the budget is spent."""
        plan, costs = self._plan, self._costs
        assert plan is not None
        assert costs is not None
        assert self._covs is not None
        assert self._weights is not None
        assert self._tolerance is not None
        e = exponents(np.array([self._least]))
        unit = float(scaled(np.array(self._least), e)) ** 2 * float((self._weights > 0).sum())
        with np.errstate(over="ignore"):
            cost = float(np.ldexp(plan.product / unit, -2 * e)) if unit > 0 else math.inf
        cost = min(max(cost, _TRUTH * costs[0]), most)
        if not cost < 2.0**61 * costs.min():
            raise ArgumentError(
                f"rtol, atol: {self._tolerance} given; more runs would be needed than can be "
                "counted; raise them"
            )
        self._converged = False
        for _ in range(_ROUNDS):
            before = self._sizes
            sizes = self._for_cost(cost)
            self._sample(sizes if before is None else np.maximum(sizes, before))
            assert self._found is not None
            mean, variances = self._found.mean, np.diag(self._found.cov)
            rtol, atol = self._tolerance
            allowed = np.maximum(atol, rtol * np.abs(mean))
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                over = np.where(variances > 0, variances / allowed**2, 0.0).max()
            if over <= 1:
                self._converged = True
                return
            if cost >= most:
                break
            cost = min(cost * min(max(1.05 * over, 1.1), 10.0), most)
        needed = cost * over
        self.findings.append(
            (
                ConvergenceWarning,
                f"the tolerance was not met: a standard error is {math.sqrt(over):.2g} times as "
                f"large; a cost of {needed:.3g} is forecast",
            )
        )

    def _estimate(self, sizes: NDArray[np.int64]) -> _Found:
        """Return the estimate from the values of all models up to these sizes."""
        plan = self._plan
        assert plan is not None
        assert self._covs is not None
        assert self._centres is not None
        outputs = len(self._covs)
        own = sizes[list(plan.models)].astype(float)
        shared = sizes[list(plan.parents)].astype(float)
        used = own > shared
        models = [k for k, u in zip(plan.models, used, strict=True) if u]
        parents = [k for k, u in zip(plan.parents, used, strict=True) if u]
        own, shared = own[used] / sizes[0], shared[used] / sizes[0]
        alpha = np.zeros((self._count, outputs))
        alpha[0] = 1.0
        for k in range(outputs):
            if models and self._covs[k][0, 0] > 0:
                alpha[models, k] = coefficients(self._covs[k], models, own, shared)

        def part(low: int, high: int) -> Array:
            """Return the contribution of some points of one segment, shape (n, K)."""
            out = np.zeros((high - low, outputs))
            if high <= sizes[0]:
                out += self._values[0][low:high] / sizes[0]
            for k, p in zip(models, parents, strict=True):
                if high <= sizes[k]:
                    weight = (high <= sizes[p]) / sizes[p] - 1 / sizes[k]
                    out += alpha[k] * weight * self._values[k][low:high]
            return out

        edges = np.unique(np.concatenate([[0], sizes[[0, *models]]])).tolist()
        mean, cov = self._centres[0].copy(), np.zeros((outputs, outputs))
        noise = np.zeros(outputs)
        for low, high in pairwise(edges):
            n = high - low
            # In blocks, so that an interrupt is handled soon.
            centre = sum(part(*block).sum(axis=0) for block in _blocks(low, high)) / n
            square = np.zeros((outputs, outputs))
            for block in _blocks(low, high):
                d = part(*block) - centre
                square += d.T @ d
            mean += n * centre
            square *= n / (n - 1)
            cov += square
            noise += np.diag(square) ** 2 / (n - 1)
        variances = np.diag(cov)
        df = np.where(noise > 0, variances**2 / np.where(noise > 0, noise, 1.0), np.inf)
        spread = sum((self._values[0][a:b] ** 2).sum(axis=0) for a, b in _blocks(0, int(sizes[0])))
        offset = sum(self._values[0][a:b].sum(axis=0) for a, b in _blocks(0, int(sizes[0])))
        truth = np.maximum(spread - offset**2 / sizes[0], 0.0) / (sizes[0] - 1)
        return _Found(mean, cov, df, alpha, truth)

    def result(self, status: str) -> Multifidelity | None:
        """Return the result of the rounds that are complete, None if there is none."""
        plan, sizes, costs = self._plan, self._sizes, self._costs
        found = self._found
        if plan is None or sizes is None or costs is None or found is None:
            return None
        assert self._weights is not None
        assert self._covs is not None
        mean, cov, variances = found.mean, found.cov, np.diag(found.cov)
        lost = sum(model.n_non_finite for model in self._models)
        if lost:
            self.findings.append(
                (FermiacWarning, f"{lost} values of the models were not finite and counted as 0")
            )
        stderr = np.sqrt(variances)
        unseen = self._unseen(stderr, int(sizes[0]))
        if unseen is not None:
            assert self._only is not None
            mean = np.where(unseen > 0, self._only, mean)
            stderr = np.where(unseen > 0, unseen, stderr)
            cov = cov.copy()
            np.fill_diagonal(cov, np.where(unseen > 0, unseen**2, variances))
        used = np.where(sizes > 0, sizes, 0)
        runs = np.array([model.n_evals for model in self._models])
        spent = float(runs @ costs)
        spread = found.truth
        shares, whole_cov = self._weights, np.einsum("k,kij->ij", self._weights, self._covs)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.sqrt(np.outer(np.diag(whole_cov), np.diag(whole_cov)))
            correlations = np.where(scale[0] > 0, whole_cov[0] / scale[0], 0.0)
            variance = float(shares @ variances)
            gain = float(shares @ spread) * float(costs[0]) / spent / variance if variance else 1.0
            ess = np.where(variances > 0, spread / variances, np.inf)
        parents = np.full(self._count, -1)
        parents[list(plan.models)] = plan.parents
        parents[used == 0] = -1
        plain = whole_cov[0, 0] * costs[0]
        scalar = bool(self._models[0].scalar)

        def shape(a: Array) -> Any:
            return float(a.ravel()[0]) if scalar else a

        return Multifidelity(
            seed=self._key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=self._settings,
            n_evals=int(runs.sum()),
            wall_time=time.perf_counter() - self._start,
            status=status,
            warnings=tuple(text for _, text in self.findings),
            mean=shape(mean),
            stderr=shape(stderr),
            cov=shape(cov),
            ess=shape(ess),
            khat=shape(np.full(len(mean), np.nan)),
            names=self._names or tuple(f"E[{k}]" for k in range(len(mean))),
            method=plan.method,
            df=shape(found.df),
            converged=self._converged,
            unseen=None if unseen is None else shape(unseen),
            n_runs=used,
            n_pilot=self._pilot,
            costs=costs,
            cost=spent,
            correlations=correlations,
            coefficients=found.coefficients,
            parents=parents,
            gain_forecast=float(plain / plan.product) if plan.product > 0 else 1.0,
            gain=gain,
        )

    def _unseen(self, stderr: Array, n: int) -> Array | None:
        """Return errors by the rule of three of outputs with one value at all points, or None.

        Constants beside outputs that vary keep their error of 0, unless they are 0, with a warning.
        """
        assert self._only is not None
        assert self._centres is not None
        final = self._values[0][:n]
        same = np.isfinite(self._only) & (final == self._only - self._centres[0]).all(axis=0)
        same &= stderr == 0
        if not same.any():
            return None
        n += self._pilot
        self.findings.append(equal_finding(n, "the first model"))
        same &= (self._only == 0) | same.all()
        if not same.any():
            return None
        size = np.where(same & (self._only != 0), np.abs(self._only), 1.0)
        out: Array = np.where(same, size * (3 / n), 0.0)
        return out


def _count(x: float) -> int:
    """Return a number of runs, limited to 2**61."""
    return int(min(x + 1e-9, 2.0**61))
