"""WALNUTS: the law in narrow regions, halvings where they are needed, NUTS without them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ConvergenceWarning
from fermiac.mcmc import NUTS, WALNUTS

Array = NDArray[np.float64]


def test_without_halvings_it_is_nuts() -> None:
    given: dict[str, Any] = {"n_warmup": 0, "n_draws": 60, "rng": 3}
    target = fm.targets.eight_schools()
    settings: dict[str, Any] = {"step_size": 0.4, "metric": "unit"}
    walnuts = WALNUTS(max_halvings=0, **settings)
    s, t = (fm.mcmc.sample(target, kernel=k, **given) for k in (walnuts, NUTS(**settings)))
    np.testing.assert_array_equal(s.draws, t.draws)
    np.testing.assert_array_equal(s.stats["n_steps"], t.stats["n_steps"])
    np.testing.assert_array_equal(s.stats["n_macro_steps"], t.stats["n_steps"])
    assert (s.stats["max_halvings"] == 0).all()
    assert not s.stats["irreversible"].any()


@pytest.mark.parametrize("rng", [1, 2])
def test_the_neck_of_a_funnel_is_reached(rng: int) -> None:
    s = fm.mcmc.sample(fm.targets.funnel(10), kernel=WALNUTS(), n_draws=2000, rng=rng)
    for function, exact in (
        (lambda x: x[..., 0] < -5, 0.0477904),
        (lambda x: x[..., 0], 0.0),
        (lambda x: x[..., 0] ** 2, 9.0),
    ):
        e = s.expect(function)
        assert abs(float(e.mean) - exact) < 5 * float(e.stderr)
    assert s.draws[..., 0].min() < -6
    assert not s.stats["diverging"].any()


def test_small_steps_are_made_only_where_they_are_needed() -> None:
    s = fm.mcmc.sample(fm.targets.funnel(10), kernel=WALNUTS(), n_draws=1000, rng=1)
    neck = s.draws[:, :-1, 0] < -4
    most = s.stats["max_halvings"][:, 1:]
    assert most[neck].mean() > most[~neck].mean() + 2
    assert (s.stats["min_halvings"] <= s.stats["max_halvings"]).all()
    assert s.stats["n_steps"].dtype == s.stats["n_macro_steps"].dtype == np.int64
    assert s.stats["irreversible"].dtype == bool
    law = fm.distributions.Normal(np.zeros(20), np.ones(20))
    normal = fm.mcmc.sample(law, kernel=WALNUTS(), n_draws=500, rng=1)
    assert normal.stats["max_halvings"].mean() < 0.2


def test_a_step_of_the_density_is_crossed() -> None:
    """Energies differ by 3 at the step, however small the steps are."""

    def density(x: Array) -> tuple[Array, Array]:
        return -0.5 * x[:, 0] ** 2 - 3.0 * (x[:, 0] > 0), -x

    kernel = WALNUTS(step_size=0.9, metric="unit", max_halvings=3)
    s = fm.mcmc.sample(
        density, 1, gradient=True, check_gradient=False, kernel=kernel, n_draws=4000, rng=1
    )
    e = s.expect(lambda x: x[..., 0] > 0)
    assert abs(float(e.mean) - 1 / (1 + np.exp(3.0))) < 5 * float(e.stderr)
    assert s.stats["max_halvings"].max() == 3


def test_walls_end_trajectories_and_are_warned_of() -> None:
    def wall(x: Array) -> tuple[Array, Array]:
        return np.where(np.abs(x[:, 0]) < 1, -0.5 * x[:, 0] ** 2, -np.inf), -x

    kernel = WALNUTS(step_size=1.0, metric="unit", max_halvings=2)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        s = fm.mcmc.sample(
            wall,
            1,
            gradient=True,
            check_gradient=False,
            kernel=kernel,
            n_draws=500,
            rng=1,
            init=[0.5],
        )
    assert np.abs(s.draws).max() < 1
    assert s.stats["diverging"].any()
    assert np.isfinite(s.stats["acceptance_rate"]).all()


def test_the_step_size_fits_the_bulk() -> None:
    """NUTS needs small steps everywhere, WALNUTS only in the neck."""
    target = fm.targets.funnel(5)
    s = fm.mcmc.sample(target, kernel=WALNUTS(), n_draws=200, rng=1)
    law = fm.distributions.Normal(np.zeros(30), np.ones(30))
    steps = [
        fm.mcmc.sample(law, kernel=kernel, n_draws=100, rng=1).adaptation["step_sizes"][0][0]
        for kernel in (WALNUTS(), NUTS(target_accept=0.8))
    ]
    assert abs(np.log(steps[0] / steps[1])) < 0.25
    assert s.adaptation["step_sizes"][0][0] > 0.2


def test_it_is_a_block_of_a_composition() -> None:
    law = fm.distributions.Normal([0.0, 1.0, 2.0], [1.0, 2.0, 0.5])
    blocks = {"x": [0, 1], "y": 2}
    kernel = fm.mcmc.Gibbs([("x", WALNUTS()), ("y", "walnuts")], blocks=blocks)
    s = fm.mcmc.sample(law, kernel=kernel, n_draws=1000, rng=1)
    errors = s.expect(lambda x: x).stderr
    assert (np.abs(s.draws.mean(axis=(0, 1)) - [0.0, 1.0, 2.0]) < 5 * errors).all()


def test_an_extended_run_is_a_longer_run() -> None:
    target = fm.targets.funnel(4)
    given: dict[str, Any] = {"kernel": "walnuts", "n_warmup": 100, "rng": 5}
    longer = fm.mcmc.sample(target, n_draws=30, **given)
    extended = fm.mcmc.extend(fm.mcmc.sample(target, n_draws=10, **given), 20)
    np.testing.assert_array_equal(longer.draws, extended.draws)
