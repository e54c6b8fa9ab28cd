"""Every integrator against its formulas, published and closed-form values, and exact laws."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import score_reference as reference
from score_cases import CASES, NAMES, STOCHASTIC, Case, model, noise, ours
from score_reference import Array, karras

import fermiac as fm

A = reference.model_a()
HIGH, LOW = 10.0, 0.05
STEPS = 5, 10, 20
# Kinds of the last level: the lowest of the grid, or no noise at all.
ENDS = {"ends above zero": False, "ends at zero": True}
ORDERED = [name for name, case in CASES.items() if case.order > 1]


@cache
def law() -> Any:
    return model(A)


@cache
def solution() -> Array:
    """Where the probability-flow equation leads the probe points."""
    return reference.flow(A.denoise, reference.probes(), HIGH, LOW)


def grid(n: int, zero: bool = False) -> Array:
    levels = karras(n, LOW, HIGH)
    return np.append(levels, 0.0) if zero else levels


def by_formula(case: Case, y: Array, levels: Array, key: int = 0, **settings: Any) -> Array:
    draws = noise(key, *y.shape)
    return reference.integrate(
        case.step, A.denoise, y, levels, draws, order=case.order, **settings
    )[0]


def rms(y: Array) -> float:
    return math.sqrt(np.mean(np.sum((y - solution()) ** 2, axis=1)))


def assert_close(found: Array, wanted: Array, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("name", CASES)
def test_integrators_are_their_formulas(name: str, n: int, end: str) -> None:
    y, levels = reference.probes(64), grid(n, ENDS[end])
    case = CASES[name]
    assert_close(ours(law(), y, levels, case.integrator), by_formula(case, y, levels))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_integrators_are_their_formulas(name: str, n: int, end: str) -> None:
    y, levels, case = reference.probes(64), grid(n, ENDS[end]), STOCHASTIC[name]
    found = ours(law(), y, levels, case.integrator, rng=17)
    assert_close(found, by_formula(case, y, levels, 17))


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_for_defaults(name: str) -> None:
    y, levels = reference.probes(8), grid(6, True)
    case = (CASES | STOCHASTIC)[NAMES[name]]
    assert_close(ours(law(), y, levels, name, rng=3), by_formula(case, y, levels, 3))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", ORDERED)
def test_starts_with_single_steps_of_order_three(name: str, end: str) -> None:
    y, levels, case = reference.probes(32), grid(9, ENDS[end]), CASES[name]
    found = ours(law(), y, levels, case.but(start="rk"))
    assert_close(found, by_formula(case, y, levels, start="rk"))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", ORDERED)
def test_ends_with_lower_orders(name: str, end: str) -> None:
    y, levels, case = reference.probes(32), grid(7, ENDS[end]), CASES[name]
    found = ours(law(), y, levels, case.but(lower_order_final=True))
    assert_close(found, by_formula(case, y, levels, lower_order_final=True))


@pytest.mark.parametrize("norm", ["level", "row", "batch"])
@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "deis_log_ab2", "dpmpp_2m_sde"])
def test_langevin_steps_follow_each_step(name: str, norm: str) -> None:
    y, levels, case = reference.probes(32), grid(7, True), (CASES | STOCHASTIC)[name]
    settings = {"n_steps": 2, "snr": 0.1, "norm": norm}
    found = ours(law(), y, levels, case.but(langevin=fm.score.Langevin(**settings)), rng=5)
    steps = reference.Langevin(**settings)  # type: ignore[arg-type]
    # Where the score is small, steps are long, and take rounding with them.
    assert_close(found, by_formula(case, y, levels, 5, langevin=steps), 1e-10)


@pytest.mark.parametrize("name", [*CASES, *STOCHASTIC])
def test_rows_have_grids_of_their_own(name: str) -> None:
    case, n = (CASES | STOCHASTIC)[name], 6
    highs = np.array([10.0, 4.0, 1.0, 0.3])
    levels = np.stack([np.append(karras(n, LOW, high), 0.0) for high in highs])
    y = reference.probes(len(highs)) * (highs / HIGH)[:, None]
    found = ours(law(), y, levels, case.integrator, rng=9)
    for i, (row, own) in enumerate(zip(y, levels, strict=True)):
        draws = noise(9, 1, 2, first=i)
        wanted = reference.integrate(case.step, A.denoise, row[None], own, draws, order=case.order)[
            0
        ]
        assert_close(found[i], wanted[0])


# Root-mean-square errors at 5, 10, 20 and 40 evaluations, and the order from 160 to 320.
TABLE: dict[str, tuple[float, float, float, float, float]] = {
    "euler": (4.9928e-01, 3.0471e-01, 1.5534e-01, 9.0783e-02, 1.00),
    "heun": (2.0425e00, 2.0724e-01, 4.6926e-02, 1.1211e-02, 2.00),
    "dpm2": (9.8899e-01, 1.3210e-01, 2.8140e-02, 6.8922e-03, 1.99),
    "dpmpp_2s": (4.8450e-01, 1.5763e-01, 5.0402e-02, 1.2368e-02, 1.97),
    "dpmpp_3s": (5.4030e-01, 9.3499e-02, 1.9984e-02, 2.4798e-03, 2.91),
    "dpmpp_2m": (2.5783e-01, 6.5933e-02, 1.4747e-02, 3.6819e-03, 2.00),
    "dpmpp_3m": (2.3717e-01, 4.4581e-02, 5.4859e-03, 8.8443e-04, 2.02),
    "deis_rho_ab1": (3.7885e-01, 1.4953e-01, 4.6018e-02, 1.1261e-02, 1.98),
    "deis_rho_ab2": (3.5141e-01, 1.0961e-01, 1.9139e-02, 3.0742e-03, 2.68),
    "deis_rho_ab3": (3.4928e-01, 9.5065e-02, 1.1226e-02, 1.2281e-03, 2.16),
    "deis_log_ab1": (2.6121e-01, 9.3890e-02, 2.2928e-02, 5.8154e-03, 1.98),
    "deis_log_ab2": (1.8939e-01, 3.6661e-02, 6.0452e-03, 9.5152e-04, 2.22),
    "deis_log_ab3": (2.2016e-01, 2.3710e-02, 2.9696e-03, 4.0672e-04, 2.03),
    "ghvb2_b0.8": (2.8160e-01, 1.0583e-01, 2.8835e-02, 7.3659e-03, 1.98),
    "ghvb4_b1.0": (1.8927e-01, 1.8987e-02, 3.6483e-03, 8.7874e-04, 1.99),
    "hb1_b0.8": (6.4673e-01, 3.9983e-01, 2.4168e-01, 1.2117e-01, 1.02),
    "unipc2_bh2": (2.3852e-01, 3.8961e-02, 6.6824e-03, 9.5210e-04, 3.00),
    "unipc3_bh2": (3.0964e-01, 6.5941e-02, 2.3944e-03, 1.3327e-04, 3.87),
    "unip3_nocorr": (2.8275e-01, 7.0001e-02, 6.5530e-03, 7.7457e-04, 2.11),
}


@pytest.mark.parametrize("name", TABLE)
def test_errors_and_orders_are_known(name: str) -> None:
    case, y = CASES[name], reference.probes()
    *errors, order = TABLE[name]
    for budget, error in zip((5, 10, 20, 40), errors, strict=True):
        found = rms(ours(law(), y, grid(budget // case.cost), case.integrator))
        assert found == pytest.approx(error, rel=1e-4)
    n, twice = (budget // case.cost for budget in (160, 320))
    coarse, fine = (rms(ours(law(), y, grid(k), case.integrator)) for k in (n, twice))
    assert math.log(coarse / fine) / math.log(twice / n) == pytest.approx(order, abs=0.02)


# With a start of third order: errors at 20, 40, 160 and 320 evaluations.
STARTED: dict[str, tuple[float, float, float, float, float]] = {
    "dpmpp_3m_corrected": (1.408e-2, 9.704e-4, 9.793e-6, 1.142e-6, 3.0),
    "dpmpp_3m": (1.218e-2, 1.378e-3, 5.844e-5, 1.406e-5, 2.0),
    "deis_log_ab2": (1.033e-2, 1.233e-3, 1.704e-5, 2.068e-6, 3.0),
    "deis_log_ab3": (8.535e-3, 3.295e-4, 7.895e-7, 4.834e-8, 4.0),
}


@pytest.mark.parametrize("name", STARTED)
def test_a_good_start_brings_the_full_order(name: str) -> None:
    case, y = CASES[name], reference.probes()
    *errors, order = STARTED[name]
    found = []
    for budget, error in zip((20, 40, 160, 320), errors, strict=True):
        steps = budget - 2 * (case.order - 1)
        found.append(rms(ours(law(), y, grid(steps), case.but(start="rk"))))
        # The solution itself is only known to about 1e-11.
        assert found[-1] == pytest.approx(error, rel=1e-3)
    assert math.log2(found[-2] / found[-1]) == pytest.approx(order, abs=0.15)


POINTS: dict[str, tuple[float, float]] = {
    "dpmpp_2m": (-0.303762209573, -0.69695205255),
    "heun": (-0.303463765281, -0.697660486296),
    "unipc2_bh2": (-0.297030522862, -0.684400295107),
    "unipc3_bh2": (-0.282824349973, -0.653508106851),
    "deis_log_ab2": (-0.28716635293, -0.66300226453),
    "ghvb2_b0.8": (-0.278959545722, -0.643791736218),
}


@pytest.mark.parametrize("name", POINTS)
def test_a_point_after_ten_steps(name: str) -> None:
    found = ours(law(), reference.probes(1), grid(10), CASES[name].integrator)
    np.testing.assert_allclose(found[0], POINTS[name], rtol=0, atol=1e-11)


def test_the_solution_is_known() -> None:
    wanted = [[-0.28666713, -0.66144127], [-2.53445039, 2.65344092], [1.03938591, -0.12389489]]
    np.testing.assert_allclose(solution()[:3], wanted, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_one_gaussian_has_a_closed_form(name: str) -> None:
    """y(s) = mean + (y0 - mean) sqrt((v + s²)/(v + s0²)), along each axis of the covariance."""
    angle, variances, mean = 0.4, np.array([0.3, 1.7]), np.array([0.5, -1.0])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    gaussian = fm.score.Gaussian(mean, turn @ np.diag(variances) @ turn.T)
    y = reference.probes(16)
    shrink = np.sqrt((variances + LOW**2) / (variances + HIGH**2))
    wanted = mean + ((y - mean) @ turn * shrink) @ turn.T
    case = CASES[name]
    errors = []
    for n in (160, 320):
        found = ours(gaussian, y, grid(n), case.integrator)
        errors.append(np.abs(found - wanted).max())
    first_order = (case.order == 1 and case.cost == 1) or name.startswith(("hb", "ghvb1"))
    assert errors[1] < (0.2 if first_order else 2e-3)
    assert errors[0] / errors[1] > (1.8 if first_order else 3.4)


@pytest.mark.parametrize("end", ENDS)
def test_euler_on_a_gaussian_is_a_product(end: str) -> None:
    variance, levels = 0.7, grid(12, ENDS[end])
    y = reference.probes(5)
    found = ours(fm.score.Gaussian(np.zeros(2), variance), y, levels, "euler")
    s, to = levels[:-1], levels[1:]
    assert_close(found, y * np.prod(1 + (to - s) * s / (variance + s * s)), 1e-13)


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("dpmpp_1m_sde", "dpmpp_1m"),
        ("dpmpp_2m_sde", "dpmpp_2m"),
        ("dpmpp_3m_sde", "dpmpp_3m"),
        ("ancestral", "euler"),
        ("dpmpp_2s_ancestral", "dpmpp_2s"),
        ("dpmpp_sde", "dpmpp_2s"),
    ],
)
def test_without_noise_the_stochastic_is_the_ordinary(name: str, twin: str) -> None:
    kind, settings = STOCHASTIC[name].ours
    still = getattr(fm.score, kind)(**{**settings, "eta": 0.0})  # type: ignore[arg-type]
    y, levels = reference.probes(64), grid(12, True)
    found = ours(law(), y, levels, still, rng=1)
    assert_close(found, ours(law(), y, levels, CASES[twin].integrator), 1e-13)


LAWFUL = [name for name in STOCHASTIC if not name.endswith("half")]


@pytest.mark.parametrize("name", LAWFUL)
def test_many_small_steps_keep_the_law(name: str) -> None:
    """From draws of the noisy law, means and covariances of the law at the last level."""
    n, rng = 4000, np.random.default_rng(11)
    which = rng.choice(len(A.weights), n, p=A.weights)
    roots = np.linalg.cholesky(A.covariances)
    points = A.means[which] + np.einsum("nij,nj->ni", roots[which], rng.normal(size=(n, 2)))
    y = points + HIGH * rng.normal(size=points.shape)
    found = ours(law(), y, grid(400), STOCHASTIC[name].integrator, rng=23)
    covariance = A.covariance + LOW**2 * np.eye(2)
    away = found - A.mean
    z = away.mean(axis=0) / np.sqrt(np.diag(covariance) / n)
    assert np.abs(z).max() < 5
    for i, j in ((0, 0), (0, 1), (1, 1)):
        products = away[:, i] * away[:, j]
        error = products.std() / math.sqrt(n)
        assert abs(products.mean() - covariance[i, j]) < 5 * error
