"""Calls made of independent units: whole units on workers, parts of a call, and a store.

The random streams of a unit depend on its number alone. The unit is therefore the same wherever and
whenever it is computed, and the parts of a call from independent jobs add up to the whole call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fermiac import _core
from fermiac._base.plan import Part, Plan
from fermiac._base.progress import Report, finish, reporter
from fermiac._base.store import STATE, VALUES
from fermiac._base.validate import path_of, shown
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.results import Result, load
from fermiac.results.result import quiet
from fermiac.runs.dispatch import Dispatch, Tick
from fermiac.runs.engines import engine_of
from fermiac.runs.executor import ExecutorLike, Sharded
from fermiac.runs.fingerprint import fingerprint

__all__ = [
    "Part",
    "Store",
    "computed",
    "gathered",
    "identity_of_call",
    "is_default",
    "keeps_state",
    "part_of",
    "store_of",
]

R = TypeVar("R", bound=Result)
#: The largest number of units of a shard.
_TOGETHER = 64


def part_of(part: Part | None, n_units: int) -> range:
    """Return the units of a part of a call; all of them for None."""
    if part is None:
        return range(n_units)
    i, n = part
    units = range(i * n_units // n, (i + 1) * n_units // n)
    if not units:
        raise ArgumentError(
            f"part: {(i, n)} given, but the call has {n_units} units alone, so that this part is "
            "empty; give as many parts at most"
        )
    return units


def identity_of_call(method: str, settings: Mapping[str, Any], seed: int, *targets: Any) -> str:
    """Return a digest of everything except its index that a unit depends on; see `fingerprint`."""
    known = (value for pair in sorted(settings.items()) for value in pair)
    text = fingerprint(method, _core.__version__, _core.isa_level, seed, *known, *targets)
    return text[:16]


def is_default(value: Any, default: Any) -> bool:
    """Return whether an argument, of any type, has its default value."""
    return value is default or (isinstance(value, bool | int) and value == default)


def keeps_state(plan: Plan, always: bool = False, name: str = STATE) -> bool:
    """Return whether a call keeps its state in its store, and not finished units.

    A call in one process keeps its state, from which it also goes on to a larger size. So does,
    with `always`, a call that has no units. A call ends in the form in which it has begun, whatever
    its executor. With the name `VALUES` the values of its target are kept instead of a state.
    """
    if plan.store is None or plan.part is not None:
        return False
    there = {path.name for path in Path(plan.store).glob("*.safetensors")}
    if name in there:
        return True
    return (always or plan.executor is None) and not there - {STATE, VALUES}


class Store:
    """A folder with one file for each unit of a call, written by the process that computed it.

    Two simultaneous calls are safe: files are first written under another name, and a unit does not
    depend on the process that computes it.
    """

    def __init__(self, folder: str | os.PathLike[str], digest: str, n_units: int) -> None:
        self.folder = Path(path_of("store", folder))
        self.digest, self.n_units = digest, n_units

    def path(self, unit: int) -> Path:
        """Return the file of a unit."""
        return self.folder / f"{self.digest}-{unit:09d}-of-{self.n_units}.safetensors"

    def beside(self, name: str) -> Path:
        """Return the file with the common data of all units."""
        return self.folder / f"{self.digest}-{name}.safetensors"

    @property
    def whole(self) -> Path:
        """The file with the result of a finished call, of which `fermiac.merge` reads no other."""
        return self.beside("whole")

    def begin(self) -> None:
        """Create the folder, which may contain only units of this call."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in self.folder.glob("*.safetensors")} - {STATE, VALUES}
        except OSError as error:
            raise CheckpointError(f"store: {shown(os.fspath(self.folder))}: {error}") from error
        foreign = next((name for name in sorted(names) if not name.startswith(self.digest)), None)
        if foreign is not None:
            raise CheckpointError(
                f"store: {shown(os.fspath(self.folder))} holds {foreign}, which belongs to another "
                "call (its target or the data of that, its settings, seed, version or "
                "instruction-set level differ), or to none; take another folder"
            )

    def missing(self, units: Sequence[int]) -> list[int]:
        """Return the units that are not in the folder."""
        there = {path.name for path in self.folder.glob("*.safetensors")}
        return [unit for unit in units if self.path(unit).name not in there]


def store_of(
    folder: str | os.PathLike[str] | None, rng: Any, digest: Callable[[], str], n_units: int
) -> Store | None:
    """Return the store of a call, or None if no folder is given."""
    if folder is None:
        return None
    if rng is None:
        raise ArgumentError("store: given without rng=, so that no later call finds its parts")
    return Store(folder, digest(), n_units)


class _Kept:
    """Work whose results are written to the store by the process that computes them."""

    def __init__(self, work: Callable[[int], Result], store: Store) -> None:
        self.work, self.store = work, store

    def __call__(self, unit: int) -> None:
        """Compute a unit and write it."""
        self.work(unit).save(self.store.path(unit))


class _Units:
    """Some units, as the work of a shard."""

    def __init__(self, work: Callable[[int], Any]) -> None:
        self._target = work

    def __call__(self, units: tuple[int, ...]) -> list[Any]:
        """Return the results of units, without their warnings, which belong to the whole call."""
        with quiet():
            return [self._target(unit) for unit in units]


def computed(
    work: Callable[[int], Result],
    units: Sequence[int],
    *,
    executor: ExecutorLike | None,
    store: Store | None,
    tick: Tick,
    name: str,
) -> Iterator[tuple[int, Result]]:
    """Yield every unit with its result, in the order of completion.

    Parameters
    ----------
    work : callable
        A function that returns the result of a unit. It is pickled for an executor. Without an
        executor, its attribute `progress` is a callback that it calls during its work, so that a
        handle can end it.
    units : sequence of int
    executor : object, optional
        What `fermiac.executor.Sharded` takes; without one they are computed here, in order.
    store : Store, optional
        The folder of finished units.
    tick : callable
        A function that is called with the number of finished units.
    name : str
        The plural of the units, for messages.
    """
    left, does = list(units), work
    if store is not None:
        store.begin()
        left = store.missing(units)
        there = set(left)
        for unit in units:
            if unit not in there:
                yield unit, load(store.path(unit))
        does = _Kept(work, store)  # type: ignore[assignment]
    before = len(units) - len(left)
    for unit, result in _made(does, left, executor, lambda n: tick(before + n), name):
        yield unit, load(store.path(unit)) if store is not None else result


def gathered(
    work: Callable[[int], R],
    units: Sequence[int],
    join: Callable[[dict[int, R]], R],
    *,
    executor: ExecutorLike | None,
    store: Store | None,
    progress: bool | Report | None,
    label: str,
    name: str,
) -> R:
    """Return the joined results of units; see `computed`.

    The exception that ends the call early has the joint result of the finished units as its
    ``partial_result``, or None.
    """
    done: dict[int, R] = {}
    with reporter(progress, label, name) as report:

        def tick(n: int) -> None:
            if report is not None and n < len(units):
                report(n, len(units))

        try:
            pieces: Any = computed(
                work, units, executor=executor, store=store, tick=tick, name=name
            )
            for unit, piece in pieces:
                done[unit] = piece
        except BaseException as error:
            error.partial_result = None  # type: ignore[attr-defined]
            if done:
                partial = replace(join(done), status="interrupted")
                error.partial_result = partial  # type: ignore[attr-defined]
            raise
        result = join(done)
        finish(report, len(units), result)
    return result


def _made(
    work: Callable[[int], Any],
    units: list[int],
    executor: ExecutorLike | None,
    tick: Tick,
    name: str,
) -> Iterator[tuple[int, Any]]:
    run = _Units(work)
    if executor is None:
        for i, unit in enumerate(units):
            tick(i)
            unwrapped: Any = work.work if isinstance(work, _Kept) else work
            unwrapped.progress = lambda _done, _total, i=i: tick(i)
            yield unit, run((unit,))[0]
        tick(len(units))
        return
    given = executor if isinstance(executor, Sharded) else Sharded(executor)
    engine = engine_of(given.executor)
    dispatch = Dispatch(engine, given._sharding, run, tick, name, whole=True)

    def check(got: Any, start: int, stop: int) -> str | None:
        good = isinstance(got, list) and len(got) == stop - start
        return None if good else f"a list of {stop - start} results"

    # The results of a shard arrive together, and must fit in memory for a call of any size.
    most = _TOGETHER if engine.pointwise else None
    with closing(dispatch):
        for start, stop, got in dispatch(
            len(units), lambda a, b: (tuple(units[a:b]),), check, most=most
        ):
            yield from zip(units[start:stop], got, strict=True)
        tick(len(units))
