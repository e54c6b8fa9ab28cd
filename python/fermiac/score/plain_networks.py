"""Denoisers that are functions of arrays, in Python or behind a C pointer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError, TargetError
from fermiac.score.parametrisation import Parametrisation, Scales

__all__ = ["ArrayNetwork"]

Array = NDArray[np.float64]


class ArrayNetwork:
    """A function of arrays, (n, *event) and (n,) to (n, *event)."""

    form = "array"

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        parametrisation: Parametrisation,
        event_shape: tuple[int, ...] | None,
        dtype: Any,
        max_batch: int | None,
    ) -> None:
        self.function = function
        self.parametrisation = parametrisation
        self.event_shape = event_shape
        try:
            self.dtype = np.dtype(np.float64 if dtype is None else dtype)
        except TypeError as error:
            raise ArgumentError(
                f"dtype: {dtype!r} given; a floating-point type is needed"
            ) from error
        if self.dtype.kind != "f":
            raise ArgumentError(f"dtype: {self.dtype} given; a floating-point type is needed")
        self.max_batch = max_batch

    def describe(self) -> str:
        """The name of the function."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"{name}, {self.dtype} arrays"

    def denoise(self, y: Array, sigma: Array) -> Array:
        """Denoise rows; the levels are above 0."""
        return self._apply(y, self.parametrisation.scales(sigma))

    def score(self, y: Array, sigma: Array) -> Array:
        """The score of rows; the levels are above 0."""
        skip, out = self.parametrisation.score_scales(sigma)
        return self._apply(y, self.parametrisation.scales(sigma)._replace(skip=skip, out=out))

    def _apply(self, y: Array, scales: Scales) -> Array:
        n = len(y)
        size = n if self.max_batch is None else self.max_batch
        result = np.empty_like(y)
        columns = [np.broadcast_to(value, n) for value in scales]
        for at in range(0, n, size):
            rows = slice(at, min(at + size, n))
            into, time, skip, out = (column[rows] for column in columns)
            given = self._call(y[rows] * into[:, None], time)
            np.multiply(given, out[:, None], out=result[rows])
            result[rows] += skip[:, None] * y[rows]
        return result

    def _call(self, x: Array, time: Array) -> Array:
        shaped = x if self.event_shape is None else x.reshape(len(x), *self.event_shape)
        # Times of the function's own: what is broadcast cannot be written to.
        times = np.array(time, dtype=np.int64 if self._counts else self.dtype)
        try:
            given = self.function(shaped.astype(self.dtype, copy=False), times)
        except (AttributeError, TypeError) as error:
            if "numpy.ndarray" in str(error) or "Tensor" in str(error):
                error.add_note(
                    "the function was called with arrays; if it takes torch tensors, make the "
                    "model with device= or dtype=torch.float32, or with modules= that it calls"
                )
            raise
        array = np.asarray(given)
        if array.dtype.kind not in "iuf":
            raise TargetError(f"the network gave {array.dtype}; it must give real numbers")
        if array.shape != shaped.shape:
            raise TargetError(
                f"the network gave an array of shape {array.shape} for points of shape "
                f"{shaped.shape}; both must be the same"
            )
        return array.reshape(x.shape)

    @property
    def _counts(self) -> bool:
        return self.parametrisation.discrete and self.parametrisation.time_scale == 1.0
