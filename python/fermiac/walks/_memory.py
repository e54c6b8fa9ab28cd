"""The memory that a walk takes, estimated before it is taken."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fermiac.errors import MemoryLimitError

if TYPE_CHECKING:
    from fermiac.walks._job import Job

__all__ = ["memory_of", "require_room"]

#: Walkers whose histories are kept side by side.
_OCTET = 8


def memory_of(job: Job) -> str:
    """How the core keeps what walkers remember; refuses what no memory holds."""
    if not job.has_history and job.record != "visits":
        return "none"
    size = 4 if job.step_exponent == 1.0 else 12
    n = -(-job.n_walkers // _OCTET) * _OCTET
    require_room(
        n * job.graph.n_nodes * size,
        f"the visits of {job.n_walkers} walkers on {job.graph.n_nodes} nodes",
        "use fewer walkers",
    )
    return "table"


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
