"""Summaries of results: a printed table whose numbers can be accessed by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.frames import dataframe
from fermiac._base.validate import MOST_NAMES, shown, taken, texts
from fermiac._base.variables import Variables
from fermiac.errors import ArgumentError, UnknownNameError
from fermiac.results import html

__all__ = ["Summary", "of_figures"]

Columns = Mapping[str, NDArray[Any]]
Rows = tuple[tuple[str, ...], Columns]


class Summary(Mapping[str, Any]):
    """A table of a result: it prints as text, and its numbers can be accessed by name.

    A mapping from the names of the rows to their numbers. Notebooks show it as a table.

    Parameters
    ----------
    names : sequence of str
        The names of the rows.
    columns : mapping of str to ndarray
        The numbers, an entry for each row.
    head, foot : sequence of str
        The lines above and below the table.
    lines : sequence of str, optional
        The table as text; by default it is made from the names and columns.
    figures : mapping of str to number, optional
        Numbers that belong to the whole result.
    whole : callable, optional
        A function that returns names and columns of all rows, if the table shows only some of them.

    Attributes
    ----------
    names : tuple of str
        The names of all rows.
    columns : mapping of str to ndarray
        All numbers, an entry for each row.
    figures : mapping of str to number
        Numbers that belong to the whole result.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((4, 500, 3))
    >>> s = fm.Sample.from_arrays(x, names=["mu", "theta[0]", "theta[1]"])
    >>> table = s.summary(prob=0.8, var_names=["theta"])
    >>> table.names, list(table.columns)[:5]
    (('theta[0]', 'theta[1]'), ['mean', 'sd', '10%', '50%', '90%'])
    >>> table["theta"]["mean"].shape, table["mean"].shape
    ((2,), (2,))
    >>> bool(abs(table["theta[0]"]["sd"] - 1) < 0.1)
    True
    """

    def __init__(
        self,
        names: Sequence[str],
        columns: Columns,
        *,
        head: Sequence[str] = (),
        foot: Sequence[str] = (),
        lines: Sequence[str] | None = None,
        figures: Mapping[str, Any] | None = None,
        whole: Callable[[], Rows] | None = None,
    ) -> None:
        self._shown = _checked(names, columns)
        self._head, self._foot = _lines("head", head), _lines("foot", foot)
        self._lines = _table(*self._shown) if lines is None else _lines("lines", lines)
        if whole is not None and not callable(whole):
            raise ArgumentError(f"whole: {shown(whole)} given; a function is needed, or None")
        self._whole = whole
        if figures is not None and not isinstance(figures, Mapping):
            raise ArgumentError(f"figures: {shown(figures)} given; a mapping is needed, or None")
        self.figures: Mapping[str, Any] = dict(figures or {})

    def extended(self, foot: Sequence[str]) -> Summary:
        """Return the table with further lines below it."""
        return Summary(
            *self._shown, head=self._head, foot=[*self._foot, *foot], lines=self._lines,
            figures=self.figures, whole=self._whole,
        )  # fmt: skip

    @cached_property
    def _rows(self) -> Rows:
        return self._shown if self._whole is None else self._whole()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all rows."""
        return self._rows[0]

    @property
    def columns(self) -> Columns:
        """All numbers, an entry for each row."""
        return self._rows[1]

    def __str__(self) -> str:
        return "\n".join([*self._head, *self._lines, *self._foot])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        names, columns = self._shown
        body = html.table(names, columns) if names else ""
        return html.card(self._head, body, self._foot)

    def __getitem__(self, name: str) -> Any:
        """Return the numbers of a row, of a variable, or of a column.

        Parameters
        ----------
        name : str
            A row gives a dictionary of numbers, a variable like ``theta`` a dictionary of arrays of
            its shape, and a column an array of all rows.

        Returns
        -------
        dict or ndarray

        Raises
        ------
        UnknownNameError
            If there is no such name; it is a KeyError as well.
        """
        if not isinstance(name, str):
            raise UnknownNameError(f"{shown(name)} given; the name of a row or column is needed")
        variables = Variables.of_names(self.names)
        if name in self.columns and name not in variables.shapes:
            return self.columns[name]
        return {
            title: _plain(variables.pick(column, name)) for title, column in self.columns.items()
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names or name in Variables.of_names(self.names).shapes

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, Summary) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the numbers as plain Python objects: a dictionary of columns for each row."""
        return {
            name: {title: column[i].item() for title, column in self.columns.items()}
            for i, name in enumerate(self.names)
        }

    def to_dataframe(self, *, library: str | None = None) -> Any:
        """Convert the table to a DataFrame with a row for each name.

        Parameters
        ----------
        library : {"pandas", "polars"}, optional
            The library of the table; by default the one that is imported already, or there.

        Returns
        -------
        pandas.DataFrame or polars.DataFrame
            The names are the index in pandas, and the column ``name`` in polars.

        Raises
        ------
        ImportError
            If the library is not installed.
        """
        table = dataframe({"name": list(self.names), **self.columns}, library)
        return table.set_index("name") if hasattr(table, "set_index") else table


def of_figures(
    figures: Mapping[str, Any], lines: Sequence[str], *, foot: Sequence[str] = ()
) -> Summary:
    """Return a summary of single numbers, which are its rows, printed as the given lines."""
    numbers = {name: value for name, value in figures.items() if value is not None}
    values = np.array(list(numbers.values()), dtype=float)
    return Summary(
        tuple(numbers), {"value": values}, head=lines, foot=foot, lines=(), figures=numbers
    )


def _checked(names: Any, columns: Any) -> Rows:
    """Return names and columns in their stored form."""
    rows = texts("names", names, MOST_NAMES)
    if rows is None or len(set(rows)) < len(rows):
        raise ArgumentError(f"names: {shown(names)} given; different names of rows are needed")
    if not isinstance(columns, Mapping):
        raise ArgumentError(
            f"columns: {shown(columns)} given; a mapping from titles to numbers is needed"
        )
    out = {}
    for title, column in columns.items():
        array = taken(f"columns[{title!r}]", column)
        if array.shape != (len(rows),) or array.dtype.kind not in "biufc":
            raise ArgumentError(
                f"columns: {shown(title)} has the shape {array.shape} and the type {array.dtype}; "
                f"{len(rows)} numbers are needed, one for each row"
            )
        out[str(title)] = array
    return rows, out


def _lines(name: str, given: Any) -> tuple[str, ...]:
    lines = texts(name, given, MOST_NAMES)
    if lines is None:
        raise ArgumentError(f"{name}: {shown(given)} given; a sequence of lines is needed")
    return lines


def _plain(value: Any) -> Any:
    return value.item() if np.ndim(value) == 0 else value


def _table(names: tuple[str, ...], columns: Columns) -> tuple[str, ...]:
    """Return the text of a table."""
    width = max(map(len, (*names, "name")))
    lines = [f"{'name':<{width}}" + "".join(f"  {title:>10}" for title in columns)]
    for i, name in enumerate(names):
        cells = "".join(f"  {column[i]:>10.4g}" for column in columns.values())
        lines.append(f"{name:<{width}}{cells}")
    return tuple(lines)
