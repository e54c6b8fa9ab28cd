"""The split of a call into blocks: the arguments that say which process makes which blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from fermiac._base.plan import Plan
from fermiac._base.validate import RngLike
from fermiac.results.result import Result
from fermiac.runs.parts import gathered, part_of, store_of

if TYPE_CHECKING:
    pass

__all__ = ["Split"]

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Split:
    """The plan of a call made in blocks, with its seed."""

    plan: Plan
    rng: RngLike

    @property
    def is_at_once(self) -> bool:
        """Whether this process makes all its rows at once, not in blocks."""
        return self.plan.executor is None and self.plan.store is None

    def gathered(
        self,
        work: Callable[[int], R],
        n_blocks: int,
        join: Callable[[dict[int, R]], R],
        *,
        digest: Callable[[], str],
        label: str,
        name: str,
    ) -> R:
        """Return the joined blocks of the call, or of its part; `digest` identifies the store."""
        return gathered(
            work, part_of(self.plan.part, n_blocks), join, executor=self.plan.executor,
            store=store_of(self.plan.store, self.rng, digest, n_blocks),
            progress=self.plan.progress, label=label, name=name,
        )  # fmt: skip
