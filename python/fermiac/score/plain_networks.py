"""Denoisers that are functions of arrays or C functions."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.config import threads_for
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.parametrisation import Parametrisation, Scales
from fermiac.score.torch_network import TorchNetwork
from fermiac.targets.native_pointer import FORMS, form_of, pointer_of, user_data_of
from fermiac.targets.torch_modules import modules_of

__all__ = ["ArrayNetwork", "NativeNetwork"]

Array = NDArray[np.float64]
#: Rows that are scaled at a time.
_BLOCK = 4096


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
                f"dtype: {shown(dtype)} given; a floating-point type is needed"
            ) from error
        if self.dtype.kind != "f":
            raise ArgumentError(f"dtype: {self.dtype} given; a floating-point type is needed")
        self.max_batch = max_batch
        #: The function of tensors, if it takes those, as the torch modules that it calls.
        self._tensors: TorchNetwork | None = None

    def describe(self) -> str:
        """Return the name of the function, for messages."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"{name}, {self.dtype} arrays"

    def denoise(self, y: Array, sigma: Array) -> Array:
        """Return the denoised rows; the levels are above 0."""
        return self._either("denoise", y, sigma, self.parametrisation.scales(sigma))

    def score(self, y: Array, sigma: Array) -> Array:
        """Return the scores of rows; the levels are above 0."""
        skip, out = self.parametrisation.score_scales(sigma)
        scales = self.parametrisation.scales(sigma)._replace(skip=skip, out=out)
        return self._either("score", y, sigma, scales)

    def _either(self, name: str, y: Array, sigma: Array, scales: Scales) -> Array:
        """Call the function with arrays; with tensors if it fails on arrays and calls modules."""
        if self._tensors is None:
            try:
                return self._apply(y, scales)
            except (AttributeError, TypeError) as error:
                if "numpy.ndarray" not in str(error) and "Tensor" not in str(error):
                    raise
                modules = modules_of(self.function)
                if not modules:
                    error.add_note(
                        "the function was given NumPy arrays; pass the torch.nn.Module itself, or "
                        "modules= that the function calls, or device= or dtype=torch.float32"
                    )
                    raise
            self._tensors = TorchNetwork(
                self.function,
                self.parametrisation,
                self.event_shape,
                None,
                None,
                None,
                self.max_batch,
                sys.modules["torch"].nn.ModuleList(modules),
            )
        result: Array = getattr(self._tensors, name)(y, sigma)
        return result

    def _apply(self, y: Array, scales: Scales) -> Array:
        n = len(y)
        size = n if self.max_batch is None else self.max_batch
        result = np.empty_like(y)
        columns = [np.broadcast_to(value, n) for value in scales]
        for at in range(0, n, size):
            rows = slice(at, min(at + size, n))
            into, time, skip, out = (column[rows] for column in columns)
            own, part = y[rows], result[rows]
            # In blocks, which stay in the cache; Ctrl-C is checked between them.
            scaled = np.empty_like(own)
            for b in _blocks(len(own)):
                np.multiply(own[b], into[b, None], out=scaled[b])
            given = self._call(scaled, time)
            for b in _blocks(len(own)):
                np.multiply(given[b], out[b, None], out=part[b])
                part[b] += skip[b, None] * own[b]
        return result

    def _call(self, x: Array, time: Array) -> Array:
        shaped = x if self.event_shape is None else x.reshape(len(x), *self.event_shape)
        # A copy: broadcast arrays cannot be written to.
        times = np.array(time, dtype=np.int64 if self._takes_indices else self.dtype)
        # The points are scaled for this call alone.
        arguments = shaped.astype(self.dtype, copy=False), times
        array = np.asarray(ask(self.function, arguments, "the network", fresh=True))
        if array.dtype.kind not in "iuf":
            raise TargetError(f"the network gave {array.dtype}; it must give real numbers")
        if array.shape != shaped.shape:
            raise TargetError(
                f"the network gave an array of shape {array.shape} for points of shape "
                f"{shaped.shape}; both must be the same"
            )
        return array.reshape(x.shape)

    @property
    def _takes_indices(self) -> bool:
        return self.parametrisation.discrete and self.parametrisation.time_scale == 1.0


def _blocks(n: int) -> Iterator[slice]:
    """Yield the rows in parts."""
    for at in range(0, n, _BLOCK):
        yield slice(at, min(at + _BLOCK, n))


_PREDICTIONS = ("x0", "eps", "score")


class NativeNetwork:
    """A C function of points and levels, called by the threads of the core, without a pickle."""

    form = "native"

    def __init__(
        self, pointer: Any, parametrisation: Parametrisation, dim: int | None, user_data: Any
    ) -> None:
        if dim is None:
            raise ArgumentError("dim: not given; a C function does not tell its dimension")
        if parametrisation.kind != "ve" or parametrisation.prediction not in _PREDICTIONS:
            raise ArgumentError(
                f"kind: {parametrisation.kind!r} was given with prediction="
                f"{parametrisation.prediction!r}; a C function is given y and s, of kind 've', and "
                "gives 'x0', 'eps' or 'score'"
            )
        found = pointer_of(pointer)
        if found.signature is None:
            # A call with the wrong arguments would end the process.
            raise ArgumentError(
                f"model: {type(pointer).__name__} given, a pointer that does not tell its "
                "signature; say that it is this one, by the argtypes and the restype of a ctypes "
                "function or by ctypes.CFUNCTYPE(None, numbers, numbers, numbers, size_t, size_t, "
                f"c_void_p)(address):\n    {FORMS['denoiser']}"
            )
        form_of(found.signature, ["denoiser"])
        data, keep = (found.user_data or 0, None) if user_data is None else user_data_of(user_data)
        self._name = found.name
        self._dim = dim
        self._handle = _core.score_native(
            {
                "address": found.address,
                "user_data": data,
                "gives": parametrisation.prediction,
                "dim": dim,
                "name": found.name,
                "owner": (pointer, keep),
            }
        )

    def describe(self) -> str:
        """Return the name of the function, for messages."""
        return f"the native function {self._name}"

    def core(self, dim: int) -> Any:
        """Return the handle for the core."""
        if dim != self._dim:
            raise ArgumentError(
                f"y0: points of {dim} coordinates were given; the C function takes {self._dim}"
            )
        return self._handle

    def denoise(self, y: Array, sigma: Array) -> Array:
        """Return the denoised rows; the levels are above 0."""
        return self._call(y, sigma, False)

    def score(self, y: Array, sigma: Array) -> Array:
        """Return the scores of rows; the levels are above 0."""
        return self._call(y, sigma, True)

    def _call(self, y: Array, sigma: Array, of_score: bool) -> Array:
        return _core.score_native_call(self._handle, y, sigma, of_score, threads_for(len(y)))

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(
            f"the native function {self._name} cannot be pickled: its address means nothing in "
            "another process. Let every worker make its own: give "
            "fermiac.targets.factory('module:function') as the model"
        )
