"""Conversion of arrays of nodes and weights for the core."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.validate import taken
from fermiac.errors import ArgumentError

__all__ = ["edge_weights", "locked", "nodes", "whole_numbers"]

A = TypeVar("A", bound=NDArray[Any])


def locked(array: A) -> A:
    """Return a read-only view."""
    view = array.view()
    view.flags.writeable = False
    return view


def whole_numbers(name: str, given: ArrayLike, n_dims: int = 1) -> NDArray[Any]:
    """Take an array of whole numbers, of any integer type."""
    array = taken(name, given)
    if array.ndim != n_dims and not (array.size == 0 and n_dims == 2):
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} was given; one with {n_dims} "
            f"ax{'is is' if n_dims == 1 else 'es is'} needed"
        )
    if not array.size and not isinstance(given, np.ndarray):
        array = array.astype(np.uint32)
    if array.dtype.kind not in "iu":
        raise ArgumentError(
            f"{name}: numbers of type {array.dtype} were given; an integer type is needed"
        )
    return array


def nodes(name: str, given: ArrayLike, n_dims: int = 1) -> tuple[Any, bool]:
    """Take an array of nodes as uint32 or uint64; also return whether it was signed."""
    array = whole_numbers(name, given, n_dims)
    signed = array.dtype.kind == "i"
    wide = array.dtype.itemsize == 8
    size = 8 if wide else 4
    # Negative numbers become too large for nodes, and are refused.
    array = np.ascontiguousarray(array, dtype=f"{'i' if signed else 'u'}{size}")
    return array.view(np.uint64 if wide else np.uint32), signed


def edge_weights(name: str, given: ArrayLike) -> Any:
    """Take an array of weights as float32 or float64."""
    array = taken(name, given)
    if array.ndim != 1:
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} was given; one with one axis is needed"
        )
    if array.dtype.kind not in "iuf" and array.size:
        raise ArgumentError(
            f"{name}: numbers of type {array.dtype} were given; real numbers are needed"
        )
    kind = np.float32 if array.dtype == np.float32 else np.float64
    return np.ascontiguousarray(array, dtype=kind)
