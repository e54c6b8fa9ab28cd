"""Types of the runs of integrators in the compiled module; `_core.pyi` takes them in."""

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from fermiac._core import Program

_F = NDArray[np.float64]

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
