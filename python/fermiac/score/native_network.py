"""Denoisers behind a C pointer, called by the core's threads."""

from __future__ import annotations

import pickle
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import threads_for
from fermiac.errors import ArgumentError
from fermiac.score.parametrisation import Parametrisation
from fermiac.targets.native_pointer import form_of, pointer_of, user_data_of

__all__ = ["NativeNetwork"]

Array = NDArray[np.float64]

_PREDICTIONS = ("x0", "eps", "score")


class NativeNetwork:
    """A C function of points and levels; it cannot be pickled."""

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
        if found.signature is not None:
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
        """The name of the function."""
        return f"the native function {self._name}"

    def core(self, dim: int) -> Any:
        """The handle for the core."""
        if dim != self._dim:
            raise ArgumentError(
                f"y0: points of {dim} coordinates were given; the C function takes {self._dim}"
            )
        return self._handle

    def denoise(self, y: Array, sigma: Array) -> Array:
        """Denoise rows; the levels are above 0."""
        return self._call(y, sigma, False)

    def score(self, y: Array, sigma: Array) -> Array:
        """The score of rows; the levels are above 0."""
        return self._call(y, sigma, True)

    def _call(self, y: Array, sigma: Array, of_score: bool) -> Array:
        return _core.score_native_call(self._handle, y, sigma, of_score, threads_for(len(y)))

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(
            f"the native function {self._name} cannot be pickled: its address means nothing in "
            "another process. Let every worker make its own: pass target_factory='module:function'"
        )
