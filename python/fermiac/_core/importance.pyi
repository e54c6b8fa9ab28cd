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
    sampler: Any,
    options: dict[str, Any],
    pairs: Callable[[], bool],
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[dict[str, Any] | None, BaseException | None]: ...
def importance_prepare(
    integrand: Integrand | tuple[Callable[[_F], _F], int],
    laws: list[Any],
    options: dict[str, Any],
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[NDArray[np.uint64], int, int]: ...
def importance_block(
    integrand: Integrand | tuple[Callable[[_F], _F], int],
    laws: list[Any],
    options: dict[str, Any],
    prepared: NDArray[np.uint64],
    start: int,
    stop: int,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.uint64]: ...
def importance_join(
    prepared: NDArray[np.uint64], left: NDArray[np.uint64], right: NDArray[np.uint64]
) -> NDArray[np.uint64]: ...
def importance_combine(
    prepared: NDArray[np.uint64],
    blocks: list[tuple[int, NDArray[np.uint64]]],
    dim: int,
    n_laws: int,
) -> dict[str, Any]: ...
def importance_evidence(
    log_density: LogDensity | tuple[Callable[[_F, bool], tuple[_F, _F | None]], int, bool],
    law: Any,
    options: dict[str, Any],
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[dict[str, Any] | None, BaseException | None]: ...
def importance_evidence_prepare(
    log_density: LogDensity | tuple[Callable[[_F, bool], tuple[_F, _F | None]], int, bool],
    law: Any,
    options: dict[str, Any],
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[NDArray[np.uint64], int, int]: ...
def importance_evidence_block(
    log_density: LogDensity | tuple[Callable[[_F, bool], tuple[_F, _F | None]], int, bool],
    law: Any,
    options: dict[str, Any],
    prepared: NDArray[np.uint64],
    start: int,
    stop: int,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.uint64]: ...
def importance_evidence_combine(
    prepared: NDArray[np.uint64], blocks: list[NDArray[np.uint64]], dim: int
) -> dict[str, Any]: ...

@final
class RareMixture:
    def __new__(cls, dim: int, base: float) -> RareMixture: ...
    def add_slab(
        self, share: float, kinds: list[str], loc: _F, scale: _F, directions: _F
    ) -> None: ...
    def add_polar(
        self, share: float, axis: _F, radial: tuple[float, float, float], edges: _F, bins: _F
    ) -> None: ...
    def log_ratio(self, u: _F, n_threads: int) -> _F: ...
    def component_ratios(self, u: _F, n_threads: int) -> _F: ...
    def points(self, v: _F, n_threads: int) -> _F: ...

@final
class Polynomials:
    def __new__(
        cls,
        bounded: list[bool],
        degree: int,
        knots: list[float],
        mix: list[float],
        terms: list[list[int]],
    ) -> Polynomials: ...
    def gram(self, u: _F, values: _F, n_threads: int) -> _F: ...
    def crossed(
        self,
        a: _F,
        b: _F,
        groups: list[list[int]],
        both: bool,
        coefficients: _F,
        n_threads: int,
    ) -> _F: ...

def polynomial_folds(
    grams: _F, terms: int, outputs: int, sizes: list[int], n_threads: int
) -> tuple[_F, _F]: ...

@final
class ComponentSampler:
    def __new__(cls, state: dict[str, Any]) -> ComponentSampler: ...
    def log_density(self, x: _F) -> _F: ...
    def map_unit(self, u: _F) -> _F: ...

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
