"""Conversion of runs to GetDist, anesthetic and dynesty, and the files of PolyChord."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.validate import path_of, shown, yes
from fermiac.errors import ArgumentError
from fermiac.nested.volumes import from_points, sensitivities

if TYPE_CHECKING:
    from fermiac.nested.result import NestedResult

__all__ = [
    "FORBIDDEN",
    "labels_of",
    "read_dead_birth",
    "running",
    "to_anesthetic",
    "to_dynesty",
    "to_getdist",
    "tokens_of",
    "write_dead_birth",
]

Array = NDArray[np.float64]
Ranges = Mapping[str, tuple[float | None, float | None]]
#: The log-likelihood written for a likelihood of 0, just above the values that readers drop.
FORBIDDEN = -1e29


def tokens_of(result: NestedResult) -> list[str]:
    """Return names without the characters that are special in a file of names."""
    return [re.sub(r"[\s*?]+", "_", name) for name in result._labels]


def labels_of(result: NestedResult) -> list[str]:
    """Return the names in LaTeX."""
    indexed = (re.sub(r"\[(\d+)\]$", r"_{\1}", name) for name in result._labels)
    return [re.sub(r"_(?!\{)", r"\\_", name) for name in indexed]


def to_getdist(result: NestedResult, root: str | os.PathLike[str] | None, ranges: Ranges) -> Any:
    """Return the run for GetDist, or write its files; see `NestedResult.to_getdist`."""
    if not isinstance(ranges, Mapping):
        raise ArgumentError(
            f"ranges: {shown(ranges)} given; a mapping from names of coordinates to bounds is "
            "needed"
        )
    if unknown := sorted(ranges.keys() - set(result._labels)):
        raise ArgumentError(
            f"ranges: {shown(unknown[0])} given, which is the name of no coordinate"
        )
    assert result.log_densities is not None
    weights = result._weights()
    used = weights > 0
    weights = weights[used] / weights.max()
    points, minus_ell = result.draws[used], -result.log_densities[used]
    tokens = tokens_of(result)
    bounds = {
        t: ranges.get(name, (None, None)) for t, name in zip(tokens, result._labels, strict=True)
    }
    if root is not None:
        root = path_of("root", root)
        write_table(f"{root}.txt", [weights, minus_ell, *points.T])
        write_names(result, root)
        with open(f"{root}.ranges", "w", encoding="utf-8") as file:
            for token, ends in bounds.items():
                low, high = ("N" if end is None else repr(float(end)) for end in ends)
                file.write(f"{token} {low} {high}\n")
        return None
    try:
        getdist: Any = importlib.import_module("getdist")
    except ImportError as error:
        raise ImportError(
            "to_getdist without files needs GetDist: pip install getdist; or give root"
        ) from error
    return getdist.MCSamples(
        samples=points,
        weights=weights,
        loglikes=minus_ell,
        names=tokens,
        labels=labels_of(result),
        ranges=bounds,
        sampler="nested",
        label="fermiac",
    )


def write_names(result: NestedResult, root: str) -> None:
    """Write the file of names beside a table of points."""
    with open(f"{root}.paramnames", "w", encoding="utf-8") as file:
        for token, label in zip(tokens_of(result), labels_of(result), strict=True):
            file.write(f"{token} {label}\n")


def write_table(path: str, columns: list[Array]) -> None:
    """Write columns of numbers, to the last bit."""
    with open(path, "w", encoding="ascii") as file:
        for row in np.column_stack(columns).tolist():
            file.write(" ".join(map(repr, row)) + "\n")


def refuse_reweighted(result: NestedResult, name: str) -> None:
    """Refuse a result whose weights do not follow from likelihoods and births."""
    if result.is_reweighted:
        raise ArgumentError(
            f"{name}: the weights of this result are those of another likelihood than ordered its "
            "points, and the format has no place for them; use to_getdist or to_dynesty"
        )


def to_anesthetic(result: NestedResult) -> Any:
    """Return the run for anesthetic; see `NestedResult.to_anesthetic`."""
    refuse_reweighted(result, "to_anesthetic")
    try:
        anesthetic: Any = importlib.import_module("anesthetic")
    except ImportError as error:
        raise ImportError("to_anesthetic needs anesthetic: pip install anesthetic") from error
    return anesthetic.NestedSamples(
        data=result.draws,
        columns=list(result._labels),
        logL=np.maximum(result.log_likelihoods, FORBIDDEN),
        logL_birth=result.births,
        labels=[f"${label}$" for label in labels_of(result)],
        label="fermiac",
    )


def to_dynesty(result: NestedResult, as_dict: bool) -> Any:
    """Return the run for dynesty; see `NestedResult.to_dynesty`."""
    if yes("as_dict", as_dict):
        return _fields_of_dynesty(result)
    try:
        results: Any = importlib.import_module("dynesty.results")
    except ImportError as error:
        raise ImportError(
            "to_dynesty needs dynesty: pip install dynesty; or give as_dict=True"
        ) from error
    return results.Results(_fields_of_dynesty(result))


def _fields_of_dynesty(result: NestedResult) -> dict[str, Any]:
    """Return the content of a result of dynesty."""
    ell = result.log_densities
    assert ell is not None
    unit = result.unit_draws
    # A point drawn above a level follows the last death at or below it.
    born = np.searchsorted(result.log_likelihoods, result.births, side="right")
    born[result.births == -np.inf] = 0
    log_z, information, variance = running(result)
    n_evals = max(result.n_evals, 1)
    n, first = result.n_draws, int(result.n_alive[0])
    kind: dict[str, Any]
    if np.array_equal(result.n_alive, np.minimum(first, np.arange(n, 0, -1))):
        # dynesty does not count the live points left at the end as iterations.
        kind = {"nlive": first, "niter": n - first}
    else:
        kind = {
            "niter": n,
            "samples_batch": np.zeros(n, np.int64),
            "batch_logl_bounds": np.array([(-np.inf, np.inf)]),
            "batch_nlive": np.array([first]),
        }
    return {
        **kind,
        "ncall": _spread(result.n_evals, n),
        "eff": 100.0 * n / n_evals,
        "logl": np.maximum(ell, -1e300),
        "logwt": np.maximum(result.log_prior_masses + ell, -1e300),
        "logvol": result.log_x.copy(),
        "logz": log_z,
        "logzerr": np.sqrt(variance),
        "information": information,
        "samples": result.draws.copy(),
        "samples_u": np.full(result.draws.shape, np.nan) if unit is None else unit.copy(),
        "samples_id": result.lineages.copy(),
        "samples_it": born,
        "samples_n": result.n_alive.copy(),
        "blob": np.full(n, None) if result.blobs is None else result.blobs.copy(),
    }


def running(result: NestedResult) -> tuple[Array, Array, Array]:
    """Return log Z after each death, the information then, and the variance of log Z.

    With the posterior masses p of the points so far, the information is sum p ell - log Z. The
    variance is sum ((C - C before) / (n S))^2, where C are the running sums of the sensitivities
    and S is the evidence so far. Running sums are sufficient for all of these.
    """
    ell = result.log_densities
    assert ell is not None
    log_z: Array = np.logaddexp.accumulate(result.log_prior_masses + ell)
    total = float(log_z[-1])
    evidence = np.exp(log_z - total)
    known = evidence > 1e-150  # relative to the whole; its square does not underflow
    inverse = np.divide(1.0, evidence, out=np.zeros_like(evidence), where=known)
    shares = np.exp(result.log_prior_masses + ell - total)
    moments = np.cumsum(shares * np.where(shares > 0, ell, 0.0)) * inverse
    information = np.where(known, moments - np.where(known, log_z, 0.0), 0.0)
    slopes = sensitivities(result.log_x, ell, total)
    until = np.cumsum(slopes)
    noise = 1.0 / result.n_alive.astype(float) ** 2
    sums = [np.cumsum(noise * (until - slopes) ** k) for k in range(3)]
    variance = (until**2 * sums[0] - 2 * until * sums[1] + sums[2]) * inverse**2
    return log_z, np.maximum(information, 0.0), np.maximum(variance, 0.0)


def _spread(total: int, n: int) -> NDArray[np.int64]:
    """Return n whole numbers, as equal as possible, with the given total."""
    ends = np.rint(np.arange(n + 1) * (total / n)).astype(np.int64)
    parts: NDArray[np.int64] = np.diff(ends)
    return parts


_ENDING = "_dead-birth.txt"
#: The birth level of draws from the whole prior in files of PolyChord.
_NO_BIRTH = -1e30


def write_dead_birth(result: NestedResult, root: str | os.PathLike[str]) -> None:
    """Write the points as PolyChord does; see `NestedResult.write_dead_birth`."""
    refuse_reweighted(result, "write_dead_birth")
    ell = np.maximum(result.log_likelihoods, FORBIDDEN)
    births = np.maximum(result.births, _NO_BIRTH)
    root = path_of("root", root)
    write_table(root + _ENDING, [*result.draws.T, ell, births])
    write_names(result, root)


@public
def read_dead_birth(path: str | os.PathLike[str]) -> NestedResult:
    r"""Read a run that PolyChord or `NestedResult.write_dead_birth` wrote.

    Parameters
    ----------
    path : str or path-like
        The file ``root_dead-birth.txt``, or its root. Names come from ``root.paramnames``, if it
        exists, and the last live points from ``root_phys_live-birth.txt``.

    Returns
    -------
    NestedResult
        The run, without `unit_draws`. Lineages are reconstructed from births: a new point succeeds
        the last dead point without a successor [1]_. Families, which the file does not have, are
        set to the lineages.

    Raises
    ------
    ArgumentError
        If the file does not exist, is not a table of numbers, or the table is not a run.

    References
    ----------
    .. [1] E. Higson, W. Handley, M. Hobson, A. Lasenby, "Dynamic nested sampling: an improved
       algorithm for parameter estimation and evidence calculation", Statistics and Computing, 2019,
       doi:10.1007/s11222-018-9844-0.

    Examples
    --------
    Two points from the whole prior, and a third that replaced the first:

    >>> import os, tempfile
    >>> import fermiac as fm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "run_dead-birth.txt")
    ...     with open(path, "w") as file:
    ...         print(
    ...             "0.1 -2.0 -1e30", "0.5 -1.0 -1e30", "0.6 -0.5 -2.0", sep="\n", file=file
    ...         )
    ...     r = fm.nested.read_dead_birth(path)
    >>> r.n_alive, r.lineages
    (array([2, 2, 1]), array([0, 1, 0]))
    >>> round(r.log_evidence, 3)
    -1.175
    """
    given = path_of("path", path)
    root = given.removesuffix(_ENDING)
    rows = _table(root + _ENDING)
    live = f"{root}_phys_live-birth.txt"
    if os.path.exists(live) and os.path.getsize(live):
        # In a finished run these points are also among the dead points.
        rows = np.unique(np.concatenate([rows, _table(live)]), axis=0)
    draws, ell, births = rows[:, :-2], rows[:, -2], rows[:, -1]
    names: tuple[str, ...] = ()
    if os.path.exists(f"{root}.paramnames"):
        with open(f"{root}.paramnames", encoding="utf-8-sig") as file:
            lines = [line.split() for line in file]
        names = tuple(line[0].replace("*", "") for line in lines if line)
    if names and len(names) != draws.shape[1]:
        raise ArgumentError(
            f"{root}.paramnames: {len(names)} names for {draws.shape[1]} parameters; one each is "
            "needed"
        )
    raw = {
        "draws": draws,
        "log_likelihoods": np.where(ell <= FORBIDDEN, -np.inf, ell),
        "births": np.where(births <= FORBIDDEN, -np.inf, births),
    }
    # Default labels are no names.
    if names == tuple(f"x[{j}]" for j in range(len(names))):
        names = ()
    return from_points(
        raw, names=names, seed=None, settings={"source": given}, n_evals=0, wall_time=0.0
    )


def _table(path: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    try:
        rows = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"path: {path} cannot be read as a table: {error}") from error
    if rows.shape[1] < 3 or not len(rows):
        raise ArgumentError(
            f"path: {path} has {rows.shape[1]} columns; parameters, the log-likelihood and the "
            "birth are needed"
        )
    return rows
