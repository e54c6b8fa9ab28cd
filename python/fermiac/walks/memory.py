"""The memory of walkers' histories, and their storage in the core."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fermiac.errors import MemoryLimitError

if TYPE_CHECKING:
    from fermiac.walks.job import Job

__all__ = ["BLOCK", "memory_of", "require_room"]

#: The number of walkers in a block of the core, which share a stream.
BLOCK = 8
#: Bytes per visited node, at most, of hashed histories and of those of the last nodes.
_CELL, _LINK = 32, 40
#: Bytes of a step in a log of visits, and steps of the log that a table is filled from.
_STEP, _LOG = 4, 2**14
#: Tables are faster. Histories are hashed only if tables would be this many times larger.
_WASTE = 4


def memory_of(job: Job) -> str:
    """Return the storage of histories in the core; refuse more than fits into memory."""
    n_nodes, has_history = job.graph.n_nodes, job.kernel.uses_history
    if not has_history and job.record != "visits":
        return "none"
    n = -(-job.n_walkers // BLOCK) * BLOCK
    weighed = job.step_exponent < 1.0
    # Counts are bytes at first.
    table = n * n_nodes * (9 if weighed else 1)
    hashed = n * min(n_nodes, job.n_steps) * _CELL
    what = f"the visits of {job.n_walkers} walkers on {n_nodes} nodes"
    if has_history and job.history != "private":
        counts = hashed if job.record == "visits" else 0
        require_room(
            16 * n_nodes + counts, what, "record='none', with f=, keeps those of all alone"
        )
        return "shared" if job.history == "shared_sync" else "unordered"
    if has_history and job.memory_size is not None:
        own = n * min(job.memory_size, n_nodes) * _LINK
        counts = hashed if job.record == "visits" else 0
        require_room(own + counts, what, "use fewer walkers or a smaller memory_size")
        return "recent"
    if not has_history and n_nodes < 2**32:
        # A log of the steps, which a table replaces once it is smaller.
        room = n * min(_STEP * job.n_steps, n_nodes + _STEP * _LOG)
        require_room(room, what, "use fewer walkers or steps, or f= and record='none'")
        return "table"
    fits = n_nodes < 2**32 and _WASTE * hashed < table
    require_room(hashed if fits else table, what, "use fewer walkers or steps, or a memory_size")
    return "hashed" if fits else "table"


def require_room(n_bytes: int, what: str, advice: str) -> None:
    """Refuse to take more memory than the machine has."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not everywhere
        return
    if n_bytes > total:
        raise MemoryLimitError(
            f"{what} would take {n_bytes} bytes ({n_bytes / 2**30:.1f} GiB), and this machine has "
            f"{total / 2**30:.1f} GiB; {advice}"
        )
