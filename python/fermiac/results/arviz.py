"""Conversion of samples to ArviZ, version 1 and earlier versions."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import RngLike, real_numbers, shown, yes
from fermiac.errors import ArgumentError
from fermiac.results.axes import dims_of
from fermiac.results.error_models import error_model_of
from fermiac.results.sample_fields import log_likelihoods, observations
from fermiac.results.tables import by_chain, refuse_axes

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = ["MOST_NUMBERS", "to_arviz"]

Array = NDArray[np.float64]

#: Log-likelihoods that are computed for ArviZ without being asked for: 100 MB at most.
MOST_NUMBERS = 12_500_000


def to_arviz(
    sample: Sample,
    resample: bool,
    n: int | None,
    rng: RngLike,
    log_likelihood: Any,
    observed_data: Any,
    prior: Any,
) -> Any:
    """Return the data of `Sample.to_arviz`."""
    try:
        # Imported by name, since its versions differ in their arguments and types.
        arviz: Any = importlib.import_module("arviz")
    except ImportError as error:
        raise ImportError("to_arviz needs ArviZ: pip install 'fermiac[arviz]'") from error
    refuse_axes(sample.variables.shapes, ("chain", "draw"))
    wanted = log_likelihood if isinstance(log_likelihood, bool) else None
    if wanted is False:
        log_likelihood = {}
    source = sample
    if log_likelihood is not None and wanted is not True:
        given = log_likelihoods(log_likelihood, sample.draws.shape[:-1])
        sample = replace(sample, log_likelihood=given)
    if yes("resample", resample) and sample.log_weights is not None:
        if error_model_of(sample).of_chains:
            raise ArgumentError(
                "resample: chains with weights given, and resampled draws are not chains; give "
                "resample=False, which puts the log-weights into sample_stats"
            )
        sample = sample.resample(n, rng=rng)
    by_observation = sample.log_likelihood
    if wanted is True or (log_likelihood is None and not by_observation):
        # After the resampling, which leaves fewer points.
        by_observation = _of_model(source, sample.draws, wanted)
    warmup = getattr(sample, "warmup_draws", None)
    known = {"lp": sample.log_densities, "log_weight": sample.log_weights}
    stats = {k: by_chain(sample, v) for k, v in known.items() if v is not None}
    groups = {
        "posterior": _variables(sample, sample.draws),
        "sample_stats": stats | _renamed(sample.stats),
        "log_likelihood": {k: by_chain(sample, v) for k, v in by_observation.items()},
        "observed_data": dict(
            sample.observed_data if observed_data is None else observations(observed_data)
        ),
        "prior": _prior(sample, prior),
        "warmup_posterior": {} if warmup is None else _variables(sample, warmup),
        "warmup_sample_stats": _renamed(sample.warmup_stats),
    }
    groups = {name: group for name, group in groups.items() if group}
    dims = {**sample.dims, **dims_of(sample.variables, sample.dims)}
    used = {dim for axes in dims.values() for dim in axes}
    coords = {dim: list(labels) for dim, labels in sample.coords.items() if dim in used}
    how = {"coords": coords, "dims": {k: list(v) for k, v in dims.items()}, "save_warmup": True}
    if int(arviz.__version__.split(".")[0]) >= 1:
        data = arviz.from_dict(groups, **how)
    else:
        # These versions take a nested dictionary for one group of variables.
        data = arviz.from_dict(**groups, **how)
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


def _of_model(source: Sample, draws: Array, wanted: bool | None) -> Mapping[str, Array]:
    """Return the log-likelihoods by observation of the draws of a model, if it provides them.

    Unless requested, log-likelihoods that are large or cannot be computed are left out.
    """
    model = getattr(source, "_model", None)
    if model is None:
        if wanted:
            raise ArgumentError(
                "log_likelihood: True given for a sample whose model is not known; a result for a "
                "model of PyMC, Stan or NumPyro from this process is needed"
            )
        return {}
    size = sum(map(math.prod, model.log_likelihood_shapes.values()))
    if not wanted and size * math.prod(draws.shape[:-1]) > MOST_NUMBERS:
        return {}
    try:
        found: Mapping[str, Array] = model.log_likelihood(model.unconstrain(draws))
    except ArgumentError:
        # A point at a bound of its prior has no unconstrained one.
        if wanted:
            raise
        return {}
    return found


def _renamed(stats: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the statistics under the names of ArviZ's schema; prefixes of blocks are kept."""
    ours = re.compile(r"(^|\.)reached_max_depth$")
    return {ours.sub(r"\1reached_max_tree_depth", name): array for name, array in stats.items()}


def _variables(sample: Sample, draws: Array) -> dict[str, Array]:
    """Return the variables of points, each (chain, draw, ...)."""
    return sample.variables.split(by_chain(sample, draws))


def _prior(sample: Sample, given: Any) -> dict[str, Array]:
    """Return draws from the prior by variable, each (chain, draw, ...)."""
    if given is None:
        return {}
    from fermiac.results.sample import Sample

    if isinstance(given, Sample):
        drawn = given if given.log_weights is None else given.resample(rng=0)
        refuse_axes(drawn.variables.shapes, ("chain", "draw"))
        return _variables(drawn, drawn.draws)
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"prior: {shown(given)} given; a sample is needed, or a mapping from names of "
            "variables to their draws"
        )
    out = {}
    for name, value in given.items():
        array = real_numbers(f"prior[{name!r}]", value)
        shape = sample.variables.shapes.get(name, array.shape[2:])
        lead = array.ndim - len(shape)
        if lead not in (1, 2) or array.shape[lead:] != shape:
            raise ArgumentError(
                f"prior: {shown(name)} has the shape {array.shape}; (n, *shape) or (chains, n, "
                f"*shape) is needed, with the shape {shape} of the variable"
            )
        out[str(name)] = array[None] if lead == 1 else array
    refuse_axes(out, ("chain", "draw"))
    return out
