"""Types of the nested-sampling part of the compiled module; `_core.pyi` takes them in."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_F = NDArray[np.float64]
_I = NDArray[np.int64]

def nested_volumes(log_likelihoods: _F, births: _F) -> dict[str, Any]: ...
def nested_simulate(
    log_likelihoods: _F,
    n_alive: _I,
    n_sets: int,
    key: int,
    n_threads: int,
    values: _F | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]: ...
def nested_bootstrap(
    log_likelihoods: _F,
    births: _F,
    groups: _I,
    n_sets: int,
    key: int,
    n_threads: int,
    values: _F | None = None,
    progress: Callable[[int, int], object] | None = None,
    target: _F | None = None,
) -> dict[str, Any]: ...
