"""Runs that are killed by SIGKILL at random moments and resumed from their checkpoints.

Each run is done once without a checkpoint. Then it is begun with one in a child process, which is
killed, up to three times in a row, and resumed to its end. All bits of the two results must agree.
The files are written every few milliseconds, so that many kills fall within a writing.

    python fuzz/kills.py --n 100
    python fuzz/kills.py --n 20 --only mcmc
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

import fermiac as fm
from children import silenced
from fermiac.runs import checkpoint as _checkpoint

__all__ = ["bits", "main"]

#: Seconds that a Python target takes for a batch, so that runs last long enough to be killed.
_SLOW = 0.002
#: Seconds between two writings of a checkpoint.
_EVERY = 0.01
#: Fields that may differ: times, the bookkeeping of the run loop, evaluations (a resumed run
#: verifies its target), and the identity in the state of tokens, which a run has with a checkpoint
#: alone.
_FREE = {"wall_time", "timings", "_loops", "n_evals", "identity"}

Run = Callable[[Any, Path], Any]
_BOX = fm.distributions.Product([fm.distributions.Uniform(-5, 5)] * 2)


def _banana(x: Any) -> Any:
    time.sleep(_SLOW)
    return -0.5 * (x[:, 0] ** 2 + 4 * (x[:, 1] - 0.5 * x[:, 0] ** 2) ** 2)


def _gradient(x: Any) -> Any:
    r = 4 * (x[:, 1] - 0.5 * x[:, 0] ** 2)
    return np.stack([-x[:, 0] + r * x[:, 0], -r], axis=1)


def _square(x: Any) -> Any:
    time.sleep(_SLOW)
    return x[:, 0] ** 2


def _pull(theta: Any, nodes: Any) -> Any:
    time.sleep(_SLOW / 4)
    return theta - nodes[:, None] / 10.0


class _Slow(fm.score.Model):
    """A standard normal law in three dimensions, slowly."""

    dim = 3
    has_log_density = True

    def _log_density(self, y: Any, sigma: Any) -> Any:
        v = 1 + np.broadcast_to(sigma, len(y)) ** 2
        return -0.5 * ((y**2).sum(axis=1) / v + 3 * np.log(2 * np.pi * v))

    def _denoise(self, y: Any, sigma: Any) -> Any:
        time.sleep(_SLOW)
        v = np.broadcast_to(sigma, len(y))[:, None] ** 2
        return y / (1 + v)


def _mcmc(kernel: Any, on_disk: bool = False) -> Run:
    def run(kept: Any, folder: Path) -> Any:
        return fm.mcmc.sample(
            _banana,
            2,
            gradient=_gradient,
            check_gradient=False,
            kernel=kernel,
            n_chains=4,
            n_warmup=60,
            n_draws=60,
            rng=3,
            path=folder / "draws" if on_disk else None,
            plan=_plan(kept, folder),
        )

    return run


def _sections(kernel: Any, **options: Any) -> Run:
    """Chains that adapt together, in sections."""

    def run(kept: Any, folder: Path) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return fm.mcmc.sample(
                _banana, 2, gradient=_gradient, check_gradient=False, kernel=kernel, n_draws=60,
                rng=3, plan=_plan(kept, folder, pool), **options,
            )  # fmt: skip

    return run


def _plan(kept: Any, folder: Path, executor: Any = None) -> fm.Plan:
    store = folder / "store" if kept else None
    return fm.Plan(executor=executor, store=store, every=_EVERY, progress=False)


@contextmanager
def _sliced(kept: Any, folder: Path) -> Iterator[fm.Plan]:
    """The plan of a call whose values are kept for every hundred points."""
    with ThreadPoolExecutor(1) as pool:
        yield _plan(kept, folder, fm.executor.Sharded(pool, rows=100))


def _nested(**options: Any) -> Run:
    given = {"n_live": 60, "rng": 4, **options}
    return lambda kept, folder: fm.nested.sample(_banana, _BOX, plan=_plan(kept, folder), **given)


def _smc(kept: Any, folder: Path) -> Any:
    return fm.mcmc.smc(_banana, _BOX, 1024, rng=4, plan=_plan(kept, folder))


def _walk(**options: Any) -> Run:
    graph = fm.walks.graphs.barabasi_albert(300, 3, rng=1)

    def f(nodes: Any) -> Any:
        return nodes % 7.0

    def pause(block: Any) -> None:
        time.sleep(_SLOW)

    given = {"n_steps": 4000, "n_walkers": 8, "block_size": 20, "rng": 5, "on_block": pause}
    given |= {"f": f, **options}
    return lambda kept, folder: fm.walks.walk(graph, plan=_plan(kept, folder), **given)


def _tokens(**options: Any) -> Run:
    graph = fm.walks.graphs.barabasi_albert(50, 2, rng=1)
    given = {"n_steps": 800, "dim": 2, "n_tokens": 4, "rng": 6, **options}
    return lambda kept, folder: fm.walks.optimize(_pull, graph, plan=_plan(kept, folder), **given)


def _replicates(kept: Any, folder: Path) -> Any:
    graph = fm.walks.graphs.barabasi_albert(50, 2, rng=1)
    given = {"n_steps": 40, "dim": 2, "replicates": 12, "rng": 6}
    plan = fm.Plan(store=folder / "store" if kept else None, progress=False)
    return fm.walks.optimize(_pull, graph, objective=_length, plan=plan, **given)


def _length(theta: Any) -> Any:
    return (theta**2).sum(axis=1)


def _resamples(kept: Any, folder: Path) -> Any:
    store = folder / "store" if kept else None
    return fm.resample.bootstrap(
        np.arange(30.0) ** 0.5,
        _spread,
        n_resamples=400,
        rng=6,
        plan=fm.Plan(store=store, progress=False),
    )


def _permutations(kept: Any, folder: Path) -> Any:
    store = folder / "store" if kept else None
    samples = np.arange(12.0), np.arange(9.0) ** 0.5
    return fm.resample.permutation_test(
        samples, _apart, n_resamples=400, rng=6, plan=fm.Plan(store=store, progress=False)
    )


def _spread(x: Any) -> Any:
    time.sleep(_SLOW)
    return x.std(axis=1)


def _apart(a: Any, b: Any) -> Any:
    time.sleep(_SLOW)
    return np.median(a, axis=1) - np.median(b, axis=1)


def _twice(kept: Any, folder: Path) -> Any:
    store = folder / "store" if kept else None
    return fm.resample.double_bootstrap(
        np.arange(30.0) ** 0.5, _spread, n_resamples=100, n_inner=20, rng=6,
        plan=fm.Plan(store=store, progress=False),
    )  # fmt: skip


def _sequences(kept: Any, folder: Path) -> Any:
    store = folder / "store" if kept else None
    return fm.score.first_hitting(
        _logits, 60, 6, n_tokens=3, rng=6, plan=fm.Plan(store=store, progress=False)
    )


def _logits(tokens: Any, time_: Any) -> Any:
    time.sleep(_SLOW / 4)
    return np.cos(np.roll(tokens, 1, axis=1)[:, :, None] * np.arange(1.0, 4.0))


def _expect(**options: Any) -> Run:
    law = fm.distributions.MultivariateNormal([0.0, 0.0], np.eye(2))

    def run(kept: Any, folder: Path) -> Any:
        with _sliced(kept, folder) as plan:
            return fm.importance.expect(
                _square, law, n=20_000, keep_draws=True, rng=1, plan=plan, **options
            )

    return run


def _evidence(kept: Any, folder: Path) -> Any:
    law = fm.distributions.MultivariateNormal([0.0, 0.0], 9.0 * np.eye(2))
    with _sliced(kept, folder) as plan:
        return fm.importance.evidence(_banana, law, n=20_000, points="sobol", rng=2, plan=plan)


def _indices(kept: Any, folder: Path) -> Any:
    law = fm.distributions.Uniform([0.0, 0.0], [1.0, 1.0])
    with _sliced(kept, folder) as plan:
        return fm.importance.sobol_indices(_square, law, n=20_000, rng=3, plan=plan)


def _fidelities(kept: Any, folder: Path) -> Any:
    models, law = [_square, _banana], fm.distributions.Normal([0.0, 0.0])
    with _sliced(kept, folder) as plan:
        return fm.importance.multifidelity(models, law, 3_000, [1.0, 0.1], rng=4, plan=plan)


def _levels(kept: Any, folder: Path) -> Any:
    return fm.importance.multilevel(_level, 0.01, rng=5, plan=_plan(kept, folder))


def _level(at: int, n: int, stream: Any) -> Any:
    time.sleep(0.01)
    x, y = stream.normal(n), stream.normal(n)
    return x + 2.0**-at * y, x if at else None


def _gibbs(kept: Any, folder: Path) -> Any:
    return fm.score.langevin_gibbs(
        _Slow(), n_chains=8, n_draws=10, n_warmup=5, levels=[2.0, 1.0, 0.5], n_skip=2, n_denoise=4,
        rng=7, plan=_plan(kept, folder),
    )  # fmt: skip


def _levels_kept(kept: Any, folder: Path) -> Any:
    with ThreadPoolExecutor(1) as pool:
        made = fm.score.langevin_gibbs(
            _Slow(), n_chains=40, n_draws=4, n_warmup=2, levels=[2.0, 1.0, 0.5], n_skip=2,
            n_denoise=4, rng=7, plan=_plan(kept, folder, pool),
        )  # fmt: skip
    return made.draws, made.stats  # chains from a store have no state


def _transported(kept: Any, folder: Path) -> Any:
    y0, grid = np.ones((60, 3)), fm.score.karras(4, 0.05, 5.0)
    with ThreadPoolExecutor(1) as pool:
        return fm.score.integrate(_Slow(), y0, grid, "heun", rng=7, plan=_plan(kept, folder, pool))


def _likelihoods(kept: Any, folder: Path) -> Any:
    x = np.arange(30.0).reshape(10, 3) / 10
    store = folder / "store" if kept else None
    return fm.score.log_likelihood(
        _Slow(), x, (0.1, 5.0), rtol=0.1, atol=0.1, rng=7, plan=fm.Plan(store=store, progress=False)
    )


def _particles(kept: Any, folder: Path) -> Any:
    def simulate(theta: Any, stream: Any) -> Any:
        time.sleep(_SLOW / 10)
        return theta + stream.normal(2)

    plan = _plan(kept, folder)
    return fm.sbi.abc_smc(simulate, _BOX, [1.0, 0.0], 60, min_acceptance=0.2, rng=7, plan=plan)


def _images(kept: Any, folder: Path) -> Any:
    return fm.score.sample(
        _Slow(), 500, n_steps=15, sigma_range=(0.01, 10.0), rng=8, plan=_plan(kept, folder)
    ).draws


def _training(kept: Any, folder: Path) -> Any:
    importlib.import_module("torch").set_num_threads(1)  # its pool doesn't survive a fork
    data = fm.random.Stream(0).normal((200, 2))
    made = fm.score.train_score(
        data,
        n_steps=150,
        batch_size=16,
        width=8,
        rng=9,
        plan=_plan(kept, folder),
    )
    state = made.network.module.state_dict()
    return [made.training.losses, {name: value.numpy() for name, value in state.items()}]


def _runs() -> dict[str, Run]:
    mcmc = fm.mcmc
    runs: dict[str, Run] = {
        "importance.expect": _expect(),
        "importance.expect plain": _expect(method="mc"),
        "importance.evidence": _evidence,
        "importance.sobol_indices": _indices,
        "importance.multifidelity": _fidelities,
        "importance.multilevel": _levels,
        **{
            f"mcmc {kernel}": _mcmc(kernel)
            for kernel in (
                "rwm",
                "mala",
                "hmc",
                "nuts",
                "slice",
                "de",
                "mclmc",
                "chees",
            )
        },
        "mcmc tempered": _mcmc(mcmc.Tempered(mcmc.RWM(), reference=_BOX)),
        "mcmc smc": _smc,
        "mcmc cycle": _mcmc(mcmc.Cycle([mcmc.RWM(), mcmc.MALA()])),
        "mcmc nuts, store": _sections("nuts"),
        "mcmc de, store": _sections("de", n_warmup=100, n_chains=6),
        "mcmc nuts on disk": _mcmc("nuts", on_disk=True),
        "mcmc rwm on disk": _mcmc("rwm", on_disk=True),
        "nested uniform": _nested(sampler="unif"),
        "nested slice": _nested(sampler="slice"),
        "nested rwalk": _nested(sampler="rwalk"),
        "nested dynamic": _nested(sampler="slice", dynamic=fm.nested.Dynamic(target_ess=400)),
        "nested validated": _nested(sampler="unif", validate=3, n_live=40),
        "walks path": _walk(record="path"),
        "walks srrw": _walk(kernel="srrw", base="srw"),
        "walks none": _walk(kernel="none"),
        "tokens": _tokens(),
        "tokens plain, momentum": _tokens(kernel="none", base="srw", momentum=0.5),
        "tokens, replicates": _replicates,
        "resample.bootstrap": _resamples,
        "resample.permutation_test": _permutations,
        "resample.double_bootstrap, store": _twice,
        "sbi.abc_smc": _particles,
        "score.langevin_gibbs": _gibbs,
        "score.langevin_gibbs, store": _levels_kept,
        "score.first_hitting, store": _sequences,
        "score.integrate, store": _transported,
        "score.log_likelihood, store": _likelihoods,
        "score.sample": _images,
    }
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: no training is killed")
    else:
        runs["score.train_score"] = _training
    return runs


def bits(value: Any, path: str = "result") -> dict[str, str]:
    """A digest of each part of a result, apart from times and counts of evaluations."""
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        text = f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
        return {path: blake2b(text, digest_size=16).hexdigest()}
    if isinstance(value, fm.Result):
        value = vars(value)
    elif is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        found = {path: ",".join(map(str, value))}
        for name in value:
            if name not in _FREE:
                found |= bits(value[name], f"{path}.{name}")
        return found
    plain = value is None or isinstance(value, (str, bytes, int, float, complex))
    return {path: repr(value) if plain else type(value).__name__}


def _begin(run: Run, folder: Path) -> int:
    """The process id of a child that runs with a checkpoint and writes the bits of its result."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        silenced(folder / "stderr")
        warnings.simplefilter("ignore")
        _checkpoint._SHARE = 1e9  # write as often as asked
        (folder / "bits").write_text(json.dumps(bits(run(True, folder))), encoding="utf-8")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _killed(
    run: Run, seconds: float, choice: random.Random, expected: dict[str, str]
) -> tuple[int, int, str]:
    """How often it was killed, how often a checkpoint was there, and what is wrong in the end."""
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    kills = kept = 0
    try:
        for _ in range(choice.randint(1, 3)):
            pid = _begin(run, folder)
            # Saving takes time too, hence the half more.
            time.sleep(choice.uniform(0, 1.5 * seconds))
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if os.WIFEXITED(status):
                break  # it had ended
            kills += 1
            kept += (folder / "store").exists()
        if not (folder / "bits").exists():
            os.waitpid(_begin(run, folder), 0)
        written = folder / "bits"
        if written.exists():
            got = json.loads(written.read_text(encoding="utf-8"))
            differing = {*got.items()} ^ {*expected.items()}
            return kills, kept, ", ".join(sorted({name for name, _ in differing}))
        lines = (folder / "stderr").read_text(encoding="utf-8").strip().splitlines()
        return kills, kept, "failed: " + " ".join(lines[-1:])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Kill runs and print a table; returns 1 if bits differ or a run could not be resumed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100, help="number of kills")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time at most")
    parser.add_argument("--only", default="", help="a part of the names of the runs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills")
    options = parser.parse_args(arguments)
    choice = random.Random(options.seed)
    runs = [(name, run) for name, run in _runs().items() if options.only in name]
    choice.shuffle(runs)
    until = time.monotonic() + options.seconds
    whole: dict[str, tuple[dict[str, str], float]] = {}
    table = {name: [0, 0, 0, 0] for name, _ in runs}
    wrong: list[str] = []
    while runs and time.monotonic() < until and sum(row[0] for row in table.values()) < options.n:
        for name, run in runs:
            if time.monotonic() > until or sum(row[0] for row in table.values()) >= options.n:
                break
            if name not in whole:
                with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    begun = time.monotonic()
                    value = bits(run(None, Path(folder)))
                    whole[name] = value, time.monotonic() - begun
            expected, seconds = whole[name]
            kills, kept, differing = _killed(run, seconds, choice, expected)
            row = table[name]
            table[name] = [row[0] + kills, row[1] + kept, row[2] + 1, row[3] + (not differing)]
            if differing:
                wrong.append(f"{name}: {differing}")
    print(
        f"{'run':<28} {'seconds':>7} {'kills':>6} {'with file':>9} {'resumed':>8} {'same bits':>9}"
    )
    for name, (kills, kept, ended, same) in table.items():
        seconds = whole.get(name, ({}, 0.0))[1]
        print(f"{name:<28} {seconds:>9.2f} {kills:>9} {kept:>9} {ended:>9} {same:>9}")
    total = [sum(row[i] for row in table.values()) for i in range(4)]
    print(f"{'all':<28} {'':>9}", *(f"{value:>9}" for value in total))
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
