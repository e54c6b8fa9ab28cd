"""Types of the nested-sampling part of the compiled module; `_core.pyi` takes them in."""

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["NestedRun", "nested_bootstrap", "nested_simulate", "nested_volumes"]

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
) -> dict[str, Any]: ...

@final
class NestedRun:
    def __new__(
        cls, prior: Any, likelihood: Any, options: Any, between: Any = None
    ) -> NestedRun: ...
    def run(
        self,
        prior: Any,
        likelihood: Any,
        budget: float | None,
        n_threads: int,
        progress: Callable[[int, int], object] | None = None,
    ) -> BaseException | None: ...
    def state(self) -> dict[str, Any]: ...
    def trace(self) -> dict[str, _F]: ...
    def points(self, prior: Any, likelihood: Any) -> dict[str, Any]: ...
    def save(self, prior: Any, likelihood: Any) -> NDArray[np.uint64]: ...
    def load(self, prior: Any, likelihood: Any, words: NDArray[np.uint64]) -> None: ...
