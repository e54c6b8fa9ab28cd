"""Flows between two laws: exact velocities, moments by path and diffusion, densities, times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

Array = NDArray[np.float64]
COV = np.array([[1.0, 0.4], [0.4, 0.5]])
FIRST = fm.score.Gaussian([0.0, 0.0], [[0.6, -0.2], [-0.2, 1.2]])
LAST = fm.score.Gaussian([2.0, -1.0], COV)
NORMAL = fm.score.Gaussian([0.0, 0.0], 1.0)
TWO = fm.score.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [1.0, 1.0]], [0.2, 0.3])
THREE = fm.score.GaussianMixture(
    [0.5, 0.2, 0.3], [[0.0, 2.0], [2.0, -1.0], [-1.0, -1.0]], [0.1, 0.2, 0.3]
)
PATHS = [
    fm.score.Interpolant("linear"),
    fm.score.Interpolant("trigonometric"),
    fm.score.Interpolant("vp"),
    fm.score.Interpolant("linear", latent="bridge"),
    fm.score.Interpolant("trigonometric", latent="sine", scale=0.7),
    fm.score.Interpolant((lambda t: (1 - t) ** 2, lambda t: t), latent="bridge", scale=0.5),
]


def _path_name(path: Any) -> str:
    """A name that is the same in every process, also for functions."""
    of = path.path if isinstance(path.path, str) else "functions"
    return f"{of}-{path.latent}-{path.scale}"


@pytest.mark.parametrize("path", PATHS, ids=_path_name)
def test_normal_to_normal_has_the_moments_of_the_end(path: Any) -> None:
    """The map is affine, so that a few points carry mean and covariance without noise."""
    flow = fm.score.ExactInterpolant(FIRST, LAST, path)
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ends = [fm.score.transport(flow, points, n) for n in (100, 200)]
    errors = []
    for x in ends:
        a = (x[1:] - x[0]).T
        errors.append(
            max(np.abs(x[0] - LAST.mean).max(), np.abs(a @ FIRST.covariance @ a.T - COV).max())
        )
    assert errors[1] < 2e-3
    # The order is 2; the bridge's velocity has a root at the ends, which costs a part of it.
    assert errors[1] < errors[0] / (1.7 if path.latent == "bridge" else 3.5)
    back = fm.score.transport(flow, ends[1], 200, reverse=True)
    np.testing.assert_allclose(back, points, atol=5e-3)


@pytest.mark.parametrize("path", [PATHS[0], PATHS[4]], ids=_path_name)
@pytest.mark.parametrize("reverse", [False, True])
def test_with_noise_the_laws_are_the_same(path: Any, reverse: bool) -> None:
    flow = fm.score.ExactInterpolant(TWO, THREE, path)
    start, end = (THREE, TWO) if reverse else (TWO, THREE)
    n = 2000
    x0, wanted = start.sample(n, rng=1), end.sample(n, rng=2)
    for diffusion in (None, 0.5, lambda t: t * (1 - t)):
        x = fm.score.transport(flow, x0, 80, diffusion, reverse, rng=3)
        for f in (lambda x: x, lambda x: x**2, lambda x: x[:, :1] * x[:, 1:]):
            a, b = f(x), f(wanted)
            error = np.sqrt(a.var(axis=0) / n + b.var(axis=0) / n)
            assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 5 * error + 0.02).all()


@pytest.mark.parametrize("path", PATHS[:2] + PATHS[3:], ids=_path_name)
def test_velocity_and_score_are_conditional_means(path: Any) -> None:
    """Differences: the score of the log-density, and the continuity equation of the velocity."""
    flow = fm.score.ExactInterpolant(TWO, THREE, path)
    x, t, h = np.array([[0.3, 0.2], [-1.0, 0.5], [1.5, -0.5]]), 0.37, 1e-5
    steps = h * np.eye(2)
    slope = np.stack(
        [(flow.log_density(x + e, t) - flow.log_density(x - e, t)) / (2 * h) for e in steps], 1
    )
    np.testing.assert_allclose(flow.score(x, t), slope, rtol=1e-6, atol=1e-7)
    divergence = sum(
        (flow.velocity(x + e, t) - flow.velocity(x - e, t))[:, i] / (2 * h)
        for i, e in enumerate(steps)
    )
    np.testing.assert_allclose(flow.divergence(x, t), divergence, rtol=1e-6, atol=1e-7)
    change = (flow.log_density(x, t + h) - flow.log_density(x, t - h)) / (2 * h)
    wanted = -divergence - (flow.velocity(x, t) * slope).sum(axis=1)
    np.testing.assert_allclose(change, wanted, rtol=1e-5, atol=1e-6)


def test_densities_go_along() -> None:
    flow = fm.score.ExactInterpolant(TWO, THREE)
    x0 = TWO.sample(50, rng=4)
    x1, change = fm.score.transport(flow, x0, 400, return_log_change=True)
    found = TWO.log_density(x0, 0.0) + change
    np.testing.assert_allclose(found, THREE.log_density(x1, 0.0), atol=2e-3)


def test_the_score_of_a_flow_from_noise_follows_from_its_velocity() -> None:
    exact = fm.score.ExactInterpolant(NORMAL, THREE)
    flow = fm.score.FlowModel(lambda x, t: exact.velocity(x, t[0]), from_normal=True, dim=2)
    x = fm.random.Stream(0).normal((20, 2))
    for t in (0.0, 0.2, 0.9):
        np.testing.assert_allclose(flow._score(x, t), exact.score(x, t), rtol=1e-9, atol=1e-9)
    assert flow._score(x, 1.0) is None
    latent = fm.score.Interpolant(latent="sine")
    both = fm.score.ExactInterpolant(TWO, THREE, latent)
    gamma = float(latent.factors(0.3)[2])
    denoised = fm.score.FlowModel(
        lambda x, t: both.velocity(x, t[0]),
        lambda x, t: -gamma * both.score(x, t[0]),
        interpolant=latent,
    )
    np.testing.assert_allclose(denoised._score(x, 0.3), both.score(x, 0.3), rtol=1e-12)
    assert denoised._score(x, 0.0) is None


def test_noise_has_addresses() -> None:
    flow = fm.score.ExactInterpolant(TWO, THREE)
    x0 = TWO.sample(10, rng=4)
    whole = fm.score.transport(flow, x0, 20, 0.3, rng=5)
    part = fm.score.transport(flow, x0[6:], 20, 0.3, rng=5, first_row=6)
    np.testing.assert_allclose(part, whole[6:], rtol=1e-10)
    path = fm.score.transport(flow, x0, 20, 0.3, return_trajectory=True, rng=5)
    assert path.shape == (21, 10, 2)
    np.testing.assert_array_equal(path[[0, -1]], [x0, whole])
    assert np.round(whole[0], 8).tolist() == PINNED


PINNED = [-1.20029773, -0.26135509]


def test_a_stop_hands_out_the_points() -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    flow = fm.score.ExactInterpolant(TWO, THREE)
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.score.transport(flow, np.zeros((3, 2)), 20, plan=fm.Plan(progress=stop))
    part = caught.value.partial_result  # type: ignore[attr-defined]
    assert part.t == 0.25
    assert part.x.shape == (3, 2)


def test_shifted_times() -> None:
    """Times t ← a t / (1 + (a - 1) t) multiplies the levels t / (1 - t) by a."""
    plain, shifted = fm.score.flow_shift(10, 1.0), fm.score.flow_shift(10, 3.0)
    np.testing.assert_allclose(shifted.levels[1:], 3 * plain.levels[1:], rtol=1e-12)
    assert shifted.times[0] == 1.0
    assert shifted.levels[0] == 1e6
    base = fm.score.flow_shift(10, n_tokens=256).times
    np.testing.assert_array_equal(base, fm.score.flow_shift(10, np.exp(0.5)).times)
    with pytest.raises(ArgumentError, match="times of a flow model"):
        fm.score.integrate(NORMAL, np.zeros((1, 2)), shifted)  # type: ignore[arg-type]
    # A flow network along its own times is the Euler step of its velocity.
    network = fm.score.ScoreModel(lambda x, t: 0.3 * x, "flow", "flow", dim=2)
    z = fm.random.Stream(0).normal((5, 2))
    x = z.copy()
    for t, to in zip(shifted.times[:-1], shifted.times[1:], strict=True):
        x = x + (to - t) * 0.3 * x
    found = fm.score.integrate(network, z * (1 + 1e6), shifted.levels, "euler")
    np.testing.assert_allclose(found, x, rtol=1e-5)


def bad(x: Array, t: Array) -> Array:
    return np.full_like(x, np.nan)


FLOW = fm.score.FlowModel(bad, dim=2)
POINTS = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fm.score.Interpolant("straight"), "path"),
        (lambda: fm.score.Interpolant((np.sin, np.cos)), "path: its functions"),
        (lambda: fm.score.Interpolant(latent="x"), "latent"),
        (lambda: fm.score.Interpolant(scale=0), "scale"),
        (lambda: fm.score.Interpolant().factors(2.0), "t: 2"),
        (lambda: fm.score.ExactInterpolant(TWO, THREE).velocity([1.0], 0.5), "x: shape"),
        (lambda: fm.score.ExactInterpolant(TWO, THREE).score(POINTS, 1.5), "t: 1.5"),
        (lambda: fm.score.FlowModel(3), "velocity: 3"),
        (lambda: fm.score.FlowModel(bad, bad), "denoiser: given without"),
        (lambda: fm.score.FlowModel(bad, interpolant=3), "interpolant: 3"),
        (lambda: fm.score.FlowModel(bad, from_normal=True, interpolant=PATHS[3]), "from_normal"),
        (lambda: fm.score.ExactInterpolant(TWO, fm.score.Gaussian([0.0], 1.0)), "last"),
        (lambda: fm.score.ExactInterpolant(TWO, THREE, PATHS[2]), "'vp'"),
        (lambda: fm.score.ExactInterpolant(3, TWO), "a GaussianMixture or Gaussian"),
        (lambda: fm.score.transport(TWO, POINTS), "a FlowModel is needed"),
        (lambda: fm.score.transport(FLOW, np.zeros((3, 1))), "x0: shape"),
        (lambda: fm.score.transport(FLOW, POINTS, diffusion=1.0), "without a score"),
        (lambda: fm.score.transport(FLOW, POINTS, diffusion=-1.0), "diffusion: -1"),
        (lambda: fm.score.transport(FLOW, POINTS, return_log_change=True), "divergence"),
        (lambda: fm.score.transport(FLOW, POINTS, 0), "n_steps"),
        (lambda: fm.score.flow_shift(3), "either a shift or n_tokens"),
        (lambda: fm.score.flow_shift(3, 0.0), "shift"),
        (lambda: fm.score.flow_shift(3, n_tokens=2**39), "overflows"),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_functions_that_give_no_numbers() -> None:
    with pytest.raises(TargetError, match=r"velocity gave .* in row 0; finite"):
        fm.score.transport(FLOW, POINTS)
    exact = fm.score.ExactInterpolant(TWO, THREE)
    with pytest.raises(TargetError, match="diffusion: the function gave -1"):
        fm.score.transport(exact, POINTS, diffusion=lambda t: -1.0)
