"""Conjugate blocks of counts and waiting times: rates and probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public_class
from fermiac._base.validate import numbers, whole
from fermiac.errors import ArgumentError
from fermiac.mcmc.conjugate import ConjugateBlock, positive_start, share_start
from fermiac.mcmc.kernel import Oracles
from fermiac.mcmc.quantities import Grouped, Linear, Parsed, Quantity, n_places

__all__ = [
    "BinomialProbability",
    "CategoricalProbabilities",
    "GammaRate",
    "MultinomialProbabilities",
    "PoissonRate",
]

Array = NDArray[np.float64]


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
        return positive_start(x)


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
        return positive_start(x)


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
        return share_start(x)


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
    shares = share_start(x).reshape(len(x), -1, width)
    rows: Array = shares / shares.sum(axis=2, keepdims=True)
    return rows.reshape(x.shape)


for _kind in (
    BinomialProbability,
    CategoricalProbabilities,
    GammaRate,
    MultinomialProbabilities,
    PoissonRate,
):
    public_class(_kind)
