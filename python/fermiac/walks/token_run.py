"""The course of a token optimisation: blocks of paths, and the tokens that follow them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import store
from fermiac._base.progress import Report, finish
from fermiac.errors import ArgumentError, DivergedError, FermiacError, InternalError
from fermiac.runs.checkpoint import Checkpoint, Kept
from fermiac.walks.checkpoint import identity_of
from fermiac.walks.job import Job
from fermiac.walks.run import restore, state_of
from fermiac.walks.token_result import OptimizeResult

__all__ = ["Before", "Callback", "Judge", "Keeper", "TokenRun", "before_of"]

Array = NDArray[np.float64]
Callback: TypeAlias = Callable[[int, Array], object]
Judge: TypeAlias = Callable[[Array], Array]

#: Nodes of paths that are drawn ahead, and seconds that a block takes at most, about.
_AHEAD = 2**16
_SLICE = 0.2
#: Seconds between two reports of progress.
_REPORT = 0.1


class Before(NamedTuple):
    """Where an earlier run ended."""

    done: int
    seed: int | None
    identity: str
    arrays: Mapping[str, Any]


def before_of(state: Any) -> Before:
    """Take ``state=`` apart."""
    if state is None:
        return Before(0, None, "", {})
    names = ("n_steps", "seed", "identity", "arrays")
    if not isinstance(state, Mapping) or set(state) != set(names):
        raise ArgumentError(
            f"state: a {type(state).__name__} was given; the state of an OptimizeResult is needed"
        )
    return Before(*(state[name] for name in names))


class Keeper(Kept):
    """The checkpoint of an optimisation."""

    def __init__(self, given: Checkpoint | str | PathLike[str]) -> None:
        super().__init__(given, "optimisation")

    def kept(self) -> tuple[float, dict[str, Any]]:
        """Seconds that were spent before, and the arrays of the run that is resumed."""
        arrays = store.decode(self._node["arrays"], self._tensors, str(self.path))
        self._tensors = {}
        return float(self._node["elapsed"]), arrays

    def write(self, arrays: Mapping[str, Any], elapsed: float) -> None:
        """Write the file."""
        start = time.monotonic()
        tensors: store.Tensors = {}
        encoded = store.encode(dict(arrays), tensors)
        self.put(start, tensors, elapsed=elapsed, arrays=encoded)


class TokenRun:
    """One run, from where walkers and tokens stand to the end."""

    def __init__(
        self,
        loss: Any,
        job: Job,
        tokens: _core.Tokens,
        *,
        settings: dict[str, Any],
        every: int,
        n_steps: int,
        local_steps: int,
        callback: Callback | None,
        callback_every: int,
        keeper: Keeper | None,
        keep_state: bool,
        workers: int,
        begun: float,
    ) -> None:
        self._loss = loss
        self._job = job
        self._walkers = job.walkers()
        self._tokens = tokens
        self._settings = settings
        self._every = every
        self._local_steps = local_steps
        self._callback = callback
        self._callback_every = callback_every
        self._keeper = keeper
        self._keep_state = keep_state
        self._workers = workers
        self._begun = self._reported = begun
        self._elapsed = 0.0
        self._first, self._end = job.n_steps - n_steps, job.n_steps
        theta = tokens.theta()
        # The last step has a record of its own where it is none of the others.
        self._trace = np.empty((len(theta), -(-n_steps // every) + 1, theta.shape[1]))
        self._trace[:, 0] = theta
        #: Paths that tokens follow, and the step before them.
        self._kind = np.uint32 if job.graph.n_nodes <= 2**32 else np.uint64
        self._paths: NDArray[Any] = np.empty((len(theta), 0), dtype=self._kind)
        self._before = self._first
        self._block = max(min(256, _AHEAD // len(theta)), 1)

    def restore(self, before: Before) -> None:
        """Go on from where another run of the same identity ended."""
        here, there = json.loads(self._identity()), json.loads(before.identity)
        for name in [*here, *there]:
            if here.get(name) != there.get(name):
                raise ArgumentError(
                    f"state: it belongs to another run: its {name} is {there.get(name)!r}, that of "
                    f"this call is {here.get(name)!r}"
                )
        self._take(before.arrays)
        self._trace[:, 0] = self._tokens.theta()

    def run(self, report: Report | None, judge: Judge | None) -> OptimizeResult:
        """Run to the end."""
        try:
            self._resume()
            stopped = False
            while self._tokens.n_done < self._end and not stopped:
                stopped = self._go(report)
            self._save()
            result = self._result("complete", judge)
        except BaseException as error:
            self._leave(error)
            raise
        finish(report, self._total, result)
        return result

    @property
    def _total(self) -> int:
        return self._job.n_walkers * self._end

    def _resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        keeper = self._keeper
        if keeper is None:
            return
        keeper.begin(json.loads(self._identity()))
        if not keeper.resumed:
            return
        self._elapsed, arrays = keeper.kept()
        trace = arrays.pop("trace")
        done = int(arrays["tokens"][0])
        if done > self._end:
            raise ArgumentError(
                f"n_steps: {self._end} given, and the tokens of {keeper.path} have made {done} "
                "steps; give as many at least"
            )
        self._take(arrays)
        self._trace[:, : trace.shape[1]] = trace

    def _identity(self) -> str:
        """What makes a run the same run, in JSON."""
        identity = {**identity_of(self._job, None), **self._settings}
        for name in ("step_exponent", "record", "burn_in", "thin", "restart", "on_stuck"):
            del identity[name]
        if self._keeper is None:
            del identity["record_every"]
        return json.dumps(identity)

    def _take(self, arrays: Mapping[str, Any]) -> None:
        restore(self._walkers, arrays["walkers"])
        self._tokens.load(arrays["tokens"])
        self._paths = np.ascontiguousarray(arrays["paths"])
        self._before = self._tokens.n_done

    def _arrays(self) -> dict[str, Any]:
        """Where walkers and tokens are; walkers are ahead by the paths."""
        ahead = self._paths[:, self._tokens.n_done - self._before :]
        return {
            "walkers": state_of(self._walkers),
            "tokens": self._tokens.save(),
            "paths": np.ascontiguousarray(ahead),
        }

    def _go(self, report: Report | None) -> bool:
        """One block; whether the callback ends the run."""
        done = self._tokens.n_done
        if done == self._before + self._paths.shape[1]:
            self._draw(done)
        begun = time.perf_counter()
        error = self._tokens.run(
            self._loss,
            self._paths,
            self._before,
            self._trace,
            self._first,
            self._every,
            self._workers,
            self._total,
            report,
        )
        if error is not None:
            raise self._placed(error)
        done = self._tokens.n_done
        now = time.perf_counter()
        if now - begun < _SLICE / 4:
            self._block = min(2 * self._block, max(_AHEAD // self._job.n_walkers, 1))
        elif now - begun > _SLICE:
            self._block = max(self._block // 2, 1)
        if self._keeper is not None and self._keeper.wait() == 0:
            self._save()
        if report is not None and now - self._reported > _REPORT:
            self._reported = now
            report(self._job.n_walkers * done, self._total)
        if self._callback is None or done % self._callback_every:
            return False
        return self._callback(done, self._tokens.theta()) is True

    def _draw(self, done: int) -> None:
        """Draw the paths of the next block."""
        steps = min(self._block, self._end - done)
        if self._callback is not None:
            steps = min(steps, self._callback_every - done % self._callback_every)
        paths = np.empty((self._job.n_walkers, steps), dtype=self._kind)
        how = (done + steps, paths, done + 1, 1, None, self._workers, self._total)
        reached, error = self._walkers.run(*how)
        if error is not None and not reached and not isinstance(error, InternalError):
            # All walkers come to the end of the block, which takes a moment.
            reached, second = self._walkers.run(*how)
            error = error if second is None else second
        if reached:
            self._paths, self._before = paths, done
        if error is not None:
            raise error

    def _placed(self, error: BaseException) -> BaseException:
        """The error, with where it was if parameters diverged."""
        if self._tokens.lost is None:
            return error
        diverged = DivergedError(str(error))
        diverged.step, diverged.token, diverged.node = self._tokens.lost
        return diverged

    def _save(self) -> None:
        """Write the checkpoint."""
        if self._keeper is not None:
            arrays = {**self._arrays(), "trace": self._filled()[1]}
            self._keeper.write(arrays, self._spent())

    def _spent(self) -> float:
        return self._elapsed + time.perf_counter() - self._begun

    def _leave(self, error: BaseException) -> None:
        """Keep what there is, when an error ends the run."""
        done = self._tokens.n_done
        if not isinstance(error, FermiacError | KeyboardInterrupt):
            error.add_note(f"raised after {done} steps")
        partial = None
        try:
            if not isinstance(error, InternalError):
                partial = self._result("interrupted", None)
                if done > self._first:
                    self._save()
        except Exception as failure:
            error.add_note(f"and what the run had could not be kept: {failure}")
        error.partial_result = partial  # type: ignore[attr-defined]

    def _filled(self) -> tuple[NDArray[np.int64], Array]:
        """The steps that are recorded, and the parameters after them."""
        done = self._tokens.n_done - self._first
        n = done // self._every + 1
        return self._first + np.arange(n) * self._every, self._trace[:, :n]

    def _result(self, status: str, judge: Judge | None) -> OptimizeResult:
        job, tokens = self._job, self._tokens
        done = tokens.n_done
        thetas, averages = tokens.theta(), tokens.mean()
        steps, trace = self._filled()
        if steps[-1] < done:
            steps = np.append(steps, done)
            trace = np.concatenate([trace, thetas[:, None]], axis=1)
        losses = None
        if judge is not None:
            losses = judge(trace.reshape(-1, trace.shape[2])).reshape(trace.shape[:2])
        arrays = self._arrays()
        state = {"n_steps": done, "seed": job.key, "identity": self._identity(), "arrays": arrays}
        shown = ("kernel", "base", "alpha", "weights", "pseudo_counts", "history", "n_nodes")
        walk = job.to_dict()
        return OptimizeResult(
            seed=job.key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings={
                **{name: walk[name] for name in shown},
                **self._settings,
                "n_tokens": job.n_walkers,
                "n_steps": self._end - self._first,
            },
            n_evals=job.n_walkers * (done - self._first) * self._local_steps,
            wall_time=self._spent(),
            status=status,
            thetas=thetas,
            averages=averages if len(averages) else None,
            visits=self._visits(arrays["walkers"]),
            n_steps=done,
            trace_steps=steps,
            trace_theta=trace,
            trace_loss=losses,
            state=state if self._keep_state else None,
        )

    def _visits(self, walkers: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """What tokens have visited, without what their walkers have drawn ahead."""
        n = self._job.graph.n_nodes
        if "indptr" in walkers:
            # Exact: counts are far below 2**53.
            visits = np.bincount(walkers["nodes"], walkers["counts"], n).astype(np.int64)
        else:
            totals = self._walkers.totals()
            assert totals is not None
            visits = totals.astype(np.int64)
        ahead = self._paths[:, self._tokens.n_done - self._before :]
        return np.asarray(visits - np.bincount(ahead.reshape(-1).astype(np.int64), minlength=n))
