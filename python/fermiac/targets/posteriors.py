"""Built-in log-densities of data and of laws: regressions, the eight schools, any law."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.validate import yes
from fermiac.distributions import Joint, Law, as_law
from fermiac.distributions.law import Measure
from fermiac.errors import ArgumentError
from fermiac.targets.builtin import Built, numbered, real_numbers, scalar
from fermiac.targets.callables import CallableLaw
from fermiac.targets.density import BuiltinDensity, LogDensity

__all__ = [
    "eight_schools",
    "law_density",
    "linear_regression",
    "logistic_regression",
    "poisson_regression",
]

Array = NDArray[np.float64]


@public
def logistic_regression(
    x: ArrayLike,
    y: ArrayLike,
    *,
    prior_sd: ArrayLike = 1.0,
    prior_mean: ArrayLike = 0.0,
    intercept: bool = True,
    offset: ArrayLike = 0.0,
) -> BuiltinDensity:
    r"""Return the posterior of a logistic regression with normal priors.

    :math:`y_i \sim \mathrm{Bernoulli}(p_i)` with log-odds
    :math:`\mathrm{offset}_i + \sum_j x_{ij} \beta_j`, and independent
    :math:`\beta_j \sim N(m_j, s_j^2)`.

    Parameters
    ----------
    x : array_like of shape (n, d)
        The design, without a column for the intercept.
    y : array_like of shape (n,)
        Observations, 0 or 1 (or booleans).
    prior_sd : array_like of shape () or (p,), default 1
        Standard deviations of the priors, above 0, for all p coefficients; the intercept comes
        first.
    prior_mean : array_like of shape () or (p,), default 0
        Means of the priors.
    intercept : bool, default True
        Whether the first coefficient is an intercept; then p is d + 1, else d.
    offset : array_like of shape () or (n,), default 0
        A known part of the log-odds.

    Returns
    -------
    BuiltinDensity
        The logarithm of likelihood times prior, with all constants, in p coordinates: its integral
        is the marginal likelihood.

    Raises
    ------
    ArgumentError
        If the shapes do not fit, a number is not finite or outside its domain.

    Notes
    -----
    An evaluation takes about 2 n p multiplications and n exponentials, for value and gradient
    together. A point costs the same alone as in a batch.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> x = np.array([[-1.0], [0.0], [1.0], [2.0]])
    >>> target = fm.targets.logistic_regression(x, [0, 0, 1, 1], prior_sd=2.5)
    >>> target.names
    ('intercept', 'beta[0]')
    >>> target.log_density([[0.0, 0.0]]).round(6)
    array([-6.443047])
    """
    data, names, kept = _regression(x, y, prior_sd, prior_mean, intercept)
    start = real_numbers("offset", offset)
    each = _broadcast("offset", start, len(data[1]), "observation")
    handle = _core.LogDensity.logistic_regression(data, each)
    return BuiltinDensity(logistic_regression, handle, names, **kept, offset=start)


@public
def poisson_regression(
    x: ArrayLike,
    y: ArrayLike,
    *,
    prior_sd: ArrayLike = 1.0,
    prior_mean: ArrayLike = 0.0,
    intercept: bool = True,
    offset: ArrayLike = 0.0,
) -> BuiltinDensity:
    r"""Return the posterior of a Poisson regression with the logarithm as link and normal priors.

    :math:`y_i \sim \mathrm{Poisson}(\exp(\mathrm{offset}_i + \sum_j x_{ij} \beta_j))` and
    independent :math:`\beta_j \sim N(m_j, s_j^2)`.

    Parameters
    ----------
    x : array_like of shape (n, d)
        The design, without a column for the intercept.
    y : array_like of shape (n,)
        Counts.
    prior_sd, prior_mean, intercept
        As for `logistic_regression`.
    offset : array_like of shape () or (n,), default 0
        A known part of the logarithm of the mean: the logarithm of the exposure.

    Returns
    -------
    BuiltinDensity
        The logarithm of likelihood times prior, with all constants, in p coordinates.

    Raises
    ------
    ArgumentError
        If the shapes do not fit, a number is not finite or outside its domain.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> exposure = np.array([1.0, 2.0, 4.0])
    >>> target = fm.targets.poisson_regression(
    ...     [[0.0], [1.0], [2.0]], [1, 0, 3], offset=np.log(exposure)
    ... )
    >>> target.dim
    2
    """
    data, names, kept = _regression(x, y, prior_sd, prior_mean, intercept)
    start = real_numbers("offset", offset)
    each = _broadcast("offset", start, len(data[1]), "observation")
    handle = _core.LogDensity.poisson_regression(data, each)
    return BuiltinDensity(poisson_regression, handle, names, **kept, offset=start)


@public
def linear_regression(
    x: ArrayLike,
    y: ArrayLike,
    *,
    noise_sd: float | None = None,
    noise_scale: float = 1.0,
    prior_sd: ArrayLike = 1.0,
    prior_mean: ArrayLike = 0.0,
    intercept: bool = True,
) -> BuiltinDensity:
    r"""Return the posterior of a linear regression with normal noise and normal priors.

    :math:`y_i \sim N(\sum_j x_{ij} \beta_j, \sigma^2)` and independent
    :math:`\beta_j \sim N(m_j, s_j^2)`. If :math:`\sigma` is unknown, its prior is half-normal and
    :math:`\log \sigma` is the last coordinate (the density is with respect to :math:`\log \sigma`).

    Parameters
    ----------
    x : array_like of shape (n, d)
        The design, without a column for the intercept.
    y : array_like of shape (n,)
        Observations.
    noise_sd : float, optional
        The standard deviation of the noise, above 0, if it is known.
    noise_scale : float, default 1
        The scale of the half-normal prior of the noise's standard deviation, in the unit of `y`;
        not used if `noise_sd` is given.
    prior_sd, prior_mean, intercept
        As for `logistic_regression`.

    Returns
    -------
    BuiltinDensity
        The logarithm of likelihood times prior, with all constants, in p coordinates, or p + 1 for
        unknown noise. With known noise `log_evidence` is the log marginal likelihood. It is None if
        columns are almost dependent and their priors so wide that rounding errors would dominate
        it.

    Raises
    ------
    ArgumentError
        If the shapes do not fit, a number is not finite or outside its domain.

    Notes
    -----
    The data are reduced once to their triangular factor. An evaluation then takes about 2 p\
    :sup:`2` multiplications for any number of observations.

    Examples
    --------
    >>> import fermiac as fm
    >>> target = fm.targets.linear_regression([[0.0], [1.0], [2.0]], [0.1, 0.9, 2.2])
    >>> target.names
    ('intercept', 'beta[0]', 'log_sigma')
    >>> known = fm.targets.linear_regression([[1.0]], [0.0], noise_sd=1.0, intercept=False)
    >>> round(known.log_evidence, 6)  # of N(0, 2) at 0
    -1.265512
    """
    data, names, kept = _regression(x, y, prior_sd, prior_mean, intercept)
    width = scalar("noise_scale", noise_scale)
    known = None if noise_sd is None else scalar("noise_sd", noise_sd)
    if known is None:
        handle = _core.LogDensity.linear_regression(data, width, False)
        names = (*names, "log_sigma")
    else:
        handle = _core.LogDensity.linear_regression(data, known, True)
    kept |= {"noise_sd": known, "noise_scale": width}
    return BuiltinDensity(linear_regression, handle, names, **kept)


@public
def eight_schools(centered: bool = False) -> BuiltinDensity:
    r"""Return the posterior of the eight schools, a hierarchical model.

    :math:`y_i \sim N(\theta_i, s_i^2)`, :math:`\theta_i \sim N(\mu, \tau^2)`,
    :math:`\mu \sim N(0, 5^2)` and :math:`\tau` half-Cauchy of scale 5, with the effects y = (28,
    8, -3, 7, -1, 1, 18, 12) of coaching and their standard errors s = (15, 10, 16, 11, 9, 11, 10,
    18).

    Parameters
    ----------
    centered : bool, default False
        Whether the last eight coordinates are the :math:`\theta_i`; else they are
        :math:`\eta_i = (\theta_i - \mu) / \tau`, in which the posterior is easy to sample.

    Returns
    -------
    BuiltinDensity
        A density in 10 coordinates: :math:`\mu`, :math:`\log \tau` (the density is with respect to
        :math:`\log \tau`), and one for each school. All constants are kept.

    References
    ----------
    D. B. Rubin, "Estimation in parallel randomized experiments", Journal of Educational Statistics
    6, 1981, doi:10.3102/10769986006004377.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.eight_schools().names[:3]
    ('mu', 'log_tau', 'eta[0]')
    """
    form = yes("centered", centered)
    names = ("mu", "log_tau", *numbered("theta" if form else "eta", 8))
    return BuiltinDensity(eight_schools, _core.LogDensity.eight_schools(form), names, centered=form)


@public
def law_density(law: object) -> LogDensity:
    """Return the log-density of a law.

    Parameters
    ----------
    law : Law or frozen scipy.stats distribution
        The law. A built-in law has a gradient and runs in Rust. A law that is defined in Python, or
        any other law of scipy.stats, has no gradient.

    Returns
    -------
    LogDensity

    Raises
    ------
    ArgumentError
        If `law` is not a law.

    Examples
    --------
    >>> import fermiac as fm
    >>> target = fm.targets.law_density(fm.distributions.Normal(0.0, 2.0))
    >>> target.log_density_and_gradient([[1.0]])[1]
    array([[-0.25]])
    """
    of = as_law(law)
    if of._handle is None:
        return _PythonLaw(of)
    names = of.names if isinstance(of, Joint) else None
    return BuiltinDensity(law_density, _core.LogDensity.law(of._handle), names, law=of)


class _PythonLaw(Built, LogDensity):
    """The log-density of a law that is defined in Python."""

    __slots__ = ("_arguments", "_law", "_make", "dim", "names")

    form = "python"
    has_gradient = False
    log_evidence = 0.0
    _law: CallableLaw

    def __init__(self, law: Law) -> None:
        names = law.names if isinstance(law, Joint) else None
        self._freeze(law_density, {"law": law}, _law=CallableLaw(law), dim=law.dim, names=names)

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        return self._law.log_density(x), None

    def _support(self) -> list[tuple[float, float]]:
        return list(self._arguments["law"]._support())

    def _measure(self) -> Measure:
        measure: Measure = self._arguments["law"]._measure()
        return measure


def _regression(
    x: ArrayLike, y: ArrayLike, prior_sd: ArrayLike, prior_mean: ArrayLike, intercept: bool
) -> tuple[tuple[Array, Array, Array, Array], tuple[str, ...], dict[str, Any]]:
    """Return the data for the core, the names of the coefficients, and the kept arguments."""
    design, seen = real_numbers("x", x), real_numbers("y", y)
    if design.ndim != 2 or 0 in design.shape:
        raise ArgumentError(
            f"x: an array of shape {design.shape} given; one row an observation is needed, shape "
            "(n, d) with n and d at least 1"
        )
    intercept = yes("intercept", intercept)
    n, d = design.shape
    if seen.shape != (n,):
        raise ArgumentError(
            f"y: an array of shape {seen.shape} given; x has {n} rows, so shape ({n},) is needed"
        )
    names: tuple[str, ...] = numbered("beta", d)
    full = design
    if intercept:
        full = np.column_stack([np.ones(n), design])
        names = ("intercept", *names)
    sd, mean = real_numbers("prior_sd", prior_sd), real_numbers("prior_mean", prior_mean)
    each = [
        _broadcast(name, value, len(names), "coefficient")
        for name, value in (("prior_mean", mean), ("prior_sd", sd))
    ]
    kept = {
        "x": design,
        "y": seen,
        "prior_sd": sd,
        "prior_mean": mean,
        "intercept": intercept,
    }
    return (full, seen, *each), names, kept  # type: ignore[return-value]


def _broadcast(name: str, value: Array, n: int, of: str) -> Array:
    if value.shape not in ((), (n,)):
        raise ArgumentError(
            f"{name}: an array of shape {value.shape} given; a number, or one for each {of}, "
            f"shape ({n},), is needed"
        )
    return np.full(n, value)
