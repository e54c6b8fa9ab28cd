"""What all pictures share: colours, axes, labels of ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BLUE", "GREY", "ORANGE", "new_axes", "pyplot", "tick_labels"]

BLUE, ORANGE, GREY = "#1f5fa8", "#d9730d", "#888888"


def new_axes(ax: Axes | None) -> Axes:
    """`ax`, or those of a new figure."""
    return pyplot().subplots(layout="constrained")[1] if ax is None else ax


def pyplot() -> Any:
    """Matplotlib's pyplot, imported on first use."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'fermiac[plot]'") from error
    return plt


def tick_labels(ax: Axes, names: tuple[str, ...], axis: str = "x") -> None:
    """Name the ticks of an axis."""
    # More labels than this cannot be read; ticks stay numbers then.
    if len(names) <= 40:
        turn = {"rotation": 60, "ha": "right"} if axis == "x" and len(names) > 6 else {}
        getattr(ax, f"set_{axis}ticks")(range(len(names)), names, **turn)
