"""Types of the compiled module: differential privacy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._core.common import Stream

_F = NDArray[np.float64]
_I = NDArray[np.int64]

def privacy_stream(key: int, index: int) -> Stream: ...
def privacy_gaussian(name: str, arguments: list[_F], n: int, n_threads: int) -> _F: ...
def privacy_one_run_bounds(
    name: str, arguments: list[_F], n: int, n_threads: int
) -> tuple[_F, _F]: ...
def privacy_one_run_p_values(name: str, arguments: list[_F], n: int, n_threads: int) -> _F: ...
def privacy_one_run_curve_p_values(
    fpr: _F, fnr: _F, arguments: list[_F], n: int, n_threads: int
) -> _F: ...
def privacy_intervals(
    method: str,
    direction: str,
    sides: tuple[bool, bool],
    columns: Sequence[_F],
    n: int,
    n_threads: int,
) -> tuple[_F, _F]: ...
def privacy_posterior(
    name: str,
    of: str,
    side: str,
    columns: Sequence[_F],
    n: int,
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> _F: ...
def privacy_rates(
    name: str, direction: str, arguments: Sequence[_F], n: int, n_threads: int
) -> _F: ...
def privacy_roc(members: _F, nonmembers: _F) -> tuple[_F, _I, _I, _I, float, float]: ...
def privacy_bootstrap(
    members: _F,
    nonmembers: _F,
    statistic: str,
    rate: float,
    first: int,
    n: int,
    key: int,
    n_threads: int,
) -> tuple[float, _F, float]: ...
def privacy_rank_replicates(
    sizes: tuple[int, int],
    ordered: int,
    curve: tuple[_F, _F] | None,
    n: int,
    key: int,
    n_threads: int,
) -> _F: ...
def watermark_align(
    key: tuple[int, NDArray[np.uint32]] | tuple[_F, NDArray[np.uint32]] | _F | None,
    tokens: NDArray[np.uint32],
    lengths: list[int],
    options: dict[str, Any],
    n_threads: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[tuple[float, int, int, _F]], BaseException | None]: ...
def watermark_choose(
    numbers: int | _F, n: int, probabilities: _F, first: int, n_threads: int
) -> NDArray[np.uint32]: ...
def watermark_numbers(seed: int, tokens: NDArray[np.uint32], n: int) -> _F: ...
def watermark_transform_key(
    seed: int, n: int, vocab_size: int
) -> tuple[_F, NDArray[np.uint32]]: ...
