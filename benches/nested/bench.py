"""Benchmarks of nested sampling on known evidences, beside dynesty, UltraNest, jaxns, blackjax.

Run ``pytest benches/nested/bench.py --benchmark-group-by=group``. Every round is a run from another
seed. The extra_info of a row has the errors of the log-evidences (`rms_error`), the reported errors
(`claimed_error`), the costs of a run (`n_evals`, `cpu_seconds` of the process; fermiac uses one
thread) and its `ess`, so that speed is read together with accuracy. `overhead_us` is the time that
fermiac spends per evaluation outside of the likelihood. Peers run if they are installed, with the
same number of live points.
"""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

import numpy as np
import pytest
from benches.nested import exact
from benches.nested.peers import N_LIVE, PEERS, Found, NotApplicable, Run, kish, timed
from benches.nested.problem import Problem, check
from benches.nested.problems import PROBLEMS, problem

import fermiac as fm

# Live points of runs that are not timed, and the problems that peers finish in seconds.
SMOKE_LIVE = 60
SMOKE_PEERS = "shells 2", "rosenbrock 2"
# Peers issue many warnings, and so do runs of fermiac with few points.
pytestmark = pytest.mark.filterwarnings("ignore")


class Ours(NamedTuple):
    """A run of fermiac: the form of the likelihood, and the sampler."""

    form: str
    sampler: str
    rounds: int = 10
    warm: bool = True

    def prepare(self, p: Problem, n_live: int) -> Run:
        if not hasattr(fm, "nested"):
            raise NotApplicable("this fermiac has no fermiac.nested")
        likelihood = p.form(self.form)
        settings = {"n_live": n_live, "sampler": self.sampler, "periodic": p.periodic}

        def run(seed: int) -> Found:
            r = fm.nested.sample(
                likelihood, p.prior, p.dim, plan=fm.Plan(n_threads=1), rng=seed, **settings
            )
            ess = kish(np.asarray(r.log_weights))
            outside = r.timings["total"] - r.timings["target"]
            overhead.append(1e6 * outside / r.n_evals)
            return Found(r.log_evidence, r.log_evidence_stderr, r.n_evals, ess)

        overhead: list[float] = []
        run.overhead = overhead  # type: ignore[attr-defined]
        return run


class Peer(NamedTuple):
    """A peer, and whether it compiles in a first run."""

    name: str
    rounds: int = 5
    warm: bool = False

    def prepare(self, p: Problem, n_live: int) -> Run:
        if n_live == SMOKE_LIVE and (self.warm or p.name not in SMOKE_PEERS):
            raise NotApplicable(f"{self.name} takes too long for a run that is not timed")
        return PEERS[self.name](p, n_live)


def _ours(sampler: str, *forms: str) -> dict[str, Ours]:
    return {f"fermiac {sampler}, {form}": Ours(form, sampler) for form in forms}


def _peers(*names: str, rounds: int = 5) -> dict[str, Peer]:
    return {name: Peer(name, rounds, name.startswith(("jaxns", "blackjax"))) for name in names}


ALL_FORMS = "builtin", "native", "batch"
METHODS: dict[str, dict[str, Ours | Peer]] = {
    "gauss5": {
        **_ours("unif", *ALL_FORMS),
        **_ours("slice", *ALL_FORMS),
        **_peers("dynesty unif", "dynesty unif, dlogz 0.01", "ultranest"),
        **_peers("jaxns", "jaxns, n_live roots", "blackjax nss"),
    },
    "gauss20": {
        **_ours("slice", *ALL_FORMS),
        **_peers("dynesty rslice", "ultranest slices", "jaxns", "blackjax nss", rounds=3),
    },
    "eggbox": {**_ours("auto", "native", "batch"), **_peers("dynesty unif", "ultranest")},
    "shells2": {**_ours("auto", "native", "batch"), **_peers("dynesty unif", "ultranest")},
    "rosenbrock2": {**_ours("auto", "native", "batch"), **_peers("dynesty unif", "ultranest")},
    "alias": {**_ours("auto", "native", "batch"), **_peers("dynesty rwalk", rounds=3)},
    "shells10": {**_ours("slice", "native", "batch"), **_peers("dynesty rslice", rounds=3)},
    "rosenbrock10": {
        **_ours("slice", "native", "batch"),
        **_peers("dynesty rwalk", "dynesty rslice", "blackjax nss", rounds=3),
    },
    "mix10": {
        **_ours("slice", *ALL_FORMS),
        **_peers("dynesty rwalk", "dynesty rslice", "blackjax nss", rounds=3),
    },
    "loggamma10": {
        **_ours("slice", "native", "batch"),
        **_peers("dynesty rwalk", "dynesty rslice", rounds=3),
    },
}
ROWS = [
    pytest.param(name, method, id=f"{name}-{label}")
    for name, methods in METHODS.items()
    for label, method in methods.items()
]


@pytest.mark.parametrize(("name", "method"), ROWS)
def bench_nested(benchmark: Any, name: str, method: Ours | Peer) -> None:
    p = problem(name)
    n_live = N_LIVE if benchmark.enabled else SMOKE_LIVE
    benchmark.group = f"nested: {p.name} n_live={n_live}"
    try:
        run = method.prepare(p, n_live)
    except (ImportError, NotApplicable) as error:
        pytest.skip(str(error))
    if method.warm and benchmark.enabled:
        run(1000)
    rounds: list[tuple[Found, float]] = []

    def call() -> None:
        found, cpu, _ = timed(run, len(rounds))
        rounds.append((found, cpu))

    benchmark.pedantic(call, rounds=method.rounds)
    benchmark.extra_info |= figures(p, rounds)
    overhead = getattr(run, "overhead", [])
    if overhead:
        benchmark.extra_info["overhead_us"] = _short(statistics.median(overhead))


def figures(p: Problem, rounds: list[tuple[Found, float]]) -> dict[str, float]:
    """Return the accuracy and the costs of the runs of a method."""
    found = [f for f, _ in rounds]
    error = np.array([f.log_evidence - p.log_evidence for f in found])
    claimed = np.array([f.stderr for f in found])
    calls = statistics.fmean(f.n_evals for f in found)
    cpu = statistics.median(seconds for _, seconds in rounds)
    row = {
        "rms_error": np.sqrt(np.mean(error**2)),
        "mean_error": error.mean(),
        "claimed_error": claimed.mean(),
        "worst_pull": np.max(np.abs(error) / claimed),
        "n_evals": calls,
        "ess": statistics.fmean(f.ess for f in found),
        "cpu_seconds": cpu,
        "cpu_us_per_evaluation": 1e6 * cpu / calls,
    }
    return {key: _short(value) for key, value in row.items()}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_every_form_of_a_likelihood_is_one(name: str) -> None:
    pytest.importorskip("numba")
    assert max(check(problem(name)).values()) < 1e-13


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_evidences_and_means_are_exact(name: str) -> None:
    """The reference values, recomputed."""
    p, found = problem(name), exact.EXACT[name]()
    assert p.means is not None
    np.testing.assert_allclose(p.log_evidence, found.log_evidence, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(p.means, found.means, atol=1e-5)
