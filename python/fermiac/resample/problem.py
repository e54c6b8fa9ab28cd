"""One statistic of one data set: its replicates, its exact law and its intervals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac._base.progress import Report, finish, reporter
from fermiac.errors import ArgumentError, FermiacWarning, HeavyTailWarning
from fermiac.resample.callables import Function
from fermiac.resample.data import Data, take, units_of
from fermiac.resample.intervals import Method, MethodName, Output, ends
from fermiac.resample.laws import KnownLaw, law_of_mean, law_of_quantile
from fermiac.resample.leave_one_out import Full, acceleration, full, leave_one_out
from fermiac.resample.result import Bootstrap
from fermiac.resample.statistics import SCALES, Statistic, named
from fermiac.results.result import Finding, warn

__all__ = ["Intervals", "Problem"]

Array = NDArray[np.float64]
#: Observations from which on the tail of a sample is judged, the shape that is too heavy for a
#: variance, and the least that is too heavy for any moment: estimates of shapes are rough.
_FROM, _HEAVY, _LEAST_HEAVY = 100, 0.7, 0.5
#: Observations below which intervals are not to be relied on.
_FEW = 10


class Intervals(NamedTuple):
    """The ends of the intervals of all outputs."""

    lower: Any
    upper: Any
    mc_error: Array
    method: str
    exact: bool
    found: list[Finding]


@dataclass(frozen=True)
class Problem:
    """A statistic with its data and the scheme of its resamples."""

    data: Data
    statistic: Statistic | Function
    scheme: str
    #: Whether exact laws are used: True, False, or None for where nothing needs replicates.
    exact: bool | None
    first: Array | None = None

    @classmethod
    def loaded(cls, result: Bootstrap) -> Problem:
        """Return the problem of a loaded result."""
        statistic = named(result.statistic, result.core, result.parameters)
        x = result.data[0] if len(result.data) == 1 else tuple(result.data)
        data = take(x, statistic=statistic, paired=result.paired and statistic.kind != "pairs")
        sizes = [len(data.samples[0])] if data.paired else list(data.sizes)
        for name, codes in (("strata", result.strata), ("clusters", result.clusters)):
            if codes is not None and codes.shape != (sum(sizes),):
                raise ArgumentError(
                    f"{name}: {codes.size} codes for {sum(sizes)} observations in the loaded "
                    "result; it does not fit together"
                )
        units = units_of(sizes, result.strata, result.clusters)
        data = replace(data, strata=result.strata, clusters=result.clusters, units=units)
        exact = result.settings.get("exact")
        return cls(data, statistic, result.scheme, exact if isinstance(exact, bool) else None)

    @property
    def name(self) -> str:
        """The name of the statistic."""
        return self.statistic.name if isinstance(self.statistic, Statistic) else "function"

    @cached_property
    def full(self) -> Full:
        """The statistic of the whole data."""
        if isinstance(self.statistic, Statistic):
            return full(self.data, self.statistic)
        assert self.first is not None
        return Full(self.first, [None] * self.first.size)

    @cached_property
    def left_out(self) -> Array:
        """The statistic with each unit left out, shape (units, k)."""
        if isinstance(self.statistic, Statistic):
            return leave_one_out(self.data, self.statistic, self.full, resolve_threads(None))
        return self.statistic.leave_one_out()

    @cached_property
    def accelerations(self) -> Array:
        """The acceleration of each output."""
        return acceleration(self.left_out, self.data)

    @property
    def scalar(self) -> bool:
        """Whether the statistic has a single output without an axis."""
        if isinstance(self.statistic, Function):
            return not self.statistic.many
        return self.statistic.kind != "one" or self.data.samples[0].ndim == 1

    def own_stderr(self, j: int) -> float:
        """Return the standard error of an output by the influence function."""
        influence = self.full.influence[j]
        if influence is None:
            return math.nan
        units = self.data.units
        u = influence if units.members is None else influence[units.members]
        if units.starts is not None:
            u = np.add.reduceat(u, units.starts[:-1])
        parts = np.split(u, units.strata[1:-1])
        variance = sum(p.size / (p.size - 1) * ((p - p.mean()) ** 2).sum() for p in parts)
        return math.sqrt(float(variance))

    def law(self, j: int) -> KnownLaw | None:
        """Return the exact law of an output, None where it is not known."""
        if (
            self.exact is False
            or self.scheme != "iid"
            or not isinstance(self.statistic, Statistic)
            or not self.data.units.single
        ):
            return None
        return self._laws(j)

    def _laws(self, j: int) -> KnownLaw | None:
        known = self.__dict__.setdefault("_known", {})
        if j not in known:
            known[j] = self._law(j)
        return cast("KnownLaw | None", known[j])

    def _law(self, j: int) -> KnownLaw | None:
        assert isinstance(self.statistic, Statistic)
        statistic, data = self.statistic, self.data
        if statistic.core == "quantile" and data.plain:
            return law_of_quantile(data.columns(statistic)[j], statistic.parameters[0])
        if statistic.core not in ("mean", "mean_difference"):
            return None
        x = data.columns(statistic)[j if statistic.core == "mean" else 0]
        if statistic.core == "mean":
            shares = x / x.size
        else:
            n, m = data.sizes
            shares = x * np.repeat([1 / n, -1 / m], [n, m])
        ordered = shares if data.units.members is None else shares[data.units.members]
        return law_of_mean(np.split(ordered, data.units.strata[1:-1]))

    def choose(self, name: MethodName) -> Method:
        """Return the method of an interval; for ``"auto"`` a valid one."""
        statistic, data = self.statistic, self.data
        native = isinstance(statistic, Statistic)
        quantile = isinstance(statistic, Statistic) and statistic.quantile is not None
        influence = native and all(u is not None for u in self.full.influence)
        if name == "auto":
            if self.scheme == "bayesian":
                return "percentile"
            if quantile and data.plain:
                return "order"
            if self._is_proportion():
                return "wilson"
            if isinstance(statistic, Statistic) and statistic.studentised and influence:
                return "studentised"
            return "bca"
        if self.scheme == "bayesian" and name not in ("percentile", "normal"):
            raise ArgumentError(
                f"method: {name!r} given for scheme='bayesian', whose replicates are draws of a "
                "posterior; 'percentile', 'normal' or 'auto' is needed"
            )
        refused = {
            "order": None if quantile and data.plain else "quantiles of whole samples",
            "wilson": None if self._is_proportion() else "means of zeros and ones, and accuracies",
            "studentised": None if influence else "statistics with an influence function: 'mean', "
            "'var', 'sd', 'pearson', 'auc' and others",
        }  # fmt: skip
        if (only := refused.get(name)) is not None:
            raise ArgumentError(
                f"method: {name!r} given for {self.name!r}; it is for {only}; 'bca' or 'auto' "
                "will do"
            )
        return name

    def _is_proportion(self) -> bool:
        if not (isinstance(self.statistic, Statistic) and self.data.plain):
            return False
        if self.statistic.core != "mean":
            return self.statistic.core == "accuracy"
        sample = self.data.samples[0]
        return bool(((sample == 0) | (sample == 1)).all())

    def needs_replicates(self, method: Method) -> bool:
        """Return whether an interval by a method takes replicates."""
        if self.exact is False or method == "studentised":
            return True
        return any(self.law(j) is None for j in range(self.full.values.size))

    def output(self, j: int, values: Array, errors: Array | None, law: bool = True) -> Output:
        """Return one output with what its intervals need."""
        statistic, data = self.statistic, self.data
        column = values[:, j] if values.ndim > 1 else values
        error = None if errors is None else errors[:, j] if errors.ndim > 1 else errors
        defined = ~np.isnan(column)
        if not defined.all():
            column = column[defined]
            error = None if error is None else error[defined]
        native = statistic if isinstance(statistic, Statistic) else None
        name = self.name if self.full.values.size == 1 else f"{self.name}[{j}]"
        quantile = native.quantile if native is not None and data.plain else None
        sample = None
        if native is not None and quantile is not None:
            sample = data.columns(native)[j]
        return Output(
            name=name,
            estimate=float(self.full.values[j]),
            values=column,
            errors=error,
            stderr=self.own_stderr(j),
            law=self.law(j) if law else None,
            acceleration=lambda: float(self.accelerations[j]),
            scale=SCALES[native.scale if native is not None else "identity"],
            n=min(data.sizes),
            sample=sample,
            q=quantile,
            pairs=(
                (data.sizes[0], data.sizes[1])
                if native is not None and native.core == "auc"
                else None
            ),
        )

    def intervals(
        self,
        values: Array,
        errors: Array | None,
        name: MethodName,
        prob: float,
        outputs: list[Output] | None,
    ) -> Intervals:
        """Return the intervals of all outputs from replicates and exact laws."""
        method = self.choose(name)
        k = self.full.values.size
        outputs = outputs or [self.output(j, values, errors) for j in range(k)]
        if method == "studentised" and errors is None:
            raise ArgumentError(
                "method: 'studentised' given, but the replicates have no standard errors; call "
                "fermiac.resample.bootstrap with method='studentised'"
            )
        if any(o.law is None and not o.values.size for o in outputs) and method not in (
            "order",
            "wilson",
        ):
            raise ArgumentError(
                f"method: {method!r} given, but there are no replicates; extend the result first"
            )
        found: list[Finding] = []
        rows, methods = [], []
        for output in outputs:
            if method == "studentised" and not output.values.size:
                raise ArgumentError(
                    "method: 'studentised' given, but there are no replicates; extend the result "
                    "first"
                )
            row, used = ends(output, method, prob)
            rows.append(row)
            methods.append(used)
            found += output.found
        lower, upper, *noise = np.array(rows, dtype=float).T
        drawn = method == "studentised" or any(o.law is None for o in outputs)
        exact = method in ("order", "wilson") or not drawn
        if self.scalar:
            mc = np.array([noise[0][0], noise[1][0]])
            lower, upper = float(lower[0]), float(upper[0])
        else:
            mc = np.array(noise)
        return Intervals(lower, upper, mc, ", ".join(dict.fromkeys(methods)), exact, found)

    def doubts(self, method: Method) -> list[Finding]:
        """Return the reasons for doubt in the data."""
        found: list[Finding] = []
        data, statistic = self.data, self.statistic
        n = int(min(data.units.sizes))
        moment = statistic.moment if isinstance(statistic, Statistic) else 0
        if n < _FEW and method not in ("order", "wilson"):
            what = "observations" if data.units.single else "clusters"
            found.append((
                FermiacWarning,
                f"{n} {what} are few for an interval of {self.name!r}: its coverage may be below "
                f"the nominal one",
            ))  # fmt: skip
        if moment and method not in ("order", "wilson"):
            for sample in data.samples:
                for column in sample.reshape(len(sample), -1).T[:64]:
                    if len(column) < _FROM:
                        continue
                    shape = _tail(column)
                    if shape > max(2 * _HEAVY / moment, _LEAST_HEAVY):
                        found.append((
                            HeavyTailWarning,
                            f"{self.name!r} needs moments of order {moment}, which may not exist: "
                            f"the tail of the data has the shape {shape:.2f}; use 'median' or "
                            "'trimmed_mean'",
                        ))  # fmt: skip
                        return found
        return found

    def draw(
        self, first: int, n: int, errors: bool, key: int, workers: int, report: Report | None
    ) -> tuple[Array, Array | None, BaseException | None]:
        """Return replicates and their standard errors, and the reason for the end."""
        k = self.full.values.size
        if isinstance(self.statistic, Statistic):
            flat, spread, error = _core.resample_bootstrap(
                self.statistic.core,
                list(self.statistic.parameters),
                self.data.columns(self.statistic),
                self.data.units.core(self.scheme),
                first,
                n,
                errors,
                key,
                workers,
                report,
            )
            values = flat.reshape(-1, k)
            return values, spread.reshape(-1, k) if errors else None, error
        values = np.empty((n, k))
        done, stopped = 0, None
        try:
            while done < n:
                now = min(self.statistic.rows, n - done)
                values[done : done + now] = self.statistic.replicates(
                    self.scheme, first + done, now, key, workers
                )
                done += now
                if report is not None:
                    report(done, n)
        except KeyboardInterrupt as error:
            stopped = error
        return values[:done], None, stopped

    def run(
        self,
        *,
        n_total: int,
        start: Bootstrap | None,
        prob: float,
        method: str,
        key: int,
        n_threads: int | None,
        progress: bool | Report | None,
        began: float,
        settings: Mapping[str, Any],
        tolerance: float | None = None,
    ) -> Bootstrap:
        """Return the result of replicates up to a total, after those of an earlier result."""
        workers = resolve_threads(n_threads)
        name = cast(MethodName, method)
        chosen = self.choose(name)
        k = self.full.values.size
        values, errors = np.empty((0, k)), None
        influence = all(u is not None for u in self.full.influence)
        with_errors = chosen == "studentised" or (influence and name == "auto")
        if start is not None:
            values = start.replicates.reshape(-1, k)
            errors = None
            if start.replicate_stderrs is not None:
                errors = start.replicate_stderrs.reshape(-1, k)
            with_errors = errors is not None or (not len(values) and with_errors)
        stopped: BaseException | None = None
        wanted = n_total if start is not None or self.needs_replicates(chosen) else 0
        if chosen in ("order", "wilson") and start is None and self.exact is not False:
            wanted = 0
        found_interval: Intervals | None = None
        with reporter(progress, "bootstrap", "resamples") as report:
            while True:
                if wanted > len(values):
                    more, spread, stopped = self.draw(
                        len(values), wanted - len(values), with_errors, key, workers, report
                    )
                    values = np.concatenate([values, more])
                    if spread is not None:
                        errors = spread if errors is None else np.concatenate([errors, spread])
                if stopped is not None and not isinstance(stopped, KeyboardInterrupt):
                    raise stopped
                if stopped is not None and len(values) < 2:
                    stopped.partial_result = None  # type: ignore[attr-defined]
                    raise stopped
                # If there are replicates, all figures are computed from them.
                outputs = [self.output(j, values, errors, not len(values)) for j in range(k)]
                found_interval = self.intervals(values, errors, name, prob, outputs)
                worst = float(np.nanmax(found_interval.mc_error, initial=0.0))
                if stopped is not None or tolerance is None or worst <= tolerance or not wanted:
                    break
                growth = min(max((worst / tolerance) ** 2 * 1.1, 1.5), 8.0)
                wanted = math.ceil(len(values) * growth)
            result = self._result(
                found_interval, outputs, values, errors, prob, chosen, key, began, settings, stopped
            )
            if stopped is not None:
                stopped.partial_result = result  # type: ignore[attr-defined]
                raise stopped
            finish(report, max(wanted, 1), result)
        return result

    def _result(
        self,
        made: Intervals,
        outputs: list[Output],
        values: Array,
        errors: Array | None,
        prob: float,
        method: Method,
        key: int,
        began: float,
        settings: Mapping[str, Any],
        stopped: BaseException | None,
    ) -> Bootstrap:
        found = [*made.found, *self.doubts(method)]
        lost = len(values) * len(outputs) - sum(o.values.size for o in outputs)
        if lost:
            found.append((
                FermiacWarning,
                f"{self.name!r} is not defined in {lost} resamples, which were left out",
            ))  # fmt: skip
        sds = np.array([o.sd() if o.law is not None or o.values.size > 1 else np.nan
                        for o in outputs])  # fmt: skip
        means = np.array([o.law.mean if o.law is not None
                          else o.values.mean() if o.values.size else np.nan
                          for o in outputs])  # fmt: skip
        bias = means - self.full.values
        # A bias this small is rounding error of zero.
        bias[np.abs(bias) < 1e-13 * (np.abs(self.full.values) + sds)] = 0.0
        one: Callable[[Array], Any] = (lambda a: float(a[0])) if self.scalar else np.asarray
        native = self.statistic if isinstance(self.statistic, Statistic) else None
        shape: Callable[[Array], Array] = (lambda a: a[:, 0]) if self.scalar else np.asarray
        result = Bootstrap(
            statistic=self.name,
            estimate=one(self.full.values),
            stderr=one(sds),
            bias=one(bias),
            lower=made.lower,
            upper=made.upper,
            prob=prob,
            method=made.method,
            mc_error=made.mc_error,
            replicates=np.ascontiguousarray(shape(values)),
            replicate_stderrs=None if errors is None else np.ascontiguousarray(shape(errors)),
            exact=made.exact,
            scheme=self.scheme,
            n_resamples=len(values),
            core=native.core if native is not None else "",
            parameters=native.parameters if native is not None else (),
            warnings=tuple(text for _, text in found),
            seed=key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=settings,
            n_evals=0 if native is not None else len(values) + 1,
            wall_time=time.perf_counter() - began,
            status="complete" if stopped is None else "interrupted",
            **self.data.saved(),
        )
        object.__setattr__(result, "_problem", self)
        if stopped is None:
            warn(found, result)
        return result


def _tail(x: Array) -> float:
    """Return the larger shape of the two tails of a sample; -inf if it has no tail."""
    d = x - np.median(x)
    shapes = []
    for side in (d, -d):
        positive = side[side > 0]
        if positive.size >= 50:
            shapes.append(_core.khat(np.ascontiguousarray(positive)))
    finite = [s for s in shapes if math.isfinite(s)]
    return max(finite, default=-math.inf)
