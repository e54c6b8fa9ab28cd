"""Likelihoods as a run takes them: alone, or with numbers that are kept beside the points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import whole
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets import as_target
from fermiac.targets.conversion import adapted
from fermiac.targets.density import LogDensity
from fermiac.targets.native_pointer import NativeTarget

__all__ = ["Blobs", "WithBlobs", "as_blobs", "as_likelihood", "handle_of"]

Array = NDArray[np.float64]
#: How many blobs a point has, and their names.
Blobs = tuple[int, tuple[str, ...]]


class WithBlobs:
    """A likelihood that gives blobs too: (n, d) -> (n, 1 + B), log-likelihoods first."""

    form = "python"

    def __init__(self, call: Callable[[Array], Any], dim: int, n_blobs: int) -> None:
        self._call = call
        self.dim = dim
        self.n_blobs = n_blobs

    def __call__(self, x: Array) -> Array:
        """Return the log-likelihoods of a batch and keep their blobs."""
        got = self._call(x)
        n = len(x)
        if not isinstance(got, tuple) or len(got) != 2:
            raise TargetError(
                f"the log-likelihood gave {type(got).__name__} where blobs were asked for; it must "
                f"give a pair: an array of shape ({n},), and one of shape ({n}, {self.n_blobs})"
            )
        values = np.asarray(got[0], dtype=np.float64)
        blobs = np.asarray(got[1], dtype=np.float64)
        wanted = [(n, self.n_blobs), *([(n,)] if self.n_blobs == 1 else [])]
        if values.shape != (n,) or blobs.shape not in wanted:
            raise TargetError(
                f"the log-likelihood gave arrays of shapes {values.shape} and {blobs.shape}; "
                f"({n},) and ({n}, {self.n_blobs}) are needed"
            )
        return np.column_stack([values, blobs])


def as_blobs(given: int | Sequence[str] | None) -> Blobs:
    """Take how many blobs there are, or their names."""
    if given is None or given is False:
        return 0, ()
    if isinstance(given, Sequence) and not isinstance(given, str):
        names = tuple(str(name) for name in given)
        if len(set(names)) == len(names):
            return len(names), names
    elif isinstance(given, int | np.integer) and not isinstance(given, bool):
        return whole("blobs", given, 0, 2**20), ()
    raise ArgumentError(
        f"blobs: {given!r:.60} given; how many numbers the log-likelihood gives beside its value, "
        "or a list of their different names, is needed"
    )


def as_likelihood(
    given: Any,
    dim: int,
    n_blobs: int,
    gradient: bool | Callable[[Array], Any] | None = None,
) -> LogDensity | WithBlobs | NativeTarget:
    """Take a log-likelihood as it comes."""
    if n_blobs == 0:
        return as_target(given, dim, gradient)
    if gradient is not None:
        raise ArgumentError(
            "gradient: given with blobs; a likelihood that gives blobs has no gradient: leave out "
            "one of the two"
        )
    target = adapted(given, dim)
    if isinstance(target, NativeTarget):
        if target.n_outputs != 1 + n_blobs or target.dim != dim:
            raise ArgumentError(
                f"blobs: {n_blobs} given, and a native function of {target.dim} coordinates that "
                f"gives {target.n_outputs} numbers a point; it must take {dim} and give "
                f"{1 + n_blobs}, the log-likelihood first"
            )
        return target
    if isinstance(target, LogDensity) or not callable(target):
        raise ArgumentError(
            f"blobs: given with {type(given).__name__}, which gives a log-likelihood alone; a "
            "function that gives a pair is needed"
        )
    return WithBlobs(target, dim, n_blobs)


def handle_of(target: Any, dim: int, n_blobs: int) -> Any:
    """What the core takes."""
    if n_blobs == 0:
        return target._handle
    if isinstance(target, NativeTarget):
        return (target._integrand, n_blobs)
    return ((target, dim), n_blobs)
