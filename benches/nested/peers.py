"""Other nested samplers on the benchmark problems, each used as in its documentation.

A peer is a function of a problem and a number of live points that returns ``run(seed)``, which
returns `Found`; `ours` is this library. dynesty evaluates one point at a time and gets a compiled
function; UltraNest and nautilus get batched NumPy functions; jaxns and blackjax compile the whole
run, or a step of it, with XLA.
``python -m benches.nested.peers out.jsonl peer problem --seeds 0:10`` adds a line of JSON for each
run, and ``python -m benches.nested.peers out.jsonl`` prints the table of all lines; ``--page
docs/calibration-nested.md`` puts it into that page.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benches.nested.posteriors import POSTERIORS
from benches.nested.problem import Problem
from benches.nested.problems import PROBLEMS
from benches.pages import into_page
from numpy.typing import NDArray

# One thread in XLA: the others only wait, and their waiting is CPU time.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

N_LIVE = 500
ALL = PROBLEMS | POSTERIORS


class NotApplicable(Exception):
    """The peer cannot run this problem."""


class Found(NamedTuple):
    """The result of a run, and its costs."""

    log_evidence: float
    stderr: float  # as reported
    n_evals: int
    ess: float  # Kish's
    finished: bool = True


Run = Callable[[int], Found]


def kish(log_weights: NDArray[Any]) -> float:
    """The effective sample size of weighted draws."""
    w = np.exp(log_weights - np.max(log_weights))
    return float(w.sum() ** 2 / np.sum(w * w))


def ours(p: Problem, n_live: int = N_LIVE) -> Run:
    """The default settings; the effective sample size is that of all weighted points."""
    import fermiac as fm

    def run(seed: int) -> Found:
        r = fm.nested.sample(
            p.values,
            p.prior,
            p.dim,
            rng=seed,
            periodic=p.periodic,
            n_live=n_live,
            plan=fm.Plan(n_threads=1),
        )
        ess = r.ess if r.importance is None else r.importance.ess
        return Found(r.log_evidence, r.log_evidence_stderr, r.n_evals, float(ess))

    return run


def dynesty(
    p: Problem, n_live: int = N_LIVE, sample: str = "unif", dlogz: float | None = None
) -> Run:
    """The static sampler with bounds of many ellipsoids; by its own rule it stops at about 0.5."""
    import dynesty as peer

    if len(p.periodic) == p.dim:
        raise NotApplicable("dynesty 3.1 fails where every axis is periodic")
    f = p.compiled
    f(p.transform(np.full(p.dim, 0.4)))

    def run(seed: int) -> Found:
        sampler = peer.NestedSampler(
            f,
            p.transform,
            p.dim,
            nlive=n_live,
            bound="multi",
            sample=sample,
            periodic=list(p.periodic) or None,
            rstate=np.random.default_rng(seed),
        )
        sampler.run_nested(dlogz=dlogz, print_progress=False)
        r = sampler.results
        calls = int(np.sum(r["ncall"]))
        return Found(float(r["logz"][-1]), float(r["logzerr"][-1]), calls, kish(r["logwt"]))

    return run


def ultranest(p: Problem, n_live: int = N_LIVE, population: int = 0) -> Run:
    """Its region sampler, or `population` slice chains of 2 d steps in lock step."""
    import ultranest as peer

    logging.getLogger("ultranest").setLevel(logging.ERROR)
    wrapped = [j in p.periodic for j in range(p.dim)]

    def run(seed: int) -> Found:
        # Its generator is NumPy's global one.
        np.random.seed(seed)  # noqa: NPY002
        sampler = peer.ReactiveNestedSampler(
            [f"x{j}" for j in range(p.dim)],
            p.values,
            p.transform,
            vectorized=True,
            wrapped_params=wrapped,
        )
        if population:
            from ultranest import popstepsampler as steps

            sampler.stepsampler = steps.PopulationSliceSampler(
                population,
                2 * p.dim,
                generate_direction=steps.generate_mixture_random_direction,
            )
        settings = {"min_num_live_points": n_live, "show_status": False, "viz_callback": False}
        r = sampler.run(**settings)
        ess = kish(np.log(np.maximum(r["weighted_samples"]["weights"], 1e-300)))
        return Found(float(r["logz"]), float(r["logzerr"]), int(r["ncall"]), ess)

    return run


def nautilus(p: Problem, n_live: int = 2000, seconds: float = 600.0) -> Run:
    """Importance nested sampling with neural networks, at its own defaults and within a time."""
    import nautilus as peer

    periodic = list(p.periodic) or None

    def run(seed: int) -> Found:
        sampler = peer.Sampler(
            p.transform,
            p.values,
            p.dim,
            n_live=n_live,
            vectorized=True,
            periodic=periodic,
            pass_dict=False,
            seed=seed,
        )
        finished = bool(sampler.run(timeout=seconds, verbose=False))
        ess = float(sampler.n_eff)
        stderr = 1.0 / math.sqrt(ess) if ess > 0.0 else math.nan
        return Found(float(sampler.log_z), stderr, int(sampler.n_like), ess, finished)

    return run


def jaxns(p: Problem, n_live: int | None = None) -> Run:
    """A run that is compiled as a whole; as many roots as live points, 30 d by its default."""
    if p.jax is None:
        raise NotApplicable(f"{p.name} has no form in JAX")
    import jax

    jax.config.update("jax_enable_x64", True)
    from jaxns.core import NestedSampler
    from jaxns.model import Model
    from jaxns.priors import Prior
    from tensorflow_probability.substrates import jax as tfp

    f = p.jax()

    def model() -> Any:
        law = tfp.distributions.Uniform(
            low=jax.numpy.asarray(p.low), high=jax.numpy.asarray(p.high)
        )
        return f(Prior(law, name="x").realise())

    sampler = NestedSampler(model=Model(prior_model=model), root_allocation_degree=n_live)

    def run(seed: int) -> Found:
        r = sampler.run(key=jax.random.PRNGKey(seed)).to_result()
        calls = int(r.total_num_likelihood_evaluations)
        return Found(float(r.log_Z_mean), float(r.log_Z_uncert), calls, float(r.ess))

    return run


def blackjax(p: Problem, n_live: int = N_LIVE) -> Run:
    """Nested slice sampling, a tenth replaced at a time by chains of 2 d slices, 5 or more."""
    if p.jax is None:
        raise NotApplicable(f"{p.name} has no form in JAX")
    import jax

    jax.config.update("jax_enable_x64", True)
    import blackjax as peer
    from blackjax.ns import utils

    if not hasattr(peer, "nss"):
        raise ImportError("blackjax has no nested sampling")
    jnp, f = jax.numpy, p.jax()
    low, high = jnp.asarray(p.low), jnp.asarray(p.high)

    def likelihood(x: Any) -> Any:
        return jnp.where(jnp.all((x >= low) & (x <= high)), f(x), -jnp.inf)

    algorithm = peer.nss(
        logprior_fn=lambda x: jnp.zeros(()),
        loglikelihood_fn=likelihood,
        num_inner_steps=max(5, 2 * p.dim),
        num_delete=n_live // 10,
    )
    start, step = jax.jit(algorithm.init), jax.jit(algorithm.step)

    def run(seed: int) -> Found:
        key, first = jax.random.split(jax.random.key(seed))
        state = start(low + (high - low) * jax.random.uniform(first, (n_live, p.dim)))
        dead, calls = [], n_live
        # The evidence that live points may add is to be below a hundredth. That is looked at after
        # every ten steps, as what comes after the run is compiled anew for each number of them.
        while len(dead) % 10 or (
            state.integrator.logX + state.particles.loglikelihood.max() - state.integrator.logZ
            > math.log(0.01)
        ):
            key, each = jax.random.split(key)
            state, info = step(each, state)
            dead.append(info)
            moves = info.update_info
            ends = 2 * moves.num_shrink.size  # of brackets, before they are stepped out
            calls += int(moves.num_expansions.sum() + moves.num_shrink.sum()) + ends
        every = utils.finalise(state, dead)
        log_w = np.asarray(utils.log_weights(key, every))
        log_z = np.logaddexp.reduce(log_w, axis=0)
        ess = kish(log_w.mean(axis=1))
        return Found(float(log_z.mean()), float(log_z.std(ddof=1)), calls, ess)

    return run


PEERS: dict[str, Callable[[Problem, int], Run]] = {
    "fermiac": ours,
    "dynesty": lambda p, n: dynesty(p, n, sample="auto", dlogz=0.01),
    "dynesty unif": dynesty,
    "dynesty unif, dlogz 0.01": lambda p, n: dynesty(p, n, dlogz=0.01),
    "dynesty rwalk": lambda p, n: dynesty(p, n, sample="rwalk"),
    "dynesty rslice": lambda p, n: dynesty(p, n, sample="rslice"),
    "ultranest": ultranest,
    "ultranest slices": lambda p, n: ultranest(p, n, population=100),
    "nautilus": lambda p, n: nautilus(p),
    "jaxns": lambda p, n: jaxns(p),
    "jaxns, n_live roots": jaxns,
    "blackjax nss": blackjax,
}


def timed(run: Run, seed: int) -> tuple[Found, float, float]:
    """Return the result of a run, its CPU seconds (all threads) and its wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = run(seed)
    return found, time.process_time() - cpu, time.perf_counter() - wall


def measure(path: Path, peer: str, name: str, n_live: int, seeds: range) -> None:
    """Add the runs of a peer on a problem to a file, the compilation in the first of jaxns's."""
    p = ALL[name]()
    run = PEERS[peer](p, n_live)
    for seed in seeds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, cpu, wall = timed(run, seed)
        row = {"peer": peer, "problem": name, "seed": seed} | found._asdict()
        row |= {"error": found.log_evidence - p.log_evidence, "cpu": cpu, "wall": wall}
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()})


def table(path: Path) -> str:
    """The runs of a file by problem and peer, as Markdown; errors are of runs that ended."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [
        "| problem | peer | runs | rms error | mean | reported | calls | ESS | CPU s | us/call |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = {peer: k for k, peer in enumerate(PEERS)}
    cells = dict.fromkeys((row["problem"], row["peer"]) for row in rows)
    names = list(dict.fromkeys(name for name, _ in cells))
    for name, peer in sorted(cells, key=lambda cell: (names.index(cell[0]), order[cell[1]])):
        mine = [row for row in rows if (row["problem"], row["peer"]) == (name, peer)]
        column = {key: np.array([row[key] for row in mine]) for key in mine[0]}
        cpu, calls = np.median(column["cpu"]), column["n_evals"].mean()
        ended = column["finished"].astype(bool)
        runs, found = str(len(mine)), "– | – | –"
        if not ended.all():
            runs += f", {np.sum(~ended)} not ended"
        if ended.any():
            error = column["error"][ended]
            found = (
                f"{np.sqrt(np.mean(error**2)):.3f} | {error.mean():+.3f} "
                f"| {column['stderr'][ended].mean():.3f}"
            )
        lines.append(
            f"| {name} | {peer} | {runs} | {found} | {calls / 1000:.1f} k "
            f"| {column['ess'].mean():.0f} | {cpu:.2f} | {1e6 * cpu / calls:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Other nested samplers on known evidences.")
    parser.add_argument("out", type=Path)
    parser.add_argument("peer", nargs="?", choices=list(PEERS))
    parser.add_argument("problem", nargs="?", choices=list(ALL))
    parser.add_argument("--seeds", default="0:1", help="first:last+1")
    parser.add_argument("--n-live", type=int, default=N_LIVE)
    parser.add_argument("--page", type=Path, help="the page to put the table into")
    given = parser.parse_args()
    if given.peer is None or given.problem is None:
        text = table(given.out)
        print(text)
        if given.page is not None:
            into_page(given.page, "peers", text)
    else:
        seeds = range(*map(int, given.seeds.split(":")))
        measure(given.out, given.peer, given.problem, given.n_live, seeds)


if __name__ == "__main__":
    main()
