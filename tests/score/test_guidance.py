"""Guided models: closed forms of their fields, the rules one by one, calls and refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_help import NumpyMixture

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning, TargetError

Array = NDArray[np.float64]
WIDE, NARROW = fm.score.Gaussian([0.0], 1.0), fm.score.Gaussian([1.0], 0.25)
#: Two laws with equal covariances.
COV = np.array([[1.0, 0.3], [0.3, 0.5]])
FIRST, SECOND = fm.score.Gaussian([1.0, -1.0], COV), fm.score.Gaussian([0.0, 0.5], COV)
SAME = fm.score.Gaussian([3.0, -4.0], COV)


def points(n: int = 50, d: int = 2, key: int = 0) -> Array:
    return 3.0 * fm.random.Stream(key).normal((n, d))


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m", "unipc2", "ancestral"])
def test_equal_covariances_give_the_field_of_a_shifted_law(name: str) -> None:
    """With w (D_c - D_u) one Jacobian the mean is shifted, by w = 3 to (3, -4)."""
    y0, grid = 20 * points(), fm.score.karras(12, 0.01, 60.0)
    guided = fm.score.guided(FIRST, SECOND, fm.score.Guidance(scale=3.0))
    given = fm.score.integrate(guided, y0, grid, name, rng=1)
    np.testing.assert_allclose(given, fm.score.integrate(SAME, y0, grid, name, rng=1), rtol=1e-11)


@pytest.mark.parametrize(
    ("scale", "mean", "limit"), [(2.0, 1.3739230, 0.25), (4.0, 1.5144398, 0.0625)]
)
def test_unequal_variances_give_the_spread_of_the_closed_form(
    scale: float, mean: float, limit: float
) -> None:
    top = 80.0
    guided = fm.score.guided(NARROW, WIDE, scale=scale)
    exact = fm.score.Adaptive("dop853", rtol=1e-11, atol=1e-12)
    ends = fm.score.integrate(guided, [[0.0], [top]], [top, 1e-4], exact)[:, 0]
    half = scale / 2
    spread = top * (0.25 / (0.25 + top**2)) ** half * (1 / (1 + top**2)) ** (0.5 - half)
    assert ends[0] == pytest.approx(mean, abs=1e-6)
    assert ends[1] - ends[0] == pytest.approx(spread, abs=1e-6)
    assert spread == pytest.approx(limit, rel=1e-3)


def test_a_scale_of_one_is_the_conditional_model() -> None:
    """Bit for bit, with one call a row."""
    first, second = counted(), counted()
    guided = fm.score.guided(first, second, scale=1.0)
    y = points(20, 1)
    np.testing.assert_array_equal(guided.denoise(y, 0.7), counted().denoise(y, 0.7))
    assert (first.n_rows, second.n_rows) == (20, 0)
    assert guided.bias == ()
    assert fm.score.guided(first, second, scale=2.0).bias


def counted() -> NumpyMixture:
    return NumpyMixture([0.3, 0.7], [[-1.0], [1.5]], [[[0.2]], [[0.1]]])


def test_outside_of_the_interval_the_second_model_is_not_asked() -> None:
    first, second = counted(), counted()
    guided = fm.score.guided(first, second, fm.score.Guidance(2.0, interval=(0.5, 2.0)))
    levels = np.array([0.1, 0.5, 1.0, 2.0, 3.0, 10.0])
    guided.denoise(points(6, 1), levels)
    assert (first.n_rows, second.n_rows) == (6, 3)
    with pytest.warns(FermiacWarning, match="no effect"):
        fm.score.guided(
            fm.score.ScoreModel(lambda y, s: y, sigma_range=(0.1, 1.0)),
            fm.score.ScoreModel(lambda y, s: y, sigma_range=(0.1, 1.0)),
            fm.score.Guidance(2.0, interval=(2.0, 3.0)),
        )


def test_scales_by_level_and_by_row() -> None:
    y, s = points(5), np.full(5, 0.8)
    c, u = FIRST.denoise(y, s), SECOND.denoise(y, s)
    by_level = fm.score.guided(FIRST, SECOND, scale=lambda sigma: 1 + sigma)
    np.testing.assert_allclose(by_level.denoise(y, s), u + 1.8 * (c - u), rtol=1e-14)
    scales = np.arange(5.0)
    by_row = fm.score.guided(FIRST, SECOND, scale=scales)
    np.testing.assert_allclose(by_row.denoise(y, s), u + scales[:, None] * (c - u), rtol=1e-14)
    with pytest.raises(ArgumentError, match="one for each row"):
        by_row.denoise(points(4), 0.8)
    for call in (
        lambda: fm.score.svdd(by_row, lambda x: x[:, 0], 5),
        lambda: fm.score.langevin_gibbs(by_row),
        lambda: fm.score.integrate(by_row, y, [1.0, 0.1], "dop853"),
    ):
        with pytest.raises(ArgumentError, match="all rows"):
            call()


@pytest.mark.parametrize("on", ["output", "denoised"])
def test_rescaling_keeps_the_spread_of_a_row(on: Any) -> None:
    y, s, w, share = points(30), np.full(30, 0.8), 4.0, 0.7
    c, u = FIRST.denoise(y, s), SECOND.denoise(y, s)
    skip, out = (y, -0.8) if on == "output" else (0.0, 1.0)
    o, o_c = ((u + w * (c - u)) - skip) / out, (c - skip) / out
    factor = o_c.std(axis=1, ddof=1) / o.std(axis=1, ddof=1)
    wanted = skip + out * (share * factor[:, None] * o + (1 - share) * o)
    guided = fm.score.guided(FIRST, SECOND, fm.score.Guidance(w, rescale=share, on=on))
    np.testing.assert_allclose(guided.denoise(y, s), wanted, rtol=1e-12)


def test_projected_guidance_of_one_evaluation() -> None:
    y, s = points(30), np.full(30, 0.8)
    c, u = FIRST.denoise(y, s), SECOND.denoise(y, s)
    away = c - u
    away *= np.minimum(1, 0.9 / np.linalg.norm(away, axis=1))[:, None]
    unit = c / np.linalg.norm(c, axis=1)[:, None]
    along = (away * unit).sum(axis=1)[:, None] * unit
    wanted = c + 3.0 * (away - along + 0.2 * along)
    guided = fm.score.guided(FIRST, SECOND, fm.score.Guidance(4.0, norm=0.9, parallel=0.2))
    np.testing.assert_allclose(guided.denoise(y, s), wanted, rtol=1e-12)


def test_momentum_sums_the_differences_of_a_run(tmp_path: Any) -> None:
    """Euler by hand, with the running sum of published programs: Δ ← Δ + β Δ_before."""
    grid, beta, w = fm.score.karras(6, 0.05, 10.0), -0.5, 3.0
    y0 = points(8)
    guided = fm.score.guided(FIRST, SECOND, fm.score.Guidance(w, momentum=beta))
    y, before = y0, 0.0
    for s, to in itertools.pairwise(grid):
        c, u = FIRST.denoise(y, s), SECOND.denoise(y, s)
        before = (c - u) + beta * before
        d = c + (w - 1) * before
        y = d + to / s * (y - d)
    for _ in range(2):  # a run leaves no memory behind
        np.testing.assert_allclose(fm.score.integrate(guided, y0, grid, "euler"), y, rtol=1e-12)
    with pytest.raises(ArgumentError, match="store: given for a model"):
        fm.score.integrate(guided, y0, grid, "euler", plan=fm.Plan(store=tmp_path))


def test_a_stepper_saves_the_memory_of_momentum(tmp_path: Any) -> None:
    grid, y0 = fm.score.karras(6, 0.05, 10.0), points(8)
    guided = fm.score.guided(
        FIRST, SECOND, fm.score.Guidance(3.0, momentum=-0.5, norm=2.0, parallel=0.0)
    )
    whole = fm.score.integrate(guided, y0, grid, "dpmpp_2m")
    run = fm.score.stepper(guided, y0, grid, "dpmpp_2m")
    for _ in range(3):
        run.step()
    run.save(tmp_path / "run")
    again = fm.score.stepper(guided, y0, grid, "dpmpp_2m").load(tmp_path / "run")
    np.testing.assert_array_equal(again.run(), whole)
    np.testing.assert_array_equal(run.run(), whole)
    other = fm.score.guided(SAME, SECOND, fm.score.Guidance(3.0, momentum=-0.5))
    with pytest.raises(CheckpointError, match="other numbers"):
        fm.score.stepper(other, y0, grid, "dpmpp_2m").load(tmp_path / "run")


def test_cfg_plus_plus_takes_the_noise_without_guidance() -> None:
    grid, w = fm.score.karras(6, 0.05, 10.0, final="zero"), 0.6
    y0 = points(8)
    y = y0
    for s, to in itertools.pairwise(grid):
        c, u = FIRST.denoise(y, s), SECOND.denoise(y, s)
        y = u + w * (c - u) + to * (y - u) / s
    guided = fm.score.guided(FIRST, SECOND, scale=w)
    rule = fm.score.Euler(cfg_pp=True)
    np.testing.assert_allclose(fm.score.integrate(guided, y0, grid, rule), y, rtol=1e-11)
    each = np.tile(grid, (8, 1)) * np.linspace(0.9, 1.0, 8)[:, None]
    rows = [fm.score.integrate(guided, y0[i : i + 1], each[i], rule)[0] for i in range(8)]
    np.testing.assert_allclose(fm.score.integrate(guided, y0, each, rule), rows, rtol=1e-12)
    with pytest.raises(ArgumentError, match="rule of guided models"):
        fm.score.integrate(FIRST, y0, grid, rule)
    with pytest.raises(ArgumentError, match="from 0 to 1"):
        fm.score.integrate(fm.score.guided(FIRST, SECOND, scale=2.0), y0, grid, rule)
    with pytest.raises(ArgumentError, match="cfg_pp"):
        fm.score.langevin_gibbs(FIRST, init_integrator=rule)


def test_cfg_zero_star_composes_velocities() -> None:
    y, s, w = points(30), 0.8, 4.0
    t = s / (1 + s)
    x = y / (1 + s)
    v_c, v_u = ((x - m.denoise(y, s)) / t for m in (FIRST, SECOND))
    best = ((v_c * v_u).sum(axis=1) / ((v_u**2).sum(axis=1) + 1e-8))[:, None]
    v = best * v_u + w * (v_c - best * v_u)
    guided = fm.score.guided(FIRST, SECOND, fm.score.Guidance(w, zero_star=True, zero_above=5.0))
    np.testing.assert_allclose(guided.denoise(y, s), x - t * v, rtol=1e-9)
    # Without velocity x_t stands still.
    np.testing.assert_allclose(guided.denoise(y, 9.0), y / 10, rtol=1e-12)


def test_a_network_is_asked_for_both_conditions_in_one_batch() -> None:
    seen: list[int] = []

    def network(x: Array, t: Array, c: Array) -> Array:
        seen.append(len(x))
        means = np.where(c[:, None] == 1, [1.0, -1.0], [0.0, 0.5])
        return (x - means) * (t / (1 + t**2))[:, None]

    c, u = fm.score.Gaussian([1.0, -1.0], 1.0), fm.score.Gaussian([0.0, 0.5], 1.0)
    y0, grid = points(10), fm.score.karras(5, 0.1, 10.0)
    rule = fm.score.Guidance(3.0, interval=(0.2, 4.0))
    wanted = fm.score.integrate(fm.score.guided(c, u, rule), y0, grid)
    one = fm.score.guided(network, condition=1, null=0, guidance=rule, prediction="eps", dim=2)
    np.testing.assert_allclose(fm.score.integrate(one, y0, grid), wanted, rtol=1e-12)
    within = [len(y0) * (2 if 0.2 <= s <= 4 else 1) for s in grid[:-1]]
    assert seen[-5:] == within
    rows = fm.score.guided(
        network, condition=np.ones(10), null=np.float64(0), guidance=rule, max_batch=7, dim=2
    )
    np.testing.assert_allclose(fm.score.integrate(rows, y0, grid), wanted, rtol=1e-12)
    apart = fm.score.guided(
        lambda x, t, c: network(x, t, np.full(len(x), 0 if c is None else 1)),
        condition="a prompt",
        guidance=rule,
        dim=2,
    )
    np.testing.assert_allclose(fm.score.integrate(apart, y0, grid), wanted, rtol=1e-12)
    with pytest.raises(ArgumentError, match="all rows"):
        fm.score.log_likelihood(rows, y0, (0.1, 10.0))


MIXTURE = fm.score.GaussianMixture(
    [0.2, 0.3, 0.5], [[-2.0, 0.0], [1.0, 1.0], [2.0, -1.0]], [0.2, 0.3, 0.1]
)


def log_class(y: Array, sigma: Array) -> Array:
    return np.asarray(np.log(MIXTURE.responsibilities(y, sigma)[:, :2].sum(axis=1)))


def slope(y: Array, sigma: Array) -> Array:
    part = fm.score.GaussianMixture([0.4, 0.6], MIXTURE.means[:2], [0.2, 0.3])
    return np.asarray(part.score(y, sigma) - MIXTURE.score(y, sigma))


def test_classifiers_and_components_give_one_field() -> None:
    y, w = points(20, 2, key=3), 2.5
    by_components = fm.score.guided(MIXTURE, classifier=[0, 1], scale=w)
    by_function = fm.score.guided(MIXTURE, classifier=log_class, gradient=slope, scale=w)
    pair = fm.score.guided(
        MIXTURE, classifier=lambda y, s: (log_class(y, s), slope(y, s)), gradient=True, scale=w
    )
    wanted = MIXTURE.denoise(y, 0.9) + w * 0.81 * slope(y, np.array([0.9]))
    for model in (by_components, by_function, pair):
        np.testing.assert_allclose(model.denoise(y, 0.9), wanted, rtol=1e-9, atol=1e-9)
    wrong = fm.score.guided(
        MIXTURE, classifier=log_class, gradient=lambda y, s: 1.1 * slope(y, s), scale=w
    )
    with pytest.raises(TargetError, match="differences of the classifier give"):
        wrong.denoise(y, 0.9)


def test_an_overflow_names_row_level_and_scale() -> None:
    far = fm.score.Gaussian([90.0, 0.0], COV)
    guided = fm.score.guided(far, SECOND, scale=1e308)
    with pytest.raises(TargetError, match=r"row 0 at level 0\.5 .* scale 1e\+308"):
        guided.denoise([[1.0, 1.0]], 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fm.score.Guidance(np.inf), "scale: inf was given"),
        (lambda: fm.score.Guidance([[1.0]]), "scale"),
        (lambda: fm.score.Guidance(rescale=2.0), "rescale"),
        (lambda: fm.score.Guidance(momentum=1.0), "momentum"),
        (lambda: fm.score.Guidance(zero_star=True, norm=1.0), "zero_star"),
        (lambda: fm.score.Guidance(zero_above=1.0), "zero_above"),
        (lambda: fm.score.Guidance(interval=(2.0, 1.0)), "interval"),
        (lambda: fm.score.guided(FIRST, WIDE), "unconditional: a model of 1"),
        (lambda: fm.score.guided(FIRST), "unconditional: not given"),
        (lambda: fm.score.guided(FIRST, "x"), "unconditional: str given"),
        (lambda: fm.score.guided(FIRST, SECOND, 3.0), "guidance: 3.0 was given"),
        (lambda: fm.score.guided(FIRST, SECOND, condition=1), "condition: given with"),
        (lambda: fm.score.guided(FIRST, SECOND, null=1), "null: given without"),
        (lambda: fm.score.guided(FIRST, SECOND, dim=1), "dim: an argument of networks"),
        (lambda: fm.score.guided(FIRST, classifier=log_class), "gradient: not given"),
        (lambda: fm.score.guided(FIRST, classifier=1), "classifier"),
        (lambda: fm.score.guided(MIXTURE, classifier=3), "classifier"),
        (lambda: fm.score.guided(3, condition=1), "model: 3 was given"),
        (lambda: fm.score.guided(np.sin, condition=[1.0, 2.0], null=[1.0] * 3), "null: shape"),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


@pytest.mark.torch
def test_torch_networks_and_classifiers() -> None:
    torch = pytest.importorskip("torch")

    class Network(torch.nn.Module):  # type: ignore[misc]
        """The noise of normal data about a mean by the class."""

        def __init__(self) -> None:
            super().__init__()
            means = torch.tensor([[0.0, 0.5], [1.0, -1.0]], dtype=torch.float64)
            self.means = torch.nn.Parameter(means)
            self.sizes: list[int] = []

        def forward(self, x: Any, t: Any, c: Any) -> Any:
            self.sizes.append(len(x))
            return (x - self.means[c.long()]) * (t / (1 + t**2))[:, None]

    network = Network()
    c, u = fm.score.Gaussian([1.0, -1.0], 1.0), fm.score.Gaussian([0.0, 0.5], 1.0)
    y0, grid = points(10), fm.score.karras(5, 0.1, 10.0)
    wanted = fm.score.integrate(fm.score.guided(c, u, scale=3.0), y0, grid)
    one = fm.score.guided(network, condition=1, null=0, scale=3.0)
    np.testing.assert_allclose(fm.score.integrate(one, y0, grid), wanted, rtol=1e-10)
    assert network.sizes == [20] * 5
    labels, null = torch.ones(10, dtype=torch.int64), torch.tensor(0)
    rows = fm.score.guided(network, condition=labels, null=null, scale=3.0, max_batch=6)
    found = fm.score.integrate(rows, torch.as_tensor(y0), grid)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-10)

    class LogClass(torch.nn.Module):  # type: ignore[misc]
        """The logarithm of a probability with a known gradient."""

        def forward(self, y: Any, sigma: Any) -> Any:
            return torch.nn.functional.logsigmoid(2 * y[:, 0] / (1 + sigma))

    led = fm.score.guided(u, classifier=LogClass(), scale=2.0)
    y = points(6)
    slope = 2 / 1.5 / (1 + np.exp(2 * y[:, 0] / 1.5))
    wanted = u.denoise(y, 0.5) + 2.0 * 0.25 * slope[:, None] * [1.0, 0.0]
    np.testing.assert_allclose(led.denoise(y, 0.5), wanted, rtol=1e-9)
