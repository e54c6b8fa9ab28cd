"""Chains of `fermiac.score.langevin_gibbs` in parts: on workers, by jobs, and in a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.config import resolve_threads, threads
from fermiac.results.result import Finding
from fermiac.results.reweight import PARTS
from fermiac.runs.parts import identity_of_call, part_of
from fermiac.runs.rows import in_order, missing_rows
from fermiac.score.gibbs_settings import GibbsSettings
from fermiac.score.split import Split

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.score.gibbs_result import LangevinGibbs
    from fermiac.score.model import Model

__all__ = ["are_parts", "chains_in_parts", "joined", "missing_chains"]

#: The fewest chains of a block, as a batched model is called for all of them at once, and the
#: fewest blocks of a call with that many chains.
_LEAST, _BLOCKS = 8, 256


class _Block:
    """A block of chains, as the work of a unit."""

    progress: bool | Report | None = False

    def __init__(
        self,
        run: Callable[..., LangevinGibbs],
        model: Any,
        settings: GibbsSettings,
        n_draws: int,
        names: tuple[str, ...],
        size: int,
        call: str,
    ) -> None:
        self._run, self._target, self._settings = run, model, settings
        self._n_draws, self._names, self._size, self._call = n_draws, names, size, call

    def __call__(self, block: int) -> LangevinGibbs:
        """Return the block with this number."""
        n = self._settings.n_chains
        return self.chains(block * self._size, min((block + 1) * self._size, n))

    def chains(self, start: int, stop: int) -> LangevinGibbs:
        """Return some chains."""
        all_of = self._settings
        own = replace(
            all_of,
            n_chains=stop - start,
            first_chain=all_of.first_chain + start,
            x0=None if all_of.x0 is None else all_of.x0[start:stop],
            sigma0=None if all_of.sigma0 is None else all_of.sigma0[start:stop],
        )
        made = self._run(
            self._target,
            own,
            self._n_draws,
            n_threads=None,
            progress=self.progress,
            names=self._names,
        )
        address = {"call": self._call, "n_chains": all_of.n_chains, "chains": ((start, stop),)}
        return replace(made, settings={**made.settings, PARTS: address}, state=None)


def chains_in_parts(
    run: Callable[..., LangevinGibbs],
    model: Model,
    settings: GibbsSettings,
    n_draws: int,
    split: Split,
    *,
    names: tuple[str, ...],
    identity: Mapping[str, Any],
) -> LangevinGibbs:
    """Return chains of a call, made in blocks; see `fermiac.score.langevin_gibbs`.

    `run` is `fermiac.score.gibbs.run_chains`. `identity` has what the chains depend on, without the
    number of draws and the model.
    """
    n = settings.n_chains
    size = max(_LEAST, -(-n // _BLOCKS))
    given = {**identity, "n_draws": n_draws, "names": names}
    call = identity_of_call("score.langevin_gibbs", given, settings.key, model, settings.predict)
    work = _Block(run, model, settings, n_draws, names, size, call)
    with threads(resolve_threads(split.plan.n_threads)):
        if split.is_at_once:
            chains = part_of(split.plan.part, n)
            work.progress = split.plan.progress
            result = work.chains(chains.start, chains.stop)
        else:
            result = split.gathered(
                work,
                -(-n // size),
                lambda done: joined([*done.values()]),
                digest=lambda: call,
                label="langevin_gibbs",
                name="blocks of chains",
            )
    if split.plan.part is None:
        # A whole call is the same as without workers and files.
        whole = {name: value for name, value in result.settings.items() if name != PARTS}
        result = replace(result, settings=whole)
    object.__setattr__(result, "_origin", (model, settings))
    return result


def _address(result: LangevinGibbs) -> Any:
    return result.settings.get(PARTS)


def are_parts(results: Sequence[Any]) -> bool:
    """Return whether results are parts of one call."""
    addresses = [getattr(result, "settings", {}).get(PARTS) or {} for result in results]
    calls = {address.get("call") for address in addresses}
    return len(calls) == 1 and None not in calls


def joined(parts: Sequence[LangevinGibbs]) -> LangevinGibbs:
    """Return the chains of parts of one call, in the order of the call."""
    first = parts[0]
    address: Any = _address(first)
    pieces, blocks = in_order([_address(part)["chains"] for part in parts], "chain")

    def rows(get: Any) -> Any:
        return np.concatenate([get(parts[i])[at] for i, at in pieces])

    made = replace(
        first,
        settings={**first.settings, PARTS: {**address, "chains": blocks}},
        n_evals=sum(part.n_evals for part in parts),
        wall_time=sum(part.wall_time for part in parts),
        status=next((part.status for part in parts if part.status != "complete"), "complete"),
        draws=rows(lambda part: part.draws),
        stats={name: rows(lambda part, name=name: part.stats[name]) for name in first.stats},
        level_counts=np.sum([part.level_counts for part in parts], axis=0),
        passages=rows(lambda part: part.passages),
        bias=tuple(dict.fromkeys(text for part in parts for text in part.bias)),
    )
    origin = next((part.__dict__["_origin"] for part in parts if "_origin" in part.__dict__), None)
    if origin is not None:
        object.__setattr__(made, "_origin", origin)
    return made


def missing_chains(result: LangevinGibbs) -> list[Finding]:
    """Return the warning that chains of a call are missing."""
    address = _address(result)
    if address is None:
        return []
    return missing_rows(address["chains"], int(address["n_chains"]), "chains")
