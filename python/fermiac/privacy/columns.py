"""Columns of figures of posteriors, with the address of their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.validate import listed, shown
from fermiac.errors import ArgumentError, UnknownNameError
from fermiac.privacy.checks import Array
from fermiac.runs.rows import ROW_FIELDS, RowsOfCall

if TYPE_CHECKING:
    from fermiac.privacy.posterior_base import Posterior

__all__ = ["FIGURES", "PosteriorRows", "figures_of", "values_of"]

#: Figures without an argument, and with one.
FIGURES = ("mean", "std", "mode", "median", "prob_zero", "lower", "upper")
_WITH_ARGUMENT = ("cdf", "sf", "prob_above", "pdf", "ppf", "quantile", "isf")
#: The most columns of one call.
_MOST = 10_000

Figure = tuple[str, float | None]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PosteriorRows(RowsOfCall):
    """Columns of figures of posteriors, one row for each posterior.

    Attributes
    ----------
    array : ndarray, shape (m, k)
        The figures.
    names : tuple of str
        The names of the k columns.
    blocks : tuple of (int, int)
        The positions of the rows among those of the call, as starts and stops.
    n_rows : int
        The number of rows of the whole call.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> tp = np.arange(50.0, 80.0)
    >>> jobs = [
    ...     fm.privacy.epsilon_posterior(tp, 40, 50, 60, plan=fm.Plan(part=(i, 3))).columns(
    ...         ["median", "lower"]
    ...     )
    ...     for i in range(3)
    ... ]
    >>> rows = fm.merge(jobs)
    >>> p = fm.privacy.epsilon_posterior(tp, 40, 50, 60)
    >>> bool((rows["median"] == p.median).all())
    True
    """

    names: tuple[str, ...]

    _layout: ClassVar[fit.Layout] = {**ROW_FIELDS, "names": fit.texts}

    @public
    def __getitem__(self, name: str) -> Array:
        """Return a column.

        Parameters
        ----------
        name : str

        Returns
        -------
        ndarray, shape (m,)

        Raises
        ------
        UnknownNameError
            If there is no such column.
        """
        asked: object = name
        if not isinstance(asked, str) or asked not in self.names:
            raise UnknownNameError(f"{shown(name)}: the columns are {shown(list(self.names))}")
        column: Array = self.array[:, self.names.index(name)]
        return column

    def _call(self) -> tuple[Any, ...]:
        how = [self.settings.get(name) for name in ("direction", "prob", "kind")]
        return *super()._call(), self.names, *how


def figures_of(columns: Any) -> dict[str, Figure]:
    """Return the checked figures of columns by their names."""
    is_named = isinstance(columns, Mapping)
    if is_named:
        items = listed(columns.items(), _MOST)
    else:
        names = listed(columns, _MOST) if not isinstance(columns, str) else None
        items = None if names is None else [(name, name) for name in names]
    if not items:
        raise ArgumentError(
            f"columns: {shown(columns)} given; a sequence of figures is needed, or a mapping from "
            "the names of columns to figures"
        )
    out: dict[str, Figure] = {}
    for name, what in items:
        figure = _figure(what)
        if figure is None or not isinstance(name, str) or name in out:
            raise ArgumentError(
                f"columns: {shown({name: what} if is_named else what)} given; different names "
                f"are needed, with figures among {', '.join(FIGURES)}, or a pair of "
                f"{', '.join(_WITH_ARGUMENT)} and its argument, as {{'high': ('ppf', 0.99)}}"
            )
        out[name] = figure
    return out


def _figure(what: Any) -> Figure | None:
    """Return a figure without or with an argument, or None for what is no figure."""
    if isinstance(what, str):
        return (what, None) if what in FIGURES else None
    if not isinstance(what, tuple | list) or len(what) != 2:
        return None
    method, at = what
    if not isinstance(method, str) or method not in _WITH_ARGUMENT:
        return None
    if not isinstance(at, int | float | np.number) or isinstance(at, bool | np.timedelta64):
        return None
    return method, float(at)


def values_of(
    posterior: Posterior, figures: Mapping[str, Figure], prob: float, kind: str
) -> dict[str, Array]:
    """Return the columns of a posterior, with its shape."""
    shape = posterior.shape
    if 0 in shape:
        return {name: np.empty(shape) for name in figures}
    ends: dict[str, Any] = {}
    if any(what in ("lower", "upper") for what, _ in figures.values()):
        ends["lower"], ends["upper"] = posterior.interval(prob, kind=kind)
    out = {}
    for name, (what, at) in figures.items():
        if what in ends:
            found = ends[what]
        elif at is None:
            found = getattr(posterior, what)
        else:
            query: Callable[[float], Any] = getattr(posterior, what)
            found = query(at)
        out[name] = np.array(np.broadcast_to(found, shape), dtype=np.float64)
    return out
