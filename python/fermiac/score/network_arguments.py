"""Arguments of `ScoreModel`: what the model is, and which arguments mean nothing for it."""

from __future__ import annotations

import math
import sys
from _ctypes import CFuncPtr
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.tensors import to_numpy
from fermiac._base.validate import numbers, whole
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.model import Model
from fermiac.score.parametrisation import Parametrisation
from fermiac.targets.torch_modules import import_torch

__all__ = [
    "is_pointer",
    "is_torch",
    "log_densities",
    "modules_of",
    "places_of",
    "range_of",
    "refuse_known",
    "refuse_unused",
    "shape_of",
    "shapes",
]

Array = NDArray[np.float64]


def refuse_unused(given: Mapping[str, Any], reason: str) -> None:
    """Refuse arguments that were given, where they would be left out."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise ArgumentError(f"{name}: {value!r:.60} was given, {reason}; leave it out")


def refuse_known(
    model: Model,
    own: Parametrisation,
    dim: int | None,
    event_shape: tuple[int, ...] | None,
    calls: Mapping[str, Any],
) -> None:
    """Refuse what a score model that passes through knows itself."""
    reason = "where the model is a score model, which knows its own"
    words = {
        "prediction": None if own.prediction == "eps" else own.prediction,
        "kind": None if own.kind == "ve" else own.kind,
    }
    refuse_unused(own.given | dict(calls) | words, reason)
    if model.dim is not None and dim not in (None, model.dim):
        raise ArgumentError(
            f"{'dim' if event_shape is None else 'event_shape'}: points of {dim} coordinates were "
            f"given, where those of {model!r:.60} have {model.dim}"
        )


def range_of(given: Any) -> tuple[float, float]:
    """Take the levels between which a model may be asked."""
    ends = numbers("sigma_range", given)
    if ends.shape != (2,) or not 0 <= ends[0] < ends[1] < math.inf:
        raise ArgumentError(
            f"sigma_range: {given!r:.60} was given; two levels are needed, the first not negative "
            "and less than the second"
        )
    return float(ends[0]), float(ends[1])


def shape_of(y: Any) -> tuple[int, ...]:
    """The shape of points, in whatever they were given."""
    try:
        return tuple(np.shape(y))
    except ValueError as error:
        raise ArgumentError("y: rows of different lengths were given; (n, d) is needed") from error


def log_densities(function: Callable[[Array, Array], Any], y: Array, sigma: Array) -> Array:
    """What a function gives as log-densities of rows."""
    given = function(y, np.broadcast_to(sigma, len(y)).copy())
    given = np.asarray(to_numpy(given))
    if given.dtype.kind not in "iuf":
        raise TargetError(f"log_density: the function gave {given.dtype}; it must give numbers")
    if given.shape != (len(y),):
        raise TargetError(
            f"log_density: the function gave shape {given.shape} for points of shape {y.shape}; it "
            f"must be ({len(y)},)"
        )
    return np.ascontiguousarray(given, dtype=np.float64)


def shapes(dim: int | None, event_shape: Any) -> tuple[int | None, tuple[int, ...] | None]:
    """Take the coordinates of a point and its shape, of which one fixes the other."""
    if dim is not None:
        dim = whole("dim", dim, 1, 2**31)
    if event_shape is None:
        return dim, None
    if isinstance(event_shape, str) or not isinstance(event_shape, Iterable):
        raise ArgumentError(
            f"event_shape: {event_shape!r:.60} was given; a tuple of sizes is needed, as (3, 8, 8)"
        )
    event = tuple(whole("event_shape", size, 1, 2**31) for size in event_shape)
    if not event:
        raise ArgumentError("event_shape: () was given; one size at least is needed")
    if dim not in (None, math.prod(event)):
        raise ArgumentError(
            f"dim: {dim} was given, where event_shape={event} has {math.prod(event)} coordinates"
        )
    return math.prod(event), event


def places_of(devices: Any, device: Any) -> list[str]:
    """Take several devices, in place of one."""
    if device is not None:
        raise ArgumentError("device: given together with devices; give one of them")
    several = isinstance(devices, Iterable) and not isinstance(devices, str)
    places = [str(place) for place in devices] if several else []
    if not places:
        raise ArgumentError(
            f"devices: {devices!r:.60} was given; a list is needed, of one device at least, as "
            "['cuda:0', 'cuda:1']; for one alone give device="
        )
    return places


def modules_of(model: Any, given: Any) -> Any:
    """Take the torch modules that a function calls: one, or several."""
    if given is None:
        return None
    torch = import_torch()
    several = [given] if isinstance(given, torch.nn.Module) else given
    if isinstance(model, torch.nn.Module) or not callable(model):
        raise ArgumentError(
            f"modules: given with a {type(model).__name__}; it is for functions, which do not tell "
            "the modules that they call; leave it out"
        )
    if isinstance(several, str) or not isinstance(several, Iterable):
        several = [several]
    several = list(several)
    for module in several:
        if not isinstance(module, torch.nn.Module):
            raise ArgumentError(
                f"modules: {type(module).__name__} was given; torch modules are needed, those that "
                "the function calls"
            )
    return torch.nn.ModuleList(several)


def is_torch(model: Any, device: Any, devices: Any, modules: Any, dtype: Any) -> bool:
    """Whether a model is called with tensors."""
    torch = sys.modules.get("torch")
    if device is not None or devices is not None or modules is not None:
        return callable(model)
    return torch is not None and (
        isinstance(model, torch.nn.Module) or (callable(model) and isinstance(dtype, torch.dtype))
    )


def is_pointer(model: Any) -> bool:
    """Whether a model is a C function."""
    kind = type(model)
    return (
        isinstance(model, CFuncPtr)
        or (isinstance(model, int) and not isinstance(model, bool))
        or kind.__name__ in ("CFunc", "PyCapsule", "LowLevelCallable")
        or kind.__module__ == "_cffi_backend"
    )
