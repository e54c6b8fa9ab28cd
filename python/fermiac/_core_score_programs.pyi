"""Types of integrators' programs in the compiled module; `_core.pyi` takes them in."""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_F = NDArray[np.float64]

@final
class Program:
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
    method: tuple[Any, ...], options: tuple[str, bool, int | None], grid: _F
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
