"""Arguments of `ScoreModel`: what the model is, and which arguments mean nothing for it."""

from __future__ import annotations

import math
import sys
from _ctypes import CFuncPtr
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fermiac._rng import whole
from fermiac.errors import ArgumentError
from fermiac.targets._modules import import_torch

__all__ = ["is_pointer", "is_torch", "modules_of", "places_of", "refuse_unused", "shapes"]


def refuse_unused(given: Mapping[str, Any], reason: str) -> None:
    """Refuse arguments that were given, where they would be left out."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise ArgumentError(f"{name}: {value!r:.60} was given, {reason}; leave it out")


def shapes(
    dim: int | None, event_shape: Sequence[int] | None
) -> tuple[int | None, tuple[int, ...] | None]:
    """Take the coordinates of a point and its shape, of which one fixes the other."""
    if dim is not None:
        dim = whole("dim", dim, 1, 2**31)
    if event_shape is None:
        return dim, None
    event = tuple(whole("event_shape", size, 1, 2**31) for size in event_shape)
    if dim not in (None, math.prod(event)):
        raise ArgumentError(
            f"dim: {dim} was given, where event_shape={event} has {math.prod(event)} coordinates"
        )
    return math.prod(event), event


def places_of(devices: Sequence[Any], device: Any) -> list[str]:
    """Take several devices, in place of one."""
    if device is not None:
        raise ArgumentError("device: given together with devices; give one of them")
    if isinstance(devices, str) or not len(devices):
        raise ArgumentError(f"devices: {devices!r:.60} was given; one device at least is needed")
    return [str(place) for place in devices]


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
