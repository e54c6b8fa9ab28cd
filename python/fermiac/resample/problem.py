"""One statistic of one data set: its scheme, its exact law and its intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac._base.exponents import exponents, scaled
from fermiac.errors import ArgumentError
from fermiac.resample.callables import Function
from fermiac.resample.data import Data, take, units_of
from fermiac.resample.intervals import WITHOUT_DRAWS, Method, MethodName, Output, ends
from fermiac.resample.laws import (
    KnownLaw,
    law_of_huber,
    law_of_mean,
    law_of_quantile,
    law_of_ratio,
    unit_of,
)
from fermiac.resample.leave_one_out import Full, acceleration, full, leave_one_out
from fermiac.resample.result import Bootstrap
from fermiac.resample.schemes import MOutOfN, Scheme, Sieve, Stationary, saved
from fermiac.resample.series import effective_size, length, most_orders, of_blocks
from fermiac.resample.statistics import SCALES, Statistic, named
from fermiac.results.result import Finding

__all__ = ["METHODS_OF", "Intervals", "Problem"]

Array = NDArray[np.float64]
#: The methods of a scheme, the default first; other schemes have all of them. The default of blocks
#: is for statistics without an influence function.
METHODS_OF: dict[str, tuple[Method, ...]] = {
    "bayesian": ("percentile",),
    "stationary": ("expanded", "percentile", "basic", "studentised", "fixed_b"),
    "sieve": ("percentile", "basic", "studentised", "fixed_b"),
    "m_out_of_n": ("basic", "percentile"),
    "parametric": ("percentile", "basic"),
}
#: The smallest number of observations for a sieve.
_SIEVE_LEAST = 20


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
    scheme: Scheme
    #: Whether exact laws are used: True, False, or None for where nothing needs replicates.
    exact: bool | None
    first: Array | None = None

    @classmethod
    def loaded(cls, result: Bootstrap) -> Problem:
        """Return the problem of a loaded result."""
        statistic = named(result.statistic, result.core, result.parameters)
        x = result.data[0] if len(result.data) == 1 else tuple(result.data)
        paired = result.paired and statistic.kind != "pairs"
        data = take(x, statistic=statistic, paired=paired, coded=True)
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
        scheme = saved(result.scheme, result.scheme_parameters)
        return cls(data, statistic, scheme, exact if isinstance(exact, bool) else None)

    def fitted(self) -> Problem:
        """Return the problem with the scheme for its statistic, and with block lengths."""
        scheme, data, statistic = self.scheme, self.data, self.statistic
        name = self.name
        smooth = isinstance(statistic, Statistic) and self.is_sieve_t
        if scheme.name == "series":
            scheme = Sieve() if smooth else Stationary()
        if not scheme.is_series and not isinstance(scheme, MOutOfN):
            if isinstance(statistic, Statistic) and statistic.kind == "series":
                raise ArgumentError(
                    f"scheme: {scheme.name!r} given for {name!r}, which depends on the order of "
                    "observations; 'series' or 'sieve' is needed"
                )
            return replace(self, scheme=scheme)
        if data.clusters is not None:
            raise ArgumentError(
                f"clusters: given with the scheme {scheme.name!r}, which draws observations; leave "
                "out clusters="
            )
        if isinstance(scheme, MOutOfN):
            scheme.core(data.units.sizes)  # refuses too many draws
            return replace(self, scheme=scheme)
        if scheme.name == "sieve":
            if not (len(data.samples) == 1 and data.samples[0].ndim == 1 and data.plain):
                raise ArgumentError(
                    f"scheme: {scheme.name!r} given for data that are not one series of shape "
                    "(n,); 'stationary' takes several columns, and strata for several series"
                )
            n = len(data.samples[0])
            if n < _SIEVE_LEAST:
                raise ArgumentError(
                    f"x: {n} observations given for a sieve; at least {_SIEVE_LEAST} are needed"
                )
            if scheme.parameters and scheme.parameters[0] >= n // 4:
                raise ArgumentError(
                    f"most: {scheme.parameters[0]:g} given for {n} observations; less than a "
                    "quarter of them is needed"
                )
            if isinstance(statistic, Function) and statistic.weighted:
                raise ArgumentError(
                    "weights: True given for a sieve, whose series are not resamples of the data; "
                    "a function of batches is needed"
                )
            return replace(self, scheme=scheme)
        if isinstance(statistic, Statistic) and statistic.kind == "series":
            raise ArgumentError(
                f"scheme: {scheme.name!r} given for {name!r}, which would separate observations "
                "from their neighbours; 'series' or 'sieve' is needed"
            )
        if not scheme.parameters:
            scheme = Stationary(max(length(c) for columns in self.series for c in columns))
        shortest = int(data.units.sizes.min())
        if scheme.parameters[0] > shortest:
            raise ArgumentError(
                f"scheme: blocks of {scheme.parameters[0]:g} observations for a series of "
                f"{shortest}; shorter ones are needed"
            )
        return replace(self, scheme=scheme)

    @property
    def is_sieve_t(self) -> bool:
        """Whether a sieve can studentise the statistic."""
        if not isinstance(self.statistic, Statistic) or len(self.data.samples) != 1:
            return False
        core = self.statistic.core
        return self.data.samples[0].ndim == 1 and self.data.plain and (
            core == "autocorrelation" or (core == "mean" and self.statistic.kind == "one")
        )  # fmt: skip

    @cached_property
    def series(self) -> list[list[Array]]:
        """The columns that measure the dependence, for each stratum.

        They are the influences if the statistic has them, and the data otherwise.
        """
        units = self.data.units
        influence = self.full.influence
        if any(u is None for u in influence):
            if self.data.paired or len(self.data.samples) == 1:
                columns = [c for x in self.data.samples for c in x.reshape(len(x), -1).T]
            else:
                return [list(x.reshape(len(x), -1).T) for x in self.data.samples]
        else:
            columns = [u for u in influence if u is not None]
        if units.members is not None:
            columns = [u[units.members] for u in columns]
        bounds = zip(units.strata[:-1], units.strata[1:], strict=True)
        return [[u[a:b] for u in columns] for a, b in bounds]

    @cached_property
    def effective(self) -> float:
        """The effective sample size of the series."""
        with np.errstate(all="ignore"):
            return float(
                sum(min(effective_size(column) for column in columns) for columns in self.series)
            )

    def sieve(self, key: int) -> tuple[int, float, float, float, float]:
        """Return the fit of the sieve; see `_core.resample_sieve_fit`."""
        known = self.__dict__.setdefault("_sieves", {})
        if key not in known:
            x, lag, most = self.sieve_arguments()
            known[key] = _core.resample_sieve_fit(x, lag, most, key)
        return cast("tuple[int, float, float, float, float]", known[key])

    def sieve_arguments(self) -> tuple[Array, int, int]:
        """Return the series, the lag of the statistic and the largest order of the sieve."""
        x = np.ascontiguousarray(self.data.samples[0])
        most = int(self.scheme.parameters[0]) if self.scheme.parameters else most_orders(x.size)
        lagged = isinstance(self.statistic, Statistic) and self.statistic.kind == "series"
        lag = int(self.statistic.parameters[0]) if lagged else 0  # type: ignore[union-attr]
        return x, lag, most

    @property
    def name(self) -> str:
        """The name of the statistic."""
        return self.statistic.name

    @cached_property
    def exponents(self) -> Any:
        """The exponents of the unit of the statistic, in which all is computed."""
        if isinstance(self.statistic, Statistic):
            return self.data.exponents_of(self.statistic)
        assert self.first is not None
        found = exponents(self.first[None], 0)
        return int(found[0]) if self.scalar else found

    @cached_property
    def full(self) -> Full:
        """The statistic of the whole data."""
        if isinstance(self.statistic, Statistic):
            return full(self.data, self.statistic)
        assert self.first is not None
        return Full(scaled(self.first, self.exponents), [None] * self.first.size)

    @property
    def groups(self) -> int | None:
        """The groups of the jackknife of a function."""
        return self.statistic.groups if isinstance(self.statistic, Function) else None

    @cached_property
    def left_out(self) -> Array:
        """The statistic with each unit left out, shape (units, k)."""
        if isinstance(self.statistic, Statistic):
            return leave_one_out(self.data, self.statistic, self.full, resolve_threads(None))
        return scaled(self.statistic.leave_one_out(), self.exponents)

    @cached_property
    def accelerations(self) -> Array:
        """The acceleration of each output."""
        return acceleration(self.left_out, self.data, self.groups)

    @property
    def scalar(self) -> bool:
        """Whether the statistic has a single output without an axis."""
        if isinstance(self.statistic, Function):
            return not self.statistic.many
        kind = self.statistic.kind
        return kind != "regression" and (kind != "one" or self.data.samples[0].ndim == 1)

    def own_stderr(self, j: int) -> float:
        """Return the standard error of an output by the influence function."""
        influence = self.full.influence[j]
        if influence is None:
            return math.nan
        parts = self._parts(influence)
        if self.scheme.is_blocks:
            return math.hypot(*(of_blocks(self.scheme.parameters[0], part) for part in parts))
        variance = sum(p.size / (p.size - 1) * ((p - p.mean()) ** 2).sum() for p in parts)
        return math.sqrt(float(variance))

    def _parts(self, influence: Array) -> list[Array]:
        """Return the influences of the units of each stratum."""
        units = self.data.units
        u = influence if units.members is None else influence[units.members]
        if units.starts is not None:
            u = np.add.reduceat(u, units.starts[:-1])
        return np.split(u, units.strata[1:-1])

    def law(self, j: int) -> KnownLaw | None:
        """Return the exact law of an output, None where it is not known."""
        if (
            self.exact is False
            or self.scheme.name != "iid"
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
        core, parameters, columns = data.prepared(statistic)
        if core == "quantile" and data.plain:
            return law_of_quantile(columns[j], parameters[0])
        order = data.units.members
        edges = data.units.strata[1:-1]

        def parts(x: Array) -> list[Array]:
            """Return the numbers of each stratum."""
            return np.split(x if order is None else x[order], edges)

        if core == "ratio_of_means":
            return law_of_ratio(parts(columns[0]), parts(columns[1]))
        if core == "huber":
            return law_of_huber(parts(columns[j]), parameters[0], float(self.full.values[j]))
        if core not in ("mean", "mean_difference"):
            return None
        x = columns[j if core == "mean" else 0]
        unit = unit_of(x)
        if core == "mean":
            return law_of_mean(parts(x / x.size), unit and unit / x.size)
        n, m = data.sizes
        unit = unit and unit / math.lcm(n, m)
        return law_of_mean(parts(x * np.repeat([1 / n, -1 / m], [n, m])), unit)

    def choose(self, name: MethodName) -> Method:
        """Return the method of an interval; ``"auto"`` is replaced by the default."""
        statistic, data, scheme = self.statistic, self.data, self.scheme
        native = isinstance(statistic, Statistic)
        quantile = isinstance(statistic, Statistic) and statistic.quantile is not None
        influence = native and all(u is not None for u in self.full.influence)
        fixed = isinstance(statistic, Function) and not statistic.shortens
        offered = METHODS_OF.get(scheme.name)
        if name == "auto":
            if scheme.name == "sieve" and self.is_sieve_t:
                return "studentised"
            stable = isinstance(statistic, Statistic) and statistic.studentised and influence
            if scheme.is_blocks and stable:
                return "studentised"
            if offered is not None:
                return offered[0]
            if quantile and data.plain:
                return "order"
            if self._is_proportion():
                return "wilson"
            if stable:
                return "studentised"
            return "percentile" if fixed else "bca"
        if offered is not None and name not in offered:
            raise ArgumentError(
                f"method: {name!r} given for the scheme {scheme.name!r}; "
                f"{', '.join(map(repr, offered))} or 'auto' is needed"
            )
        mean = isinstance(statistic, Statistic) and statistic.kind == "one"
        if name == "fixed_b" and not (mean and scheme.is_series and self.is_sieve_t):
            raise ArgumentError(
                f"method: 'fixed_b' given for {self.name!r} and the scheme {scheme.name!r}; it is "
                "for the mean of one series, with a scheme of series such as 'sieve'"
            )
        if name == "bca" and fixed:
            raise ArgumentError(
                "method: 'bca' given for a C pointer or a torch module, which needs as many "
                "numbers as the data have, so no observation can be left out; 'percentile' is "
                "needed, or weights=True"
            )
        if scheme.name == "sieve":
            if name == "studentised" and not self.is_sieve_t:
                raise ArgumentError(
                    f"method: 'studentised' given for {self.name!r} and a sieve; it is for 'mean' "
                    "and 'autocorrelation'; use 'percentile' or 'auto'"
                )
            return name
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
        if self.statistic.name != "mean":
            return self.statistic.name == "accuracy"
        sample = self.data.samples[0]
        return bool(((sample == 0) | (sample == 1)).all())

    def needs_replicates(self, method: Method) -> bool:
        """Return whether an interval by a method takes replicates."""
        if method == "fixed_b":
            return False
        if self.exact is False or method == "studentised":
            return True
        return any(self.law(j) is None for j in range(self.full.values.size))

    def output(
        self, j: int, values: Array, errors: Array | None, key: int, law: bool = True
    ) -> Output:
        """Return one output with what its intervals need."""
        statistic, data = self.statistic, self.data
        column = values[:, j] if values.ndim > 1 else values
        error = None if errors is None else errors[:, j] if errors.ndim > 1 else errors
        defined = ~np.isnan(column)
        if not defined.all():
            column = column[defined]
            error = None if error is None else error[defined]
        native = statistic if isinstance(statistic, Statistic) else None
        estimate = centre = float(self.full.values[j])
        stderr, n = self.own_stderr(j), float(min(data.sizes))
        if isinstance(self.scheme, MOutOfN):
            column = estimate + self.scheme.shrink(data.units.sizes) * (column - estimate)
        if self.scheme.name == "sieve" and self.is_sieve_t:
            _, _, stderr, centre, _ = self.sieve(key)
        if self.scheme.is_blocks:
            n = max(min(n, self.effective), 2.0)
        name = self.name if self.full.values.size == 1 else f"{self.name}[{j}]"
        quantile = native.quantile if native is not None and data.plain else None
        sample = None
        if native is not None and quantile is not None:
            sample = data.columns(native)[j]
        if native is not None and native.core == "mean" and self.scheme.is_series:
            sample = data.columns(native)[j]
        return Output(
            name=name,
            estimate=estimate,
            centre=centre,
            values=column,
            errors=error,
            stderr=stderr,
            law=self.law(j) if law else None,
            acceleration=lambda: float(self.accelerations[j]),
            scale=SCALES[native.scale if native is not None else "identity"],
            n=n,
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
        key: int,
        outputs: list[Output] | None,
    ) -> Intervals:
        """Return the intervals of all outputs from replicates and exact laws."""
        method = self.choose(name)
        if name == "auto" and self.scheme.is_blocks and errors is None:
            method = METHODS_OF[self.scheme.name][0]
        k = self.full.values.size
        outputs = outputs or [self.output(j, values, errors, key) for j in range(k)]
        if method == "studentised" and errors is None:
            raise ArgumentError(
                "method: 'studentised' given, but the replicates have no standard errors; call "
                "fermiac.resample.bootstrap with method='studentised'"
            )
        if (
            any(o.law is None and not o.values.size for o in outputs)
            and method not in WITHOUT_DRAWS
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
        exact = method in WITHOUT_DRAWS or not drawn
        if self.scalar:
            mc = np.array([noise[0][0], noise[1][0]])
            lower, upper = float(lower[0]), float(upper[0])
        else:
            mc = np.array(noise)
        return Intervals(lower, upper, mc, ", ".join(dict.fromkeys(methods)), exact, found)
