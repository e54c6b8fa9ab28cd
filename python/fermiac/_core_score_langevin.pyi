"""Types of the chains over noise levels in the compiled module; `_core.pyi` takes them in."""

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_F = NDArray[np.float64]
_U = NDArray[np.uint64]

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
