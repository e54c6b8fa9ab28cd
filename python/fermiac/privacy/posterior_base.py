"""Base class of the privacy posteriors: a law's methods, intervals, summaries and draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac._base.calls import public
from fermiac._base.config import get_num_threads
from fermiac._base.progress import reporter
from fermiac._base.validate import (
    RngLike,
    choice,
    columns,
    key_of,
    numbers,
    probability,
    require,
    shown,
    unwrapped,
    whole,
)
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.privacy.checks import MOST, Array, confusion_counts, fraction
from fermiac.privacy.columns import PosteriorRows, figures_of, values_of
from fermiac.privacy.rates import Direction
from fermiac.results import html
from fermiac.results.intervals import KINDS, probabilities
from fermiac.results.result import Result, warn
from fermiac.results.reweight import PARTS
from fermiac.results.summary import Summary
from fermiac.runs.executor import ExecutorLike, require_executor, rows_by
from fermiac.runs.fingerprint import fingerprint
from fermiac.runs.parts import Part, part_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


__all__ = ["Posterior", "laws", "on", "rows_of_part"]

_KINDS = ("equal", "hpd", "lower", "upper")
_PRIORS = {"jeffreys": 0.5, "joint-dirichlet": 0.5, "uniform": 1.0}
#: With a smaller parameter, rates beyond the range of doubles have more than 1e-15 of the mass.
_LEAST = 0.05
#: The first stream of `Posterior.sample_rates`.
_STREAM = 2**32


def laws(
    call: str, table: Sequence[Array], prior: Any, **more: Array
) -> tuple[dict[str, Array], Mapping[str, Array]]:
    """Return the counts, which are checked, and the parameters of the laws of both rates.

    `more` is broadcast with them.
    """
    # Copies, so that later changes of the caller's arrays do not change the posterior.
    cells = zip(("tp", "fp", "fn", "tn"), table, strict=True)
    given = {name: x.copy() for name, x in cells}
    if isinstance(prior, str):
        p = np.asarray(_PRIORS[choice("prior", prior, tuple(_PRIORS))])
        pairs = [[p, p], [p, p]]
    else:
        try:
            pairs = [[numbers("prior", x) for x in pair] for pair in prior]
        except TypeError:
            pairs = []
        if [len(pair) for pair in pairs] != [2, 2]:
            names = ", ".join(map(repr, _PRIORS))
            raise ArgumentError(
                f"prior: {shown(prior)} was given; one of {names} is needed, or two pairs: "
                "(a, b) of the false-negative rate and (a, b) of the false-positive rate"
            )
        x = np.concatenate([np.ravel(x) for pair in pairs for x in pair])
        good = (x >= _LEAST) & (x <= MOST)
        require("prior", x, good, f"parameters from {_LEAST} to {MOST:g} are needed")
    (p1, q1), (p2, q2) = pairs
    labels = ("prior of fnr, a", "prior of fnr, b", "prior of fpr, a", "prior of fpr, b")
    arrays = dict(zip(labels, (p1, q1, p2, q2), strict=True))
    columns(call, **given, **{k: v for k, v in arrays.items() if v.ndim}, **more)
    return given, {
        "fnr_a": given["fn"] + p1,
        "fnr_b": given["tp"] + q1,
        "fpr_a": given["fp"] + p2,
        "fpr_b": given["tn"] + q2,
    }


class _Query:
    """A query at some rows, as the work of a shard."""

    def __init__(self, query: str, measure: str, direction: str) -> None:
        self._target = (query, measure, direction)

    def __call__(self, flat: list[Array], n: int) -> Array:
        """Return the answers, row by row."""
        # Arrays in the messages of some engines are not aligned.
        aligned = [np.require(column, np.float64, ["C", "A"]) for column in flat]
        return _core.privacy_posterior(*self._target, aligned, n, 1)


P = TypeVar("P", bound="Posterior")


def rows_of_part(
    call: str, part: Part | None, given: Mapping[str, Array], prior: Any, at: Any
) -> tuple[dict[str, Array], Any, Any, dict[str, Any]]:
    """Return the counts, the prior and the measure's argument of a part's rows, and its address."""
    if part is None:
        return dict(given), prior, at, {}
    pairs = [] if isinstance(prior, str) else [np.asarray(x, float) for pair in prior for x in pair]
    arrays = {**given, **{f"prior {i}": x for i, x in enumerate(pairs)}}
    if at is not None:
        arrays["at"] = at
    flat, shape, n = columns(call, **arrays)
    rows = part_of(part, n)
    cut = [x if x.size == 1 else x[rows.start : rows.stop] for x in flat]
    cut = [np.broadcast_to(x, len(rows)).copy() if i < len(given) else x for i, x in enumerate(cut)]
    own = dict(zip(given, cut, strict=False))
    more = cut[len(given) :]
    if pairs:
        a, b, c, d = (unwrapped(x.reshape(()) if x.size == 1 else x) for x in more[:4])
        prior = ((a, b), (c, d))
    of_call = fingerprint(call, prior if not pairs else None, shape, *flat)[:16]
    address = {
        "rows": (rows.start, rows.stop),
        "shape": tuple(int(size) for size in shape),
        "call": of_call,
    }
    point = more[-1] if at is not None else None
    if point is not None and point.size == 1:
        point = point.reshape(())
    return own, prior, point, {PARTS: address}


def on(executor: ExecutorLike | None, posterior: P) -> P:
    """Return a posterior whose rows are computed by the workers of an executor."""
    if executor is not None:
        object.__setattr__(posterior, "_rows_by", require_executor(executor))
    return posterior


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Posterior(Result):
    """The posterior of a measure of privacy: a law on nonnegative numbers.

    It may have an atom at 0. All methods broadcast their arguments against the shape of the
    posterior.
    """

    #: The measure, as the core and pictures call it.
    _measure: ClassVar[str]
    _symbol: ClassVar[str]

    tp: float | Array
    fp: float | Array
    fn: float | Array
    tn: float | Array
    prior: Any
    direction: Direction

    _layout: ClassVar[fit.Layout] = {
        "tp": fit.figures(),
        "fp": fit.figures(),
        "fn": fit.figures(),
        "tn": fit.figures(),
        "prior": fit.either(fit.text(), fit.listed(fit.listed(fit.figures()))),
        "direction": fit.text("both", "attack", "forward", "reverse"),
    }

    @property
    def _executor(self) -> ExecutorLike | None:
        """The executor; it belongs to this process, so it is neither a field nor saved."""
        return getattr(self, "_rows_by", None)

    @property
    def _given(self) -> Array:
        """The number at which the measure is evaluated."""
        return np.zeros(())

    @cached_property
    def _laws(self) -> Mapping[str, Array]:
        table = confusion_counts((self.tp, self.fp, self.fn, self.tn), None, None)
        return laws("posterior", table, self.prior)[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the posterior: the broadcast shape of its arguments."""
        arrays = [*self._laws.values(), self._given]
        return np.broadcast_shapes(*(np.shape(x) for x in arrays))

    def _ask(self, query: str, value: Array, width: int = 1) -> Any:
        flat, shape, n = columns(query, **self._laws, given=self._given, value=value)
        threads = get_num_threads()
        # A row takes tens of microseconds, so only many rows need a progress bar.
        with reporter(None if n > 20_000 else False, self._measure, "rows") as report:
            if self._executor is None:
                out = _core.privacy_posterior(
                    query, self._measure, self.direction, flat, n, threads, report
                )
            else:
                work = _Query(query, self._measure, self.direction)
                out = rows_by(work, flat, n, width, self._executor, report)
        return unwrapped(out.reshape(shape)) if width == 1 else out.reshape(*shape, width)

    def cdf(self, x: ArrayLike) -> Any:
        """Return P(measure ≤ x), including the atom at 0; 0 for x < 0."""
        return self._ask("cdf", numbers("x", x))

    def sf(self, x: ArrayLike) -> Any:
        """Return P(measure > x), accurate even if it is small."""
        return self._ask("sf", numbers("x", x))

    def prob_above(self, x: ArrayLike) -> Any:
        """Return P(measure > x): the probability that a claim of x is violated."""
        return self.sf(x)

    def odds_above(self, x: ArrayLike) -> Any:
        """Return the posterior odds P(measure > x) / P(measure ≤ x) of a violated claim."""
        x = numbers("x", x)
        return unwrapped(np.exp(np.asarray(self.logsf(x)) - np.asarray(self.logcdf(x))))

    def logcdf(self, x: ArrayLike) -> Any:
        """Return the logarithm of `cdf`."""
        return self._ask("logcdf", numbers("x", x))

    def logsf(self, x: ArrayLike) -> Any:
        """Return the logarithm of `sf`, also if `sf` underflows."""
        return self._ask("logsf", numbers("x", x))

    def logpdf(self, x: ArrayLike) -> Any:
        """Return the logarithm of the density of the continuous part; the atom has none."""
        return self._ask("logpdf", numbers("x", x))

    def log_density(self, x: ArrayLike) -> Any:
        """Return `logpdf`; `log_density` is its name for laws."""
        return self.logpdf(x)

    def pdf(self, x: ArrayLike) -> Any:
        """Return the density of the continuous part."""
        return unwrapped(np.exp(np.asarray(self.logpdf(x))))

    def ppf(self, q: ArrayLike) -> Any:
        """Return quantiles: the least x with P(measure ≤ x) ≥ q; 0 within the atom.

        Parameters
        ----------
        q : array_like
            Probabilities, in [0, 1].

        Raises
        ------
        ArgumentError
            If a probability is outside [0, 1].
        """
        return self._ask("ppf", fraction("q", q, zero=True, one=True))

    def quantile(self, q: ArrayLike) -> Any:
        """Return `ppf`."""
        return self.ppf(q)

    def isf(self, q: ArrayLike) -> Any:
        """Return upper quantiles: the least x with P(measure > x) ≤ q, accurate also for small q.

        Parameters
        ----------
        q : array_like
            Probabilities, in [0, 1].

        Raises
        ------
        ArgumentError
            If a probability is outside [0, 1].
        """
        return self._ask("isf", fraction("q", q, zero=True, one=True))

    def interval(self, prob: ArrayLike = 0.9, *, kind: str = "equal") -> tuple[Any, Any]:
        """Return credible intervals.

        Parameters
        ----------
        prob : array_like, default 0.9
            The probability of an interval, in [0, 1].
        kind : {"equal", "hpd", "lower", "upper"}, default "equal"
            Equal tails; the shortest interval, which has the highest density; one-sided, from a
            lower bound to infinity, or from 0 to an upper bound.

        Returns
        -------
        lower, upper : float or ndarray

        Raises
        ------
        ArgumentError
            If `prob` is not in [0, 1], or `kind` is another word.
        """
        p = fraction("prob", prob, zero=True, one=True)
        if choice("kind", kind, _KINDS) == "hpd":
            both = self._ask("shortest", p, 2)
            return unwrapped(both[..., 0]), unwrapped(both[..., 1])
        tail = (1 - p) / 2 if kind == "equal" else 1 - p
        # One end at least is a quantile, which has the shape of the interval.
        end = np.asarray(self.isf(tail) if kind == "upper" else self.ppf(tail))
        if kind == "upper":
            lower, upper = np.zeros(end.shape), end
        elif kind == "lower":
            lower, upper = end, np.full(end.shape, 1.0 if self._measure == "delta" else np.inf)
        else:
            lower, upper = end, np.asarray(self.isf(tail))
        return unwrapped(lower), unwrapped(upper)

    @cached_property
    def _moments(self) -> Array:
        found: Array = self._ask("moments", np.zeros(()), 3)
        off = np.abs(found[..., 2] - 1.0)
        if (off > 1.0e-6).any():
            text = (
                f"mean and variance leave out {off.max():.2g} of the probability; do not rely on "
                "them, and please report the counts; quantiles and probabilities are not affected"
            )
            warn([(ConvergenceWarning, text)], self)
        return found

    @property
    def mean(self) -> Any:
        """The mean, including the atom at 0."""
        return unwrapped(self._moments[..., 0])

    @property
    def variance(self) -> Any:
        """The variance, including the atom at 0."""
        return unwrapped(self._moments[..., 1])

    @property
    def std(self) -> Any:
        """The standard deviation."""
        return unwrapped(np.sqrt(self._moments[..., 1]))

    @cached_property
    def mode(self) -> Any:
        """The mode of the continuous part; 0 if the density decreases from 0 on."""
        return self._ask("mode", np.zeros(()))

    @cached_property
    def median(self) -> Any:
        """The median."""
        return self.ppf(0.5)

    @cached_property
    def prob_zero(self) -> Any:
        """The probability of the atom at 0."""
        return self.cdf(0.0)

    @public
    def columns(
        self,
        columns: Sequence[str] | Mapping[str, Any] = ("median", "lower", "upper"),
        *,
        prob: float = 0.9,
        kind: str = "equal",
    ) -> PosteriorRows:
        """Return figures as columns, with the address of their rows, for saving and merging.

        Parameters
        ----------
        columns : sequence of str, or mapping, default ("median", "lower", "upper")
            Figures among ``"mean"``, ``"std"``, ``"mode"``, ``"median"``, ``"prob_zero"``,
            ``"lower"`` and ``"upper"``, the ends of `interval`; or a mapping from names to figures
            or to pairs of a method and its argument, as ``{"risk": ("prob_above", 1.0)}``.
        prob : float, default 0.9
            The probability of the interval.
        kind : {"equal", "hpd", "lower", "upper"}, default "equal"
            The kind of the interval; see `interval`.

        Returns
        -------
        PosteriorRows
            One row for each posterior, in row-major order.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain.
        """
        figures = figures_of(columns)
        prob = probability("prob", prob, zero=True, one=True)
        choice("kind", kind, _KINDS)
        shape = self.shape
        address = self.settings.get(PARTS)
        n = int(np.prod(shape, dtype=np.int64)) if shape else 1
        found = {
            name: values.reshape(-1)
            for name, values in values_of(self, figures, prob, kind).items()
        }
        start, stop = (0, n) if address is None else address["rows"]
        total = n if address is None else int(np.prod(address["shape"], dtype=np.int64))
        call = (
            fingerprint(type(self).__name__, *self._laws.values(), self._given)[:16]
            if address is None
            else str(address["call"])
        )
        return PosteriorRows(
            seed=None,
            version=self.version,
            isa=self.isa,
            settings={PARTS: call, "direction": self.direction, "prob": prob, "kind": kind},
            n_evals=0,
            wall_time=0.0,
            array=np.stack(list(found.values()), axis=1),
            names=tuple(found),
            blocks=((int(start), int(stop)),),
            n_rows=total,
        )

    def check(self, x: ArrayLike) -> Any:
        """Return the change of `cdf` when the quadrature has twice as many nodes.

        It is a check of the numerical error, which is about 1e-13 or less.
        """
        return unwrapped(self._ask("refined", numbers("x", x), 2)[..., 1])

    def sample_rates(self, n: int, *, rng: RngLike = None) -> tuple[Array, Array]:
        """Draw error rates from their posterior.

        Parameters
        ----------
        n : int
            The number of draws of each rate.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed.

        Returns
        -------
        fnr, fpr : ndarray, shape (n, ...)
        """
        n, key = whole("n", n, 0, 2**40), key_of(rng)
        flat, shape, size = columns("sample", **self._laws, given=np.asarray(self._given))
        a, b, c, d = (np.broadcast_to(x, size) for x in flat[:4])
        out = np.empty((2, size, n))
        for i in range(size):
            _core.privacy_stream(key, _STREAM + 2 * i).fill_beta(out[0, i], a[i], b[i])
            _core.privacy_stream(key, _STREAM + 2 * i + 1).fill_beta(out[1, i], c[i], d[i])
        fnr, fpr = np.moveaxis(out, -1, 1).reshape(2, n, *shape)
        return fnr, fpr

    def sample(self, n: int, *, rng: RngLike = None) -> Array:
        """Draw from the posterior.

        Parameters
        ----------
        n : int
            The number of draws.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed.

        Returns
        -------
        ndarray, shape (n, ...)
        """
        return self._of_rates(*self.sample_rates(n, rng=rng))

    def _of_rates(self, fnr: Array, fpr: Array) -> Array:
        raise NotImplementedError

    def _headline(self) -> str:
        name = type(self).__name__
        if self.shape:
            return f"{name} of shape {self.shape}{self._at()}"
        low, high = self.interval(0.9)
        return f"{name}: {self.median:.6g}, 90 % interval {low:.6g} to {high:.6g}{self._at()}"

    def _at(self) -> str:
        return ""

    def _picture(self) -> str:
        if self.shape:
            return ""
        ends = self.ppf([0.001, 0.05, 0.95, 0.999])
        x = np.linspace(ends[0], ends[3], 60)
        return html.curve(x, self.pdf(x), ends[1], ends[2])

    def __repr__(self) -> str:
        lines = [self._first_line()]
        if not self.shape:
            lines.append(
                f"  tp {self.tp:g}, fp {self.fp:g}, fn {self.fn:g}, tn {self.tn:g}; "
                f"P({self._symbol} = 0) = {self.prob_zero:.3g}"
            )
        return "\n".join([*lines, f"  prior {self.prior!r}, direction {self.direction}"])

    def summary(self, *, prob: float = 0.9, kind: str = "equal") -> Summary:
        """Return a table with a line for each posterior: median, interval, mean, mode.

        Parameters
        ----------
        prob : float, default 0.9
            The probability of the interval.
        kind : {"equal", "hdi"}, default "equal"
            Equal tails, or the shortest interval; see `interval`.

        Returns
        -------
        Summary

        Raises
        ------
        ArgumentError
            If an argument is outside its domain.
        """
        tails = probabilities(prob)
        if choice("kind", kind, KINDS) == "hdi":
            ends = self.interval(prob, kind="hpd")
            titles = ["hdi low", "50 %", "hdi high"]
        else:
            ends = (self.ppf(tails[0]), self.ppf(tails[1]))
            titles = [f"{100 * tails[0]:.6g} %", "50 %", f"{100 * tails[1]:.6g} %"]
        titles += ["mean", "sd", "mode", f"P({self._symbol}=0)"]
        values = [
            ends[0], self.median, ends[1], self.mean, self.std, self.mode, self.prob_zero
        ]  # fmt: skip
        table = np.column_stack([np.ravel(v) for v in values])
        lines = ["".join(f"{title:>12}" for title in titles)]
        lines += ["".join(f"{x:>12.6g}" for x in row) for row in table]
        names = [
            self._symbol + (f"[{', '.join(map(str, index))}]" if index else "")
            for index in np.ndindex(self.shape)
        ]
        return Summary(
            names,
            {title.replace(" %", "%").replace(" ", "_"): column
             for title, column in zip(titles, table.T, strict=True)},
            lines=lines,
            foot=[f"{type(self).__name__}{self._at()}, prior {self.prior!r}"],
        )  # fmt: skip

    def plot(
        self, ax: Axes | None = None, *, prob: float = 0.9, claim: float | None = None
    ) -> Axes:
        """Draw the density with an interval, and a claimed value.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            The axes; of a new figure by default.
        prob : float, default 0.9
            The probability of the interval.
        claim : float, optional
            A claimed value; the probability above it is in the legend.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ArgumentError
            If there is more than one posterior here.
        ImportError
            If matplotlib is not installed.
        """
        drawn: Axes = registry.function("plotting", "plot_posterior")(
            self, ax, prob=prob, claim=claim
        )
        return drawn
