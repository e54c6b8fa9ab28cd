"""Types of the adaptive integrators of score models in the compiled module."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_F = NDArray[np.float64]

def score_adaptive(
    model: Any,
    y: _F,
    levels: _F,
    options: Any,
    trace: tuple[Callable[[NDArray[np.int64], _F, _F], tuple[_F, _F]] | None, int] | None,
    trajectory: bool,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[dict[str, Any] | None, BaseException | None]: ...
def score_brownian(
    key: int,
    first_row: int,
    n_rows: int,
    dim: int,
    s_hi: _F,
    s_lo: _F,
    low: float,
    high: float,
    tolerance: float = 1e-5,
) -> _F: ...
