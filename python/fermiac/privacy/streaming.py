"""Posteriors of tables that are larger than memory: rows in, rows out, block by block."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.arrow import Stream, is_stream
from fermiac._base.ask import ask
from fermiac._base.calls import public
from fermiac._base.plan import PlanLike, alone, plan_of
from fermiac._base.validate import MOST_NAMES, choice, listed, path_of, real, shown, texts, whole
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.privacy.columns import Figure, figures_of, values_of
from fermiac.privacy.posterior import delta_posterior, epsilon_posterior, mu_posterior
from fermiac.privacy.rates import Direction
from fermiac.runs.executor import require_executor
from fermiac.runs.fingerprint import fingerprint
from fermiac.runs.parts import Part, part_of

if TYPE_CHECKING:
    pass

__all__ = ["scan"]

Measure = Literal["epsilon", "delta", "mu"]
Columns = dict[str, NDArray[Any]]

#: The most rows of a block.
_MOST_ROWS = 2**31
#: The libraries that write Parquet, and how.
_WRITERS: dict[str, Callable[[Any, Columns, str], None]] = {
    "pyarrow": lambda arrow, block, path: import_module("pyarrow.parquet").write_table(
        arrow.table(block), path
    ),
    "polars": lambda polars, block, path: polars.DataFrame(block).write_parquet(path),
}


@public
def scan(
    source: Any,
    columns: Sequence[str] | Mapping[str, Any] = ("median", "lower", "upper"),
    *,
    counts: Sequence[str] = ("tp", "fp", "fn", "tn"),
    measure: Measure = "epsilon",
    delta: float | str = 0.0,
    epsilon: float | str | None = None,
    prior: Any = "jeffreys",
    direction: Direction = "both",
    prob: float = 0.9,
    kind: Literal["equal", "hpd", "lower", "upper"] = "equal",
    keep: Sequence[str] = (),
    out: str | os.PathLike[str] | Callable[[Columns], object] | None = None,
    block_rows: int = 65_536,
    plan: PlanLike | None = None,
) -> Any:
    """Compute figures of posteriors for the rows of a table that need not fit in memory.

    The table is read block by block, and the memory does not depend on its number of rows.

    Parameters
    ----------
    source : object
        Any object with ``__arrow_c_stream__``: a table or ``RecordBatchReader`` of pyarrow, a
        DataFrame of polars or pandas, a relation of DuckDB. Arrow itself need not be installed. Or
        a mapping from names to arrays.
    columns : sequence of str, or mapping, default ("median", "lower", "upper")
        The figures of each row: ``"mean"``, ``"std"``, ``"mode"``, ``"median"``, ``"prob_zero"``,
        and ``"lower"`` and ``"upper"``, the ends of an interval; or a mapping from names to figures
        or to pairs of a method and its argument, as ``{"risk": ("prob_above", 1.0)}``.
    counts : sequence of str, default ("tp", "fp", "fn", "tn")
        The columns of `source` with the true positives, false positives, false negatives and true
        negatives, in this order.
    measure : {"epsilon", "delta", "mu"}, default "epsilon"
        The posterior: `epsilon_posterior`, `delta_posterior` or `mu_posterior`.
    delta : float or str, default 0
        The delta of epsilon: a number, or the name of a column.
    epsilon : float or str, optional
        The epsilon of delta: a number, or the name of a column. It is needed for
        ``measure="delta"``.
    prior, direction
        See `epsilon_posterior`.
    prob : float, default 0.9
        The probability of the interval.
    kind : {"equal", "hpd", "lower", "upper"}, default "equal"
        The kind of the interval; see `EpsilonPosterior.interval`.
    keep : sequence of str, optional
        Columns of `source` that are copied to the output: numbers, truth values or texts.
    out : str, path-like or callable, optional
        A folder with one file for each block: Parquet files if its name ends in ``.parquet`` (this
        needs pyarrow or polars), else ``.npz`` files of NumPy. Or a function that takes each block.
        By default the blocks are returned.
    block_rows : int, default 65536
        The most rows of a block; record batches of `source` may be smaller.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``part``); see `fermiac.Plan`.
        ``part``: (i, n): compute every n-th block only, from block i on, counted from 0. Jobs of an
        array can share the folder `out`. They must read the same record batches.

    Returns
    -------
    iterator of dict, or int
        The blocks: mappings from names of columns to arrays. With `out` the number of rows of the
        table that this call has read, all blocks included.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, a column is missing, or a row has no value.
    CheckpointError
        If the folder holds files of another call.
    ImportError
        If no library that writes Parquet is installed.

    Notes
    -----
    A figure of a row depends on this row alone, so its bits do not depend on the blocks. Files that
    are in the folder already are not computed again; the table is still read from its beginning.
    Their names contain a digest of the arguments, but not of the data.

    References
    ----------
    .. [1] S. Zanella-Béguelin et al., "Bayesian estimation of differential privacy", ICML, 2023,
       arXiv:2206.05199.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> table = {"tp": np.arange(50, 80), "fp": np.full(30, 40), "fn": np.full(30, 50),
    ...          "tn": np.full(30, 60)}
    >>> blocks = list(fm.privacy.scan(table, ["median", "lower"], block_rows=10))
    >>> len(blocks), sorted(blocks[0])
    (3, ['lower', 'median'])
    >>> p = fm.privacy.epsilon_posterior(**table)
    >>> bool((np.concatenate([b["median"] for b in blocks]) == p.median).all())
    True
    """
    where = plan_of(plan, "executor", "part")
    figures = figures_of(columns)
    named = texts("counts", counts, MOST_NAMES) if not isinstance(counts, str) else None
    if named is None or len(named) != 4:
        raise ArgumentError(
            f"counts: {shown(counts)} given; the names of four columns are needed: true positives, "
            "false positives, false negatives, true negatives"
        )
    kept = texts("keep", keep, MOST_NAMES) if not isinstance(keep, str) else None
    if kept is None or set(kept) & set(figures) or len(set(kept)) < len(kept):
        raise ArgumentError(
            f"keep: {shown(keep)} given; a sequence of different names is needed, other than those "
            "of the figures"
        )
    choice("measure", measure, ("epsilon", "delta", "mu"))
    at = {"epsilon": delta, "delta": epsilon, "mu": None}[measure]
    if measure == "delta" and at is None:
        raise ArgumentError("epsilon: not given; measure='delta' needs a number or a column")
    if measure != "delta" and epsilon is not None:
        raise ArgumentError("epsilon: given without measure='delta'; leave it out")
    real("prob", prob, "a number from 0 to 1 is needed", lambda p: 0 <= p <= 1)
    choice("kind", kind, ("equal", "hpd", "lower", "upper"))
    rows = whole("block_rows", block_rows, 1, _MOST_ROWS)
    if where.part is not None:
        part_of(where.part, _MOST_ROWS)
    engine = None if where.executor is None else require_executor(where.executor)
    work = _Scan(figures, named, measure, at, prior, direction, prob, kind, kept, engine)
    # Bad arguments raise here, not at the first block.
    work.of({name: np.full(1, 0.5) for name in work.numbers})
    blocks = _blocks(source, work, rows)
    if out is None:
        return _figures(work, blocks, where.part)
    if callable(out):
        for block in _figures(work, (each := _Counted(blocks)), where.part):
            ask(out, (block,), "out")
        return each.n_rows
    return _written(Path(path_of("out", out)), work, _Counted(blocks), where.part, rows)


class _Scan:
    """The figures of blocks."""

    def __init__(
        self,
        figures: Mapping[str, Figure],
        counts: Sequence[str],
        measure: str,
        at: float | str | None,
        prior: Any,
        direction: str,
        prob: float,
        kind: str,
        keep: tuple[str, ...],
        executor: Any,
    ) -> None:
        self.figures, self.counts, self.keep = figures, tuple(counts), keep
        self._measure, self._at, self._prior, self._direction = measure, at, prior, direction
        self._prob, self._kind, self._executor = prob, kind, executor
        of_rows = (*self.counts, at) if isinstance(at, str) else self.counts
        self.numbers = tuple(dict.fromkeys(of_rows))

    def of(self, block: Columns) -> Columns:
        """Return the columns of a block of the output."""
        given: dict[str, Any] = {
            name: block[source].astype(np.float64)
            for name, source in zip(("tp", "fp", "fn", "tn"), self.counts, strict=True)
        }
        at = self._at
        point: Any = block[at].astype(np.float64) if isinstance(at, str) else at
        common: dict[str, Any] = {
            "prior": self._prior,
            "direction": self._direction,
            "plan": alone(executor=self._executor),
        }
        posterior: Any
        if self._measure == "epsilon":
            posterior = epsilon_posterior(**given, delta=point, **common)
        elif self._measure == "delta":
            posterior = delta_posterior(**given, epsilon=point, **common)
        else:
            posterior = mu_posterior(**given, **common)
        found = values_of(posterior, self.figures, self._prob, self._kind)
        return {**{name: block[name] for name in self.keep if name in block}, **found}

    @property
    def digest(self) -> str:
        """The digest of everything that a block depends on, except its data."""
        how = (self._measure, self._at, self._prior, self._direction, self._prob, self._kind)
        names = (dict(self.figures), self.counts, self.keep)
        return fingerprint("privacy.scan", _core.__version__, _core.isa_level, how, names)[:16]


class _Counted:
    """Blocks, whose rows are counted."""

    def __init__(self, blocks: Iterator[Columns]) -> None:
        self._blocks = blocks
        self.n_rows = 0

    def __iter__(self) -> Iterator[Columns]:
        for block in self._blocks:
            self.n_rows += len(next(iter(block.values())))
            yield block


def _blocks(source: Any, work: _Scan, rows: int) -> Iterator[Columns]:
    names = tuple(dict.fromkeys((*work.numbers, *work.keep)))
    if is_stream(source):
        stream = Stream(source)
        stream.require(work.numbers, numbers=True)
        stream.require(work.keep, numbers=False)
        return stream.batches(names, rows)
    if not isinstance(source, Mapping):
        raise ArgumentError(
            f"source: {shown(source)} given; an object with __arrow_c_stream__ (of pyarrow, "
            "polars, pandas, DuckDB, ...) is needed, or a mapping from names to arrays"
        )
    missing = [name for name in names if name not in source]
    if missing:
        known = listed(source, MOST_NAMES) or []
        raise ArgumentError(f"source: it has no column {shown(missing[0])}, only {shown(known)}")
    table = {name: np.asarray(source[name]) for name in names}
    sizes = {array.shape for array in table.values()}
    if len(sizes) != 1 or len(next(iter(sizes))) != 1:
        raise ArgumentError("source: its columns must have one axis, and equal lengths")
    for name in work.numbers:
        if table[name].dtype.kind not in "iuf":
            raise ArgumentError(
                f"source: the column {name!r} has the type {table[name].dtype}; numbers are needed"
            )
    n = len(table[names[0]])
    return (
        {name: array[start : start + rows] for name, array in table.items()}
        for start in range(0, n, rows)
    )


def _figures(work: _Scan, blocks: Any, part: Part | None) -> Iterator[Columns]:
    for index, block in enumerate(blocks):
        if _is_own(index, part):
            yield work.of(block)


def _is_own(index: int, part: Part | None) -> bool:
    return part is None or index % part[1] == part[0]


def _written(folder: Path, work: _Scan, blocks: _Counted, part: Part | None, rows: int) -> int:
    """Write blocks to files; return the number of rows that were read."""
    parquet = folder.suffix == ".parquet"
    ending = ".parquet" if parquet else ".npz"
    write = _parquet_writer() if parquet else _write_npz
    digest = fingerprint(work.digest, rows)[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir() if path.suffix == ending}
    except OSError as error:
        raise CheckpointError(f"out: {shown(os.fspath(folder))}: {error}") from error
    foreign = next((name for name in sorted(there) if not name.startswith(digest)), None)
    if foreign is not None:
        raise CheckpointError(
            f"out: {shown(os.fspath(folder))} holds {foreign}, which another call wrote (its "
            "arguments, version or instruction-set level differ); take another folder"
        )
    for index, block in enumerate(blocks):
        name = f"{digest}-{index:09d}{ending}"
        if not _is_own(index, part) or name in there:
            continue
        made = work.of(block)
        # Under another name first, so that a killed job leaves no half of a file.
        handle, path = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
        os.close(handle)
        try:
            write(made, path)
            os.replace(path, folder / name)
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise
    return blocks.n_rows


def _write_npz(block: Columns, path: str) -> None:
    with open(path, "wb") as file:
        # Texts as arrays of fixed width, which need no pickle.
        columns: dict[str, Any] = {
            name: column.astype(str) if column.dtype == object else column
            for name, column in block.items()
        }
        np.savez(file, **columns)


def _parquet_writer() -> Callable[[Columns, str], None]:
    for name, write in _WRITERS.items():
        try:
            library = import_module(name)
        except ImportError:
            continue
        return lambda block, path: write(library, block, path)
    raise ImportError("out: Parquet files need pyarrow or polars: pip install pyarrow")
