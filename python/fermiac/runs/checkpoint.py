"""Checkpoint files of runs: the values of a target, or the state of a run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base import store
from fermiac._base.plan import EVERY, Plan
from fermiac._base.validate import RngLike, key_of
from fermiac.distributions.law import BuiltInLaw, Law
from fermiac.errors import CheckpointError, TargetError
from fermiac.targets.rows import SINGLE, all_equal, is_single

__all__ = [
    "Checkpoint",
    "Log",
    "RunCheckpoint",
    "agree",
    "identity_of",
]

Array = NDArray[np.float64]
Arrays = tuple[NDArray[Any], ...]

#: Writing takes at most this share of the time, however large the file has become.
_SHARE = 0.05
#: Rows of the first batch at which a resumed run compares the target with the log.
_VERIFIED = 3
#: The format of the files of runs that have a state.
_FORMAT = 2

_IDENTITY = fit.record({}, {"seed": fit.whole(0, 2**64 - 1)})
_LOG: fit.Layout = {"status": fit.text(), "identity": _IDENTITY}
_VALUES: fit.Layout = {
    "digests": fit.array("u", "bytes"),
    "sizes": fit.array("i", "batches", low=0),
    "pieces": fit.array("i", "pieces", 6),
    "values": fit.array("f", "values"),
}
_RUN: fit.Layout = {"identity": _IDENTITY, "elapsed": fit.real, "state": fit.mapping()}


class Checkpoint(NamedTuple):
    """A file of a run in the store of a plan, and how often it is written."""

    path: Path
    #: The number of seconds between two writes. The file is also written when the run ends for any
    #: reason except a kill or a loss of power.
    every: float = EVERY
    #: The largest number of points between two writes; by default batches stay whole.
    rows: int | None = None


def _file_in(plan: Plan, name: str, rows: int | None = None) -> Checkpoint | None:
    """Return the file of this name in the store of a plan, or None without a store."""
    if plan.store is None:
        return None
    folder = Path(plan.store)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"store: {folder}: it cannot be made: {error}") from error
    every = EVERY if plan.every is None else plan.every
    return Checkpoint(folder / name, every, rows)


class _Piece(NamedTuple):
    start: int
    stop: int
    arrays: Arrays


class Batch:
    """One batch of a run: its known values, and the missing rows."""

    def __init__(self, digest: bytes, n: int) -> None:
        self.digest = digest
        self.n = n
        self.pieces: list[_Piece] = []

    def add(self, start: int, stop: int, arrays: Arrays) -> None:
        """Take the values of some rows."""
        numbers = tuple(np.asarray(a, complex if a.dtype.kind == "c" else float) for a in arrays)
        self.pieces.append(_Piece(start, stop, numbers))

    def missing(self) -> Iterator[tuple[int, int]]:
        """Return the ranges of rows without known values."""
        at = 0
        for piece in sorted(self.pieces):
            if piece.start > at:
                yield at, piece.start
            at = piece.stop
        if at < self.n:
            yield at, self.n

    def arrays(self) -> Arrays:
        """The values of all rows."""
        if len(self.pieces) > 1:
            self.pieces = [_Piece(0, self.n, join(self.pieces))]
        return tuple(a.copy() for a in self.pieces[0].arrays)


def join(pieces: list[Any]) -> Arrays:
    """Return the arrays of all pieces, joined in the order of their rows."""
    ordered = sorted(pieces, key=lambda piece: piece[0])
    shapes = {tuple(a.shape[1:] for a in piece[2]) for piece in ordered}
    if len(shapes) > 1:
        raise TargetError(
            "the target gave arrays of different shapes for parts of one batch: "
            f"{' and '.join(map(str, sorted(shapes)))} beside the rows"
        )
    return tuple(np.concatenate(parts) for parts in zip(*(p[2] for p in ordered), strict=True))


class Log:
    """The values of a run, in memory and in a file of a store.

    Methods are deterministic: a resumed run evaluates the same points in the same order. Values are
    first taken from the log, after a comparison of a digest of the points; the target is called
    only for new points. A run that was killed and resumed therefore has the same bits as a run
    without a break, provided that the value of a point does not depend on its batch.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._path = checkpoint.path
        self._identity: dict[str, Any] = {}
        self._batches: list[Batch] = []
        self._next = 0
        self._written = time.monotonic()
        self._cost = 0.0
        self.resumed = _exists(self._path)
        if self.resumed:
            self._read()

    @classmethod
    def of(cls, plan: Plan, rows: int | None = None) -> Log | None:
        """Return the log in the store of a plan, or None without a store.

        Batches stay whole, or are cut into pieces with a number of rows; a piece that is finished
        can be written.
        """
        given = _file_in(plan, store.VALUES, rows)
        return None if given is None else cls(given)

    @property
    def seed(self) -> int | None:
        """The seed of the run that the file belongs to."""
        return self._identity.get("seed")

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Check that the file belongs to this run, or make it."""
        # In the form that the file returns; JSON has no NaN and infinities.
        given = json.loads(json.dumps(identity), parse_constant=str)
        if self.resumed:
            _require_same_run(self._path, given, self._identity)
        self._identity = given
        if not self.resumed:
            # Detect a path that cannot be written now, not after hours.
            self.flush("running")

    def next(self, x: Array, with_gradient: bool | None) -> Batch:
        """Return the next batch, which has these points."""
        hasher = blake2b(repr((x.shape, with_gradient)).encode(), digest_size=16)
        hasher.update(np.ascontiguousarray(x).data)
        digest = hasher.digest()
        if self._next == len(self._batches):
            self._batches.append(Batch(digest, len(x)))
        batch = self._batches[self._next]
        if batch.digest != digest or batch.n != len(x):
            raise CheckpointError(
                f"{self._path}: the points of batch {self._next} are not those of the run that it "
                "belongs to, though all settings are; a law or target whose values are random, or "
                "another version of NumPy or SciPy, would do that: remove the file to start anew"
            )
        self._next += 1
        return batch

    def to_verify(self, batch: Batch) -> _Piece | None:
        """Return a few rows of the log with which the target is compared once in a resumed run."""
        if not (self.resumed and self._next == 1 and batch.pieces):
            return None
        piece = min(batch.pieces)
        stop = min(piece.start + _VERIFIED, piece.stop)
        rows = slice(0, stop - piece.start)
        return _Piece(piece.start, stop, tuple(a[rows] for a in piece.arrays))

    def verify(self, known: _Piece, values: Callable[[], Arrays]) -> None:
        """Compare the present values of the target with the saved ones."""
        now = values()
        pairs = list(zip(known.arrays, now, strict=False))
        if all(a.shape == b.shape and agree(b, a).all() for a, b in pairs):
            return
        if all_equal(now, values()):
            raise CheckpointError(
                f"{self._path}: the target gives other values than when it was written, at rows "
                f"{known.start} to {known.stop - 1} of the first batch; remove the file to start "
                "anew"
            )

    def flush_if_due(self) -> None:
        """Write the file if it is due."""
        wait = max(self.checkpoint.every, self._cost / _SHARE)
        if time.monotonic() - self._written >= wait:
            self.flush("running")

    def flush(self, status: str) -> None:
        """Write the file."""
        start = time.monotonic()
        places, flat = [], []
        for i, batch in enumerate(self._batches):
            for piece in batch.pieces:
                shape = [a.shape[1] if a.ndim == 2 else -1 for a in piece.arrays]
                is_complex = int(piece.arrays[0].dtype.kind == "c")
                columns = [*shape, -2][:2]  # -2: no gradients
                places.append([i, piece.start, piece.stop, is_complex, *columns])
                flat += [np.ascontiguousarray(a).reshape(-1).view(float) for a in piece.arrays]
        tensors: store.Tensors = {
            "digests": np.frombuffer(b"".join(b.digest for b in self._batches), np.uint8),
            "sizes": np.array([b.n for b in self._batches], np.int64),
            "pieces": np.array(places, np.int64).reshape(-1, 6),
            "values": np.concatenate(flat) if flat else np.empty(0),
        }
        node = {"status": status, "identity": self._identity}
        store.write(self._path, "checkpoint", node, tensors)
        self._written = time.monotonic()
        self._cost = self._written - start

    def end(self, status: str) -> None:
        """Write the file for the last time, or remove it if it has no values.

        A file of a call that failed at once would block the corrected call.
        """
        if self.resumed or any(batch.pieces for batch in self._batches):
            self.flush(status)
        else:
            self._path.resolve().unlink(missing_ok=True)

    def _read(self) -> None:
        node, tensors = store.read(self._path, "checkpoint")
        store.fit(node, _LOG, self._path)
        store.fit(tensors, _VALUES, self._path)
        self._identity = node["identity"]
        with store.decoding(self._path):
            digests = tensors["digests"].reshape(-1, 16)
            self._batches = [
                Batch(digest.tobytes(), int(n))
                for digest, n in zip(digests, tensors["sizes"], strict=True)
            ]
            self._fill(tensors["pieces"].tolist(), tensors["values"])

    def _fill(self, pieces: list[list[int]], values: Array) -> None:
        """Put the values of a file into their batches."""
        at, ends = 0, [0] * len(self._batches)
        for i, start, stop in sorted(row[:3] for row in pieces):
            if not (0 <= i < len(ends) and ends[i] <= start < stop <= self._batches[i].n):
                raise fit.Misfit(f"rows {start} to {stop} of batch {i}, which it does not have")
            ends[i] = stop
        # All batches have the same form, so the first one is compared with the target.
        if len({(row[3], row[4]) for row in pieces}) > 1:
            raise fit.Misfit("values of several forms")
        if len({row[5] for row in pieces} - {-2}) > 1:
            raise fit.Misfit("gradients of several forms")
        for i, start, stop, is_complex, *columns in pieces:
            if is_complex not in (0, 1) or columns[0] < -1 or columns[1] < -2:
                raise fit.Misfit(f"values of the form {is_complex}, {columns}")
            arrays = []
            for k in columns:
                if k == -2:
                    continue
                shape = (stop - start,) if k == -1 else (stop - start, k)
                size = math.prod(shape) * (1 + is_complex)
                if size > len(values) - at:
                    raise fit.Misfit(f"{len(values)} values, which are too few")
                part = values[at : at + size]
                arrays.append((part.view(complex) if is_complex else part).reshape(shape))
                at += size
            self._batches[i].add(start, stop, tuple(arrays))
        if at < len(values):
            raise fit.Misfit(f"{len(values)} values, of which {at} are used")


def identity_of(
    method: str, seed: int, laws: list[Law], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the identity of a run: a flat mapping with types of JSON."""
    names = ["law"] if len(laws) == 1 else [f"law[{i}]" for i in range(len(laws))]
    return {
        "version": _core.__version__,
        "isa": _core.isa_level,
        "method": method,
        "seed": seed,
        "dim": laws[0].dim,
        **settings,
        **{name: _describe(law) for name, law in zip(names, laws, strict=True)},
    }


def _describe(law: Law) -> str:
    # Compare values, because user-defined laws have no parameters to compare.
    x = np.asarray(law.sample(8, rng=0), dtype=np.float64)
    values = np.asarray(law.log_density(x), dtype=np.float64)
    digest = blake2b(x.tobytes() + values.tobytes(), digest_size=8).hexdigest()
    name = repr(law) if isinstance(law, BuiltInLaw) else type(law).__qualname__
    return f"{name} ({digest})"


class RunCheckpoint:
    """The checkpoint of a run with a state: its identity, its state, its time.

    Parameters
    ----------
    given : Checkpoint, str or path-like
        The file.
    kind : str
        The name of such runs, which another kind of run refuses.
    """

    def __init__(self, given: Checkpoint | str | PathLike[str], kind: str) -> None:
        self.checkpoint = given if isinstance(given, Checkpoint) else Checkpoint(Path(given))
        self.path = self.checkpoint.path
        self._kind = f"{kind} (checkpoint format {_FORMAT})"
        self._identity: dict[str, Any] = {}
        #: Seconds that the run took before this call.
        self.elapsed = 0.0
        #: The state of the run that is resumed, until it is taken; empty if there is none.
        self.stored: dict[str, Any] = {}
        #: Further data in the file, besides the state of the loop.
        self.beside: dict[str, Any] = {}
        self._written = time.monotonic()
        self._cost = 0.0
        self.resumed = _exists(self.path)
        if self.resumed:
            node, tensors = store.read(self.path, self._kind)
            store.fit(node, _RUN, self.path)
            self._identity, self.elapsed = node["identity"], float(node["elapsed"])
            self.stored = {
                name: store.decode(value, tensors, str(self.path))
                for name, value in node["state"].items()
            }

    @classmethod
    def of(cls, plan: Plan, kind: str) -> RunCheckpoint | None:
        """Return the state in the store of a plan, or None without a store."""
        given = _file_in(plan, store.STATE)
        return None if given is None else cls(given, kind)

    def key(self, rng: RngLike) -> int:
        """Return the key of a call; with ``rng=None`` the key of the resumed run."""
        if rng is not None or not self.resumed:
            return key_of(rng)
        with self.decoding():
            return int(self._identity["seed"])

    def recorded(self, name: str, otherwise: Any = None) -> Any:
        """Return a setting of the resumed run, for a call that does not give it."""
        return self._identity.get(name, otherwise) if self.resumed else otherwise

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Check that the file belongs to this run, if there is one."""
        given = json.loads(json.dumps(identity), parse_constant=str)
        if self.resumed:
            _require_same_run(self.path, given, self._identity)
        self._identity = given

    def fit(self, state: Mapping[str, Any], layout: fit.Layout, **sizes: int) -> None:
        """Raise a `CheckpointError` unless a state has all fields of a layout, and fits."""
        store.fit(state, layout, self.path, sizes)

    def decoding(self) -> AbstractContextManager[None]:
        """Return a context that attributes errors to the file; it must not call the target.

        The core checks a state in words when it reads it, but does not know that it comes from a
        file.
        """
        return store.decoding(self.path)

    def take(self) -> dict[str, Any]:
        """Return the state of the resumed run, and drop it here."""
        state, self.stored = self.stored, {}
        return state

    def verify(
        self,
        what: str,
        where: str,
        now: Callable[[], Array],
        then: Array,
        rtol: float = 1e-6,
        atol: float = 1e-9,
    ) -> None:
        """Refuse to continue with a target whose values have changed.

        Parameters
        ----------
        what, where : str
            The beginning of the message, "the target gives", and the points, "at the first start".
        now : callable
            A function that returns the values of the target at these points.
        then : ndarray
            Its values when the file was written.
        rtol, atol : float
            Tolerances: of each value, and of the largest.
        """
        if not then.size:
            return
        values = now()
        same = agree(values, then, rtol, atol)
        # A target whose values are random cannot be compared.
        if not same.all() and all_equal((values,), (now(),)):
            i = int(np.argmin(same))
            raise CheckpointError(
                f"{self.path}: {what} {values.flat[i]:.12g} {where}, and {then.flat[i]:.12g} when "
                "the file was written; remove the file to start anew"
            )

    def wait(self) -> float:
        """Return the seconds until the file is to be written again."""
        pause = max(self.checkpoint.every, self._cost / _SHARE)
        return max(self._written + pause - time.monotonic(), 0.0)

    def write(self, state: Callable[[], Mapping[str, Any]], elapsed: float) -> None:
        """Write the file."""
        start = time.monotonic()
        tensors: store.Tensors = {}
        encoded = {
            name: store.encode(value, tensors, name)
            for name, value in {**self.beside, **state()}.items()
        }
        node = {"identity": self._identity, "elapsed": elapsed, "state": encoded}
        store.write(self.path, self._kind, node, tensors)
        self._written = time.monotonic()
        self._cost = self._written - start

    def discard(self) -> None:
        """Remove the file of a call that failed."""
        if not self.resumed:
            self.path.resolve().unlink(missing_ok=True)


def agree(
    now: NDArray[Any], then: NDArray[Any], rtol: float = 1e-6, atol: float = 1e-9
) -> NDArray[np.bool_]:
    """Return which values are equal up to `rtol`, or up to `atol` of the largest one.

    Values in single precision may differ by more, since their rounding depends on their batch.
    """
    known = then[np.isfinite(then)]
    scale, atol = float(np.abs(known).max(initial=0.0)), max(atol, SINGLE * is_single(known))
    same: NDArray[np.bool_] = np.isclose(now, then, rtol, atol * scale, equal_nan=True)
    return same


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise CheckpointError(f"{path}: it could not be read: {error}") from error


def _require_same_run(path: Path, given: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    for field in [*given, *stored]:
        here, there = given.get(field), stored.get(field)
        if here != there:
            raise CheckpointError(
                f"{path}: it belongs to another run: its {field} is {there!r}, that of this call "
                f"is {here!r}; use another folder, or remove the file to start anew"
            )
