"""Joining of the parts of a call of chains, and the warnings about all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.mcmc.checks import findings
from fermiac.results.result import Finding, warn
from fermiac.results.reweight import PARTS

if TYPE_CHECKING:
    from fermiac.mcmc.result import Chains

__all__ = ["joined", "judged", "merged", "missing_chains", "unjudged"]


def _call(part: Chains) -> int | None:
    """Return the seed of the call of which chains are a part, or None."""
    address = part.settings.get(PARTS)
    return None if address is None else int(address["seed"])


def _numbers(part: Chains) -> tuple[int, ...]:
    return tuple(int(chain) for chain in part.settings[PARTS]["chains"])


def merged(parts: Sequence[Chains]) -> Chains | None:
    """Return the merged chains of parts of one call; None for chains of several calls."""
    calls = {_call(part) for part in parts}
    if len(calls) > 1 or None in calls:
        return None
    first = parts[0]
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
    result, found = judged(joined([unjudged(part) for part in parts]))
    warn(found, result)
    return result


def joined(parts: Sequence[Chains]) -> Chains:
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


def unjudged(part: Chains) -> Chains:
    """Return a part without the warnings about its chains; those about all chains replace them."""
    own = {text for _, text in findings(part)}
    return replace(part, warnings=tuple(text for text in part.warnings if text not in own))


def judged(chains: Chains) -> tuple[Chains, list[Finding]]:
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
