"""The call that estimates Sobol' indices: the shares of a model's variance by input."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads, threads
from fermiac._base.plan import PlanLike, alone, plan_of
from fermiac._base.progress import Report, finish, reporter
from fermiac._base.validate import (
    choice,
    labels,
    numbered,
    whole,
    yes,
)
from fermiac._base.variables import Params
from fermiac.diagnostics import psis
from fermiac.distributions import Law, Normal
from fermiac.errors import (
    ArgumentError,
    ConvergenceWarning,
    FermiacWarning,
    HeavyTailWarning,
    WorkerError,
)
from fermiac.importance.api import expect
from fermiac.importance.outputs import Outputs, rows_at_once, tolerances, with_unit_map
from fermiac.importance.pick_freeze import FIT_RUNS, Design, Indices, Sums
from fermiac.importance.sensitivity_inputs import Groups, groups_of, refuse_dependence
from fermiac.importance.sensitivity_result import SobolIndices
from fermiac.importance.settings import with_dim
from fermiac.random import RngLike, key_of
from fermiac.results import Estimate
from fermiac.results.result import Finding, warn
from fermiac.runs.checkpoint import Log, identity_of
from fermiac.runs.shards import evaluation
from fermiac.targets import BuiltinIntegrand, NativeTarget
from fermiac.targets.conversion import adapted, as_integrand, compared
from fermiac.targets.named import named_law, names_of

__all__ = ["sobol_indices"]

Array = NDArray[np.float64]
#: The smallest number of replicates, and the largest for powers of two of rows.
_LEAST, _MOST = 8, 15
#: The largest number of looks of a run with a tolerance, and the model runs of the first look.
_LOOKS, _FIRST_RUNS = 12, 1000
#: The share of the runs that a first look at the tail of the squared values takes.
_PILOT = 0.1
#: The fewest independent points for the shape of a tail.
_PILOT_POINTS = 400
#: Importance sampling is used for a tail heavier than this, with a control that leaves more than
#: this share of the variance. In tests its errors were valid, and a third to a fiftieth as large.
_HEAVY, _LEFT = 0.6, 0.005
#: The share of the sum of squares from one point that indicates a heavy tail.
_DOMINATES = 0.1
#: The most expectations of one run of importance sampling.
_EXPECTATIONS = 200


@public
def sobol_indices(
    model: Callable[..., ArrayLike] | BuiltinIntegrand | NativeTarget,
    law: Law | Mapping[str, Any] | Any,
    n: int = 20_000,
    *,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    method: Literal["auto", "sobol", "iscv"] = "auto",
    second_order: bool = False,
    groups: Groups | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    controls: Literal["auto", "none"] = "auto",
    n_replicates: int | None = None,
    on_nan: Literal["raise", "zero"] = "raise",
    names: Sequence[str] | None = None,
    check: bool = True,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> SobolIndices:
    r"""Estimate the Sobol' indices of a model: the shares of its variance by input.

    The index of first order of an input is the share of the variance that the input explains alone.
    Its total index is the share that remains when all other inputs are known. For an additive model
    the two are equal.

    Parameters
    ----------
    model : callable or target of `fermiac.targets`
        Takes a batch of points, shape (n, d), and returns shape (n,), or (n, K) for K outputs. With
        `params`, or a `law` that names its coordinates, it takes the inputs by name. It is called
        with up to 65536 points at a time, on the calling thread.
    law : Law, frozen scipy.stats law or mapping
        The law of the inputs, which must be independent of each other, or in independent `groups`.
        It needs a map from the unit cube, as univariate laws, products and Gaussian laws have. A
        mapping from names to laws is a `fermiac.distributions.Joint`.
    n : int, default 20_000
        The largest number of model runs, all included. A row of the design takes d + 2 runs, or 2 d
        + 2 with `second_order`; at least 16 rows are needed.
    params, args, kwargs
        The inputs that `model` takes by name, by default those of `law`, and further arguments;
        see `fermiac.targets.as_target`.
    method : {"auto", "sobol", "iscv"}, default "auto"
        ``"sobol"``: replicates of Sobol' points. ``"iscv"``: adaptive importance sampling of pairs
        of points, for models whose variance comes from rare inputs. ``"auto"``: Sobol' points,
        unless the first tenth of the runs shows that the squared values have a heavy tail.
    second_order : bool, default False
        Also estimate the indices of all pairs of inputs.
    groups : sequence or mapping, optional
        The coordinates of each input, by number or name: ``[[0, 1], [2]]`` or ``{"load": [0, 1],
        "size": [2]}``. Each coordinate must be in exactly one group. Dependent inputs must be in
        the same group.
    rtol, atol : float, optional
        Stop once the half-widths of all 95 % intervals of first-order and total indices are at most
        ``max(atol, rtol * t)``, where t is the largest total index of the output. By default all of
        `n` is used.
    controls : {"auto", "none"}, default "auto"
        ``"auto"`` fits polynomials with known indices to the model and estimates only the
        difference; see the notes. ``"none"`` does not.
    n_replicates : int, optional
        The number of independent replicates of the points, from 2 to 1024; by default 8 to 15.
    on_nan : {"raise", "zero"}, default "raise"
        NaN and infinities from `model` stop the run with an error that names the first point, or
        count as 0 with a warning.
    names : sequence of str, optional
        Names of the d coordinates; by default those of the law.
    check : bool, default True
        Compare a batch of two points with the two points alone at the first call of a `model` in
        Python, at the cost of three calls that are not counted; see `fermiac.targets.as_target`.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.
        ``store``: a folder for a file with the values of `model`, from which the same call
        resumes.

    Returns
    -------
    SobolIndices
        ``first_order``, ``total_order`` and their ``_stderr``, ``second_order``, ``variance``,
        ``mean``, ``interval``, ``ranking``, ``summary``, ``plot_indices``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain, for inputs that depend on each other across groups, and
        for a law without a map from the unit cube.
    TargetError
        If `model` gives a wrong shape or type, a NaN or an infinity.
    CheckpointError
        If a file in the store is damaged, belongs to another run, or cannot be written.
    WorkerError
        If a worker of the executor dies twice on the same points, or is not like the driver.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is a `SobolIndices` from the rows that all replicates
        have, reduced to a power of two, or None. A `WorkerError` has one as well.

    Warns
    -----
    ConvergenceWarning
        If the tolerance was not met, or an output is constant, so that its indices are NaN.
    HeavyTailWarning
        If the tail of the squared values is so heavy that the error bars are in doubt.

    Notes
    -----
    A row of the design has a pair (A, B) of independent points, and the points :math:`A_B^i`, which
    are A with input i taken from B [1]_. Let f be the centred model with variance V and mean m. The
    first-order index is the mean of :math:`f(B) f(A_B^i) - w f(A) f(B) - (1 - w) m^2` divided by V.
    With w = 1 this is the estimator of [1]_, with w = 0 that of [2]_; w = 1 - total index is close
    to optimal. The total index is the mean of :math:`(f(A) - f(A_B^i))^2 / 2` divided by V [3]_.

    The rows are those of 8 to 15 independently scrambled Sobol' nets in 2 d dimensions, and the
    standard errors come from the spread of these replicates, by the delta method for the ratio.
    Each replicate uses a polynomial (or a sum of splines and polynomials) as a control. It is
    fitted to the values of the other replicates, so it is independent of the points. The products
    of the polynomial are subtracted from those of the model, and their exact expectations are added
    back. A control changes the error, but never the estimated quantity. Its size minimises the
    residual variance out of sample.

    Estimates of an index that is 0 are close to 0, and about half of them are negative. They are
    unbiased and are not set to 0, since that would bias them and invalidate their intervals. Use
    `SobolIndices.interval` to judge them.

    References
    ----------
    .. [1] A. Saltelli, P. Annoni, I. Azzini, F. Campolongo, M. Ratto, S. Tarantola, "Variance based
       sensitivity analysis of model output", Computer Physics Communications, 2010,
       doi:10.1016/j.cpc.2009.09.018.
    .. [2] A. Janon, T. Klein, A. Lagnoux, M. Nodet, C. Prieur, "Asymptotic normality and efficiency
       of two Sobol index estimators", ESAIM: Probability and Statistics, 2014,
       doi:10.1051/ps/2013040.
    .. [3] M. J. W. Jansen, "Analysis of variance designs for model output", Computer Physics
       Communications, 1999, doi:10.1016/S0010-4655(98)00154-4.
    .. [4] J. Demange-Chryst, F. Bachoc, J. Morio, "Efficient estimation of multiple expectations
       with the same sample by adaptive importance sampling and control variates", Statistics and
       Computing, 2023, arXiv:2212.00568.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> law = {"x": fm.distributions.Normal(), "y": fm.distributions.Uniform(-1.0, 1.0)}
    >>> s = fm.importance.sobol_indices(lambda x, y: x + 3 * x * y, law, n=2_000, rng=0)
    >>> s.names
    ('x', 'y')
    >>> bool(np.all(abs(s.first_order - [0.25, 0.0]) < 5 * s.first_order_stderr + 1e-12))
    True
    >>> bool(np.all(abs(s.total_order - [1.0, 0.75]) < 5 * s.total_order_stderr + 1e-12))
    True
    """
    where = plan_of(plan, "executor", "store")
    start_time = time.perf_counter()
    n = whole("n", n, 1, 2**62)
    choice("method", method, ("auto", "sobol", "iscv"))
    choice("on_nan", on_nan, ("raise", "zero"))
    choice("controls", controls, ("auto", "none"))
    tolerance = tolerances(rtol, atol)
    law, params = named_law(law, params)
    law = with_unit_map(with_dim(law), "sobol_indices")
    coordinates = labels(names_of(names, params), law.dim) or numbered("x", law.dim)
    inputs, places = groups_of(groups, coordinates)
    both = yes("second_order", second_order)
    if method == "iscv" and (both or tolerance is not None or n_replicates is not None):
        given = "second_order" if both else "n_replicates" if tolerance is None else "rtol, atol"
        raise ArgumentError(f"{given}: given with method='iscv', which has none; leave it out")
    refuse_dependence(law, places, coordinates)
    log = Log.of(where)
    key = log.seed if rng is None and log is not None and log.seed is not None else key_of(rng)
    job = _Job(
        design=Design(law, places, both, key),
        names=inputs,
        n=n,
        method=method,
        tolerance=tolerance,
        control=controls == "auto",
        replicates=n_replicates,
        n_threads=resolve_threads(where.n_threads),
        start_time=start_time,
        settings={
            "n": n,
            "method": method,
            "second_order": both,
            "groups": None if groups is None else [list(place) for place in places],
            "rtol": rtol,
            "atol": atol,
            "controls": controls,
            "n_replicates": n_replicates,
            "on_nan": on_nan,
        },
    )
    job.plan()
    f = adapted(model, law.dim, params, args, kwargs, "model")
    if yes("check", check):
        f = compared(f, "the model")
    as_integrand(f, law.dim)  # raises before a file is made
    with (
        reporter(where.progress, "sobol_indices", "evaluations") as shown_progress,
        evaluation(
            f,
            executor=where.executor,
            log=log,
            identity=lambda: identity_of("importance.sobol_indices", key, [law], job.settings),
            n_threads=job.n_threads,
            report=shown_progress,
            total=n,
            integrand=True,
        ) as (evaluated, report),
        threads(job.n_threads),
    ):
        job.model = Outputs(evaluated, on_nan)
        job.report = report
        try:
            result = job.run()
        except (KeyboardInterrupt, WorkerError) as error:
            error.partial_result = job.result("interrupted")  # type: ignore[union-attr]
            raise
        finish(report, n, result)
    return result


@dataclass
class _Job:
    """One call: its settings, its state and its result."""

    design: Design
    names: tuple[str, ...]
    n: int
    method: str
    tolerance: tuple[float, float] | None
    control: bool
    replicates: int | None
    n_threads: int
    start_time: float
    settings: dict[str, Any]
    model: Outputs = field(init=False)
    report: Report | None = field(init=False, default=None)
    #: The sums over rows of Sobol' points.
    sums: Sums | None = None
    #: The result by importance sampling.
    weighted: Estimate | None = None
    #: Whether a tolerance was met; None without one.
    converged: bool | None = None
    #: The first and the last level: at level k each replicate has 2**k rows.
    levels: tuple[int, int] = (0, 0)
    #: What is subtracted from the values before importance sampling, for each output.
    centre: Array | None = None
    findings: list[Finding] = field(default_factory=list)

    def plan(self) -> None:
        """Choose the replicates and the numbers of rows, and refuse budgets that are too small."""
        design, rows = self.design, self.n // self.design.runs
        dim = design.law.dim
        if self.method == "iscv":
            # A twentieth of the runs comes before, for the centre of the values.
            pairs = 20 * (2 * dim + 1)
            if int(0.95 * self.n) // design.runs < pairs:
                need = math.ceil((pairs + 1) * design.runs / 0.95)
                raise ArgumentError(
                    f"n: {self.n} given; method='iscv' needs {pairs} rows of {design.runs} runs, "
                    f"and a twentieth more: {need} in all"
                )
            return
        given = self.replicates
        least = 16 if given is None else 2 * whole("n_replicates", given, 2, 1024)
        if rows < least:
            raise ArgumentError(
                f"n: {self.n} given; a row of the design takes {design.runs} runs of the model and "
                f"{least} rows are needed, {least * design.runs} runs in all"
            )
        level = 1
        if given is None:
            while rows >> level > _MOST:
                level += 1
            self.replicates = rows >> level
        else:
            while given << (level + 1) <= rows:
                level += 1
        assert self.replicates is not None
        first = level
        most = FIT_RUNS if self.tolerance is None else _FIRST_RUNS
        while first > 1 and (self.replicates << first) * design.runs > most:
            first -= 1
        if self.tolerance is not None:
            first = max(first, level - _LOOKS + 1)
        self.levels = first, level

    def run(self) -> SobolIndices:
        """Return the result."""
        if self.method == "iscv" or not self._by_sobol_points():
            self._by_importance_sampling()
        result = self.result("complete")
        assert result is not None
        warn(self.findings, result)
        return result

    def _by_sobol_points(self) -> bool:
        """Evaluate all rows of Sobol' points; return False if another method is better."""
        assert self.replicates is not None
        support = self.design.law._support()
        bounded = [bool(np.isfinite(low) and np.isfinite(high)) for low, high in support]
        control = bounded if self.control else None
        sums = Sums(self.design, self.replicates, self.model, control, self._report_runs)
        self.sums = sums
        first, last = self.levels
        if pilot := self._pilot():
            sums.grow(1 << pilot)
            outputs = len(sums.squares.T) * (2 + 2 * len(self.names))  # type: ignore[union-attr]
            if outputs <= _EXPECTATIONS and self._is_heavy(sums):
                self.sums, self.centre = None, sums.indices().mean
                return False
        for level in range(first, last + 1):
            sums.grow(1 << level)
            if self.tolerance is not None:
                self.converged = self._is_precise(sums.indices())
                if self.converged:
                    break
        return True

    def _pilot(self) -> int:
        """Return the level of the rows that check the tail first, or 0 for no check."""
        free = self.settings["n_replicates"] is None and self.tolerance is None
        if self.method != "auto" or self.design.both or not free:
            return 0
        assert self.replicates is not None
        most, pilot = min(int(_PILOT * self.n), FIT_RUNS), 0
        while (self.replicates << (pilot + 1)) * self.design.runs <= most:
            pilot += 1
        if (self.replicates << pilot) * 2 < _PILOT_POINTS:
            return 0
        left = self.n - (self.replicates << pilot) * self.design.runs
        return pilot if left // self.design.runs >= 20 * (2 * self.design.law.dim + 1) else 0

    def _is_heavy(self, sums: Sums) -> bool:
        """Return whether the variance comes from points that are too rare for valid error bars."""
        assert sums.squares is not None
        left = 1.0 if sums.control is None else float(sums.control.residual.max())
        return left > _LEFT and _tail(sums.squares) > _HEAVY

    def _report_runs(self) -> None:
        if self.report is not None:
            self.report(min(self.model.n_evals, self.n), self.n)

    def _is_precise(self, found: Indices) -> bool:
        """Return whether all intervals of first and total order are within the tolerance."""
        assert self.tolerance is not None
        assert self.replicates is not None
        rtol, atol = self.tolerance
        count = len(self.names)
        values = found.values[:, : 2 * count]
        errors = np.sqrt(np.diagonal(found.cov, axis1=1, axis2=2))[:, : 2 * count]
        factor = -stdtrit(self.replicates - 1, 0.025 / _LOOKS)
        # A constant output has no indices, and is not part of the test.
        known = np.isfinite(values).all(axis=1)
        largest = np.abs(values[known, count:]).max(axis=1, initial=0.0)
        allowed = np.maximum(atol, rtol * largest)
        return bool((factor * errors[known] <= allowed[:, None]).all())

    def _by_importance_sampling(self) -> None:
        """Estimate the expectations of the products of pairs of points by importance sampling."""
        design = self.design
        dim, per_row = design.law.dim, design.runs
        if self.centre is None:
            u, _ = design.units(0, 0, min(64, self.n // 20))
            self.centre = self.model(np.array(design.law.from_unit(u), np.float64)).mean(axis=0)
        centre = self.centre
        rows = (self.n - self.model.n_evals) // per_row
        step = rows_at_once(per_row, dim)

        def products(z: Array) -> Array:
            return np.vstack([some(z[at : at + step]) for at in range(0, len(z), step)])

        def some(z: Array) -> Array:
            a, b = (
                np.asarray(design.law.from_unit(_inside(ndtr(part))), np.float64)
                for part in (z[:, :dim], z[:, dim:])
            )
            y = self.model(design.crossed(a, b).reshape(-1, dim))
            self._report_runs()
            f = y.reshape(per_row, len(a), -1) - centre
            fa, fb, x = f[0], f[1], f[2:]
            columns = [(fa + fb) / 2, (fa * fa + fb * fb) / 2]
            columns += [fb * (v - fa) for v in x] + [(fa - v) ** 2 / 2 for v in x]
            return np.concatenate(columns, axis=1)

        words = ["mean", "square", *(f"first {x}" for x in self.names)]
        words += [f"total {x}" for x in self.names]
        if len(centre) > 1:
            words = [f"{word} [{k}]" for word in words for k in range(len(centre))]
        law = Normal(np.zeros(2 * dim), np.ones(2 * dim))
        with _as_partial(self):
            self.weighted = expect(
                products, law, rows, names=words, check=False, rng=design.key,
                plan=alone(n_threads=self.n_threads, progress=False),
            )  # fmt: skip

    def _weighted_indices(self) -> Indices:
        """Return the indices from the expectations of importance sampling."""
        e = self.weighted
        assert e is not None
        assert self.centre is not None
        count = len(self.names)
        outputs = len(self.centre)
        mean = np.asarray(e.mean).reshape(2 + 2 * count, outputs)
        cov = np.asarray(e.cov).reshape(2 + 2 * count, outputs, 2 + 2 * count, outputs)
        variance = mean[1] - mean[0] ** 2
        safe = np.where(variance > 0, variance, np.nan)
        values = mean[2:] / safe
        covs, errors = [], []
        for k in range(outputs):
            own = cov[:, k, :, k]
            slope = np.zeros((2 * count, 2 + 2 * count))
            slope[:, 2:] = np.eye(2 * count) / safe[k]
            slope[:, 1] = -values[:, k] / safe[k]
            slope[:, 0] = values[:, k] * 2 * mean[0, k] / safe[k]
            covs.append(slope @ own @ slope.T)
            line = np.zeros(2 + 2 * count)
            line[:2] = -2 * mean[0, k], 1.0
            errors.append((math.sqrt(own[0, 0]), math.sqrt(max(line @ own @ line, 0.0))))
        mean_stderr, variance_stderr = np.array(errors).T
        return Indices(
            values.T, np.array(covs), mean[0] + self.centre, mean_stderr, variance, variance_stderr
        )

    def result(self, status: str) -> SobolIndices | None:
        """Return the result so far, None if there is none."""
        self.findings = []
        by_weights = self.weighted is not None
        if by_weights:
            found = self._weighted_indices()
            df = float(np.min(self.weighted.df))  # type: ignore[union-attr]
        elif self.sums is not None and self.sums.rows:
            found = self.sums.reported()
            df = float(self.sums.replicates - 1)
        else:
            return None
        self._doubts(found, by_weights)
        count, single = len(self.names), bool(self.model.scalar)

        def shape(x: Array) -> Any:
            return x[0] if single else x

        def number(x: Array) -> Any:
            return float(x[0]) if single else x

        stderr = np.sqrt(np.diagonal(found.cov, axis1=1, axis2=2))
        second = second_error = None
        if self.design.both:
            second = shape(_symmetric(found.values[:, 2 * count :], count))
            second_error = shape(_symmetric(stderr[:, 2 * count :], count))
        control = None if by_weights or self.sums is None else self.sums.control
        residual = np.ones(len(found.mean)) if control is None else np.minimum(control.residual, 1)
        texts = tuple(text for _, text in self.findings)
        if by_weights:
            texts += self.weighted.warnings  # type: ignore[union-attr]
        return SobolIndices(
            seed=self.design.key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=self.settings,
            n_evals=self.model.n_evals,
            wall_time=time.perf_counter() - self.start_time,
            status=status,
            warnings=texts,
            first_order=shape(found.values[:, :count]),
            total_order=shape(found.values[:, count : 2 * count]),
            first_order_stderr=shape(stderr[:, :count]),
            total_order_stderr=shape(stderr[:, count : 2 * count]),
            first_order_cov=shape(found.cov[:, :count, :count]),
            total_order_cov=shape(found.cov[:, count : 2 * count, count : 2 * count]),
            second_order=second,
            second_order_stderr=second_error,
            mean=number(found.mean),
            mean_stderr=number(found.mean_stderr),
            variance=number(found.variance),
            variance_stderr=number(found.variance_stderr),
            residual=number(residual),
            names=self.names,
            method="iscv" if by_weights else "sobol",
            df=df,
            n_replicates=None if by_weights else self.sums.replicates,  # type: ignore[union-attr]
            converged=self.converged,
            n_looks=1 if self.tolerance is None else _LOOKS,
        )

    def _doubts(self, found: Indices, by_weights: bool) -> None:
        """Collect the warnings of a result."""
        constant = ~np.isfinite(found.values).all(axis=1)
        if constant.any():
            which = "the model" if self.model.scalar else f"output {int(np.argmax(constant))}"
            self.findings.append(
                (
                    ConvergenceWarning,
                    f"{which} was constant at all points, so that its indices are undefined (NaN); "
                    "raise n if it is constant nearly everywhere only",
                )
            )
        if self.converged is False:
            self.findings.append((ConvergenceWarning, self._not_reached(found)))
        if self.model.n_non_finite:
            self.findings.append(
                (
                    FermiacWarning,
                    f"{self.model.n_non_finite} values of the model were not finite and counted "
                    "as 0",
                )
            )
        if not by_weights and self.sums is not None and self._is_heavy(self.sums):
            tail = _tail(self.sums.squares)  # type: ignore[arg-type]
            self.findings.append(
                (
                    HeavyTailWarning,
                    f"the squared values of the model have a heavy tail (k-hat {tail:.2f}): a few "
                    "points make most of the variance, and error bars may be too small; use "
                    "method='iscv', raise n, or study a transform of the output",
                )
            )

    def _not_reached(self, found: Indices) -> str:
        assert self.tolerance is not None
        assert self.replicates is not None
        rtol, atol = self.tolerance
        count = len(self.names)
        errors = np.sqrt(np.diagonal(found.cov, axis1=1, axis2=2))[:, : 2 * count]
        factor = -stdtrit(self.replicates - 1, 0.025 / _LOOKS)
        largest = np.abs(found.values[:, count : 2 * count]).max(axis=1)
        share = np.nanmax(factor * errors / np.maximum(atol, rtol * largest)[:, None])
        need = self.model.n_evals * share**2
        return (
            f"the tolerance was not met within n = {self.n} runs: the widest interval is "
            f"{share:.2g} times as wide; {need:.2g} runs are forecast at the rate of random "
            "points, fewer for smooth models"
        )


@contextmanager
def _as_partial(job: _Job) -> Any:
    """Keep the partial estimate of an interrupted `expect` as that of the job."""
    try:
        yield
    except (KeyboardInterrupt, WorkerError) as error:
        part = getattr(error, "partial_result", None)
        if isinstance(part, Estimate):
            job.weighted = part
        raise


def _tail(squares: Array) -> float:
    """Return the largest k-hat of the squared values of an output that a few points dominate.

    As for the weighted values of `expect`, no sign suffices by itself: the tail shape is heavy, and
    one point contributes much of the sum of squared values, more than a random point can. -inf if
    there is no such output.
    """
    worst = -math.inf
    for column in squares.T:
        top, whole = float(column.max(initial=0.0)), float(column.sum())
        few = top > whole / math.sqrt(len(column))
        if few and top**2 > _DOMINATES * float((column**2).sum()):
            with np.errstate(divide="ignore"):
                _, khat = psis(np.log(column))
            worst = max(worst, float(np.nan_to_num(khat, nan=-math.inf)))
    return worst


def _inside(u: Array) -> Array:
    """Return uniform numbers that are neither 0 nor 1."""
    out: Array = np.clip(u, 2.0**-1022, 1 - 2.0**-53)
    return out


def _symmetric(pairs: Array, count: int) -> Array:
    """Return numbers of pairs (i < j) as symmetric matrices with NaN on the diagonal."""
    out = np.full((len(pairs), count, count), np.nan)
    upper = np.triu_indices(count, 1)
    out[:, upper[0], upper[1]] = pairs
    out[:, upper[1], upper[0]] = pairs
    return out
