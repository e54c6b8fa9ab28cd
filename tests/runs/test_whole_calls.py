"""The same bits of every call that is cut into whole parts, however it is cut and whoever makes it.

`test_clusters.py` has the engines; here are the numbers of workers, of shards and of parts, and
calls that were interrupted.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nested_targets
import numpy as np
import pytest
import worker_targets
from executor_help import spawned
from plans import by_units, planned

import fermiac as fm
from fermiac.errors import FermiacWarning

PRIOR = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
LAW = fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2))
WIDE = fm.distributions.MultivariateNormal(np.zeros(2), 9 * np.eye(2))
MODEL = fm.score.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], [0.04, 0.04])
GRAPH = fm.walks.graphs.grid([8, 8])
POINTS = fm.random.Stream(6).normal((40, 2))
DATA = fm.random.Stream(5).exponential(40)
COLUMNS = fm.random.Stream(4).exponential((900, 2))
LOSS = fm.walks.Quadratic(1.0, np.arange(64.0))


def nested(**given: Any) -> Any:
    return fm.nested.sample(nested_targets.bowl, PRIOR, n_live=25, runs=17, rng=1, **given)


def chains(**given: Any) -> Any:
    return fm.mcmc.sample(
        nested_targets.bowl, 2, nested_targets.slope, kernel="mala", n_chains=17, n_warmup=30,
        n_draws=30, pool=False, rng=1, **given,
    )  # fmt: skip


def walkers(**given: Any) -> Any:
    return fm.walks.walk(GRAPH, "none", n_steps=300, n_walkers=130, rng=1, **given)


def rows(**given: Any) -> Any:
    given = planned(**{"part": (0, 1), **given})
    return fm.score.sample(MODEL, 40, n_steps=5, sigma_range=(0.01, 50.0), rng=1, **given)


def points(plan: Any = None) -> Any:
    return fm.importance.expect(
        worker_targets.moments, LAW, n=100_000, rng=1, check=False, plan=by_units(plan)
    )


def mass(plan: Any = None) -> Any:
    return fm.importance.evidence(
        nested_targets.bowl, WIDE, n=100_000, rng=1, check=False, plan=by_units(plan)
    )


def tokens(**given: Any) -> Any:
    return fm.walks.optimize(
        LOSS, GRAPH, n_steps=60, n_tokens=2, replicates=17, record_every=20, rng=1, **given
    )


def resamples(**given: Any) -> Any:
    return fm.resample.bootstrap(DATA, "sd", n_resamples=1000, rng=1, **given)


def resamples_of_a_function(**given: Any) -> Any:
    return fm.resample.bootstrap(
        DATA, worker_targets.spread, n_resamples=300, jackknife_groups=5, rng=1, **given
    )


def permutations(**given: Any) -> Any:
    return fm.resample.permutation_test(
        (DATA, DATA[:20] ** 2), "mean", studentise=True, n_resamples=1000, rng=1, **given
    )


def permutations_of_a_function(**given: Any) -> Any:
    return fm.resample.permutation_test(
        (DATA, DATA[:20] ** 2), worker_targets.difference, n_resamples=300, rng=1, **given
    )


def double(**given: Any) -> Any:
    return fm.resample.double_bootstrap(
        DATA, worker_targets.spread, n_resamples=140, n_inner=20, rng=1, **given
    )


def double_of_pairs(**given: Any) -> Any:
    return fm.resample.double_bootstrap(
        (DATA, DATA[::-1] + DATA), "pearson", n_resamples=140, n_inner=20, strata=np.arange(40) % 2,
        rng=1, **given,
    )  # fmt: skip


def little(**given: Any) -> Any:
    return fm.resample.little_bootstraps(
        COLUMNS, worker_targets.weighted, exponent=0.5, n_resamples=30, rng=1, **given
    )


def little_of_pairs(**given: Any) -> Any:
    return fm.resample.little_bootstraps(
        (COLUMNS[:, 0], COLUMNS[:, 1]), "ratio_of_means", exponent=0.5, n_resamples=30, rng=1,
        **given,
    )  # fmt: skip


def wild(**given: Any) -> Any:
    x = DATA[np.arange(120) // 4 % 40]
    return fm.resample.wild_bootstrap(
        (np.stack([x, np.arange(120.0) % 7], axis=1), x + np.sin(np.arange(120.0))),
        clusters=np.arange(120) // 12, n_resamples=4500, rng=1, **given,
    )  # fmt: skip


def signs(**given: Any) -> Any:
    return fm.resample.wild_bootstrap(
        (np.arange(120.0) % 7, np.sin(np.arange(120.0))), clusters=np.arange(120) // 10,
        multipliers="rademacher", rng=1, **given,
    )  # fmt: skip


def hitting(**given: Any) -> Any:
    return fm.score.first_hitting(
        worker_targets.token_logits, 40, 9, n_tokens=4, n_steps=5, schedule="cosine",
        tokens=np.where(np.arange(360).reshape(40, 9) % 11 < 2, 1, 4), rng=1, **given,
    )  # fmt: skip


def unmasking(**given: Any) -> Any:
    return fm.score.unmask(
        worker_targets.token_logits, 40, 9, 4, order="confidence", n_steps=6, remask=0.2, rng=1,
        **given,
    )  # fmt: skip


def unmasking_by_entropy(**given: Any) -> Any:
    return fm.score.unmask(
        worker_targets.token_logits, 40, 9, 4, order="entropy", entropy_bound=1.5, block=5, rng=1,
        tokens=np.where(np.arange(360).reshape(40, 9) % 11 < 2, 1, 4), **given,
    )  # fmt: skip


def likelihoods(**given: Any) -> Any:
    return fm.score.log_likelihood(
        MODEL, POINTS, (0.1, 10.0), rtol=0.1, atol=0.1, method="dopri5", trace="hutchinson",
        n_probes=3, rng=1, **given,
    )  # fmt: skip


def transported(**given: Any) -> Any:
    given = planned(**{"part": (0, 1), **given})
    grid = fm.score.karras(5, 0.02, 10.0)
    return fm.score.integrate(MODEL, 10 * POINTS, grid, "dpmpp_2m_sde", rng=1, **given)


def levels(**given: Any) -> Any:
    if "plan" in given:
        given = planned(**{"part": (0, 1), **given})
    return fm.score.langevin_gibbs(
        MODEL, n_chains=130, n_draws=4, n_warmup=2, n_skip=2, n_denoise=4, levels=[5.0, 1.0, 0.2],
        rng=1, **given,
    )  # fmt: skip


#: The calls, their units, and what is compared.
CALLS: list[tuple[Callable[..., Any], int, tuple[str, ...]]] = [
    (nested, 17, ("draws", "log_weights", "births", "log_evidence", "log_evidence_stderr")),
    (chains, 17, ("draws", "log_densities")),
    (walkers, 17, ("positions", "visits", "acceptance")),
    (rows, 40, ("array",)),
    (points, 13, ("mean", "stderr", "cov", "ess", "khat", "unseen")),
    (tokens, 17, ("thetas", "objectives", "visits", "trace_theta", "trace_loss")),
    (resamples, 250, ("replicates", "replicate_stderrs", "lower", "upper", "stderr")),
    (resamples_of_a_function, 150, ("replicates", "lower", "upper", "stderr")),
    (permutations, 250, ("null", "pvalue", "pvalue_upper")),
    (permutations_of_a_function, 150, ("null", "pvalue")),
    (likelihoods, 40, ("log_density", "stderr", "latent", "n_row_evals")),
    (transported, 40, ("array",)),
    (levels, 17, ("draws", "level_counts", "passages")),
    (mass, 17, ("log_evidence", "log_evidence_stderr", "ess", "khat")),
    (double, 140, ("replicates", "positions", "lower", "upper", "mc_error")),
    (double_of_pairs, 140, ("replicates", "positions", "lower", "upper", "mc_error")),
    (little, 30, ("estimate", "stderr", "lower", "upper", "mc_error", "subset_stderrs")),
    (little_of_pairs, 30, ("estimate", "stderr", "lower", "upper", "mc_error", "subset_stderrs")),
    (wild, 18, ("pvalue", "lower", "upper", "mc_error")),
    (signs, 8, ("pvalue", "lower", "upper", "mc_error")),
    (hitting, 40, ("tokens", "times", "n_calls", "n_evals")),
    (unmasking, 40, ("tokens", "times", "n_calls", "n_evals")),
    (unmasking_by_entropy, 40, ("tokens", "times", "n_calls", "n_evals")),
]


#: Calls that processes make, too; other tests have the rest.
BY_PROCESSES = (
    tokens,
    resamples,
    resamples_of_a_function,
    permutations,
    permutations_of_a_function,
    likelihoods,
    transported,
    levels,
    double,
    double_of_pairs,
    little,
    little_of_pairs,
    wild,
    hitting,
    unmasking,
)


def bits(result: Any, names: tuple[str, ...]) -> list[bytes]:
    made = result
    for name in ("estimate", "evidence"):
        if callable(getattr(result, name, None)):
            made = getattr(result, name)()
    return [np.asarray(getattr(made, name)).tobytes() for name in names]


def finished(call: Any, merged: Any) -> Any:
    """The result of a call from its merged parts."""
    return call(replicates=merged) if isinstance(merged, fm.resample.Replicates) else merged


@pytest.mark.parametrize(
    ("call", "n_units", "names"), CALLS, ids=lambda x: getattr(x, "__name__", "")
)
def test_workers_shards_parts_and_stores(
    call: Any, n_units: int, names: tuple[str, ...], tmp_path: Path
) -> None:
    warnings.simplefilter("ignore", FermiacWarning)
    whole = bits(call(), names)
    for n_workers in (1, 2, 8):
        with ThreadPoolExecutor(n_workers) as executor:
            assert bits(call(plan=executor), names) == whole
    with ThreadPoolExecutor(2) as executor:
        for n_shards in (1, 3, 16):
            shards = fm.executor.Sharded(executor, rows=math.ceil(n_units / n_shards))
            assert bits(call(plan=shards), names) == whole
    for n_parts in (1, 3, 16):
        parts = [call(plan=fm.Plan(part=(i, n_parts))) for i in range(n_parts)]
        assert bits(finished(call, fm.merge(parts)), names) == whole

    def stop(done: int, total: int) -> None:
        if done > 0.6 * total:
            raise KeyboardInterrupt

    # Walkers and chains of one process and no part would keep their state.
    part = (0, 1) if call in (walkers, chains, levels) else None
    with pytest.raises(KeyboardInterrupt):
        call(plan=fm.Plan(store=tmp_path, part=part, progress=stop))
    there = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert 0 < len(there) < n_units
    with ThreadPoolExecutor(2) as executor:
        assert bits(call(plan=fm.Plan(executor=executor, store=tmp_path)), names) == whole
    assert all(path.stat().st_mtime_ns == at for path, at in there.items())
    assert bits(finished(call, fm.merge(tmp_path)), names) == whole


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with spawned(2) as executor:
        yield executor


@pytest.mark.parametrize(
    ("call", "names"),
    [(call, names) for call, _, names in CALLS if call in BY_PROCESSES],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_processes(call: Any, names: tuple[str, ...], processes: Executor) -> None:
    warnings.simplefilter("ignore", FermiacWarning)
    assert bits(call(plan=processes), names) == bits(call(), names)
