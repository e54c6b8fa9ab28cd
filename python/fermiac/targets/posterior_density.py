"""The posterior of a likelihood and a prior, as a log-density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.validate import listed
from fermiac._base.variables import Params, Variables
from fermiac.distributions import Law, Product, as_law
from fermiac.distributions.law import Measure
from fermiac.targets.conversion import Gradient, as_target
from fermiac.targets.density import LogDensity
from fermiac.targets.named import named_law
from fermiac.targets.posteriors import law_density
from fermiac.targets.transformed_density import support_blocks
from fermiac.targets.transforms import Transform

__all__ = ["PosteriorDensity", "posterior"]

Array = NDArray[np.float64]
#: Laws of a prior at most.
_MOST = 2**20


class PosteriorDensity(LogDensity):
    """The log-density of a posterior, up to a constant, made by `posterior`.

    Attributes
    ----------
    prior : Law
        The prior.
    log_likelihood : LogDensity
        The log-likelihood.
    dim : int
        Coordinates of a point.
    names : tuple of str or None
        The names of the coordinates, if the prior, `params` or the likelihood has names.
    has_gradient : bool
        Whether likelihood and prior both have a gradient.

    Examples
    --------
    >>> import fermiac as fm
    >>> prior = fm.distributions.Normal(0.0, 3.0)
    >>> target = fm.targets.posterior(
    ...     fm.targets.as_target(fm.distributions.Normal(1.0)), prior
    ... )
    >>> target.dim, target.has_gradient
    (1, True)
    """

    __slots__ = ("_prior_density", "dim", "has_gradient", "log_likelihood", "names", "prior")

    form = "python"

    def __init__(
        self, log_likelihood: LogDensity, prior: Law, names: tuple[str, ...] | None
    ) -> None:
        self.prior = prior
        self.log_likelihood = log_likelihood
        self._prior_density = law_density(prior)
        self.dim = prior.dim
        self.names = names
        self.has_gradient = log_likelihood.has_gradient and self._prior_density.has_gradient

    def __repr__(self) -> str:
        return f"posterior({self.log_likelihood!r}, {self.prior!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return PosteriorDensity, (self.log_likelihood, self.prior, self.names)

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The constraints that the support of the prior requires, for ``transforms=``."""
        return support_blocks(self)

    def _support(self) -> list[tuple[float, float]]:
        return list(self.prior._support())

    def _measure(self) -> Measure:
        return self.prior._measure()

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        values, slopes = self._prior_density._evaluate(x, with_gradient)
        values = values.copy()
        # The likelihood need not exist outside the support of the prior.
        inside = np.flatnonzero(~(values == -np.inf))
        if not len(inside):
            return values, slopes
        more, more_slopes = self.log_likelihood._evaluate(x[inside], with_gradient)
        values[inside] += more
        if slopes is not None and more_slopes is not None:
            slopes = slopes.copy()
            slopes[inside] += more_slopes
        return values, slopes


@public
def posterior(
    log_likelihood: Any,
    prior: Law | Mapping[str, Any] | Sequence[Any],
    gradient: Gradient = None,
    *,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    check: bool = True,
) -> LogDensity:
    r"""Return the log-density of a posterior: log-likelihood plus log-prior.

    Parameters
    ----------
    log_likelihood : log-density, native function, torch module or callable
        Any form that `as_target` accepts. With a prior by names, or `params`, a Python function
        takes the parameters by name. It is called only inside the support of the prior.
    prior : law, mapping or sequence of laws
        A law; a mapping from names of parameters to laws, or to functions that return laws (see
        `fermiac.distributions.Joint`); or a list of laws, one after the other.
    gradient : None, True, "finite" or callable, default None
        The gradient of the log-likelihood, as for `as_target`; that of the prior is added.
        ``"finite"`` takes central differences of the whole log-density; the prior then needs no
        gradient.
    params, args, kwargs
        The parameters of the likelihood, by default those of the prior, and further arguments; see
        `as_target`.
    check : bool, default True
        See `as_target`.

    Returns
    -------
    LogDensity
        A `PosteriorDensity`, whose ``transforms`` are the constraints that the prior's support
        requires (``transforms="auto"`` of `fermiac.mcmc.sample`), or a log-density with a gradient
        by differences. It has a gradient if likelihood and prior have one; a prior with functions
        has none.

    Raises
    ------
    ArgumentError
        If the dimensions differ, or an argument is not as described.

    Examples
    --------
    >>> import fermiac as fm
    >>> Normal, Gamma = fm.distributions.Normal, fm.distributions.Gamma
    >>> def log_likelihood(mu, sigma, y):
    ...     z = (y - mu[:, None]) / sigma[:, None]
    ...     return -0.5 * (z**2).sum(axis=1) - len(y) * fm.special.log(sigma)
    >>> prior = {"mu": Normal(0.0, 5.0), "sigma": Gamma(2.0)}
    >>> target = fm.targets.posterior(
    ...     log_likelihood, prior, "finite", args=([1.2, 0.7, 2.1],)
    ... )
    >>> target.names
    ('mu', 'sigma')
    >>> s = fm.mcmc.sample(target, transforms="auto", rng=2)
    >>> bool((s.draws[..., 1] > 0).all())
    True
    """
    law, params = named_law(prior, params)
    items = listed(law, _MOST) if isinstance(law, list | tuple) else None
    if items is not None:
        law = Product(as_law(one, "prior") for one in items)
    law = as_law(law, "prior")
    slope: Gradient = None if isinstance(gradient, str) else gradient
    likelihood = as_target(
        log_likelihood, law.dim, slope, params=params, args=args, kwargs=kwargs, check=check
    )
    names = likelihood.names if params is None else Variables.of_params(params).names
    target = PosteriorDensity(likelihood, law, names)
    if not isinstance(gradient, str):
        return target
    return as_target(target, gradient=gradient)
