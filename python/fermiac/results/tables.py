"""Samples as arrays, tables and labelled arrays of other libraries: NumPy, pandas, xarray."""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.frames import column_names, dataframe
from fermiac._base.validate import real_numbers, shown
from fermiac.errors import ArgumentError, WeightWarning
from fermiac.results.axes import dims_of
from fermiac.results.chain_errors import chain_shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fermiac.results.sample import Sample

__all__ = ["as_array", "by_chain", "from_frame", "refuse_axes", "sample_frame", "sample_xarray"]


def sample_frame(sample: Sample, library: str | None) -> Any:
    """Return the table of `Sample.to_dataframe`."""
    chains, n = chain_shape(sample)
    columns: dict[str, Any] = {"draw": np.tile(np.arange(n), chains)}
    if sample.draws.ndim == 3:
        columns = {"chain": np.repeat(np.arange(chains), n), **columns}
    if sample.log_weights is not None:
        each = sample.log_weights.reshape(sample.n_draws, -1)
        if each.shape[1] == 1:
            columns["log_weight"] = each[:, 0]
        else:
            columns |= {f"log_weight[{j}]": each[:, j] for j in range(each.shape[1])}
    columns |= sample._more_columns()
    refuse_axes(sample._labels, ("chain", *columns))
    points = sample.draws.reshape(-1, sample.dim)
    columns |= {name: points[:, j] for j, name in enumerate(sample._labels)}
    return dataframe(columns, library)


def from_frame(given: Any) -> tuple[Any, tuple[str, ...] | None, Any]:
    """Return points, names and log-weights of an object, which may be a table of `sample_frame`.

    The column ``draw`` of such a table numbers the draws of each chain and is not a coordinate; nor
    are ``chain`` and ``log_weight``. Other objects are returned unchanged.
    """
    names = column_names(given)
    if names is None or "draw" not in names or len(set(names)) < len(names):
        return given, names, None
    kept = [name for name in names if name not in ("chain", "draw", "log_weight")]
    if not kept:
        raise ArgumentError("draws: a table without a column for a coordinate given")
    points = real_numbers("draws", given[kept])
    log_weights = real_numbers("draws", given["log_weight"]) if "log_weight" in names else None
    has_chains = "chain" in names
    chain = real_numbers("draws", given["chain"]) if has_chains else np.zeros(len(points))
    # Chain by chain, and in each in the order of the draws.
    order = np.lexsort((real_numbers("draws", given["draw"]), chain))
    points, chain = points[order], chain[order]
    log_weights = None if log_weights is None else log_weights[order]
    lengths = np.unique(chain, return_counts=True)[1]
    if not has_chains:
        return points, tuple(kept), log_weights
    if len(set(lengths.tolist())) > 1:
        raise ArgumentError(
            f"draws: a table of chains of {min(lengths)} to {max(lengths)} draws given; one length "
            "is needed"
        )
    shape = (len(lengths), int(lengths[0]))
    weights = None if log_weights is None else log_weights.reshape(shape)
    return points.reshape(*shape, -1), tuple(kept), weights


def sample_xarray(sample: Sample) -> Any:
    """Return the dataset of `Sample.to_xarray`."""
    try:
        xarray: Any = importlib.import_module("xarray")
    except ImportError as error:
        raise ImportError("to_xarray needs xarray: pip install 'fermiac[arviz]'") from error
    refuse_axes(sample.variables.shapes, ("chain", "draw", "law", "log_weight"))
    chains, n = chain_shape(sample)
    dims = dims_of(sample.variables, sample.dims)
    variables = {
        name: (("chain", "draw", *dims.get(name, ())), array)
        for name, array in sample.variables.split(by_chain(sample, sample.draws)).items()
    }
    used = {dim for axes in dims.values() for dim in axes}
    coords: dict[str, Any] = {
        "chain": np.arange(chains),
        "draw": np.arange(n),
        **{dim: list(labels) for dim, labels in sample.coords.items() if dim in used},
    }
    if sample.log_weights is not None:
        array = by_chain(sample, sample.log_weights)
        coords["log_weight"] = (("chain", "draw", "law")[: array.ndim], array)
    attributes = {
        "inference_library": "fermiac",
        "inference_library_version": sample.version,
        "seed": "none" if sample.seed is None else str(sample.seed),  # 64 bits fit no netCDF int
    }
    return xarray.Dataset(variables, coords, attributes)


def as_array(sample: Sample, dtype: Any, copy: bool | None) -> NDArray[Any]:
    """Return the array of `Sample.__array__`.

    An array cannot have weights; a warning says that they are dropped.
    """
    if sample.log_weights is not None:
        text = (
            "the points of a weighted sample were taken as an array, which has no weights; take "
            "sample.resample() for points of equal weight, or sample.draws and sample.weights"
        )
        warning = WeightWarning(text)
        warning.result = sample
        warnings.warn(warning, stacklevel=3)
    try:
        return np.array(sample.draws, dtype, copy=copy)
    except Exception as error:
        raise ArgumentError(
            f"dtype, copy: {shown(dtype)}, {shown(copy)} given ({error}); a type of numbers is "
            "needed, and copy=False only for the type of the draws"
        ) from error


def as_arrays(given: Any) -> Any:
    """Return arguments of a function with the draws of samples in their place."""
    if isinstance(given, dict):
        return {key: as_arrays(value) for key, value in given.items()}
    if type(given) in (list, tuple):
        return type(given)(as_arrays(value) for value in given)
    return np.asarray(given) if hasattr(type(given), "__array_function__") else given


def by_chain(sample: Sample, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array with the leading axes (chain, draw)."""
    return array if sample.draws.ndim == 3 else array[None]


def refuse_axes(names: Iterable[str], taken: Iterable[str]) -> None:
    """Refuse names of coordinates or variables that have a meaning in a table."""
    if both := set(taken).intersection(names):
        raise ArgumentError(
            f"names: {min(both)!r} is the name of an axis or a column in the table; name it "
            "otherwise"
        )
