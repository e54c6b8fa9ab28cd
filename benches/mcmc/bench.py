"""Chains on eight targets: fermiac beside nutpie, blackjax, numpyro, rustmc and emcee.

``pytest benches/mcmc/bench.py --benchmark-group-by=group``. The time of a row is wall time; its
extra_info has the figures of the comparison, medians over the rounds: the least bulk ESS of a
coordinate per CPU-second of the process and per 1000 evaluations, with the warm-up, the largest
R-hat, and the largest error of a known mean in standard errors. Peers run if they are installed.
Some targets are too hard for all samplers at default settings; R-hat shows it.
"""

from __future__ import annotations

import statistics
import time
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from benches.mcmc.blocks import METHODS as BLOCK_METHODS
from benches.mcmc.blocks import MODELS, run_of
from benches.mcmc.peers import (
    CHAINS,
    DRAWS,
    MALA_DRAWS,
    MALA_WARMUP,
    PEERS,
    STEPS,
    WALKERS,
    WARMUP,
    NotApplicable,
    Run,
    figures,
    nutpie_python,
    timed,
)
from benches.mcmc.problem import Problem, check
from benches.mcmc.problems import PROBLEMS, problem, standard_normal
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
ROUNDS = 3
MANY = 64
TRANSITIONS = 200_000
pytestmark = [
    pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning"),
    pytest.mark.skipif(not hasattr(fm, "mcmc"), reason="this fermiac has no fermiac.mcmc"),
]


def _builtin(p: Problem) -> dict[str, Any]:
    if p.builtin is None:
        raise NotApplicable("no built-in density")
    return {"log_density": p.builtin()}


# A target in the forms that fermiac takes: what `sample` is given.
FORMS: dict[str, Callable[[Problem], dict[str, Any]]] = {
    "built-in": _builtin,
    "C pointer": lambda p: {"log_density": p.native},
    "NumPy": lambda p: {"log_density": p.pair, "gradient": True},
    "compiled batch": lambda p: {"log_density": p.compiled_pair, "gradient": True},
}


def ours(p: Problem, form: str, kernel: Callable[[], Any], **settings: Any) -> Run:
    """Return a fermiac run; chains, warm-up and draws are those of the NUTS peers by default."""
    target = FORMS[form](p)
    sizes = {"n_chains": CHAINS, "n_warmup": WARMUP, "n_draws": DRAWS} | settings

    def run(seed: int) -> tuple[Array, int]:
        s = fm.mcmc.sample(dim=p.dim, kernel=kernel(), rng=seed, **target, **sizes)
        return s.draws, s.n_evals

    return run


def nuts(form: str, metric: str | None = None, **settings: Any) -> Callable[[Problem], Run]:
    """Return NUTS on this form of a problem, with the default metric unless one is given."""
    given = {} if metric is None else {"metric": metric}
    return lambda p: ours(p, form, lambda: fm.mcmc.NUTS(**given), **settings)


def walnuts(form: str) -> Callable[[Problem], Run]:
    """Return WALNUTS on this form of a problem."""
    return lambda p: ours(p, form, lambda: fm.mcmc.WALNUTS())


def mala(form: str, **settings: Any) -> Callable[[Problem], Run]:
    """Return MALA with its adaptive preconditioner, with the length of the peer."""
    sizes = {"n_warmup": MALA_WARMUP, "n_draws": MALA_DRAWS} | settings
    return lambda p: ours(p, form, lambda: fm.mcmc.MALA(), **sizes)


def ensemble(form: str) -> Callable[[Problem], Run]:
    """Return an ensemble with the walkers and steps of emcee."""

    def make(p: Problem) -> Run:
        target = FORMS[form](p)
        if form == "NumPy":
            target = {"log_density": p.values}
        walkers = max(WALKERS, 2 * p.dim)
        sizes = {"n_chains": walkers, "n_warmup": STEPS, "n_draws": STEPS}

        def run(seed: int) -> tuple[Array, int]:
            kernel = fm.mcmc.DE()
            s = fm.mcmc.sample(dim=p.dim, kernel=kernel, rng=seed, **target, **sizes)
            return s.draws, s.n_evals

        return run

    return make


OURS: dict[str, Callable[[Problem], Run]] = {
    "fermiac default, built-in": nuts("built-in"),
    "fermiac default, C pointer": nuts("C pointer"),
    "fermiac default, NumPy": nuts("NumPy"),
    "fermiac diag, built-in": nuts("built-in", "diag"),
    "fermiac diag, C pointer": nuts("C pointer", "diag"),
    "fermiac diag, NumPy": nuts("NumPy", "diag"),
    "fermiac low rank, built-in": nuts("built-in", "low_rank"),
    "fermiac low rank, C pointer": nuts("C pointer", "low_rank"),
    "fermiac dense, C pointer": nuts("C pointer", "dense"),
    "fermiac WALNUTS, built-in": walnuts("built-in"),
    "fermiac WALNUTS, C pointer": walnuts("C pointer"),
    "fermiac MALA, built-in": mala("built-in"),
    "fermiac MALA, C pointer": mala("C pointer"),
    "fermiac DE, C pointer": ensemble("C pointer"),
    "fermiac DE, NumPy": ensemble("NumPy"),
}
METHODS = OURS | PEERS


def prepare(benchmark: Any, make: Callable[[Problem], Run], name: str) -> tuple[Problem, Run]:
    """Return a problem and its run, compiled; skip if something is not installed."""
    try:
        p = problem(name)
        run = make(p)
        if benchmark.enabled:
            run(1000)
    except (ImportError, NotApplicable) as error:
        pytest.skip(str(error))
    return p, run


def judge(benchmark: Any, p: Problem, run: Run) -> None:
    """Time some rounds, each with its seed, and note the figures of their draws."""
    rounds: list[tuple[Array, int, float]] = []

    def call() -> None:
        rounds.append(timed(run, len(rounds)))

    benchmark.pedantic(call, rounds=ROUNDS)
    rows = [figures(p, *row) for row in rounds]
    for key in rows[0]:
        value = statistics.median(row[key] for row in rows)
        benchmark.extra_info[key] = float(f"{value:.4g}")


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_forms_agree(name: str) -> None:
    pytest.importorskip("numba")
    if name.startswith("logistic"):
        pytest.importorskip("sklearn")
    found = check(problem(name))
    assert found.pop("differences") < 1e-8
    assert max(found.values()) < 1e-12


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("name", list(PROBLEMS))
def bench_target(benchmark: Any, name: str, method: str) -> None:
    benchmark.group = f"mcmc: {name}"
    judge(benchmark, *prepare(benchmark, METHODS[method], name))


# One function in a free-running C pointer and in batches: the difference is what rounds cost.
MANY_CHAINS: dict[str, Callable[[Problem], Run]] = {
    "free run, built-in": nuts("built-in", "diag", n_chains=MANY),
    "free run, C pointer": nuts("C pointer", "diag", n_chains=MANY),
    "lock step, compiled batch": nuts("compiled batch", "diag", n_chains=MANY),
    "lock step, NumPy": nuts("NumPy", "diag", n_chains=MANY),
    "lock step, NumPy, MALA": mala("NumPy", n_chains=MANY, n_warmup=1000, n_draws=2500),
    "free run, C pointer, MALA": mala("C pointer", n_chains=MANY, n_warmup=1000, n_draws=2500),
    "DE, NumPy": ensemble("NumPy"),
    "nutpie diag, Python point": nutpie_python,
    "emcee stretch": PEERS["emcee stretch"],
}


# 64 chains of a NumPy density in lock step take two minutes on a busy machine.
LONG = "logistic 31"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", list(MANY_CHAINS))
@pytest.mark.parametrize("name", ["gaussian 10", "eight schools non-centred", LONG])
def bench_many_chains(benchmark: Any, name: str, method: str) -> None:
    benchmark.group = f"mcmc, {MANY} chains: {name}"
    if name == LONG and not benchmark.enabled:
        pytest.skip("takes up to a minute, too long for a run that is not timed")
    judge(benchmark, *prepare(benchmark, MANY_CHAINS[method], name))


def _own(p: Problem, form: str) -> float:
    """Return the nanoseconds of a point, with its gradient, in a batch that stays in cache."""
    density = FORMS[form](p)["log_density"]
    x = np.random.default_rng(5).standard_normal((2**15 // p.dim, p.dim))
    each = timeit.repeat(lambda: density.log_density_and_gradient(x), number=20, repeat=5)
    return 1e9 * min(each) / (20 * len(x))


KERNELS: dict[str, Callable[[], Any]] = {
    "MALA": lambda: fm.mcmc.MALA(),
    "NUTS diag": lambda: fm.mcmc.NUTS(metric="diag"),
    "WALNUTS diag": lambda: fm.mcmc.WALNUTS(metric="diag"),
}


@pytest.mark.parametrize("kernel", list(KERNELS))
@pytest.mark.parametrize("form", ["built-in", "C pointer"])
@pytest.mark.parametrize("dim", [2, 10, 100])
def bench_overhead(benchmark: Any, dim: int, form: str, kernel: str) -> None:
    """Measure the CPU time of an evaluation in a run, and that of the density in a batch."""
    benchmark.group = f"mcmc, cost of an evaluation: d={dim}"
    p = standard_normal(dim)
    try:
        sizes = {"n_warmup": 500, "n_draws": TRANSITIONS // (CHAINS * dim)}
        run = ours(p, form, KERNELS[kernel], **sizes)
        own = _own(p, form)
    except ImportError as error:
        pytest.skip(str(error))
    rounds: list[float] = []

    def call() -> None:
        _, n_evals, seconds = timed(run, len(rounds))
        rounds.append(1e9 * seconds / n_evals)

    benchmark.pedantic(call, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info["ns_per_evaluation"] = round(statistics.median(rounds), 1)
    benchmark.extra_info["ns_of_the_density"] = round(own, 1)


# Sweeps of one chain; functions of Python get fewer.
SWEEPS, FEW_SWEEPS, THIN = 200_000, 2000, 10


@pytest.mark.parametrize("method", BLOCK_METHODS)
@pytest.mark.parametrize("name", list(MODELS))
def bench_blocks(benchmark: Any, name: str, method: str) -> None:
    """Measure Gibbs sweeps by CPU time: all draws kept and judged, and one of ten."""
    benchmark.group = f"mcmc, blocks: {name}"
    model = MODELS[name]()
    if method not in (*model.kernels, "numba loop"):
        pytest.skip("not a method of this model")
    try:
        run = run_of(model, method)
    except ImportError as error:
        pytest.skip(str(error))
    sweeps = FEW_SWEEPS if method == "NumPy functions" else SWEEPS
    rows: list[tuple[float, float, float, float]] = []

    def clocked(seed: int, thin: int) -> tuple[float, Array]:
        start = time.process_time()
        draws = run(seed, sweeps * thin, thin)
        return 1e6 * (time.process_time() - start) / (sweeps * thin), draws

    def call() -> None:
        seed = len(rows)
        each, draws = clocked(seed, 1)
        thinned, _ = clocked(seed, THIN)
        columns = draws.T[:, None]
        ess = min(float(fm.diagnostics.ess(x, kind="bulk")) for x in columns)
        error = np.array([float(fm.diagnostics.mcse(x, kind="mean")) for x in columns])
        z = float(np.abs((draws.mean(axis=0) - model.means) / error).max())
        rows.append((each, thinned, ess / (1e-6 * each * sweeps), z))

    benchmark.pedantic(call, rounds=ROUNDS, warmup_rounds=1)
    names = ("us_per_sweep", "us_per_sweep_thinned", "ess_per_cpu_second", "error_in_stderrs")
    for key, values in zip(names, zip(*rows, strict=True), strict=True):
        benchmark.extra_info[key] = float(f"{statistics.median(values):.4g}")
