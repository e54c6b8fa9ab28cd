"""What other libraries make of a sample: pictures, and the data of ArviZ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import NDArray

from fermiac._rng import RngLike
from fermiac._sample_data import SampleData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac._sample import Sample

__all__ = ["SampleViews"]

Columns = Sequence[int | str] | None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SampleViews(SampleData):
    """The methods of `fermiac.Sample` that draw and convert."""

    def to_arviz(self, *, resample: bool = True, n: int | None = None, rng: RngLike = 0) -> Any:
        """Convert to what ArviZ works with.

        Parameters
        ----------
        resample : bool, default True
            Resample weighted points, since ArviZ knows no weights. Without, the log-weights are
            in ``sample_stats``.
        n : int, optional
            How many points to resample; see `resample`.
        rng : None, int, numpy SeedSequence or Generator, default 0
            The seed of the resampling.

        Returns
        -------
        xarray.DataTree or arviz.InferenceData
            The former from ArviZ 1 on. Groups ``posterior`` and, as far as there is something for
            them, ``sample_stats`` (``lp``, ``log_weight``, and the `stats` of chains, in which
            ``reached_max_depth`` becomes ``reached_max_tree_depth``),
            ``warmup_sample_stats`` and, of `fermiac.mcmc.Chains`, ``warmup_posterior``. Every name
            is a variable, names like ``x[0]``, ``x[1]`` are one; without names all coordinates are
            the variable ``x``.

        Raises
        ------
        ArgumentError
            If chains have weights and are to be resampled, or a coordinate has the name of an axis.
        ImportError
            If ArviZ is not installed.
        """
        from fermiac import _arviz

        return _arviz.to_arviz(cast("Sample", self), resample, n, rng)

    def plot_marginals(self, axes: Any = None) -> NDArray[Any]:
        """Draw a histogram of every coordinate; see `fermiac.plotting.plot_marginals`."""
        from fermiac import plotting

        return plotting.plot_marginals(cast("Sample", self), axes)

    def plot_pairs(self, axes: Any = None, *, columns: Columns = None) -> NDArray[Any]:
        """Draw every pair of coordinates; see `fermiac.plotting.plot_pairs`."""
        from fermiac import plotting

        return plotting.plot_pairs(cast("Sample", self), axes, columns=columns)

    def plot_weights(self, ax: Axes | None = None) -> Axes:
        """Draw the tail of the weights; see `fermiac.plotting.plot_weights`."""
        from fermiac import plotting

        return plotting.plot_weights(cast("Sample", self), ax)

    def plot_trace(self, axes: Any = None, *, columns: Columns = None) -> NDArray[Any]:
        """Draw the ways of the chains; see `fermiac.plotting.plot_trace`."""
        from fermiac import plotting

        return plotting.plot_trace(cast("Sample", self), axes, columns=columns)

    def plot_ranks(self, axes: Any = None, *, columns: Columns = None) -> NDArray[Any]:
        """Draw where the ranks of each chain lie; see `fermiac.plotting.plot_ranks`."""
        from fermiac import plotting

        return plotting.plot_ranks(cast("Sample", self), axes, columns=columns)

    def plot_autocorrelation(
        self, axes: Any = None, *, columns: Columns = None, max_lag: int | None = None
    ) -> NDArray[Any]:
        """Draw the correlations over time; see `fermiac.plotting.plot_autocorrelation`."""
        from fermiac import plotting

        return plotting.plot_autocorrelation(
            cast("Sample", self), axes, columns=columns, max_lag=max_lag
        )

    def plot_energy(self, ax: Axes | None = None, *, block: str | None = None) -> Axes:
        """Draw the energies and their steps; see `fermiac.plotting.plot_energy`."""
        from fermiac import plotting

        return plotting.plot_energy(cast("Sample", self), ax, block=block)
