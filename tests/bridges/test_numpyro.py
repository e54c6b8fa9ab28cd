"""NumPyro models as targets, against NumPyro's own functions."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from bridge_models import SIGMA, Y
from numpyro.infer import util

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.targets.numpyro_model import is_numpyro

jax.config.update("jax_enable_x64", True)


def schools(sigma: Any, y: Any = None) -> None:
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", len(sigma)):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        theta = numpyro.deterministic("theta", mu + tau * z)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


@pytest.fixture(scope="module")
def target() -> Any:
    return fm.targets.from_numpyro(schools, SIGMA, y=Y)


def test_values_are_those_of_numpyro(target: Any) -> None:
    x = np.random.default_rng(0).normal(size=(5, 10))
    values, slopes = target.log_density_and_gradient(x)
    for row, value, slope in zip(x, values, slopes, strict=True):
        z = {"mu": row[0], "tau": row[1], "z": row[2:]}
        energy, gradient = jax.value_and_grad(
            lambda p: util.potential_energy(schools, (SIGMA,), {"y": Y}, p)
        )(z)
        np.testing.assert_allclose(value, -energy, rtol=1e-12)
        np.testing.assert_allclose(slope[2:], -gradient["z"], rtol=1e-10)
    parts = target.variables.split(target.constrain(x))
    np.testing.assert_allclose(parts["tau"], np.exp(x[:, 1]), rtol=1e-12)
    np.testing.assert_allclose(
        parts["theta"], parts["mu"][:, None] + parts["tau"][:, None] * x[:, 2:]
    )
    np.testing.assert_allclose(target.unconstrain(target.constrain(x)), x)
    each = target.log_likelihood(x)["y"]
    theirs = util.log_likelihood(
        schools, {k: jnp.asarray(parts[k]) for k in ("mu", "tau", "z")}, SIGMA, y=Y
    )["y"]
    np.testing.assert_allclose(each, theirs, rtol=1e-12)
    np.testing.assert_allclose(target.likelihood.log_density(x), each.sum(axis=1), rtol=1e-12)


def test_names_and_plates(target: Any) -> None:
    assert target.names[:3] == ("mu", "tau", "z[0]")
    assert target.dims["theta"] == ("school",)
    assert target.dims["y"] == ("school",)
    assert target._constrained_support()[1] == (0.0, np.inf)


def test_chains_and_arviz(target: Any) -> None:
    import arviz as az

    s = fm.mcmc.sample(target, n_draws=1000, rng=0)
    e = s.expect(lambda x: x[:, 0])
    assert abs(e.mean - 4.39) < 5 * e.stderr + 0.1
    data = s.to_arviz(prior=True)
    assert data["log_likelihood"]["y"].dims == ("chain", "draw", "school")
    assert np.isfinite(
        az.loo(data).elpd_loo if hasattr(az.loo(data), "elpd_loo") else az.loo(data).elpd
    )


def test_models_are_recognised() -> None:
    bound = functools.partial(schools, SIGMA, y=Y)
    conditioned = numpyro.handlers.condition(functools.partial(schools, SIGMA), data={"y": Y})
    assert is_numpyro(bound)
    assert is_numpyro(schools)
    assert is_numpyro(conditioned)
    for other in (np.sum, lambda x: x, lambda x: dist.Normal(0.0, 1.0).log_prob(x), 3, "sample"):
        assert not is_numpyro(other)
    s = fm.mcmc.sample(bound, n_chains=2, n_warmup=200, n_draws=100, rng=0)
    same = fm.mcmc.sample(conditioned, n_chains=2, n_warmup=200, n_draws=100, rng=0)
    np.testing.assert_allclose(s.draws[:, 0], same.draws[:, 0], rtol=1e-6)


def test_evidence_by_two_methods() -> None:
    def model(y: Any) -> None:
        mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
        with numpyro.plate("n", len(y)):
            numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    y = np.array([0.5, 1.0, 2.0])
    cov = np.eye(3) + 4.0
    exact = -0.5 * (y @ np.linalg.solve(cov, y) + np.linalg.slogdet(2 * np.pi * cov)[1])
    target = fm.targets.from_numpyro(model, y)
    r = fm.nested.sample(target, rng=0)
    assert abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr
    z = fm.importance.evidence(target, n=5000, rng=0)
    assert abs(z.log_evidence - exact) < 5 * z.log_evidence_stderr + 1e-6


def test_transforms_of_all_kinds() -> None:
    def model() -> None:
        numpyro.sample("share", dist.Beta(2.0, 3.0).expand([2, 3]).to_event(2))
        numpyro.sample("mix", dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])))
        numpyro.sample("chol", dist.LKJCholesky(3, 2.0))
        numpyro.sample("between", dist.Uniform(-1.0, 2.0))

    target = fm.targets.from_numpyro(model)
    x = np.random.default_rng(1).normal(size=(4, target.dim))
    parts = target.variables.split(target.constrain(x))
    assert parts["share"].shape == (4, 2, 3)
    np.testing.assert_allclose(parts["mix"].sum(axis=1), 1.0)
    np.testing.assert_allclose((parts["chol"] ** 2).sum(axis=-1), 1.0)
    np.testing.assert_allclose(target.unconstrain(target.constrain(x)), x, rtol=1e-6)
    assert target._constrained_support()[-1] == (-1.0, 2.0)
    with pytest.raises(ArgumentError, match=r"'share'|'mix'|'chol'"):
        fm.nested.sample(target)


def test_what_is_no_model_is_refused() -> None:
    def discrete() -> None:
        numpyro.sample("n", dist.Poisson(3.0))

    def empty() -> None:
        numpyro.deterministic("a", jnp.zeros(2))

    with pytest.raises(ArgumentError, match="'n' is discrete"):
        fm.targets.from_numpyro(discrete)
    with pytest.raises(ArgumentError, match="no latent variable"):
        fm.targets.from_numpyro(empty)
    with pytest.raises(ArgumentError, match="function with numpyro"):
        fm.targets.from_numpyro(3)  # type: ignore[arg-type]
