"""Slice samplers: laws, forms of targets, threads, suspended states, arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chain_runs import LAWS, WARMUP, draws, go, record, sampler
from forms import DENSITIES, DIM, MEAN, SD, law, points

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

Slice, EllipticalSlice, RWM = fm.mcmc.Slice, fm.mcmc.EllipticalSlice, fm.mcmc.RWM


def elliptical(**more: Any) -> Any:
    return EllipticalSlice(fm.distributions.Normal(0.3, 2.5), target="posterior", **more)


KERNELS = {
    "coordinates": lambda: Slice(width=2.0),
    "narrow": lambda: Slice(width=0.3, max_steps=4),
    "one step": lambda: Slice(width=2.0, max_steps=1),
    "random": lambda: Slice(direction="random"),
    "box": lambda: Slice(direction="box", width=6.0),
    "metric": lambda: Slice(metric=[0.5, 2.0, 1.0]),
    "elliptical": elliptical,
    "walk": lambda: RWM(scale=1.5),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_law_is_left_as_it_is(kernel: str, name: str) -> None:
    start = LAWS[name]()
    if kernel == "metric" and start.target.dim != 3:
        pytest.skip("its metric has three variances")
    x0 = start.sample(6000, seed=1)
    x = draws(KERNELS[kernel](), start.target, x0, 2, key=3)["draws"][:, -1]
    assert np.abs(start.scores(x)).max() < 5
    assert (x != x0).any(axis=1).mean() > (0.05 if kernel == "walk" else 0.5)


@pytest.mark.parametrize("name", ["gaussian", "banana"])
@pytest.mark.parametrize("kernel", [Slice(), Slice(direction="random"), Slice(direction="box")])
def test_what_the_warmup_learns_leaves_the_law_as_it_is(kernel: Slice, name: str) -> None:
    start = LAWS[name]()
    learned, _ = sampler(kernel, start.target, start.sample(50, seed=2), warmup=WARMUP)
    chains, oracles = sampler(kernel, start.target, start.sample(50, seed=2), warmup=WARMUP)
    go(chains, oracles, 40, record(chains, 40, np.empty((50, start.target.dim))))
    words = chains.save()
    learned.load(words)
    metric = np.array(learned.adaptation()["inverse_metrics"][0]).reshape(start.target.dim, -1)
    widths = np.array(learned.adaptation()["step_sizes"])
    assert (widths == widths[0]).all()
    assert ((widths > 1.5) & (widths < 8.0)).all()
    x0 = start.sample(6000, seed=3)
    fixed = Slice(width=float(widths.mean()), direction=kernel.direction, metric=metric)
    x = draws(fixed, start.target, x0, 1, key=4)["draws"][:, -1]
    assert np.abs(start.scores(x)).max() < 5


@pytest.mark.parametrize("kernel", [RWM(), Slice(), Slice(direction="box")])
def test_units_that_are_far_from_those_of_the_starts(kernel: Any) -> None:
    root = np.array([[1e-4, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 6e3, 8e3]])
    target = fm.targets.law_density(fm.distributions.MultivariateNormal([0, 0, 0], root @ root.T))
    s = fm.mcmc.sample(target, kernel=kernel, n_warmup=4000, n_draws=3000, rng=2)
    u = np.linalg.solve(root, s.draws.reshape(-1, 3).T).T
    assert fm.diagnostics.rhat(s.draws).max() < 1.03
    assert fm.diagnostics.ess(s.draws).min() > 400
    assert ((u.std(axis=0) > 0.85) & (u.std(axis=0) < 1.15)).all()


def test_slices_of_a_uniform_law() -> None:
    def flat(x: Any) -> Any:
        return np.where((np.abs(x) < 1).all(axis=1), 0.0, -np.inf)

    target = fm.targets.as_target(flat, 2)
    x0 = np.random.default_rng(0).uniform(-1, 1, (20_000, 2))
    out = draws(Slice(width=10.0, max_steps=1), target, x0, 1)
    x = out["draws"][:, 0]
    assert np.abs(x).max() < 1
    assert np.abs(x.mean(axis=0)).max() < 5 / np.sqrt(3 * len(x))
    assert (out["log_densities"] == 0).all()
    assert np.abs((x**2).mean(axis=0) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / len(x))


def test_evaluations_are_counted() -> None:
    target = LAWS["gaussian"]().target
    for kernel in (Slice(), Slice(direction="random"), Slice(direction="box"), elliptical()):
        x0 = LAWS["gaussian"]().sample(10, seed=1)
        chains, oracles = sampler(kernel, target, x0)
        out = record(chains, 20, x0)
        go(chains, oracles, 20, out)
        names = list(chains.stat_names)
        evals = out["stats"][:, :, names.index("n_evals")]
        assert evals.sum() + len(x0) == chains.n_evals[0]
        tries = 3 if getattr(kernel, "direction", "box") != "box" else 1
        rate = out["stats"][:, :, names.index("acceptance_rate")]
        assert ((rate > 0) & (rate <= 1)).all()
        assert (evals >= tries).all()
        assert (out["stats"][:, :, names.index("slice_fail")] == 0).all()


@pytest.mark.parametrize("kernel", [Slice(width=1.0), elliptical()])
def test_a_spike_is_not_searched_for_without_end(kernel: Any) -> None:
    def spike(x: Any) -> Any:
        return np.where((x == 0.25).all(axis=1), 1000.0, 0.0)

    target = fm.targets.as_target(spike, 2)
    out = draws(kernel, target, np.full((3, 2), 0.25), 4)
    assert (out["draws"] == 0.25).all()
    n = 2 if isinstance(kernel, Slice) else 1
    assert (out["stats"][:, :, 2] == n).all()
    assert (out["stats"][:, :, 0] == 0).all()


@pytest.mark.parametrize("kernel", [Slice(width=1.0), EllipticalSlice(fm.distributions.Normal())])
def test_a_density_that_forgets_is_not_asked_without_end(kernel: Any) -> None:
    values = iter([0.0])
    target = fm.targets.as_target(lambda x: np.full(len(x), next(values, -1e6)), 1, check=False)
    out = draws(kernel, target, np.zeros((1, 1)), 1)
    assert (out["draws"] == 0).all()
    ends = 2 if isinstance(kernel, Slice) else 0
    assert out["stats"][0, 0, :3].tolist() == [0.0, 200.0 + ends, 1.0]


def test_the_posterior_of_a_normal_prior_and_likelihood() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(4, 3))
    y = rng.normal(size=4)
    cov = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.5]])
    mean = np.array([0.5, 0.0, -1.0])
    prior = fm.distributions.MultivariateNormal(mean, cov)
    precision = np.linalg.inv(cov) + a.T @ a
    centre = np.linalg.solve(precision, np.linalg.solve(cov, mean) + a.T @ y)
    root = np.linalg.cholesky(np.linalg.inv(precision))
    target = fm.targets.as_target(lambda x: -0.5 * ((x @ a.T - y) ** 2).sum(axis=1), 3)
    x0 = rng.normal(size=(6000, 3)) @ root.T + centre
    out = draws(EllipticalSlice(prior), target, x0, 2)
    x = out["draws"][:, -1]
    u = np.linalg.solve(root, (x - centre).T).T
    assert np.abs(u.mean(axis=0)).max() * np.sqrt(6000) < 5
    assert np.abs(u.T @ u / 6000 - np.eye(3)).max() * np.sqrt(3000) < 5
    likelihood = target.log_density(x)
    np.testing.assert_allclose(
        out["log_densities"][:, -1], likelihood + prior.log_density(x), rtol=1e-12
    )
    np.testing.assert_allclose(out["stats"][:, -1, 3], likelihood, rtol=1e-12)


def test_both_targets_of_elliptical_slices_give_the_same_chain() -> None:
    prior = fm.distributions.Normal([0.0, 1.0], [1.0, 2.0])

    def likelihood(x: Any) -> Any:
        return -0.5 * (x[:, 0] + x[:, 1] - 1.0) ** 2

    def posterior(x: Any) -> Any:
        return likelihood(x) + prior.log_density(x)

    one = fm.mcmc.sample(likelihood, 2, kernel=EllipticalSlice(prior), n_draws=200, rng=1)
    two = fm.mcmc.sample(
        posterior, 2, kernel=EllipticalSlice(prior, target="posterior"), n_draws=200, rng=1
    )
    np.testing.assert_allclose(one.draws, two.draws, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.log_densities, two.log_densities, rtol=1e-9)


SOME = {
    "slice": Slice(),
    "random": Slice(direction="random"),
    "box": Slice(direction="box"),
    "elliptical": EllipticalSlice(fm.distributions.Normal(0.0, 3.0), target="posterior"),
    "walk": RWM(),
}


@pytest.mark.parametrize("kernel", SOME)
@pytest.mark.parametrize("make", DENSITIES)
def test_forms_of_targets_and_drivers_give_the_same_chain(make: Any, kernel: str) -> None:
    def run(target: Any, driver: str = "auto", n_threads: int = 1) -> Any:
        chains, oracles = sampler(SOME[kernel], target, points(5), 7, WARMUP)
        out = record(chains, 55, points(5))
        go(chains, oracles, 55, out, driver, n_threads)
        return out

    target = make()
    reference = run(fm.targets.as_target(law()))
    found = run(target)
    # Roundings of the density may turn a comparison, but hardly ever do.
    np.testing.assert_allclose(found["draws"], reference["draws"], rtol=1e-6, atol=1e-9)
    drivers = ["lock"] if target.form == "torch" else ["free", "lock"]
    for driver in drivers:
        for n_threads in (1, 2, 3):
            again = run(target, driver, n_threads)
            for part in ("draws", "log_densities", "stats"):
                np.testing.assert_array_equal(again[part], found[part])


@pytest.mark.parametrize("kernel", SOME)
def test_a_run_goes_on_from_any_question(kernel: str) -> None:
    target, x0 = LAWS["gaussian"]().target, points(4)
    chains, oracles = sampler(SOME[kernel], target, x0, 7, WARMUP)
    whole = record(chains, 55, x0)
    go(chains, oracles, 55, whole)
    chains, oracles = sampler(SOME[kernel], target, x0, 7, WARMUP)
    out = record(chains, 55, x0)
    # A round of questions at a time: every one of them is a place to stop at.
    while not go(chains, oracles, 55, out, "lock", budget=0.0):
        words = chains.save()
        chains, oracles = sampler(SOME[kernel], target, x0, 7, WARMUP)
        chains.load(words)
    for part in ("draws", "log_densities", "stats"):
        np.testing.assert_array_equal(out[part], whole[part])


def test_through_the_front_door() -> None:
    for kernel in SOME.values():
        s = fm.mcmc.sample(law(), kernel=kernel, n_warmup=300, n_draws=1500, rng=3)
        z = (s.draws.mean(axis=(0, 1)) - MEAN) / fm.diagnostics.mcse(s.draws)
        assert np.abs(z).max() < 5
        assert s.settings["kernel"] == type(kernel).__name__
        ratio = s.draws.std(axis=(0, 1)) / SD
        assert ((ratio > 0.8) & (ratio < 1.25)).all()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Slice(width=0.0), "width"),
        (lambda: Slice(width="wide"), "width"),
        (lambda: Slice(max_steps=0), "max_steps"),
        (lambda: Slice(max_steps=2.5), "max_steps"),
        (lambda: Slice(max_steps=True), "max_steps"),
        (lambda: Slice(direction="up"), "direction"),
        (lambda: EllipticalSlice(3.0), "prior"),
        (lambda: EllipticalSlice(fm.distributions.Exponential()), "prior"),
        (lambda: EllipticalSlice(fm.distributions.Normal(), target="prior"), "target"),
        (lambda: RWM(scale=-1.0), "scale"),
        (lambda: RWM(target_accept=1.0), "target_accept"),
    ],
)
def test_bad_arguments(make: Any, named: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{named}: "):
        make()


def test_bad_priors_and_starts() -> None:
    kernel = EllipticalSlice(fm.distributions.Normal([0.0, 1.0], 1.0))
    with pytest.raises(ArgumentError, match=f"prior: a law of 2 coordinates .* of {DIM}"):
        fm.mcmc.sample(law(), kernel=kernel, n_draws=2)
    target = fm.targets.as_target(lambda x: np.full(len(x), -np.inf), 2)
    for each in (Slice(), EllipticalSlice(fm.distributions.Normal())):
        with pytest.raises(TargetError, match="the density is 0"):
            draws(each, target, np.zeros((1, 2)), 1)
