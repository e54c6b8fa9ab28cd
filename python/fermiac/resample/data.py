"""Samples, strata and clusters: checks of the data, and the scheme that draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.classes import encoded, place_of
from fermiac._base.exponents import exponents, is_ordinary, scaled
from fermiac._base.validate import all_finite, choice, listed, real_numbers, shown, taken, yes
from fermiac.errors import ArgumentError
from fermiac.resample.prepare import check_samples, core_columns, core_parameters
from fermiac.resample.schemes import Scheme
from fermiac.resample.statistics import Statistic

__all__ = ["MOST_SAMPLES", "Data", "Labels", "OnNan", "Prepared", "Units", "take", "units_of"]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Labels: TypeAlias = "ArrayLike | tuple[ArrayLike, ...] | None"
"""A label for each observation; for several independent samples a tuple of them."""
OnNan: TypeAlias = Literal["raise", "omit"]
MOST_SAMPLES = 64
#: For statistics that do not distinguish all cells 2 · truth + guess, the cell that each is counted
#: as.
_ALIKE = {
    "accuracy": (0, 1, 1, 0),
    "precision": (0, 1, 0, 3),
    "recall": (0, 0, 2, 3),
    "f1": (0, 1, 1, 3),
}


@dataclass(frozen=True)
class Units:
    """The units of resampling: observations or clusters, within strata."""

    #: The first unit of each stratum, and the number of units.
    strata: Codes
    #: The observations unit by unit, and the first of each unit. None if unit i is observation i,
    #: or if each unit is one observation.
    members: Codes | None
    starts: Codes | None
    n: int

    @property
    def sizes(self) -> Codes:
        """The number of units of each stratum."""
        return np.diff(self.strata)

    @property
    def single(self) -> bool:
        """Whether each unit is one observation."""
        return self.starts is None

    def core(self, scheme: Scheme) -> dict[str, Any]:
        """Return the scheme as the core takes it."""
        return {
            **scheme.core(self.sizes),
            "strata": self.strata,
            "members": self.members,
            "starts": self.starts,
            "n": self.n,
        }


class Prepared(NamedTuple):
    """A named statistic as the core takes it."""

    core: str
    parameters: list[float]
    columns: list[Array]


@dataclass(frozen=True)
class Data:
    """Checked samples, and the units that are drawn from them."""

    #: The samples, for a named statistic divided by powers of two.
    samples: tuple[Array, ...]
    paired: bool
    #: Codes of the strata and of the clusters of all observations, sample after sample.
    strata: Codes | None
    clusters: Codes | None
    units: Units
    #: The samples as they were given, and the exponents of the powers of two.
    given: tuple[Array, ...]
    exponents: tuple[Any, ...]
    #: What the numbers of labels stand for, and the number of classes if there are more than two.
    labels: Mapping[str, Any] = field(default_factory=dict)
    classes: int = 2

    @property
    def plain(self) -> bool:
        """Whether observations are drawn from whole samples."""
        return self.strata is None and self.clusters is None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of observations of each sample."""
        return tuple(len(sample) for sample in self.samples)

    def prepared(self, statistic: Statistic) -> Prepared:
        """Return a statistic of the data as the core takes it."""
        known = self.__dict__.setdefault("_prepared", {})
        if statistic not in known:
            parameters = core_parameters(statistic, self.samples, self._exponent(statistic))
            columns = core_columns(statistic, parameters, self.samples, self.samples[0].ndim)
            known[statistic] = Prepared(statistic.core, parameters, columns)
        found: Prepared = known[statistic]
        return found

    def _exponent(self, statistic: Statistic) -> int:
        """Return the exponent of a statistic whose columns share one, such as Huber's."""
        return int(self.exponents[0]) if statistic.core == "huber" else 0

    def exponents_of(self, statistic: Statistic) -> Any:
        """Return the exponents of the unit of a statistic: a number, or one for each output."""
        if all(map(is_ordinary, self.exponents)):
            return 0
        if statistic.kind == "regression":
            (x, y), design = self.exponents, self.samples[0]
            return np.append(y, y - np.broadcast_to(x, design.reshape(len(design), -1).shape[1]))
        return sum(d * e for d, e in zip(statistic.degrees, self.exponents, strict=False))

    def scaled(self, samples: tuple[Array, ...]) -> tuple[Array, ...]:
        """Return samples in the unit of the data."""
        return tuple(scaled(x, e) for x, e in zip(samples, self.exponents, strict=True))

    def columns(self, statistic: Statistic) -> list[Array]:
        """Return the columns of a statistic, as the core takes them."""
        return self.prepared(statistic).columns

    def rows(self, index: Codes, draws: Codes | None = None) -> tuple[Array, ...]:
        """Return the samples at indices of observations, whose last axis is that of a replicate.

        Each of several independent samples gives `draws` of them, by default as many as it has.
        """
        if self.paired or len(self.samples) == 1:
            return tuple(sample[index] for sample in self.samples)
        edges = np.cumsum([0, *self.sizes])
        parts, at = [], 0
        for sample, first, n in zip(
            self.samples, edges, self.sizes if draws is None else draws.tolist(), strict=False
        ):
            parts.append(sample[index[..., at : at + n] - first])
            at += n
        return tuple(parts)

    def cells(self, statistic: Statistic) -> tuple[list[Array], dict[str, Any]] | None:
        """Return the cells of a confusion table, as a few observations of each stratum.

        Counts of them have the law of resamples, at a cost that does not depend on their number.
        Cells that the statistic does not distinguish are one. None where clusters are drawn.
        """
        units = self.units
        if not units.single:
            return None
        one_of = _ALIKE.get(statistic.core, (0, 1, 2, 3))
        kept = sorted(set(one_of))
        place = np.array([kept.index(cell) for cell in one_of])
        code = place[(2 * self.samples[0] + self.samples[1]).astype(np.int64)]
        if units.members is not None:
            code = code[units.members]
        sizes = units.sizes
        stratum = np.repeat(np.arange(sizes.size), sizes)
        n = len(kept)
        counts = np.bincount(n * stratum + code, minlength=n * sizes.size)
        cells = [[float(c // 2) for c in kept], [float(c % 2) for c in kept]]
        columns = [np.array(column * sizes.size) for column in cells]
        options = {
            "law": "counts",
            "length": 0.0,
            "draws": sizes,
            "shares": counts / np.repeat(sizes, n),
            "strata": n * np.arange(sizes.size + 1, dtype=np.int64),
            "members": None,
            "starts": None,
            "n": n * sizes.size,
        }
        return columns, options

    def saved(self) -> Mapping[str, Any]:
        """Return the fields of a result that hold the data."""
        return {
            "data": self.given,
            "paired": self.paired,
            "strata": self.strata,
            "clusters": self.clusters,
        }


def take(
    x: Any,
    *,
    statistic: Statistic | None,
    paired: Any = False,
    strata: Any = None,
    clusters: Any = None,
    on_nan: OnNan = "raise",
    positive: Any = None,
    coded: bool = False,
) -> Data:
    """Return checked data; a statistic that is None is a callable, which takes any shape.

    Labels of classes are replaced by numbers, unless they are `coded` already.
    """
    paired = yes("paired", paired)
    policy = choice("on_nan", on_nan, ("raise", "omit"))
    given = list(x) if isinstance(x, tuple) else [x]
    if not 1 <= len(given) <= MOST_SAMPLES:
        raise ArgumentError(
            f"x: a tuple of {len(given)} samples given; 1 to {MOST_SAMPLES} are needed"
        )
    if len(given) == 1:
        paired = False
    labels: dict[str, Any] = {}
    n_classes = 2
    if statistic is not None and statistic.of_cells and not coded:
        given, labels, n_classes = _coded(given, statistic, positive)
    elif positive is not None:
        raise ArgumentError(
            f"positive: {shown(positive)} given; it is for statistics of labels: 'precision', "
            "'recall' and 'f1'"
        )
    names = ["x"] if len(given) == 1 else [f"x[{i}]" for i in range(len(given))]
    samples = [_sample(name, sample) for name, sample in zip(names, given, strict=True)]
    if statistic is not None:
        samples, paired = _shaped(samples, statistic, paired)
    sizes = [len(sample) for sample in samples]
    if paired and len(set(sizes)) > 1:
        raise ArgumentError(
            f"x: paired samples of {' and '.join(map(str, sizes))} observations given; as many in "
            "each are needed"
        )
    n_labels = [sizes[0]] if paired else sizes
    levels = _labels("strata", strata, n_labels)
    groups = _labels("clusters", clusters, n_labels)
    keep = [_kept(name, sample, policy) for name, sample in zip(names, samples, strict=False)]
    if any(not rows.all() for rows in keep):
        if paired:
            keep = [np.logical_and.reduce(keep)] * len(keep)
        samples = [sample[rows] for sample, rows in zip(samples, keep, strict=True)]
        everywhere = keep[0] if paired else np.concatenate(keep)
        levels = None if levels is None else levels[everywhere]
        groups = None if groups is None else groups[everywhere]
    least = 2 if statistic is None else statistic.least
    for name, sample in zip(names, samples, strict=False):
        if len(sample) < least:
            of = f" for {statistic.name!r}" if statistic is not None else ""
            raise ArgumentError(
                f"{name}: {len(sample)} observations given; {least} are needed at least{of}"
            )
    if statistic is not None and statistic.of_cells and coded:
        for name, sample in zip(names, samples, strict=False):
            if not ((sample == 0) | (sample == 1)).all():
                raise ArgumentError(
                    f"{name}: {statistic.name!r} takes pairs (truth, guess) of 0 and 1, or False "
                    "and True"
                )
    if statistic is not None and statistic.core == "ratio_of_means":
        below = samples[0] if statistic.name == "slope_through_origin" else samples[1]
        if not below.any():
            raise ArgumentError("x: all denominators are zero; others are needed")
    if statistic is not None:
        check_samples(statistic, samples)
    units = units_of([len(samples[0])] if paired else [len(s) for s in samples], levels, groups)
    own = tuple(samples)
    if statistic is None or not statistic.degrees:
        return Data(own, paired, levels, groups, units, own, (0,) * len(own), labels, n_classes)
    found = _exponents(statistic, own)
    shifted = tuple(scaled(x, e) for x, e in zip(own, found, strict=True))
    return Data(shifted, paired, levels, groups, units, own, found)


def _exponents(statistic: Statistic, samples: tuple[Array, ...]) -> tuple[Any, ...]:
    """Return the exponents of each sample; columns that are not compared have their own."""
    if statistic.kind == "two":
        return (exponents(np.concatenate(samples)),) * 2
    if statistic.core == "huber":
        return (exponents(samples[0]),)
    found = tuple(exponents(x, 0) if x.ndim > 1 else exponents(x) for x in samples)
    return (found[0], 0) if statistic.name == "logistic" else found


def _coded(
    given: list[Any], statistic: Statistic, positive: Any
) -> tuple[list[Any], dict[str, Any], int]:
    """Return pairs of labels as numbers, what these stand for, and the number of classes."""
    name = statistic.name
    if positive is not None and name not in ("precision", "recall", "f1"):
        raise ArgumentError(
            f"positive: {shown(positive)} given with {name!r}, which treats all labels alike; it "
            "is for 'precision', 'recall' and 'f1'"
        )
    pairs = given
    if len(given) == 1:
        table = taken("x", given[0])
        pairs = list(table.T) if table.ndim == 2 and table.shape[1] == 2 else given
    if len(pairs) != 2 or (positive is None and all(map(_is_coded, pairs))):
        return given, {}, 2
    labels, codes = encoded("x", pairs)
    broken = [label for label in labels if isinstance(label, float) and not label.is_integer()]
    if broken:
        raise ArgumentError(
            f"x: {broken[0]:g} given; {name!r} takes pairs (truth, guess) of labels: text, "
            "booleans or whole numbers"
        )
    if positive is None and all(label in (0, 1) for label in labels):
        return given, {}, 2
    if positive is None and len(labels) > 2:
        if codes[0].shape != codes[1].shape:
            return codes, {}, 2  # refused later
        if name == "accuracy":
            # NaN stays NaN.
            return [1 + 0 * codes[0], (codes[0] == codes[1]) + 0 * codes[1]], {}, 2
        average = {} if name in ("kappa", "mcc") else {"average": "macro"}
        return codes, {"labels": labels, **average}, len(labels)
    place = place_of(positive, labels)
    flags = [np.where(np.isnan(code), np.nan, code == place) for code in codes]
    return flags, {"positive": labels[place]}, 2


def _is_coded(given: Any) -> bool:
    """Return whether labels are those of the core, 0 and 1."""
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "biuf":
        return False
    return bool(((given == 0) | (given == 1)).all())


def _sample(name: str, given: Any) -> Array:
    """Return one sample as an array with observations on its first axis."""
    array = real_numbers(name, given)
    if array.ndim == 0 or array.size == 0:
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} given; (n,) or (n, d) is needed, with "
            "observations on the first axis"
        )
    return array


def _shaped(samples: list[Array], statistic: Statistic, paired: bool) -> tuple[list[Array], bool]:
    """Return the samples in the shapes that a statistic takes."""
    shapes = ", ".join(str(sample.shape) for sample in samples)
    name = statistic.name
    if statistic.kind == "one":
        if len(samples) != 1 or samples[0].ndim > 2:
            raise ArgumentError(
                f"x: samples of shapes {shapes} given; {name!r} takes one sample, of shape (n,) or "
                "(n, d)"
            )
        return samples, False
    if statistic.kind == "series":
        if len(samples) != 1 or samples[0].ndim != 1:
            raise ArgumentError(
                f"x: samples of shapes {shapes} given; {name!r} takes one series, of shape (n,)"
            )
        return samples, False
    if statistic.kind == "regression":
        if len(samples) != 2 or samples[0].ndim > 2 or samples[1].ndim != 1:
            raise ArgumentError(
                f"x: samples of shapes {shapes} given; {name!r} takes (X, y), of shapes (n,) or "
                "(n, p), and (n,)"
            )
        return samples, True
    if statistic.kind == "survival":
        if len(samples) not in (2, 3) or any(sample.ndim != 1 for sample in samples):
            raise ArgumentError(
                f"x: samples of shapes {shapes} given; {name!r} takes (outcome, score) or "
                "(outcome, score, event), each of shape (n,)"
            )
        return samples, True
    if len(samples) == 1 and statistic.kind == "pairs" and samples[0].shape[1:] == (2,):
        samples = [np.ascontiguousarray(column) for column in samples[0].T]
    if len(samples) != 2 or any(sample.ndim != 1 for sample in samples):
        needed = "pairs: (x, y) or an array of shape (n, 2)"
        if statistic.kind == "two":
            needed = "two samples: (a, b), each of shape (n,)"
        raise ArgumentError(f"x: samples of shapes {shapes} given; {name!r} takes {needed}")
    if statistic.kind == "two" and paired:
        raise ArgumentError(
            f"paired: True given with {name!r}, which takes two independent samples; for pairs "
            "give their differences to 'mean'"
        )
    return samples, statistic.kind == "pairs"


def _kept(name: str, sample: Array, policy: str) -> NDArray[np.bool_]:
    """Return the observations that are kept; NaN and infinities are errors."""
    if all_finite(sample):
        return np.ones(len(sample), bool)
    rows = np.isnan(sample.reshape(len(sample), -1)).any(1)
    if policy == "raise" and rows.any():
        raise ArgumentError(
            f'{name}: NaN in {int(rows.sum())} observations; numbers are needed, or on_nan="omit" '
            "to leave them out"
        )
    if np.isinf(sample).any():
        raise ArgumentError(f"{name}: an infinity given; finite numbers are needed")
    return np.asarray(~rows)


def _labels(name: str, given: Any, sizes: list[int]) -> Codes | None:
    """Return the codes of labels, different for each sample."""
    if given is None:
        return None
    parts = list(given) if isinstance(given, tuple) and len(sizes) > 1 else [given]
    if len(parts) != len(sizes):
        raise ArgumentError(
            f"{name}: labels for {len(parts)} samples given; a tuple of {len(sizes)} is needed"
        )
    codes, first = [], 0
    for part, size in zip(parts, sizes, strict=True):
        items = part if hasattr(part, "dtype") else listed(part, size)
        labels = taken(name, items if items is not None else part)
        if labels.shape != (size,) or labels.dtype.kind not in "biufUSO":
            raise ArgumentError(
                f"{name}: {shown(part)} given; a label for each of {size} observations is needed"
            )
        if labels.dtype.kind == "O":
            labels = np.array([repr(label) for label in labels.tolist()])
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise ArgumentError(f"{name}: NaN given; a label for each observation is needed")
        own = np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.int64) + first
        codes.append(own)
        first = int(own.max()) + 1
    return np.concatenate(codes)


def units_of(sizes: list[int], levels: Codes | None, groups: Codes | None) -> Units:
    """Return the units of samples of these sizes, with strata and clusters by their codes."""
    n = sum(sizes)
    if levels is None and groups is None:
        return Units(np.cumsum([0, *sizes], dtype=np.int64), None, None, n)
    level = np.repeat(np.arange(len(sizes)), sizes) if levels is None else levels
    level = np.unique(level, return_inverse=True)[1].reshape(-1).astype(np.int64)
    if groups is None:
        order = np.argsort(level, kind="stable")
        strata = np.cumsum([0, *np.bincount(level)], dtype=np.int64)
        _refuse_single("strata", np.diff(strata), "stratum")
        return Units(strata, order.astype(np.int64), None, n)
    order = np.lexsort((groups, level))
    ordered, own = groups[order], level[order]
    new = np.append(True, (ordered[1:] != ordered[:-1]) | (own[1:] != own[:-1]))
    starts = np.append(np.flatnonzero(new), n).astype(np.int64)
    if len(starts) - 1 > len(np.unique(groups)):
        raise ArgumentError("clusters: a cluster lies in several strata; each must lie in one")
    strata = np.cumsum([0, *np.bincount(own[starts[:-1]])], dtype=np.int64)
    _refuse_single("clusters", np.diff(strata), "sample or stratum")
    return Units(strata, order.astype(np.int64), starts, n)


def _refuse_single(name: str, sizes: Codes, of: str) -> None:
    if sizes.min() < 2:
        what = "observation" if name == "strata" else "cluster"
        raise ArgumentError(
            f"{name}: a {of} with one {what} given, whose variance is not known; two are needed in "
            "each at least"
        )
