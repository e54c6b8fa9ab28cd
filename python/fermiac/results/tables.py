"""Samples as arrays, tables and labelled arrays of other libraries: NumPy, pandas, xarray."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import choice, shown
from fermiac.errors import ArgumentError, WeightWarning
from fermiac.results.axes import dims_of
from fermiac.results.chain_errors import chain_shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fermiac.results.sample import Sample

__all__ = ["as_array", "by_chain", "dataframe", "refuse_axes", "sample_frame", "sample_xarray"]

_LIBRARIES = ("pandas", "polars")


def dataframe(columns: dict[str, Any], library: str | None) -> Any:
    """Return columns as a DataFrame of a library; by default of the one that is imported or there.

    Pandas comes first.
    """
    if library is not None:
        wanted = [choice("library", library, _LIBRARIES)]
    else:
        wanted = sorted(_LIBRARIES, key=lambda name: name not in sys.modules)
    for name in wanted:
        try:
            return importlib.import_module(name).DataFrame(columns)
        except ImportError:
            continue
    needed = " or ".join(wanted)
    raise ImportError(f"to_dataframe needs {needed}: pip install {wanted[0]}")


def sample_frame(sample: Sample, library: str | None) -> Any:
    """Return the table of `Sample.to_dataframe`."""
    chains, n = chain_shape(sample)
    columns: dict[str, NDArray[Any]] = {
        "chain": np.repeat(np.arange(chains), n),
        "draw": np.tile(np.arange(n), chains),
    }
    if sample.log_weights is not None:
        each = sample.log_weights.reshape(sample.n_draws, -1)
        if each.shape[1] == 1:
            columns["log_weight"] = each[:, 0]
        else:
            columns |= {f"log_weight[{j}]": each[:, j] for j in range(each.shape[1])}
    refuse_axes(sample._labels, columns)
    points = sample.draws.reshape(-1, sample.dim)
    columns |= {name: points[:, j] for j, name in enumerate(sample._labels)}
    return dataframe(columns, library)


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

    Weights, which an array cannot have, are not dropped without a word.
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


def by_chain(sample: Sample, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array with the leading axes (chain, draw)."""
    return array if sample.draws.ndim == 3 else array[None]


def refuse_axes(names: Iterable[str], taken: Iterable[str]) -> None:
    """Refuse names of coordinates or variables that have another meaning in a table."""
    if both := set(taken).intersection(names):
        raise ArgumentError(
            f"names: {min(both)!r} is the name of an axis or a column in the table; name it "
            "otherwise"
        )
