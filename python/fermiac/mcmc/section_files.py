"""Sections of chains in a store: files from which an interrupted call continues.

The chains of a call move on in blocks. A section of a block ends at the next barrier, or at a
transition that the settings alone determine. Its file has the state of the chains at its end and
its draws, and is written by the process that runs it. The content does not depend on the order or
the place in which sections are run. All sections of a call therefore give the bits of a local call,
and a call that finds some of them runs only the others.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.store import decoding
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.mcmc.checkpoint import Origin
from fermiac.mcmc.sections import ARRAYS, MOST_NUMBERS, Sections, Slots, Work, made
from fermiac.results import Result, load
from fermiac.runs.dispatch import Dispatch
from fermiac.runs.engines import engine_of
from fermiac.runs.executor import require_executor
from fermiac.runs.parts import Store, identity_of_call, store_of

if TYPE_CHECKING:
    from fermiac.mcmc.job import Job
    from fermiac.mcmc.kernel import Kernel
    from fermiac.mcmc.result import Chains
    from fermiac.mcmc.sections import SourceOfTarget
    from fermiac.runs.executor import ExecutorLike

__all__ = [
    "Section",
    "check_kernel",
    "in_store",
    "origin_of",
    "save_origin",
    "save_result",
    "store_of_sections",
]

Array = NDArray[np.float64]
Words = NDArray[np.uint64]

#: The most blocks of chains of a call, the most sections of equal length of a block, and the fewest
#: transitions of a section that no barrier ends.
_BLOCKS, _SECTIONS, _LEAST = 64, 32, 10
#: Arguments that do not change the chains.
_FREE = ("check_gradient", "check")
#: The file of the starts.
_STARTS = "starts"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Section(Result):
    """Some chains between two transitions of an unfinished call.

    A store of `fermiac.mcmc.sample` has such files. The chains of an ensemble or a ladder count as
    one.
    """

    first: int
    n_chains: int
    start: int
    stop: int
    #: The last transition of the call, unless its warm-up ends early.
    end: int
    #: The digest of the state at the start.
    before: str
    #: The state at the end.
    words: Words
    draws: Array | None = None
    log_densities: Array | None = None
    gradients: Array | None = None
    stats: Array | None = None

    _layout: ClassVar[fit.Layout] = {
        "first": fit.whole(0, 10**6),
        "n_chains": fit.whole(1, 10**6),
        **dict.fromkeys(("start", "stop", "end"), fit.whole(0, 2**62)),
        "before": fit.text(),
        "words": fit.array("u", "words"),
        **dict.fromkeys(ARRAYS, fit.maybe(fit.array("f"))),
    }

    def _headline(self) -> str:
        chains = f"chains {self.first} to {self.first + self.n_chains - 1}"
        return f"{chains} from transition {self.start} to {self.stop} of {self.end}"

    def merge(self, *others: Result) -> NoReturn:
        """Raise an error that tells how far the chains of the call are.

        Parameters
        ----------
        *others : Result
            The other files of the store.

        Raises
        ------
        CheckpointError
            Always.
        """
        raise _unfinished([self, *(one for one in others if isinstance(one, Section))])

    def _for_merge(self) -> Section:
        # The arrays of all files might not fit in memory.
        none = self.words[:0]
        return replace(self, words=none, draws=None, log_densities=None, gradients=None, stats=None)

    def _missing(self) -> NoReturn:
        raise _unfinished([self])


def _unfinished(sections: Sequence[Section]) -> CheckpointError:
    """Return the error of a store without a result."""
    ends: dict[int, int] = {}
    for one in sections:
        for chain in range(one.first, one.first + one.n_chains):
            ends[chain] = max(ends.get(chain, 0), one.stop)
    low, high = min(ends.values()), max(ends.values())
    where = f"transition {low}" if low == high else f"transitions {low} to {high}"
    return CheckpointError(
        f"results: a store of an unfinished call of fermiac.mcmc.sample, whose {len(ends)} chains "
        f"have come to {where} of {sections[0].end} (fewer if the warm-up ends early); the same "
        "call with this store= continues from there"
    )


def store_of_sections(
    folder: str | os.PathLike[str],
    given: Mapping[str, Any],
    target: Any,
    *,
    rng: Any,
    key: int,
    others: Mapping[str, Any],
) -> Store:
    """Return the store of a call whose chains are not made one by one.

    Parameters
    ----------
    folder : str or path-like
    given : mapping
        The arguments of the call, except its target and where it runs.
    target : object
        The target as given.
    rng : object
        The seed as given.
    key : int
    others : mapping
        Arguments that only chains made one by one have.
    """
    for name in others:
        if others[name] is not None:
            raise ArgumentError(
                f"{name}: given for chains that wait for each other, at the barriers of the "
                "warm-up, in an ensemble or for stop=, so that no job can make some of them alone; "
                f"give pool=False and no stop=, or leave {name}= out: with store= a call resumes, "
                "and with executor= many workers make its chains"
            )
    for name, why in (
        ("path", "which have all draws; leave it out, or take another store"),
        ("max_time", "which go to their ends; use stop=, or take another store"),
    ):
        if given[name] is not None:
            raise ArgumentError(f"{name}: given for a store with sections of chains, {why}")
    settings = {name: value for name, value in given.items() if name not in _FREE}
    store = store_of(folder, rng, lambda: identity_of_call("mcmc.sample", settings, key, target), 1)
    assert store is not None
    return store


def check_kernel(kernel: Kernel) -> None:
    """Refuse a kernel whose chains have no sections."""
    name = type(kernel).__name__
    if kernel._adapts_together:
        raise ArgumentError(
            f"store: it holds finished chains, but those of {name} wait for each other after each "
            "transition of the warm-up; take another folder"
        )
    if not kernel._is_movable:
        raise ArgumentError(
            f"store: given with an executor and {name}, which has a part written in Python, whose "
            "state is not known here; leave the executor out, or give pool=False"
        )


def _digest(words: Words) -> str:
    return blake2b(words.tobytes(), digest_size=8).hexdigest()


def save_origin(store: Store, job: Job, sampler: _core.Sampler, n_evals: int) -> None:
    """Write the starts, and the number of evaluations that they took."""
    words = sampler.save_chains(0, len(sampler.n_done))
    section = Section(
        seed=job.key,
        version=_core.__version__,
        isa=_core.isa_level,
        settings={},
        n_evals=n_evals,
        wall_time=0.0,
        first=0,
        n_chains=len(sampler.n_done),
        start=0,
        stop=0,
        end=job.settings.transition(job.settings.n_draws),
        before="",
        words=words,
    )
    section.save(store.beside(_STARTS))


class _Begun(NamedTuple):
    """The beginning of a call that a store has."""

    path: Path
    section: Section
    origin: Origin

    def restore(self, sampler: _core.Sampler) -> None:
        """Restore the chains at their starts."""
        words = np.require(self.section.words, np.uint64, ["C", "A", "W"])
        with decoding(self.path):
            sampler.load_chains(0, len(sampler.n_done), words)


def origin_of(store: Store, job: Job) -> _Begun | None:
    """Return the beginning of a call, if the store has it."""
    path = store.beside(_STARTS)
    if not path.exists():
        return None
    section = _read(path)
    none = np.empty((0, job.target.dim))
    return _Begun(path, section, Origin(x0=none, values=np.empty(0), n_evals=section.n_evals))


def save_result(store: Store, result: Chains) -> None:
    """Write the result of a finished call, for `fermiac.merge`."""
    path = store.whole
    if path.exists():
        return
    try:
        result.save(path)
    except BaseException as error:
        error.partial_result = result  # type: ignore[attr-defined]
        raise


def _read(path: Path) -> Section:
    section = load(path)
    if not isinstance(section, Section):
        raise CheckpointError(
            f"{path}: it holds a {type(section).__name__}; a section of chains is needed"
        )
    return section


class _Span(NamedTuple):
    """The transitions of a section, and its record; see `Slots.part`."""

    start: int
    stop: int
    record: dict[str, int]


class _Item(NamedTuple):
    """A section that is to be run, and those after it up to a barrier."""

    first: int
    n_chains: int
    words: Words
    spans: tuple[_Span, ...]
    wanted: tuple[str, ...]

    @property
    def start(self) -> int:
        """The first transition of the section."""
        return self.spans[0].start

    @property
    def stop(self) -> int:
        """The last transition of the section."""
        return self.spans[0].stop


class _Keeping:
    """Sections, as the work of a shard; they are written to files by this process."""

    def __init__(self, work: Work, store: Store, job: Job) -> None:
        self._target, self._work, self._store = work._target, work, store
        self._end = job.settings.transition(job.settings.n_draws)
        self._seed, self._is_counted = job.key, work._source.is_finite

    def __call__(self, items: tuple[_Item, ...], seconds: float) -> int:
        """Run sections of blocks one after the other; those that are there are left out.

        Until some time has passed a block goes on to its further sections.
        """
        end = time.monotonic() + seconds
        for item in items:
            words = self.together([item])
            while words and len(item.spans) > 1 and time.monotonic() < end:
                item = item._replace(words=words[0], spans=item.spans[1:])
                words = self.together([item])
        return len(items)

    def together(self, items: Sequence[_Item]) -> list[Words]:
        """Run sections of the same length in batches of all their chains.

        Returns the states at the ends of those that were not there.
        """
        items = [one for one in items if not _path(self._store, one).exists()]
        ends = []
        # The further evaluations of a batch belong to no chain in particular.
        batches = [[one] for one in items] if self._is_counted else [items] if items else []
        for batch in batches:
            one = batch[0]
            n = sum(item.n_chains for item in batch)
            words = np.concatenate([item.words for item in batch])
            sampler, more_evals, arrays = self._work.run(
                n, words, one.stop, dict(one.spans[0].record), one.wanted
            )
            at = 0
            for item in batch:
                ends.append(self._write(item, sampler, at, n, more_evals, arrays))
                at += item.n_chains
        return ends

    def _write(
        self,
        item: _Item,
        sampler: _core.Sampler,
        at: int,
        n: int,
        more_evals: int,
        arrays: Mapping[str, Array],
    ) -> Words:
        """Write the section of some of the chains of a batch; return their state."""

        def own(array: Array) -> Any:
            per = len(array) // n
            return np.ascontiguousarray(array[at * per : (at + item.n_chains) * per])

        section = Section(
            seed=self._seed,
            version=_core.__version__,
            isa=_core.isa_level,
            settings={},
            n_evals=more_evals,
            wall_time=0.0,
            first=item.first,
            n_chains=item.n_chains,
            start=item.start,
            stop=item.stop,
            end=self._end,
            before=_digest(item.words),
            words=sampler.save_chains(at, item.n_chains),
        )
        section = replace(section, **{name: own(array) for name, array in arrays.items()})
        section.save(_path(self._store, item))
        return section.words


def _path(store: Store, item: _Item) -> Path:
    """Return the file of a section."""
    return store.beside(f"{item.start:012d}-{item.first:07d}")


class _SectionsInStore(Sections):
    """The chains of a run, whose sections are in a store."""

    def __init__(
        self,
        job: Job,
        source: SourceOfTarget,
        executor: ExecutorLike | None,
        store: Store,
        n_threads: int,
    ) -> None:
        super().__init__()
        self._store, self._settings = store, job.settings
        self._work = Work(source, job, 1 if executor is not None else n_threads)
        self._keeping = _Keeping(self._work, store, job)
        self._dispatch: Dispatch | None = None
        if executor is None:
            self._work.tick = lambda: self.tick()
        else:
            given = require_executor(executor)
            self._engine = engine_of(given.executor)
            self._dispatch = Dispatch(
                self._engine, given._sharding, self._keeping, lambda _: self.tick(),
                "blocks of chains", whole=True,
            )  # fmt: skip

    def close(self) -> None:
        """Release the resources of the run."""
        self._work.is_cancelled = True
        super().close()
        if self._dispatch is not None:
            self._dispatch.close()

    def _to_goal(
        self, sampler: _core.Sampler, goal: int, record: dict[str, Any]
    ) -> Generator[None]:
        blocks = _Blocks(self._settings, self._store, sampler, goal, record)
        for more_evals in blocks.found():
            self.more_evals += more_evals
            yield
        if self._dispatch is None:
            while items := blocks.items(blocks.unfinished()):
                self._keeping.together(blocks.first_of(items))
                for more_evals in blocks.found():
                    self.more_evals += more_evals
                    yield
            return
        left = blocks.unfinished()
        # Jobs that wait in a queue are long.
        seconds = self._dispatch.least_seconds() if self._engine.pointwise else math.inf

        def arguments(start: int, stop: int) -> tuple[Any, ...]:
            return tuple(blocks.items(left[start:stop])), seconds

        def check(got: Any, start: int, stop: int) -> str | None:
            good = isinstance(got, int) and 0 < got <= stop - start
            return None if good else "the number of sections that were written"

        def more(start: int, stop: int) -> bool:
            return bool(blocks.items(left[start:stop]))

        for start, stop, _ in self._dispatch(len(left), arguments, check, more=more):
            for more_evals in blocks.found(left[start:stop]):
                self.more_evals += more_evals
                yield


class _Blocks:
    """The blocks of chains of a run on their way to a transition."""

    def __init__(
        self,
        settings: Any,
        store: Store,
        sampler: _core.Sampler,
        goal: int,
        record: dict[str, Any],
    ) -> None:
        self._store, self._sampler, self._goal = store, sampler, goal
        self._slots = Slots(record, sampler, settings.n_warmup)
        self._done = made(sampler)
        n = len(self._done)
        self._size = -(-n // _BLOCKS)
        total = settings.transition(settings.n_draws)
        most = MOST_NUMBERS * self._slots.thin // max(self._slots.row * self._size // n, 1)
        #: Sections end at multiples of this number of transitions.
        self._length = max(min(max(-(-total // _SECTIONS), _LEAST), most), 1)

    def unfinished(self) -> list[int]:
        """Return the first chains of the blocks that are not at the goal."""
        return [k for k in range(0, len(self._done), self._size) if self._done[k] < self._goal]

    def items(self, blocks: Sequence[int]) -> list[_Item]:
        """Return the next section of each of some blocks that are not at the goal."""
        return [self._item(k) for k in blocks if self._done[k] < self._goal]

    def first_of(self, items: Sequence[_Item]) -> list[_Item]:
        """Return the sections with the first start."""
        ordered = sorted(items, key=lambda item: item.start)
        return list(next(groupby(ordered, key=lambda item: item.start))[1])

    def _item(self, first: int) -> _Item:
        n = min(self._size, len(self._done) - first)
        words = self._sampler.save_chains(first, n)
        return _Item(first, n, words, tuple(self._spans(self._done[first])), self._slots.wanted)

    def _spans(self, start: int) -> Iterator[_Span]:
        """Yield the sections from a transition to the goal."""
        while start < self._goal:
            stop = min(self._goal, (start // self._length + 1) * self._length)
            yield _Span(start, stop, self._slots.part(start, stop))
            start = stop

    def found(self, blocks: Sequence[int] | None = None) -> Iterator[int]:
        """Move blocks on as far as their sections are in the store.

        Yields the evaluations of each section that the states of its chains do not count.
        """
        for first in self.unfinished() if blocks is None else blocks:
            while self._done[first] < self._goal:
                item = self._item(first)
                path = _path(self._store, item)
                if not path.exists():
                    break
                yield self._take(item, path)

    def _take(self, item: _Item, path: Path) -> int:
        """Move a block on by the section in a file; return its further evaluations."""
        section = _read(path)
        if section.before != _digest(item.words) or section.stop != item.stop:
            raise CheckpointError(
                f"{path}: it continues chains with another state than those of this call: the "
                "target gave other values to another process; take another folder, and a target "
                "whose values depend on the points alone"
            )
        arrays = {name: getattr(section, name) for name in item.wanted}
        with decoding(path):
            self._slots.fill(item.first, self._slots.slot(item.start), item.stop, arrays)
            # After its draws, as an interrupt may come at any moment.
            words = np.require(section.words, np.uint64, ["C", "A", "W"])
            self._sampler.load_chains(item.first, item.n_chains, words)
        for chain in range(item.first, item.first + item.n_chains):
            self._done[chain] = item.stop
        return section.n_evals


@contextmanager
def in_store(
    job: Job,
    source: SourceOfTarget,
    executor: ExecutorLike | None,
    store: Store,
    n_threads: int,
) -> Iterator[Sections]:
    """Yield the chains of a run, whose sections are in a store."""
    sections = _SectionsInStore(job, source, executor, store, n_threads)
    try:
        yield sections
    finally:
        sections.close()
