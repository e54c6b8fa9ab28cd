"""Types of the compiled module: resampling."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_F = NDArray[np.float64]
_I = NDArray[np.int64]

def resample_bootstrap(
    name: str,
    parameters: Sequence[float],
    columns: Sequence[_F],
    scheme: Mapping[str, Any],
    first: int,
    n: int,
    errors: bool,
    key: int,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[_F, _F, int, BaseException | None]: ...
def resample_weighted(
    name: str,
    parameters: Sequence[float],
    columns: Sequence[_F],
    scheme: Mapping[str, Any],
    weights: _F,
    errors: bool,
    n_threads: int,
) -> tuple[_F, _F, int, BaseException | None]: ...
def resample_of_samples(
    name: str,
    parameters: Sequence[float],
    columns: Sequence[_F],
    scheme: Mapping[str, Any],
    n: int,
    errors: bool,
    n_threads: int,
) -> tuple[_F, _F, int, BaseException | None]: ...
def resample_sieve_fit(
    x: _F, lag: int, most: int, key: int
) -> tuple[int, float, float, float, float]: ...
def resample_sieve(
    x: _F,
    lag: int,
    most: int,
    first: int,
    n: int,
    key: int,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[_F, _F, int, BaseException | None]: ...
def resample_sieve_samples(
    x: _F, most: int, first: int, n: int, key: int, n_threads: int
) -> _F: ...
def resample_leave_one_out(
    name: str,
    parameters: Sequence[float],
    columns: Sequence[_F],
    scheme: Mapping[str, Any],
    n_threads: int,
) -> _F: ...
def resample_evaluate(
    name: str,
    parameters: Sequence[float],
    columns: Sequence[_F],
    weights: _F,
    whole: bool,
) -> tuple[list[float], list[_F | None]]: ...
def resample_rows(
    scheme: Mapping[str, Any], first: int, n: int, key: int, n_threads: int
) -> tuple[_I, _I]: ...
def resample_weights(
    scheme: Mapping[str, Any], first: int, n: int, key: int, n_threads: int
) -> _F: ...
def resample_permute(
    kind: str,
    blocks: Sequence[int],
    firsts: Sequence[int],
    x: _F | None,
    y: _F,
    first: int,
    n: int,
    key: int,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> _F: ...
def resample_coefficients(
    kind: str,
    blocks: Sequence[int],
    firsts: Sequence[int],
    x: _F | None,
    first: int,
    n: int,
    key: int,
    n_threads: int,
) -> _F: ...
def resample_exceedances(
    kind: str,
    blocks: Sequence[int],
    firsts: Sequence[int],
    x: _F | None,
    data: _F,
    observed: _F,
    shifts: _F,
    scales: _F,
    squares: _F,
    absolute: bool,
    tolerance: float,
    first: int,
    n: int,
    key: int,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], _F]: ...
def resample_rank_law(scores: Sequence[int], first: int | None = None) -> _F: ...
def resample_tails(
    kind: str, x: _F | None, y: _F, first: int, observed: float, near: float
) -> tuple[float, float]: ...
def resample_choices(costs: _F, budget: float, most: int) -> int | None: ...
def resample_group_choices(falling: _F, first: int, budget: float, most: int) -> int | None: ...
def resample_log_groups_above(y: _F, first: int, observed: float, unit: float) -> float | None: ...
