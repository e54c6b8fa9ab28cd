"""What is wrong with the draws of a run."""

from __future__ import annotations

from fermiac import _chains
from fermiac.errors import FermiacWarning
from fermiac.mcmc._chains import Chains

__all__ = ["findings"]

#: Numbers that are looked at: of larger samples some of the coordinates, so that neither time nor
#: memory grow with them.
_MOST = 2**23


def findings(sample: Chains) -> list[tuple[type[FermiacWarning], str]]:
    """What the user must know of the draws, each with what to do about it."""
    step = -(-sample.draws.size // _MOST)
    some = sample if step == 1 else sample._coordinates(range(0, sample.dim, step))
    return list(_chains.findings(some))
