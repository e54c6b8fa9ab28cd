"""Types of the nested-sampling part of the compiled module; `_core.pyi` takes them in."""

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from fermiac._core import LogDensity

_F = NDArray[np.float64]

@final
class Surrogate:
    @staticmethod
    def train(
        u: _F,
        ell: _F,
        options: dict[str, Any],
        key: int,
        n_threads: int,
        progress: Callable[[int, int], object] | None = None,
    ) -> Surrogate: ...
    @staticmethod
    def load(words: NDArray[np.uint64]) -> Surrogate: ...
    def save(self) -> NDArray[np.uint64]: ...
    @property
    def dim(self) -> int: ...
    @property
    def validation_errors(self) -> list[float]: ...
    @property
    def epochs(self) -> list[int]: ...
    def predict(self, u: _F, n_threads: int) -> tuple[_F, _F]: ...

@final
class GuardedDensity:
    def __new__(
        cls,
        surrogate: Surrogate,
        u: _F,
        ell: _F,
        log_density: LogDensity | tuple[Callable[[_F, bool], tuple[_F, _F | None]], int, bool],
    ) -> GuardedDensity: ...
    @property
    def dim(self) -> int: ...
    @property
    def n_true(self) -> int: ...
    def trusts(self, u: _F) -> NDArray[np.bool_]: ...
    def log_density(self, u: _F) -> _F: ...

def nested_gate(errors: _F, ell: _F, ell_max: float, dim: int, tol: float) -> dict[str, Any]: ...
def nested_maximize(
    function: Callable[[_F], _F], dim: int, options: dict[str, Any], key: int
) -> dict[str, Any]: ...
def nested_architecture(
    u: _F,
    ell: _F,
    options: dict[str, Any],
    search: dict[str, Any],
    key: int,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]: ...
