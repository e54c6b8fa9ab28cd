"""The common fields of results of a single call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fermiac import _core

__all__ = ["provenance"]


def provenance(
    settings: Mapping[str, Any], began: float, seed: int | None = None, n_evals: int = 0
) -> Any:
    """Return the fields of a result of a call that began at this `time.perf_counter`."""
    return {
        "seed": seed,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": settings,
        "n_evals": n_evals,
        "wall_time": time.perf_counter() - began,
    }
