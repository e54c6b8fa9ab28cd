"""One call for all special functions: broadcasting, shapes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _config, _core
from fermiac._arguments import columns
from fermiac._rng import plain
from fermiac.errors import ArgumentError


def apply(name: str, n_threads: int | None, **arguments: ArrayLike) -> Any:
    """Broadcast the arguments, compute, and give the result their shape."""
    threads = _config.resolve_threads(n_threads)
    arrays = {}
    for key, given in arguments.items():
        value = plain(key, given)
        try:
            arrays[key] = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"{key}: {type(value).__name__} was given; numbers are needed"
            ) from error
    flat, shape, size = columns(name, **arrays)
    return _core.special(name, flat, size, threads).reshape(shape)[()]
