"""Types of the compiled module: resampling."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_F = NDArray[np.float64]
_I = NDArray[np.int64]

def resample_bootstrap(
    name: str,
    parameters: Sequence[float],
    columns: Sequence[_F],
    scheme: Mapping[str, Any],
    first: int,
    n: int,
    errors: bool,
    key: int,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[_F, _F, BaseException | None]: ...
def resample_leave_one_out(
    name: str,
    parameters: Sequence[float],
    columns: Sequence[_F],
    scheme: Mapping[str, Any],
    n_threads: int,
) -> _F: ...
def resample_evaluate(
    name: str,
    parameters: Sequence[float],
    columns: Sequence[_F],
    weights: _F,
    whole: bool,
) -> tuple[list[float], list[_F | None]]: ...
def resample_rows(
    scheme: Mapping[str, Any], first: int, n: int, key: int, n_threads: int
) -> tuple[_I, _I]: ...
def resample_weights(
    scheme: Mapping[str, Any], first: int, n: int, key: int, n_threads: int
) -> _F: ...
