"""Exact draws of blocks: conjugate blocks, laws by their parameters, and native functions.

The conjugate blocks (`NormalMean`, ...) are drawn by the core. For the laws (`Normal`, ...) the
parameters are given by one function of the points of the chains of a batch, (n, d). It returns them
as a tuple; a single parameter needs no tuple. Each is a number, an array (n,) for all coordinates
of the block, or (n, b) with a column for each. `native` calls a C function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.tensors import to_numpy
from fermiac.errors import ArgumentError, TargetError
from fermiac.mcmc.conditional import adapter
from fermiac.mcmc.conjugate_counts import (
    BinomialProbability,
    CategoricalProbabilities,
    GammaRate,
    MultinomialProbabilities,
    PoissonRate,
)
from fermiac.mcmc.conjugate_normal import (
    NormalMean,
    NormalMeanVariance,
    NormalVariance,
    RegressionCoefficients,
)
from fermiac.mcmc.kernel import Kernel, Oracles, Spec, described
from fermiac.mcmc.native_draw import (
    NativeConditional,
    StreamFunctions,
    native,
    stream_functions,
    stream_header,
)
from fermiac.mcmc.quantities import Grouped, Linear
from fermiac.mcmc.row_generator import RowGenerator
from fermiac.targets.rows import compare_rows

__all__ = [
    "Beta",
    "BinomialProbability",
    "Categorical",
    "CategoricalProbabilities",
    "Dirichlet",
    "Gamma",
    "GammaRate",
    "Grouped",
    "InverseGamma",
    "Linear",
    "MultinomialProbabilities",
    "MultivariateNormal",
    "NativeConditional",
    "Normal",
    "NormalMean",
    "NormalMeanVariance",
    "NormalVariance",
    "PoissonRate",
    "RegressionCoefficients",
    "StreamFunctions",
    "TruncatedNormal",
    "native",
    "stream_functions",
    "stream_header",
]

Array = NDArray[np.float64]
Size = tuple[int, int]


@dataclass(frozen=True)
class Law(Kernel):
    """Base class of the blocks with a law of known form.

    Parameters
    ----------
    parameters : callable (n, d) -> tuple of array_like
        The law's parameters at n points.

    Raises
    ------
    ArgumentError
        If `parameters` is not callable; in a run, if a parameter is outside its domain.
    TargetError
        In a run: if it returns another number of parameters, or shapes that do not fit.
    """

    needs_density: ClassVar[bool] = False
    needs_volume: ClassVar[bool] = False
    _names: ClassVar[tuple[str, ...]] = ()

    parameters: Callable[[Array], Any]

    def __post_init__(self) -> None:
        if not callable(self.parameters):
            raise ArgumentError(
                f"parameters: {type(self.parameters).__name__} given; a function (n, d) -> "
                f"({', '.join(self._names)}) is needed"
            )

    def _sample(self, rng: RowGenerator, size: Size, given: list[ArrayLike]) -> ArrayLike:
        raise NotImplementedError

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        unseen = True

        def parameters(x: Array) -> Any:
            given = self.parameters(x)
            if len(self._names) == 1 and not isinstance(given, tuple):
                given = (given,)
            return tuple(map(to_numpy, given)) if isinstance(given, tuple | list) else given

        def draw(x: Array, rng: RowGenerator) -> ArrayLike:
            nonlocal unseen
            if unseen and len(x):
                of = f"the parameters of {type(self).__name__}"
                compare_rows(parameters, x, of, parts=len(self._names), constant=True)
                unseen = False
            given = parameters(x)
            if not isinstance(given, tuple | list) or len(given) != len(self._names):
                raise TargetError(
                    f"the parameters of {type(self).__name__} must be given as a tuple "
                    f"({', '.join(self._names)}); {type(given).__name__} given"
                )
            return self._sample(rng, (len(x), dim), list(given))

        what = f"{type(self).__name__}({described(self.parameters)})"
        return "draw", {"oracle": oracles.add("draw", adapter(draw, oracles, what))}

    def _settings(self) -> dict[str, Any]:
        return {"kernel": type(self).__name__, "parameters": described(self.parameters)}


def _columns(given: list[ArrayLike]) -> list[ArrayLike]:
    """Return the parameters, with numbers for all coordinates of a chain as columns."""
    arrays = [np.asarray(p) for p in given]
    return [array[:, None] if array.ndim == 1 else array for array in arrays]


class Normal(Law):
    """Normal numbers with parameters (mean, standard deviation).

    Examples
    --------
    >>> import fermiac as fm
    >>> def given(i):
    ...     return fm.mcmc.conditionals.Normal(lambda x: (0.5 * x[:, i], 0.75**0.5))
    >>> kernel = fm.mcmc.Gibbs([("x", given(1)), ("y", given(0))], blocks={"x": 0, "y": 1})
    >>> s = fm.mcmc.sample(None, 2, kernel=kernel, n_draws=1000, rng=0)
    >>> s.draws.shape
    (4, 1000, 2)
    """

    _names = ("mean", "sd")

    def _sample(self, rng: RowGenerator, size: Size, given: list[ArrayLike]) -> ArrayLike:
        mean, sd = _columns(given)
        return rng.normal(mean, sd, size)


class TruncatedNormal(Law):
    """Normal numbers between bounds, with parameters (mean, standard deviation, low, high).

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.TruncatedNormal(lambda x: (0.0, 1.0, 0.0, np.inf))
    >>> s = fm.mcmc.sample(None, 1, kernel=kernel, n_draws=300, rng=0)
    >>> s.draws.shape
    (4, 300, 1)
    """

    _names = ("mean", "sd", "low", "high")

    def _sample(self, rng: RowGenerator, size: Size, given: list[ArrayLike]) -> ArrayLike:
        mean, sd, low, high = _columns(given)
        return rng.truncated_normal(mean, sd, low, high, size)


class Gamma(Law):
    """Gamma numbers with parameters (shape, scale): mean shape times scale (1 / rate).

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.Gamma(lambda x: (2.0, 0.5))
    >>> s = fm.mcmc.sample(None, 1, kernel=kernel, n_draws=300, rng=0)
    >>> s.draws.shape
    (4, 300, 1)
    """

    _names = ("shape", "scale")

    def _sample(self, rng: RowGenerator, size: Size, given: list[ArrayLike]) -> ArrayLike:
        shape, scale = _columns(given)
        return rng.gamma(shape, scale, size)


class InverseGamma(Law):
    """Inverse gamma numbers, (shape, scale): density x**(-shape - 1) exp(-scale / x).

    Examples
    --------
    The variance and the mean of normal data:

    >>> import numpy as np
    >>> import fermiac as fm
    >>> data = np.array([4.8, 5.3, 6.1, 4.4, 5.9])
    >>> def variance(x):
    ...     return 0.5 * len(data) + 1, 1 + 0.5 * ((data - x[:, :1]) ** 2).sum(axis=1)
    >>> def mean(x):
    ...     return data.mean(), np.sqrt(x[:, 1] / len(data))
    >>> of = fm.mcmc.conditionals
    >>> kernel = fm.mcmc.Gibbs(
    ...     [("mean", of.Normal(mean)), ("variance", of.InverseGamma(variance))],
    ...     blocks={"mean": 0, "variance": 1},
    ... )
    >>> s = fm.mcmc.sample(None, 2, kernel=kernel, init=[5.0, 1.0], n_draws=1000, rng=0)
    >>> bool((s.draws[..., 1] > 0).all())
    True
    """

    _names = ("shape", "scale")

    def _sample(self, rng: RowGenerator, size: Size, given: list[ArrayLike]) -> ArrayLike:
        shape, scale = _columns(given)
        return rng.inverse_gamma(shape, scale, size)


class Beta(Law):
    """Beta numbers with parameters (a, b): density x**(a - 1) (1 - x)**(b - 1).

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.Beta(lambda x: (2.0, 3.0))
    >>> s = fm.mcmc.sample(None, 1, kernel=kernel, n_draws=300, rng=0)
    >>> s.draws.shape
    (4, 300, 1)
    """

    _names = ("a", "b")

    def _sample(self, rng: RowGenerator, size: Size, given: list[ArrayLike]) -> ArrayLike:
        a, b = _columns(given)
        return rng.beta(a, b, size)


class Dirichlet(Law):
    """A Dirichlet vector that fills the block, with concentrations (n, b) or (b,).

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.Dirichlet(lambda x: [1.0, 2.0, 3.0])
    >>> s = fm.mcmc.sample(None, 3, kernel=kernel, n_draws=300, rng=0)
    >>> s.draws.shape
    (4, 300, 3)
    """

    _names = ("alpha",)

    def _sample(self, rng: RowGenerator, size: Size, given: list[ArrayLike]) -> ArrayLike:
        return rng.dirichlet(given[0])


class MultivariateNormal(Law):
    """A normal block with parameters (shift s, precision P): mean P⁻¹ s, covariance P⁻¹.

    The log-density of the block is sᵀx - xᵀPx/2: the shifts and precisions of independent normal
    terms add up. Shapes (n, b) or (b,), and (n, b, b) or (b, b).

    Examples
    --------
    >>> import fermiac as fm
    >>> precision = [[2.0, 1.0], [1.0, 2.0]]
    >>> kernel = fm.mcmc.conditionals.MultivariateNormal(lambda x: ([1.0, 0.0], precision))
    >>> s = fm.mcmc.sample(None, 2, kernel=kernel, n_draws=300, rng=0)
    >>> s.draws.shape
    (4, 300, 2)
    """

    _names = ("shift", "precision")

    def _sample(self, rng: RowGenerator, size: Size, given: list[ArrayLike]) -> ArrayLike:
        n, b = size
        shift, precision = (np.asarray(p, np.float64) for p in given)
        if precision.shape not in ((b, b), (n, b, b)) or shift.shape not in ((b,), (n, b)):
            raise TargetError(
                f"the parameters of MultivariateNormal have shapes {shift.shape} and "
                f"{precision.shape}; ({n}, {b}) and ({n}, {b}, {b}) are needed"
            )
        shift = np.broadcast_to(shift, size)[..., None]
        try:
            mean = np.linalg.solve(np.broadcast_to(precision, (n, b, b)), shift)[..., 0]
        except np.linalg.LinAlgError as error:
            raise ArgumentError("precision: a matrix is not positive definite") from error
        return rng.multivariate_normal(mean, precision=precision)


class Categorical(Law):
    """A number 0, 1, ..., k - 1 with log-weights (n, k) or (k,).

    The weights need not sum to 1. A weight of 0 has the log-weight -inf.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.Categorical(lambda x: np.log([0.2, 0.5, 0.3]))
    >>> s = fm.mcmc.sample(None, 1, kernel=kernel, n_draws=300, rng=0)
    >>> np.unique(s.draws)
    array([0., 1., 2.])
    """

    _names = ("log_weights",)

    def _sample(self, rng: RowGenerator, size: Size, given: list[ArrayLike]) -> ArrayLike:
        return rng.categorical_log(given[0])


def __dir__() -> list[str]:
    return sorted(__all__)
