"""Scores of several examples in one model: the correlation of errors and the design effect."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError
from fermiac.privacy.checks import Array, scores

__all__ = ["LARGE_EFFECT", "Clusters", "copies", "design_effect", "take_clusters"]

#: The design effect above which a warning is due.
LARGE_EFFECT = 1.2

Integers = NDArray[np.int64]


class Clusters(NamedTuple):
    """The model of each score, numbered from 0."""

    members: Integers
    nonmembers: Integers


def take_clusters(clusters: Any, n_members: int, n_nonmembers: int) -> Clusters:
    """Return the argument `clusters`, checked: a pair of arrays, a model for each score."""
    try:
        first, second = clusters
    except (TypeError, ValueError):
        raise ArgumentError(
            f"clusters: a {type(clusters).__name__} was given; a pair of arrays is needed, the "
            "models of the members' scores and those of the non-members'"
        ) from None
    some, others = (_named(np.asarray(ids)) for ids in (first, second))
    if some.shape != (n_members,) or others.shape != (n_nonmembers,):
        raise ArgumentError(
            f"clusters: arrays of shapes {some.shape} and {others.shape} were given for "
            f"{n_members} members and {n_nonmembers} non-members; one model for each score is "
            "needed"
        )
    for name, ids in (("members", some), ("nonmembers", others)):
        if ids.dtype.kind == "f":
            scores(f"clusters of {name}", ids)
        elif ids.dtype.kind not in "iuUS":
            raise ArgumentError(
                f"clusters: an array of type {ids.dtype} was given; numbers or strings are needed"
            )
    if (some.dtype.kind in "US") != (others.dtype.kind in "US"):
        raise ArgumentError("clusters: numbers and strings were given; name all models alike")
    _, number = np.unique(np.concatenate([some, others]), return_inverse=True)
    number = number.reshape(-1).astype(np.int64)
    return Clusters(number[:n_members], number[n_members:])


def _named(ids: NDArray[Any]) -> NDArray[Any]:
    """Return strings with a string type if a table stored them as objects."""
    texts = ids.dtype.kind == "O" and all(isinstance(name, str) for name in ids.flat)
    return ids.astype(str) if texts else ids


def design_effect(errors: NDArray[np.bool_], clusters: Integers) -> dict[str, float]:
    r"""Return the correlation of errors within clusters, by analysis of variance, and its effect.

    The variance of the mean of N errors is :math:`1 + (\sum_i n_i^2 / N - 1) \rho` times that of
    independent errors, where :math:`n_i` are the sizes of the clusters.
    """
    _, number, size = np.unique(clusters, return_inverse=True, return_counts=True)
    n, k = errors.size, size.size
    weighted = float((size.astype(np.float64) ** 2).sum() / n)
    mean_size = n / k
    if k == 1 and n > 1:
        raise ArgumentError(
            "clusters: the scores of one kind are all of one model, which leaves nothing to "
            "compare; two models at least are needed"
        )
    rho = 0.0
    if n > k:
        hits = np.bincount(number.reshape(-1), weights=errors, minlength=k)
        mean = errors.mean()
        between = float((size * (hits / size - mean) ** 2).sum()) / (k - 1)
        within = float((hits * (1.0 - hits / size)).sum()) / (n - k)
        each = (n - weighted) / (k - 1)
        spread = between + (each - 1.0) * within
        rho = (between - within) / spread if spread > 0 else 0.0
    effect = 1.0 + (weighted - 1.0) * max(rho, 0.0)
    return {"rho": rho, "effect": effect, "n_clusters": float(k), "mean_size": mean_size}


def copies(members: Array, nonmembers: Array) -> list[str]:
    """Return a warning for each kind of scores in which records seem to occur several times.

    Few different scores, such as those of a vote, have ties without copies, and so do scores that
    were rounded to four decimals or to half precision.
    """
    found = []
    for name, given in (("members", members), ("nonmembers", nonmembers)):
        _, times = np.unique(given, return_counts=True)
        share = times[times > 2].sum() / given.size
        if times.size > 20 and share > 0.05 and not _rounded(given):
            found.append(
                f"{name}: {100 * share:.3g} % of the scores occur more than twice; copies of a "
                "record are not independent, and the bound may be too large: give each record "
                "once, or the record of each score as clusters= with cluster_adjust=True"
            )
    return found


def _rounded(given: Array) -> bool:
    with np.errstate(over="ignore"):
        half = given.astype(np.float16).astype(np.float64)
    return np.array_equal(half, given) or np.array_equal(np.round(given, 4), given)
