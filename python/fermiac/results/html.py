"""Results in notebooks: cards, tables and small pictures as HTML and SVG, without a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["bar", "card", "curve", "histogram", "number", "rates", "rows", "table"]

Array = NDArray[np.float64]
#: The size of a picture, and its colours, which can be read on light and on dark ground.
_WIDTH, _HEIGHT = 150, 34
_BLUE, _ORANGE, _GREY = "#4a86c8", "#d9730d", "#888888"
_BINS = 30
#: The most points of a curve.
_POINTS = 200
_CELL = "padding:1px 8px;text-align:right;white-space:nowrap"


def card(head: Sequence[str], body: str = "", foot: Sequence[str] = ()) -> str:
    """Return lines of text, the first in bold, with HTML between them; warnings are coloured."""
    return f'<div class="fermiac">{_lines(head, True)}{body}{_lines(foot, False)}</div>'


def table(names: Sequence[str], columns: Mapping[str, NDArray[Any]]) -> str:
    """Return a table of numbers with a row for each name."""
    return rows(
        ("", *columns),
        [(escape(name), *(number(c[i]) for c in columns.values())) for i, name in enumerate(names)],
    )


def rows(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Return a table of titles, which are text, and of cells, which are HTML."""
    top = "".join(f'<th style="{_CELL}">{escape(title)}</th>' for title in titles)
    lines = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in line) + "</tr>"
        for line in cells
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def number(value: Any) -> str:
    """Return a number as text: integers in full, others to four digits."""
    if isinstance(value, np.generic):
        value = value.item()
    return f"{value:.4g}" if isinstance(value, float | complex) else escape(str(value))


def histogram(x: Array, weights: Array | None = None) -> str:
    """Return a small histogram with the ends of its range; points need not be sorted."""
    low, high = float(np.min(x)), float(np.max(x))
    if not high > low:
        return f"{low:.3g}"
    heights = np.histogram(x, _BINS, (low, high), weights=weights)[0].astype(float)
    heights *= (_HEIGHT - 12) / max(float(heights.max()), np.finfo(float).tiny)
    base, step = _HEIGHT - 11, _WIDTH / _BINS
    path = f"M0 {base}" + "".join(
        f"V{base - h:.1f}H{(k + 1) * step:.0f}" for k, h in enumerate(heights)
    )
    shape = f'<path d="{path}V{base}Z" fill="{_BLUE}" fill-opacity="0.6"/>'
    return _svg(shape + _ends(low, high))


def curve(x: Array, y: Array, low: float, high: float) -> str:
    """Return a small curve over a range, filled from `low` to `high`."""
    left, right, top = float(x[0]), float(x[-1]), float(np.max(y))
    if not (right > left and top > 0 and np.isfinite([left, right, top]).all()):
        return ""
    across = (x - left) / (right - left) * _WIDTH
    up = (_HEIGHT - 11) - np.nan_to_num(y) / top * (_HEIGHT - 13)
    points = [f"{a:.1f},{b:.1f}" for a, b in zip(across, up, strict=True)]
    inside = (x >= low) & (x <= high)
    filled = ""
    if inside.any():
        some = [point for point, is_in in zip(points, inside, strict=True) if is_in]
        ends = across[inside]
        base = _HEIGHT - 11
        polygon = " ".join([f"{ends[0]:.1f},{base}", *some, f"{ends[-1]:.1f},{base}"])
        filled = f'<polygon points="{polygon}" fill="{_BLUE}" fill-opacity="0.4"/>'
    line = f'<polyline points="{" ".join(points)}" fill="none" stroke="{_BLUE}"/>'
    return _svg(filled + line + _ends(left, right))


def rates(x: Array, y: Array) -> str:
    """Return a small curve in the unit square, above its diagonal, of some of the points."""
    some = np.linspace(0, len(x) - 1, min(len(x), _POINTS)).astype(int)
    side = 2 * _HEIGHT
    corners = " ".join(
        f"{side * a:.1f},{side * (1 - b):.1f}" for a, b in zip(x[some], y[some], strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}" '
        f'viewBox="-1 -1 {side + 2} {side + 2}">'
        f'<path d="M0 {side}L{side} 0" stroke="{_GREY}" stroke-dasharray="2"/>'
        f'<polyline points="{corners}" fill="none" stroke="{_BLUE}" stroke-width="1.5"/></svg>'
    )


def bar(middle: float, low: float, high: float, span: ArrayLike) -> str:
    """Return an interval with its middle on the scale of `span`, with a line at zero if inside."""
    left, right = (float(end) for end in np.asarray(span, float))
    if not (np.isfinite([left, right, middle, low, high]).all() and right > left):
        return ""
    inner = _WIDTH - 8

    def place(value: float) -> float:
        return 4 + inner * (value - left) / (right - left)

    mark = ""
    if left <= 0 <= right:
        mark = f'<path d="M{place(0):.1f} 0V16" stroke="{_GREY}" stroke-dasharray="2"/>'
    line = f'<path d="M{place(low):.1f} 8H{place(high):.1f}" stroke="{_BLUE}" stroke-width="3"/>'
    dot = f'<circle cx="{place(middle):.1f}" cy="8" r="3.5" fill="{_ORANGE}"/>'
    return _svg(mark + line + dot, 16)


def _lines(lines: Sequence[str], is_head: bool) -> str:
    out = []
    for i, line in enumerate("\n".join(lines).split("\n") if lines else ()):
        style = "white-space:pre-wrap"
        if is_head and i == 0:
            style += ";font-weight:bold"
        else:
            style += ";font-family:monospace"
            style += f";color:{_ORANGE}" if line.lstrip().startswith("warning:") else ""
        out.append(f'<div style="{style}">{escape(line)}</div>')
    return "".join(out)


def _ends(low: float, high: float) -> str:
    style = f'font-size="9" fill="{_GREY}" y="{_HEIGHT - 1}"'
    return (
        f'<text x="0" {style}>{low:.3g}</text>'
        f'<text x="{_WIDTH}" text-anchor="end" {style}>{high:.3g}</text>'
    )


def _svg(inside: str, height: int = _HEIGHT) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}">{inside}</svg>'
    )
