"""Number of threads and instruction-set level of the process."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fermiac import _core
from fermiac._base.validate import whole
from fermiac.errors import ArgumentError

__all__ = ["get_num_threads", "isa_level", "set_num_threads"]

_n_threads: int | None = None
#: The number of threads inside `threads`, which overrides all settings.
_within: ContextVar[int | None] = ContextVar("fermiac_threads", default=None)
_LEVELS = ("baseline", "avx2", "avx512")


def set_num_threads(n: int | None) -> None:
    """Set the number of threads of calls without ``n_threads``.

    Parameters
    ----------
    n : int or None
        The number of threads, from 1 to 1024. None restores the default, which is
        ``FERMIAC_NUM_THREADS``, else ``RAYON_NUM_THREADS``, else the number of CPUs that this
        process may use (1 inside a worker of a process pool).

    Raises
    ------
    ArgumentError
        If `n` is not a whole number from 1 to 1024.

    Notes
    -----
    The number of threads changes the duration of a call, never its result.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.set_num_threads(2)
    >>> fm.get_num_threads()
    2
    >>> fm.set_num_threads(None)
    """
    global _n_threads
    _n_threads = None if n is None else whole("n", n, 1, _core.MAX_THREADS)


def get_num_threads() -> int:
    """Return the number of threads of a call without ``n_threads``.

    Returns
    -------
    int
        The number given to `set_num_threads`, or the default described there.

    Raises
    ------
    ArgumentError
        If the environment variable that applies is not a whole number from 1 to 1024.

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
                return whole(name, int(text), 1, _core.MAX_THREADS)
            except ValueError:
                raise ArgumentError(
                    f"{name}: {text!r} in the environment; a whole number from 1 to "
                    f"{_core.MAX_THREADS} is needed"
                ) from None
    if multiprocessing.parent_process() is not None:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _core.MAX_THREADS)
    return min(os.cpu_count() or 1, _core.MAX_THREADS)


def within(n: int | None, renew: bool = False) -> int | None:
    """Fix the number of threads of the calls from here on, and return the number before.

    None changes nothing, except with `renew`.
    """
    before = _within.get()
    if n is not None or renew:
        _within.set(n)
    return before


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Fix the number of threads of the calls inside, for this thread."""
    token = _within.set(n)
    try:
        yield
    finally:
        _within.reset(token)


def resolve_threads(n_threads: int | None) -> int:
    """Return the number of threads of a call with this argument."""
    if n_threads is None:
        return get_num_threads()
    return whole("n_threads", n_threads, 1, _core.MAX_THREADS)


def threads_for(n_rows: int) -> int:
    """Return the number of threads for `n_rows` rows: one if they make a single chunk."""
    return 1 if n_rows <= _core.CHUNK else get_num_threads()


def isa_level() -> str:
    """Return the instruction-set level of the compiled code.

    Returns
    -------
    str
        ``"baseline"``, ``"avx2"`` or ``"avx512"``. The environment variable ``FERMIAC_ISA``, read
        when fermiac is imported, lowers it. With ``FERMIAC_ISA=baseline`` all x86-64 machines
        return the same bits.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.isa_level() in ("baseline", "avx2", "avx512")
    True
    """
    return _core.isa_level


def check_isa() -> None:
    """Raise an error if ``FERMIAC_ISA`` is not a level, or not one of this machine."""
    wanted = os.environ.get("FERMIAC_ISA", "")
    if not wanted or wanted == _core.isa_level:
        return
    if wanted not in _LEVELS:
        levels = ", ".join(_LEVELS)
        raise ArgumentError(f"FERMIAC_ISA: {wanted!r} in the environment; the levels are {levels}")
    raise ArgumentError(
        f"FERMIAC_ISA: {wanted!r} in the environment, but this build on this CPU offers only "
        f"{', '.join(_core.isa_levels)}; name one of these, or build with FERMIAC_BUILD_LEVELS=all"
    )
