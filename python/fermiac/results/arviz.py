"""Conversion of samples to ArviZ, for its version 1 and the versions before."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import RngLike, yes
from fermiac.errors import ArgumentError
from fermiac.results.error_models import error_model_of

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = ["to_arviz"]

Array = NDArray[np.float64]


def to_arviz(sample: Sample, resample: bool, n: int | None, rng: RngLike) -> Any:
    """Return the data of `Sample.to_arviz`."""
    try:
        # Imported by name, since its versions differ in their arguments and types.
        arviz: Any = importlib.import_module("arviz")
    except ImportError as error:
        raise ImportError("to_arviz needs ArviZ: pip install 'fermiac[arviz]'") from error
    source = sample
    if yes("resample", resample) and sample.log_weights is not None:
        if error_model_of(sample).of_chains:
            raise ArgumentError(
                "resample: chains with weights given, of which resampling makes no chains; give "
                "resample=False, which puts the log-weights into sample_stats"
            )
        sample = sample.resample(n, rng=rng)
    posterior, dims, coords = _variables(sample, sample.draws)
    warmup = getattr(sample, "warmup_draws", None)
    known = {"lp": sample.log_densities, "log_weight": sample.log_weights}
    stats = {k: _chains(sample, v) for k, v in known.items() if v is not None}
    groups = {
        "posterior": posterior,
        "sample_stats": stats | _renamed(sample.stats),
        "warmup_posterior": {} if warmup is None else _variables(sample, warmup)[0],
        "warmup_sample_stats": _renamed(sample.warmup_stats),
    }
    groups = {name: group for name, group in groups.items() if group}
    if int(arviz.__version__.split(".")[0]) >= 1:
        data = arviz.from_dict(groups, coords=coords, dims=dims, save_warmup=True)
    else:
        # These versions take a nested dictionary for one group of variables.
        data = arviz.from_dict(**groups, coords=coords, dims=dims, save_warmup=True)
    attributes = {
        "inference_library": "fermiac",
        "inference_library_version": source.version,
        "seed": "none" if source.seed is None else str(source.seed),  # 64 bits fit no netCDF int
        "method": str(source.settings.get("method", source.error_model)),
        "sampling_time": source.wall_time,
    }
    if "n_warmup" in source.settings:
        attributes["tuning_steps"] = int(source.settings["n_warmup"])
    data.attrs.update(attributes)
    data["posterior"].attrs.update(attributes)
    return data


def _renamed(stats: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the statistics under the names of ArviZ's schema; a prefix of a block stays."""
    ours = re.compile(r"(^|\.)reached_max_depth$")
    return {ours.sub(r"\1reached_max_tree_depth", name): array for name, array in stats.items()}


def _chains(sample: Sample, array: Array) -> Array:
    """Return an array with the leading axes (chain, draw)."""
    return array if sample.draws.ndim == 3 else array[None]


def _variables(
    sample: Sample, draws: Array
) -> tuple[dict[str, Array], dict[str, list[str]], dict[str, NDArray[Any]]]:
    """Return the variables, their dimensions and the coordinates of these."""
    draws = _chains(sample, draws)
    names = sample._labels
    if taken_by_axes := {"chain", "draw"}.intersection(names):
        raise ArgumentError(
            f"names: {min(taken_by_axes)!r} is the name of an axis in ArviZ; name it otherwise"
        )
    # Names like x[0], x[1], … become one vector if none is missing.
    parts: dict[str, list[tuple[int, int]]] = {}
    for column, name in enumerate(names):
        if match := re.fullmatch(r"(.+)\[(\d+)\]", name):
            parts.setdefault(match[1], []).append((int(match[2]), column))
    vectors = {
        base: [column for _, column in sorted(members)]
        for base, members in parts.items()
        if [i for i, _ in sorted(members)] == list(range(len(members)))
        and base not in names
        and f"{base}_dim_0" not in names
    }
    taken = {column for columns in vectors.values() for column in columns}
    variables = {name: draws[..., j] for j, name in enumerate(names) if j not in taken}
    variables |= {base: draws[..., columns] for base, columns in vectors.items()}
    dims = {base: [f"{base}_dim_0"] for base in vectors}
    coords = {f"{base}_dim_0": np.arange(len(columns)) for base, columns in vectors.items()}
    return variables, dims, coords
