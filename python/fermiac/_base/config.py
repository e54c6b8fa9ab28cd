"""Threads and instruction-set level: what a process is set to use."""

from __future__ import annotations

import multiprocessing
import operator
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fermiac import _core
from fermiac.errors import ArgumentError

__all__ = ["get_num_threads", "isa_level", "set_num_threads"]

_n_threads: int | None = None
#: The number of threads inside a call that fixes it, above all settings.
_within: ContextVar[int | None] = ContextVar("fermiac_threads", default=None)
_LEVELS = ("baseline", "avx2", "avx512")


def _check(n: object, name: str) -> int:
    try:
        value = None if isinstance(n, bool) else operator.index(n)  # type: ignore[arg-type]
    except TypeError:
        value = None
    if value is None:
        raise ArgumentError(f"{name}: {n!r} given; it must be an integer, at least 1")
    if not 1 <= value <= _core.MAX_THREADS:
        raise ArgumentError(f"{name}: {value} given; it must be from 1 to {_core.MAX_THREADS}")
    return value


def set_num_threads(n: int | None) -> None:
    """Set how many threads fermiac uses where a call does not say.

    Parameters
    ----------
    n : int or None
        The number of threads, from 1 to 1024; None goes back to the default, which is
        ``FERMIAC_NUM_THREADS``, else ``RAYON_NUM_THREADS``, else the CPUs that this process may
        use (1 inside a worker of a process pool).

    Raises
    ------
    ArgumentError
        If `n` is not such a number.

    Notes
    -----
    The number of threads changes how long a call takes, never what it returns.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.set_num_threads(2)
    >>> fm.get_num_threads()
    2
    >>> fm.set_num_threads(None)
    """
    global _n_threads
    _n_threads = None if n is None else _check(n, "n")


def get_num_threads() -> int:
    """Return how many threads a call uses that does not say.

    Returns
    -------
    int
        What `set_num_threads` set, or the default that it describes.

    Raises
    ------
    ArgumentError
        If an environment variable that decides it is not such a number.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.get_num_threads() >= 1
    True
    """
    within = _within.get()
    if within is not None:
        return within
    if _n_threads is not None:
        return _n_threads
    for name in ("FERMIAC_NUM_THREADS", "RAYON_NUM_THREADS"):
        text = os.environ.get(name, "").strip()
        if text:
            try:
                return _check(int(text), name)
            except ValueError:
                message = f"{name}: {text!r} in the environment; it must be an integer, at least 1"
                raise ArgumentError(message) from None
    if multiprocessing.parent_process() is not None:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _core.MAX_THREADS)
    return min(os.cpu_count() or 1, _core.MAX_THREADS)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Fix the number of threads of the calls inside, on this thread."""
    token = _within.set(n)
    try:
        yield
    finally:
        _within.reset(token)


def resolve_threads(n_threads: int | None) -> int:
    """The number of threads of a call."""
    return get_num_threads() if n_threads is None else _check(n_threads, "n_threads")


def threads_for(n_rows: int) -> int:
    """The threads of a call on so many rows that does not say: a single chunk needs but one."""
    return 1 if n_rows <= _core.CHUNK else get_num_threads()


def isa_level() -> str:
    """Return the instruction-set level that the compiled code runs at.

    Returns
    -------
    str
        ``"baseline"``, ``"avx2"`` or ``"avx512"``. The environment variable ``FERMIAC_ISA``, read
        when fermiac is imported, lowers it: with ``FERMIAC_ISA=baseline`` results travel between
        x86-64 machines.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.isa_level() in ("baseline", "avx2", "avx512")
    True
    """
    return _core.isa_level


def check_isa() -> None:
    """Refuse an ``FERMIAC_ISA`` that names no level, or one that this CPU does not have."""
    wanted = os.environ.get("FERMIAC_ISA", "")
    if not wanted or wanted == _core.isa_level:
        return
    if wanted not in _LEVELS:
        levels = ", ".join(_LEVELS)
        raise ArgumentError(f"FERMIAC_ISA: {wanted!r} in the environment; the levels are {levels}")
    raise ArgumentError(
        f"FERMIAC_ISA: {wanted!r} in the environment, but this CPU has {_core.isa_level!r} at most"
    )
