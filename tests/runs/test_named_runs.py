"""Kept states and executors of runs whose targets take parameters by name."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.distributions import Gamma, Normal

Y = np.array([0.5, -0.2])


class Killed(Exception):
    """Ends a run from its target."""


def log_likelihood(mu, theta, y):
    return -0.5 * ((theta - y) ** 2).sum(axis=1) - 0.1 * mu**2


def prior_of_theta(mu, tau):
    return Normal.rows(mu[:, None], tau[:, None])


def with_tau(mu, tau, theta, y):
    return log_likelihood(mu, theta, y)


PRIOR = {"mu": Normal(0.0, 1.0), "tau": Gamma(3.0), "theta": prior_of_theta}
PARAMS = {"theta": 2}


def mcmc(f: Any, **more: Any) -> fm.Sample:
    target = fm.targets.posterior(f, PRIOR, "finite", params=PARAMS, args=(Y,))
    given = {"transforms": "auto", "n_warmup": 60, "n_draws": 40, "rng": 1, **more}
    return fm.mcmc.sample(target, **given)


def nested(f: Any, **more: Any) -> fm.Sample:
    return fm.nested.sample(
        f, PRIOR, params=PARAMS, args=(Y,), n_live=60, max_evals=2000, rng=1, **more
    )


def evidence(f: Any, **more: Any) -> fm.Sample:
    law = fm.distributions.Joint(PRIOR, shapes=PARAMS)
    return fm.importance.evidence(f, law, args=(Y,), n=4000, rng=1, **more).sample


RUNS = pytest.mark.parametrize("run", [mcmc, nested, evidence])


@RUNS
@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_executors_give_the_same_bits(run: Any) -> None:
    here = run(with_tau)
    assert here.names == ("mu", "tau", "theta[0]", "theta[1]")
    with ProcessPoolExecutor(1) as processes, ThreadPoolExecutor(2) as threads:
        for pool in (processes, threads):
            there = run(with_tau, plan=pool)
            np.testing.assert_array_equal(there.draws, here.draws)
            assert there.names == here.names
            assert there.n_evals == here.n_evals


@RUNS
@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_a_run_that_was_killed_goes_on(run: Any, tmp_path: Any) -> None:
    whole = run(with_tau)
    left = [12]

    def dying(mu, tau, theta, y):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return with_tau(mu, tau, theta, y)

    kept = fm.Plan(store=tmp_path, every=1e-6)
    with pytest.raises(Killed):
        run(dying, plan=kept)
    resumed = run(with_tau, plan=kept)
    np.testing.assert_array_equal(resumed.draws, whole.draws)
    assert resumed.names == whole.names
