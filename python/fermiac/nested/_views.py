"""What other libraries make of a nested sampling run, and its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import ArrayLike, NDArray

from fermiac._rng import RngLike
from fermiac._sample import Sample

if TYPE_CHECKING:
    from fermiac.nested._result import Nested

__all__ = ["NestedViews"]

Columns = Sequence[int | str] | None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class NestedViews(Sample):
    """The methods of `fermiac.nested.Nested` that convert, write and draw."""

    def to_arviz(self, *, resample: bool = True, n: int | None = None, rng: RngLike = 0) -> Any:
        """Convert to what ArviZ works with; see `Sample.to_arviz`.

        The attributes have ``log_evidence``, ``log_evidence_stderr`` and ``information`` as well.

        Parameters
        ----------
        resample : bool, default True
            Resample the points, since ArviZ knows no weights. Without, the log-weights are in
            ``sample_stats``.
        n : int, optional
            How many points to resample; by default the effective sample size.
        rng : None, int, numpy SeedSequence or Generator, default 0
            The seed of the resampling.

        Returns
        -------
        xarray.DataTree or arviz.InferenceData

        Raises
        ------
        ArgumentError
            If a coordinate has the name of an axis.
        ImportError
            If ArviZ is not installed.
        """
        data = super().to_arviz(resample=resample, n=n, rng=rng)
        for name in ("log_evidence", "log_evidence_stderr", "information"):
            data.attrs[name] = data["posterior"].attrs[name] = getattr(self, name)
        return data

    def to_getdist(
        self,
        root: str | PathLike[str] | None = None,
        *,
        ranges: Mapping[str, tuple[float | None, float | None]] | None = None,
    ) -> Any:
        """Convert to what GetDist works with, or write its files.

        Parameters
        ----------
        root : str or path-like, optional
            Write ``root.txt``, ``root.paramnames`` and ``root.ranges``, which needs no GetDist.
        ranges : mapping of str to (low, high), optional
            Bounds of the prior by the names of the coordinates, None for no bound: densities are
            corrected for them.

        Returns
        -------
        getdist.MCSamples or None
            None where files were written.

        Raises
        ------
        ArgumentError
            If `ranges` has a name that no coordinate has.
        ImportError
            If `root` is not given and GetDist is not installed.

        Notes
        -----
        Points without weight are left out, weights are scaled to a largest one of 1. White space,
        ``*`` and ``?`` in names become underscores, as they mean something to GetDist.
        """
        from fermiac.nested import _exports

        return _exports.to_getdist(cast("Nested", self), root, ranges or {})

    def to_anesthetic(self) -> Any:
        """Convert to the nested samples of anesthetic.

        Returns
        -------
        anesthetic.NestedSamples
            It has points of likelihood 0 with a log-likelihood of -1e29, since it would drop those
            at -inf, and the prior mass that they stand for with them.

        Raises
        ------
        ImportError
            If anesthetic is not installed.
        """
        from fermiac.nested import _exports

        return _exports.to_anesthetic(cast("Nested", self))

    def to_dynesty(self) -> dict[str, Any]:
        """Convert to a dictionary with the names that dynesty's results have.

        Returns
        -------
        dict
            What ``dynesty.results.Results`` takes: ``niter``, ``ncall`` and ``eff`` (in percent),
            ``logl``, ``logwt``, ``logvol``, the running ``logz``, ``logzerr`` and ``information``,
            ``samples``, ``samples_u``, ``samples_id`` (the lineages), ``samples_it`` (the death
            after which a point was drawn), ``samples_n`` (live points) and ``blob`` (None for each
            point where there are none). With ``nlive`` it is a static run there, which a run is
            whose points died one at a time; others come as dynamic ones, with ``samples_batch``,
            ``batch_logl_bounds`` and ``batch_nlive``.

        Notes
        -----
        The points of the cube are NaN where they are not known; a log-likelihood of -inf is
        -1e300, as dynesty has it. ``jitter_run`` there gives what `simulate` gives here;
        ``resample_run`` takes lineages for gapless, which they are not where several points died
        at once: `bootstrap` knows.
        """
        from fermiac.nested import _exports

        return _exports.to_dynesty(cast("Nested", self))

    def write_dead_birth(self, root: str | PathLike[str]) -> None:
        """Write the points as PolyChord does, for anesthetic and others.

        Parameters
        ----------
        root : str or path-like
            The files are ``root_dead-birth.txt``, a line of parameters, log-likelihood and birth
            for each point, and ``root.paramnames``. `fermiac.nested.read_dead_birth` reads them.

        Notes
        -----
        -inf is written as -1e30 where it is a birth, and as -1e29 where it is a log-likelihood:
        readers drop points at -1e30, and the prior mass that they stand for with them.
        """
        from fermiac.nested import _files

        _files.write_dead_birth(cast("Nested", self), root)

    def plot_run(self, axes: Any = None, *, truth: float | None = None) -> NDArray[Any]:
        """Draw the run against the prior mass; see `fermiac.plotting.plot_run`."""
        from fermiac import plotting

        return plotting.plot_run(cast("Nested", self), axes, truth=truth)

    def plot_trace(self, axes: Any = None, *, columns: Columns = None) -> NDArray[Any]:
        """Draw where the points lie as it rises; see `fermiac.plotting.plot_nested_trace`."""
        from fermiac import plotting

        return plotting.plot_nested_trace(cast("Nested", self), axes, columns=columns)

    def plot_corner(
        self, axes: Any = None, *, columns: Columns = None, truths: ArrayLike | None = None
    ) -> NDArray[Any]:
        """Draw the marginals of the posterior; see `fermiac.plotting.plot_corner`."""
        from fermiac import plotting

        return plotting.plot_corner(cast("Nested", self), axes, columns=columns, truths=truths)

    def plot_live(self, level: float, axes: Any = None, *, columns: Columns = None) -> NDArray[Any]:
        """Draw the points alive at a log-likelihood; see `fermiac.plotting.plot_live`."""
        from fermiac import plotting

        return plotting.plot_live(cast("Nested", self), level, axes, columns=columns)
