"""Several independent runs of nested sampling as one call, on workers or here, and their merge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.plan import Plan, alone
from fermiac._base.validate import RngLike, key_of, shown, whole
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.nested.result import NestedResult
from fermiac.results.merging import disagreement
from fermiac.results.result import Finding, warn
from fermiac.results.reweight import PARTS
from fermiac.runs.parts import (
    gathered,
    identity_of_call,
    is_default,
    part_of,
    store_of,
)

if TYPE_CHECKING:
    from fermiac._base.progress import Report

__all__ = [
    "address_of",
    "in_order",
    "joint_rank_z",
    "key_of_run",
    "missing_runs",
    "sample_runs",
]

#: Runs of a call at most.
_MOST = 2**24
#: Keeps the keys of runs apart from those of other derived streams.
_WORD = 0x72756E73
#: Arguments of one run that a call with several has no use for.
_REFUSED = {"surrogate": None, "validate": False}


def key_of_run(seed: int, run: int) -> int:
    """Return the key of a run of a call."""
    words = np.random.SeedSequence([seed, _WORD, run]).generate_state(1, np.uint64)
    return int(words[0])


class _Run:
    """One run of a call, as the work of a unit."""

    progress: bool | Report = False

    def __init__(
        self,
        target: Any,
        settings: Mapping[str, Any],
        seed: int,
        first: int,
        n_runs: int,
        n_threads: int | None,
    ) -> None:
        self._target, self._settings = target, dict(settings)
        self._seed, self._first, self._end = seed, first, first + n_runs
        self._n_threads = n_threads

    def __call__(self, unit: int) -> NestedResult:
        """Return the run with this index, counted from the first of the call."""
        from fermiac.nested.api import sample

        run = self._first + unit
        result = sample(
            self._target,
            **self._settings,
            rng=key_of_run(self._seed, run),
            plan=alone(n_threads=self._n_threads, progress=self.progress),
        )
        address = {
            "seed": self._seed,
            "first": self._first,
            "n_runs": self._end,
            "runs": (run,),
            "rank_z": (result.rank_z,),
        }
        return replace(result, settings={**result.settings, PARTS: address})


def sample_runs(
    target: Any,
    settings: dict[str, Any],
    *,
    runs: int,
    first_run: int,
    rng: RngLike,
    plan: Plan,
) -> NestedResult:
    """Return the merged runs of a call; see `fermiac.nested.sample`."""
    n_runs = whole("runs", runs, 1, _MOST)
    for name, default in _REFUSED.items():
        if not is_default(settings.pop(name), default):
            raise ArgumentError(f"{name}: given with runs={n_runs}, which have none")
    first = whole("first_run", first_run, 0, 2**40)
    units, key = part_of(plan.part, n_runs), key_of(rng)
    of_call = {**settings, "first_run": first}
    given = target
    kept = store_of(
        plan.store, rng, lambda: identity_of_call("nested.sample", of_call, key, given), n_runs
    )
    work = _Run(target, settings, key, first, n_runs, plan.n_threads)
    runs_done: list[NestedResult] = []

    def join(done: dict[int, NestedResult]) -> NestedResult:
        runs_done[:] = (done[unit] for unit in sorted(done))
        one, *others = runs_done
        return one.merge(*others)

    result = gathered(
        work, units, join, executor=plan.executor, store=kept, progress=plan.progress,
        label="nested", name="runs",
    )  # fmt: skip
    warn(_findings(runs_done), result)
    return result


def _findings(runs: list[NestedResult]) -> list[Finding]:
    """Return the warnings of the runs of a call, taken together."""
    found: list[Finding] = []
    doubtful = [run for run in runs if run.warnings]
    if doubtful:
        text = doubtful[0].warnings[0]
        found.append(
            (
                ConvergenceWarning,
                f"{len(doubtful)} of {len(runs)} runs gave warnings; the first: {text}",
            )
        )
    values = np.array([[run.log_evidence] for run in runs])
    errors = np.array([[run.log_evidence_stderr] for run in runs])
    if np.isfinite(values).all() and np.isfinite(errors).all():
        found += [
            (kind, text.replace("raise n of each", "raise n_live"))
            for kind, text in disagreement(["log Z"], values, errors)
        ]
    return found


def in_order(runs: list[NestedResult]) -> list[NestedResult]:
    """Return runs of one call in the order of their numbers, others as they are."""
    calls = {_call(run) for run in runs}
    if len(calls) > 1 or None in calls:
        return runs
    return sorted(runs, key=lambda run: int(run.settings[PARTS]["runs"][0]))


def _call(run: NestedResult) -> int | None:
    """Return the seed of the calls that a run with an address belongs to."""
    address = run.settings.get(PARTS)
    return None if address is None else int(address["seed"])


def address_of(runs: list[NestedResult]) -> dict[str, Any] | None:
    """Return the address of merged runs of one seed, or None for other runs."""
    seeds = {_call(run) for run in runs}
    seed = seeds.pop()
    if seeds or seed is None:
        return None
    parts = [run.settings[PARTS] for run in runs]
    numbers = [int(number) for part in parts for number in part["runs"]]
    rank_z = [float(z) for part in parts for z in part["rank_z"]]
    order = np.argsort(numbers, kind="stable")
    return {
        "seed": seed,
        "first": min(int(part.get("first", 0)) for part in parts),
        "n_runs": max(int(part["n_runs"]) for part in parts),
        "runs": tuple(numbers[i] for i in order),
        "rank_z": tuple(rank_z[i] for i in order),
    }


def joint_rank_z(address: Mapping[str, Any]) -> float:
    """Return the joint statistic of all runs; that of each run is standard normal without bias."""
    return math.fsum(address["rank_z"]) / math.sqrt(len(address["rank_z"]))


def missing_runs(result: NestedResult) -> list[Finding]:
    """Return the warning that runs of a call are missing."""
    address = result.settings.get(PARTS)
    if address is None:
        return []
    wanted = range(int(address.get("first", 0)), int(address["n_runs"]))
    left = sorted(set(wanted) - {int(k) for k in address["runs"]})
    if not left:
        return []
    more = ", ..." if len(left) > 10 else ""
    return [
        (
            FermiacWarning,
            f"{len(left)} of {len(wanted)} runs are missing: "
            f"{shown(left[:10], 200)[1:-1]}{more}; the error is that of the others",
        )
    ]
