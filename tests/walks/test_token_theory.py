"""The law of tokens that walks drive: known values, joint equations, simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import linalg, sparse
from walks_help import barbell, base_covariance, metropolis, path, random_graph

import fermiac as fm

Array = NDArray[np.float64]


def asymptotic_variance(graph: Any, *arguments: Any, **more: Any) -> Any:
    return fm.walks.asymptotic_variance(sparse.csr_array(graph), *arguments, **more)


def token_covariance(graph: Any, *arguments: Any, **more: Any) -> Any:
    return fm.walks.token_covariance(sparse.csr_array(graph), *arguments, **more)


def predict(graph: Any, *arguments: Any, **more: Any) -> Any:
    return fm.walks.predict(sparse.csr_array(graph), *arguments, **more)


BELLS = barbell(5, 2)
PLACES = np.arange(12) - 5.5

KNOWN = [
    (0.6, 0.9, (357.27778, 40.569093, 14.67865, 3.0467593, 0.83764431)),
    (0.6, 1.0, (2 * 357.27778, 2 * 40.569093, 2 * 14.67865, 2 * 3.0467593, 2 * 0.83764431)),
    (0.8, 0.8, (357.27778, 120.36145, 72.381678, 32.964969, 17.28124)),
    (1.0, 1.0, (714.55556, 144.76336, 80.551353, 34.562481, 17.710521)),
    (0.9, 0.6, (357.27778, 357.27778, 357.27778, 357.27778, 357.27778)),
]


@pytest.mark.parametrize(("a", "b", "values"), KNOWN)
@pytest.mark.parametrize("method", ["dense", "iterative"])
def test_known_values(a: float, b: float, values: tuple[float, ...], method: str) -> None:
    for alpha, value in zip((0.0, 1.0, 2.0, 5.0, 10.0), values, strict=True):
        v = token_covariance(BELLS, -PLACES, 1.0, alpha, a, b, method=method)
        assert v == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize("a", [0.8, 1.0])
@pytest.mark.parametrize("kernel", ["srrw", "hdt", "none"])
def test_a_mean_is_found_as_by_the_visits(a: float, kernel: str) -> None:
    v = token_covariance(BELLS, PLACES, 1.0, 4.0, a, a, kernel=kernel)
    exact = asymptotic_variance(BELLS, PLACES, kernel, alpha=4.0, step_exponent=a)
    assert v == pytest.approx(exact, rel=1e-12)


def problem() -> tuple[Array, Array, Array, Array, Array]:
    """A graph, its target, gradients, a Hessian that is not symmetric, the chain."""
    rng = np.random.default_rng(4)
    graph = random_graph(9, 8, seed=7)
    w = rng.uniform(0.5, 2.0, 9)
    gradients = rng.standard_normal((9, 2))
    gradients -= w @ gradients / w.sum()
    hessian = np.array([[1.0, 0.4], [-0.2, 0.7]])
    return graph, w, gradients, hessian, metropolis(graph, w, lambda r: min(1.0, r))


def joint(kernel: str, alpha: float) -> tuple[Array, Array]:
    """The drift of (token, visit measure) about the fixed point, and the covariance of its noise.

    The drift of the measure x is pi[x] - x; the derivative of pi at the target is -alpha (I + P^T)
    for the self-repellent walk and -alpha I for the history-driven target.
    """
    _, w, gradients, hessian, p = problem()
    n = len(w)
    bend = -alpha * (np.eye(n) + (p.T if kernel == "srrw" else 0.0))
    drift = np.block([[-hessian, -gradients.T @ bend], [np.zeros((n, 2)), bend - np.eye(n)]])
    lift = np.vstack([-gradients.T, np.eye(n)])
    return drift, lift @ base_covariance(p, w / w.sum()) @ lift.T


@pytest.mark.parametrize("kernel", ["srrw", "hdt"])
@pytest.mark.parametrize("method", ["dense", "iterative"])
@pytest.mark.parametrize(("a", "b", "c"), [(0.8, 0.8, 0.7), (1.0, 1.0, 1.3), (0.6, 0.9, 0.7),
    (0.6, 1.0, 1.3), (0.9, 0.6, 0.7)])  # fmt: skip
def test_limits_solve_the_joint_equation(
    kernel: str, method: str, a: float, b: float, c: float
) -> None:
    graph, w, gradients, hessian, _ = problem()
    alpha = 3.0
    drift, noise = joint(kernel, alpha)
    # Where a < b the measure is a third scale, far faster; where b < a, far slower.
    scale = {True: 1e-7, False: 1e7}[b > a] if a != b else c
    rates = np.concatenate([np.full(2, scale), np.ones(len(w))])
    slowed = rates[:, None] * drift
    if b == 1.0:
        slowed = slowed + (0.5 if a == b else 0.5 * scale / c) * np.eye(len(rates))
    v = linalg.solve_continuous_lyapunov(slowed, -rates[:, None] * noise * rates)
    exact = v[:2, :2] / scale
    got = token_covariance(
        graph, gradients, hessian, alpha, a, b, c=c, kernel=kernel, weights=w, method=method
    )
    np.testing.assert_allclose(got, exact, rtol=1e-8 if a == b else 1e-5)


@pytest.mark.parametrize("kernel", ["srrw", "hdt", "none"])
@pytest.mark.parametrize("method", ["dense", "iterative"])
def test_predictions_are_the_joint_recursion(kernel: str, method: str) -> None:
    graph, w, gradients, hessian, _ = problem()
    alpha, a, b, c = 2.0, 0.7, 0.9, 0.8
    drift, noise = joint(kernel, 0.0 if kernel == "none" else alpha)
    size = len(drift)
    start = np.array([1.0, -2.0])
    s = np.zeros((size, size))
    s[:2, :2] = np.outer(start, start)
    exact = [s[:2, :2]]
    repellence = 0.0 if kernel == "none" else alpha
    for n in range(1, 60):
        gamma, beta = (n + 1.0) ** -a, c * (n + 1.0) ** -b
        g = np.diag(np.concatenate([np.full(2, beta), np.full(size - 2, gamma)]))
        if gamma * (1 + 2 * repellence) > 0.5:
            move = np.linalg.inv(np.eye(size) - g @ drift)
            s = move @ (s + g @ noise @ g) @ move.T
        else:
            move = np.eye(size) + g @ drift
            s = move @ s @ move.T + g @ noise @ g
        exact.append(s[:2, :2])
    n_steps = np.array([[0, 59, 3], [17, 17, 1]])
    got = predict(
        graph, gradients, hessian, n_steps, alpha, a, b, c=c, start_error=start, kernel=kernel,
        weights=w, method=method,
    )  # fmt: skip
    assert got.shape == (2, 3, 2, 2)
    np.testing.assert_allclose(got, np.array(exact)[n_steps], rtol=1e-9, atol=1e-12)


def test_predictions_tend_to_the_limit() -> None:
    graph, w, gradients, hessian, _ = problem()
    n = 20_000
    limit = token_covariance(graph, gradients, hessian, 2.0, 1.0, 1.0, weights=w)
    got = predict(graph, gradients, hessian, n, 2.0, 1.0, 1.0, weights=w)
    np.testing.assert_allclose(got * (n + 1), limit, rtol=0.02)


@pytest.mark.parametrize("kernel", ["srrw", "hdt"])
@pytest.mark.parametrize(("a", "b"), [(0.7, 0.9), (0.8, 0.8)])
def test_simulated_tokens_have_the_predicted_errors(kernel: str, a: float, b: float) -> None:
    graph, w, gradients, hessian, p = problem()
    rng, runs, n, alpha, size = np.random.default_rng(11), 1500, 2000, 1.0, len(w)
    mu, d = w / w.sum(), graph.sum(axis=1)
    near = np.argsort(-graph, axis=1, kind="stable")
    x, row, at = np.tile(mu, (runs, 1)), np.arange(runs), rng.integers(size, size=runs)
    theta = np.zeros((runs, 2))
    for step in range(n):
        target = mu * (x / mu) ** -alpha
        if kernel == "srrw":
            sums = np.cumsum(p[at] * target / mu, axis=1)
            at = (sums < rng.random(runs)[:, None] * sums[:, -1:]).sum(axis=1)
        else:
            to = near[at, (rng.random(runs) * d[at]).astype(int)]
            ratio = target[row, to] * d[at] / (target[row, at] * d[to])
            # Metropolis' rule has a kink at the target, and comes to the limit later.
            at = np.where(rng.random(runs) < ratio / (1 + ratio), to, at)
        gamma, beta = (step + 2.0) ** -a, (step + 2.0) ** -b
        x *= 1.0 - gamma
        x[row, at] += gamma
        theta -= beta * (gradients[at] + theta @ hessian.T)
    base = "mhrw" if kernel == "srrw" else "barker"
    exact = predict(graph, gradients, hessian, n, alpha, a, b, kernel=kernel, base=base, weights=w)
    for axis in np.eye(2):
        squares, mean = (theta @ axis) ** 2, axis @ exact @ axis
        # Beside the sampling error, what the linear approximation leaves out.
        assert abs(squares.mean() / mean - 1) < 4 * math.sqrt(2 / runs) + 0.03


def test_few_modes_stand_for_many_and_shapes() -> None:
    graph = sparse.csr_array(random_graph(200, 900, seed=1))
    gradients = np.random.default_rng(0).standard_normal((200, 2))
    gradients -= gradients.mean(axis=0)
    hessian = np.array([[1.0, 0.2], [0.2, 0.5]])
    for a, b in (0.7, 0.7), (0.6, 0.9):
        dense, iterative = (
            token_covariance(graph, gradients, hessian, 3.0, a, b, method=method)
            for method in ("dense", "iterative")
        )
        np.testing.assert_allclose(iterative, dense, rtol=1e-8)
    each = np.tile(hessian, (200, 1, 1))
    np.testing.assert_allclose(
        token_covariance(graph, lambda i: gradients[i], each, 3.0, 0.6, 0.9), iterative, rtol=1e-8
    )
    assert isinstance(token_covariance(path(6), np.arange(6) - 2.5, 1.0), float)
    assert isinstance(predict(path(6), np.arange(6) - 2.5, [[1.0]], 10), float)
    one = token_covariance(path(6), (np.arange(6) - 2.5)[:, None], 1.0, base="mhda", kernel="hdt")
    assert one.shape == (1, 1)
    assert predict(path(6), np.arange(6) - 2.5, 1.0, [1, 2], start_error=2.0).shape == (2,)
    assert token_covariance(path(6), np.zeros(6), 1.0) == 0.0
    assert predict(path(6), np.zeros(6), 1.0, 0, start_error=2.0) == 4.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"a": 0.5}, "^a: .*1/2"),
        ({"b": 1.01}, "^b: .*1/2"),
        ({"c": 0.0}, "^c: "),
        ({"alpha": -1}, "^alpha: "),
        ({"kernel": "rotor"}, "no central limit theorem"),
        ({"base": "mhda"}, "kernel='hdt'"),
        ({"method": "fast"}, "'dense'"),
        ({"gradients": PLACES + 1}, "at the minimum the mean is 0"),
        ({"gradients": PLACES[:5]}, "12 nodes"),
        ({"hessian": np.eye(2)}, r"\(1, 1\)"),
        ({"hessian": -1.0}, "one above 0 is needed"),
        ({"hessian": 0.3, "b": 1.0}, "c must be above 1.67"),
        ({"hessian": math.inf}, "finite"),
        ({"hessian": None}, "None"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], message: str) -> None:
    given = {"graph": BELLS, "gradients": PLACES, "hessian": 1.0, **arguments}
    with pytest.raises(fm.errors.ArgumentError, match=message):
        token_covariance(**given)


def test_what_predictions_refuse() -> None:
    for more in (
        {"n_steps": -1},
        {"n_steps": 1.5},
        {"n_steps": True},
        {"n_steps": 5, "start_error": [1.0, 2.0]},
        {"n_steps": 5, "start_error": math.inf},
    ):
        with pytest.raises(fm.errors.ArgumentError):
            predict(BELLS, PLACES, 1.0, **more)  # type: ignore[arg-type]
