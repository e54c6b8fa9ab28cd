"""Samples: draws with their weights, densities and statistics, and the methods on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.validate import numbered, taken, whole
from fermiac._base.variables import Variables
from fermiac.results import chain_summary, pictures, tables
from fermiac.results.axes import COORDS, DIMS, Coords, Dims, restricted
from fermiac.results.bounds import bounds_of, bounds_setting, with_bounds
from fermiac.results.error_models import error_model_of
from fermiac.results.result import Result
from fermiac.results.sample_averages import SampleAverages
from fermiac.results.sample_exports import SampleExports
from fermiac.results.sample_fields import checked
from fermiac.results.sample_plots import SamplePlots
from fermiac.results.sample_weights import SampleWeights

if TYPE_CHECKING:
    pass

__all__ = ["OTHER_SPACE", "Sample"]

Array = NDArray[np.float64]
#: The setting of samples whose log-densities are those of other points than their draws.
OTHER_SPACE = "log_densities"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Sample(SampleAverages, SampleWeights, SampleExports, SamplePlots, Result):
    """Points, with weights if they were not drawn from the target itself.

    Attributes
    ----------
    draws : ndarray, shape (n, d) or (chains, n, d)
        The points.
    log_weights : ndarray, shape (n,) or (n, L), or None
        Logarithms of the importance weights p / g, one column for each of several laws. Their
        scale is kept: the mean of the weights estimates the ratio of the normalising constants of
        p and g, which is 1 if both densities are normalised.
    log_densities : ndarray, shape (n,), or None
        Logarithms of the target density at the points, up to a constant.
    gradients : ndarray, shape (n, d), or None
        Gradients of the target log-density at the points.
    names : tuple of str
        Names of the coordinates.
    error_model : str
        The method for errors of averages over the sample: ``"iid"``, ``"weighted"``, ``"chains"``,
        or ``"replicas"``, with replicates of Sobol' points in place of chains.
    stats : mapping of str to ndarray, shape (chains, n)
        Statistics of each transition of the chains: ``acceptance_rate``, ``energy``,
        ``energy_error``, ``diverging``, ``n_steps``, ``tree_depth``, ``reached_max_depth``,
        ``step_size``, ``n_evals``, as far as the kernel has them. Those of a Gibbs block begin
        with its name, like ``x.energy``.
    warmup_stats : mapping of str to ndarray, shape (chains, n_warmup)
        The statistics of the warm-up, if it was kept.
    coords : mapping of str to tuple
        Labels along named dimensions: ``{"school": ("Choate", "Deerfield")}``.
    dims : mapping of str to tuple of str
        The names of the dimensions of variables with axes: ``{"theta": ("school",)}``.
    log_likelihood : mapping of str to ndarray, shape (n, ...) or (chains, n, ...)
        The log-likelihoods of single observations at each draw, by the names of the data.
    observed_data : mapping of str to ndarray
        The data themselves.

    Notes
    -----
    For chains, the other arrays also have the chains as their first axis. `from_arrays` makes a
    sample from points of any origin.

    The names of the coordinates define variables and their shapes: ``mu`` is a number,
    ``theta[0]``, ``theta[1]``, ... are one vector, ``m[0, 0]``, ``m[0, 1]``, ... a matrix in C
    order; see `variables`. A sample behaves like a DataFrame: ``sample["theta"]`` is a variable,
    ``sample[100:]`` are some of the draws, ``len(sample)`` is the number of draws (of each chain),
    ``"theta" in sample`` and ``for name in sample`` refer to names. ``numpy.asarray(sample)`` is
    `draws`.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((4, 500, 4))
    >>> s = fm.Sample.from_arrays(x, names=["mu", "theta[0]", "theta[1]", "theta[2]"])
    >>> list(s), s["theta"].shape, s["theta[2]"].shape
    (['mu', 'theta'], (4, 500, 3), (4, 500))
    >>> len(s), len(s[100:]), s[[0, 2], ::10].draws.shape
    (500, 400, (2, 50, 4))
    """

    draws: Array
    log_weights: Array | None = None
    log_densities: Array | None = None
    gradients: Array | None = None
    names: tuple[str, ...] = ()
    error_model: str = "iid"
    stats: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    warmup_stats: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    coords: Coords = field(default_factory=dict)
    dims: Dims = field(default_factory=dict)
    log_likelihood: Mapping[str, Array] = field(default_factory=dict)
    observed_data: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    _layout: ClassVar[fit.Layout] = {
        "draws": fit.array("fiu", "*points", "d", finite=True, least=1),
        "log_weights": fit.maybe(
            fit.either(fit.array("fiu", "*points"), fit.array("fiu", "*points", "laws"))
        ),
        "log_densities": fit.maybe(fit.array("fiu", "*points")),
        "gradients": fit.maybe(fit.array("fiu", "*points", "d")),
        "names": fit.texts,
        "settings": with_bounds,
        "error_model": fit.text(),
        "stats": fit.mapping(fit.array("biuf", "*points")),
        "warmup_stats": fit.mapping(fit.array("biuf", "chains", "warmup")),
        "coords": COORDS,
        "dims": DIMS,
        "log_likelihood": fit.mapping(fit.array("f")),
        "observed_data": fit.mapping(fit.array("biuf")),
    }

    @property
    def _error_model_name(self) -> str:
        """The name under which the error model is registered."""
        return self.error_model

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in checked(self).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_arrays(
        cls,
        draws: ArrayLike,
        log_weights: ArrayLike | None = None,
        *,
        log_densities: ArrayLike | None = None,
        gradients: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        coords: Mapping[str, Sequence[Any]] | None = None,
        dims: Mapping[str, Sequence[str]] | None = None,
        log_likelihood: Mapping[str, ArrayLike] | None = None,
        observed_data: Mapping[str, ArrayLike] | None = None,
        seed: int | None = None,
    ) -> Sample:
        """Make a sample from arrays of points of any origin.

        Parameters
        ----------
        draws : array_like, shape (n, d), (n,) for one coordinate, or (chains, n, d)
            Points; those of an array (n, d) count as independent. A DataFrame of pandas or polars
            also gives the names of its columns. One from `to_dataframe` also gives chains and
            log-weights.
        log_weights : array_like, shape (n,), optional
            Logarithms of the weights, -inf for a weight of 0; by default all weights are equal.
        log_densities : array_like, shape (n,), optional
            Logarithms of the target density at the points, up to a constant; `reweight` uses them.
        gradients : array_like, shape (n, d), optional
            Gradients of the log-density; ``expect(..., controls="stein")`` uses them.
        names : sequence of str, optional
            Names of the coordinates; ``theta[0]``, ``theta[1]``, ... form a variable ``theta``.
        coords, dims : mapping, optional
            Labels along dimensions, and the dimensions of variables: `Sample.coords`,
            `Sample.dims`.
        log_likelihood, observed_data : mapping, optional
            Log-likelihoods by observation, (n, ...) or (chains, n, ...), and the data.
        seed : int, optional
            The seed of the points; `merge` refuses samples with equal seeds.

        Returns
        -------
        Sample
            Its error model is ``"iid"`` without weights and ``"weighted"`` with weights. For an
            array (chains, n, d) it is ``"chains"``, since the draws of a chain are dependent.

        Raises
        ------
        ArgumentError
            If the shapes do not fit, a number is NaN, or a log-weight is +inf.

        Examples
        --------
        Points from N(0, 2²), weighted for N(0, 1):

        >>> import numpy as np, fermiac as fm
        >>> x = fm.distributions.Normal(0.0, 2.0).sample(4000, rng=0)
        >>> s = fm.Sample.from_arrays(x, -0.5 * x[:, 0] ** 2 + 0.5 * (x[:, 0] / 2) ** 2)
        >>> e = s.expect(lambda x: x[:, 0] ** 2)
        >>> bool(abs(e.mean - 1) < 5 * e.stderr)
        True
        """
        given, columns, weights = tables.from_frame(draws)
        points = taken("draws", given)
        log_weights = weights if log_weights is None else log_weights
        return Sample(
            seed=None if seed is None else whole("seed", seed, 0, 2**64 - 1),
            version=_core.__version__,
            isa=_core.isa_level,
            settings={},
            n_evals=0,
            wall_time=0.0,
            draws=points[:, None] if points.ndim == 1 else points,
            log_weights=log_weights,  # type: ignore[arg-type]  # checked and converted
            log_densities=log_densities,  # type: ignore[arg-type]
            gradients=gradients,  # type: ignore[arg-type]
            names=columns if names is None else names,  # type: ignore[arg-type]
            error_model=(
                "chains" if points.ndim == 3 else "iid" if log_weights is None else "weighted"
            ),
            coords=_or_empty(coords),
            dims=_or_empty(dims),
            log_likelihood=_or_empty(log_likelihood),
            observed_data=_or_empty(observed_data),
        )

    def __getitem__(self, key: Any) -> Any:
        """Return a variable by its name, or the sample of some draws.

        Parameters
        ----------
        key : str, slice, or pair of chains and a slice
            ``sample["theta"]`` is the array of a variable, with the leading axes of `draws` and
            then its own; ``sample["theta[2]"]`` is that of one coordinate. ``sample[100:]`` and
            ``sample[..., ::10]`` are samples of some draws of every chain. ``sample[[0, 2], 100:]``
            selects chains, too, as ``isel`` does in xarray.

        Returns
        -------
        ndarray or Sample

        Raises
        ------
        UnknownNameError
            If there is no parameter of this name; it is a KeyError as well.
        ArgumentError
            If the key is of another kind, if it selects no draw, or for samples of nested sampling
            and walks, whose parts are not samples.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays(fm.random.Stream(0).normal((100, 2)), names=["mu", "tau"])
        >>> s["tau"].shape
        (100,)
        >>> s[::2]
        Sample of 50 points in 2 dimensions
        """
        from fermiac.results.selection import part

        return part(self, key)

    def __len__(self) -> int:
        return int(self.draws.shape[-2])

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables.shapes)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in self.variables.shapes or name in self.variables.names
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return `draws`, for ``numpy.asarray``; weighted points give a warning."""
        return tables.as_array(self, dtype, copy)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Return a function of NumPy of `draws`, as in ``numpy.mean(sample, axis=0)``."""
        return function(*tables.as_arrays(args), **tables.as_arrays(kwargs))

    @property
    def variables(self) -> Variables:
        """The variables that the names of the coordinates define.

        The attribute ``shapes`` maps the names of the variables to their shapes.
        """
        return _variables(self._labels)

    @property
    def dim(self) -> int:
        """The number of coordinates of a point."""
        return int(self.draws.shape[-1])

    @property
    def n_draws(self) -> int:
        """The number of points; for chains, the number of all draws."""
        return self.draws.size // self.dim

    @property
    def bounds(self) -> Array:
        """The bounds of the support of every coordinate, shape (d, 2).

        They come from the prior, the law or the transforms of a target, and are infinite if none of
        these defines bounds. Plots respect them.
        """
        return bounds_of(self.settings, self.dim)

    def merge(self, *others: Sample) -> Sample:
        """Join independent samples of the same target into one.

        Parameters
        ----------
        *others : Sample
            Samples with the same coordinates and error model; chains of the same length.
            Log-weights keep their scale and must be relative to the same unnormalised target.

        Returns
        -------
        Sample
            All points; ``settings["seeds"]`` lists their seeds. Chains are put side by side, with
            the `stats` that all samples have.

        Raises
        ------
        ArgumentError
            If the samples do not match, or if two have the same seed or the same points.

        Warns
        -----
        ConvergenceWarning
            If the chains, taken together, have not converged or have diverged.

        Examples
        --------
        >>> import fermiac as fm
        >>> law = fm.distributions.Normal()
        >>> a, b = (fm.Sample.from_arrays(law.sample(10, rng=k), seed=k) for k in (1, 2))
        >>> a.merge(b).n_draws
        20
        """
        from fermiac.results import reweight as weights

        return weights.merge(self, others)

    @cached_property
    def _convergence(self) -> chain_summary.Convergence | None:
        """The convergence of chains for the headline; that of its warnings, if there were any."""
        return chain_summary.of_headline(self)

    def _headline(self) -> str:
        if error_model_of(self).of_chains:
            return chain_summary.headline(self, self._convergence)
        dimensions = "1 dimension" if self.dim == 1 else f"{self.dim} dimensions"
        return f"Sample of {self.n_draws} points in {dimensions}{self._weighted}"

    @property
    def _weighted(self) -> str:
        """Return the ESS of the weights for a headline, or an empty text without weights."""
        if self.log_weights is None:
            return ""
        return f", weighted: ESS {np.min(self._ess_of_weights):.0f}"

    def _picture(self) -> str:
        return pictures.of_sample(self)

    @property
    def _points(self) -> Array:
        return np.ascontiguousarray(self.draws.reshape(-1, self.dim), dtype=np.float64)

    @property
    def _labels(self) -> tuple[str, ...]:
        """Return the names, or x[0], x[1] and so on."""
        return self.names or numbered("x", self.dim)

    def _coordinates(self, columns: Sequence[int]) -> Self:
        """Return the sample of some coordinates."""
        chosen = list(columns)
        # A view, as draws may be on the disk.
        at = (
            slice(columns.start, columns.stop, columns.step)
            if isinstance(columns, range)
            else chosen
        )
        others = {name: value for name, value in self.settings.items() if name != "bounds"}
        names = tuple(self._labels[j] for j in chosen)
        whole_ones = Variables.of_names(names).shapes.items() & self.variables.shapes.items()
        coords, dims = restricted(
            self.coords,
            self.dims,
            [*(name for name, _ in whole_ones), *self.log_likelihood, *self.observed_data],
        )
        return replace(
            self,
            settings={**others, **bounds_setting(self.bounds[chosen])},
            draws=self.draws[..., at],
            gradients=None if self.gradients is None else self.gradients[..., at],
            names=names,
            coords=coords,
            dims=dims,
        )


@lru_cache(maxsize=32)
def _variables(names: tuple[str, ...]) -> Variables:
    return Variables.of_names(names)


def _or_empty(given: Any) -> Any:
    return {} if given is None else given
