"""The split of a call into blocks: the arguments that say which process makes which blocks."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fermiac._base.validate import RngLike
from fermiac.results.result import Result
from fermiac.runs.parts import Part, gathered, part_of, store_of
from fermiac.targets.factories import Factory, as_factory

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.runs.executor import ExecutorLike

__all__ = ["Split"]

R = TypeVar("R", bound=Result)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Where the blocks of a call are made, and kept.

    The fields are the arguments of these names of a call, as it was given them.
    """

    part: Part | None
    store: str | os.PathLike[str] | None
    rng: RngLike
    executor: ExecutorLike | None
    target_factory: str | Factory | None
    progress: bool | Report | None
    n_threads: int | None = None

    @property
    def is_at_once(self) -> bool:
        """Whether this process makes all its rows at once, not in blocks."""
        return self.executor is None and self.store is None

    def target(self, model: Any) -> Any:
        """Return the model for the blocks; with workers, the factory that was given for it."""
        if self.target_factory is None or self.executor is None:
            return model
        return as_factory(self.target_factory)

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
            work, part_of(self.part, n_blocks), join, executor=self.executor,
            store=store_of(self.store, self.rng, digest, n_blocks), progress=self.progress,
            label=label, name=name,
        )  # fmt: skip
