"""HMC, NUTS, WALNUTS: closed forms, laws that transitions keep, the same bits for all drivers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from forms import DENSITIES, DIM, MEAN, SD
from numpy.typing import NDArray

import fermiac as fm
from fermiac import _core
from fermiac.errors import ArgumentError
from fermiac.mcmc import HMC, MALA, NUTS, WALNUTS, Kernel

Array = NDArray[np.float64]

N_CHAINS = 8_000


class Chains:
    """Chains that are run bit by bit, with the driver and threads that a test asks for."""

    def __init__(self, target: Any, kernel: Kernel, x0: Array, rng: int, n_warmup: int = 0) -> None:
        self.oracles: list[tuple[str, Any]] = [("density", target._handle)]
        self.x0 = np.ascontiguousarray(x0, dtype=float)
        self.done = 0
        warmup = (n_warmup, 0, 10, 15)
        spec = kernel._spec(target.dim, self.oracles)
        self.core = _core.Sampler(spec, target.dim, self.x0, warmup, True, rng)

    def run(self, n: int, driver: str = "auto", n_threads: int = 1) -> tuple[Array, Array]:
        """Draws (chains, n, d) and statistics (chains, n, k) of `n` more transitions."""
        chains, dim = self.x0.shape
        draws = np.empty((chains, n, dim))
        stats = np.empty((chains, n, len(self.core.stat_names)))
        record = {"first": self.done, "thin": 1, "n_slots": n, "draws": draws, "stats": stats}
        record |= {"log_densities": None, "gradients": None}
        self.done += n
        reached, error = self.core.run(
            self.oracles, self.done, record, None, n_threads, 1, None, driver
        )
        if error is not None:
            raise error
        assert reached
        return draws, stats

    def stat(self, stats: Array, name: str) -> Array:
        return stats[..., self.core.stat_names.index(name)]


def z_of(values: Array, mean: float) -> float:
    return float((values.mean() - mean) / (values.std() / np.sqrt(len(values))))


def standard_normal() -> Any:
    return fm.targets.as_target(fm.distributions.Normal(np.zeros(1), np.ones(1)))


@pytest.mark.parametrize(
    ("step", "n_steps", "rate"),
    [
        (0.5, 3, 0.9794910),
        (1.0, 1, 0.9208332),
        (1.5, 1, 0.7458482),
        (np.sqrt(2.0), 1, 0.7836531),
        (1.2, 4, 0.8718954),
    ],
)
def test_hmc_accepts_at_the_exact_rate(step: float, n_steps: int, rate: float) -> None:
    """(4/π) arctan(1/s), s the largest singular value of the trajectory's matrix."""
    kernel = HMC(step_size=step, n_steps=n_steps, jitter=0, metric="unit")
    x0 = np.random.default_rng(5).normal(size=(N_CHAINS, 1))
    chains = Chains(standard_normal(), kernel, x0, 1)
    _, stats = chains.run(2)
    assert abs(z_of(chains.stat(stats, "acceptance_rate").mean(axis=1), rate)) < 5
    assert abs(z_of(chains.stat(stats, "accepted").mean(axis=1), rate)) < 5
    assert np.all(chains.stat(stats, "n_steps") == n_steps)


def test_one_leapfrog_step_is_mala() -> None:
    x0 = np.array([[0.3, -0.4, 1.0]] * 50)
    target = fm.targets.as_target(fm.distributions.Normal(np.array(MEAN), np.array(SD)))
    metric = np.array([1.0, 0.3, 4.0])
    runs = []
    kernels = (
        HMC(n_steps=1, step_size=0.9, jitter=0, metric=metric),
        MALA(step_size=0.9, metric=metric),
    )
    for kernel in kernels:
        chains = Chains(target, kernel, x0, 3)
        draws, stats = chains.run(20)
        runs.append((draws, chains.stat(stats, "acceptance_rate")))
    np.testing.assert_allclose(runs[0][0], runs[1][0], rtol=1e-9)
    np.testing.assert_allclose(runs[0][1], runs[1][1], rtol=1e-9)


COVARIANCE = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, -0.2], [0.1, -0.2, 0.6]])


def normal_points(n: int) -> Array:
    return np.random.default_rng(11).normal(size=(n, 3)) @ np.linalg.cholesky(COVARIANCE).T


def banana_points(n: int) -> Array:
    z = np.random.default_rng(12).normal(size=(n, 2))
    return np.column_stack([2 * z[:, 0], z[:, 1] - 0.2 * ((2 * z[:, 0]) ** 2 - 4)])


def funnel_points(n: int) -> Array:
    z = np.random.default_rng(13).normal(size=(n, 3))
    return np.column_stack([1.5 * z[:, :1], z[:, 1:] * np.exp(0.75 * z[:, :1])])


def mixture_points(n: int) -> Array:
    generator = np.random.default_rng(14)
    return generator.normal(size=(n, 1)) + np.where(generator.random((n, 1)) < 0.3, -2.0, 2.0)


def mixture(x: Array) -> tuple[Array, Array]:
    low, high = np.log(0.3) - 0.5 * (x + 2) ** 2, np.log(0.7) - 0.5 * (x - 2) ** 2
    value = np.logaddexp(low, high)
    share = np.exp(low - value)
    return value[:, 0], -share * (x + 2) - (1 - share) * (x - 2)


LAWS: dict[str, tuple[Callable[[], Any], Callable[[int], Array]]] = {
    "normal": (
        lambda: fm.targets.as_target(fm.distributions.MultivariateNormal(np.zeros(3), COVARIANCE)),
        normal_points,
    ),
    "banana": (lambda: fm.targets.banana(2, curvature=0.2, scale=2.0), banana_points),
    "funnel": (lambda: fm.targets.funnel(3, scale=1.5), funnel_points),
    "mixture": (lambda: fm.targets.as_target(mixture, 1, gradient=True), mixture_points),
}
KERNELS = {
    "nuts": NUTS(step_size=0.5, metric="unit"),
    "nuts_diag": NUTS(step_size=0.35, metric="fixed"),
    "nuts_shallow": NUTS(step_size=0.2, max_depth=2, metric="unit"),
    "nuts_coarse": NUTS(step_size=1.1, metric="unit"),
    "walnuts": WALNUTS(step_size=1.1, metric="unit"),
    "walnuts_fine": WALNUTS(step_size=0.7, energy_tolerance=0.02, max_depth=3, metric="unit"),
    "walnuts_few": WALNUTS(step_size=2.5, energy_tolerance=0.2, max_halvings=2, metric="fixed"),
    "hmc": HMC(step_size=0.5, metric="unit"),
    "hmc_steps": HMC(step_size=0.6, n_steps=4, jitter=0.5, metric="fixed"),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", KERNELS)
def test_transitions_keep_the_law(name: str, law: str) -> None:
    """From exact draws: means, squares and quantiles after three transitions."""
    make, points = LAWS[law]
    target, x0 = make(), points(N_CHAINS)
    kernel = KERNELS[name]
    if kernel.metric == "fixed":
        d = target.dim
        metric = np.linspace(0.5, 2.0, d) if "nuts_diag" in name else np.eye(d) + 0.3
        kernel = type(kernel)(**{**dict(kernel._fields()), "metric": metric})
    exact = points(8 * N_CHAINS)
    draws, _ = Chains(target, kernel, x0, 21).run(3)
    last = draws[:, -1]
    assert (last != x0).any(axis=1).mean() > 0.3
    for j in range(target.dim):
        ends = np.quantile(exact[:, j], [0.02, 0.3, 0.5, 0.9])
        for function in (
            lambda x: x,
            lambda x: np.tanh(x) ** 2,
            *(lambda x, q=q: x < q for q in ends),
        ):
            a, b = (np.asarray(function(v[:, j]), dtype=float) for v in (last, exact))
            error = np.sqrt(a.var() / len(a) + b.var() / len(b))
            assert abs(a.mean() - b.mean()) < 5 * error
    if target.dim > 1:
        a, b = last[:, 0] * last[:, 1], exact[:, 0] * exact[:, 1]
        assert abs(a.mean() - b.mean()) < 5 * np.sqrt(a.var() / len(a) + b.var() / len(b))


ADAPTED = {
    "nuts": NUTS(),
    "diag": NUTS(metric="diag"),
    "low_rank": NUTS(metric="low_rank"),
    "draws": NUTS(estimator="draws"),
    "walnuts": WALNUTS(),
    "hmc": HMC(),
}


@pytest.mark.parametrize(
    "kernel",
    [NUTS(), HMC(metric="low_rank"), WALNUTS(energy_tolerance=0.3)],
    ids=["nuts", "hmc", "walnuts"],
)
@pytest.mark.parametrize("make", DENSITIES)
def test_all_forms_drivers_and_threads_give_the_same_bits(
    make: Callable[[], Any], kernel: Kernel
) -> None:
    target = make()
    x0 = np.random.default_rng(1).normal(size=(4, DIM))
    runs = [Chains(target, kernel, x0, 9, 40).run(50, "lock", n) for n in (1, 2, 3)]
    if target.form in ("builtin", "native"):
        runs += [Chains(target, kernel, x0, 9, 40).run(50, "free", n) for n in (1, 2, 3)]
    for draws, stats in runs[1:]:
        np.testing.assert_array_equal(draws, runs[0][0])
        np.testing.assert_array_equal(stats, runs[0][1])


@pytest.mark.parametrize("kernel", ADAPTED.values(), ids=ADAPTED)
@pytest.mark.parametrize("n", [0, 7, 33, 79, 90])
def test_a_saved_run_goes_on_with_the_same_bits(kernel: Kernel, n: int) -> None:
    target = fm.targets.eight_schools()
    x0 = np.random.default_rng(1).normal(size=(3, target.dim))
    whole, _ = Chains(target, kernel, x0, 4, 80).run(120)
    first = Chains(target, kernel, x0, 4, 80)
    if n:
        first.run(n)
    second = Chains(target, kernel, x0 + 1, 5, 80)
    second.core.load(first.core.save())
    second.done = n
    rest, _ = second.run(120 - n)
    np.testing.assert_array_equal(rest, whole[:, n:])


@pytest.mark.parametrize(
    "kernel",
    [NUTS(), HMC(), WALNUTS(energy_tolerance=0.3)],
    ids=["nuts", "hmc", "walnuts"],
)
def test_a_run_can_be_saved_within_a_transition(kernel: Kernel) -> None:
    """A run that is stopped by an exception stands at a question."""
    calls, stop = [0], [1 << 60]

    def slope(x: Array) -> tuple[Array, Array]:
        calls[0] += 1
        if calls[0] == stop[0]:
            raise KeyError("stop")
        return -0.5 * (x**2).sum(axis=1), -x

    target = fm.targets.as_target(slope, 4, gradient=True)
    x0 = np.random.default_rng(1).normal(size=(3, 4))
    whole, _ = Chains(target, kernel, x0, 4, 40).run(60)
    for at in (1, 2, 5, 11, 60, 90):
        calls[0], stop[0] = 0, at
        broken = Chains(target, kernel, x0, 4, 40)
        with pytest.raises(KeyError):
            broken.run(60)
        stop[0] = 1 << 60
        again = Chains(target, kernel, x0, 5, 40)
        again.core.load(broken.core.save())
        done = max(again.core.n_done)
        again.done = done
        rest, _ = again.run(60 - done)
        np.testing.assert_array_equal(rest, whole[:, done:])


def test_a_foreign_state_is_refused() -> None:
    target = standard_normal()
    words = Chains(target, NUTS(), np.zeros((2, 1)), 0).core.save()
    chains = Chains(target, NUTS(), np.zeros((2, 1)), 0)
    for wrong in (words[:-1], np.append(words, words[:1]), np.full_like(words, 1 << 40)):
        with pytest.raises(ArgumentError):
            chains.core.load(wrong)


def test_divergences_and_cliffs_are_reported() -> None:
    def cliff(x: Array) -> tuple[Array, Array]:
        value = np.where(np.abs(x[:, 0]) < 1, -0.5 * x[:, 0] ** 2, -np.inf)
        return value, -x

    target = fm.targets.as_target(cliff, 1, gradient=True)
    for kernel in (NUTS(step_size=1.0, metric="unit"), HMC(step_size=1.0, metric="unit")):
        chains = Chains(target, kernel, np.zeros((500, 1)), 1)
        draws, stats = chains.run(20)
        assert np.abs(draws).max() < 1
        diverging = chains.stat(stats, "diverging")
        assert 0.2 < diverging.mean() < 1
        assert set(np.unique(diverging)) == {0.0, 1.0}
        assert np.isfinite(chains.stat(stats, "acceptance_rate")).all()


def test_depth_is_bounded() -> None:
    target = fm.targets.as_target(fm.distributions.Normal(np.zeros(2), np.array([1.0, 100.0])))
    chains = Chains(target, NUTS(step_size=0.1, max_depth=3), np.ones((20, 2)), 1)
    _, stats = chains.run(30)
    depth, reached = (chains.stat(stats, name) for name in ("tree_depth", "reached_max_depth"))
    assert depth.max() == 3
    np.testing.assert_array_equal(reached, depth == 3)
    assert chains.stat(stats, "n_steps").max() == 7
    energy = chains.stat(stats, "energy")
    assert np.isfinite(energy).all()


@pytest.mark.parametrize("kernel", ADAPTED.values(), ids=ADAPTED)
def test_the_warm_up_finds_the_scales_and_the_acceptance(kernel: Kernel) -> None:
    sd = np.array([1e-3, 1.0, 1e3])
    target = fm.targets.as_target(fm.distributions.Normal(np.zeros(3), sd))
    s = fm.mcmc.sample(target, kernel=kernel, n_warmup=300, n_draws=500, rng=2)
    z = s.draws.mean(axis=(0, 1)) / sd
    assert np.abs(z).max() < 0.25
    assert np.abs(s.draws.std(axis=(0, 1)) / sd - 1).max() < 0.2
    assert s.n_evals < (400_000 if kernel is ADAPTED["draws"] else 40_000)


@pytest.mark.parametrize("metric", ["dense", "low_rank"])
def test_a_metric_of_gradients_is_exact_for_normal_laws(metric: str) -> None:
    """Three directions of unequal scale, found in a warm-up of 60 transitions of 2 chains."""
    generator = np.random.default_rng(8)
    d = 60
    basis = np.linalg.qr(generator.normal(size=(d, 3)))[0]
    covariance = np.eye(d) + basis @ np.diag([400.0, 60.0, -0.95]) @ basis.T
    target = fm.targets.as_target(fm.distributions.MultivariateNormal(np.zeros(d), covariance))
    chains = Chains(target, NUTS(metric=metric), generator.normal(size=(2, d)), 3, 60)
    chains.run(60)
    got = np.array(chains.core.adaptation()["inverse_metrics"][0])
    if metric == "dense":
        np.testing.assert_allclose(got.reshape(d, d), covariance, atol=0.02 * 400)
        got = np.diag(got.reshape(d, d))
    np.testing.assert_allclose(got, np.diag(covariance), rtol=0.3)
    _, stats = chains.run(50)
    assert chains.stat(stats, "n_steps").mean() < 20


def test_nuts_is_the_default() -> None:
    s = fm.mcmc.sample(fm.targets.eight_schools(), n_warmup=50, n_draws=20, rng=1)
    again = fm.mcmc.sample(
        fm.targets.eight_schools(), kernel=NUTS(), n_warmup=50, n_draws=20, rng=1
    )
    assert s.settings["kernel"] == "NUTS"
    np.testing.assert_array_equal(s.draws, again.draws)


def test_eight_schools_have_the_exact_moments() -> None:
    s = fm.mcmc.sample(fm.targets.eight_schools(), n_draws=4000, rng=3)
    ess = fm.diagnostics.ess(s.draws[:, :, 0], kind="mean")
    mu = s.draws[:, :, 0]
    assert abs(mu.mean() - 4.396821) < 5 * 3.317704 / np.sqrt(ess)


@pytest.mark.parametrize(
    "make",
    [
        lambda: NUTS(target_accept=1.0),
        lambda: NUTS(target_accept=True),
        lambda: NUTS(max_depth=0),
        lambda: NUTS(max_depth=2.5),  # type: ignore[arg-type]
        lambda: NUTS(step_size=0.0),
        lambda: WALNUTS(energy_tolerance=0.0),
        lambda: WALNUTS(energy_tolerance=np.inf),
        lambda: WALNUTS(max_halvings=-1),
        lambda: WALNUTS(max_halvings=21),
        lambda: WALNUTS(max_depth=31),
        lambda: WALNUTS(target_accept=0.0),
        lambda: WALNUTS(estimator="none"),
        lambda: HMC(n_steps=0),
        lambda: HMC(trajectory_length=-1.0),
        lambda: HMC(jitter=1.5),
        lambda: HMC(jitter="much"),  # type: ignore[arg-type]
        lambda: HMC(step_size=np.nan),
        lambda: NUTS(estimator="covariance"),
        lambda: HMC(estimator=1),  # type: ignore[arg-type]
    ],
)
def test_arguments_outside_their_domain_are_refused(make: Callable[[], Kernel]) -> None:
    with pytest.raises(ArgumentError):
        make()


def test_large_dense_metrics_are_refused() -> None:
    law = fm.distributions.Normal(np.zeros(2001), np.ones(2001))
    with pytest.raises(ArgumentError, match="low_rank"):
        fm.mcmc.sample(fm.targets.as_target(law), kernel=NUTS(metric="dense"), rng=0)
    kernel = NUTS(metric="low_rank", estimator="draws")
    with pytest.raises(ArgumentError, match="one of"):
        fm.mcmc.sample(fm.targets.banana(), kernel=kernel, rng=0)
    with pytest.raises(ArgumentError, match="one of"):
        fm.mcmc.sample(fm.targets.banana(), kernel=fm.mcmc.RWM(metric="low_rank"), rng=0)


@pytest.mark.parametrize("metric", ["round", np.eye(3), -np.ones(2), [[1.0, 0.5], [0.2, 1.0]]])
def test_metrics_that_do_not_fit_are_refused(metric: Any) -> None:
    with pytest.raises(ArgumentError):
        fm.mcmc.sample(fm.targets.banana(), kernel=NUTS(metric=metric), n_draws=2, rng=0)
