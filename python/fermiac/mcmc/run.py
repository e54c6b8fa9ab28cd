"""The run loop of MCMC: chains run in slices of time, up to marks at which they synchronise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.config import threads
from fermiac.diagnostics.convergence import MIN_DRAWS
from fermiac.distributions.law import subkey
from fermiac.errors import BudgetExhausted, ConvergenceWarning
from fermiac.mcmc import boundaries, jumps
from fermiac.mcmc.bias import biases
from fermiac.mcmc.checkpoint import Origin
from fermiac.mcmc.checks import findings
from fermiac.mcmc.job import Arrays, Job
from fermiac.mcmc.result import Chains, adaptation, known, statistics
from fermiac.results.bounds import bounds_setting
from fermiac.results.result import Finding, tolerant
from fermiac.results.sample import OTHER_SPACE
from fermiac.results.sample_fields import finite_draws
from fermiac.runs.loop import Budget, RunLoop

if TYPE_CHECKING:
    from fermiac.mcmc.sections import Sections
    from fermiac.mcmc.stop import StopWhen

__all__ = ["DRIVER", "ChainLoop"]

#: The driver of the chains, "auto", "free" or "lock"; for tests, since all give the same result.
DRIVER: ContextVar[str] = ContextVar("fermiac_mcmc_driver", default="auto")
#: The most numbers used for the R-hat of a progress bar.
_GLANCE = 200_000
#: The share of evaluations that fail above which a run warns.
_MOST_REFUSED = 0.5
#: The share and the number of failed evaluations after the warm-up above which a run warns.
_MOST_FAILED, _FEW = 1e-3, 10
#: The share of divergences above which boundaries of the support are sought, and the largest share
#: of the evaluations of the run that this takes.
_MOST_DIVERGENT, _MOST_PROBED = 0.01, 0.05
#: The share of trees of the largest depth above which jumps of the log-density are sought, the
#: share of trajectories with jumps above which a run warns, and the address of their momenta.
_MOST_DEEP, _JUMPING, _JUMPS = 0.1, 0.25, 0x6A756D70
#: The most numbers from which the bias of a kernel without an accept step is estimated, and the
#: largest share of the evaluations of the run that gradients at the draws take.
_JUDGED, _MOST_JUDGED = 2**22, 0.25
#: The bytes of arrays on the disk that the chains fill before their pages are dropped from memory.
_FILLED = 2**26
#: Arrays of a run whose numbers are all finite.
_FINITE = ("draws", "log_densities")


@dataclass(eq=False, repr=False)
class ChainLoop(RunLoop[Chains]):
    """The run loop of MCMC; `join` completes the result of this loop."""

    reports = True

    job: Job
    sampler: _core.Sampler
    ports: list[tuple[str, Any]]
    arrays: Arrays
    origin: Origin
    _: KW_ONLY
    workers: int
    stop: StopWhen | None = None
    keep_state: bool = True
    #: Further evaluations of the target before this run; see `LogDensity`.
    before: int = 0
    #: The chains on the workers of an executor.
    sections: Sections | None = None
    join: Callable[[Chains], Chains] = lambda part: part

    def __post_init__(self) -> None:
        s = self.job.settings
        #: The walkers of an ensemble move together.
        self._coupled = self.sampler.n_points > 1
        self.total = s.n_chains // self.sampler.n_points * s.transition(s.n_draws)
        self._marks = self._meetings()
        self._mark = next(self._marks, None)
        #: Draws of each chain at the mark that the last slice has reached, 0 if it reached none.
        self._met = 0
        self._stopped_at = 0
        if self.sections is not None:
            self.sections.tick = self._tick
        self.settle()

    def _meetings(self) -> Iterator[tuple[int, dict[str, Any], int]]:
        """Yield the marks: the transition, the record up to it, and the draws to be checked.

        Marks that only bound the pages in memory have -1 for the draws.
        """
        s = self.job.settings
        every = s.n_draws if self.stop is None else self.stop.every
        at = 0
        for until, record in self.arrays.records():
            ends = [(until, s.n_draws if until > s.n_warmup else 0)]
            if until > s.n_warmup:
                ends = [*((s.transition(n), n) for n in range(every, s.n_draws, every)), *ends]
            step = self._step()
            for end, n in ends:
                yield from ((between, record, -1) for between in range(at + step, end, step))
                yield end, record, n
                at = end

    def _step(self) -> int:
        """Return the most transitions between two marks, so that few pages of files are mapped."""
        if self.arrays.folder is None:
            return 2**62
        row = sum(array.nbytes // max(array.shape[1], 1) for array in self.arrays.named().values())
        n_draws: int = max(_FILLED // max(row, 1), 1)
        return n_draws * self.job.settings.thin

    def advance(self, budget: Budget) -> BaseException | None:
        """Run for a while, at most up to the next mark."""
        assert self._mark is not None
        while self._mark[2] < 0 and self._mark[0] <= min(self._done):  # of a run that is resumed
            self._mark = next(self._marks)
        until, record, n_draws = self._mark
        error: BaseException | None = None
        if self.sections is not None:
            reached = self.sections.run(self.sampler, until, record, budget.seconds)
        else:
            reached, error = self.sampler.run(
                self.ports,
                until,
                record,
                budget.seconds,
                self.workers,
                self.total,
                self.report,
                DRIVER.get(),
            )
        self.settle()
        self._met = 0
        if reached and error is None:
            self._mark, self._met = next(self._marks, None), max(n_draws, 0)
        return error

    def _tick(self) -> None:
        """Report the progress of chains on workers."""
        done = sum(self.sampler.n_done)
        if self.report is not None and done < self.total:
            self.report(done, self.total)

    def is_enough(self) -> bool:
        """Return whether the draws meet `stop`, which is tested only at marks."""
        if self.stop is None or not self._met:
            return False
        if self.stop.met(self.arrays.shown(self._met), self._coupled):
            self._stopped_at = self._met
        return self._stopped_at > 0

    @property
    def is_watched(self) -> bool:
        """Whether the run has a view or a folder, so that its state must be published."""
        return super().is_watched or self.arrays.folder is not None

    def time_used(self) -> float:
        """Return the seconds of this call."""
        return self.elapsed - self.earlier

    def settle(self) -> None:
        """Read what a view needs from the core, which is busy while the chains run."""
        self._done = self.sampler.n_done
        self._skipped = self.sampler.n_skipped
        self._moves = self.sampler.n_moves
        self._evals = self.sampler.n_evals
        self._more_evals = self.job.target._more_evals - self.before
        if self.sections is not None:
            self._more_evals += self.sections.more_evals

    def done(self) -> int:
        """Return the number of transitions of all chains together."""
        return sum(self._done)

    def where(self) -> str:
        """Return the current transition of every chain."""
        low, high = min(self._done), max(self._done)
        which = f"{low}" if low == high else f"{low} to {high}"
        warmup = " (warm-up)" if low < self.job.settings.n_warmup else ""
        return f"while {len(self._done)} chains were at transition {which}{warmup}"

    def note(self) -> str:
        """Return R-hat and, for kernels that may diverge, the number of divergences."""
        n, names = self._n(), self.sampler.stat_names
        if n < 4:
            return ""
        notes = []
        draws = self.arrays.draws
        columns = min(draws.shape[2], max(_GLANCE // (n * len(draws)), 1))
        step = max(n * len(draws) * columns // _GLANCE, 1)
        some = np.ascontiguousarray(draws[:, :n:step, :columns])
        if len(draws) > 1 and some.shape[1] >= 4 and not self._coupled:
            rhat = _core.diagnostics_convergence(some, "rhat_rank", (0.0, 0.0), self.workers)
            notes.append(f"R-hat {np.max(rhat):.3f}")
        diverging = [i for i, name in enumerate(names) if name.endswith("diverging")]
        if diverging:
            notes.append(f"{int(np.sum(self.arrays.stats[:, :n, diverging]))} divergences")
        return ", ".join(notes)

    def on_slice(self) -> None:
        """Publish the draws on disk; with a checkpoint, writing it does so."""
        if self.checkpoint is None:
            self._publish("running")

    def save(self, status: str) -> None:
        """Write the index of the folder and the checkpoint."""
        self._publish(status)
        super().save(status)

    def discard(self) -> None:
        """Remove the checkpoint and the folder that the call has made."""
        super().discard()
        folder = self.arrays.folder
        if folder is not None and not folder.resumed:
            folder.discard()

    def _publish(self, status: str) -> None:
        """Write the index of the folder, with the filled lengths of the arrays."""
        folder = self.arrays.folder
        if folder is None:
            return
        n = self._n()
        if n:
            self.arrays.shown(n)
        folder.index(
            {
                **self._provenance(status),
                "n_draws": n,
                "n_warmup": self._n_warmed(),
                "names": list(self.job.names),
                "stat_names": self.sampler.stat_names,
                "n_points": self.sampler.n_points,
                "origin": self.origin.digest,
            }
        )
        folder.forget()

    def state(self) -> Mapping[str, Any]:
        """Return the state of the chains and the filled part of the arrays in memory.

        Draws on disk are written before the state that follows them.
        """
        n_evals = self.origin.n_evals + self._more_evals
        state = {"words": self.sampler.save(), **vars(self.origin), "n_evals": n_evals}
        folder = self.arrays.folder
        if folder is not None:
            folder.flush()
            return state
        return state | {f"array.{name}": array for name, array in self._filled().items()}

    def _filled(self) -> dict[str, Any]:
        """Return the filled part of the arrays in memory."""
        done, s = max(self.sampler.n_done), self.job.settings
        warmed = min(done, s.n_warmup) - self._skipped
        ends = {True: warmed, False: max(done - s.n_warmup, 0) // s.thin}
        return {
            name: array[:, : ends[name.startswith("warmup")]]
            for name, array in self.arrays.named().items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Refill the arrays; the chains have been restored before."""
        if self.arrays.folder is not None:
            return
        kernel = self.job.kernel
        # Exact draws, and compositions that may end with one, leave the density unknown.
        unknown = () if kernel.needs_density and kernel._moves_finitely else ("log_densities",)
        for name, array in self._filled().items():
            with self.decoding():
                finite = name in _FINITE and name not in unknown
                fit.require(state, {f"array.{name}": fit.array("f", *array.shape, finite=finite)})
                array[...] = state[f"array.{name}"]

    def _n_warmed(self) -> int:
        """Return the number of transitions of the warm-up that all chains have made."""
        return min(min(self._done), self.job.settings.n_warmup) - self._skipped

    def _n(self) -> int:
        """Return the number of draws that all chains have."""
        if self._stopped_at:
            return self._stopped_at
        s = self.job.settings
        return max(min(self._done) - s.transition(self.arrays.first), 0) // s.thin

    def show(self) -> None:
        """Let the view make its result on demand, since that copies all draws."""
        self.view.show(self._peek)

    def _peek(self) -> Chains | None:
        """Return the draws so far while the chains continue."""
        n = self._n()
        return self.join(self._sample(n, "running", copy=True)) if n else None

    def salvage(self) -> Chains | None:
        """Return the draws at the end of the last slice."""
        return self.snapshot("interrupted") if self._n() else None

    def snapshot(self, status: str) -> Chains | None:
        """Return the draws that all chains have, for a complete run with its state."""
        n, job = self._n(), self.job
        more: dict[str, Any] = {}
        if status != "complete":
            if n == 0:
                return self._warming_up() if status == "interrupted" else None
            return self.join(self._sample(n, status))
        if n == 0:
            raise BudgetExhausted(
                f"max_time: {self.max_time:g} s ended the run after {min(self._done)} of "
                f"{job.settings.n_warmup} transitions of warm-up, before the first draw; give "
                "more time, or a shorter warm-up"
            )
        more["adaptation"] = adaptation(self.sampler.adaptation(), job.target.dim)
        end = self.arrays.first + n
        if self.keep_state and set(self._done) == {job.settings.transition(end)}:
            words, n_evals = self.sampler.save(), self.origin.n_evals + self._more_evals
            more["_state"] = {"words": words, "n_evals": n_evals, "n_draws": end}
        result = self._sample(n, status, **more)
        object.__setattr__(result, "_job", job)
        return self.join(result)

    def _warming_up(self) -> Chains | None:
        """Return the current points of the chains during the warm-up; no sample of the target."""
        n, job, arrays = min(self._done), self.job, self.arrays
        if n == 0 or arrays.first:
            return None
        kept = self._n_warmed()
        n_points, names = self.sampler.n_points, self.sampler.stat_names
        x, log_densities = self.sampler.points()
        more: dict[str, Any] = {}
        if arrays.warmup_stats is not None and arrays.warmup_draws is not None:
            more["warmup_stats"] = statistics(names, arrays.warmup_stats[:, :kept], n_points)
            more["warmup_draws"] = job.shown(arrays.warmup_draws[:, :kept])
        return Chains(
            **self._provenance("interrupted"),
            draws=job.shown(x[:, None]),
            log_densities=known(log_densities[:, None]),
            **job.labelled(),
            error_model="chains",
            adaptation=adaptation(self.sampler.adaptation(), job.target.dim),
            warnings=(
                f"interrupted after {n} transitions, in a warm-up of {job.settings.n_warmup}: the "
                f"draws are the last points of the chains, not a sample of the target",
            ),
            **more,
        )

    def _provenance(self, status: str) -> dict[str, Any]:
        settings = {**self.job.settings.to_dict(), **self.job.kernel._settings()}
        del settings["early"]
        settings["n_warmup"] -= self._skipped
        if self.job.space is not None:
            settings["transforms"] = self.job.space._space
            settings[OTHER_SPACE] = "of unconstrained points"
        settings |= bounds_setting(self.job.support())
        moved = [self.job.first + i for i, n in enumerate(self._moves) if n]
        if moved:
            settings["moved_chains"] = moved
        if self.sampler.is_biased:
            settings["bias"] = "discretisation"
        if self.stop is not None:
            settings["stop"] = repr(self.stop)
        if self.max_time is not None:
            settings["max_time"] = self.max_time
        return {
            "seed": self.job.key,
            "version": _core.__version__,
            "isa": _core.isa_level,
            "settings": settings,
            "n_evals": self.origin.n_evals + self._evals[0] + self._more_evals,
            "wall_time": self.elapsed,
            "status": "interrupted" if self.timed_out else status,
        }

    def _sample(self, n: int, status: str, copy: bool = False, **more: Any) -> Chains:
        """Return the first `n` draws of every chain."""
        job, arrays, names = self.job, self.arrays, self.sampler.stat_names
        n_points = self.sampler.n_points
        draws = job.shown(arrays.draws[:, :n]) if copy else self.arrays.shown(n)
        gradients = None if arrays.gradients is None else arrays.gradients[:, :n]
        log_densities = known(arrays.log_densities[:, :n])
        if copy:
            draws = draws.copy()
            log_densities = None if log_densities is None else log_densities.copy()
            gradients = None if gradients is None else gradients.copy()
        if arrays.warmup_stats is not None and arrays.warmup_draws is not None:
            kept = self._n_warmed()
            more["warmup_stats"] = statistics(names, arrays.warmup_stats[:, :kept], n_points)
            more["warmup_draws"] = job.shown(arrays.warmup_draws[:, :kept])
        known_finite = status == "interrupted" and job.kernel._moves_finitely
        with finite_draws() if known_finite else nullcontext():
            made = Chains(
                **self._provenance(status),
                draws=draws,
                log_densities=log_densities,
                gradients=gradients,
                **job.labelled(),
                error_model="chains",
                stats=statistics(names, arrays.stats[:, :n], n_points),
                **more,
            )
        if job.model is not None:
            object.__setattr__(made, "_source", (job.model, arrays.draws[:, :n]))
        return made

    def findings(self, result: Chains) -> list[Finding]:
        """Return the warnings of the run and of its draws."""
        found: list[Finding] = []
        n, refused = self._evals
        n_drawn, failed, outside = self.sampler.sampling_evals
        when = ""
        if refused <= _MOST_REFUSED * n:
            n, refused, when = n_drawn, failed, " after the warm-up"
        if refused > _MOST_REFUSED * n or failed > max(_MOST_FAILED * n_drawn, _FEW):
            said = self.job.target._complaint
            low = f", and at {outside} it was -inf" if when and outside else ""
            found.append(
                (
                    ConvergenceWarning,
                    f"at {refused} of {n} points{when} the target failed or gave NaN{low}; these "
                    "counted as points of zero density, and trajectories that met them as "
                    "divergent; give -inf where the density is 0, and look for overflows "
                    f"elsewhere{f' (last message: {said})' if said else ''}",
                )
            )
        if failed + outside and self.job.space is None:
            found += tolerant(self._bounds, result)
        for check in (self._jumps, self._biases):
            found += tolerant(check, result)
        lost = [self.job.first + i for i in self.sampler.left_out]
        if lost:
            found.append(
                (
                    ConvergenceWarning,
                    f"chains {', '.join(map(str, lost))}: at the end of the warm-up their "
                    "log-densities were far below those of the others. They have not converged, "
                    "and the metric and the step size were adapted without them; do not use their "
                    "draws; give other starts (init=) or a longer warm-up",
                )
            )
        s = self.job.settings
        if self.timed_out:
            found.append(
                (
                    ConvergenceWarning,
                    f"max_time: the run ended after {self.max_time:g} s with {self._n()} of "
                    f"{s.n_draws} draws of each chain; the length of a run that ends by time is "
                    f"not reproducible",
                )
            )
        elif self.stop is not None and not self.stopped:
            missed = self.stop.missed(self.arrays.shown(self._n()), self._coupled)
            found.append((ConvergenceWarning, missed))
        with threads(self.workers):
            return found + tolerant(findings, result)

    def _biases(self, result: Chains) -> list[Finding]:
        """Look for the bias of a kernel without an accept step."""
        n, dim = self._n(), self.job.target.dim
        used = self.job.kernel._uses_gradient(dim, self.job.oracles())
        if not (self.sampler.is_biased and used.any() and n >= MIN_DRAWS):
            return []
        of, slopes = self.arrays.draws[:, :n], self.arrays.gradients
        most = of.size if slopes is not None else dim * int(_MOST_JUDGED * result.n_evals)
        some = slice(None, n, max(-(-of.size // max(min(_JUDGED, most), 1)), 1))
        draws = np.array(of[:, some])
        if slopes is None:
            _, found = self.job.target._tolerantly(draws.reshape(-1, dim), True)
            assert found is not None
            object.__setattr__(result, "n_evals", result.n_evals + len(found))
            gradients = found.reshape(draws.shape)
        else:
            gradients = np.array(slopes[:, some])
        labels = [result._labels[j] for j in np.flatnonzero(used)]
        return biases(draws[..., used], gradients[..., used], labels)

    def _jumps(self, result: Chains) -> list[Finding]:
        """Look for jumps of the log-density if trajectories were too long for the tree."""
        depths = [of for name, of in result.stats.items() if name.endswith("reached_max_depth")]
        if not depths or max(of.mean() for of in depths) <= _MOST_DEEP:
            return []
        if jumps.N_EVALS > _MOST_PROBED * result.n_evals:
            return []
        draws = self.arrays.draws[:, : self._n()].reshape(-1, self.job.target.dim)
        share = jumps.share_with_jumps(self.job.target, draws, subkey(self.job.key, _JUMPS))
        object.__setattr__(result, "n_evals", result.n_evals + jumps.N_EVALS)
        if share < _JUMPING:
            return []
        return [
            (
                ConvergenceWarning,
                f"on {100 * share:.0f} % of {jumps.N_STARTS} trajectories the energy error did not "
                "fall with the step size: the log-density has jumps there, or its gradient is "
                "wrong. The steps become tiny and the trees deep; use a kernel without gradients "
                "(Slice, RWM, DE), or make the log-density continuous",
            )
        ]

    def _bounds(self, result: Chains) -> list[Finding]:
        """Look for boundaries of the density if trajectories diverged and left its support."""
        diverging = [of for name, of in result.stats.items() if name.endswith("diverging")]
        if not diverging or max(of.mean() for of in diverging) <= _MOST_DIVERGENT:
            return []
        most = int(_MOST_PROBED * result.n_evals)
        points = result.draws.reshape(-1, result.dim)
        advice, n_evals = boundaries.at_draws(self.job.target, points, self.job.names, most)
        object.__setattr__(result, "n_evals", result.n_evals + n_evals)
        return [(ConvergenceWarning, f"trajectories left the support: {advice}")] if advice else []
