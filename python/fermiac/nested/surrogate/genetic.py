"""A genetic algorithm that looks for high likelihoods before a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ConvergenceWarning
from fermiac.nested.result import Nested
from fermiac.nested.surrogate.models import Region
from fermiac.nested.surrogate.work import Finding, Work

__all__ = ["Search", "search"]

Array = NDArray[np.float64]
#: A point this many nats above the best of the run was missed.
_MISSED = 2.0


@dataclass(frozen=True)
class Search:
    """What was found: the points of the last generation, and the best of them."""

    elite: Array
    best: Array
    top: float

    def findings(self, result: Nested) -> list[Finding]:
        """Whether a run missed what was found."""
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
    """Look for points of high likelihood, which the surrogate may learn from too."""
    truth = work.truth
    with work.stage("genetic", "n_genetic"):
        found = _core.nested_maximize(truth.at, work.job.dim, {}, work.key(80))
    if work.options.init_use != "training":
        truth.forget()
    u, ell = found["elite_u"], found["elite_ell"]
    good = ell > ell.max() - 0.5 * work.job.dim - 10.0
    return Search(elite=u[good], best=u[int(np.argmax(ell))], top=float(ell.max()))
