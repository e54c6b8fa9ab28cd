"""The pilot run before a run on a surrogate, which trains it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fermiac.errors import ArgumentError, NumericalError
from fermiac.nested.run import NestedLoop
from fermiac.nested.surrogate.accuracy import draw, judge
from fermiac.nested.surrogate.models import Model, train
from fermiac.nested.surrogate.work import Refused, Work

__all__ = ["Pilot"]

#: Trainings after the first, each on twice the points.
_RETRAININGS = 3


class Pilot:
    """A short run with the likelihood; its points are the training set of the surrogate."""

    def __init__(self, work: Work) -> None:
        self._work = work
        job, options = work.job, work.options
        dim = job.dim
        self._n_runs = 0
        n_live = options.pilot_live or min(job.n_live, max(50, 12 * dim))
        self._settings: dict[str, Any] = {
            "n_live": n_live,
            "batch": max(1, n_live // 8),
            "dlogz": float(options.start_dlogz),
            "max_evals": options.pilot_evals,
            "max_iter": None,
        }
        self._n_trainings = 0
        with work.stage("pilot", "n_pilot"):
            self._begin()

    def _begin(self) -> None:
        self._n_runs += 1
        work = self._work
        changes = {**self._settings, "key": work.key(self._n_runs)}
        self._loop: NestedLoop = work.loop(work.truth._handle, changes)
        self._advance()

    def _advance(self) -> None:
        self._loop.run_to_end()
        if self._loop.timed_out:
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
                state = self._loop.info
                if state["status"] == "plateau" or state["remaining"] < work.job.dlogz:
                    self._settings |= {"dlogz": work.job.dlogz, "max_evals": missing}
                    self._begin()
                else:
                    limit = state["n_evals"] + missing
                    self._loop.prolong(work.job.dlogz, limit, 2**62)
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
