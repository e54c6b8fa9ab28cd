"""Random streams with addresses, and quasi-random points.

A stream is a function of its address: a key, an index and a block. Each part of a computation has a
stream of its own index. Its numbers are therefore the same in any order of the parts and on any
number of threads or machines. The points of a quasi-random sequence are functions of their index in
the same way.
"""

from __future__ import annotations

from fermiac._base.validate import RngLike, key_of
from fermiac.random.quasi import sobol
from fermiac.random.stream import Stream

__all__ = ["RngLike", "Stream", "key_of", "sobol"]


def __dir__() -> list[str]:
    return sorted(__all__)
