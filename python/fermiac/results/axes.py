"""Labels of the axes of variables: the coordinates of named dimensions, as in xarray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from fermiac._base import layout as fit
from fermiac._base.validate import MOST_NAMES, listed, shown, suggestion
from fermiac._base.variables import Variables
from fermiac.errors import ArgumentError

__all__ = ["COORDS", "DIMS", "Coords", "Dims", "checked_axes", "dims_of", "restricted"]

Label: TypeAlias = "str | int | float"
Coords: TypeAlias = "Mapping[str, tuple[Label, ...]]"
"""The labels along each dimension."""
Dims: TypeAlias = "Mapping[str, tuple[str, ...]]"
"""The dimensions of each variable."""
Shape: TypeAlias = "tuple[int, ...]"

#: The layouts of the two fields in files.
COORDS = fit.mapping(fit.listed(fit.either(fit.text(), fit.flag, fit.real)))
DIMS = fit.mapping(fit.texts)


def checked_axes(
    coords: Any, dims: Any, shapes: Iterable[tuple[str, Shape]]
) -> tuple[dict[str, tuple[Label, ...]], dict[str, tuple[str, ...]]]:
    """Return labels and dimensions as they are stored, if they fit the shapes of the variables.

    A name may have several shapes, for instance those of observations and log-likelihoods.
    """
    labels = {name: _labels(name, given) for name, given in _mapping("coords", coords).items()}
    named: dict[str, tuple[str, ...]] = {}
    for name, given in _mapping("dims", dims).items():
        items = [given] if isinstance(given, str) else listed(given, 64)
        if items is None or not all(isinstance(axis, str) for axis in items):
            raise ArgumentError(
                f"dims: {shown(given)} given for {shown(name)}; a sequence of names of dimensions "
                "is needed"
            )
        if taken := {"chain", "draw"}.intersection(items):
            raise ArgumentError(
                f"dims: {min(taken)!r} given for {shown(name)}, which is the axis of the draws; "
                "name the axes of the variable alone, and otherwise"
            )
        named[name] = tuple(items)
    if not named:
        return labels, named
    sizes = {dim: len(along) for dim, along in labels.items()}
    known: dict[str, list[Shape]] = {}
    for name, shape in shapes:
        known.setdefault(name, []).append(shape)
    for name, axes in named.items():
        if name not in known:
            raise ArgumentError(
                f"dims: {shown(name)} given; {suggestion(name, list(known))}the variables are "
                f"{', '.join(list(known)[:12])}"
            )
        for shape in known[name]:
            if len(axes) != len(shape):
                raise ArgumentError(
                    f"dims: {len(axes)} dimensions given for {name}, which has the shape {shape}; "
                    "one for each axis is needed"
                )
            for dim, size in zip(axes, shape, strict=True):
                if sizes.setdefault(dim, size) != size:
                    raise ArgumentError(
                        f"dims: {dim!r} has {sizes[dim]} labels, and {name} has {size} entries "
                        "along it; as many are needed"
                    )
    return labels, named


def restricted(
    coords: Coords, dims: Dims, names: Iterable[str]
) -> tuple[dict[str, tuple[Label, ...]], dict[str, tuple[str, ...]]]:
    """Return the dimensions of some variables, and the labels along them."""
    kept = {name: dims[name] for name in names if name in dims}
    used = {dim for axes in kept.values() for dim in axes}
    return {dim: along for dim, along in coords.items() if dim in used}, kept


def dims_of(variables: Variables, dims: Dims) -> dict[str, tuple[str, ...]]:
    """Return the dimensions of all variables with axes; those without a name are numbered.

    A dimension with the name of a variable, or with a repeated name, gets an underscore, since
    datasets of xarray allow neither.
    """
    out = {}
    for name, shape in variables.shapes.items():
        if not shape:
            continue
        axes = dims.get(name) or [f"{name}_dim_{i}" for i in range(len(shape))]
        own: list[str] = []
        for axis in axes:
            while axis in variables.shapes or axis in own:
                axis += "_"
            own.append(axis)
        out[name] = tuple(own)
    return out


def _mapping(name: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ArgumentError(f"{name}: {shown(given)} given; a mapping from names is needed")
    return dict(given)


def _labels(name: str, given: Any) -> tuple[Label, ...]:
    """Return labels as texts and numbers; others, such as dates, become texts."""
    items = listed(given, MOST_NAMES)
    if items is None:
        raise ArgumentError(
            f"coords: {shown(given)} given for {name!r}; a sequence of labels is needed"
        )
    return tuple(_label(item) for item in items)


def _label(item: Any) -> Label:
    if isinstance(item, np.bool_ | np.integer | np.floating) and item.dtype.kind in "biuf":
        item = item.item()
    if isinstance(item, str | int | float):
        return item
    try:
        return str(item)
    except Exception as error:
        raise ArgumentError(f"coords: a label has no text ({error})") from error
