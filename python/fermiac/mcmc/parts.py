"""Chains of one call as independent units: whole chains on workers, parts of a call, a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fermiac._base.plan import Plan, alone
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import RngLike, key_of, whole
from fermiac.errors import ArgumentError
from fermiac.mcmc.joining import joined, judged, unjudged
from fermiac.mcmc.result import Chains
from fermiac.results.result import warn
from fermiac.results.reweight import PARTS
from fermiac.runs.executor import unit_of
from fermiac.runs.parts import Store, computed, identity_of_call, part_of

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.runs.executor import ExecutorLike

__all__ = [
    "CHAINS",
    "OF_CALL",
    "are_apart",
    "sample_chains",
    "takes_whole",
]


#: The address of the first chain of the present call, and the chains of the call around it.
CHAINS: ContextVar[tuple[int, int | None]] = ContextVar("fermiac_chains", default=(0, None))
#: Arguments of the call that a single chain does not take.
OF_CALL = (
    "log_density", "rng", "first_chain", "plan", "where",
)  # fmt: skip
#: Arguments that concern all chains together.
_TOGETHER = ("stop", "max_time", "path")


def takes_whole(executor: ExecutorLike | None, given: Mapping[str, Any]) -> bool:
    """Return whether the workers of an executor make the chains of a call one by one."""
    return executor is not None and unit_of(executor) != "points" and _obstacle(given) is None


def are_apart(given: Mapping[str, Any]) -> bool:
    """Return whether the chains of a call can be made one by one."""
    return _obstacle(given) is None


def _obstacle(given: Mapping[str, Any]) -> str | None:
    """Return the reason why the chains of a call are not independent units, or None."""
    if given["pool"] is not False:
        return (
            "pool: chains that adapt to pooled draws cannot be made separately; give pool=False, "
            "or store= alone, with which a call of all chains resumes"
        )
    if given["kernel"]._n_points(2) > 1:
        return f"kernel: {type(given['kernel']).__name__} moves all chains together"
    name = next((name for name in _TOGETHER if given[name] is not None), None)
    return None if name is None else f"{name}: given, which applies to all chains"


class _Chain:
    """One chain of a call, as a unit of work."""

    progress: bool | Report = False

    def __init__(
        self,
        call: Callable[..., Chains],
        target: Any,
        settings: Mapping[str, Any],
        seed: int,
        first: int,
        n_threads: int | None,
    ) -> None:
        own = {name: value for name, value in settings.items() if name != "max_time"}
        self._call, self._target, self._settings, self._seed = call, target, own, seed
        self._first, self._end = first, first + int(settings["n_chains"])
        self._n_threads = n_threads

    def __call__(self, unit: int) -> Chains:
        """Return the chain with this index, counted from the first of the call."""
        chain = self._first + unit
        token = CHAINS.set((chain, self._end))
        try:
            made = self._call(
                self._target,
                **{**self._settings, "n_chains": 1},
                rng=self._seed,
                plan=alone(n_threads=self._n_threads, progress=self.progress),
            )
        finally:
            CHAINS.reset(token)
        address = {
            "seed": self._seed,
            "first": self._first,
            "n_chains": self._end,
            "chains": (chain,),
        }
        return unjudged(replace(made, settings={**made.settings, PARTS: address}))


def sample_chains(
    call: Callable[..., Chains],
    target: Any,
    settings: dict[str, Any],
    *,
    first_chain: Any,
    rng: RngLike,
    plan: Plan,
) -> Chains:
    """Return the chains of a call of `fermiac.mcmc.sample`, which is `call`, made one by one."""
    obstacle = _obstacle(settings)
    if obstacle is not None:
        given = {"first_chain": first_chain, "part": plan.part, "store": plan.store}
        asked = [name for name, value in given.items() if value is not None]
        raise ArgumentError(
            f"{obstacle}; {' and '.join(asked)}= needs chains that are made one by one"
        )
    if plan.store is not None and rng is None:
        raise ArgumentError("store: given without rng=, so that no later call finds its chains")
    n_chains = settings["n_chains"] = whole("n_chains", settings["n_chains"], 1, 10**6)
    first = 0 if first_chain is None else whole("first_chain", first_chain, 0, 2**40)
    units, key = part_of(plan.part, n_chains), key_of(rng)
    kept = None
    if plan.store is not None:
        of_call = {**settings, "first_chain": first}
        kept = Store(plan.store, identity_of_call("mcmc.sample", of_call, key, target), n_chains)
    done: dict[int, Chains] = {}
    with reporter(plan.progress, "sample", "chains") as report:

        def tick(n: int) -> None:
            if report is not None and n < len(units):
                report(n, len(units))

        work = _Chain(call, target, settings, key, first, plan.n_threads)
        try:
            pieces = computed(
                work, units, executor=plan.executor, store=kept, tick=tick, name="chains"
            )
            for unit, piece in pieces:
                assert isinstance(piece, Chains)
                done[unit] = piece
        except BaseException as error:
            error.partial_result = None  # type: ignore[attr-defined]
            if done:
                partial = replace(joined([*done.values()]), status="interrupted")
                error.partial_result = partial  # type: ignore[attr-defined]
            raise
        result, found = judged(joined([*done.values()]))
        finish(report, len(units), result)
    warn(found, result)
    return result
