"""The run loop of token optimisation: blocks of paths, and the tokens that follow them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.ask import ask
from fermiac.errors import ArgumentError, CheckpointError, DivergedError
from fermiac.runs.loop import Budget, RunLoop
from fermiac.walks.job import Job
from fermiac.walks.run import identity_of, restore_walkers, state_of, walk_to
from fermiac.walks.token_result import PLACES, OptimizeResult

__all__ = ["KIND", "Before", "Callback", "Judge", "TokenLoop", "before_of"]

Array = NDArray[np.float64]
Callback: TypeAlias = Callable[[int, Array], object]
Judge: TypeAlias = Callable[[Array], Array]

#: The kind of the checkpoints of `fermiac.walks.optimize`.
KIND = "optimisation"
#: Nodes of paths that are drawn ahead, at most.
_AHEAD = 2**16


class Before(NamedTuple):
    """The end of an earlier run."""

    done: int
    seed: int | None
    identity: str
    arrays: Mapping[str, Any]


def before_of(state: Any) -> Before:
    """Return the parts of the argument ``state``."""
    if state is None:
        return Before(0, None, "", {})
    names = ("n_steps", "seed", "identity", "arrays")
    if not isinstance(state, Mapping) or set(state) != set(names):
        raise ArgumentError(
            f"state: a {type(state).__name__} was given; the state of an OptimizeResult is needed"
        )
    return Before(*(state[name] for name in names))


@dataclass(eq=False, repr=False)
class TokenLoop(RunLoop[OptimizeResult]):
    """The run loop of token optimisation: walkers draw paths ahead, and tokens follow them."""

    loss: Any
    job: Job
    tokens: _core.Tokens
    _: KW_ONLY
    settings: dict[str, Any]
    every: int
    n_steps: int
    local_steps: int
    callback: Callback | None
    callback_every: int
    judge: Judge | None
    before: Before
    workers: int

    def __post_init__(self) -> None:
        theta, job, every, n_steps = self.tokens.theta(), self.job, self.every, self.n_steps
        self.most_steps = max(_AHEAD // len(theta), 1)
        self.steps = min(256, self.most_steps)
        self.total = job.n_walkers * job.n_steps
        self._walkers = job.walkers()
        self._start = job.n_steps - n_steps
        # The last step is recorded in addition if it is not a multiple of the interval.
        self._trace = np.empty((len(theta), -(-n_steps // every) + 1, theta.shape[1]))
        #: Paths that tokens follow, and the step before them.
        self._kind = np.uint32 if job.graph.n_nodes <= 2**32 else np.uint64
        self._paths: NDArray[Any] = np.empty((len(theta), 0), dtype=self._kind)
        self._path_start = self._start
        if self.checkpoint is not None:
            self.checkpoint.begin(json.loads(self._identity()))
        if self.before.arrays:
            self._require_same_run(self._identity_before())
            try:
                fit.record(PLACES)(self.before.arrays, self._sizes())
                self._place(self.before.arrays)
            except fit.Misfit as misfit:
                raise ArgumentError(f"state: it does not fit this run: {misfit}") from None
        self._trace[:, 0] = self.tokens.theta()

    def _identity_before(self) -> dict[str, Any]:
        """Return the identity of the earlier run."""
        try:
            found = json.loads(self.before.identity)
        except (TypeError, ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ArgumentError("state: its identity is that of no run")
        return found

    def _require_same_run(self, there: dict[str, Any]) -> None:
        here = json.loads(self._identity())
        for name in [*here, *there]:
            if here.get(name) != there.get(name):
                raise ArgumentError(
                    f"state: it belongs to another run: its {name} is {there.get(name)!r}, that of "
                    f"this call is {here.get(name)!r}"
                )

    def _identity(self) -> str:
        """Return the identity of a run, in JSON."""
        identity = {**identity_of(self.job, None), **self.settings}
        for name in ("step_exponent", "record", "burn_in", "thin", "restart", "on_stuck"):
            del identity[name]
        if self.checkpoint is None:
            del identity["record_every"]
        return json.dumps(identity)

    def done(self) -> int:
        """Return the number of steps of all tokens."""
        return self.job.n_walkers * self.tokens.n_done

    def is_enough(self) -> bool:
        """Return whether the callback ends the run."""
        done = self.tokens.n_done
        if self.callback is None or done % self.callback_every:
            return False
        arguments = done, self.tokens.theta()  # a new array
        return ask(self.callback, arguments, "callback", self.where(), fresh=True) is True

    def where(self) -> str:
        """Return the number of steps so far."""
        return f"after {self.tokens.n_done} steps"

    def advance(self, budget: Budget) -> BaseException | None:
        """Let the tokens follow their paths to the end; first draw new paths if necessary."""
        done = self.tokens.n_done
        if done == self._path_start + self._paths.shape[1]:
            self._draw(done, budget.steps)
        error = self.tokens.run(
            self.loss,
            self._paths,
            self._path_start,
            self._trace,
            self._start,
            self.every,
            self.workers,
            self.total,
            self.report,
        )
        if error is None or self.tokens.lost is None:
            return error
        diverged = DivergedError(str(error))
        diverged.step, diverged.token, diverged.node = self.tokens.lost
        return diverged

    def _draw(self, done: int, steps: int) -> None:
        """Draw the next part of the paths."""
        steps = min(steps, self.job.n_steps - done)
        if self.callback is not None:
            steps = min(steps, self.callback_every - done % self.callback_every)
        paths = np.empty((self.job.n_walkers, steps), dtype=self._kind)
        how = (done + steps, paths, done + 1, 1, self.workers, self.total)
        error = walk_to(self._walkers, *how, None)
        self._paths, self._path_start = paths, done
        if error is not None:
            raise error

    def _place(self, arrays: Mapping[str, Any]) -> None:
        """Restore walkers and tokens."""
        restore_walkers(self._walkers, arrays["walkers"], self._sizes())
        self.tokens.load(arrays["tokens"])
        self._paths = np.ascontiguousarray(arrays["paths"], dtype=self._kind)
        self._path_start = self.tokens.n_done
        ahead = self._walkers.n_done - self._path_start
        if ahead != self._paths.shape[1]:
            raise ArgumentError(
                f"state: its walkers are {ahead} steps ahead of the tokens, with paths of "
                f"{self._paths.shape[1]}"
            )

    def _sizes(self) -> fit.Sizes:
        """Return the sizes of a state."""
        n = self.job.n_walkers
        return {"nodes": self.job.graph.n_nodes, "walkers": n, "tokens": n}

    def _arrays(self) -> dict[str, Any]:
        """Return the states of walkers and tokens; walkers are ahead by the paths."""
        ahead = self._paths[:, self.tokens.n_done - self._path_start :]
        return {
            "walkers": state_of(self._walkers),
            "tokens": self.tokens.save(),
            "paths": np.ascontiguousarray(ahead),
        }

    def state(self) -> dict[str, Any]:
        """Return walkers, tokens, and the trace so far."""
        return {**self._arrays(), "trace": self._filled()[1]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another loop."""
        with self.decoding():
            fit.require(state, PLACES, self._sizes())
            done = int(state["tokens"][0])
        if done > self.job.n_steps:
            path = "" if self.checkpoint is None else f"{self.checkpoint.path}: "
            raise CheckpointError(
                f"{path}its tokens have made {done} steps, more than the {self.job.n_steps} of "
                "this call; give n_steps= at least as large as before"
            )
        with self.decoding():
            self._place(state)
            n = (self.tokens.n_done - self._start) // self.every + 1
            shape = (len(self._trace), n, self._trace.shape[2])
            fit.require(state, {"trace": fit.array("f", *shape)})
            self._trace[:, :n] = state["trace"]

    def _filled(self) -> tuple[NDArray[np.int64], Array]:
        """Return the steps that are recorded, and the parameters after them."""
        done = self.tokens.n_done - self._start
        n = done // self.every + 1
        return self._start + np.arange(n) * self.every, self._trace[:, :n]

    def snapshot(self, status: str) -> OptimizeResult:
        """Return parameters and trace so far; for a complete run with its warnings."""
        job, tokens = self.job, self.tokens
        done = tokens.n_done
        thetas, averages = tokens.theta(), tokens.mean()
        steps, trace = self._filled()
        if steps[-1] < done:
            steps = np.append(steps, done)
            trace = np.concatenate([trace, thetas[:, None]], axis=1)
        elif status == "running":
            trace = trace.copy()
        losses = objective = None
        if self.judge is not None and status == "complete":
            losses = self.judge(trace.reshape(-1, trace.shape[2])).reshape(trace.shape[:2])
            best = (averages if len(averages) else thetas).mean(axis=0)
            objective = float(self.judge(best[None])[0])
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
                **self.settings,
                "n_tokens": job.n_walkers,
                "n_steps": self.n_steps,
            },
            n_evals=job.n_walkers * (done - self._start) * self.local_steps,
            wall_time=self.elapsed,
            status=status,
            thetas=thetas,
            averages=averages if len(averages) else None,
            visits=self._visits(arrays["walkers"]),
            n_steps=done,
            trace_steps=steps,
            trace_theta=trace,
            trace_loss=losses,
            state=state,
            objective=objective,
        )

    def _visits(self, walkers: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Return the visits of the tokens, without the steps that walkers have drawn ahead."""
        n = self.job.graph.n_nodes
        if "indptr" in walkers:
            # Exact: counts are far below 2**53.
            visits = np.bincount(walkers["nodes"], walkers["counts"], n).astype(np.int64)
        else:
            totals = self._walkers.totals()
            assert totals is not None
            visits = totals.astype(np.int64)
        ahead = self._paths[:, self.tokens.n_done - self._path_start :]
        return np.asarray(visits - np.bincount(ahead.reshape(-1).astype(np.int64), minlength=n))
