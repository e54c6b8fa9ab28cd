"""Colours, axes and tick labels of all plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "RED",
    "SEVERAL",
    "as_array",
    "new_axes",
    "panels",
    "pyplot",
    "require_axes",
    "tick_labels",
]

BLUE, ORANGE, GREY, RED = "#1f5fa8", "#d9730d", "#888888", "#c0182b"
#: The colours of several samples in one figure, in their order.
SEVERAL = (BLUE, ORANGE, "#2a8c57", "#8a4fa3", "#5b4636", "#1aa0b8", "#b3368c", "#6b7a00")


def new_axes(ax: Axes | None) -> Axes:
    """Return `ax`, or the axes of a new figure."""
    if ax is None:
        ax = pyplot().subplots(layout="constrained")[1]
    return require_axes("ax", ax)


def require_axes(name: str, value: Any) -> Axes:
    """Return axes; for any other object an ArgumentError names its type."""
    from matplotlib.axes import Axes

    if not isinstance(value, Axes):
        raise ArgumentError(
            f"{name}: {type(value).__name__} given; axes of matplotlib are needed, or None for a "
            "new figure"
        )
    return value


def pyplot() -> Any:
    """Return matplotlib's pyplot, imported on first use."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'fermiac[plot]'") from error
    return plt


def panels(
    n: int, axes: Any, *, abreast: int = 4, size: tuple[float, float] = (3.0, 2.4)
) -> NDArray[Any]:
    """Return the given axes, one for each of n coordinates, or those of a new figure."""
    if axes is None:
        tall = -(-n // abreast)
        wide = -(-n // tall)
        figure, grid = pyplot().subplots(
            tall,
            wide,
            figsize=(size[0] * wide + 0.4, size[1] * tall + 0.2),
            squeeze=False,
            layout="constrained",
        )
        for spare in grid.ravel()[n:]:
            figure.delaxes(spare)
        axes = grid.ravel()[:n]
    out = as_array(axes).ravel()
    if out.size != n:
        raise ArgumentError(f"axes: {out.size} given for {n} coordinates")
    for ax in out:
        require_axes("axes", ax)
    return out


def as_array(axes: Any) -> NDArray[Any]:
    """Return axes as an array of objects."""
    try:
        return np.atleast_1d(np.asarray(axes, dtype=object))
    except (TypeError, ValueError):
        raise ArgumentError(
            f"axes: {type(axes).__name__} given; an array of axes of matplotlib is needed"
        ) from None


def tick_labels(ax: Axes, names: tuple[str, ...], axis: str = "x") -> None:
    """Name the ticks of an axis."""
    # More labels than this are illegible, and the ticks stay numbers.
    if len(names) <= 40:
        turn = {"rotation": 60, "ha": "right"} if axis == "x" and len(names) > 6 else {}
        getattr(ax, f"set_{axis}ticks")(range(len(names)), names, **turn)
