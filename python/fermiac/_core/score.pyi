"""Types of the compiled module: score models."""

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_F = NDArray[np.float64]
_U = NDArray[np.uint64]

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
def score_choose_tokens(
    logits: NDArray[np.float32] | NDArray[np.float64],
    temperature: float,
    uniforms: NDArray[np.float64],
    n_threads: int,
) -> NDArray[np.int64]: ...

@final
class GibbsRun:
    def __new__(cls, options: dict[str, Any]) -> GibbsRun: ...
    def begin(
        self,
        model: Any,
        predict: Any,
        n_threads: int,
        total: int,
        progress: Callable[[int, int], object] | None = None,
    ) -> None: ...
    def advance(
        self,
        model: Any,
        predict: Any,
        n_windows: int,
        n_threads: int,
        total: int,
        progress: Callable[[int, int], object] | None = None,
    ) -> dict[str, _F]: ...
    @property
    def n_windows(self) -> int: ...
    def counts(self) -> dict[str, _U]: ...
    def state(self) -> tuple[_F, _F]: ...
    def save(self) -> _U: ...
    def load(self, words: _U) -> None: ...

def score_native(pointer: dict[str, Any]) -> Any: ...
def score_native_call(model: Any, y: _F, sigma: _F, of_score: bool, n_threads: int) -> _F: ...
def score_integrate(
    spec: Any,
    program: Program,
    y: _F,
    settings: dict[str, Any],
    keep_path: bool,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[tuple[_F, _F, _F | None] | None, BaseException | None]: ...

@final
class ScoreRun:
    def __new__(cls, spec: Any, program: Program, y: _F, settings: dict[str, Any]) -> ScoreRun: ...
    def step(self, spec: Any, n_threads: int) -> None: ...
    def reached(self) -> tuple[tuple[_F, _F, _F | None], int]: ...
    def save(self) -> list[int]: ...
    def restore(self, words: list[int]) -> None: ...

@final
class Program:
    METHODS: list[str]
    @property
    def ops(self) -> list[tuple[Any, ...]]: ...
    @property
    def n_registers(self) -> int: ...
    @property
    def n_evals(self) -> int: ...
    @property
    def n_steps(self) -> int: ...
    @property
    def draws(self) -> list[tuple[int, int]]: ...
    @property
    def coefficients(self) -> _F: ...

def score_compile(
    method: tuple[str, dict[str, Any]], options: tuple[str, bool, int | None], grid: _F
) -> Program: ...
def score_grid(
    kind: str,
    n_steps: int,
    low: float,
    high: float,
    power: float,
    beta_range: tuple[float, float],
) -> _F: ...
def score_noise(
    key: int,
    purpose: int,
    first: int,
    n_rows: int,
    draw: int,
    n_normals: int,
    n_uniforms: int,
) -> tuple[_F, _F]: ...

@final
class ScoreModel:
    def denoise(self, y: _F, sigma: _F, n_threads: int) -> _F: ...
    def score(self, y: _F, sigma: _F, n_threads: int) -> _F: ...
    def log_density(self, y: _F, sigma: _F, n_threads: int) -> _F: ...
    def level_log_densities(self, y: _F, levels: _F, n_threads: int) -> _F: ...
    def denoise_with_trace(self, y: _F, sigma: _F, n_threads: int) -> _F: ...

@final
class GaussianMixture:
    def __new__(cls, weights: _F, means: _F, covariances: _F, kind: str) -> GaussianMixture: ...
    def model(self) -> ScoreModel: ...
    def responsibilities(self, y: _F, sigma: _F, n_threads: int) -> _F: ...
    def jacobian(self, y: _F, sigma: _F, n_threads: int) -> _F: ...
    def sample(self, n: int, sigma: _F, key: int, n_threads: int) -> _F: ...
