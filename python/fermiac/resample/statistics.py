"""The named statistics: their data, and the scales of their intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public_class
from fermiac._base.strategies import Strategies
from fermiac._base.validate import positive, probability, real, whole
from fermiac.targets.conversion import is_integrand

__all__ = [
    "SCALES",
    "STATISTICS",
    "Autocorrelation",
    "Huber",
    "Kind",
    "Quantile",
    "Scale",
    "Statistic",
    "StatisticName",
    "TrimmedMean",
    "named",
    "resolved",
]

Array = NDArray[np.float64]
#: Statistics of a confusion table.
CELLS = ("accuracy", "precision", "recall", "f1", "mcc", "kappa")
#: The powers of the unit of each sample in statistics with squares or sums of the data.
_DEGREES = {
    **dict.fromkeys(
        ("mean", "sd", "quantile", "iqr", "mad", "trimmed_mean", "huber", "mean_difference"), (1,)
    ),
    **dict.fromkeys(
        ("skewness", "kurtosis", "autocorrelation", "mean_ratio", "cohen_d", "welch_t"), (0,)
    ),
    "var": (2,),
    "pearson": (0, 0),
    "cov": (1, 1),
    "ratio_of_means": (1, -1),
    "slope_through_origin": (-1, 1),
    "ols": (-1, 1),
    "logistic": (-1, 0),
    "brier": (),
    "log_loss": (),
}
StatisticName: TypeAlias = Literal[
    "mean",
    "var",
    "sd",
    "median",
    "iqr",
    "mad",
    "trimmed_mean",
    "skewness",
    "kurtosis",
    "pearson",
    "spearman",
    "cov",
    "ratio_of_means",
    "slope_through_origin",
    "kendall",
    "ols",
    "logistic",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "mcc",
    "kappa",
    "brier",
    "log_loss",
    "concordance",
    "auc",
    "mean_difference",
    "mean_ratio",
    "cohen_d",
    "welch_t",
    "huber",
    "autocorrelation",
]
#: The samples of a statistic: one, whose columns are outputs; two columns of pairs; two samples;
#: the rows of a design and outcomes; outcomes, scores and events; one series.
Kind: TypeAlias = Literal["one", "pairs", "two", "regression", "survival", "series"]


@dataclass(frozen=True)
class Scale:
    """A scale on which the error of a statistic depends little on its value."""

    name: str
    to: Callable[[Array], Array]
    back: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def _same(x: Array) -> Array:
    return x


SCALES = {
    scale.name: scale
    for scale in (
        Scale("identity", _same, _same, np.ones_like),
        Scale("log", np.log, np.exp, lambda x: 1 / x),
        Scale("artanh", np.arctanh, np.tanh, lambda x: 1 / (1 - x * x)),
        Scale(
            "logit",
            lambda x: np.log(x) - np.log1p(-x),
            lambda y: 1 / (1 + np.exp(-y)),
            lambda x: 1 / (x * (1 - x)),
        ),
    )
}


@dataclass(frozen=True)
class Statistic:
    """A named statistic, which the core computes from data and weights."""

    name: str
    core: str = field(repr=False, default="")
    parameters: tuple[float, ...] = ()
    kind: Kind = field(repr=False, default="one")
    scale: str = field(repr=False, default="identity")
    #: Whether its studentised interval is the default.
    studentised: bool = field(repr=False, default=False)
    #: The highest moment of the data that must be finite for a standard error.
    moment: int = field(repr=False, default=0)
    #: The fewest observations of a sample.
    least: int = field(repr=False, default=2)

    @property
    def paired(self) -> bool:
        """Whether its samples are columns of the same observations."""
        return self.kind in ("pairs", "regression", "survival")

    @property
    def of_cells(self) -> bool:
        """Whether it is a statistic of a confusion table."""
        return self.core in CELLS

    @property
    def degrees(self) -> tuple[int, ...]:
        """The powers of the unit of each sample; () if it does not depend on units."""
        return _DEGREES.get(self.name, _DEGREES.get(self.core, ()))

    @property
    def quantile(self) -> float | None:
        """The probability of a quantile, None for other statistics."""
        return self.parameters[0] if self.core == "quantile" else None


@dataclass(frozen=True, init=False)
class Quantile(Statistic):
    """A quantile of a sample, linearly interpolated: type 7 of Hyndman and Fan [1]_.

    Parameters
    ----------
    q : float
        The probability, above 0 and below 1.

    Raises
    ------
    ArgumentError
        If `q` is outside its domain.

    References
    ----------
    .. [1] R. J. Hyndman, Y. Fan, "Sample quantiles in statistical packages", The American
       Statistician, 1996, doi:10.1080/00031305.1996.10473566.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).exponential(200)
    >>> r = fm.resample.bootstrap(x, fm.resample.Quantile(0.9), rng=0)
    >>> r.lower < r.estimate < r.upper
    True
    """

    def __init__(self, q: float) -> None:
        at = probability("q", q)
        super().__init__(f"quantile({at:g})", "quantile", (at,))


@dataclass(frozen=True, init=False)
class TrimmedMean(Statistic):
    """The mean without a share of the observations at each end [1]_.

    Parameters
    ----------
    share : float, default 0.1
        The share that is cut off at each end, from 0 to less than 0.5. The number of observations
        is rounded down.

    Raises
    ------
    ArgumentError
        If `share` is outside its domain.

    References
    ----------
    .. [1] S. M. Stigler, "The asymptotic distribution of the trimmed mean", Annals of Statistics,
       1973, doi:10.1214/aos/1176342412.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = [1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 99.0]
    >>> round(fm.resample.jackknife(x, fm.resample.TrimmedMean(0.1)).estimate, 4)
    3.8125
    """

    def __init__(self, share: float = 0.1) -> None:
        cut = real("share", share, "a number from 0 to less than 0.5 is needed",
                   lambda s: 0 <= s < 0.5)  # fmt: skip
        super().__init__(f"trimmed_mean({cut:g})", "trimmed_mean", (cut,), "one", "identity",
                         False, 2, 3)  # fmt: skip


@dataclass(frozen=True, init=False)
class Huber(Statistic):
    """Huber's estimate of location with a fixed scale [1]_.

    Parameters
    ----------
    k : float, default 1.345
        Deviations larger than k scales are replaced by k scales; above 0.
    scale : float, optional
        The scale, above 0. Default: 1.4826 times the median absolute deviation of the data. It is
        the same in all resamples.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or half of the data are equal and no scale is given.

    References
    ----------
    .. [1] P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical
       Statistics, 1964, doi:10.1214/aoms/1177703732.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = [1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 99.0]
    >>> round(fm.resample.jackknife(x, fm.resample.Huber()).estimate, 4)
    3.8125
    """

    def __init__(self, k: float = 1.345, scale: float | None = None) -> None:
        cut = positive("k", k)
        own = () if scale is None else (positive("scale", scale),)
        super().__init__(f"huber({cut:g})", "huber", (cut, *own), "one", "identity", True, 0, 4)


@dataclass(frozen=True, init=False)
class Autocorrelation(Statistic):
    """The autocorrelation of a series at a lag.

    Parameters
    ----------
    lag : int, default 1
        At least 1, and less than the number of observations.

    Raises
    ------
    ArgumentError
        If `lag` is outside its domain.

    Notes
    -----
    The standard error is Bartlett's [1]_, with the autocorrelations of a fitted autoregression.

    References
    ----------
    .. [1] M. S. Bartlett, "On the theoretical specification and sampling properties of
       autocorrelated time-series", Supplement to the Journal of the Royal Statistical Society,
       1946, doi:10.2307/2983611.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).normal(200)
    >>> r = fm.resample.bootstrap(x, fm.resample.Autocorrelation(2), scheme="sieve", rng=0)
    >>> r.lower < r.estimate < r.upper
    True
    """

    def __init__(self, lag: int = 1) -> None:
        at = whole("lag", lag, 1, 2**31)
        super().__init__(f"autocorrelation({at})", "autocorrelation", (float(at),), "series",
                         "artanh", True, 0, 20)  # fmt: skip


for _kind in (Quantile, TrimmedMean, Huber, Autocorrelation):
    public_class(_kind)


def _statistic(
    name: str,
    kind: Kind = "one",
    scale: str = "identity",
    studentised: bool = True,
    moment: int = 2,
    least: int = 2,
) -> Callable[[], Statistic]:
    made = Statistic(name, name, (), kind, scale, studentised, moment, least)
    return lambda: made


_MEDIAN = Statistic("median", "quantile", (0.5,))
#: Statistics that are other statistics of transformed data.
_SLOPE = Statistic("slope_through_origin", "ratio_of_means", (), "pairs", "identity", True, 4)
_BRIER = Statistic("brier", "mean", (), "pairs", "identity", True, 0)
_LOG_LOSS = Statistic("log_loss", "mean", (), "pairs", "identity", True, 2)
_OLS = Statistic("ols", "regression", (), "regression", "identity", True, 4, 4)
_LOGISTIC = Statistic("logistic", "regression", (), "regression", "identity", True, 0, 8)
STATISTICS: Strategies[Statistic] = Strategies(
    "statistic",
    Statistic,
    {
        "mean": _statistic("mean"),
        "var": _statistic("var", scale="log", moment=4, least=3),
        "sd": _statistic("sd", scale="log", moment=4, least=3),
        "median": lambda: _MEDIAN,
        "iqr": _statistic("iqr", studentised=False, moment=0, least=4),
        "mad": _statistic("mad", studentised=False, moment=0, least=4),
        "trimmed_mean": TrimmedMean,
        "skewness": _statistic("skewness", studentised=False, moment=6, least=4),
        "kurtosis": _statistic("kurtosis", studentised=False, moment=8, least=4),
        "pearson": _statistic("pearson", "pairs", "artanh", least=4, moment=4),
        "spearman": _statistic("spearman", "pairs", studentised=False, least=4, moment=0),
        **{
            name: _statistic(name, "pairs", scale, moment=0, least=4)
            for name, scale in (
                ("accuracy", "logit"),
                ("precision", "logit"),
                ("recall", "logit"),
                ("f1", "logit"),
                ("mcc", "artanh"),
                ("kappa", "artanh"),
            )
        },
        "cov": _statistic("cov", "pairs", least=3, moment=4),
        "ratio_of_means": _statistic("ratio_of_means", "pairs"),
        "slope_through_origin": lambda: _SLOPE,
        "kendall": _statistic("kendall", "pairs", "artanh", least=4, moment=0),
        "ols": lambda: _OLS,
        "logistic": lambda: _LOGISTIC,
        "brier": lambda: _BRIER,
        "log_loss": lambda: _LOG_LOSS,
        "concordance": _statistic("concordance", "survival", "logit", least=4, moment=0),
        "auc": _statistic("auc", "two", "logit", moment=0),
        "mean_difference": _statistic("mean_difference", "two"),
        "mean_ratio": _statistic("mean_ratio", "two", studentised=False),
        "cohen_d": _statistic("cohen_d", "two", studentised=False, moment=4),
        "welch_t": _statistic("welch_t", "two", studentised=False, moment=4),
        "huber": Huber,
        "autocorrelation": Autocorrelation,
    },
    "fermiac.resample.Quantile(0.9)",
)


def resolved(given: Any) -> Statistic | None:
    """Return a named statistic, or None for a callable."""
    if is_integrand(given) and not isinstance(given, Statistic | type):
        return None
    return STATISTICS.resolve(given)


def named(name: str, core: str, parameters: tuple[float, ...]) -> Statistic:
    """Return the statistic of a saved result."""
    if core == "quantile" and name != "median":
        return Quantile(*parameters)
    if core == "trimmed_mean":
        return TrimmedMean(*parameters)
    if core == "huber":
        return Huber(*parameters)
    if core == "autocorrelation":
        return Autocorrelation(int(parameters[0]))
    return STATISTICS.resolve(name)
