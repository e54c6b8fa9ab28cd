"""Conjugate blocks: exact draws by the core from laws given by data and coordinates of the state.

A block says what its law depends on. Each of these quantities is a number, an array, the name of
coordinates of the state, `Grouped` coordinates, a `Linear` product, or a list of these, their sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public_class
from fermiac._base.validate import numbers, require, whole
from fermiac.errors import ArgumentError
from fermiac.mcmc.conditional import drawn_by_core
from fermiac.mcmc.kernel import Kernel, Oracles, Spec
from fermiac.mcmc.quantities import (
    Grouped,
    Linear,
    Parsed,
    Quantity,
    groups_of,
    kept,
    n_places,
    parsed,
)
from fermiac.targets.transformed_density import TransformedDensity

__all__ = [
    "BinomialProbability",
    "CategoricalProbabilities",
    "GammaRate",
    "MultinomialProbabilities",
    "NormalMean",
    "NormalMeanVariance",
    "NormalVariance",
    "PoissonRate",
    "RegressionCoefficients",
]

Array = NDArray[np.float64]

#: A half and a quarter of the interval (-2, 2) of random starts.
_HALF, _WIDTH = 2.0, 4.0


def _positive(x: Array) -> Array:
    return np.abs(x) + 1e-3


def _share(x: Array) -> Array:
    return np.clip((x + _HALF) / _WIDTH, 1e-3, 1 - 1e-3)


@dataclass(frozen=True, eq=False)
class ConjugateBlock(Kernel):
    """Base class of the conjugate blocks.

    Its fields are quantities, but for those that a subclass names.
    """

    needs_density: ClassVar[bool] = False
    needs_volume: ClassVar[bool] = False
    #: The name of the law in the core.
    _law: ClassVar[str]
    #: Fields that are no quantities.
    _plain: ClassVar[tuple[str, ...]] = ("groups",)

    def __post_init__(self) -> None:
        for name in self._quantities():
            quantity = parsed(name, getattr(self, name))
            object.__setattr__(self, name, quantity)
        groups = getattr(self, "groups", None)
        if groups is not None:
            object.__setattr__(self, "groups", groups_of("groups", groups))
        self._check()

    def _quantities(self) -> list[str]:
        return [f.name for f in fields(self) if f.name not in self._plain]

    def _check(self) -> None:
        """Refuse constants outside their domains."""

    def _of(self, name: str) -> Parsed:
        quantity = getattr(self, name)
        assert isinstance(quantity, Parsed)
        return quantity

    def _constant(self, name: str, needed: str, good: Any) -> None:
        """Check a quantity that does not depend on the state."""
        quantity = self._of(name)
        if quantity.is_constant:
            require(
                name,
                np.atleast_1d(quantity.constant),
                good(np.atleast_1d(quantity.constant)),
                needed,
            )
        elif not np.isfinite(quantity.constant).all():
            raise ArgumentError(f"{name}: a constant that is not finite was given in a sum")

    def _finite(self, *names: str) -> None:
        for name in names:
            self._constant(name, "finite numbers are needed", np.isfinite)

    def _above(self, *names: str, infinite: bool = False) -> None:
        needed = "numbers above 0 are needed" if infinite else "finite numbers above 0 are needed"
        for name in names:
            self._constant(name, needed, lambda a: (a > 0) & (infinite | np.isfinite(a)))

    def _at_least(self, *names: str) -> None:
        for name in names:
            self._constant(
                name, "finite numbers of at least 0 are needed", lambda a: (a >= 0) & np.isfinite(a)
            )

    def _counts(self, *names: str) -> None:
        for name in names:
            self._constant(
                name,
                "whole numbers of at least 0 are needed",
                lambda a: (a >= 0) & np.isfinite(a) & (a == np.floor(a)),
            )

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        options = self._options(dim, oracles)
        name = type(self).__name__
        law = _core.BlockLaw.conjugate(self._law, name, oracles.target.dim, options)
        return drawn_by_core(law, oracles)

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        """Return the options of the law in the core."""
        raise NotImplementedError

    def _grouped(
        self, dim: int, oracles: Oracles, n: int, argument: str = "data"
    ) -> dict[str, Any]:
        """Return the groups of `n` observations of a block with `dim` groups."""
        groups = getattr(self, "groups", None)
        if groups is None:
            if dim not in (1, n):
                raise ArgumentError(
                    f"groups: not given for a block of {dim} coordinates and {n} observations; the "
                    "group of each observation is needed"
                )
            groups = np.arange(n) if dim == n else np.zeros(n, np.int64)
        if len(groups) != n:
            raise ArgumentError(
                f"groups: {len(groups)} numbers given for {n} observations; one for each is needed"
            )
        if groups.max() >= dim:
            raise ArgumentError(
                f"groups: group {groups.max()} given for a block of {dim} coordinates; groups are "
                "counted from 0"
            )
        return {"groups": np.ascontiguousarray(groups, np.int64), "n_groups": dim}

    def _n(self, oracles: Oracles, *names: str) -> int:
        """Return the number of observations of quantities that broadcast."""
        n = n_places(" and ".join(names), oracles, *map(self._of, names))
        groups = getattr(self, "groups", None)
        return len(groups) if n == 1 and groups is not None else n

    def _resolved(self, n: int, oracles: Oracles, *names: str) -> dict[str, Any]:
        return {name: self._of(name).resolved(name, n, oracles) for name in names}

    def _place(self, x: Array) -> Array:
        return x

    def _place_starts(self, x: Array, oracles: Oracles) -> None:
        if not isinstance(oracles.target, TransformedDensity):
            x[:] = self._place(x)

    def _settings(self) -> dict[str, Any]:
        return {
            "kernel": type(self).__name__,
            **{f.name: kept(getattr(self, f.name)) for f in fields(self)},
        }


@dataclass(frozen=True, eq=False)
class NormalMean(ConjugateBlock):
    r"""Means of normal data with given variances, under normal priors.

    Observation i of group g(i) is :math:`y_i \sim N(\theta_{g(i)} + o_i, v_i)`, and the block is
    :math:`\theta`, with independent priors :math:`\theta_j \sim N(m_j, s_j)`.

    Parameters
    ----------
    data : quantity
        The observations y, n of them. A quantity is a number, an array, the name of coordinates
        (a key of the ``blocks`` of `Gibbs`, or a name of the target), `Grouped`, `Linear`, or a
        list of these, which are added.
    variance : quantity
        Their variances v: one, or n.
    prior_mean, prior_variance : quantity
        The means m and variances s of the priors: one, or one for each coordinate of the block.
        ``numpy.inf`` is a flat prior.
    offset : quantity, default 0
        The known part o of the means of the observations.
    groups : array_like of int, shape (n,), optional
        The group of each observation, counted from 0: the coordinate of the block that is its mean.
        By default a block of one coordinate is the mean of all observations, and a block of n
        coordinates has one observation each. A group may be empty.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a variance is not above 0.

    See Also
    --------
    NormalVariance, NormalMeanVariance, RegressionCoefficients

    References
    ----------
    .. [1] D. V. Lindley, A. F. M. Smith, "Bayes estimates for the linear model", Journal of the
       Royal Statistical Society B, 1972, doi:10.1111/j.2517-6161.1972.tb00885.x.

    Examples
    --------
    Effects of eight schools, their common mean and their variance:

    >>> import numpy as np
    >>> import fermiac as fm
    >>> y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    >>> se = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    >>> of = fm.mcmc.conditionals
    >>> kernel = fm.mcmc.Gibbs(
    ...     [
    ...         ("theta", of.NormalMean(y, se**2, prior_mean="mu", prior_variance="v")),
    ...         ("mu", of.NormalMean("theta", "v", prior_mean=0.0, prior_variance=25.0)),
    ...         ("v", of.NormalVariance("theta", "mu", shape=1.0, scale=10.0)),
    ...     ],
    ...     blocks={"theta": slice(0, 8), "mu": 8, "v": 9},
    ... )
    >>> s = fm.mcmc.sample(None, 10, kernel=kernel, n_draws=2000, rng=0)
    >>> s.draws.shape
    (4, 2000, 10)
    """

    _law: ClassVar[str] = "normal_mean"

    data: Quantity
    variance: Quantity
    prior_mean: Quantity = field(kw_only=True)
    prior_variance: Quantity = field(kw_only=True)
    offset: Quantity = field(default=0.0, kw_only=True)
    groups: ArrayLike | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._finite("data", "prior_mean", "offset")
        self._above("variance")
        self._above("prior_variance", infinite=True)

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        n = self._n(oracles, "data", "variance", "offset")
        rest = self._of("data").minus(self._of("offset"))
        return {
            "data": rest.resolved("data", n, oracles),
            **self._resolved(n, oracles, "variance"),
            **self._resolved(dim, oracles, "prior_mean", "prior_variance"),
            **self._grouped(dim, oracles, n),
        }


@dataclass(frozen=True, eq=False)
class NormalVariance(ConjugateBlock):
    r"""Variances of normal data with given means, under inverse gamma priors.

    Observation i of group g(i) is :math:`y_i \sim N(m_i, v_{g(i)})`, and the block is v, with
    independent priors of density proportional to :math:`v^{-a-1} e^{-b/v}`.

    Parameters
    ----------
    data : quantity
        The observations y, n of them; see `NormalMean` for quantities.
    mean : quantity
        Their means m: one, or n. For the errors of a regression it is ``Linear(X, "beta")``.
    shape, scale : quantity
        The parameters a and b of the priors: one, or one for each coordinate of the block. They may
        be improper: a = -1/2 and b = 0 is the flat prior of a standard deviation, a = b = 0 that of
        its logarithm.
    groups : array_like of int, shape (n,), optional
        The group of each observation, counted from 0; see `NormalMean`.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a law is improper, since its shape or scale is not above 0.

    Notes
    -----
    Sums over observations that do not depend on the state are computed once: a turn takes a time
    that does not depend on n for a mean of one coordinate, or of a few groups, and k² operations
    for a regression on k columns.

    References
    ----------
    .. [1] D. V. Lindley, A. F. M. Smith, "Bayes estimates for the linear model", Journal of the
       Royal Statistical Society B, 1972, doi:10.1111/j.2517-6161.1972.tb00885.x.

    Examples
    --------
    The mean and the variance of normal data, in turns:

    >>> import fermiac as fm
    >>> data = [4.8, 5.3, 6.1, 4.4, 5.9]
    >>> of = fm.mcmc.conditionals
    >>> kernel = fm.mcmc.Gibbs(
    ...     [
    ...         ("mean", of.NormalMean(data, "v", prior_mean=0.0, prior_variance=100.0)),
    ...         ("v", of.NormalVariance(data, "mean", shape=1.0, scale=1.0)),
    ...     ],
    ...     blocks={"mean": 0, "v": 1},
    ... )
    >>> s = fm.mcmc.sample(None, 2, kernel=kernel, n_draws=1000, rng=0)
    >>> bool((s.draws[..., 1] > 0).all())
    True
    """

    _law: ClassVar[str] = "normal_variance"

    data: Quantity
    mean: Quantity
    shape: Quantity = field(kw_only=True)
    scale: Quantity = field(kw_only=True)
    groups: ArrayLike | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._finite("data", "mean", "shape")
        self._at_least("scale")

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        n = self._n(oracles, "data", "mean")
        rest = self._of("data").minus(self._of("mean"))
        return {
            "data": rest.resolved("data", n, oracles),
            **self._resolved(dim, oracles, "shape", "scale"),
            **self._grouped(dim, oracles, n),
        }

    def _place(self, x: Array) -> Array:
        return _positive(x)


@dataclass(frozen=True, eq=False)
class NormalMeanVariance(ConjugateBlock):
    r"""Means and variances of normal data together, under normal-inverse-gamma priors.

    Observation i of group g(i) is :math:`y_i \sim N(\theta_{g(i)} + o_i, v_{g(i)})`. The block has
    the means of all J groups and then their variances, 2 J coordinates, with the priors
    :math:`\theta_j \mid v_j \sim N(m_j, v_j / k_j)` and :math:`v_j` of density proportional to
    :math:`v^{-a-1} e^{-b/v}`.

    Parameters
    ----------
    data : quantity
        The observations y, n of them; see `NormalMean` for quantities.
    prior_mean : quantity
        The means m of the priors: one, or one for each group.
    prior_count : quantity
        The number k of observations that the prior of a mean is worth: one, or one for each group.
        0 is a flat prior.
    shape, scale : quantity
        The parameters a and b of the priors of the variances: one, or one for each group.
    offset : quantity, default 0
        The known part o of the means of the observations.
    groups : array_like of int, shape (n,), optional
        The group of each observation, counted from 0; see `NormalMean`.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a law is improper.

    References
    ----------
    .. [1] M. H. DeGroot, "Optimal Statistical Decisions", McGraw-Hill, 1970.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.NormalMeanVariance(
    ...     [4.8, 5.3, 6.1, 4.4, 5.9], prior_mean=5.0, prior_count=1.0, shape=2.0, scale=1.0
    ... )
    >>> s = fm.mcmc.sample(None, 2, kernel=kernel, n_draws=500, rng=0)
    >>> s.draws.shape
    (4, 500, 2)
    """

    _law: ClassVar[str] = "normal_mean_variance"

    data: Quantity
    prior_mean: Quantity = field(kw_only=True)
    prior_count: Quantity = field(kw_only=True)
    shape: Quantity = field(kw_only=True)
    scale: Quantity = field(kw_only=True)
    offset: Quantity = field(default=0.0, kw_only=True)
    groups: ArrayLike | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._finite("data", "prior_mean", "shape", "offset")
        self._at_least("prior_count", "scale")

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        if dim % 2:
            raise ArgumentError(
                f"blocks: a NormalMeanVariance block of {dim} coordinates given; the means of all "
                "groups and then their variances are needed, an even number"
            )
        n = self._n(oracles, "data", "offset")
        rest = self._of("data").minus(self._of("offset"))
        return {
            "data": rest.resolved("data", n, oracles),
            **self._resolved(dim // 2, oracles, "prior_mean", "prior_count", "shape", "scale"),
            **self._grouped(dim // 2, oracles, n),
        }

    def _place(self, x: Array) -> Array:
        half = x.shape[1] // 2
        return np.hstack([x[:, :half], _positive(x[:, half:])])


@dataclass(frozen=True, eq=False)
class PoissonRate(ConjugateBlock):
    r"""Rates of Poisson counts, under gamma priors.

    Count i of group g(i) is Poisson with mean :math:`e_i \lambda_{g(i)}`, and the block is
    :math:`\lambda`, with independent priors of density proportional to
    :math:`\lambda^{a-1} e^{-b\lambda}`.

    Parameters
    ----------
    counts : quantity
        The counts, n of them; see `NormalMean` for quantities.
    exposure : quantity, default 1
        The exposures e, above 0: one, or n.
    shape, rate : quantity
        The parameters a and b of the priors: one, or one for each coordinate of the block.
    groups : array_like of int, shape (n,), optional
        The group of each count, counted from 0; see `NormalMean`.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a law is improper, since its shape or rate is not above 0.

    See Also
    --------
    GammaRate : For the prior rate b of a hierarchical model.

    References
    ----------
    .. [1] A. E. Gelfand, A. F. M. Smith, "Sampling-based approaches to calculating marginal
       densities", Journal of the American Statistical Association, 1990,
       doi:10.1080/01621459.1990.10476213.

    Examples
    --------
    Failures of ten pumps, with a common prior rate:

    >>> import fermiac as fm
    >>> failures = [5, 1, 5, 14, 3, 19, 1, 1, 4, 22]
    >>> hours = [94.3, 15.7, 62.9, 126.0, 5.24, 31.4, 1.05, 1.05, 2.1, 10.5]
    >>> of = fm.mcmc.conditionals
    >>> kernel = fm.mcmc.Gibbs(
    ...     [
    ...         ("pump", of.PoissonRate(failures, hours, shape=1.8, rate="beta")),
    ...         ("beta", of.GammaRate("pump", 1.8, shape=0.01, rate=1.0)),
    ...     ],
    ...     blocks={"pump": slice(0, 10), "beta": 10},
    ... )
    >>> s = fm.mcmc.sample(None, 11, kernel=kernel, n_draws=1000, rng=0)
    >>> s.draws.shape
    (4, 1000, 11)
    """

    _law: ClassVar[str] = "gamma"

    counts: Quantity
    exposure: Quantity = 1.0
    shape: Quantity = field(kw_only=True)
    rate: Quantity = field(kw_only=True)
    groups: ArrayLike | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._counts("counts")
        self._above("exposure")
        self._at_least("shape", "rate")

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        return _gamma_options(self, dim, oracles, "counts", "exposure")

    def _place(self, x: Array) -> Array:
        return _positive(x)


@dataclass(frozen=True, eq=False)
class GammaRate(ConjugateBlock):
    r"""Rates of gamma data of known shapes, under gamma priors.

    Observation i of group g(i) has a density proportional to
    :math:`y^{s_i-1} e^{-\lambda_{g(i)} y}`, and the block is :math:`\lambda`, with independent
    priors of density proportional to :math:`\lambda^{a-1} e^{-b\lambda}`. With s = 1 the data are
    exponential.

    Parameters
    ----------
    data : quantity
        The observations y, above 0, n of them; see `NormalMean` for quantities.
    data_shape : quantity, default 1
        Their shapes s: one, or n.
    shape, rate : quantity
        The parameters a and b of the priors: one, or one for each coordinate of the block.
    groups : array_like of int, shape (n,), optional
        The group of each observation, counted from 0; see `NormalMean`.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a law is improper, since its shape or rate is not above 0.

    References
    ----------
    .. [1] A. E. Gelfand, A. F. M. Smith, "Sampling-based approaches to calculating marginal
       densities", Journal of the American Statistical Association, 1990,
       doi:10.1080/01621459.1990.10476213.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.GammaRate([0.4, 1.7, 0.2], shape=1.0, rate=1.0)
    >>> s = fm.mcmc.sample(None, 1, kernel=kernel, n_draws=500, rng=0)
    >>> s.draws.shape
    (4, 500, 1)
    """

    _law: ClassVar[str] = "gamma"

    data: Quantity
    data_shape: Quantity = 1.0
    shape: Quantity = field(kw_only=True)
    rate: Quantity = field(kw_only=True)
    groups: ArrayLike | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._above("data", "data_shape")
        self._at_least("shape", "rate")

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        return _gamma_options(self, dim, oracles, "data_shape", "data")

    def _place(self, x: Array) -> Array:
        return _positive(x)


def _gamma_options(
    block: ConjugateBlock, dim: int, oracles: Oracles, shapes: str, rates: str
) -> dict[str, Any]:
    """Return the options of a gamma law whose shape and rate grow by these fields of a block."""
    n = block._n(oracles, shapes, rates)
    more = block._resolved(n, oracles, shapes, rates)
    return {
        "shapes": more[shapes],
        "rates": more[rates],
        **block._resolved(dim, oracles, "shape", "rate"),
        **block._grouped(dim, oracles, n),
    }


@dataclass(frozen=True, eq=False)
class BinomialProbability(ConjugateBlock):
    r"""Probabilities of binomial counts, under beta priors.

    Count i of group g(i) is binomial with :math:`t_i` trials of probability :math:`p_{g(i)}`, and
    the block is p, with independent priors of density proportional to
    :math:`p^{a-1} (1-p)^{b-1}`.

    Parameters
    ----------
    successes : quantity
        The counts, n of them; see `NormalMean` for quantities.
    trials : quantity, default 1
        The trials t: one, or n.
    a, b : quantity
        The parameters of the priors: one, or one for each coordinate of the block.
    groups : array_like of int, shape (n,), optional
        The group of each count, counted from 0; see `NormalMean`.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a law is improper, or there are more successes than trials.

    References
    ----------
    .. [1] A. E. Gelfand, A. F. M. Smith, "Sampling-based approaches to calculating marginal
       densities", Journal of the American Statistical Association, 1990,
       doi:10.1080/01621459.1990.10476213.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.BinomialProbability([3, 9], [10, 12], a=1.0, b=1.0)
    >>> s = fm.mcmc.sample(None, 2, kernel=kernel, n_draws=500, rng=0)
    >>> s.draws.shape
    (4, 500, 2)
    """

    _law: ClassVar[str] = "beta"

    successes: Quantity
    trials: Quantity = 1.0
    a: Quantity = field(kw_only=True)
    b: Quantity = field(kw_only=True)
    groups: ArrayLike | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._counts("successes", "trials")
        self._at_least("a", "b")
        successes, trials = self._of("successes"), self._of("trials")
        n_places("successes and trials", None, successes, trials)
        failures = np.atleast_1d(trials.constant - successes.constant)
        if successes.is_constant and trials.is_constant and (failures < 0).any():
            i = int(np.argmin(failures))
            raise ArgumentError(
                f"successes: observation {i} has {-failures[i]:g} more successes than trials; at "
                "most as many are possible"
            )

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        n = self._n(oracles, "successes", "trials")
        failures = self._of("trials").minus(self._of("successes"))
        return {
            **self._resolved(n, oracles, "successes"),
            "failures": failures.resolved("trials", n, oracles),
            **self._resolved(dim, oracles, "a", "b"),
            **self._grouped(dim, oracles, n),
        }

    def _place(self, x: Array) -> Array:
        return _share(x)


@dataclass(frozen=True, eq=False)
class MultinomialProbabilities(ConjugateBlock):
    r"""Probabilities of multinomial counts, under a Dirichlet prior.

    The block is a vector of k probabilities with sum 1, whose prior has a density proportional to
    :math:`\prod_i p_i^{\alpha_i-1}`, or J such vectors, one after the other.

    Parameters
    ----------
    counts : quantity or array_like of shape (J, k)
        The counts of the k outcomes; see `NormalMean` for quantities. An array of shape (J, k) has
        a row for each of J vectors.
    alpha : quantity, default 1
        The parameters of the prior: one, or one for each coordinate of the block.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a law is improper, since a parameter is not above 0.

    See Also
    --------
    CategoricalProbabilities : For the labels of observations instead of counts.

    References
    ----------
    .. [1] A. E. Gelfand, A. F. M. Smith, "Sampling-based approaches to calculating marginal
       densities", Journal of the American Statistical Association, 1990,
       doi:10.1080/01621459.1990.10476213.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.MultinomialProbabilities([12, 5, 1], alpha=0.5)
    >>> s = fm.mcmc.sample(None, 3, kernel=kernel, n_draws=500, rng=0)
    >>> s.draws.shape
    (4, 500, 3)
    """

    _law: ClassVar[str] = "dirichlet"
    _plain: ClassVar[tuple[str, ...]] = ("groups", "width")

    counts: Quantity
    alpha: Quantity = field(default=1.0, kw_only=True)
    #: The outcomes of a vector; None for a block of one vector.
    width: int | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not _has_names(self.counts):
            table = numbers("counts", cast("ArrayLike", self.counts))
            if table.ndim == 2:
                object.__setattr__(self, "width", table.shape[1])
                object.__setattr__(self, "counts", table.ravel())
        super().__post_init__()

    def _check(self) -> None:
        self._counts("counts")
        self._at_least("alpha")

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        return {
            **self._resolved(dim, oracles, "counts", "alpha"),
            "width": dim if self.width is None else self.width,
            "labels": False,
        }

    def _place(self, x: Array) -> Array:
        return _simplexes(x, self.width)


@dataclass(frozen=True, eq=False)
class CategoricalProbabilities(ConjugateBlock):
    r"""Probabilities of labels, under a Dirichlet prior.

    The block is a vector of k probabilities with sum 1, whose prior has a density proportional to
    :math:`\prod_i p_i^{\alpha_i-1}`; label i is j with probability :math:`p_j`. With `groups` it is
    J such vectors, one after the other, such as the rows of a transition matrix.

    Parameters
    ----------
    labels : quantity
        The labels, whole numbers from 0 to k - 1, n of them; see `NormalMean` for quantities.
        Usually they are coordinates of the state, the components of a mixture.
    alpha : quantity, default 1
        The parameters of the prior: one, or one for each coordinate of the block.
    groups : array_like of int, shape (n,), optional
        The vector to which each label belongs, counted from 0.
    n_groups : int, default 1
        The number J of vectors.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a label is not a whole number from 0 to k - 1, or a law is improper.

    References
    ----------
    .. [1] J. Diebolt, C. P. Robert, "Estimation of finite mixture distributions through Bayesian
       sampling", Journal of the Royal Statistical Society B, 1994,
       doi:10.1111/j.2517-6161.1994.tb01985.x.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.CategoricalProbabilities([0, 2, 2, 1, 2])
    >>> s = fm.mcmc.sample(None, 3, kernel=kernel, n_draws=500, rng=0)
    >>> s.draws.shape
    (4, 500, 3)
    """

    _law: ClassVar[str] = "dirichlet"
    _plain: ClassVar[tuple[str, ...]] = ("groups", "n_groups")

    labels: Quantity
    alpha: Quantity = field(default=1.0, kw_only=True)
    groups: ArrayLike | None = field(default=None, kw_only=True)
    n_groups: int = field(default=1, kw_only=True)

    def _check(self) -> None:
        object.__setattr__(self, "n_groups", whole("n_groups", self.n_groups, 1, 2**31))
        if self.groups is None and self.n_groups > 1:
            raise ArgumentError("groups: not given; the vector of each label is needed")
        self._counts("labels")
        self._at_least("alpha")

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        rows = self.n_groups
        if dim % rows:
            raise ArgumentError(
                f"n_groups: {rows} vectors given for a block of {dim} coordinates; a multiple of "
                f"{rows} is needed"
            )
        n, labels = self._n(oracles, "labels"), self._of("labels")
        if labels.is_constant and labels.constant.max() >= dim // rows:
            raise ArgumentError(
                f"labels: {labels.constant.max():g} given for {dim // rows} probabilities; labels "
                "are counted from 0"
            )
        groups = np.zeros(n, np.int64) if self.groups is None else np.asarray(self.groups)
        if len(groups) != n or groups.max() >= rows:
            raise ArgumentError(
                f"groups: {len(groups)} numbers up to {groups.max()} given for {n} labels and "
                f"{rows} vectors; one below {rows} for each label is needed"
            )
        return {
            "counts": labels.resolved("labels", n, oracles),
            **self._resolved(dim, oracles, "alpha"),
            "groups": np.ascontiguousarray(groups, np.int64),
            "n_groups": rows,
            "width": dim // rows,
            "labels": True,
        }

    def _place(self, x: Array) -> Array:
        return _simplexes(x, x.shape[1] // self.n_groups)


@dataclass(frozen=True, eq=False)
class RegressionCoefficients(ConjugateBlock):
    r"""Coefficients of a linear regression with given error variances, under a normal prior.

    Observation i is :math:`y_i \sim N(x_i^T \beta + o_i, v_i)`, and the block is :math:`\beta`,
    drawn together, with a normal prior. The errors' variance is a `NormalVariance` block with the
    mean ``Linear(X, "beta")``.

    Parameters
    ----------
    X : array_like of shape (n, k)
        The regressors, a column for each coordinate of the block.
    data : quantity
        The observations y, n of them; see `NormalMean` for quantities.
    variance : quantity
        The variances v of their errors: one, or n.
    prior_mean : quantity, default 0
        The means of the prior: one, or one for each coefficient.
    prior_variance : quantity, optional
        The variances of a prior of independent coefficients: one, or one for each coefficient.
        ``numpy.inf`` is a flat prior.
    prior_precision : array_like of shape (k, k), optional
        The precision matrix of a prior, symmetric and positive semidefinite. Either this or
        `prior_variance` is needed.
    offset : quantity, default 0
        The known part o of the means of the observations.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a variance is not above 0, or the precision is not positive definite.

    Notes
    -----
    A turn takes k³ / 3 operations, and n k more if the data or the offset depend on the state;
    variances that differ between observations and depend on the state take n k² more.

    References
    ----------
    .. [1] D. V. Lindley, A. F. M. Smith, "Bayes estimates for the linear model", Journal of the
       Royal Statistical Society B, 1972, doi:10.1111/j.2517-6161.1972.tb00885.x.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> t = np.arange(6.0)
    >>> X, y = np.column_stack([np.ones(6), t]), 2.0 + 0.5 * t + np.array([1, -1, 1, -1, 1, -1])
    >>> of = fm.mcmc.conditionals
    >>> kernel = fm.mcmc.Gibbs(
    ...     [
    ...         ("beta", of.RegressionCoefficients(X, y, "v", prior_variance=np.inf)),
    ...         ("v", of.NormalVariance(y, of.Linear(X, "beta"), shape=1.0, scale=1.0)),
    ...     ],
    ...     blocks={"beta": [0, 1], "v": 2},
    ... )
    >>> s = fm.mcmc.sample(None, 3, kernel=kernel, n_draws=1000, rng=0)
    >>> s.draws.shape
    (4, 1000, 3)
    """

    _law: ClassVar[str] = "coefficients"
    _plain: ClassVar[tuple[str, ...]] = ("X", "prior_variance", "prior_precision")

    X: ArrayLike
    data: Quantity
    variance: Quantity
    prior_mean: Quantity = field(default=0.0, kw_only=True)
    prior_variance: Quantity | None = field(default=None, kw_only=True)
    prior_precision: ArrayLike | None = field(default=None, kw_only=True)
    offset: Quantity = field(default=0.0, kw_only=True)

    def _check(self) -> None:
        matrix = np.array(numbers("X", self.X))
        if matrix.ndim == 1:
            matrix = matrix[:, None]
        if matrix.ndim != 2 or matrix.size == 0:
            raise ArgumentError(
                f"X: an array of shape {matrix.shape} given; a row for every observation, (n, k), "
                "is needed"
            )
        require("X", matrix, np.isfinite(matrix), "finite numbers are needed")
        object.__setattr__(self, "X", np.ascontiguousarray(matrix))
        self._finite("data", "prior_mean", "offset")
        self._above("variance")
        if (self.prior_variance is None) == (self.prior_precision is None):
            raise ArgumentError(
                "prior_variance: either this or prior_precision is needed; for a flat prior give "
                "prior_variance=numpy.inf"
            )
        if self.prior_variance is not None:
            variances = parsed("prior_variance", self.prior_variance)
            object.__setattr__(self, "prior_variance", variances)
            self._above("prior_variance", infinite=True)
        else:
            k = matrix.shape[1]
            precision = np.array(
                numbers("prior_precision", cast("ArrayLike", self.prior_precision))
            )
            if precision.shape != (k, k) or not np.isfinite(precision).all():
                raise ArgumentError(
                    f"prior_precision: an array of shape {precision.shape} given; finite numbers "
                    f"of shape ({k}, {k}) are needed"
                )
            if not np.allclose(precision, precision.T, rtol=1e-10):
                raise ArgumentError("prior_precision: it must be symmetric; give (m + m.T) / 2")
            object.__setattr__(self, "prior_precision", np.ascontiguousarray(precision))

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        matrix = np.asarray(self.X)
        if matrix.shape[1] != dim:
            raise ArgumentError(
                f"X: {matrix.shape[1]} columns given for a block of {dim} coordinates; a column "
                "for each is needed"
            )
        n = len(matrix)
        rest = self._of("data").minus(self._of("offset"))
        options: dict[str, Any] = {
            "matrix": matrix,
            "data": rest.resolved("data", n, oracles),
            **self._resolved(n, oracles, "variance"),
            **self._resolved(dim, oracles, "prior_mean"),
            "precision": self.prior_precision,
        }
        if self.prior_variance is not None:
            options |= self._resolved(dim, oracles, "prior_variance")
        return options


def _has_names(given: Any) -> bool:
    """Return whether a quantity depends on the state."""
    sources = (str, Grouped, Linear, Parsed)
    parts = given if isinstance(given, list | tuple) else [given]
    return any(isinstance(part, sources) for part in parts)


def _simplexes(x: Array, width: int | None) -> Array:
    """Return random starts (n, d) as vectors of probabilities, one after the other."""
    width = x.shape[1] if width is None else width
    if width == 0 or x.shape[1] % width:
        return x  # the block does not fit, as its law will say
    shares = _share(x).reshape(len(x), -1, width)
    rows: Array = shares / shares.sum(axis=2, keepdims=True)
    return rows.reshape(x.shape)


#: The conjugate blocks by their names.
BLOCKS: Mapping[str, type[ConjugateBlock]] = {
    kind.__name__: kind
    for kind in (
        NormalMean,
        NormalVariance,
        NormalMeanVariance,
        PoissonRate,
        GammaRate,
        BinomialProbability,
        MultinomialProbabilities,
        CategoricalProbabilities,
        RegressionCoefficients,
    )
}
for _kind in BLOCKS.values():
    public_class(_kind)
