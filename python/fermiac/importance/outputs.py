"""Values of a model on batches of points, checked and counted; tolerances and laws of a call."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.ask import ask
from fermiac._base.validate import real
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets.callables import as_batch

__all__ = ["Outputs", "rows_at_once", "tolerances", "with_unit_map"]

Array = NDArray[np.float64]
#: The largest number of points of a batch, and of their coordinates.
_POINTS, _NUMBERS = 65536, 2**22


class Outputs:
    """A model as a function (n, d) -> (n, K), real and finite.

    Attributes
    ----------
    scalar : bool or None
        Whether the model gives one number for each point, shape (n,); None before the first call.
    n_evals : int
        Points that were evaluated.
    n_non_finite : int
        Values that were not finite and counted as 0.
    """

    def __init__(self, model: Callable[[Array], Any], on_nan: str, what: str = "the model") -> None:
        self._model = model
        self._zero = on_nan == "zero"
        self._what = what
        self._outputs: int | None = None
        self.scalar: bool | None = None
        self.n_evals = 0
        self.n_non_finite = 0

    def __call__(self, x: Array) -> Array:
        """Return the values at the rows of `x`."""
        values = as_batch(ask(self._model, (x,), self._what), x)
        if values.dtype.kind == "c":
            raise TargetError(
                f"{self._what} gave complex numbers; real ones are needed: return real and "
                "imaginary parts as two columns"
            )
        if self.scalar is None:
            self.scalar, self._outputs = values.ndim == 1, values.size // len(x)
        elif self.scalar != (values.ndim == 1) or values.size != len(x) * (self._outputs or 1):
            raise TargetError(
                f"{self._what} gave an array of shape {values.shape} for {len(x)} points; "
                f"earlier batches had {'one number' if self.scalar else f'{self._outputs} numbers'}"
                f" per point{'' if self.scalar else ' in an array of two axes'}"
            )
        out = np.array(values.reshape(len(x), -1), np.float64)
        good = np.isfinite(out)
        if not good.all():
            if not self._zero:
                i, k = (int(at[0]) for at in np.nonzero(~good))
                raise TargetError(
                    f"{self._what} gave {out[i, k]} at the point {x[i][:10].tolist()} "
                    f"(evaluation {self.n_evals + i}); its values must be finite, or pass "
                    "on_nan='zero' to count others as 0"
                )
            self.n_non_finite += int((~good).sum())
            out[~good] = 0.0
        self.n_evals += len(x)
        return out


def rows_at_once(points_per_row: int, dim: int) -> int:
    """Return the number of rows of a design in a batch of moderate size."""
    return max(1, min(_POINTS, _NUMBERS // dim) // points_per_row)


def with_unit_map(law: Any, by: str) -> Any:
    """Return a law with a map from the unit cube, or raise an error that names such laws."""
    try:
        law.from_unit(np.full((1, law.dim), 0.5))
    except ArgumentError as error:
        raise ArgumentError(
            f"law: {type(law).__name__} has no map from the unit cube, which {by} needs "
            f"({error!s:.200}); independent inputs make one law by "
            "fermiac.distributions.Product([...]), or by a mapping from names to laws"
        ) from error
    return law


def tolerances(rtol: Any, atol: Any) -> tuple[float, float] | None:
    """Return a relative and an absolute tolerance, checked; None if neither is given."""
    if rtol is None and atol is None:
        return None
    needed = "a finite number, not below 0, is needed"
    both = tuple(
        0.0 if x is None else real(name, x, needed, lambda v: 0 <= v < math.inf)
        for name, x in (("rtol", rtol), ("atol", atol))
    )
    if both == (0.0, 0.0):
        raise ArgumentError("rtol, atol: 0 given; one of them must be positive, or neither given")
    return both[0], both[1]
