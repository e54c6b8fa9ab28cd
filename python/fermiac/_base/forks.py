"""Forks of a process in which another thread imports a module.

Modules are imported at their first use, and an import holds a lock for its module. A child has
only the thread that forked, so a lock that another thread held at that moment is never released,
and the first import of that module in the child waits forever. A fork therefore waits until other
threads have imported what fermiac uses. Python itself holds the lock of the import system across a
fork; here it is taken a little earlier, so that no import begins in between.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from threading import get_ident

__all__ = ["register"]

#: The packages whose imports end: a program may run as the import of another module.
_WAITED = sys.stdlib_module_names | {
    *("fermiac", "numpy", "scipy", "torch", "jax", "numba", "matplotlib", "arviz", "xarray"),
    *("pandas", "polars", "pymc", "pytensor", "numpyro", "bridgestan", "tqdm", "networkx"),
    *("cloudpickle", "dask", "distributed", "ray", "mpi4py"),
}


def register() -> None:
    """Let forks wait for imports, where the interpreter shows them."""
    locks = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", None)
    if not hasattr(os, "register_at_fork") or not isinstance(locks, dict):
        return
    import _imp

    # Their handlers release in the parent what they took before the fork, so a fork that waits must
    # not find them new.
    for name in ("logging", "concurrent.futures.thread"):
        importlib.import_module(name)

    def before() -> None:
        while True:
            _imp.acquire_lock()
            held = [lock() for name, lock in locks.items() if name.partition(".")[0] in _WAITED]
            owners = {getattr(lock, "owner", None) for lock in held} - {None}
            # A thread that forks within an import could be waited for by the others.
            if not owners or get_ident() in owners:
                return
            _imp.release_lock()
            time.sleep(1e-3)

    os.register_at_fork(
        before=before, after_in_parent=_imp.release_lock, after_in_child=_imp.release_lock
    )
