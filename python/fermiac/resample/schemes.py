"""Resampling schemes: i.i.d. and Bayesian, blocks, sieves, m out of n, parametric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public_class
from fermiac._base.strategies import Strategies
from fermiac._base.validate import real, shown, whole
from fermiac.errors import ArgumentError

__all__ = [
    "BAYESIAN",
    "IID",
    "SCHEMES",
    "SERIES",
    "MOutOfN",
    "Parametric",
    "Replay",
    "Scheme",
    "SchemeName",
    "Sieve",
    "Stationary",
    "saved",
]

SchemeName: TypeAlias = Literal["iid", "bayesian", "series", "sieve", "stationary"]
SERIES = ("stationary", "sieve")
_LONGEST = 2**40


@dataclass(frozen=True)
class Scheme:
    """A scheme of resampling."""

    name: str
    parameters: tuple[float, ...] = field(default=(), repr=False)

    @property
    def is_series(self) -> bool:
        """Whether the observations are a series."""
        return self.name in SERIES

    @property
    def is_blocks(self) -> bool:
        """Whether it draws blocks of neighbours."""
        return self.name == "stationary"

    @property
    def is_free(self) -> bool:
        """Whether its samples are new observations instead of draws from the data."""
        return self.name in ("sieve", "parametric")

    def core(self, sizes: NDArray[np.int64]) -> dict[str, Any]:
        """Return the law of the weights as the core takes it, for strata of these sizes."""
        laws = {"bayesian": "dirichlet", "stationary": "stationary"}
        return {
            "law": laws.get(self.name, "counts"),
            "length": self.parameters[0] if self.is_blocks else 0.0,
            "draws": None,
            "shares": None,
        }


def _is_length(v: float) -> bool:
    return 1 <= v <= _LONGEST


@dataclass(frozen=True, init=False)
class Stationary(Scheme):
    """Blocks of neighbours with geometric lengths on a circle: the stationary bootstrap [1]_.

    Parameters
    ----------
    length : float, optional
        The mean number of observations of a block, at least 1. Default: `block_length` of the
        data.

    Raises
    ------
    ArgumentError
        If `length` is outside its domain.

    References
    ----------
    .. [1] D. N. Politis, J. P. Romano, "The stationary bootstrap", Journal of the American
       Statistical Association, 1994, doi:10.1080/01621459.1994.10476870.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).normal(200)
    >>> r = fm.resample.bootstrap(x, "median", scheme=fm.resample.Stationary(6.5), rng=0)
    >>> r.scheme, r.lower < r.estimate < r.upper
    ('stationary', True)
    """

    def __init__(self, length: float | None = None) -> None:
        needed = "a number of at least 1 is needed, or None for a length from the data"
        given = () if length is None else (real("length", length, needed, _is_length),)
        super().__init__("stationary", given)


@dataclass(frozen=True, init=False)
class Sieve(Scheme):
    """Series of an autoregression with resampled innovations [1]_.

    The order is chosen by Akaike's corrected criterion, in the data and in each new series. The
    bias of the partial autocorrelations is estimated in series of the fit and subtracted [2]_.

    Parameters
    ----------
    most : int, optional
        The largest order. Default: 10 log₁₀ n, and at most n / 10.

    Raises
    ------
    ArgumentError
        If `most` is outside its domain.

    References
    ----------
    .. [1] P. Bühlmann, "Sieve bootstrap for time series", Bernoulli, 1997, doi:10.2307/3318584.
    .. [2] L. Kilian, "Small-sample confidence intervals for impulse response functions", Review of
       Economics and Statistics, 1998, doi:10.1162/003465398557465.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).normal(200)
    >>> r = fm.resample.bootstrap(x, "mean", scheme=fm.resample.Sieve(4), rng=0)
    >>> r.method, r.lower < r.estimate < r.upper
    ('studentised', True)
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__("sieve", () if most is None else (whole("most", most, 0, 1000),))


def _is_number_or_share(m: float) -> bool:
    return 0 < m < 1 or (1 <= m < _LONGEST and m == math.floor(m))


@dataclass(frozen=True, init=False)
class MOutOfN(Scheme):
    """Fewer draws than observations, with the spread rescaled: m out of n [1]_ [2]_.

    It is valid in some cases in which the usual bootstrap fails, for instance for the maximum or
    for the mean of data with infinite variance, if `rate` is the rate of the statistic.

    Parameters
    ----------
    m : float
        The number of draws, below the number of observations, or their share, below 1. Each of
        several samples contributes in proportion to its size.
    rate : float, default 0.5
        The error of the statistic of n observations is of order n to the power -`rate`: 0.5 for
        means, 1 for the endpoint of a uniform distribution. Above 0, at most 2.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    References
    ----------
    .. [1] P. J. Bickel, F. Götze, W. R. van Zwet, "Resampling fewer than n observations: gains,
       losses, and remedies for losses", Statistica Sinica, 1997.
    .. [2] D. N. Politis, J. P. Romano, "Large sample confidence regions based on subsamples under
       minimal assumptions", Annals of Statistics, 1994, doi:10.1214/aos/1176325770.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).uniform(400)
    >>> few = fm.resample.MOutOfN(40, rate=1.0)
    >>> r = fm.resample.bootstrap(x, lambda b: b.max(1), scheme=few, rng=0)
    >>> bool(r.estimate < 1.0 < r.upper)
    True
    """

    def __init__(self, m: float, rate: float = 0.5) -> None:
        needed = "a whole number of at least 1 is needed, or a share above 0 and below 1"
        size = real("m", m, needed, _is_number_or_share)
        power = real("rate", rate, "a number above 0, at most 2, is needed", lambda v: 0 < v <= 2)
        super().__init__("m_out_of_n", (size, power))

    def core(self, sizes: NDArray[np.int64]) -> dict[str, Any]:
        """Return the law of the weights as the core takes it, for strata of these sizes."""
        m, n = self.parameters[0], int(sizes.sum())
        if m >= n:
            raise ArgumentError(f"m: {m:g} draws given; fewer than the {n} observations are needed")
        draws = np.maximum(np.rint(sizes * (m if m < 1 else m / n)), 1).astype(np.int64)
        return {**super().core(sizes), "draws": draws}

    def shrink(self, sizes: NDArray[np.int64]) -> float:
        """Return the factor that rescales the spread of the replicates to that of the statistic."""
        draws = self.core(sizes)["draws"]
        return float((draws.sum() / sizes.sum()) ** self.parameters[1])


@dataclass(frozen=True, init=False)
class Parametric(Scheme):
    """Samples from a fitted distribution: the parametric bootstrap [1]_.

    Parameters
    ----------
    sampler : callable
        ``sampler(stream)`` gets a separate `fermiac.random.Stream` for each replicate, and returns
        a sample of the shape of the data, or a tuple of samples.

    Raises
    ------
    ArgumentError
        If `sampler` is not callable.

    References
    ----------
    .. [1] B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics, 1979,
       doi:10.1214/aos/1176344552.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).exponential(30)
    >>> fitted = fm.resample.Parametric(lambda stream: x.mean() * stream.exponential(30))
    >>> r = fm.resample.bootstrap(x, "median", scheme=fitted, n_resamples=999, rng=0)
    >>> r.method, r.lower < r.estimate < r.upper
    ('percentile', True)
    """

    sampler: Callable[..., Any] | None = field(repr=False, default=None)

    def __init__(self, sampler: Callable[..., Any]) -> None:
        if not callable(sampler):
            raise ArgumentError(f"sampler: {shown(sampler)} given; a callable is needed")
        super().__init__("parametric")
        object.__setattr__(self, "sampler", sampler)


@dataclass(frozen=True)
class Replay(Scheme):
    """Resamples that are given as indices of the observations."""

    #: shape (B, n)
    indices: NDArray[np.int64] = field(repr=False, default_factory=lambda: np.zeros((0, 0), int))


for _kind in (Stationary, Sieve, MOutOfN, Parametric):
    public_class(_kind)

IID, BAYESIAN = Scheme("iid"), Scheme("bayesian")
#: The default for series, which `fermiac.resample.problem` replaces by one for the statistic.
_OF_SERIES = Scheme("series")
SCHEMES: Strategies[Scheme] = Strategies(
    "scheme",
    Scheme,
    {
        "iid": lambda: IID,
        "bayesian": lambda: BAYESIAN,
        "series": lambda: _OF_SERIES,
        "sieve": Sieve,
        "stationary": Stationary,
    },
    "fermiac.resample.Stationary(10)",
)


def saved(name: str, parameters: tuple[float, ...]) -> Scheme:
    """Return the scheme of a saved result."""
    makers: dict[str, Callable[..., Scheme]] = {
        "stationary": Stationary,
        "m_out_of_n": MOutOfN,
        "sieve": lambda most=None: Sieve(None if most is None else int(most)),
    }
    if name in makers:
        return makers[name](*parameters)
    if name in ("iid", "bayesian"):
        return SCHEMES.resolve(name)
    raise ArgumentError(
        f"the scheme {name!r} has a function or indices, which are not saved with the result; "
        "call fermiac.resample.bootstrap again"
    )
