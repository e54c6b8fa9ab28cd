"""Refused arguments, ranges of levels, and notes on errors of users in calls of score models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_forms import DIM, LEVELS, Numbers, exact, points

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning, TargetError

Array = NDArray[np.float64]


class Odd(fm.score.Model):
    """A model whose answers are what a test wants."""

    dim = 2

    def __init__(self, denoised: Any, log_density: Any = 0.0) -> None:
        self.denoised, self.density = denoised, log_density

    def _denoise(self, y: Array, sigma: Array) -> Any:
        return self.denoised(y)

    @property
    def has_log_density(self) -> bool:
        return True

    def _log_density(self, y: Array, sigma: Array) -> Any:
        return self.density(y)


def spoilt(y: Array) -> Array:
    y = y.copy()
    y[-1] = np.nan
    return y


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


class Gap(Ranged):
    """The law with a number missing in the second row, below level 1."""

    def _denoise(self, y: Array, sigma: Array) -> Array:
        denoised = super()._denoise(y, sigma)
        low = np.broadcast_to(sigma, len(y)) < 1
        denoised[(y[:, 0] < 0) & low] = np.nan
        return denoised


@pytest.mark.parametrize("ask", ["denoise", "score", "log_density"])
def test_points_that_are_not_finite_are_refused(ask: str) -> None:
    for model in (exact(), Odd(lambda y: y, lambda y: y[:, 0])):
        with pytest.raises(ArgumentError, match=r"^y: inf was given in row 1"):
            getattr(model, ask)([[0.0, 0.0], [0.0, np.inf]], 1.0)
    with pytest.raises(ArgumentError, match=r"^y0: -inf was given in row 0"):
        fm.score.integrate(exact(), [[-np.inf, 0.0]], LEVELS)


def test_answers_that_cannot_be_used_are_refused() -> None:
    y = points(3)
    levels = [1.0, 2.0, 3.0]
    for ask in ("denoise", "score"):
        with pytest.raises(TargetError, match="not finite, the first in row 2 at level 3"):
            getattr(Odd(spoilt), ask)(y, levels)
        with pytest.raises(TargetError, match=r"shape \(1, 2\).* \(3, 2\) are needed"):
            getattr(Odd(lambda y: y[:1]), ask)(y, levels)
    for density, text in (
        (lambda y: spoilt(y)[:, 0], "log-densities that are not finite, the first in row 2"),
        (lambda y: y, r"shape \(3, 2\).* \(3,\) are needed"),
        (lambda y: np.full(3, np.inf), "row 0 at level 1"),
    ):
        with pytest.raises(TargetError, match=text):
            Odd(None, density).log_density(y, levels)
    nowhere = Odd(None, lambda y: np.full(len(y), -np.inf)).log_density(y, levels)
    assert np.isneginf(nowhere).all()
    with pytest.raises(TargetError, match="not finite"):
        exact().score(np.full((1, DIM), 1e308), 1e-200)
    with pytest.raises(ArgumentError, match="sigma: 0 was given"):
        Odd(lambda y: y).score(y, 0.0)


def test_a_model_that_does_not_denoise_is_told_so() -> None:
    class Nothing(fm.score.Model):
        pass

    with pytest.raises(NotImplementedError, match="Nothing defines no _denoise"):
        Nothing().denoise(points(2), 1.0)


@pytest.mark.parametrize(
    ("y0", "text"),
    [
        (None, "^y0: None"),
        (1.0, r"^y0: shape \(\)"),
        ([1.0, 2.0], r"^y0: shape \(2,\)"),
        ([[1.0, 2.0], [1.0]], "^y0: list was given whose parts"),
        ([["a", "b"]], "^y0: text"),
        (np.zeros((3, 0)), r"^y0: shape \(3, 0\)"),
    ],
    ids=["none", "number", "row", "ragged", "text", "empty"],
)
def test_points_that_are_none(y0: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        fm.score.integrate(exact(), y0, LEVELS)


@pytest.mark.torch
def test_points_that_are_none_on_a_device() -> None:
    pytest.importorskip("torch")
    model = fm.score.ScoreModel(lambda x, s: 0 * x, device="cpu", on_device=True)
    for y0, text in (([["a", "b"]], "text"), ([[1.0], [1.0, 2.0]], "whose parts")):
        with pytest.raises(ArgumentError, match=f"^y0: .*{text}"):
            fm.score.integrate(model, y0, LEVELS)


def test_names_of_arguments() -> None:
    how: dict[str, Any] = {"sigma_range": (0.1, 5.0)}
    with pytest.raises(ArgumentError, match=r"^start: 'cosine'"):
        fm.score.searched(exact(), 3, start="cosine", **how)
    with pytest.raises(ArgumentError, match=r"^start: it gave shape \(2,\)"):
        fm.score.searched(exact(), 3, start=lambda n, low, high: [high, low], **how)
    with pytest.raises(ArgumentError, match=r"^threshold: 'a'"):
        fm.score.integrate(exact(), points(2), LEVELS, threshold=fm.score.Threshold(1.0, "a"))
    with pytest.raises(ArgumentError, match=r"^brownian: .* only level above 0 is 3"):
        fm.score.integrate(exact(), points(2), [3.0, 0.0], "ancestral", brownian=True)


def test_errors_of_callbacks_and_schedules_tell_where() -> None:
    def fails(*given: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fm.score.integrate(exact(), points(2), LEVELS, callback=fails)
    assert caught.value.__notes__ == [f"raised by the callback after step 1 of {len(LEVELS) - 1}"]
    with pytest.raises(ZeroDivisionError) as caught:
        fm.score.sample(exact(), 2, schedule=fails, n_steps=4, sigma_range=(0.1, 5.0))
    assert caught.value.__notes__ == ["raised by schedule for 3 steps"]


@pytest.mark.parametrize("integrator", ["dpmpp_2m", "ancestral", "dop853"])
def test_no_rows_are_no_calls(integrator: str) -> None:
    model = Numbers()
    for shape in ((0, 2), (0, 1, 2), (0, 2, 1, 1)):
        y0 = np.zeros(shape)
        assert fm.score.integrate(model, y0, LEVELS, integrator).shape == shape
        path = fm.score.integrate(model, y0, LEVELS, integrator, return_trajectory=True)
        assert path.shape == (len(LEVELS), *shape)
        rows = np.zeros((0, 3))
        more: dict[str, Any] = {} if integrator == "dop853" else {"brownian": True}
        assert fm.score.integrate(model, y0, rows, integrator, **more).shape == shape
    none = fm.score.sample(model, 0, integrator=integrator, sigma_range=(0.1, 5.0))
    assert none.draws.shape == (0, 2)
    assert model.calls == 0


@pytest.mark.torch
@pytest.mark.parametrize("on_device", [False, True])
def test_no_rows_are_no_calls_of_networks(on_device: bool) -> None:
    pytest.importorskip("torch")
    calls = []

    def network(x: Any, s: Any) -> Any:
        calls.append(len(x))
        return 0 * x

    model = fm.score.ScoreModel(
        network, sigma_range=(0.1, 5.0), event_shape=(1, 4, 4), device="cpu", on_device=on_device
    )
    for integrator in ("dpmpp_2m", "ancestral", "dop853"):
        assert fm.score.sample(model, 0, integrator=integrator).draws.shape == (0, 1, 4, 4)
        y0 = np.zeros((0, 1, 4, 4))
        assert fm.score.integrate(model, y0, [5.0, 1.0], integrator).shape == y0.shape
        assert fm.score.integrate(model, y0, np.zeros((0, 3)), integrator).shape == y0.shape
    for method in ("euler", "ancestral"):
        with pytest.raises(ArgumentError, match="index 1"):
            fm.score.integrate(model, y0, [1.0, 5.0], method)
    assert not calls


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_chains_may_start_without_added_noise() -> None:
    model = fm.score.Gaussian([0.0, 0.0], np.eye(2))
    how: dict[str, Any] = {"sigma_range": (0.1, 5.0), "n_chains": 3, "n_draws": 2, "rng": 0}
    assert fm.score.langevin_gibbs(model, **how, init_noise=0).draws.shape == (3, 2, 2)


def test_chains_are_not_told_two_things() -> None:
    how: dict[str, Any] = {"levels": [1.0, 0.5], "n_chains": 3, "n_draws": 2}
    for name, value in (("n_init", 20), ("init_noise", 0.5), ("init_integrator", "dpmpp_2m")):
        with pytest.raises(ArgumentError, match=f"^{name}: given with init"):
            fm.score.langevin_gibbs(exact(), **how, init=np.zeros((3, DIM)), **{name: value})
    for predictor in (
        fm.score.LevelEstimate(force=True),
        fm.score.LevelRegression(lambda x: np.zeros((len(x), 2))),
    ):
        with pytest.raises(ArgumentError, match=r"^level_draw: 'argmax'"):
            fm.score.langevin_gibbs(exact(), **how, level_draw="argmax", noise_predictor=predictor)


def test_exact_traces_have_no_probes() -> None:
    with pytest.raises(ArgumentError, match=r"^n_probes: given with trace='exact'"):
        fm.score.log_likelihood(exact(), points(1), (0.1, 5.0), trace="exact", n_probes=7)


def test_advice_is_on_arguments_that_there_are() -> None:
    model = Odd(lambda y: np.full_like(y, np.nan))
    ends = (0.1, 5.0)
    for call in (
        lambda: fm.score.log_likelihood(model, points(2), ends, trace="exact"),
        lambda: fm.score.searched(model, 3, ends, probes=points(2)),
    ):
        with pytest.raises(TargetError, match=r"finite numbers are needed$"):
            call()
    with pytest.raises(TargetError, match="on_nan='freeze'"):
        fm.score.integrate(model, points(2), ends[::-1], "dop853")


def test_a_search_that_is_stopped_early_leaves_its_start() -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.score.searched(Numbers(stop_at=3), 3, (0.1, 5.0), probes=points(2))
    best = caught.value.partial_result  # type: ignore[attr-defined]
    np.testing.assert_array_equal(best, fm.score.karras(3, 0.1, 5.0))


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


FAR = fm.score.GaussianMixture([0.99, 0.01], [[0.0], [30.0]], 1.0)


class Hidden(fm.score.Model):
    """A model of which nothing is known but its denoised points."""

    def __init__(self, model: Any) -> None:
        self._inner, self.dim = model, model.dim

    def _sampling_range(self) -> tuple[float, float]:
        return self._inner._sampling_range()

    def _denoise(self, y: Array, sigma: Array) -> Array:
        return self._inner._denoise(y, sigma)


#: Calls whose starting points are noise of the highest level.
FROM_NOISE: dict[str, Any] = {
    "sample": lambda m, r: fm.score.sample(m, 50, sigma_range=r, rng=0),
    "log_likelihood": lambda m, r: fm.score.log_likelihood(
        m, np.zeros((2, m.dim)), r or m._sampling_range()
    ),
    "svdd": lambda m, r: fm.score.svdd(m, lambda x: x[:, 0], 20, n_steps=4, sigma_range=r, rng=0),
    "steer": lambda m, r: fm.score.steer(
        m, lambda y, x, s: 0.1 * x[:, 0], 20, n_steps=4, sigma_range=r, rng=0
    ),
    "sample_power": lambda m, r: fm.score.sample_power(
        m, None, 1.5, 20, n_steps=4, sigma_range=r, rng=0
    ),
    "posterior": lambda m, r: fm.score.posterior(
        m, fm.score.Linear(np.eye(m.dim)[:1], 5.0), [0.0], 100, n_steps=30, sigma_range=r, rng=0
    ),
    "langevin_gibbs": lambda m, r: fm.score.langevin_gibbs(
        m, sigma_range=r, n_chains=4, n_draws=4, n_warmup=4, n_skip=2, rng=0,
        noise_predictor="auto" if m.has_log_density else lambda x: np.zeros((len(x), 100)),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
@pytest.mark.parametrize("name", list(FROM_NOISE))
def test_a_highest_level_that_is_too_small_is_told(name: str) -> None:
    for model in (FAR, Hidden(fm.score.GaussianMixture([0.5, 0.5], [[-9.0], [9.0]], 1.0))):
        told = FROM_NOISE[name](model, (0.01, 3.0)).warnings
        assert any("sigma_range: its highest level 3 is not large" in text for text in told)
        assert not any("sigma_range" in text for text in FROM_NOISE[name](model, None).warnings)


def test_the_warning_is_typed_and_names_a_level_that_is_enough() -> None:
    with pytest.warns(fm.errors.ConvergenceWarning, match="sigma_range.*about 30 or more"):
        x = fm.score.sample(FAR, 5000, sigma_range=(0.01, 3.0), rng=0)
    # The mode at 30 is missed indeed.
    assert x.draws.max() < 10
    enough = fm.score.sample(FAR, 5000, n_steps=40, sigma_range=(0.01, 90.0), rng=0)
    assert 0.004 < (enough.draws > 15).mean() < 0.02
    # A model that is known by its own density at the end needs no noise.
    there = fm.score.log_likelihood(FAR, [[30.0]], (0.01, 3.0), terminal="model")
    assert there.log_density[0] == pytest.approx(FAR.log_density([[30.0]], 0.01)[0], abs=1e-3)


@pytest.mark.parametrize("hidden", [False, True])
def test_the_default_range_is_large_enough(hidden: bool) -> None:
    r = np.random.default_rng(0)
    for dim in (1, 2, 16, 64, 300):
        means = r.normal(0, 3, (5, dim)) + 10 * r.normal()
        models: list[Any] = [fm.score.GaussianMixture(r.uniform(0.01, 1, 5), means, 0.04)]
        models += [fm.score.Empirical(means), fm.score.Gaussian(means[0], 0.1)]
        for model in models:
            assert fm.score.sample(Hidden(model) if hidden else model, 3, rng=0).warnings == ()


def test_parts_tell_it_once(tmp_path: Path) -> None:
    how: dict[str, Any] = {"sigma_range": (0.01, 3.0), "rng": 0}
    calls: dict[str, Any] = {
        "draws": lambda more: fm.score.sample(FAR, 40, **how, **more),
        "densities": lambda more: fm.score.log_likelihood(FAR, np.zeros((40, 1)), **how, **more),
    }
    for name, call in calls.items():
        for more in ({"plan": fm.Plan(part=(0, 2))}, {"plan": fm.Plan(store=tmp_path / name)}):
            with pytest.warns(fm.errors.ConvergenceWarning, match="sigma_range") as told:
                made: Any = call(more)
            assert len(told) == len(made.warnings) == 1
