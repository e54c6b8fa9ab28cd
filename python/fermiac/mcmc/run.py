"""The course of a run: slice by slice, with what is looked after between the slices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac import _core
from fermiac._base.progress import annotate, finish
from fermiac.errors import (
    BudgetExhausted,
    ConvergenceWarning,
    FermiacError,
    FermiacWarning,
    InternalError,
)
from fermiac.mcmc.checkpoint import Keeper, Origin
from fermiac.mcmc.job import Arrays, Job
from fermiac.mcmc.result import Chains, adaptation, known, statistics
from fermiac.results.sample import OTHER_SPACE
from fermiac.runs import background

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.mcmc.stop import StopWhen

__all__ = ["DRIVER", "Course"]

#: Who answers the chains' questions: "auto", "free" or "lock". For tests, as all give one result.
DRIVER: ContextVar[str] = ContextVar("fermiac_mcmc_driver", default="auto")
#: Seconds between two looks at a run that somebody watches.
_TICK = 1.0
#: Numbers that the R-hat of a progress bar looks at.
_GLANCE = 200_000
#: A larger share of evaluations that fail is warned of.
_MOST_REFUSED = 0.5


class Course:
    """One run, from where its chains stand to the end."""

    def __init__(
        self,
        job: Job,
        sampler: _core.Sampler,
        ports: list[tuple[str, Any]],
        arrays: Arrays,
        origin: Origin,
        *,
        workers: int,
        keeper: Keeper | None = None,
        stop: StopWhen | None = None,
        max_time: float | None = None,
        keep_state: bool = True,
        report: Report | None = None,
        start: float,
    ) -> None:
        self._job = job
        self._sampler = sampler
        self._ports = ports
        self._arrays = arrays
        self._origin = origin
        self._workers = workers
        self._keeper = keeper
        self._stop = stop
        self._max_time = max_time
        self._keep_state = keep_state
        self._report = report
        self._start = start
        self._coupled = sampler.n_points > 1
        groups = job.settings.n_chains // sampler.n_points
        self._total = groups * job.settings.transition(job.settings.n_draws)
        self._ended: str | None = None
        self._stopped_at = 0
        # What is known of the chains at rest; others may look at it while they run.
        self._done: list[int] = []
        self._evals = (0, 0)
        self._settle()
        self._watched = background.watch(self.peek)

    def run(self) -> Chains:
        """Run to the end."""
        try:
            self._save()
            self._go()
            self._publish("complete")
            self._save()
            result = self._result(self._n())
        except BaseException as error:
            self._leave(error)
            raise
        finish(self._report, self._total, result)
        return result

    def peek(self) -> Chains | None:
        """What there is, while the chains run on."""
        n = self._n()
        return self._sample(n, "running", copy=True) if n else None

    def _go(self) -> None:
        for until, record, n_draws in self._marks():
            while not self._slice(until, record):
                if self._is_late():
                    self._ended = "max_time"
                    self._late()
                    return
            if n_draws and self._is_enough(n_draws):
                self._ended, self._stopped_at = "stop", n_draws
                return

    def _is_enough(self, n_draws: int) -> bool:
        stop = self._stop
        return stop is not None and stop.met(self._arrays.shown(n_draws), self._coupled)

    def _marks(self) -> Iterator[tuple[int, dict[str, Any], int]]:
        """Where all chains are to meet: the transition, the record, and the draws to be judged."""
        s = self._job.settings
        every = s.n_draws if self._stop is None else self._stop.every
        for until, record in self._arrays.records():
            if until > s.n_warmup:
                for n in range(every, s.n_draws, every):
                    yield s.transition(n), record, n
            yield until, record, s.n_draws if until > s.n_warmup else 0

    def _slice(self, until: int, record: dict[str, Any]) -> bool:
        """Run for a while; whether all chains came to `until`."""
        reached, error = self._sampler.run(
            self._ports,
            until,
            record,
            self._budget(),
            self._workers,
            self._total,
            self._report,
            DRIVER.get(),
        )
        self._settle()
        if error is not None:
            raise error
        if self._keeper is not None and self._keeper.wait() == 0:
            self._save()
        elif self._arrays.folder is not None:
            self._publish("running")
        self._annotate()
        return bool(reached)

    def _budget(self) -> float | None:
        limits = [_TICK] if self._is_watched() else []
        if self._keeper is not None:
            limits.append(self._keeper.wait())
        if self._max_time is not None:
            limits.append(self._max_time - (time.perf_counter() - self._start))
        return max(min(limits), 0.0) if limits else None

    def _is_watched(self) -> bool:
        return self._watched or self._report is not None or self._arrays.folder is not None

    def _is_late(self) -> bool:
        limit = self._max_time
        return limit is not None and time.perf_counter() - self._start >= limit

    def _late(self) -> None:
        if self._n() == 0:
            raise BudgetExhausted(
                f"max_time: {self._max_time:g} s were over after {min(self._done)} transitions, "
                f"{self._job.settings.n_warmup} of which are the warm-up; there are no draws: give "
                "more time, or a shorter warm-up"
            )

    def _settle(self) -> None:
        """Note where the chains stand."""
        self._done = self._sampler.n_done
        self._evals = self._sampler.n_evals

    def _n(self) -> int:
        """Draws that all chains have."""
        if self._ended == "stop":
            return self._stopped_at
        s = self._job.settings
        return max(min(self._done) - s.transition(self._arrays.first), 0) // s.thin

    def _annotate(self) -> None:
        """Tell a progress bar how the chains do."""
        n, names = self._n(), self._sampler.stat_names
        if self._report is None or n < 4:
            return
        notes = []
        draws = self._arrays.draws
        columns = min(draws.shape[2], max(_GLANCE // (n * len(draws)), 1))
        step = max(n * len(draws) * columns // _GLANCE, 1)
        some = np.ascontiguousarray(draws[:, :n:step, :columns])
        if len(draws) > 1 and some.shape[1] >= 4 and not self._coupled:
            rhat = _core.diagnostics_convergence(some, "rhat_rank", (0.0, 0.0), self._workers)
            notes.append(f"R-hat {np.max(rhat):.3f}")
        diverging = [i for i, name in enumerate(names) if name.endswith("diverging")]
        if diverging:
            notes.append(f"{int(np.sum(self._arrays.stats[:, :n, diverging]))} divergences")
        annotate(self._report, ", ".join(notes))

    def _elapsed(self) -> float:
        return self._origin.elapsed + time.perf_counter() - self._start

    def _save(self) -> None:
        """Write the checkpoint."""
        if self._keeper is not None:
            self._publish("running")
            self._keeper.write(self._sampler, self._arrays, self._origin, self._elapsed())

    def _publish(self, status: str) -> None:
        """Tell how much of the arrays on disk is filled."""
        folder = self._arrays.folder
        if folder is None:
            return
        n = self._n()
        if n:
            self._arrays.shown(n)
        folder.index(
            {
                **self._provenance(n, status),
                "n_draws": n,
                "n_warmup": min(min(self._done), self._job.settings.n_warmup),
                "names": list(self._job.names),
                "stat_names": self._sampler.stat_names,
                "n_points": self._sampler.n_points,
                "origin": self._origin.digest,
            }
        )

    def _leave(self, error: BaseException) -> None:
        """Keep what there is, when an error ends the run."""
        if not isinstance(error, FermiacError | KeyboardInterrupt):
            error.add_note(f"raised while {self._where()}")
        partial = None
        try:
            if not isinstance(error, InternalError):
                self._settle()
            # Before it is kept, which may fail where the draws are still at hand.
            partial = self._sample(self._n(), "interrupted") if self._n() else None
            if not isinstance(error, InternalError):
                self._keep_or_discard()
        except Exception as failure:
            error.add_note(f"and what the run had could not be kept: {failure}")
        error.partial_result = partial  # type: ignore[attr-defined]

    def _keep_or_discard(self) -> None:
        if max(self._done):
            self._publish("interrupted")
            self._save()
            return
        if self._keeper is not None:
            self._keeper.discard()
        if self._arrays.folder is not None and not self._arrays.folder.resumed:
            self._arrays.folder.discard()

    def _where(self) -> str:
        low, high = min(self._done), max(self._done)
        which = f"{low}" if low == high else f"{low} to {high}"
        warmup = " (warm-up)" if low < self._job.settings.n_warmup else ""
        return f"{len(self._done)} chains were at transition {which}{warmup}"

    def _provenance(self, n: int, status: str) -> dict[str, Any]:
        settings = {**self._job.settings.to_dict(), **self._job.kernel._settings()}
        if self._job.space is not None:
            settings["transforms"] = repr(self._job.space.transforms)
            settings[OTHER_SPACE] = "of unconstrained points"
        if self._sampler.is_biased:
            settings["bias"] = "discretisation"
        if self._stop is not None:
            settings["stop"] = repr(self._stop)
        if self._max_time is not None:
            settings["max_time"] = self._max_time
        return {
            "seed": self._job.key,
            "version": _core.__version__,
            "isa": _core.isa_level,
            "settings": settings,
            "n_evals": self._origin.n_evals + self._evals[0],
            "wall_time": self._elapsed(),
            "status": "interrupted" if self._ended == "max_time" else status,
        }

    def _sample(self, n: int, status: str, copy: bool = False, **more: Any) -> Chains:
        """The first `n` draws of every chain."""
        job, arrays, names = self._job, self._arrays, self._sampler.stat_names
        n_points = self._sampler.n_points
        draws = job.shown(arrays.draws[:, :n]) if copy else self._arrays.shown(n)
        gradients = None if arrays.gradients is None else arrays.gradients[:, :n]
        log_densities = known(arrays.log_densities[:, :n])
        if copy:
            draws = draws.copy()
            log_densities = None if log_densities is None else log_densities.copy()
            gradients = None if gradients is None else gradients.copy()
        if arrays.warmup_stats is not None and arrays.warmup_draws is not None:
            more["warmup_stats"] = statistics(names, arrays.warmup_stats, n_points)
            more["warmup_draws"] = job.shown(arrays.warmup_draws)
        return Chains(
            **self._provenance(n, status),
            draws=draws,
            log_densities=log_densities,
            gradients=gradients,
            names=job.names,
            error_model="chains",
            stats=statistics(names, arrays.stats[:, :n], n_points),
            **more,
        )

    def _result(self, n: int) -> Chains:
        s, job = self._job.settings, self._job
        more: dict[str, Any] = {
            "adaptation": adaptation(self._sampler.adaptation(), job.target.dim)
        }
        if self._keep_state and set(self._done) == {s.transition(self._arrays.first + n)}:
            more["_state"] = {
                "words": self._sampler.save(),
                "n_evals": self._origin.n_evals,
                "n_draws": self._arrays.first + n,
            }
        result = self._sample(n, "complete", **more)
        object.__setattr__(result, "_job", job)
        return result

    def findings(self) -> list[tuple[type[FermiacWarning], str]]:
        """What the user must know of the run."""
        found: list[tuple[type[FermiacWarning], str]] = []
        n, refused = self._evals
        if refused > _MOST_REFUSED * n:
            found.append(
                (
                    ConvergenceWarning,
                    f"at {refused} of {n} points the target failed or gave NaN, and they were "
                    "taken for points without density; give -inf where the density is 0, and look "
                    "for overflows elsewhere",
                )
            )
        s = self._job.settings
        if self._ended == "max_time":
            found.append(
                (
                    ConvergenceWarning,
                    f"max_time: the run ended after {self._max_time:g} s with {self._n()} of "
                    f"{s.n_draws} draws of each chain; where a clock ends a run, its length is not "
                    "reproducible",
                )
            )
        elif self._stop is not None and self._ended != "stop":
            missed = self._stop.missed(self._arrays.shown(self._n()), self._coupled)
            found.append((ConvergenceWarning, missed))
        return found
