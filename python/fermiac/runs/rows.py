"""Rows of a call with their address, so that parts from independent jobs can be joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.results import Result
from fermiac.results.result import Finding
from fermiac.results.reweight import PARTS

__all__ = ["ROW_FIELDS", "RowsOfCall", "in_order", "missing_rows"]

Blocks: TypeAlias = Sequence[tuple[int, int]]
"""Positions of rows among those of a call, as starts and stops."""


def _address(value: Any, sizes: fit.Sizes) -> None:
    """Accept blocks that follow one another within the call, and hold the rows of the array."""
    fit.listed(fit.listed(fit.whole(0)), least=1)(value, sizes)
    end, n = 0, 0
    for block in value:
        if len(block) != 2 or not end <= block[0] <= block[1]:
            raise fit.Misfit(f"{list(block)} for a start and a stop after {end}")
        end, n = block[1], n + block[1] - block[0]
    if end > sizes["rows of the call"]:
        raise fit.Misfit(f"rows up to {end} of a call of {sizes['rows of the call']}")
    if n != sizes["rows"]:
        raise fit.Misfit(f"{n} rows, and {sizes['rows']} in the array")


#: The layout of the fields of `RowsOfCall`.
ROW_FIELDS: fit.Layout = {
    "array": fit.array("f", "rows", "*row"),
    "n_rows": fit.size("rows of the call"),
    "blocks": _address,
}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RowsOfCall(Result):
    """Some rows of a call."""

    array: NDArray[np.float64]
    blocks: tuple[tuple[int, int], ...]
    n_rows: int

    _layout: ClassVar[fit.Layout] = ROW_FIELDS

    def _headline(self) -> str:
        name, shape = type(self).__name__, self.array.shape[1:]
        return f"{name}: {len(self.array)} of {self.n_rows}, of shape {shape}"

    @public
    def merge(self, *others: Self) -> Self:
        """Join parts of one call.

        Parameters
        ----------
        *others : same type
            Other rows of the same call.

        Returns
        -------
        same type
            All rows, in the order of the call.

        Raises
        ------
        ArgumentError
            If parts are of different calls, or contain the same rows.
        """
        parts = (self, *others)
        for i, part in enumerate(parts):
            if not isinstance(part, type(self)):
                raise ArgumentError(f"merge: {shown(part)} given; rows of one call are needed")
            own, given = self._call(), part._call()
            if own != given or part.array.shape[1:] != self.array.shape[1:]:
                raise ArgumentError(
                    f"merge: part {i} is of another call than part 0 ({shown(given)} and "
                    f"{shown(own)})"
                )
        pieces, blocks = in_order([part.blocks for part in parts])
        arrays = [parts[i].array[rows] for i, rows in pieces]
        return replace(
            self,
            array=np.concatenate(arrays),
            blocks=blocks,
            n_evals=sum(part.n_evals for part in parts),
            wall_time=sum(part.wall_time for part in parts),
            warnings=tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
        )

    def _call(self) -> tuple[Any, ...]:
        return self.seed, self.n_rows, self.settings.get(PARTS), self.version, self.isa

    def _missing(self) -> list[Finding]:
        return missing_rows(self.blocks, self.n_rows)


def in_order(
    of_parts: Sequence[Blocks], name: str = "row"
) -> tuple[list[tuple[int, slice]], tuple[tuple[int, int], ...]]:
    """Return the pieces of parts in the order of the call, and the blocks of all; refuse overlaps.

    A piece is the number of a part, and its rows there.
    """
    pieces = []
    for i, blocks in enumerate(of_parts):
        at = 0
        for start, stop in blocks:
            pieces.append((int(start), int(stop), i, slice(at, at + stop - start)))
            at += stop - start
    pieces.sort(key=lambda piece: piece[0])
    whole: list[tuple[int, int]] = []
    for start, stop, _, _ in pieces:
        if whole and start < whole[-1][1]:
            raise ArgumentError(f"merge: two parts hold {name} {start} of the call")
        if whole and start == whole[-1][1]:
            whole[-1] = (whole[-1][0], stop)
        else:
            whole.append((start, stop))
    return [(i, rows) for _, _, i, rows in pieces], tuple(whole)


def missing_rows(blocks: Blocks, n_rows: int, name: str = "rows") -> list[Finding]:
    """Return the warning that rows of a call are missing, if they are."""
    ends = [0, *(int(end) for block in blocks for end in block), n_rows]
    gaps = [(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a < b]
    if not gaps:
        return []
    n = sum(b - a for a, b in gaps)
    text = ", ".join(f"{a} to {b - 1}" for a, b in gaps[:5])
    more = ", ..." if len(gaps) > 5 else ""
    return [(FermiacWarning, f"{n} of {n_rows} {name} are missing: {text}{more}")]
