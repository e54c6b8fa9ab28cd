"""Types of the compiled module: nested sampling."""

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from fermiac._core.targets import LogDensity

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
def nested_chains(
    prior: Any,
    likelihood: Any,
    kinds: tuple[str, str],
    batch: NDArray[np.uint64],
    chains: NDArray[np.uint64],
    budget: float | None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[NDArray[np.uint64], tuple[int, int, float]]: ...

@final
class NestedRun:
    def __new__(cls, prior: Any, likelihood: Any, options: Any, above: Any = None) -> NestedRun: ...
    def run(
        self,
        prior: Any,
        likelihood: Any,
        budget: float | None,
        n_threads: int,
        progress: Callable[[int, int], object] | None = None,
        away: bool = False,
    ) -> BaseException | None: ...
    def save_batch(self) -> NDArray[np.uint64]: ...
    def save_chains(self, first: int, n: int) -> NDArray[np.uint64]: ...
    def load_chains(
        self,
        prior: Any,
        likelihood: Any,
        first: int,
        words: NDArray[np.uint64],
        counts: tuple[int, int, float],
    ) -> int: ...
    def are_pending(self, first: int, stop: int) -> bool: ...
    def prolong(self, dlogz: float, max_evals: int, max_iter: int) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def trace(self) -> dict[str, _F]: ...
    def points(self, prior: Any, likelihood: Any) -> dict[str, Any]: ...
    def importance(self, prior: Any, likelihood: Any, n_threads: int) -> dict[str, Any] | None: ...
    def save(self, prior: Any, likelihood: Any) -> NDArray[np.uint64]: ...
    def load(self, prior: Any, likelihood: Any, words: NDArray[np.uint64]) -> None: ...

@final
class LearntRun:
    def __new__(cls, prior: Any, likelihood: Any, options: Any) -> LearntRun: ...
    def run(
        self,
        prior: Any,
        likelihood: Any,
        budget: float | None,
        n_threads: int,
        progress: Callable[[int, int], object] | None = None,
    ) -> BaseException | None: ...
    def prolong(self, _dlogz: float, max_evals: int, _max_iter: int) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def trace(self) -> dict[str, _F]: ...
    def points(self, prior: Any, likelihood: Any) -> dict[str, Any]: ...
    def importance(self, prior: Any, likelihood: Any, _n_threads: int) -> dict[str, Any] | None: ...
    def save(self, _prior: Any, _likelihood: Any) -> NDArray[np.uint64]: ...
    def load(self, _prior: Any, _likelihood: Any, words: NDArray[np.uint64]) -> None: ...

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
    function: Callable[[_F], _F], dim: int, key: int
) -> tuple[list[float], float]: ...
def nested_architecture(
    u: _F,
    ell: _F,
    options: dict[str, Any],
    search: dict[str, Any],
    key: int,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]: ...
