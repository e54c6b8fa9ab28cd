"""The common fields of results that need no target and no random numbers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fermiac import _core

__all__ = ["provenance"]


def provenance(settings: Mapping[str, Any], began: float) -> Any:
    """Return the fields of a result of a call that began at this `time.perf_counter`."""
    return {
        "seed": None,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": settings,
        "n_evals": 0,
        "wall_time": time.perf_counter() - began,
    }
