"""The plot methods of samples; the plots themselves are in `fermiac.plotting`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from fermiac._base import registry
from fermiac._base.calls import part_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.distributions import Law
    from fermiac.results.sample import Sample

__all__ = ["Columns", "Names", "SamplePlots", "Truths"]

Columns = Sequence[int | str] | None
Names = str | Sequence[str] | None
Truths = Mapping[str, ArrayLike] | ArrayLike | None


@part_of("Sample", "fermiac.results.sample")
class SamplePlots:
    """The part of `fermiac.Sample` with the plot methods."""

    def plot_marginals(
        self,
        axes: Any = None,
        *,
        columns: Columns = None,
        var_names: Names = None,
        truths: Truths = None,
        prior: Law | Sample | None = None,
        labels: str | Sequence[str] | None = None,
    ) -> NDArray[Any]:
        """Draw a histogram of every coordinate; see `fermiac.plotting.plot_marginals`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_marginals")(
            self,
            axes,
            columns=columns,
            var_names=var_names,
            truths=truths,
            prior=prior,
            labels=labels,
        )
        return drawn

    def plot_pairs(
        self,
        axes: Any = None,
        *,
        columns: Columns = None,
        var_names: Names = None,
        truths: Truths = None,
        prior: Law | Sample | None = None,
        labels: str | Sequence[str] | None = None,
    ) -> NDArray[Any]:
        """Draw every pair of coordinates; see `fermiac.plotting.plot_pairs`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_pairs")(
            self,
            axes,
            columns=columns,
            var_names=var_names,
            truths=truths,
            prior=prior,
            labels=labels,
        )
        return drawn

    def plot_weights(self, ax: Axes | None = None) -> Axes:
        """Draw the tail of the weights; see `fermiac.plotting.plot_weights`."""
        drawn: Axes = registry.function("plotting", "plot_weights")(self, ax)
        return drawn

    def plot_trace(
        self,
        axes: Any = None,
        *,
        columns: Columns = None,
        var_names: Names = None,
        truths: Truths = None,
    ) -> NDArray[Any]:
        """Draw the traces of the chains; see `fermiac.plotting.plot_trace`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_trace")(
            self, axes, columns=columns, var_names=var_names, truths=truths
        )
        return drawn

    def plot_ranks(
        self, axes: Any = None, *, columns: Columns = None, var_names: Names = None
    ) -> NDArray[Any]:
        """Draw the ranks of the draws of each chain; see `fermiac.plotting.plot_ranks`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_ranks")(
            self, axes, columns=columns, var_names=var_names
        )
        return drawn

    def plot_autocorrelation(
        self,
        axes: Any = None,
        *,
        columns: Columns = None,
        var_names: Names = None,
        max_lag: int | None = None,
    ) -> NDArray[Any]:
        """Draw the autocorrelations; see `fermiac.plotting.plot_autocorrelation`."""
        drawn: NDArray[Any] = registry.function("plotting", "plot_autocorrelation")(
            self, axes, columns=columns, var_names=var_names, max_lag=max_lag
        )
        return drawn

    def plot_energy(self, ax: Axes | None = None, *, block: str | None = None) -> Axes:
        """Draw the energies and their changes; see `fermiac.plotting.plot_energy`."""
        drawn: Axes = registry.function("plotting", "plot_energy")(self, ax, block=block)
        return drawn
