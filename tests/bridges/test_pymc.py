"""PyMC models as targets, against PyMC's own functions."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytest
from bridge_models import SCHOOLS, Y, constrained, eight_schools
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def model() -> Any:
    return eight_schools()


@pytest.fixture(scope="module")
def target(model: Any) -> Any:
    return fm.targets.from_pymc(model)


@pytest.fixture(scope="module")
def chains(target: Any) -> Any:
    return fm.mcmc.sample(target, n_draws=2000, rng=1)


def point_of(model: Any, target: Any, x: Array) -> dict[str, Array]:
    """A point as PyMC takes it."""
    parts = target._free.split(x)
    return {v.name: parts[model.values_to_rvs[v].name] for v in model.value_vars}


def test_value_and_gradient_are_those_of_pymc(model: Any, target: Any) -> None:
    x = np.random.default_rng(0).normal(size=(5, target.dim))
    values, slopes = target.log_density_and_gradient(x)
    logp, dlogp = model.compile_logp(), model.compile_dlogp()
    for row, value, slope in zip(x, values, slopes, strict=True):
        point = point_of(model, target, row)
        np.testing.assert_allclose(value, logp(point), rtol=1e-12)
        np.testing.assert_allclose(slope, dlogp(point), rtol=1e-10, atol=1e-12)
    step = 1e-6 * np.eye(target.dim)
    ends = target.log_density(x[0] + step), target.log_density(x[0] - step)
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-6, slopes[0], rtol=1e-6, atol=1e-7)


def test_names_shapes_and_labels(target: Any) -> None:
    assert target.form == "native"
    assert dict(target.shapes) == {"mu": (), "tau": (), "z": (8,), "theta": (8,)}
    assert target.names[:3] == ("mu", "tau", "z[0]")
    assert target.free_names[1] == "tau"
    assert target.coords == {"school": SCHOOLS}
    assert target.dims == dict.fromkeys(("z", "theta", "y"), ("school",))
    np.testing.assert_array_equal(target.observed_data["y"], Y)
    assert target._constrained_support()[1] == (0.0, np.inf)


@pytest.mark.parametrize("backend", ["numba", "c", "jax"])
def test_backends_agree(model: Any, target: Any, backend: str) -> None:
    other = fm.targets.from_pymc(model, backend=backend)
    x = np.random.default_rng(1).normal(size=(3, target.dim))
    tolerance = 1e-10 if pytensor.config.floatX == "float64" and backend != "jax" else 1e-5
    for a, b in zip(
        other.log_density_and_gradient(x), target.log_density_and_gradient(x), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(other.constrain(x), target.constrain(x), rtol=tolerance)
    a, b = other.log_likelihood(x)["y"], target.log_likelihood(x)["y"]
    np.testing.assert_allclose(a, b, rtol=tolerance)


def test_constrained_points_are_those_of_pymc() -> None:
    model = constrained()
    target = fm.targets.from_pymc(model)
    x = np.random.default_rng(2).normal(size=(4, target.dim))
    names = [v.name for v in model.unobserved_value_vars]
    theirs = model.compile_fn(model.unobserved_value_vars, inputs=model.value_vars)
    drawn = target.variables.split(target.constrain(x))
    assert set(drawn) <= set(names)
    for i, row in enumerate(x):
        values = dict(zip(names, theirs(point_of(model, target, row)), strict=True))
        for name, array in drawn.items():
            np.testing.assert_allclose(array[i], values[name], rtol=1e-9, atol=1e-12)
    assert (drawn["scale"] > 0).all()
    np.testing.assert_allclose(drawn["mix"].sum(axis=1), 1.0)
    assert (np.diff(drawn["cuts"]) > 0).all()
    np.testing.assert_allclose(drawn["effect"].sum(axis=1), 0.0, atol=1e-12)
    bounds = dict(zip(target.names, target._constrained_support(), strict=True))
    assert bounds["share[0, 0]"] == bounds["mix[0]"] == (0.0, 1.0)
    # And back.
    back = target.unconstrain(target.constrain(x))
    wanted = x.copy()
    place = target._free.places["angle"]
    wanted[:, place] = (wanted[:, place] + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(back, wanted, rtol=1e-7, atol=1e-8)
    parameters = {name: drawn[name] for name in target._parameters}
    np.testing.assert_allclose(target.unconstrain(parameters), back, rtol=1e-12, atol=1e-12)
    with pytest.raises(ArgumentError, match="scale"):
        target.unconstrain({**parameters, "scale": np.full(4, -1.0)})
    with pytest.raises(ArgumentError, match="missing"):
        target.unconstrain({"scale": 1.0})


def test_log_likelihoods_are_the_posterior_without_the_prior(model: Any, target: Any) -> None:
    x = np.random.default_rng(3).normal(size=(6, target.dim))
    each = target.log_likelihood(x)["y"]
    assert each.shape == (6, 8)
    prior = model.compile_logp(vars=model.free_RVs)
    priors = [prior(point_of(model, target, row)) for row in x]
    np.testing.assert_allclose(each.sum(axis=1), target.log_density(x) - priors, rtol=1e-10)
    np.testing.assert_allclose(target.likelihood.log_density(x), each.sum(axis=1), rtol=1e-12)


def test_moments_of_eight_schools(chains: Any) -> None:
    # From a long run: mu 4.4 ± 3.3, tau 3.6 ± 3.2, theta[0] 6.2 ± 5.6.
    for name, mean, sd in (("mu", 4.39, 3.31), ("tau", 3.6, 3.2), ("theta[0]", 6.2, 5.6)):
        column = chains.names.index(name)
        e = chains.expect(lambda x, j=column: x[:, j])
        assert abs(e.mean - mean) < 5 * e.stderr + 0.02 * sd, name
        assert abs(chains[name].std() - sd) < 0.12 * sd, name
    np.testing.assert_allclose(
        chains["theta"], chains["mu"][..., None] + chains["tau"][..., None] * chains["z"]
    )


def test_chains_go_to_arviz(model: Any, chains: Any) -> None:
    import arviz as az

    data = chains.to_arviz(prior=True)
    assert data["posterior"]["theta"].dims == ("chain", "draw", "school")
    assert tuple(data["posterior"]["school"].values) == SCHOOLS
    assert data["log_likelihood"]["y"].shape == (4, 2000, 8)
    np.testing.assert_array_equal(data["observed_data"]["y"], Y)
    assert abs(float(np.median(data["prior"]["tau"])) - 5.0) < 1.0
    with model:
        theirs = pm.compute_log_likelihood(
            chains.to_arviz(log_likelihood=False), progressbar=False, extend_inferencedata=True
        )
    np.testing.assert_allclose(
        data["log_likelihood"]["y"], theirs["log_likelihood"]["y"], rtol=1e-8
    )
    ours, other = az.loo(data), az.loo(theirs)
    name = "elpd_loo" if "elpd_loo" in dir(ours) else "elpd"
    assert abs(getattr(ours, name) - getattr(other, name)) < 1e-8
    kept = chains.with_log_likelihood()[:100]
    assert kept.log_likelihood["y"].shape == (4, 100, 8)


def test_a_model_is_taken_as_it_is(model: Any, tmp_path: Any) -> None:
    s = fm.mcmc.sample(
        model, n_chains=2, n_warmup=300, n_draws=200, keep_warmup=True, rng=3, check=True
    )
    assert s.names[:3] == ("mu", "tau", "z[0]")
    assert s.warmup_draws.shape == (2, 300, 18)
    assert s.coords == {"school": SCHOOLS}
    longer = fm.mcmc.extend(s, 100)
    assert longer.to_arviz()["log_likelihood"]["y"].shape == (2, 300, 8)
    settings = {"n_chains": 2, "n_warmup": 300, "rng": 3, "plan": fm.Plan(store=tmp_path)}
    fm.mcmc.sample(model, n_draws=200, **settings)
    resumed = fm.mcmc.sample(model, n_draws=300, **settings)
    np.testing.assert_array_equal(resumed.draws, longer.draws)
    np.testing.assert_array_equal(longer.draws[:, :200], s.draws)
    start = fm.mcmc.sample(
        model,
        init={"mu": 1.0, "tau": 2.0, "z": np.zeros(8)},
        n_chains=2,
        n_warmup=200,
        n_draws=200,
        rng=0,
    )
    assert np.isfinite(start.draws).all()
    prior = fm.mcmc.sample(model, init="prior", n_chains=2, n_warmup=300, n_draws=200, rng=0)
    assert np.isfinite(prior.draws).all()


def test_evidence_by_two_methods() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0.0, 2.0)
        sigma = pm.HalfNormal("sigma", 1.0)
        pm.Normal("y", mu, sigma, observed=[0.5, 1.0, 2.0, -0.3])
    # By quadrature in mu and sigma.
    m, s = np.meshgrid(np.linspace(-12, 12, 2001), np.linspace(1e-3, 8, 2000), indexing="ij")
    log = -0.5 * (m / 2) ** 2 - np.log(2) - 0.5 * s**2 + np.log(2) - np.log(2 * np.pi)
    for y in (0.5, 1.0, 2.0, -0.3):
        log += -0.5 * ((y - m) / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi)
    cell = (m[1, 0] - m[0, 0]) * (s[0, 1] - s[0, 0])
    exact = np.log(np.exp(log).sum() * cell)
    z = fm.importance.evidence(model, n=20_000, rng=0)
    assert abs(z.log_evidence - exact) < 5 * z.log_evidence_stderr + 1e-3
    assert z.sample.names == ("mu", "sigma")
    assert (z.sample["sigma"] > 0).all()
    r = fm.nested.sample(model, rng=0)
    assert abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr
    assert r.names == ("mu", "sigma")
    assert (r["sigma"] > 0).all()
    assert abs(r.mean[0] - z.sample.mean[0]) < 0.1
    with pytest.raises(ArgumentError, match="prior: given with"):
        fm.nested.sample(fm.targets.from_pymc(model), lambda u: u)


def test_evidence_and_nested_points_go_to_arviz(model: Any, chains: Any) -> None:
    import arviz as az

    loo = az.loo(chains.to_arviz())
    name = "elpd_loo" if "elpd_loo" in dir(loo) else "elpd"
    sigma = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    nested = fm.nested.sample(model, n_live=200, rng=0)
    for s in (nested, fm.importance.evidence(model, rng=0).sample):
        data = s.to_arviz()
        # Of the resampled points, in their order.
        theta = s.resample(rng=0)["theta"]
        wanted = -0.5 * ((Y - theta) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
        found = data["log_likelihood"]["y"]
        np.testing.assert_allclose(found.values[0], wanted, rtol=1e-6, atol=1e-6)
        assert found.dims == ("chain", "draw", "school")
        assert "log_likelihood" not in s.to_arviz(log_likelihood=False)
        assert abs(getattr(az.loo(data), name) - getattr(loo, name)) < 1.0
    with pytest.raises(ArgumentError, match=r"model (of these chains )?is not known"):
        nested.resample(rng=0).to_arviz(log_likelihood=True)


def test_priors_follow_their_laws() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 1.0, 2.0)
        pm.Exponential("rate", 1.0)
        pm.MvNormal("vector", np.ones(2) * mu, np.array([[2.0, 0.5], [0.5, 1.0]]))
        pm.Dirichlet("mix", np.array([1.0, 2.0, 3.0]))
        pm.HalfStudentT("half", 3.0, 2.0)
    target = fm.targets.from_pymc(model)
    u = fm.random.Stream(0).uniform((4000, target.dim))
    drawn = target.variables.split(target.constrain(target.prior_transform(u)))
    theirs = pm.draw([model[name] for name in drawn], draws=4000, random_seed=1)
    for (name, array), other in zip(drawn.items(), theirs, strict=True):
        gap = np.abs(
            np.quantile(array, [0.2, 0.5, 0.8], 0) - np.quantile(other, [0.2, 0.5, 0.8], 0)
        )
        assert (gap < 0.15 * (1 + other.std(0))).all(), name
    np.testing.assert_allclose(
        np.cov((drawn["vector"] - drawn["mu"][:, None]).T), [[2.0, 0.5], [0.5, 1.0]], atol=0.15
    )


def test_what_is_no_model_of_ours_is_refused() -> None:
    with pm.Model() as discrete:
        pm.Poisson("n", 3.0)
    with pytest.raises(ArgumentError, match="'n' is discrete"):
        fm.targets.from_pymc(discrete)
    with pytest.raises(ArgumentError, match="without free variables"):
        fm.targets.from_pymc(pm.Model())
    with pytest.raises(ArgumentError, match=r"pymc\.Model"):
        fm.targets.from_pymc(lambda x: x)
    with pm.Model() as model:
        pm.LKJCholeskyCov("chol", n=2, eta=2.0, sd_dist=pm.Exponential.dist(1.0))
    with pytest.raises(ArgumentError, match="'chol'"):
        fm.nested.sample(model)
    with pytest.raises(ArgumentError, match="has no log-likelihood by observation"):
        fm.targets.from_pymc(model).log_likelihood(np.zeros((1, 3)))
    with pytest.raises(ArgumentError, match="names: given"):
        fm.mcmc.sample(model, names=["a"])


def test_points_that_a_model_cannot_be_evaluated_at() -> None:
    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Potential("p", pm.math.switch(x > 0, 0.0, np.nan))
    target = fm.targets.from_pymc(model)
    s = fm.mcmc.sample(target, n_chains=2, n_warmup=200, n_draws=500, init=[[0.5], [1.0]], rng=0)
    assert (s.draws > 0).all()
    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Potential("p", x * np.nan)
    with pytest.raises(fm.errors.TargetError, match="returned 1"):
        fm.mcmc.sample(model, rng=0)


def test_data_are_those_of_the_model_and_stay() -> None:
    with pm.Model() as model:
        data = pm.Data("data", np.array([1.0, 2.0, 4.0]))
        mu = pm.Normal("mu", 0.0, 10.0)
        pm.Normal("y", mu, 1.0, observed=data)
    target = fm.targets.from_pymc(model)
    before = target.log_density([[0.5]])
    with model:
        pm.set_data({"data": np.array([5.0, 2.0, 4.0])})
    np.testing.assert_array_equal(target.log_density([[0.5]]), before)
    after = fm.targets.from_pymc(model).log_density([[0.5]])
    np.testing.assert_allclose(after - before, -0.5 * (4.5**2 - 0.5**2))


def test_masked_data_and_several_likelihoods() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Normal("a", mu, 1.0, observed=np.ma.masked_invalid([1.0, np.nan, 2.0]))
        pm.MvNormal("b", np.zeros(2), np.eye(2), observed=np.ones((3, 2)))
    target = fm.targets.from_pymc(model)
    each = target.log_likelihood(np.zeros((2, target.dim)))
    assert {k: v.shape for k, v in each.items()} == {"a_observed": (2, 2), "b": (2, 3)}
    s = fm.mcmc.sample(target, n_chains=2, n_warmup=200, n_draws=300, rng=0)
    assert s["a"].shape == (2, 300, 3)
    assert set(s.to_arviz()["log_likelihood"].data_vars) == {"a_observed", "b"}


def test_a_pickle_compiles_the_model_again(model: Any, target: Any) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    again = pickle.loads(cloudpickle.dumps(target))
    x = np.zeros((1, target.dim))
    np.testing.assert_allclose(again.log_density(x), target.log_density(x))


def test_a_fall_back_is_told(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fermiac.targets import numba_adapters

    def fails(*_: Any) -> Any:
        raise NotImplementedError("no such operation")

    monkeypatch.setattr(numba_adapters, "point_gradient", fails)
    with pytest.warns(FermiacWarning, match="no such operation"):
        target = fm.targets.from_pymc(model)
    assert target.backend == "c"
    assert target.form == "python"


def test_models_of_bambi() -> None:
    bambi = pytest.importorskip("bambi")
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    table = pandas.DataFrame({"x": x, "y": 1 + 2 * x + rng.normal(size=50)})
    s = fm.mcmc.sample(bambi.Model("y ~ x", table), n_draws=500, rng=0)
    assert abs(s["x"].mean() - 2) < 0.6
    assert "Intercept" in s
