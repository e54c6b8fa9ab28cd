"""Types of the compiled module: importance sampling."""

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from fermiac._core.targets import Integrand, LogDensity

_F = NDArray[np.float64]

def importance_expect(
    integrand: Integrand | tuple[Callable[[_F], _F], int],
    laws: list[Any],
    options: dict[str, Any],
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[dict[str, Any] | None, BaseException | None]: ...
def importance_evidence(
    log_density: LogDensity | tuple[Callable[[_F, bool], tuple[_F, _F | None]], int, bool],
    law: Any,
    options: dict[str, Any],
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[dict[str, Any] | None, BaseException | None]: ...

@final
class IntegralSampler:
    def __new__(cls, state: dict[str, Any]) -> IntegralSampler: ...
    def log_density(self, x: _F) -> _F: ...
    def map_unit(self, u: _F) -> _F: ...

def importance_integrate(
    integrand: Integrand | tuple[Callable[[_F], _F], int],
    bounds: list[tuple[float, float]],
    options: dict[str, Any],
    pairs: Callable[[], bool],
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[dict[str, Any] | None, BaseException | None]: ...
