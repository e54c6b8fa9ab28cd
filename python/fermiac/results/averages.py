"""Averages over samples with their errors: `Sample.expect`, moments and the summary table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import registry
from fermiac._base.config import resolve_threads, threads_for
from fermiac._base.frames import column_names
from fermiac._base.validate import choice, labels, numbered, shown, taken, whole
from fermiac.diagnostics import khat_threshold
from fermiac.distributions.law import BuiltInLaw, Law
from fermiac.errors import (
    ArgumentError,
    HeavyTailWarning,
    TargetError,
    WeightWarning,
)
from fermiac.results import chain_summary
from fermiac.results.chain_errors import convergence_findings
from fermiac.results.error_models import Controls, average, error_model_of, sum_of_squares
from fermiac.results.estimate import Estimate
from fermiac.results.fold_controls import folded
from fermiac.results.intervals import interval_columns
from fermiac.results.result import Finding, warn
from fermiac.results.summary import Summary
from fermiac.results.unseen import all_equal, equal_finding
from fermiac.targets.callables import CallableIntegrand
from fermiac.targets.conversion import adapted, as_integrand, compared, is_integrand
from fermiac.targets.named import by_name

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = ["expect", "join_complex", "moments", "summary", "table"]

Array = NDArray[np.float64]
#: The number of points in a batch.
_BATCH = 65536
#: A point with more than this share of a variance makes its estimate unreliable.
_STANDS_OUT = 0.1
#: Values whose tail has this shape, or a larger one, have an infinite variance.
_INFINITE = 0.5


def expect(
    sample: Sample,
    f: Any,
    controls: Any,
    degree: int,
    penalty: Any,
    law: int | Law,
    names: Sequence[str] | None,
    executor: Any,
    n_threads: int | None,
) -> Estimate:
    """Return the estimate of `Sample.expect`."""
    start = time.perf_counter()
    of_draws = law if isinstance(law, Law) else None
    law = 0 if isinstance(law, Law) else whole("law", law, 0, sample.n_laws - 1)
    used = sample._log_weights(law) > -np.inf
    if isinstance(f, str):
        names, f = _named(sample, f, names)
    elif isinstance(f, list | tuple) and f and all(isinstance(item, str) for item in f):
        columns = sample.variables.positions(f, "f")
        names = [sample._labels[j] for j in columns] if names is None else names
        f = sample._points[:, columns]
    elif callable(f):
        f = by_name(f, sample.variables, "f")
    values, scalar, is_complex = _values(sample, f, used, "f", "the integrand", executor)
    outputs = values.shape[1] // 2 if is_complex else values.shape[1]
    named = labels(names if names is not None else column_names(f), outputs, "function")
    named = named or numbered("E", outputs)
    chosen = _chosen(sample, controls, degree, penalty, of_draws, used)
    scaled, exponents = _in_range(values)
    choices: tuple[str, ...] = ()
    if chosen is not None and chosen.by_folds:
        with_controls = folded(sample, scaled, chosen, law, n_threads)
        got, scaled, choices = with_controls.average, with_controls.residuals, with_controls.chosen
    else:
        got = average(sample, scaled, chosen, law, n_threads)
    mean, stderr = (np.ldexp(a, exponents) for a in (got.mean, np.sqrt(np.diag(got.cov))))
    with np.errstate(over="ignore"):
        cov = np.ldexp(got.cov, exponents[:, None] + exponents)
    ess, khat = got.ess, got.khat
    found = list(got.findings) + _unseen(sample, values, used, named, law)
    limit, plain = khat_threshold(max(sample.n_draws, 2)), False
    if got.largest is not None:
        heavy = (khat > limit) & (got.largest > _STANDS_OUT)
    elif sample.log_weights is not None:
        heavy = khat > limit
    else:
        # Without weights skewed integrands are common, so a single point must also dominate.
        limit, plain = min(limit, _INFINITE), True
        heavy = khat > limit
        squares = (scaled - scaled.mean(axis=0)) ** 2
        heavy &= squares.max(axis=0) > _STANDS_OUT * squares.sum(axis=0)
    rhat, df = got.rhat, np.broadcast_to(got.df, mean.shape)
    if is_complex:
        df = np.minimum(df[:outputs], df[outputs:])
        mean, stderr, cov, ess, khat = join_complex(mean, stderr, cov, ess, khat)
        heavy = heavy[:outputs] | heavy[outputs:]
        rhat = None if rhat is None else np.fmax(rhat[:outputs], rhat[outputs:])
    if rhat is not None:
        sizes = {"the effective sample size": np.where(stderr > 0, ess, np.inf)}
        found += convergence_findings(sample, named, rhat, sizes)
    if heavy.any():
        what = "the values" if sample.log_weights is None else "the weighted values"
        remedy = (
            "their variance may be infinite, or too few draws have the important values, so the "
            "standard error is unreliable: draw more, or take a bounded function or a quantile"
            if plain
            else "a few points carry the error, which is probably too small: use more points or a "
            "sampler with heavier tails"
        )
        which = ", ".join(label for label, h in zip(named, heavy, strict=True) if h)
        found.append(
            (
                HeavyTailWarning if plain else WeightWarning,
                f"{what} of {which:.200} have a heavy tail: k-hat up to {khat[heavy].max():.2f}, "
                f"above {limit:.2f}; {remedy}",
            )
        )

    def shape(a: NDArray[Any]) -> Any:
        return a.ravel()[0].item() if scalar else a

    method = "mean" if sample.log_weights is None else "snis"
    settings: dict[str, Any] = {"error_model": sample.error_model, "controls": None}
    if sample.n_laws > 1:
        settings["law"] = law
    if chosen is not None:
        method = "stein" if chosen.kind == "stein" else "controls"
        settings["controls"] = chosen.kind
        if chosen.degree is not None:
            settings["degree"] = chosen.degree
        if chosen.by_folds:
            settings["penalty"] = chosen.penalty
            # A complex function has one choice for each of its parts.
            settings["chosen"] = list(choices)
    estimate = Estimate(
        seed=sample.seed,
        version=_core.__version__,
        isa=_core.isa_level,
        settings=settings,
        n_evals=sample.n_draws if is_integrand(f) else 0,
        wall_time=time.perf_counter() - start,
        status=sample.status,
        mean=shape(mean),
        stderr=shape(stderr),
        cov=shape(cov),
        ess=shape(ess),
        khat=shape(khat),
        names=named,
        method=method,
        df=shape(df),
    )
    warn(found, estimate)
    return estimate


def _named(
    sample: Sample, name: str, names: Sequence[str] | None
) -> tuple[Sequence[str], NDArray[Any]]:
    """Return the names and the values of the coordinates of a parameter, one column for each."""
    variables = sample.variables
    columns = variables.columns(name)
    values = sample._points[:, columns]
    is_number = variables.shapes.get(name, ()) == ()
    own = [sample._labels[j] for j in columns]
    return own if names is None else names, values[:, 0] if is_number else values


def _values(
    sample: Sample,
    f: Any,
    used: NDArray[np.bool_],
    name: str,
    what: str,
    executor: Any = None,
) -> tuple[Array, bool, bool]:
    """Return the values of an integrand at all points.

    Complex columns are split into their real parts followed by their imaginary parts. The two
    flags say whether the integrand has a single output, and whether it is complex.
    """
    points = sample._points
    n = len(points)
    if is_integrand(f):
        asked = what if name == "f" else f"the function of {what}"
        given = adapted(f, sample.dim)
        target = as_integrand(compared(given, asked), sample.dim)
        if executor is not None:
            evaluation = registry.function("evaluation", "evaluation")
            with evaluation(
                given, executor=executor, log=None, identity=dict,
                n_threads=1, report=None, integrand=True,
            ) as (there, _):  # fmt: skip
                target = as_integrand(compared(there, asked), sample.dim)
                assert isinstance(target, CallableIntegrand)
                values = target(points)
        elif isinstance(target, CallableIntegrand):
            values = np.vstack([target(points[i : i + _BATCH]) for i in range(0, n, _BATCH)])
        else:
            values = target.handle(points, threads_for(n)).reshape(n, -1)
        scalar, is_complex = bool(target.scalar), target.complex
    else:
        if executor is not None:
            raise ArgumentError("plan: an executor given with f that is no function; leave it out")
        array = taken(name, f)
        lead = sample.draws.shape[:-1]
        if array.ndim > 1 and array.shape[: len(lead)] == lead and len(lead) > 1:
            array = array.reshape(n, *array.shape[len(lead) :])
        if array.ndim not in (1, 2) or len(array) != n or array.dtype.kind not in "biufc":
            raise ArgumentError(
                f"{name}: a {type(f).__name__} of shape {array.shape} given; a callable from "
                f"(n, {sample.dim}) to (n,) or (n, k) is needed, or an array of numbers with {n} "
                "rows"
            )
        scalar, is_complex = array.ndim == 1, array.dtype.kind == "c"
        array = array[:, None] if scalar else array
        values = np.hstack([array.real, array.imag]) if is_complex else array.astype(float)
    if values.shape[1] == 0:
        raise ArgumentError(f"{name}: no columns given; at least one is needed")
    bad = ~np.isfinite(values) & used[:, None]
    if bad.any():
        row, k = (int(i) for i in np.argwhere(bad)[0])
        raise TargetError(
            f"{what} gave {values[row, k]} at draw {row}, x = {points[row][:6]}; it must be finite "
            "wherever a draw has weight"
        )
    # Values at points without weight are arbitrary.
    return np.where(used[:, None], values, 0.0), scalar, is_complex


def _in_range(values: Array) -> tuple[Array, NDArray[np.intc]]:
    """Return the columns divided by powers of two, so that squares stay in range, and exponents.

    The division does not round.
    """
    exponents: NDArray[np.intc] = np.frexp(np.abs(values).max(axis=0))[1]
    return np.ldexp(values, -exponents), exponents


def _unseen(
    sample: Sample, values: Array, used: NDArray[np.bool_], names: tuple[str, ...], law: int
) -> list[Finding]:
    """Return a warning about errors of 0 that come from values that are all equal."""
    columns = all_equal(values[used]).reshape(-1, len(names))
    equal: NDArray[np.bool_] = np.logical_and.reduce(columns, axis=0)
    if not equal.any():
        return []
    which = ", ".join(name for name, e in zip(names, equal, strict=True) if e)
    return [equal_finding(1 / float(np.sum(sample._weights(law) ** 2)), f"{which:.200}")]


def _chosen(
    sample: Sample,
    controls: Any,
    degree: int,
    penalty: Any,
    law: Law | None,
    used: NDArray[np.bool_],
) -> Controls | None:
    """Return the controls that the arguments name, checked."""
    kind = controls if isinstance(controls, str) else None
    if law is not None and kind != "polynomial":
        raise ArgumentError(
            "law: a law given without controls='polynomial', which is for the polynomials of a "
            "law; otherwise give the position of the law of the weights"
        )
    if penalty is not None:
        choice("penalty", penalty, ("ridge", "lasso"))
        if kind is None:
            raise ArgumentError(
                f"penalty: {shown(penalty)} given without controls='stein' or 'polynomial'; leave "
                "it out"
            )
    if controls is None:
        return None
    if kind is None:
        values, _, is_complex = _values(sample, controls, used, "controls", "the controls")
        if is_complex:
            raise ArgumentError(
                "controls: complex ones given; give real and imaginary parts as two columns"
            )
        return Controls(given=np.ascontiguousarray(_in_range(values)[0]))
    if kind == "polynomial":
        return _polynomials(sample, degree, penalty, law)
    if kind != "stein":
        raise ArgumentError(
            f"controls: {shown(controls)} given; it must be 'stein', 'polynomial', None, a "
            "callable or an array"
        )
    degree = whole("degree", degree, 1, 100 if penalty is None else 20)
    if sample.gradients is None:
        raise ArgumentError(
            "controls: 'stein' needs the gradients of the log-density, and this sample has none; "
            "give them by Sample.from_arrays(..., gradients=...)"
        )
    if sample.n_laws > 1:
        raise ArgumentError(
            "controls: 'stein' given for a sample with several laws, whose gradients are those of "
            "one density; choose its law by sample.select_law(position)"
        )
    wrong = ~np.isfinite(sample.gradients.reshape(sample.n_draws, -1)) & used[:, None]
    if wrong.any():
        row, k = (int(i) for i in np.argwhere(wrong)[0])
        raise ArgumentError(
            f"gradients: the gradient of draw {row} is not finite in coordinate {k}; it must be "
            "wherever a draw has weight"
        )
    return Controls(degree=degree, kind="stein", penalty=penalty)


def _polynomials(sample: Sample, degree: int, penalty: Any, law: Law | None) -> Controls:
    """Return the controls of the polynomials of a law, checked."""
    if law is None:
        raise ArgumentError(
            "controls: 'polynomial' needs the law of the draws, whose polynomials have mean zero; "
            "give it by law=, as in law=fm.distributions.Normal()"
        )
    if not isinstance(law, BuiltInLaw):
        raise ArgumentError(
            f"law: the orthogonal polynomials of {type(law).__name__} are not known; give a law of "
            "fermiac.distributions, or the controls themselves"
        )
    if law.dim != sample.dim:
        raise ArgumentError(
            f"law: a law of {law.dim} dimensions given for draws of {sample.dim} dimensions"
        )
    if sample.n_laws > 1:
        raise ArgumentError(
            "controls: 'polynomial' given for a sample with several laws; choose its law by "
            "sample.select_law(position)"
        )
    degree = whole("degree", degree, 1, 20)
    return Controls(degree=degree, kind="polynomial", penalty=penalty, law=law)


def moments(sample: Sample) -> tuple[Array, Array]:
    """Return the mean and the bias-corrected covariance of the coordinates."""
    weights = sample._weights()
    if np.count_nonzero(weights) < 2:
        raise ArgumentError("a covariance needs at least 2 draws of positive weight")
    squares = sum_of_squares(weights)
    raw = _core.weighted_average(weights, sample._points, resolve_threads(None))
    mean: Array = raw["mean"]
    cov: Array = raw["scatter"] / (1 - squares)
    return mean, cov


def summary(sample: Sample, prob: float, kind: str, var_names: Any) -> Summary:
    """Return the table of `Sample.summary`."""
    sample._log_weights()  # raises for a sample with several laws
    if error_model_of(sample).of_chains:
        return chain_summary.summary(sample, prob, kind, var_names)
    head = sample._first_line()
    if sample.log_weights is not None:
        limit = khat_threshold(max(sample.n_draws, 2))
        head += f", k-hat {sample.khat:.2f} (reliable up to {limit:.2f})"
    return table(sample, prob, kind, var_names, [head])


def table(
    sample: Sample,
    prob: float,
    kind: str,
    var_names: Any,
    head: Sequence[str],
    figures: Mapping[str, Any] | None = None,
) -> Summary:
    """Return a table of the coordinates of points, under the lines of a head."""
    some = sample._coordinates(sample.variables.positions(var_names))
    got = average(some, some._points)
    columns = {
        "mean": got.mean,
        "mcse": np.sqrt(np.diag(got.cov)),
        "sd": np.sqrt(np.diag(moments(some)[1])),
        **interval_columns(some, prob, kind),
    }
    names = some._labels
    width = max([len(name) for name in names] + [4])
    lines = [f"{'name':<{width}}  " + "  ".join(f"{c:>10}" for c in columns) + f"  {'ess':>8}"]
    for name, *numbers, ess in zip(names, *columns.values(), got.ess, strict=True):
        cells = "  ".join(f"{x:>10.4g}" for x in numbers)
        lines.append(f"{name:<{width}}  {cells}  {ess:>8.0f}")
    return Summary(
        names,
        {**columns, "ess": got.ess},
        head=head,
        foot=[f"warning: {w}" for w in sample.warnings],
        lines=lines,
        figures=figures,
    )


def join_complex(
    mean: NDArray[Any],
    stderr: NDArray[Any],
    cov: NDArray[Any],
    ess: NDArray[Any],
    khat: NDArray[Any],
) -> tuple[NDArray[Any], ...]:
    """Return complex estimates from those of the real parts and of the imaginary parts."""
    k = mean.size // 2
    total = np.hypot(stderr[:k], stderr[k:])
    if cov.ndim == 2:
        re, im, cross = cov[:k, :k], cov[k:, k:], cov[k:, :k]
        full: NDArray[Any] = (re + im) + 1j * (cross - cross.T)
    else:
        full = total**2
    joined = mean[:k] + 1j * mean[k:]
    return joined, total, full, np.minimum(ess[:k], ess[k:]), np.fmax(khat[:k], khat[k:])
