"""Integrators: names, programs, published figures, orders, closed solutions, refused settings."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import score_models as models
from numpy.typing import NDArray
from scipy.integrate import quad

import fermiac as fm
from fermiac import _core
from fermiac.errors import ArgumentError
from fermiac.score.methods import FIXED_GRID

Array = NDArray[np.float64]
Integrator = fm.score.Integrator

#: RMS errors at the probes with 5, 10, 20 and 40 evaluations, and the order from 160 to 320.
TABLE: dict[str, tuple[Integrator, list[float], float]] = {
    name: (FIXED_GRID.resolve(given), errors, order)
    for name, given, errors, order in [
        ("euler", "euler", [4.9928e-01, 3.0471e-01, 1.5534e-01, 9.0783e-02], 1.00),
        ("heun", "heun", [2.0425e00, 2.0724e-01, 4.6926e-02, 1.1211e-02], 2.00),
        ("dpm2", "dpm2", [9.8899e-01, 1.3210e-01, 2.8140e-02, 6.8922e-03], 1.99),
        ("2s", "dpmpp_2s", [4.8450e-01, 1.5763e-01, 5.0402e-02, 1.2368e-02], 1.97),
        ("3s", "dpmpp_3s", [5.4030e-01, 9.3499e-02, 1.9984e-02, 2.4798e-03], 2.91),
        ("2m", "dpmpp_2m", [2.5783e-01, 6.5933e-02, 1.4747e-02, 3.6819e-03], 2.00),
        ("3m", "dpmpp_3m", [2.3717e-01, 4.4581e-02, 5.4859e-03, 8.8443e-04], 2.02),
        ("rho1", "deis_rho_ab1", [3.7885e-01, 1.4953e-01, 4.6018e-02, 1.1261e-02], 1.98),
        ("rho2", "deis_rho_ab2", [3.5141e-01, 1.0961e-01, 1.9139e-02, 3.0742e-03], 2.68),
        ("rho3", "deis_rho_ab3", [3.4928e-01, 9.5065e-02, 1.1226e-02, 1.2281e-03], 2.16),
        ("log1", "deis_log_ab1", [2.6121e-01, 9.3890e-02, 2.2928e-02, 5.8154e-03], 1.98),
        ("log2", "deis_log_ab2", [1.8939e-01, 3.6661e-02, 6.0452e-03, 9.5152e-04], 2.22),
        ("log3", "deis_log_ab3", [2.2016e-01, 2.3710e-02, 2.9696e-03, 4.0672e-04], 2.03),
        ("ghvb1.8", fm.score.GHVB(1.8), [2.8160e-01, 1.0583e-01, 2.8835e-02, 7.3659e-03], 1.98),
        ("ghvb4", "ghvb4", [1.8927e-01, 1.8987e-02, 3.6483e-03, 8.7874e-04], 1.99),
        ("hb1", "hb1", [6.4673e-01, 3.9983e-01, 2.4168e-01, 1.2117e-01], 1.02),
        ("unipc2", "unipc2", [2.3852e-01, 3.8961e-02, 6.6824e-03, 9.5210e-04], 3.00),
        ("unipc3", "unipc3", [3.0964e-01, 6.5941e-02, 2.3944e-03, 1.3327e-04], 3.87),
        (
            "unip3",
            fm.score.UniPC(3, corrector=False),
            [2.8275e-01, 7.0001e-02, 6.5530e-03, 7.7457e-04],
            2.11,
        ),
    ]
}

#: The same with 20, 40, 160 and 320 evaluations, beginning with single steps of order 3.
STARTED = {
    "3m corrected": (
        fm.score.DPMSolver(3, variant="corrected", start="rk"),
        [1.408e-2, 9.704e-4, 9.793e-6, 1.142e-6],
        3.05,
    ),
    "3m": (
        fm.score.DPMSolver(3, start="rk"),
        [1.218e-2, 1.378e-3, 5.844e-5, 1.406e-5],
        2.02,
    ),
    "log2": (fm.score.DEIS(2, start="rk"), [1.033e-2, 1.233e-3, 1.704e-5, 2.068e-6], 3.02),
    "log3": (fm.score.DEIS(3, start="rk"), [8.535e-3, 3.295e-4, 7.895e-7, 4.834e-8], 4.01),
}

#: Where the first probe comes to with ten steps.
POINTS = {
    "dpmpp_2m": (-0.303762209573, -0.69695205255),
    "heun": (-0.303463765281, -0.697660486296),
    "unipc2": (-0.297030522862, -0.684400295107),
    "unipc3": (-0.282824349973, -0.653508106851),
    "deis_log_ab2": (-0.28716635293, -0.66300226453),
}

DETERMINISTIC = [
    name for name in fm.score.integrators() if not FIXED_GRID.resolve(name).needs_noise
]
STOCHASTIC: dict[str, Integrator] = {
    **{name: FIXED_GRID.resolve(name) for name in fm.score.integrators()
       if FIXED_GRID.resolve(name).needs_noise},
    "2m sde heun": fm.score.DPMSolver(2, eta=1.0, sde="heun"),
    "3m sde corrected": fm.score.DPMSolver(3, eta=0.5, variant="corrected"),
    "heun churn": fm.score.Heun(churn=40.0, churn_range=(0.1, 5.0)),
}  # fmt: skip


def error(integrator: Integrator, n_evals: int) -> float:
    """Give the RMS error at the probes with as many steps as `n_evals` pays for."""
    steps = max(n for n in range(1, n_evals + 1) if integrator.n_evals(n, zero=False) <= n_evals)
    program = integrator._program(models.karras(steps))
    off = models.carry_out(program, models.probes()) - models.solution()
    return float(np.sqrt(np.square(off).sum(axis=1).mean()))


@pytest.mark.parametrize("name", TABLE)
def test_errors_are_the_published_ones(name: str) -> None:
    integrator, errors, order = TABLE[name]
    found = [error(integrator, n) for n in (5, 10, 20, 40)]
    np.testing.assert_allclose(found, errors, rtol=1e-4)
    assert abs(np.log2(error(integrator, 160) / error(integrator, 320)) - order) < 0.02


@pytest.mark.parametrize("name", STARTED)
def test_single_steps_at_the_start_raise_the_order(name: str) -> None:
    integrator, errors, order = STARTED[name]
    found = [error(integrator, n) for n in (20, 40, 160, 320)]
    np.testing.assert_allclose(found, errors, rtol=2e-3)
    assert abs(np.log2(found[3] / error(integrator, 640)) - order) < 0.05


def test_corrected_third_order_with_a_low_start() -> None:
    found = [error(fm.score.DPMSolver(3, variant="corrected"), n) for n in (10, 20, 40)]
    np.testing.assert_allclose(found, [7.029e-2, 6.542e-3, 7.717e-4], rtol=1e-3)


@pytest.mark.parametrize("name", POINTS)
def test_first_probe(name: str) -> None:
    program = FIXED_GRID.resolve(name)._program(models.karras(10))
    found = models.carry_out(program, models.probes(1))[0]
    np.testing.assert_allclose(found, POINTS[name], rtol=0, atol=1e-9)


def test_first_probe_with_momentum() -> None:
    program = fm.score.GHVB(2, beta=0.8)._program(models.karras(10))
    found = models.carry_out(program, models.probes(1))[0]
    np.testing.assert_allclose(found, (-0.278959545722, -0.643791736218), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_one_normal_law_has_a_closed_solution(name: str) -> None:
    mean, variance = 0.6, 0.49
    y0 = np.array([[-9.0, 0.6, 14.0]])
    scale = np.sqrt((variance + models.LOW**2) / (variance + models.HIGH**2))
    truth = mean + (y0 - mean) * scale
    for options in ({}, {"start": "rk"}, {"lower_order_final": True}):
        integrator = dataclasses.replace(FIXED_GRID.resolve(name), **options)
        off = [
            np.abs(models.carry_out(program, y0, models.gaussian(mean, variance)) - truth).max()
            for program in (integrator._program(models.karras(n)) for n in (50, 400))
        ]
        assert off[1] < min(0.01, off[0] / 6), (options, off)


@pytest.mark.parametrize("name", ["euler", "ddim", "dpmpp_1s", "unipc1"])
def test_euler_on_a_normal_law_is_a_product(name: str) -> None:
    grid = models.karras(9)
    integrator = FIXED_GRID.resolve(name)
    if isinstance(integrator, fm.score.UniPC):
        integrator = fm.score.UniPC(1, corrector=False)
    s, to = grid[:-1], grid[1:]
    factor = np.prod(1 + (to - s) * s / (0.3 + s**2))
    found = models.carry_out(integrator._program(grid), np.ones((1, 1)), models.gaussian(0.0, 0.3))
    np.testing.assert_allclose(found, factor, rtol=1e-13)


@pytest.mark.parametrize("name", fm.score.integrators())
@pytest.mark.parametrize("n_steps", [1, 2, 7])
def test_a_last_step_to_zero_is_the_denoised_point(name: str, n_steps: int) -> None:
    grid = np.append(models.karras(max(n_steps - 1, 1))[:n_steps], 0.0)
    seen: list[Array] = []

    def model(y: Array, sigma: Any) -> Array:
        seen.append(models.mixture(y, sigma))
        return seen[-1]

    program = FIXED_GRID.resolve(name)._program(grid)
    y = models.carry_out(program, models.probes(5), model, lambda k: np.ones((5, 2)))
    np.testing.assert_array_equal(y, seen[-1])
    assert len(seen) == program.n_evals


@pytest.mark.parametrize("name", fm.score.integrators())
def test_evaluations_are_counted(name: str) -> None:
    for start, langevin in itertools.product(("low", "rk"), (None, fm.score.Langevin(2))):
        integrator = dataclasses.replace(FIXED_GRID.resolve(name), langevin=langevin)
        if not integrator._is_stochastic():
            integrator = dataclasses.replace(integrator, start=start)
        for n, zero in itertools.product((1, 2, 3, 5, 12, 13, 31), (True, False)):
            grid = models.karras(n)
            if zero:
                grid[-1] = 0
            program = integrator._program(grid)
            counted = sum(op[0] == "denoise" for op in program.ops)
            assert counted == program.n_evals == integrator.n_evals(n, zero)
            assert program.n_steps == sum(op[0] == "step" for op in program.ops) == n


@pytest.mark.parametrize(
    ("noisy", "twin"),
    [
        (fm.score.DPMSolver(1, eta=0.0), "euler"),
        (fm.score.DPMSolver(2, eta=0.0), "dpmpp_2m"),
        (fm.score.DPMSolver(3, eta=0.0), "dpmpp_3m"),
        (fm.score.Ancestral(0.0), "euler"),
        (fm.score.DPMSolverAncestral(0.0), "dpmpp_2s"),
        (fm.score.DPMSolverSDE(0.0), "dpmpp_2s"),
        (fm.score.Heun(churn=0.0), "heun"),
        (fm.score.DEIS(0, "sigma"), "euler"),
        (fm.score.DEIS(0, "vp_t"), "euler"),
    ],
    ids=["1m", "2m", "3m", "ancestral", "2s ancestral", "sde", "heun", "rho", "vp_t"],
)
def test_twins(noisy: Integrator, twin: str) -> None:
    grid = models.karras(11)
    ends = [
        models.carry_out(integrator._program(grid), models.probes())
        for integrator in (noisy, FIXED_GRID.resolve(twin))
    ]
    assert not noisy.needs_noise
    np.testing.assert_allclose(*ends, rtol=1e-13, atol=1e-13)


def test_noise_fades_with_eta() -> None:
    """A little noise is a little change of the twin without it."""
    grid = models.karras(11)
    for order, sde in ((2, "midpoint"), (2, "heun"), (3, "midpoint")):
        ends = [
            models.carry_out(
                fm.score.DPMSolver(order, eta=eta, sde=sde)._program(grid),
                models.probes(8),
                noise=lambda k: np.ones((8, 2)),
            )
            for eta in (0.0, 1e-12)
        ]
        np.testing.assert_allclose(*ends, atol=1e-4)


def moments(integrator: Integrator, grid: Array, mean: float, variance: float) -> Array:
    """The mean and the variance of the end for a normal law, by the response to every number."""
    program = integrator._program(grid)
    n = len(program.draws)
    # Row 0 has no noise, row 1 another start, and row 2 + k number k alone.
    y0 = np.full((n + 2, 1), mean + 3.0)
    y0[1] += 1.0
    noise = np.vstack([np.zeros((2, n)), np.eye(n)])
    y = models.carry_out(program, y0, models.gaussian(mean, variance), lambda k: noise[:, [k]])
    response = (y[1:] - y[0]).ravel()
    scale = np.append(variance + grid[0] ** 2, np.ones(n))
    return np.array([y[0, 0], np.sum(response**2 * scale)])


def recursion(name: str, eta: float, grid: Array, mean: float, variance: float) -> Array:
    """The same moments step by step, with the published steps on the denoiser of a normal law."""
    m, v = 3.0, variance + grid[0] ** 2
    for s, to in itertools.pairwise(grid):

        def split(low: float, s: float = s) -> tuple[float, float]:
            up = min(low, eta * low * np.sqrt(s**2 - low**2) / s)
            return np.sqrt(low**2 - up**2), up

        down, up = split(to)
        k, rho = variance / (variance + s * s), 0.0
        if name == "dpmpp_2s_ancestral":
            middle = below = np.sqrt(s * down)
            noise = 0.0
        else:
            middle = np.sqrt(s * to)
            below, noise = split(middle)
            rho = np.sqrt((s - middle) / (s - to))
        # The distance from the mean at the middle, then at the end, as factors of what it was and
        # of both normal numbers.
        there = below / s + (1 - below / s) * k
        k2 = variance / (variance + middle**2)
        keep = down / s + (1 - down / s) * k2 * there
        first, second = (1 - down / s) * k2 * noise, up
        m *= keep
        v = keep**2 * v + first**2 + second**2 + 2 * rho * first * second
    return np.array([mean + m, v])


SINGLE_NOISE = {
    "dpmpp_2s_ancestral": fm.score.DPMSolverAncestral,
    "dpmpp_sde": fm.score.DPMSolverSDE,
}


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", SINGLE_NOISE)
def test_moments_of_a_normal_law_in_closed_form(name: str, eta: float) -> None:
    mean, variance, kind = 0.6, 0.49, SINGLE_NOISE[name]
    for n in (1, 3, 10):
        found = moments(kind(eta), models.karras(n), mean, variance)
        wanted = recursion(name, eta, models.karras(n), mean, variance)
        np.testing.assert_allclose(found, wanted, rtol=1e-11)
    # Expectations converge with order 2.
    truth = variance + models.LOW**2
    off = [moments(kind(eta), models.karras(n), mean, variance)[1] - truth for n in (80, 160)]
    assert abs(np.log2(off[0] / off[1]) - 2) < 0.2


#: Relative errors of the variance with 10, 20, 40 and 80 evaluations.
BIAS = {
    "ancestral": [-0.40, -0.24, -0.13, -0.069],
    "euler_maruyama": [0.71, 0.30, 0.14, 0.066],
    "dpmpp_2s_ancestral": [-0.32, -0.12, -0.037, -0.010],
    "dpmpp_sde": [-0.21, -0.068, -0.017, -0.0037],
    "dpmpp_2m_sde": [0.13, 0.044, 0.011, 0.0026],
}


@pytest.mark.parametrize("name", BIAS)
def test_errors_of_the_variance_are_the_published_ones(name: str) -> None:
    integrator, variance = FIXED_GRID.resolve(name), 0.49
    truth = variance + models.LOW**2
    for n_evals, published in zip((10, 20, 40, 80), BIAS[name], strict=True):
        steps = n_evals // integrator.n_evals(1, zero=False)
        found = moments(integrator, models.karras(steps), 0.0, variance)[1] / truth - 1
        assert found == pytest.approx(published, rel=0.05)


@pytest.mark.parametrize("eta", [0.5, 1.0])
@pytest.mark.parametrize("name", SINGLE_NOISE)
def test_draws_of_a_normal_law_have_these_moments(name: str, eta: float) -> None:
    n, mean, variance, grid = 40_000, 0.6, 0.49, models.karras(4)
    integrator = SINGLE_NOISE[name](eta)
    m, v = moments(integrator, grid, mean, variance)
    z = fm.random.Stream(3).normal((n, 1))
    y0 = mean + 3.0 + np.sqrt(variance + grid[0] ** 2) * z
    y = fm.score.integrate(fm.score.Gaussian([mean], variance), y0, grid, integrator, rng=7)
    assert abs(y.mean() - m) < 4 * np.sqrt(v / n)
    assert abs(y.var() - v) < 4 * v * np.sqrt(2 / n)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_integrators_draw_from_the_law(name: str) -> None:
    n, rng = 2000, np.random.default_rng(5)
    which = rng.choice(3, size=n, p=models.WEIGHTS)
    roots = np.linalg.cholesky(models.COVARIANCES)
    x = models.MEANS[which] + np.einsum("nij,nj->ni", roots[which], rng.standard_normal((n, 2)))
    y0 = x + models.HIGH * rng.standard_normal((n, 2))
    program = STOCHASTIC[name]._program(models.karras(200))
    y = models.carry_out(program, y0, noise=lambda k: rng.standard_normal((n, 2)))
    mean = models.WEIGHTS @ models.MEANS
    spread = models.MEANS - mean
    covariance = np.einsum("k,kij->ij", models.WEIGHTS, models.COVARIANCES)
    covariance += np.einsum("k,ki,kj->ij", models.WEIGHTS, spread, spread)
    covariance += models.LOW**2 * np.eye(2)
    z = (y.mean(axis=0) - mean) / np.sqrt(np.diag(covariance) / n)
    assert np.abs(z).max() < 5
    off = y - mean
    products = off[:, :, None] * off[:, None, :]
    z = (products.mean(axis=0) - covariance) / (products.std(axis=0) / np.sqrt(n))
    assert np.abs(z).max() < 5


@pytest.mark.parametrize("name", [*fm.score.integrators(), "heun churn"])
def test_grids_of_rows_are_their_own(name: str) -> None:
    """Rows that share a list of instructions get what each of them would get alone."""
    integrator = STOCHASTIC.get(name) or FIXED_GRID.resolve(name)
    grids = np.stack([models.karras(6, 0.02, high) for high in (10.0, 3.0, 0.7, 40.0)])
    noise = np.random.default_rng(3).standard_normal((50, 4, 3))
    y0 = np.linspace(-4, 9, 12).reshape(4, 3)
    model = models.gaussian(0.3, 0.8)
    together = models.carry_out(integrator._program(grids), y0, model, lambda k: noise[k])
    for i, grid in enumerate(grids):
        program = integrator._program(grid)
        rows = slice(i, i + 1)
        alone = models.carry_out(program, y0[rows], model, lambda k, r=rows: noise[k, r])
        np.testing.assert_array_equal(together[rows], alone)


@pytest.mark.parametrize("variable", ["sigma", "log", "vp_t"])
def test_weights_of_polynomials_are_their_integrals(variable: str) -> None:
    grid = np.array([9.0, 3.0, 1.1, 0.3, 0.04])
    betas = (0.1, 20.0)

    def u(s: Any) -> Any:
        if variable == "vp_t":
            slope = betas[1] - betas[0]
            return (np.sqrt(betas[0] ** 2 + 2 * slope * np.log1p(s**2)) - betas[0]) / slope
        return np.log(s) if variable == "log" else s

    program = fm.score.DEIS(3, variable, beta_range=betas)._program(grid)
    _, to, terms, at, _ = [op for op in program.ops if op[0] == "combine" and op[1] == 0][-1]
    found = program.coefficients[at + 1 : at + len(terms)]
    nodes = u(grid[3::-1])
    for j, weight in enumerate(found):
        others = np.delete(nodes, j)
        scale = np.prod(nodes[j] - others)
        exact = quad(
            lambda s, o=others, d=scale: np.prod(u(s) - o) / d, 0.3, 0.04, epsabs=0, epsrel=1e-11
        )
        assert to == 0
        np.testing.assert_allclose(weight, exact[0], rtol=1e-9)


def test_draws_lie_between_levels() -> None:
    grid = models.karras(4)
    draws = fm.score.Ancestral()._program(grid).draws
    assert draws == [(0, 1), (1, 2), (2, 3), (3, 4)]
    # The noise of a step of two stages lies on both sides of the middle.
    program = fm.score.DPMSolverSDE()._program(grid)
    parts = [tuple(program.coefficients[[high, low]]) for high, low in program.draws]
    assert [b for _, b in parts[:-1]] == [a for a, _ in parts[1:]]
    np.testing.assert_array_equal([a for a, _ in parts[::2]], grid[:-1])
    np.testing.assert_allclose([a for a, _ in parts[1::2]], np.sqrt(grid[:-1] * grid[1:]))
    # Churn and Langevin steps have noise of their own, on no path.
    for integrator in (
        fm.score.Heun(churn=1.0),
        fm.score.Euler(langevin=fm.score.Langevin(n_steps=2)),
    ):
        assert all(high == low for high, low in integrator._program(grid).draws)


def test_churn_starts_higher() -> None:
    churn = fm.score.Heun(churn=2.0, churn_range=(0.5, 5.0), churn_noise=1.1)
    grid = np.array([10.0, 4.0, 1.0, 0.2])
    program = churn._program(grid)
    c = program.coefficients
    found = [c[op[3] + 1] for op in program.ops if op[0] == "combine" and op[4] is not None]
    gamma = min(2.0 / 3, np.sqrt(2) - 1)
    up = 1.1 * np.sqrt((1 + gamma) ** 2 - 1)
    np.testing.assert_allclose(found, [0.0, 4 * up, 1 * up], rtol=1e-14)


@pytest.mark.parametrize(
    ("grid", "text"),
    [
        ([1.0, 0.5, 0.5], "sigmas: index 2 is 0.5 after 0.5"),
        ([1.0, 2.0], "index 1 is 2 after 1"),
        ([1.0, 0.0, 0.0], "index 1 is 0"),
        ([1.0, 0.5, -1.0], "index 2 is -1"),
        ([1.0, np.nan, 0.1], "index 1 is NaN"),
        ([np.inf, 1.0], "index 0 is inf"),
        ([0.0, 1.0], "index 0 is 0"),
        ([1.0], "two or more are needed"),
        ([[1.0, 0.5], [0.5, 0.7]], "row 1, index 1 is 0.7 after 0.5"),
        ([[1.0, 0.5], [0.5, 0.0]], "rows 0 and 1 end at 0.5 and 0"),
    ],
)
def test_grids_that_do_not_fall_are_refused(grid: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        fm.score.Euler()._program(np.array(grid))


@pytest.mark.parametrize(
    ("kind", "given", "name"),
    [
        (fm.score.DPMSolver, {"order": 4}, "order"),
        (fm.score.DPMSolver, {"order": 2.0}, "order"),
        (fm.score.DPMSolver, {"eta": -0.1}, "eta"),
        (fm.score.DPMSolver, {"eta": np.inf}, "eta"),
        (fm.score.DPMSolver, {"eta": "1"}, "eta"),
        (fm.score.DPMSolver, {"eta": 1.0, "multistep": False}, "eta"),
        (fm.score.DPMSolver, {"eta": 1.0, "start": "rk"}, "start"),
        (fm.score.DPMSolver, {"sde": "euler"}, "sde"),
        (fm.score.DPMSolver, {"variant": "third"}, "variant"),
        (fm.score.Ancestral, {"eta": np.nan}, "eta"),
        (fm.score.DPMSolverAncestral, {"eta": 1.01}, "eta"),
        (fm.score.DPMSolverAncestral, {"eta": None}, "eta"),
        (fm.score.DPMSolverSDE, {"eta": -1.0}, "eta"),
        (fm.score.DPMSolverSDE, {"eta": np.inf}, "eta"),
        (fm.score.Heun, {"churn": -1}, "churn"),
        (fm.score.Heun, {"churn_range": (2, 1)}, "churn_range"),
        (fm.score.Heun, {"churn_range": 3}, "churn_range"),
        (fm.score.Heun, {"churn_noise": np.inf}, "churn_noise"),
        (fm.score.RungeKutta, {"order": 2}, "order"),
        (fm.score.DEIS, {"degree": 4}, "degree"),
        (fm.score.DEIS, {"variable": "t"}, "variable"),
        (fm.score.DEIS, {"variable": "vp_t", "beta_range": (0.0, 1.0)}, "beta_range"),
        (fm.score.GHVB, {"order": 4.5}, "order"),
        (fm.score.GHVB, {"order": 0}, "order"),
        (fm.score.GHVB, {"order": 1.5, "beta": 0.5}, "order"),
        (fm.score.GHVB, {"beta": 0.0}, "beta"),
        (fm.score.HeavyBall, {"beta": 1.5}, "beta"),
        (fm.score.UniPC, {"order": 5}, "order"),
        (fm.score.UniPC, {"form": "bh3"}, "form"),
        (fm.score.Euler, {"start": "high"}, "start"),
        (fm.score.Euler, {"lower_order_final": 1}, "lower_order_final"),
        (fm.score.Euler, {"langevin": 3}, "langevin"),
        (fm.score.Langevin, {"n_steps": 0}, "langevin.n_steps"),
        (fm.score.Langevin, {"snr": 0.0}, "langevin.snr"),
        (fm.score.Langevin, {"norm": "l2"}, "langevin.norm"),
    ],
)
def test_settings_out_of_range_are_refused(kind: Any, given: dict[str, Any], name: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{name}: "):
        kind(**given)


def test_names() -> None:
    assert FIXED_GRID.resolve("dpmpp_2m") == fm.score.DPMSolver(2)
    assert FIXED_GRID.resolve("deis_rho_ab3") == fm.score.DEIS(3, "sigma")
    assert FIXED_GRID.resolve(fm.score.Heun()) == FIXED_GRID.resolve("heun")
    with pytest.raises(ArgumentError, match="'dpmpp_4m' was given"):
        FIXED_GRID.resolve("dpmpp_4m")


def test_close_names_are_suggested() -> None:
    model = fm.score.Gaussian([0.0], 1.0)
    for argument, call in (
        ("integrator", lambda: fm.score.sample(model, 1, integrator="huen")),
        ("denoiser", lambda: fm.score.langevin_gibbs(model, denoiser="huen")),
    ):
        with pytest.raises(ArgumentError, match=rf"^{argument}: .*did you mean 'heun'\?"):
            call()


def test_every_method_of_the_core_has_a_name_and_an_exported_class() -> None:
    named = [FIXED_GRID.resolve(name) for name in fm.score.integrators()]
    assert {integrator._method()[0] for integrator in named} == set(_core.Program.METHODS)
    assert {type(integrator).__name__ for integrator in named} <= set(fm.score.__all__)
