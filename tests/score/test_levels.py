"""Levels that calls of score models ask at: within the model's range, named as the user does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning

Array = NDArray[np.float64]
LOW, HIGH = 0.1, 5.0


class Ranged(fm.score.Model):
    """A standard normal law that is known on a range of levels, and notes where it is asked."""

    dim = 2
    sigma_range = (LOW, HIGH)

    def __init__(self, clamp: bool = False) -> None:
        self.clamp = clamp
        self.asked: list[float] = []

    def _denoise(self, y: Array, sigma: Array) -> Array:
        self.asked += [float(sigma.min()), float(sigma.max())]
        return y / (1 + np.square(sigma)[:, None])

    @property
    def within(self) -> bool:
        return all(LOW * (1 - 1e-9) <= s <= HIGH * (1 + 1e-9) for s in self.asked if s > 0)


WIDE = (0.05, 10.0)
#: Calls that make their levels from a range.
CALLS: dict[str, Any] = {
    "sample": lambda m: fm.score.sample(m, 3, sigma_range=WIDE),
    "searched": lambda m: fm.score.searched(m, 3, WIDE, probes=4, n_trials=3),
    "log_likelihood": lambda m: fm.score.log_likelihood(m, np.zeros((2, 2)), WIDE),
    "langevin_gibbs": lambda m: fm.score.langevin_gibbs(
        m,
        levels=2,
        sigma_range=WIDE,
        n_chains=3,
        n_draws=2,
        n_warmup=2,
        noise_predictor=fm.score.LevelEstimate(force=True),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_range_is_held_to_the_model(name: str) -> None:
    strict = Ranged()
    with pytest.raises(ArgumentError, match=r"^sigma_range: 0\.05 lies outside"):
        CALLS[name](strict)
    assert not strict.asked
    clamped = Ranged(clamp=True)
    with pytest.warns(FermiacWarning, match="moved to its end") as told:
        CALLS[name](clamped)
    assert len([w for w in told if "moved" in str(w.message)]) == 1
    assert clamped.asked
    assert clamped.within


def test_levels_beyond_the_range_are_named_as_they_were_given() -> None:
    y0 = np.ones((2, 2))
    with pytest.raises(ArgumentError, match=r"^sigmas: 10 lies outside"):
        fm.score.integrate(Ranged(), y0, [10.0, 1.0])
    how: dict[str, Any] = {"n_chains": 3, "noise_predictor": fm.score.LevelEstimate(force=True)}
    with pytest.raises(ArgumentError, match=r"^levels: 10 lies outside"):
        fm.score.langevin_gibbs(Ranged(), levels=[10.0, 1.0], **how)
    for sigmas in ([10.0, 7.0, 1.0], [[10.0, 7.0, 1.0], [3.0, 2.0, 1.0]]):
        with (
            pytest.warns(FermiacWarning, match="moved"),
            pytest.raises(ArgumentError, match=r"^sigmas: two levels or more"),
        ):
            fm.score.integrate(Ranged(clamp=True), y0, sigmas)


def test_a_range_that_begins_at_no_noise_is_no_default() -> None:
    model = Ranged()
    model.sigma_range = (0.0, HIGH)
    for call in (fm.score.sample, fm.score.langevin_gibbs):
        with pytest.raises(ArgumentError, match=r"^sigma_range: not given, .* begins at 0"):
            call(model, 3) if call is fm.score.sample else call(model)


def test_added_noise_stays_within_the_range() -> None:
    """A step of a Heun integrator with churn starts above its level."""
    y0 = np.ones((3, 2))
    grid = fm.score.karras(10, LOW, HIGH)
    fits = fm.score.Heun(churn=40, churn_range=(0.0, HIGH / np.sqrt(2)))
    wide = fm.score.Heun(churn=40)
    for clamp in (False, True):
        model = Ranged(clamp)
        for sigmas in (grid, np.tile(grid, (3, 1))):
            with pytest.raises(ArgumentError, match=r"^integrator: .* to level 7\.07.*churn_range"):
                fm.score.integrate(model, y0, sigmas, wide)
        with pytest.raises(ArgumentError, match=r"^integrator: .*churn_range"):
            fm.score.stepper(model, y0, grid, wide)
        assert not model.asked
        fm.score.integrate(model, y0, grid, fits, rng=0)
        fm.score.integrate(model, y0, grid[4:], wide, rng=0)
        assert model.within


def test_added_noise_of_chains_stays_within_the_range() -> None:
    how: dict[str, Any] = {
        "n_chains": 8,
        "n_draws": 2,
        "levels": 2,
        "noise_predictor": fm.score.LevelEstimate(force=True),
        "rng": 0,
    }
    for name in ("denoiser", "init_integrator"):
        for top in (np.inf, HIGH, 0.75 * HIGH):
            heun = fm.score.Heun(churn=40, churn_range=(0.0, top))
            with pytest.raises(ArgumentError, match=rf"^{name}: .*churn_range"):
                fm.score.langevin_gibbs(Ranged(), **how, **{name: heun})
        model = Ranged()
        heun = fm.score.Heun(churn=40, churn_range=(0.0, HIGH / np.sqrt(2)))
        fm.score.langevin_gibbs(model, **how, **{name: heun, "sigma_range": (LOW, HIGH)})
        assert model.within


@pytest.mark.parametrize("sigmas", [[5.0, 0.0], [[5.0, 1.0], [5.0, 0.0]]], ids=["one", "rows"])
def test_adaptive_steps_need_a_level_to_end_at(sigmas: Any) -> None:
    """One step to no noise is one denoising, which nobody means who asks for a tolerance."""
    for name in ("rk45", "dop853"):
        with pytest.raises(ArgumentError, match=r"^sigmas: .* a small level above 0"):
            fm.score.integrate(Ranged(), np.ones((2, 2)), sigmas, name)
    with pytest.raises(ArgumentError, match=r"^sigmas: .* a small level above 0"):
        fm.score.sample(Ranged(), 2, n_steps=1, integrator="dop853")


class Gap(Ranged):
    """The law with a number missing in the second row, below level 1."""

    def _denoise(self, y: Array, sigma: Array) -> Array:
        denoised = super()._denoise(y, sigma)
        low = np.broadcast_to(sigma, len(y)) < 1
        denoised[(y[:, 0] < 0) & low] = np.nan
        return denoised


def test_adaptive_solutions_tell_what_they_took() -> None:
    y0 = np.array([[3.0, 1.0], [-3.0, 1.0], [0.5, 40.0]])
    for integrator, cost in ((fm.score.Adaptive(), 12), (fm.score.Adaptive("dopri5"), 6)):
        found = integrator.solve(Ranged(), y0, [HIGH, LOW])
        np.testing.assert_array_equal(
            found.y, fm.score.integrate(Ranged(), y0, [HIGH, LOW], integrator)
        )
        assert (found.sigma == LOW).all()
        assert (found.n_accepted > 0).all()
        steps = found.n_accepted + found.n_rejected
        assert ((found.n_evals >= (cost - 1) * steps) & (found.n_evals < (cost + 2) * steps)).all()
        assert integrator.solve(Ranged(), y0[:0], [HIGH, LOW]).n_evals.shape == (0,)


def test_frozen_rows_of_adaptive_integrators_are_told() -> None:
    y0 = np.array([[3.0, 1.0], [-3.0, 1.0], [0.5, 4.0]])
    with pytest.warns(FermiacWarning, match=r"^1 of 3 rows were frozen") as told:
        fm.score.integrate(Gap(), y0, [HIGH, LOW], "dop853", on_nan="freeze")
    assert told[0].filename == __file__
    found = fm.score.Adaptive().solve(Gap(), y0, [HIGH, LOW], on_nan="freeze")
    assert (found.sigma != LOW).tolist() == [False, True, False]
