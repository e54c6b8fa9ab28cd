"""Overlays of plots of samples: several samples, a prior, and known values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import listed, real_numbers, shown, texts
from fermiac.distributions import as_law
from fermiac.errors import ArgumentError
from fermiac.plotting.style import BLUE, GREY, RED, SEVERAL
from fermiac.plotting.subject import Columns, Names, chosen, of_class
from fermiac.results.sample import Sample

__all__ = [
    "Layer",
    "as_samples",
    "draw_prior",
    "known_values",
    "layers",
    "legend_lines",
    "prior_of",
]

Array = NDArray[np.float64]
#: The draws of a prior law, and the least number of them in a bin on average.
_DRAWS, _IN_BIN = 100_000, 200
_MOST_BINS = 40


@dataclass(frozen=True)
class Layer:
    """The drawn coordinates of one sample, with its colour and its name in the legend."""

    sample: Sample
    points: Array
    weights: Array
    color: str
    label: str


def as_samples(given: Any) -> list[Sample]:
    """Return the samples of one figure as a list: one sample, or several."""
    if isinstance(given, Sample):
        return [given]
    samples = listed(given, len(SEVERAL))
    if not samples:
        raise ArgumentError(
            f"sample: {shown(given)} given; a fermiac.Sample is needed, or a sequence of at most "
            f"{len(SEVERAL)}"
        )
    for i, sample in enumerate(samples):
        of_class(f"sample[{i}]", sample, "fermiac.Sample")
    return samples


def layers(
    samples: list[Sample], columns: Columns, var_names: Names, labels: Any
) -> tuple[list[Layer], list[int]]:
    """Return the layers of a figure, and the positions of the coordinates in the first sample.

    The other samples give the coordinates of the same names.
    """
    first = samples[0]
    places = chosen(first, columns, var_names)
    if places is None:
        places = list(range(first.dim))
    names = [first._labels[j] for j in places]
    if labels is None:
        given = tuple(f"sample {i}" for i in range(len(samples))) if len(samples) > 1 else ("",)
    else:
        several = [labels] if isinstance(labels, str) else labels
        given = texts("labels", several, len(samples)) or ()
        if len(given) != len(samples):
            raise ArgumentError(
                f"labels: {shown(labels)} given; {len(samples)} texts are needed, one for each "
                "sample"
            )
    colors = (BLUE,) if len(samples) == 1 else SEVERAL
    out = []
    for sample, color, label in zip(samples, colors, given, strict=False):
        own = places
        if sample is not first:
            if missing := [name for name in names if name not in sample._labels]:
                raise ArgumentError(
                    f"sample: {shown(missing[0])} is a coordinate of the first sample, but not of "
                    "all; give samples with the same names, or choose common ones by var_names="
                )
            own = [sample._labels.index(name) for name in names]
        # All coordinates are the sample itself: that of a walk cannot be restricted.
        some = sample if own == list(range(sample.dim)) else sample._coordinates(own)
        out.append(Layer(some, some._points, some._weights(), color, label))
    return out, places


def known_values(sample: Sample, places: list[int], truths: Any) -> Array:
    """Return the known value of each drawn coordinate, NaN for none."""
    if truths is None:
        return np.full(len(places), np.nan)
    if not isinstance(truths, Mapping):
        known = real_numbers("truths", truths)
        if known.shape != (len(places),):
            raise ArgumentError(
                f"truths: an array of shape {known.shape} given; {len(places)} numbers are needed, "
                "one for each coordinate that is drawn, or a mapping from names"
            )
        return known
    everywhere = np.full(sample.dim, np.nan)
    for name, value in truths.items():
        columns = sample.variables.columns(str(name))
        numbers = real_numbers(f"truths[{name!r}]", value)
        if numbers.size != len(columns):
            raise ArgumentError(
                f"truths: {numbers.size} numbers given for {shown(name)}; {len(columns)} are needed"
            )
        everywhere[columns] = numbers.ravel()
    return everywhere[places]


def prior_of(sample: Sample, places: list[int], prior: Any) -> tuple[Array, Array] | None:
    """Return draws from a prior with their weights, in the drawn coordinates."""
    if prior is None:
        return None
    if isinstance(prior, Sample):
        names = [sample._labels[j] for j in places]
        if set(names) <= set(prior._labels):
            places = [prior._labels.index(name) for name in names]
        elif prior.dim != sample.dim:
            raise ArgumentError(
                f"prior: a sample of {prior.dim} coordinates given, without all names of those "
                f"that are drawn; {sample.dim} coordinates are needed, or these names"
            )
        return prior._points[:, places], prior._weights()
    law = as_law(prior, "prior")
    if law.dim != sample.dim:
        raise ArgumentError(
            f"prior: a law of {law.dim} dimensions given; {sample.dim} are needed, as the sample "
            "has coordinates"
        )
    points = np.asarray(law.sample(_DRAWS, rng=0))[:, places]
    return points, np.full(len(points), 1 / len(points))


def draw_prior(ax: Any, x: Array, weights: Array, low: float, high: float) -> None:
    """Draw the density of a prior within a range as a dashed outline.

    The bins are wide enough for little noise if the prior is much wider than the range.
    """
    within = int(np.count_nonzero((x >= low) & (x <= high)))
    if not within:
        return
    n = int(np.clip(within // _IN_BIN, 1, _MOST_BINS))
    heights, edges = np.histogram(x, n, (low, high), weights=weights)
    ax.stairs(heights / np.diff(edges), edges, baseline=None, color=GREY, lw=1.2, ls="--")


def legend_lines(some: list[Layer], known: Array, has_prior: bool) -> list[Any]:
    """Return the entries of a legend for the samples, the prior and known values."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=s.color, lw=4, alpha=0.6, label=s.label) for s in some if s.label]
    if has_prior:
        lines.append(Line2D([], [], color=GREY, lw=1.2, ls="--", label="prior"))
    if np.isfinite(known).any():
        lines.append(Line2D([], [], color=RED, lw=1, label="known value"))
    return lines
