"""Nested sampling runs in the files of PolyChord."""

from __future__ import annotations

import os

import numpy as np

from fermiac.errors import ArgumentError
from fermiac.nested._exports import FORBIDDEN, refuse_reweighted, write_names, write_table
from fermiac.nested._points import from_points
from fermiac.nested._result import Nested

__all__ = ["read_dead_birth", "write_dead_birth"]

_ENDING = "_dead-birth.txt"
#: What PolyChord has for the level below the whole prior.
_NO_BIRTH = -1e30


def write_dead_birth(result: Nested, root: str | os.PathLike[str]) -> None:
    """What `Nested.write_dead_birth` does."""
    refuse_reweighted(result, "write_dead_birth")
    ell = np.maximum(result.log_likelihoods, FORBIDDEN)
    births = np.maximum(result.births, _NO_BIRTH)
    write_table(os.fspath(root) + _ENDING, [*result.draws.T, ell, births])
    write_names(result, root)


def read_dead_birth(path: str | os.PathLike[str]) -> Nested:
    r"""Read a run that PolyChord wrote, or `Nested.write_dead_birth`.

    Parameters
    ----------
    path : str or path-like
        The file ``root_dead-birth.txt``, or its root. Names are taken from ``root.paramnames``, if
        it is there, and live points that the run ended with from ``root_phys_live-birth.txt``.

    Returns
    -------
    Nested
        Without the points of the cube, and with lineages that follow from the births: a new point
        goes on from the last death that had no successor [1]_. Families are not in the file; they
        are set to the lineages.

    Raises
    ------
    ArgumentError
        If there is no such file, it is no table of numbers, or no run.

    References
    ----------
    .. [1] E. Higson, W. Handley, M. Hobson, A. Lasenby, "Dynamic nested sampling: an improved
       algorithm for parameter estimation and evidence calculation", Statistics and Computing, 2019.

    Examples
    --------
    Two points from the whole prior, and one that took the place of the first:

    >>> import os, tempfile
    >>> import fermiac as fm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "run_dead-birth.txt")
    ...     with open(path, "w") as file:
    ...         print("0.1 -2.0 -1e30", "0.5 -1.0 -1e30", "0.6 -0.5 -2.0", sep="\n", file=file)
    ...     r = fm.nested.read_dead_birth(path)
    >>> r.n_alive, r.lineages
    (array([2, 2, 1]), array([0, 1, 0]))
    >>> round(r.log_evidence, 3)
    -1.175
    """
    given = os.fspath(path)
    root = given.removesuffix(_ENDING)
    rows = _table(root + _ENDING)
    live = f"{root}_phys_live-birth.txt"
    if os.path.exists(live) and os.path.getsize(live):
        # Those of an unfinished run; of a finished one they are among the dead.
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
    # Names that a sample has without any come back as none.
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
