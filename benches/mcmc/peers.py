"""Other samplers on the targets of the benchmark, each at its best documented setting.

A peer is a function of a problem that compiles what it needs and returns ``run(seed)``, which gives
draws (chains, draws, d) and the number of evaluations with the warm-up's. `measure` calls it once
to compile, then times it in CPU-seconds of the process; `figures` judges any sampler's draws alike.
``python -m benches.mcmc.peers out.json [peer;... [problem;...]]`` adds to a file of figures.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benches.mcmc.problem import Problem
from benches.mcmc.problems import PROBLEMS, problem
from numpy.typing import NDArray

import fermiac as fm

# One thread in XLA: the others only wait, and their waiting is CPU time.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

Array = NDArray[np.float64]
Run = Callable[[int], tuple[Array, int]]
CHAINS, WARMUP, DRAWS = 4, 1000, 1000
MALA_WARMUP, MALA_DRAWS = 4000, 10_000
WALKERS, STEPS = 64, 2000


class NotApplicable(Exception):
    """The peer cannot run this problem."""


def starts(p: Problem, seed: int, n: int = CHAINS) -> Array:
    """Return the starting points of all samplers, uniform on (-2, 2)."""
    return np.random.default_rng(seed).uniform(-2.0, 2.0, (n, p.dim))


def _nutpie_run(nutpie: Any, model: Any, settings: dict[str, Any]) -> Run:
    import pyarrow

    def run(seed: int) -> tuple[Array, int]:
        trace = nutpie.sample(
            model,
            chains=CHAINS,
            draws=DRAWS,
            seed=seed,
            progress_bar=False,
            return_raw_trace=True,
            **({"tune": WARMUP} | settings),
        )
        draws, stats = trace.get_arrow_trace()
        flat = [pyarrow.array(chain.column("x")).flatten().to_numpy() for chain in draws]
        steps = sum(pyarrow.array(chain.column("n_steps")).to_numpy().sum() for chain in stats)
        both = np.reshape(flat, (CHAINS, -1, model.n_dim))
        return both[:, -DRAWS:], int(steps)

    return run


def nutpie_native(p: Problem, **settings: Any) -> Run:
    """Return a run of nutpie on a C function of one point, called from its threads."""
    import numba
    import nutpie
    from numba import types
    from nutpie import _lib
    from nutpie.sample import CompiledModel

    d, numbers = p.dim, types.CPointer(types.double)

    @numba.cfunc(types.int64(types.uint64, types.uint64, numbers, numbers, types.voidptr))
    def expand(dim, n, x, out, user):  # type: ignore[no-untyped-def]
        given, wanted = numba.carray(x, (d,)), numba.carray(out, (d,))
        for i in range(d):
            wanted[i] = given[i]
        return 0

    class Model(CompiledModel):  # type: ignore[misc]
        n_dim, shapes, coords = d, {"x": (d,)}, {}

        def _make_sampler(self, settings: Any, _mean: Any, cores: Any, bar: Any, store: Any) -> Any:
            sizes: dict[str, int] = {}  # filled by the next line
            variables = _lib.PyVariable.new_variables(["x"], ["float64"], [(d,)], sizes, {})
            model = _lib.PyMcModel(
                _lib.LogpFunc(p.point_cfunc.address, 0, self),
                _lib.ExpandFunc(d, d, expand.address, 0, self),
                variables,
                d,
                sizes,
                {},
                lambda seed: starts(p, seed, 1)[0],
                lambda *args, **kwargs: None,
            )
            return _lib.PySampler.from_pymc(settings, cores, model, bar, store)

    return _nutpie_run(nutpie, Model(dims={}), settings)


def nutpie_python(p: Problem) -> Run:
    """Return a run of nutpie on a Python function of one point with a compiled body."""
    import nutpie

    d, f = p.dim, p.compiled

    def density(x: Array) -> tuple[float, Array]:
        gradient = np.empty(d)
        return f(x, gradient), gradient

    model = nutpie.compiled_pyfunc.from_pyfunc(
        d,
        lambda: density,
        lambda *_: lambda x: {"x": x},
        [np.dtype(np.float64)],
        [(d,)],
        ["x"],
        make_initial_point_fn=lambda seed: starts(p, seed, 1)[0],
    )
    return _nutpie_run(nutpie, model, {})


def _jax() -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def _jax_run(p: Problem, chain: Callable[[Any, Any], tuple[Any, Any]], batched: bool) -> Run:
    """Return the run of all chains in one compiled call: as a batch, or one after the other."""
    jax = _jax()
    if batched:
        every = jax.jit(jax.vmap(chain))
    else:
        every = jax.jit(lambda keys, x: jax.lax.map(lambda both: chain(*both), (keys, x)))

    def of(seed: int) -> tuple[Any, Any]:
        return jax.random.split(jax.random.key(seed), CHAINS), jax.numpy.asarray(starts(p, seed))

    every = every.lower(*of(0)).compile()

    def run(seed: int) -> tuple[Array, int]:
        draws, steps = every(*of(seed))
        return np.asarray(draws), int(np.asarray(steps).sum())

    return run


def blackjax_nuts(p: Problem, batched: bool = True, low_rank: bool = False) -> Run:
    """Return NUTS after the window adaptation."""
    jax, density = _jax(), p.jax()
    import blackjax

    adapt = blackjax.window_adaptation_low_rank if low_rank else blackjax.window_adaptation
    algorithm = adapt(blackjax.nuts, density)

    def chain(key: Any, x0: Any) -> tuple[Any, Any]:
        first, second = jax.random.split(key)
        (state, parameters), warmup = algorithm.run(first, x0, WARMUP)
        step = blackjax.nuts(density, **parameters).step

        def body(state: Any, key: Any) -> Any:
            state, info = step(key, state)
            return state, (state.position, info.num_integration_steps)

        _, (draws, steps) = jax.lax.scan(body, state, jax.random.split(second, DRAWS))
        return draws, warmup.info.num_integration_steps.sum() + steps.sum()

    return _jax_run(p, chain, batched)


def blackjax_mala(p: Problem) -> Run:
    """Return MALA with a step size tuned in the warm-up to an acceptance rate of 0.574."""
    jax, density = _jax(), p.jax()
    import blackjax

    step = blackjax.mala.build_kernel()

    def chain(key: Any, x0: Any) -> tuple[Any, Any]:
        first, second = jax.random.split(key)

        def tune(carry: Any, given: Any) -> Any:
            (state, log_step), (key, t) = carry, given
            state, info = step(key, state, density, jax.numpy.exp(log_step))
            return (state, log_step + (info.acceptance_rate - 0.574) / t**0.6), log_step

        start = (blackjax.mala.init(x0, density), jax.numpy.log(0.1))
        times = 1.0 + jax.numpy.arange(MALA_WARMUP)
        given = (jax.random.split(first, MALA_WARMUP), times)
        (state, _), log_steps = jax.lax.scan(tune, start, given)
        size = jax.numpy.exp(log_steps[MALA_WARMUP // 2 :].mean())

        def body(state: Any, key: Any) -> Any:
            state, _ = step(key, state, density, size)
            return state, state.position

        return jax.lax.scan(body, state, jax.random.split(second, MALA_DRAWS))[1], 0

    run = _jax_run(p, chain, True)
    return lambda seed: (run(seed)[0], CHAINS * (MALA_WARMUP + MALA_DRAWS))


def numpyro_nuts(p: Problem, batched: bool = False) -> Run:
    """Return NUTS by the functional interface, whose compiled loop is kept between runs."""
    jax, density = _jax(), p.jax()
    from numpyro.infer.hmc import hmc

    init, sample = hmc(lambda x: -density(x), algo="NUTS")

    def chain(key: Any, x0: Any) -> tuple[Any, Any]:
        def body(state: Any, _: Any) -> Any:
            state = sample(state)
            return state, (state.z, state.num_steps)

        state = init(x0, num_warmup=WARMUP, rng_key=key)
        state, (_, before) = jax.lax.scan(body, state, None, WARMUP)
        _, (draws, after) = jax.lax.scan(body, state, None, DRAWS)
        return draws, before.sum() + after.sum()

    return _jax_run(p, chain, batched)


def emcee(p: Problem, differential: bool = False) -> Run:
    """64 walkers, twice as many as coordinates where that is more; half of the steps are kept.

    The snooker move, which its documentation mixes in, is left out: with 64 walkers on ten standard
    normal coordinates it gave them a variance of 0.61 (emcee 3.1.6), and a fifth of it 0.88.
    """
    import emcee as peer

    walkers = max(WALKERS, 2 * p.dim)
    moves = peer.moves.DEMove() if differential else None

    def run(seed: int) -> tuple[Array, int]:
        sampler = peer.EnsembleSampler(walkers, p.dim, p.values, vectorize=True, moves=moves)
        sampler.random_state = np.random.RandomState(seed).get_state()
        sampler.run_mcmc(starts(p, seed, walkers), 2 * STEPS)
        draws = sampler.get_chain(discard=STEPS).swapaxes(0, 1)
        return np.ascontiguousarray(draws), 2 * STEPS * walkers

    return run


def rustmc(p: Problem) -> Run:
    """Return NUTS on the expression graph, if the model can be written as one."""
    from benches.mcmc.peer_rustmc import model

    compiled, data, draws_of = model(p)

    def run(seed: int) -> tuple[Array, int]:
        fit = compiled.sample(
            data, chains=CHAINS, draws=DRAWS, warmup=WARMUP, seed=seed, show_progress=False
        )
        steps = fit.transition_diagnostics()["total_leapfrog_steps"]
        return draws_of(fit), int(steps)

    return run


PEERS: dict[str, Callable[[Problem], Run]] = {
    "nutpie diag, C pointer": nutpie_native,
    "nutpie low rank, C pointer": lambda p: nutpie_native(p, low_rank_modified_mass_matrix=True),
    "nutpie diag, Python point": nutpie_python,
    "blackjax NUTS, vmap": blackjax_nuts,
    "blackjax NUTS, map": lambda p: blackjax_nuts(p, batched=False),
    "blackjax NUTS low rank, map": lambda p: blackjax_nuts(p, batched=False, low_rank=True),
    "numpyro NUTS": numpyro_nuts,
    "rustmc NUTS": rustmc,
    "blackjax MALA": blackjax_mala,
    "emcee stretch": emcee,
    "emcee DE": lambda p: emcee(p, differential=True),
}


def figures(p: Problem, draws: Array, n_evals: int, seconds: float) -> dict[str, float]:
    """Return the figures of draws (chains, draws, d), the same for all samplers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        least = float(np.min(fm.diagnostics.ess(draws)))
        worst = float(np.max(fm.diagnostics.rhat(draws)))
        found = p.answers.of(draws)
        error = np.hypot(fm.diagnostics.mcse(found), p.answers.mcse)
    pull = np.abs(found.mean(axis=(0, 1)) - p.answers.mean) / error
    return {
        "min_ess": least,
        "max_rhat": worst,
        "max_abs_z": float(np.max(pull)),
        "n_evals": n_evals,
        "cpu_seconds": seconds,
        "ess_per_cpu_second": least / seconds,
        "ess_per_1000_evals": 1000.0 * least / n_evals,
    }


def timed(run: Run, seed: int) -> tuple[Array, int, float]:
    """Return draws, evaluations and CPU-seconds of all threads of this process."""
    start = time.process_time()
    draws, n_evals = run(seed)
    return draws, n_evals, time.process_time() - start


def measure(p: Problem, run: Run, repeats: int = 3) -> dict[str, float]:
    """Return medians over runs with different seeds, after one that compiles."""
    run(1000)
    rows = []
    for seed in range(repeats):
        draws, n_evals, seconds = timed(run, seed)
        rows.append(figures(p, draws, n_evals, seconds))
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def main(path: Path, peers: list[str], problems: list[str]) -> None:
    """Add the figures of these peers on these problems to a file."""
    known = json.loads(path.read_text()) if path.exists() else {}
    for name in problems:
        for peer in peers:
            try:
                found = measure(problem(name), PEERS[peer](problem(name)))
            except (ImportError, NotApplicable) as error:
                print(f"{name}: {peer}: {error}", flush=True)
                continue
            known.setdefault(name, {})[peer] = found
            path.write_text(json.dumps(known, indent=1))
            print(name, peer, {k: float(f"{v:.4g}") for k, v in found.items()}, flush=True)


if __name__ == "__main__":
    given = [part.split(";") for part in sys.argv[2:]]
    chosen = [given[i] if len(given) > i else list(all_of) for i, all_of in
              enumerate((PEERS, PROBLEMS))]  # fmt: skip
    main(Path(sys.argv[1]), *chosen)
