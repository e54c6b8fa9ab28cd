"""The methods of samples that convert them for other libraries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import ArrayLike

from fermiac._base.calls import part_of, public
from fermiac._base.validate import RngLike
from fermiac.results import arviz, tables

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = ["SampleExports"]


@part_of("Sample", "fermiac.results.sample")
class SampleExports:
    """The part of `fermiac.Sample` that converts it to objects of other libraries."""

    def to_dataframe(self, *, library: str | None = None) -> Any:
        """Convert the sample to a table with a row for each draw.

        Parameters
        ----------
        library : {"pandas", "polars"}, optional
            The library of the table; by default one that is imported, else one that is installed.

        Returns
        -------
        pandas.DataFrame or polars.DataFrame
            The columns ``chain`` for chains, ``draw``, ``log_weight`` for a weighted sample (one
            for each law), and one for each coordinate. `from_arrays` reads such a table. Walks on a
            graph with labels have a column ``label`` beside the number of the node.

        Raises
        ------
        ArgumentError
            If a coordinate has the name of one of the other columns.
        ImportError
            If the library is not installed.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays([[1.0, 2.0], [3.0, 4.0]], names=["mu", "tau"])
        >>> s.to_dataframe()  # doctest: +SKIP
           draw   mu  tau
        0     0  1.0  2.0
        1     1  3.0  4.0
        """
        return tables.sample_frame(cast("Sample", self), library)

    def _more_columns(self) -> dict[str, list[Any]]:
        """Return further columns of `to_dataframe`."""
        return {}

    def to_xarray(self) -> Any:
        """Convert the sample to a dataset of xarray, with the dimensions chain and draw.

        Returns
        -------
        xarray.Dataset
            An array for each variable, with the labels of `coords` along its `dims`. Log-weights
            are a coordinate ``log_weight``.

        Raises
        ------
        ArgumentError
            If a variable has the name of an axis, or of the log-weights.
        ImportError
            If xarray is not installed.

        Notes
        -----
        ``arviz.convert_to_datatree`` and ``corner.corner`` take such a dataset, with all its names.
        Given the sample itself, they take only its array. This is equivalent only for chains, and
        the names are lost.
        """
        return tables.sample_xarray(cast("Sample", self))

    @public
    def to_zarr(self, path: str | os.PathLike[str]) -> Path:
        """Write the sample to a folder in the format of Zarr, which xarray and ArviZ open lazily.

        Parameters
        ----------
        path : str or path-like
            A new folder, as ``"x.zarr"``.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ArgumentError
            If the folder is there, or a variable has the name of an axis.
        CheckpointError
            If it cannot be written.

        Notes
        -----
        The groups are ``posterior``, with an array for each variable, and ``sample_stats``. Chunks
        are sections of chains of about four megabytes, so that samples larger than memory (see
        ``path=`` of `fermiac.mcmc.sample`) can be written and read piece by piece. Writing needs no
        other library. ``xarray.open_zarr("x.zarr", group="posterior")`` opens it, if zarr is
        installed.

        Examples
        --------
        >>> import tempfile, fermiac as fm
        >>> s = fm.Sample.from_arrays(fm.random.Stream(0).normal((4, 100, 1)), names=["mu"])
        >>> folder = tempfile.TemporaryDirectory()
        >>> s.to_zarr(folder.name + "/x.zarr").name
        'x.zarr'
        >>> folder.cleanup()
        """
        from fermiac.results.zarr_store import write_sample

        return write_sample(cast("Sample", self), path)

    def to_arviz(
        self,
        *,
        resample: bool = True,
        n: int | None = None,
        rng: RngLike = 0,
        log_likelihood: Mapping[str, ArrayLike] | bool | None = None,
        observed_data: Mapping[str, ArrayLike] | None = None,
        prior: Sample | Mapping[str, ArrayLike] | None = None,
    ) -> Any:
        """Convert the sample to the data of ArviZ.

        Parameters
        ----------
        resample : bool, default True
            Resample weighted points, since ArviZ has no weights. Otherwise the log-weights are in
            ``sample_stats``.
        n : int, optional
            The number of points after resampling; see `resample`.
        rng : None, int, numpy SeedSequence or Generator, default 0
            The seed of the resampling.
        log_likelihood : mapping of str to array_like, (n, ...) or (chains, n, ...), or bool
            Log-likelihoods by observation; by default `Sample.log_likelihood`. With them
            ``arviz.loo`` and ``arviz.compare`` work. Those of a model of PyMC, Stan or NumPyro are
            computed after the resampling, if they take at most 100 MB or this is True; False leaves
            them out.
        observed_data : mapping of str to array_like, optional
            The data; by default `Sample.observed_data`.
        prior : Sample or mapping of str to array_like, optional
            Draws from the prior: a sample, or arrays (n, ...) or (chains, n, ...) by the
            names of the variables.

        Returns
        -------
        xarray.DataTree or arviz.InferenceData
            A `DataTree` from ArviZ 1 on. It has the group ``posterior`` and, if there are data for
            them, ``sample_stats`` (``lp``, ``log_weight``, and the `stats` of chains, in which
            ``reached_max_depth`` becomes ``reached_max_tree_depth``), ``log_likelihood``,
            ``observed_data``, ``prior``, ``warmup_sample_stats`` and, for `fermiac.mcmc.Chains`,
            ``warmup_posterior``. The variables are those of `variables`, with the labels of
            `coords` along their `dims`.

        Raises
        ------
        ArgumentError
            If chains have weights and are to be resampled, a variable has the name of an axis, or
            the arrays of a group do not fit the draws. Also if log-likelihoods are requested by
            True and there is no model that provides them.
        ImportError
            If ArviZ is not installed.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays(fm.random.Stream(0).normal((4, 100, 1)), names=["mu"])
        >>> data = s.to_arviz(log_likelihood={"y": -0.5 * s.draws**2})  # doctest: +SKIP
        >>> import arviz as az  # doctest: +SKIP
        >>> az.loo(data)  # doctest: +SKIP
        """
        return arviz.to_arviz(
            cast("Sample", self), resample, n, rng, log_likelihood, observed_data, prior
        )
