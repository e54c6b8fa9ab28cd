"""Chains of one call as independent units: whole chains on workers, parts of a call, a store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from fermiac._base.progress import finish, reporter
from fermiac._base.validate import RngLike, key_of, shown, whole
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.mcmc.checks import findings
from fermiac.mcmc.result import Chains
from fermiac.results.result import Finding, warn
from fermiac.results.reweight import PARTS
from fermiac.results.sample import Sample
from fermiac.runs.parts import Part, Store, computed, identity_of_call, part_of
from fermiac.targets.factories import Factory, as_factory

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.runs.executor import ExecutorLike

__all__ = [
    "CHAINS",
    "OF_CALL",
    "SHARDS",
    "ShardsName",
    "are_apart",
    "merged",
    "missing_chains",
    "sample_chains",
    "takes_whole",
]

ShardsName: TypeAlias = Literal["auto", "points", "whole"]
SHARDS: tuple[str, ...] = get_args(ShardsName)

#: The address of the first chain of the present call, and the chains of the call around it.
CHAINS: ContextVar[tuple[int, int | None]] = ContextVar("fermiac_chains", default=(0, None))
#: Arguments of the call that a single chain does not take.
OF_CALL = (
    "log_density", "rng", "executor", "target_factory", "shards", "part", "store", "progress",
    "first_chain",
)  # fmt: skip
#: Arguments that concern all chains together.
_TOGETHER = ("stop", "max_time", "path", "checkpoint")


def takes_whole(how: str, executor: ExecutorLike | None, given: Mapping[str, Any]) -> bool:
    """Return whether the chains of a call are made one by one."""
    if how == "whole":
        return given["pool"] is False and (executor is None or _obstacle(given) is None)
    return how == "auto" and executor is not None and _obstacle(given) is None


def are_apart(given: Mapping[str, Any]) -> bool:
    """Return whether the chains of a call can be made one by one."""
    return _obstacle(given) is None


def _obstacle(given: Mapping[str, Any]) -> str | None:
    """Return the reason why the chains of a call are not independent units, or None."""
    if given["pool"] is not False:
        return (
            "pool: chains that adapt to pooled draws cannot be made separately; give pool=False, "
            "or store= or checkpoint= alone, with which a call of all chains resumes"
        )
    if given["kernel"]._n_points(2) > 1:
        return f"kernel: {type(given['kernel']).__name__} moves all chains together"
    name = next((name for name in _TOGETHER if given[name] is not None), None)
    return None if name is None else f"{name}: given, which applies to all chains"


class _Chain:
    """One chain of a call, as a unit of work."""

    progress: bool | Report = False

    def __init__(self, target: Any, settings: Mapping[str, Any], seed: int, first: int) -> None:
        self._target, self._settings, self._seed = target, dict(settings), seed
        self._first, self._end = first, first + int(settings["n_chains"])

    def __call__(self, unit: int) -> Chains:
        """Return the chain with this index, counted from the first of the call."""
        from fermiac.mcmc.api import sample

        chain = self._first + unit
        token = CHAINS.set((chain, self._end))
        try:
            made = sample(
                self._target,
                **{**self._settings, "n_chains": 1, "keep_state": False},
                rng=self._seed,
                shards="points",
                progress=self.progress,
            )
        finally:
            CHAINS.reset(token)
        address = {
            "seed": self._seed,
            "first": self._first,
            "n_chains": self._end,
            "chains": (chain,),
        }
        return _unjudged(replace(made, settings={**made.settings, PARTS: address}))


def sample_chains(
    target: Any,
    settings: dict[str, Any],
    *,
    how: str,
    first_chain: Any,
    part: Part | None,
    store: str | os.PathLike[str] | None,
    rng: RngLike,
    executor: ExecutorLike | None,
    target_factory: str | Factory | None,
    progress: bool | Report | None,
) -> Chains:
    """Return the chains of a call, made one by one; see `fermiac.mcmc.sample`."""
    obstacle = _obstacle(settings)
    if obstacle is None and how == "points":
        obstacle = "shards: 'points' given"
    if obstacle is not None:
        given = {"first_chain": first_chain, "part": part, "store": store}
        asked = [name for name, value in given.items() if value is not None]
        wanted = f"{' and '.join(asked)}=" if asked else "shards='whole'"
        raise ArgumentError(f"{obstacle}; {wanted} needs chains that are made one by one")
    if store is not None and rng is None:
        raise ArgumentError("store: given without rng=, so that no later call finds its chains")
    n_chains = settings["n_chains"] = whole("n_chains", settings["n_chains"], 1, 10**6)
    first = 0 if first_chain is None else whole("first_chain", first_chain, 0, 2**40)
    units, key = part_of(part, n_chains), key_of(rng)
    kept = None
    if store is not None:
        of_call = {**settings, "first_chain": first}
        kept = Store(store, identity_of_call("mcmc.sample", of_call, key, target), n_chains)
    if target_factory is not None and executor is not None:
        target = as_factory(target_factory)
    done: dict[int, Chains] = {}
    with reporter(progress, "sample", "chains") as report:

        def tick(n: int) -> None:
            if report is not None and n < len(units):
                report(n, len(units))

        work = _Chain(target, settings, key, first)
        try:
            pieces = computed(work, units, executor=executor, store=kept, tick=tick, name="chains")
            for unit, piece in pieces:
                assert isinstance(piece, Chains)
                done[unit] = piece
        except BaseException as error:
            error.partial_result = None  # type: ignore[attr-defined]
            if done:
                partial = replace(_joined([*done.values()]), status="interrupted")
                error.partial_result = partial  # type: ignore[attr-defined]
            raise
        result, found = _judged(_joined([*done.values()]))
        finish(report, len(units), result)
    warn(found, result)
    return result


def _call(sample: Sample) -> int | None:
    """Return the seed of the call that a sample of whole chains belongs to."""
    address = sample.settings.get(PARTS)
    if address is None or not isinstance(sample, Chains):
        return None
    return int(address["seed"])


def _numbers(part: Chains) -> tuple[int, ...]:
    return tuple(int(chain) for chain in part.settings[PARTS]["chains"])


def merged(first: Chains, others: Sequence[Sample]) -> Chains | None:
    """Return the merged chains of parts of one call; None for other samples."""
    parts = [part for part in (first, *others) if isinstance(part, Chains)]
    calls = {_call(part) for part in parts}
    if len(parts) <= len(others) or len(calls) > 1 or None in calls:
        return None
    seen: dict[int, int] = {}
    for i, part in enumerate(parts):
        if part.draws.shape[1:] != first.draws.shape[1:] or part.names != first.names:
            raise ArgumentError(
                f"merge: the draws of part {i} have the shape {part.draws.shape[1:]} and the names "
                f"{shown(part.names)}, those of part 0 {first.draws.shape[1:]} and "
                f"{shown(first.names)}; parts of one call are needed"
            )
        for chain in _numbers(part):
            if chain in seen:
                raise ArgumentError(
                    f"merge: parts {seen[chain]} and {i} both hold chain {chain} of the call"
                )
            seen[chain] = i
    result, found = _judged(_joined([_unjudged(part) for part in parts]))
    warn(found, result)
    return result


def _joined(parts: Sequence[Chains]) -> Chains:
    """Return the chains of all parts in the order of their numbers."""
    parts = sorted(parts, key=_numbers)
    first = parts[0]
    numbers = [chain for part in parts for chain in _numbers(part)]
    order = np.argsort(numbers, kind="stable")

    def rows(arrays: list[Any]) -> Any:
        if any(array is None for array in arrays):
            return None
        return np.concatenate(arrays)[order]

    def named(name: str) -> dict[str, Any]:
        each = [getattr(part, name) for part in parts]
        return {
            key: rows([one[key] for one in each]) for key in each[0] if all(key in e for e in each)
        }

    steps = [step for part in parts for step in part.adaptation.get("step_sizes", [])]
    adaptation = dict(first.adaptation)
    if len(steps) == len(order):
        adaptation["step_sizes"] = [steps[i] for i in order]
    ended = next((part.status for part in parts if part.status != "complete"), "complete")
    addresses = [part.settings[PARTS] for part in parts]
    address = {
        **first.settings[PARTS],
        "first": min(int(one.get("first", 0)) for one in addresses),
        "n_chains": max(int(one["n_chains"]) for one in addresses),
        "chains": tuple(numbers[i] for i in order),
    }
    return replace(
        first,
        settings={**first.settings, "n_chains": len(order), PARTS: address},
        n_evals=sum(part.n_evals for part in parts),
        wall_time=sum(part.wall_time for part in parts),
        status=ended,
        # In the order of the chains, whatever the parts.
        warnings=tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
        draws=rows([part.draws for part in parts]),
        log_densities=rows([part.log_densities for part in parts]),
        gradients=rows([part.gradients for part in parts]),
        stats=named("stats"),
        warmup_stats=named("warmup_stats"),
        warmup_draws=rows([part.warmup_draws for part in parts]),
        log_likelihood=named("log_likelihood"),
        adaptation=adaptation,
        _state=None,
    )


def _unjudged(part: Chains) -> Chains:
    """Return a part without the warnings about its chains; those about all chains replace them."""
    own = {text for _, text in findings(part)}
    return replace(part, warnings=tuple(text for text in part.warnings if text not in own))


def _judged(chains: Chains) -> tuple[Chains, list[Finding]]:
    """Return chains with the warnings about all of them, and further ones."""
    about = findings(chains)
    found = list(about)
    if chains.warnings:
        n, text = len(chains.warnings), chains.warnings[0]
        found.insert(0, (ConvergenceWarning, text if n == 1 else f"{text} ({n - 1} more alike)"))
    return replace(chains, warnings=(*chains.warnings, *(text for _, text in about))), found


def missing_chains(chains: Chains) -> list[Finding]:
    """Return the warning that chains of a call are missing."""
    address = chains.settings.get(PARTS)
    if address is None:
        return []
    wanted = range(int(address.get("first", 0)), int(address["n_chains"]))
    left = sorted(set(wanted) - {int(k) for k in address["chains"]})
    if not left:
        return []
    more = ", ..." if len(left) > 10 else ""
    return [
        (
            FermiacWarning,
            f"{len(left)} of {len(wanted)} chains are missing: {shown(left[:10], 200)[1:-1]}{more}",
        )
    ]
