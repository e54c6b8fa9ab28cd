"""The stages before a run on a surrogate: the genetic search, and the pilot that trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ArgumentError, ConvergenceWarning, NumericalError
from fermiac.nested.result import NestedResult
from fermiac.nested.run import NestedLoop
from fermiac.nested.surrogate.accuracy import draw, judge
from fermiac.nested.surrogate.models import Model, Region, train
from fermiac.nested.surrogate.work import Finding, Refused, Work

__all__ = ["Pilot", "Search", "search"]

Array = NDArray[np.float64]
#: A mode was missed if a point is this many nats above the best of the run.
_MISSED = 2.0
#: Trainings after the first, each on twice the points.
_RETRAININGS = 3


@dataclass(frozen=True)
class Search:
    """The outcome of a genetic search: points of the last generation, and the best of all."""

    elite: Array
    best: Array
    top: float

    def findings(self, result: NestedResult) -> list[Finding]:
        """Return a warning if a run missed the mode that the search found."""
        assert result.log_densities is not None
        assert result.unit_draws is not None
        ell = result.log_densities
        last = np.argsort(ell)[-result.n_live :]
        text = f"a genetic algorithm found a log-likelihood of {self.top:.6g}"
        if self.top > ell.max() + _MISSED:
            text += f", and the run none above {ell.max():.6g}"
        elif self.top > ell[last].min() and not Region(result.unit_draws[last], ell[last]).holds(
            self.best[None]
        ):
            text += ", outside of the region that the run ended in"
        else:
            return []
        text += f": a mode was missed, at u = {self.best[:6]}; raise n_live"
        return [(ConvergenceWarning, text)]


def search(work: Work) -> Search:
    """Return points of high likelihood, on which the surrogate may be trained too."""
    truth = work.truth
    with work.stage("genetic", "n_genetic"):
        found = _core.nested_maximize(truth.at, work.job.dim, {}, work.key(80))
    if work.options.init_use != "training":
        truth.forget()
    u, ell = found["elite_u"], found["elite_ell"]
    good = ell > ell.max() - 0.5 * work.job.dim - 10.0
    return Search(elite=u[good], best=u[int(np.argmax(ell))], top=float(ell.max()))


class Pilot:
    """A short run with the likelihood; its points are the training set of the surrogate."""

    def __init__(self, work: Work) -> None:
        self._work = work
        job, options = work.job, work.options
        dim = job.dim
        self.n_runs = 0
        self._settings: dict[str, Any] = {
            "dlogz": float(options.start_dlogz),
            "max_evals": options.pilot_evals,
            "max_iter": None,
        }
        if options.mode == "two-pass":
            n_live = options.pilot_live or min(job.n_live, max(50, 12 * dim))
            self._settings |= {"n_live": n_live, "batch": max(1, n_live // 8)}
        self._n_trainings = 0
        with work.stage("pilot", "n_pilot"):
            self._begin()

    def _begin(self) -> None:
        self.n_runs += 1
        work = self._work
        changes = {**self._settings, "key": work.key(self.n_runs)}
        self.loop: NestedLoop = work.loop(work.truth._handle, changes)
        self._advance()

    def _advance(self) -> None:
        self.loop.run_to_end()
        if self.loop.timed_out:
            raise Refused("max_time ended the pilot")

    def _collect(self, model: Model | None) -> None:
        """Double the known points; half of the new ones are draws from the surrogate."""
        work = self._work
        n = work.truth.n_known
        wanted = 2 * n
        if model is not None:
            with work.stage("pilot", "n_pilot"):
                key = work.key(60 + self._n_trainings)
                fresh = draw(model, work.truth, work.job, key, work.workers, n // 2)
                if fresh is not None:
                    work.truth.at(fresh.u)
        with work.stage("pilot", "n_pilot"):
            while work.truth.n_known < wanted:
                missing = wanted - work.truth.n_known
                state = self.loop.info
                if state["status"] == "plateau" or state["remaining"] < work.job.dlogz:
                    self._settings |= {"dlogz": work.job.dlogz, "max_evals": missing}
                    self._begin()
                else:
                    limit = state["n_evals"] + missing
                    self.loop.prolong(work.job.dlogz, limit, 2**62)
                    self._advance()

    def trained(self, again: bool = False) -> Model:
        """Return a surrogate that passed the test at fresh points."""
        work = self._work
        reason, model = "", None
        for attempt in range(1 if again else 1 + _RETRAININGS):
            if attempt:
                self._collect(model)
            self._n_trainings += 1
            number = self._n_trainings
            try:
                with work.stage("training"):
                    model, n = train(work.options, work.truth, work.key(10 + number), work.workers)
                with work.stage("gate", "n_gate"):
                    key = work.key(20 + number)
                    gate = judge(model, work.truth, work.job, work.options, key, work.workers)
            except (ArgumentError, NumericalError) as error:
                reason = str(error)
                continue
            finally:
                work.told["n_trainings"] = number
            passed = gate.pop("passed")
            work.told |= {"n_points": n, "architecture": model.architecture, "gate": gate}
            if passed:
                return model
            sd, tail = (gate.get(name, np.nan) for name in ("sd", "tail"))
            reason = (
                f"its errors at fresh points have a standard deviation of {sd:.2g} nats and a tail "
                f"of {tail:.2g} after {number} training{'s' if number > 1 else ''}"
            )
        raise Refused(reason)
