"""From a run on a surrogate to the likelihood: its values at the points, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fermiac.diagnostics import psis
from fermiac.errors import FermiacWarning, WeightWarning
from fermiac.nested.result import Nested
from fermiac.nested.surrogate.frames import Frame
from fermiac.nested.surrogate.judging import effective
from fermiac.nested.surrogate.models import Model
from fermiac.nested.surrogate.options import Surrogate
from fermiac.nested.surrogate.truth import Truth
from fermiac.nested.surrogate.work import Refused
from fermiac.nested.volumes import from_points, kept, points_of

__all__ = [
    "Correction",
    "correct",
    "corrected",
    "correction_findings",
    "inclusion",
    "systematic",
    "usable",
]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Above this tail shape of the ratios the correction is not to be relied on.
_KHAT = 0.7
#: A correction that leaves less of the effective sample size is warned of.
_ESS = 0.3
#: Draws of the posterior by which the tail of the ratios is judged.
_DRAWS = 4000


@dataclass(frozen=True)
class Correction:
    """The new target of the points, and how it relates to the surrogate.

    The target is the likelihood, times the number of points that each stands for.
    """

    target: Array
    ell: Array
    told: dict[str, float]


def correct(
    result: Nested, model: Model, truth: Truth, frame: Frame, options: Surrogate, key: int
) -> Correction:
    """The likelihood at the points of a run on the surrogate, or at some of them.

    Where the run asked the likelihood already, it is not asked again. Values are by the density of
    the frame.
    """
    u, g = result.unit_draws, result.log_likelihoods
    assert u is not None
    unknown = np.flatnonzero(model.predict(u)[1])
    log_p = result.log_prior_masses + g - result.log_evidence
    target = g.copy()
    rng = np.random.default_rng(key)
    chances = np.ones(len(g))
    if options.correct == "subsample" and options.n_corrected < len(unknown):
        chances[unknown] = 0.0
        wanted = inclusion(np.exp(log_p[unknown]), options.n_corrected)
        taken = systematic(wanted, rng)
        unknown = unknown[taken]
        chances[unknown] = wanted[taken]
    ell = g.copy()
    if len(unknown):
        ell[unknown] = truth.at(u[unknown]) - frame.log_density(u[unknown])
    used = chances > 0
    target = np.full(len(g), -np.inf)
    target[used] = ell[used] - np.log(chances[used])
    used &= g > -np.inf
    told = _told(log_p[used] - np.log(chances[used]), ell[used] - g[used], rng)
    return Correction(target, ell, told)


def inclusion(p: Array, n: int) -> Array:
    """Chances to be taken, in proportion to `p` but at most one, that sum to `n`."""
    chances = np.zeros(len(p))
    certain = np.zeros(len(p), bool)
    while True:
        rest = p[~certain].sum()
        if not rest > 0:
            chances[certain] = 1.0
            return chances
        chances = np.where(certain, 1.0, p * ((n - certain.sum()) / rest))
        more = (chances >= 1.0) & ~certain
        if not more.any():
            return chances
        certain |= more


def systematic(chances: Array, rng: np.random.Generator) -> Ints:
    """The rows that are taken with these chances, as many as they sum to within one."""
    ends = np.cumsum(chances)
    steps = np.floor(ends - rng.random())
    out: Ints = np.flatnonzero(np.diff(steps, prepend=-1.0) > 0)
    return out


def _told(log_q: Array, ratios: Array, rng: np.random.Generator) -> dict[str, float]:
    """How the ratios of likelihood and surrogate behave under the surrogate's posterior."""
    q = np.exp(log_q - log_q.max())
    q /= q.sum()
    top = float(ratios.max())
    if top == -np.inf:
        return {"khat": np.nan, "ess_ratio": 0.0, "ratio_stderr": np.inf, "worst": np.nan}
    r = np.exp(ratios - top)
    mean = float(q @ r)
    drawn = rng.choice(len(q), _DRAWS, p=q)
    finite = ratios[ratios > -np.inf]
    return {
        "khat": float(psis(ratios[drawn])[1]),
        "ess_ratio": effective(log_q, ratios),
        "ratio_stderr": float(np.sqrt(np.sum((q * (r / mean - 1)) ** 2))),
        "worst": float((finite - np.median(finite)).max()),
    }


def corrected(result: Nested, correction: Correction) -> Nested:
    """The result of the likelihood."""
    raw = {**points_of(result), "log_densities": correction.target}
    made = from_points(raw, names=result.names, **kept(result))
    error = float(np.hypot(made.log_evidence_stderr, correction.told["ratio_stderr"]))
    masses = made.log_prior_masses + correction.target - made.log_evidence
    used = masses > -np.inf
    information = float(np.exp(masses[used]) @ correction.ell[used]) - made.log_evidence
    return replace(made, log_evidence_stderr=error, information=max(information, 0.0))


def usable(told: dict[str, float]) -> None:
    """Refuse a correction that a few points carry."""
    if not (told["khat"] < _KHAT or told["ess_ratio"] >= _ESS):
        raise Refused(
            f"a few points carry the correction: k-hat {told['khat']:.2f}, and "
            f"{100 * told['ess_ratio']:.0f} % of the effective sample size are left"
        )


def correction_findings(told: dict[str, float]) -> list[tuple[type[FermiacWarning], str]]:
    """What the user must know of the correction."""
    found: list[tuple[type[FermiacWarning], str]] = []
    if told["ess_ratio"] < _ESS:
        text = (
            f"the surrogate's posterior is not that of the likelihood: of the effective sample "
            f"size {100 * told['ess_ratio']:.0f} % are left after the correction; train it on more "
            "points (a smaller start_dlogz), or raise pilot_live"
        )
        found.append((WeightWarning, text))
    return found
