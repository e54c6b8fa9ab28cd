"""The self-test of ``fermiac doctor``: small problems of every domain with known answers."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fermiac as fm

__all__ = ["CHECKS", "Answer", "Outcome", "run"]

#: The number of standard errors within which estimates must be; the seeds are fixed.
_Z = 5.0


class Answer(NamedTuple):
    """A computed number, the known answer, and the largest difference allowed."""

    what: str
    got: float
    known: float
    allowed: float

    @property
    def is_right(self) -> bool:
        """Whether the difference is small enough."""
        return abs(self.got - self.known) <= self.allowed

    def __str__(self) -> str:
        within = f" (within {self.allowed:.2g})" if self.allowed else ""
        return f"{self.what} is {self.got:.6g}, known {self.known:.6g}{within}"


class Outcome(NamedTuple):
    """The outcome of one check."""

    name: str
    ok: bool
    text: str
    seconds: float


def _random() -> list[Answer]:
    first, second = fm.random.Stream(0).uniform(2)
    return [
        Answer("first uniform number of key 0", float(first), 0.0863546101090048, 0.0),
        Answer("second uniform number of key 0", float(second), 0.6639341596045721, 0.0),
    ]


def _special() -> list[Answer]:
    return [
        Answer("I(1/2; 2, 3)", float(fm.special.betainc(2.0, 3.0, 0.5)), 11 / 16, 1e-14),
        Answer("erf(1)", float(fm.special.erf(1.0)), math.erf(1.0), 1e-15),
    ]


def _importance() -> list[Answer]:
    e = fm.importance.expect(lambda x: x[:, 0] ** 2, fm.distributions.Normal(), n=20_000, rng=0)
    area = fm.importance.integrate(lambda x: x[:, 0] * x[:, 1], (0, 2), dim=2, n=10_000, rng=0)
    return [
        Answer("E[x²] of a normal law", float(e.mean), 1.0, _Z * float(e.stderr)),
        Answer("∫ x y over a square", float(area.mean), 4.0, _Z * float(area.stderr) + 1e-12),
    ]


def _mcmc() -> list[Answer]:
    target = fm.targets.gaussian(np.zeros(2), np.eye(2))
    s = fm.mcmc.sample(target, 2, n_chains=4, n_warmup=300, n_draws=500, rng=0)
    e = s.expect(lambda x: x[:, 0] ** 2)
    return [Answer("E[x²] of a normal density", float(e.mean), 1.0, _Z * float(e.stderr))]


def _walks() -> list[Answer]:
    ring = np.column_stack([np.arange(9), (np.arange(9) + 1) % 9])
    w = fm.walks.walk(ring, "none", n_steps=2000, rng=0)
    e = w.expect(np.arange(9.0))
    return [Answer("mean node of a ring", float(e.mean), 4.0, _Z * float(e.stderr))]


def _nested() -> list[Answer]:
    def log_likelihood(x: np.ndarray) -> np.ndarray:
        return np.asarray(-0.5 * ((x - 0.5) ** 2).sum(axis=1) / 0.01)

    prior = [fm.distributions.Uniform(0, 1)] * 2
    r = fm.nested.sample(log_likelihood, prior, 2, n_live=200, rng=0)
    # The tails beyond the unit square are below 1e-6 of the whole.
    known = math.log(2 * math.pi * 0.01)
    allowed = _Z * float(r.log_evidence_stderr)
    return [Answer("log-evidence of a Gaussian", float(r.log_evidence), known, allowed)]


def _privacy() -> list[Answer]:
    p = fm.privacy.epsilon_posterior(0, 0, 0, 0, prior="uniform", direction="forward")
    return [
        Answer("P(epsilon > 1) without data", float(p.prob_above(1.0)), math.exp(-1) / 2, 1e-13),
        Answer(
            "delta of mu = 1 at epsilon 0",
            float(fm.privacy.gdp_delta(0.0, mu=1.0)),
            math.erf(math.sqrt(0.125)),
            1e-14,
        ),
    ]


def _resample() -> list[Answer]:
    mice = [94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0]
    r = fm.resample.bootstrap(mice, "mean", method="bca", rng=0)
    maize = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    p = float(fm.resample.permutation_test(maize).pvalue)
    return [
        Answer("upper end of a mean by BCa", float(r.upper), 968 / 7, 1e-12),
        Answer("p-value of Darwin's maize", p, 1726 / 32768, 1e-15),
    ]


def _evaluate() -> list[Answer]:
    y = [1, 1, 1, 1, 0, 0, 0, 0, 0]
    first = [0.9, 0.8, 0.35, 0.6, 0.1, 0.4, 0.35, 0.7, 0.2]
    second = [0.7, 0.9, 0.3, 0.5, 0.6, 0.4, 0.1, 0.3, 0.55]
    p = fm.evaluate.auc_difference(y, first, second).pvalue
    return [Answer("p-value of two areas", p, 0.5856345253, 1e-9)]


def _design() -> list[Answer]:
    sizes = fm.design.allocate([1.0, 2.0], 1000.0).sizes
    rows = [[1, 0], [0, 1], [1, 1], [1, -1], [4, 0]]
    lewis = fm.design.row_scores(rows, "lewis", p=1)
    share = fm.design.sample([1.0, 2.0, 3.0], 2, method="successive", rng=0).probabilities
    return [
        Answer("inclusion probability", float(share[1]), 11 / 15, 1e-9),
        Answer("size of a task", float(sizes[0]), 386.48820956, 1e-7),
        Answer("Lewis weight of a row", float(lewis[4]), 0.68224865, 1e-8),
    ]


def _sbi() -> list[Answer]:
    table = np.arange(4.0)
    s = fm.sbi.abc((table, table), 1.4, n_accept=3)
    assert s.log_weights is not None
    return [
        Answer("adjusted parameter of a table", float(s.draws[2, 0]), 1.4, 1e-12),
        Answer("weight of the second row", math.exp(s.log_weights[1]), 1 - 0.36 / 1.96, 1e-12),
    ]


def _score() -> list[Answer]:
    model = fm.score.GaussianMixture([1.0], [[1.0, 2.0]], [0.25 * np.eye(2)])
    sigmas = np.append(np.geomspace(10.0, 0.01, 80), 0.0)
    x = fm.score.integrate(model, np.array([[11.0, 2.0]]), sigmas, integrator="heun")
    # The flow of a Gaussian shrinks distances from its mean like its standard deviation.
    known = 1.0 + 10.0 * math.sqrt(0.25 / 100.25)
    return [
        Answer("score of a Gaussian", float(model.score([[0.0, 0.0]], 1.0)[0, 0]), 0.8, 1e-12),
        Answer("end of the flow of a Gaussian", float(x[0, 0]), known, 1e-3),
    ]


def _threads() -> list[Answer]:
    one, more = (
        fm.importance.expect(
            lambda x: np.cos(x[:, 0]),
            fm.distributions.Normal(),
            n=50_000,
            rng=0,
            plan=fm.Plan(n_threads=n),
        ).mean
        for n in (1, max(fm.get_num_threads(), 2))
    )
    return [Answer("a mean by several threads", float(more), float(one), 0.0)]


def _files() -> list[Answer]:
    e = fm.importance.expect(lambda x: x[:, 0] ** 2, fm.distributions.Normal(), n=1000, rng=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "estimate.safetensors"
        e.save(path)
        again = fm.load(path)
    assert isinstance(again, type(e))
    return [Answer("a mean that was saved", float(again.mean), float(e.mean), 0.0)]


CHECKS: dict[str, Callable[[], list[Answer]]] = {
    "random": _random,
    "special": _special,
    "importance": _importance,
    "mcmc": _mcmc,
    "walks": _walks,
    "nested": _nested,
    "privacy": _privacy,
    "resample": _resample,
    "evaluate": _evaluate,
    "design": _design,
    "sbi": _sbi,
    "score": _score,
    "threads": _threads,
    "files": _files,
}
"""The checks by the names of domains, of parts below them, and of what all share."""


def run(name: str) -> Outcome:
    """Run one check; an exception is a failure."""
    begun = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers = CHECKS[name]()
    except Exception as error:
        first = str(error).partition("\n")[0]
        return Outcome(name, False, f"{type(error).__name__}: {first}", time.perf_counter() - begun)
    took = time.perf_counter() - begun
    wrong = [answer for answer in answers if not answer.is_right]
    shown = wrong[0] if wrong else answers[0]
    return Outcome(name, not wrong, str(shown), took)
