"""Results of exact runs, for tests of nested sampling."""

from __future__ import annotations

from typing import Any

import nested_reference as reference

from fermiac.nested import NestedResult
from fermiac.nested.volumes import from_points


def result_of(
    problem: reference.Problem,
    seed: int,
    n_live: int = 100,
    batch: int = 10,
    *,
    raw: dict[str, Any] | None = None,
    **fields: Any,
) -> NestedResult:
    """A run of the perfect sampler, or of the points in `raw`."""
    points = reference.perfect_run(problem, n_live, batch, seed) if raw is None else raw
    common: dict[str, Any] = {
        "seed": seed,
        "settings": {"n_live": n_live},
        "n_evals": 3 * len(points["draws"]),
        "wall_time": 0.5,
        "rank_z": 0.25,
        "timings": {"target": 0.25, "total": 0.5},
    }
    return from_points(points, **{**common, **fields})
