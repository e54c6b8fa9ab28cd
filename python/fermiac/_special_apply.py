"""One call for all special functions: broadcasting, shapes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _config, _core
from fermiac._rng import plain
from fermiac.errors import ArgumentError


def apply(name: str, n_threads: int | None, **arguments: ArrayLike) -> Any:
    """Broadcast the arguments, compute, and give the result their shape."""
    threads = _config.resolve_threads(n_threads)
    arrays = []
    for key, given in arguments.items():
        value = plain(key, given)
        try:
            arrays.append(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"{key}: {type(value).__name__} was given; numbers are needed"
            ) from error
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError as error:
        given = ", ".join(f"{k} {a.shape}" for k, a in zip(arguments, arrays, strict=True))
        raise ArgumentError(
            f"{name}: the shapes {given} do not broadcast; give numbers, or arrays whose shapes do"
        ) from error
    columns = [
        array.reshape(1)
        if array.size == 1
        else np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1)
        for array in arrays
    ]
    size = int(np.prod(shape, dtype=np.int64))
    return _core.special(name, columns, size, threads).reshape(shape)[()]
