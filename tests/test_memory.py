"""Sizes that the memory does not hold: a MemoryError, and the process goes on."""

from __future__ import annotations

import sys

import pytest
from child_processes import child, output

CASES = """
    import resource, warnings
    import numpy as np
    import fermiac as fm
    from plans import on_threads

    warnings.simplefilter("ignore")
    laws, walks, nested = fm.distributions, fm.walks, fm.nested
    flat = laws.Product([laws.Uniform(-1.0, 1.0)] * 2)
    normal = laws.MultivariateNormal(np.zeros(3), np.eye(3))
    bowl = fm.targets.rosenbrock(1, 2)
    run = nested.sample(bowl, flat, n_live=20, rng=0, plan=fm.Plan(n_threads=1))
    model = fm.score.GaussianMixture([0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], [1.0, 1.0])

    def slope(x):
        return x[:, 0]

    def csr(n):
        walks.write_csr("never", [np.array([[0, 1]])], memory=n)

    cases = {
        "Law.sample": lambda n: laws.Normal().sample(n),
        "MultivariateNormal.sample": lambda n: normal.sample(n),
        "Stream.normal": lambda n: fm.random.Stream(1).normal(n),
        "sobol n": lambda n: fm.random.sobol(n, 3),
        "sobol dim": lambda n: fm.random.sobol(3, n),
        "keep_draws": lambda n: fm.importance.expect(
            slope, normal, n=n, method="mc", keep_draws=True
        ),
        "evidence": lambda n: fm.importance.evidence(bowl, flat, n=n),
        "n_chains": lambda n: fm.mcmc.sample(bowl, n_chains=n, n_draws=1),
        "n_draws": lambda n: fm.mcmc.sample(bowl, n_draws=n),
        "RowGenerator": lambda n: fm.mcmc.RowGenerator(0, n),
        "n_live": lambda n: nested.sample(bowl, flat, n_live=n),
        "n_batch": lambda n: nested.sample(
            bowl, flat, n_live=20, dynamic=nested.Dynamic(n_batch=n), rng=0
        ),
        "nested.extend": lambda n: run.extend(n_live=n),
        "nested.bootstrap": lambda n: run.bootstrap(n),
        "nested.simulate": lambda n: run.simulate(n),
        "resample": lambda n: run.resample(n),
        "roc.bootstrap": lambda n: fm.privacy.roc([3, 5, 6], [1, 2, 4]).bootstrap(n=n),
        "n_resamples": lambda n: fm.resample.bootstrap(
            np.arange(12.0), n_resamples=n, exact=False, method="percentile"
        ),
        "n_resamples of a callable": lambda n: fm.resample.bootstrap(
            np.arange(12.0), slope, n_resamples=n, batch=n
        ),
        "permutations": lambda n: fm.resample.permutation_test(
            np.arange(50.0) ** 0.5, exact=False, n_resamples=n
        ),
        "InverseTransformKey n": lambda n: fm.privacy.InverseTransformKey(n, 9, rng=0),
        "InverseTransformKey size": lambda n: fm.privacy.InverseTransformKey(9, n, rng=0),
        "n_null": lambda n: fm.privacy.detect_watermark(
            np.arange(8), fm.privacy.ExponentialKey(16, 8, rng=0), n_null=n, rng=0
        ),
        "score.sample": lambda n: fm.score.sample(model, n, dim=2),
        "svdd": lambda n: fm.score.svdd(model, slope, n, dim=2),
        "langevin_gibbs": lambda n: fm.score.langevin_gibbs(model, dim=2, n_chains=n, n_draws=1),
        "barabasi_albert": lambda n: walks.graphs.barabasi_albert(n, 3, rng=0),
        "watts_strogatz": lambda n: walks.graphs.watts_strogatz(n, 4, 0.1, rng=0),
        "random_regular": lambda n: walks.graphs.random_regular(n, 4, rng=0),
        "erdos_renyi": lambda n: walks.graphs.erdos_renyi(n, 5, rng=0),
        "from_edges": lambda n: walks.Graph.from_edges([(0, 1)], n),
        "write_csr memory": lambda n: csr(100 * n),
        "n_walkers": lambda n: walks.walk(
            walks.graphs.petersen(), n_steps=5, n_walkers=n, rng=0
        ),
        "n_threads": lambda n: on_threads(1024, fm.special.gammaln, np.ones(20_000)),
    }
    resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, call in cases.items():
        for n in (10**9, 10**13, 2**62):
            try:
                call(n)
            except (MemoryError, fm.errors.ArgumentError):
                continue
            print(f"{name}({n})".replace(" ", "_"))
    # As much as there is room for is still given.
    assert len(laws.Normal().sample(10**6, rng=0)) == 10**6
    print("end")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of the address space is needed")
def test_sizes_without_memory_are_errors() -> None:
    assert output(child(CASES, FERMIAC_NUM_THREADS="1"), timeout=120) == ["end"]


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of the address space is needed")
def test_the_error_says_what_was_asked_for() -> None:
    made = output(
        child("""
        import resource
        import fermiac as fm
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
        for n in (10**9, 10**13, 2**62):
            try:
                fm.distributions.Normal().sample(n)
            except fm.errors.MemoryLimitError as error:
                print(str(error).replace(" ", "_"))
        """)
    )
    assert [line.split("_of_memory")[0] for line in made] == [
        "n:_8.000_GB",
        "n:_80.000_TB",
        "n:_36.893_EB",
    ]


def test_the_longest_times_are_no_panic() -> None:
    made = output(
        child("""
        import fermiac as fm
        bowl = fm.targets.rosenbrock(1, 2)
        flat = fm.distributions.Product([fm.distributions.Uniform(-1.0, 1.0)] * 2)
        for seconds in (1e19, 1e300):
            long = fm.Plan(max_time=seconds)
            fm.nested.sample(bowl, flat, n_live=20, max_evals=200, plan=long, rng=0)
            fm.mcmc.sample(bowl, n_chains=1, n_draws=5, n_warmup=5, plan=long, rng=0)
        print("end")
        """)
    )
    assert made == ["end"]
