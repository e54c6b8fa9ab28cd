"""The checks of the fields of a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.folders import finite_in_sections, pieces
from fermiac._base.validate import all_finite, labels, numbered, real_numbers, shown, taken
from fermiac._base.variables import Variables
from fermiac.errors import ArgumentError
from fermiac.results.axes import checked_axes

__all__ = ["checked", "finite_draws", "log_likelihoods", "observations"]

Array = NDArray[np.float64]


_KNOWN: ContextVar[bool] = ContextVar("draws are known to be finite", default=False)


@contextmanager
def finite_draws() -> Iterator[None]:
    """Make samples of draws that are finite by construction, without a check of each.

    A partial result may have hundreds of millions of numbers, and Ctrl-C waits for it.
    """
    token = _KNOWN.set(True)
    try:
        yield
    finally:
        _KNOWN.reset(token)


def checked(sample: Any) -> dict[str, Any]:
    """Return the fields of a sample, checked and converted."""
    draws = _numbers("draws", sample.draws)
    if draws.ndim not in (2, 3) or draws.size == 0:
        raise ArgumentError(
            f"draws: an array of shape {draws.shape} given; points as rows, (n, d) or "
            "(chains, n, d), are needed, at least one"
        )
    lead, d = draws.shape[:-1], draws.shape[-1]
    # Draws on disk, which may exceed the memory, are checked in pieces.
    parts = pieces(draws) if isinstance(draws, np.memmap) else (draws,)
    if not (_KNOWN.get() or all(all_finite(part) for part in parts)):
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(draws))[0])
        raise ArgumentError(f"draws: {draws[bad]} given at {bad}; finite numbers are needed")
    out: dict[str, Any] = {"draws": draws}
    without = isinstance(sample.names, tuple | list) and not sample.names
    out["names"] = () if without else labels(sample.names, d)
    if sample.log_weights is not None:
        log_weights = _numbers("log_weights", sample.log_weights)
        several = log_weights.ndim == draws.ndim and log_weights.shape[-1] > 0
        if log_weights.shape != lead and not (several and log_weights.shape[:-1] == lead):
            raise _shape("log_weights", log_weights, lead, " (one more axis for several laws)")
        _no_nan_or_inf("log_weights", log_weights, "a weight that is 0 is -inf here")
        out["log_weights"] = log_weights
    if sample.log_densities is not None:
        log_densities = _numbers("log_densities", sample.log_densities)
        if log_densities.shape != lead:
            raise _shape("log_densities", log_densities, lead)
        _no_nan_or_inf("log_densities", log_densities, "a density that is 0 is -inf here")
        out["log_densities"] = log_densities
    if sample.gradients is not None:
        gradients = _numbers("gradients", sample.gradients)
        if gradients.shape != draws.shape:
            raise _shape("gradients", gradients, draws.shape)
        out["gradients"] = gradients
    for name in ("stats", "warmup_stats"):
        out[name] = _statistics(name, getattr(sample, name), draws)
    out["log_likelihood"] = log_likelihoods(sample.log_likelihood, lead)
    out["observed_data"] = observations(sample.observed_data)
    if all(isinstance(given, Mapping) and not len(given) for given in (sample.coords, sample.dims)):
        out["coords"], out["dims"] = {}, {}
        return out
    shapes = [
        *Variables.of_names(out["names"] or numbered("x", d)).shapes.items(),
        *((name, array.shape[len(lead) :]) for name, array in out["log_likelihood"].items()),
        *((name, array.shape) for name, array in out["observed_data"].items()),
    ]
    out["coords"], out["dims"] = checked_axes(sample.coords, sample.dims, shapes)
    return out


def log_likelihoods(given: Any, lead: tuple[int, ...]) -> dict[str, Array]:
    """Return log-likelihoods by observation, each (*lead, ...), checked."""
    out = {}
    for key, value in _arrays("log_likelihood", given).items():
        name = f"log_likelihood[{key!r}]"
        array = _numbers(name, value)
        if array.shape[: len(lead)] != lead:
            raise _shape(name, array, lead, " (with the axes of the observations after these)")
        _no_nan_or_inf(name, array, "a density that is 0 is -inf here")
        out[key] = array
    return out


def observations(given: Any) -> dict[str, NDArray[Any]]:
    """Return arrays of observed numbers; missing ones may be NaN."""
    out = {}
    for key, value in _arrays("observed_data", given).items():
        array = taken(f"observed_data[{key!r}]", value)
        if array.dtype.kind not in "biuf":
            raise ArgumentError(
                f"observed_data: {shown(key)} is not an array of real numbers or booleans"
            )
        out[key] = array
    return out


def _arrays(name: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ArgumentError(
            f"{name}: {shown(given)} given; a mapping from names to arrays is needed"
        )
    return dict(given)


def _statistics(name: str, given: Any, draws: Array) -> dict[str, NDArray[Any]]:
    """Return the statistics of the transitions, each (chains, draws), checked."""
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"{name}: a {type(given).__name__} given; a mapping from names to arrays of shape "
            "(chains, draws) is needed"
        )
    out = {str(key): taken(f"{name}[{key!r}]", value) for key, value in given.items()}
    if out and draws.ndim != 3:
        raise ArgumentError(f"{name}: given for draws that are not those of chains; leave them out")
    own = name == "stats"
    for key, array in out.items():
        if array.dtype.kind not in "biuf":
            raise ArgumentError(f"{name}: {shown(key)} is not an array of real numbers or booleans")
        lead = draws.shape[:2] if own else (len(draws), *array.shape[1:2])
        if array.ndim != 2 or array.shape != lead:
            needed = str(lead) if own else f"({len(draws)}, n_warmup)"
            raise ArgumentError(
                f"{name}: {shown(key)} has shape {array.shape}; {needed} is needed to fit the draws"
            )
    if len({array.shape for array in out.values()}) > 1:
        raise ArgumentError(f"{name}: arrays of different lengths given; one length is needed")
    return out


def _numbers(name: str, value: Any) -> Array:
    # Draws on disk stay there, and the first draws of chains that were interrupted are a view: to
    # copy them would take long. So strides may be any.
    if isinstance(value, np.memmap) or type(value) is np.ndarray:
        array: NDArray[Any] = value
        if array.dtype == np.float64 and array.flags.aligned:
            return array
    return real_numbers(name, value, copy=None)


def _shape(
    name: str, array: NDArray[Any], needed: tuple[int, ...], more: str = ""
) -> ArgumentError:
    return ArgumentError(
        f"{name}: an array of shape {array.shape} given; {needed} is needed to fit the draws{more}"
    )


def _no_nan_or_inf(name: str, array: Array, hint: str) -> None:
    on_disk = isinstance(array, np.memmap) and array.ndim > 1
    if finite_in_sections(array) if on_disk else all_finite(array):
        return
    bad = np.isnan(array) | (array == np.inf)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ArgumentError(f"{name}: {array[at]} given at {at}; numbers are needed, and {hint}")
