"""Rows of a call of `sample` or `integrate` in parts: on workers, by jobs, and in a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads, threads
from fermiac._base.plan import alone
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import key_of, numbers, whole
from fermiac.errors import ArgumentError
from fermiac.results.result import Result, quiet
from fermiac.results.reweight import PARTS
from fermiac.runs.parts import identity_of_call, is_default, part_of
from fermiac.runs.rows import RowsOfCall
from fermiac.score.split import Split

if TYPE_CHECKING:
    from fermiac._base.progress import Report

__all__ = ["OF_CALL", "Rows", "integrate_rows", "of_blocks", "rows_of_block", "sample_rows"]

Array = NDArray[np.float64]
R = TypeVar("R", bound=Result, covariant=True)

#: Arguments of the call that a block of rows does not take.
OF_CALL = (
    "model", "n", "y0", "sigmas", "rng", "first_row", "plan", "where",
)  # fmt: skip
#: Arguments that concern all rows, or that change the type of the result.
_REFUSED = {"callback": None, "return_trajectory": False, "as_tensor": False}
#: The fewest blocks of a call, if it has as many rows, and the most rows of a block.
_BLOCKS, _LARGEST = 256, 4096


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Rows(RowsOfCall):
    """Some rows of a call, with their address.

    Attributes
    ----------
    array : ndarray, shape (m, ...)
        The rows.
    blocks : tuple of (int, int)
        Their positions among the rows of the call, as starts and stops.
    n_rows : int
        The number of rows of the whole call.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.04, 0.04])
    >>> plans = [fm.Plan(part=(i, 3)) for i in range(3)]
    >>> parts = [
    ...     fm.score.sample(m, 100, sigma_range=(0.01, 50.0), rng=0, plan=plan)
    ...     for plan in plans
    ... ]
    >>> x = fm.score.sample(m, 100, sigma_range=(0.01, 50.0), rng=0)
    >>> bool((fm.merge(parts).array == x.draws).all())
    True
    """


class _Block:
    """A block of rows, as the work of a unit."""

    progress: bool | Report = False
    n_threads: int | None = None

    def __init__(
        self,
        call: Callable[..., Any],
        model: Any,
        settings: Mapping[str, Any],
        seed: int,
        first: int,
        n: int,
        size: int,
        digest: str,
    ) -> None:
        self._call, self._target, self._settings, self._seed = call, model, dict(settings), seed
        self._first, self._n, self._size, self._digest = first, n, size, digest

    def __call__(self, block: int) -> Rows:
        """Return the block with this number."""
        return self.rows(block * self._size, min((block + 1) * self._size, self._n))

    def rows(self, start: int, stop: int) -> Rows:
        """Return some rows."""
        began = time.perf_counter()
        given = {
            **self._settings,
            "rng": self._seed,
            "first_row": self._first + start,
            "plan": alone(n_threads=self.n_threads, progress=self.progress),
        }
        points = self._points(self._target, start, stop, given)
        return Rows(
            seed=self._seed,
            version=_core.__version__,
            isa=_core.isa_level,
            settings={PARTS: self._digest, "first_row": self._first},
            n_evals=getattr(points, "n_evals", 0),
            wall_time=time.perf_counter() - began,
            array=np.asarray(points, dtype=np.float64),
            blocks=((start, stop),),
            n_rows=self._n,
            warnings=getattr(points, "warnings", ()),
        )

    def _points(self, model: Any, start: int, stop: int, given: Mapping[str, Any]) -> Any:
        """Return rows of `fermiac.score.sample`."""
        with quiet():
            return self._call(model, stop - start, **given)


class _Transported(_Block):
    """A block of rows of `fermiac.score.integrate`."""

    #: The points at the first level, and the levels.
    given: tuple[Array, Array]

    def _points(self, model: Any, start: int, stop: int, given: Mapping[str, Any]) -> Any:
        y0, sigmas = self.given
        grid = sigmas[start:stop] if sigmas.ndim == 2 else sigmas
        return self._call(model, y0[start:stop], grid, **given)


def sample_rows(
    call: Callable[..., Any],
    model: Any,
    n: Any,
    settings: dict[str, Any],
    split: Split,
    first_row: Any,
) -> Rows:
    """Return rows of a call of `fermiac.score.sample`, which is `call`, made in blocks."""
    n = whole("n", n, 1, 2**40)
    return _in_blocks(_Block, call, model, n, settings, (), split, first_row)


def integrate_rows(
    call: Callable[..., Any],
    model: Any,
    y0: Any,
    sigmas: Any,
    settings: dict[str, Any],
    split: Split,
    first_row: Any,
) -> Rows:
    """Return rows of a call of `fermiac.score.integrate`, which is `call`, made in blocks."""
    points, grid = numbers("y0", to_numpy(y0)), numbers("sigmas", to_numpy(sigmas))
    if points.ndim < 2 or not len(points):
        raise ArgumentError(
            f"y0: shape {points.shape} was given with part= or store=; (n, d) or (n, *event) is "
            "needed, with at least one row"
        )
    if grid.ndim == 2 and len(grid) != len(points):
        raise ArgumentError(
            f"sigmas: {len(grid)} grids were given for {len(points)} rows; one for each is needed"
        )
    n, given = len(points), (points, grid)
    return _in_blocks(_Transported, call, model, n, settings, given, split, first_row)


def _in_blocks(
    kind: type[_Block],
    call: Callable[..., Any],
    model: Any,
    n: int,
    settings: dict[str, Any],
    given: tuple[Any, ...],
    split: Split,
    first_row: Any,
) -> Rows:
    for argument, default in _REFUSED.items():
        if not is_default(settings.pop(argument, default), default):
            raise ArgumentError(f"{argument}: given with part=, whose rows are arrays alone")
    key = key_of(split.rng)
    first = whole("first_row", first_row, 0, 2**48)
    size, name = rows_of_block(n), f"score.{call.__name__}"
    digest = identity_of_call(name, settings, key, model, *given)
    work = kind(call, model, settings, key, first, n, size, digest)
    work.n_threads = split.plan.n_threads
    if isinstance(work, _Transported):
        work.given = given
    if split.is_at_once:
        rows = part_of(split.plan.part, n)
        work.progress = split.plan.progress if callable(split.plan.progress) else False
        return work.rows(rows.start, rows.stop)
    of_call = {"call": digest, "n": n, "first_row": first}

    def join(done: dict[int, Rows]) -> Rows:
        one, *more = done.values()
        return one.merge(*more)

    return split.gathered(
        work,
        -(-n // size),
        join,
        digest=lambda: identity_of_call(name, of_call, key),
        label=call.__name__,
        name="blocks of rows",
    )


def rows_of_block(n: int) -> int:
    """Return the number of rows of a block of a call with n rows."""
    return min(1 << max(-(-n // _BLOCKS) - 1, 0).bit_length(), _LARGEST)


class Blocks(Protocol[R]):
    """The blocks of rows of a call, as the work of a unit."""

    progress: bool | Report | None

    def __call__(self, block: int) -> R:
        """Return the block with this number."""
        ...

    def rows(self, start: int, stop: int) -> R:
        """Return some rows."""
        ...


def of_blocks(
    work: Blocks[R],
    n: int,
    joined: Callable[[Sequence[R]], R],
    split: Split,
    *,
    digest: str,
    label: str,
    name: str,
) -> R:
    """Return the n rows of a call, or a part of them, from blocks on workers and in a store."""
    workers = resolve_threads(split.plan.n_threads)
    if split.is_at_once:
        rows = part_of(split.plan.part, n)
        work.progress = split.plan.progress
        with threads(workers):
            return work.rows(rows.start, rows.stop)
    n_blocks = -(-n // rows_of_block(n))

    def join(done: dict[int, R]) -> R:
        return joined([*done.values()])

    with threads(workers):
        result = split.gathered(work, n_blocks, join, digest=lambda: digest, label=label, name=name)
    if split.plan.part is not None:
        return result
    # A whole call is the same as without workers and files.
    return replace(result, settings={k: v for k, v in result.settings.items() if k != PARTS})
