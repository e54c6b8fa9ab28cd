"""Samplers of PyMC models on one thread: effective draws per CPU second, end to end.

    python -m benches.bridges.bench [--only fermiac nutpie] [--problems radon] [--draws 1000]

Each sampler makes 4 chains of 1000 draws with its own default warm-up (fermiac up to 1000
transitions, PyMC 1000, nutpie 400; ``fermiac 400`` has as many as nutpie), and gives constrained
draws with all deterministic quantities. The figure is the least bulk or tail ESS over all
variables per CPU second of the process. Compilation before the run is not counted. For samplers
that compile within the call (PyMC, NumPyro, BlackJAX), the time of a call with one draw is
subtracted.
"""

from __future__ import annotations

import argparse
import functools
import os

if __name__ == "__main__":  # before the libraries are loaded, which read it then
    _KINDS = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    os.environ.update({f"{kind}_NUM_THREADS": "1" for kind in _KINDS})
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import logging
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from benches.bridges.problems import PROBLEMS

N_CHAINS = 4
#: A run by a sampler: of a model to (draws by variable, (chain, draw, ...)), and CPU seconds.
Run = tuple[dict[str, Any], float]


def _of_fermiac(n_warmup: int | None) -> Callable[[Any, int, int], Run]:
    def run(model: Any, n_draws: int, seed: int) -> Run:
        import fermiac as fm

        target = _target(model)
        start = time.process_time()
        s = fm.mcmc.sample(
            target,
            n_chains=N_CHAINS,
            n_warmup=n_warmup,
            n_draws=n_draws,
            rng=seed,
            plan=fm.Plan(n_threads=1),
        )
        seconds = time.process_time() - start
        return {name: s[name] for name in s}, seconds

    return run


@functools.cache
def _target(model: Any) -> Any:
    import fermiac as fm

    return fm.targets.from_pymc(model)


def nutpie(model: Any, n_draws: int, seed: int) -> Run:
    """Nutpie: the same machine code."""
    import nutpie as library

    compiled = library.compile_pymc_model(model)
    start = time.process_time()
    data = library.sample(
        compiled, draws=n_draws, chains=N_CHAINS, cores=1, seed=seed, progress_bar=False
    )
    seconds = time.process_time() - start
    return _variables(data), seconds


def _of_pymc(sampler: str) -> Callable[[Any, int, int], Run]:
    def run(model: Any, n_draws: int, seed: int) -> Run:
        import pymc as pm

        more: dict[str, Any] = {}
        if sampler in ("numpyro", "blackjax"):
            more = {"nuts_sampler_kwargs": {"chain_method": "vectorized"}}

        def call(n: int, tune: int) -> tuple[Any, float]:
            start = time.process_time()
            with model:
                data = pm.sample(
                    n,
                    tune=tune,
                    chains=N_CHAINS,
                    cores=1,
                    random_seed=seed,
                    nuts_sampler=sampler,
                    progressbar=False,
                    compute_convergence_checks=False,
                    **more,
                )
            return data, time.process_time() - start

        call(1, 1)
        _, compiling = call(1, 1)
        data, seconds = call(n_draws, 1000)
        return _variables(data), max(seconds - compiling, 1e-9)

    return run


SAMPLERS: dict[str, Callable[[Any, int, int], Run]] = {
    "fermiac": _of_fermiac(None),
    "fermiac 400": _of_fermiac(400),
    "nutpie": nutpie,
    "pymc": _of_pymc("pymc"),
    "numpyro": _of_pymc("numpyro"),
    "blackjax": _of_pymc("blackjax"),
}


def _variables(data: Any) -> dict[str, Any]:
    posterior = data["posterior"]
    return {str(name): np.asarray(posterior[name]) for name in posterior.data_vars}


def least_ess(draws: dict[str, Any]) -> float:
    """The least bulk or tail ESS over all variables but the shifted ones of one sampler alone."""
    import fermiac as fm

    least = np.inf
    for array in draws.values():
        flat = array.reshape(*array.shape[:2], -1)
        for j in range(flat.shape[2]):
            x = np.ascontiguousarray(flat[..., j])
            if np.ptp(x) > 0:
                sizes = (fm.diagnostics.ess(x, kind=kind) for kind in ("bulk", "tail"))
                least = min(least, *map(float, sizes))
    return least


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS))
    parser.add_argument("--only", nargs="*", default=list(SAMPLERS))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=1, help="seeds, of which the mean is taken")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    print(f"{'problem':22}{'sampler':12}{'CPU s':>9}{'ESS':>9}{'ESS / CPU s':>13}{'to nutpie':>11}")
    for problem in given.problems:
        model = PROBLEMS[problem]()
        rows: dict[str, tuple[float, float]] = {}
        for sampler in given.only:
            if find_spec(sampler.split()[0]) is None:
                continue
            runs = [SAMPLERS[sampler](model, given.draws, seed) for seed in range(given.runs)]
            rows[sampler] = (
                float(np.mean([seconds for _, seconds in runs])),
                float(np.mean([least_ess(draws) for draws, _ in runs])),
            )
        base = rows.get("nutpie")
        for sampler, (seconds, ess) in rows.items():
            rate = ess / seconds
            ratio = "" if base is None else f"{rate / (base[1] / base[0]):.2f}"
            print(
                f"{problem:22}{sampler:12}{seconds:9.3f}{ess:9.0f}{rate:13.0f}{ratio:>11}",
                flush=True,
            )


if __name__ == "__main__":
    main()
