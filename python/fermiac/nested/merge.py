"""Merging of runs, and splitting of a run into independent ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import RngLike, key_of, whole
from fermiac.errors import ArgumentError
from fermiac.nested.result import NestedResult
from fermiac.nested.runs import address_of, in_order, joint_rank_z
from fermiac.nested.volumes import from_points, kept, points_of
from fermiac.random import Stream
from fermiac.results import reweight
from fermiac.results.sample import Sample

__all__ = ["merge", "split"]

#: The setting of a part of a run that identifies the whole run.
_PART = "part_of"


def merge(first: NestedResult, others: tuple[Sample, ...]) -> NestedResult:
    """Return the runs merged into one; see `NestedResult.merge`."""
    samples: list[Sample] = [first, *others]
    runs = [run for run in samples if isinstance(run, NestedResult)]
    if len(runs) == len(samples):
        samples = [*(runs := in_order(runs))]
    seeds = reweight.comparable(samples)
    _check(runs)
    raws = [points_of(run) for run in runs]
    origins = [_origin(run, i) for i, run in enumerate(runs)]
    for name in ("lineages", "families"):
        offsets = _offsets([raw[name] for raw in raws], origins)
        for raw, offset in zip(raws, offsets, strict=True):
            raw[name] = raw[name] + offset
    raw = {
        name: None
        if any(part[name] is None for part in raws)
        else np.concatenate([part[name] for part in raws])
        for name in raws[0]
    }
    raw["log_likelihood"] = {
        name: np.concatenate([run.log_likelihood[name] for run in runs])
        for name in runs[0].log_likelihood
        if all(name in run.log_likelihood for run in runs)
    }
    seconds = [run.importance for run in runs]
    known = [second for second in seconds if second is not None]
    importance = known[0]._joined(*known[1:]) if len(known) == len(runs) else None
    return from_points(
        raw,
        names=first.names,
        importance=importance,
        **_provenance(runs, origins, tuple(seeds)),
    )


def split(run: NestedResult, k: int, rng: RngLike) -> tuple[NestedResult, ...]:
    """Return the parts of a run; see `NestedResult.split`."""
    # Lineages from the whole prior are dealt first, since every part needs some.
    ids, first = np.unique(run.lineages, return_index=True)
    is_root = run.births[first] == -np.inf
    k = whole("k", k, 1, int(is_root.sum()))
    key = key_of(rng)
    order = np.lexsort((Stream(key).uniform(len(ids)), ~is_root))
    part_of_lineage = np.empty(len(ids), np.int64)
    part_of_lineage[order] = np.arange(len(ids)) % k
    part_of_point = part_of_lineage[np.searchsorted(ids, run.lineages)]
    raw, common = points_of(run), kept(run)
    shares = np.bincount(part_of_point, minlength=k) / run.n_draws
    until = np.rint(np.cumsum(shares) * run.n_evals).astype(np.int64)
    live = np.bincount(part_of_lineage[is_root], minlength=k)
    origin = {
        "n_parts": k,
        "key": key,
        "seed": run.seed,
        "n_points": run.n_draws,
        "log_evidence": run.log_evidence,
        "settings": dict(run.settings),
        "rank_z": run.rank_z,
        "rank_p_value": run.rank_p_value,
        "trace": dict(run.trace),
    }
    parts = []
    for j in range(k):
        of_part = {
            **common,
            "seed": None,  # the seed of the run is that of all parts
            "settings": {"n_live": int(live[j]), _PART: origin, "part": j},
            "n_evals": int(until[j] - (until[j - 1] if j else 0)),
            "wall_time": run.wall_time * float(shares[j]),
            "timings": {name: t * float(shares[j]) for name, t in run.timings.items()},
            "rank_z": float("nan"),
            "rank_p_value": float("nan"),
            "trace": {},
        }
        rows = part_of_point == j
        chosen = {name: None if v is None else v[rows] for name, v in raw.items()}
        chosen["log_likelihood"] = {k: v[rows] for k, v in run.log_likelihood.items()}
        parts.append(from_points(chosen, names=run.names, **of_part))
    return tuple(parts)


def _check(runs: list[NestedResult]) -> None:
    """Refuse runs of different problems, and points that would count twice."""
    seen: dict[bytes, int] = {}
    for i, run in enumerate(runs):
        if run.is_reweighted != runs[0].is_reweighted:
            raise ArgumentError(
                f"merge: of run {i} and run 0 one was reweighted to another target; merge the "
                f"original runs, and reweight the result"
            )
        priors = [one.settings.get("prior") for one in (runs[0], run)]
        if None not in priors and priors[0] != priors[1]:
            raise ArgumentError(
                f"merge: run {i} has the prior {priors[1]}, run 0 {priors[0]}; runs of one problem "
                "can be merged"
            )
        on_surrogate = run.surrogate is not None and not run.surrogate.rejected
        if on_surrogate and run.settings.get(_PART) is None:
            raise ArgumentError(
                f"merge: run {i} was ordered by its own surrogate, and its levels cannot be "
                f"compared with those of other runs"
            )
        # Parameters may be discrete; points of the unit cube are all different.
        unit = run.unit_draws
        rows = {run.draws.tobytes()} if unit is None else {row.tobytes() for row in unit}
        twice = next((seen[row] for row in rows if row in seen), None)
        if twice is not None:
            raise ArgumentError(
                f"merge: runs {twice} and {i} share points; they would count twice, and the errors "
                "come out too small"
            )
        seen |= dict.fromkeys(rows, i)


def _origin(run: NestedResult, i: int) -> tuple[Any, ...]:
    """Return a key that is the same for parts of one run, whose lineages differ already."""
    part = run.settings.get(_PART)
    if part is None:
        return (i,)
    names = ("n_parts", "key", "seed", "n_points", "log_evidence")
    return ("parts", *(part[name] for name in names))


def _offsets(numbers: list[NDArray[np.int64]], origins: list[tuple[Any, ...]]) -> list[int]:
    """Return offsets that make the numbers of runs of different origins disjoint."""
    start: dict[tuple[Any, ...], int] = {}
    end = 0
    for origin in origins:
        if origin not in start:
            own = [x for x, o in zip(numbers, origins, strict=True) if o == origin]
            low = min(int(x.min()) for x in own)
            start[origin] = end - (low if start else 0)
            end = start[origin] + max(int(x.max()) for x in own) + 1
    return [start[origin] for origin in origins]


def _provenance(
    runs: list[NestedResult], origins: list[tuple[Any, ...]], seeds: tuple[int, ...]
) -> dict[str, Any]:
    """Return the provenance of a merged run."""

    def common(name: str) -> str:
        values = {getattr(run, name) for run in runs}
        return values.pop() if len(values) == 1 else "mixed"

    first = runs[0]
    ended = next((run.status for run in runs if run.status != "complete"), "complete")
    out: dict[str, Any] = {
        "seed": first.seed,
        "version": common("version"),
        "isa": common("isa"),
        "n_evals": sum(run.n_evals for run in runs),
        "wall_time": sum(run.wall_time for run in runs),
        "status": ended,
        "warnings": tuple(dict.fromkeys(text for run in runs for text in run.warnings)),
        "coords": first.coords,
        "dims": first.dims,
        "observed_data": first.observed_data,
        "converged": all(run.converged for run in runs),
        "timings": {
            name: sum(run.timings[name] for run in runs)
            for name in first.timings
            if all(name in run.timings for run in runs)
        },
    }
    part = first.settings.get(_PART)
    if part is not None and len(set(origins)) == 1 and len(runs) == part["n_parts"]:
        # All parts of one run are that run.
        names = ("seed", "settings", "rank_z", "rank_p_value", "trace")
        return {**out, **{name: part[name] for name in names}}
    settings = {k: v for k, v in first.settings.items() if k not in (_PART, "part", reweight.PARTS)}
    n_live = sum(run.n_live for run in runs)
    address = address_of(runs)
    if address is not None:
        settings |= {"n_live": n_live, "seeds": seeds, reweight.PARTS: address}
        return {
            **out,
            "seed": address["seed"],
            "settings": settings,
            "rank_z": joint_rank_z(address),
        }
    # Each is standard normal if there is no bias.
    rank_z = float(np.sum([run.rank_z for run in runs]) / np.sqrt(len(runs)))
    return {**out, "settings": {**settings, "n_live": n_live, "seeds": seeds}, "rank_z": rank_z}
