"""Tokens that walk: the recursion, its rules, and the forms of losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from token_help import Recorded, barbell, data, native_pull, optimize, pull, quadratic, ring

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, DivergedError, TargetError

Array = NDArray[np.float64]


def test_a_step_takes_the_new_node_and_the_step_size_of_its_number() -> None:
    g = ring(12)
    asked = Recorded(pull)
    o = optimize(asked, g, n_steps=50, n_tokens=3, dim=2, init_nodes=[0, 4, 8], c=0.7, rng=3)
    nodes = np.array(asked.nodes)
    away = np.abs(nodes[0] - np.array([0, 4, 8])) % 12
    assert np.isin(away, (0, 1, 11)).all()
    theta = np.zeros((3, 2))
    for n in range(50):
        np.testing.assert_allclose(asked.thetas[n], theta, rtol=0, atol=1e-13)
        theta = theta - 0.7 * (n + 2.0) ** -0.9 * pull(theta, nodes[n])
    np.testing.assert_allclose(o.thetas, theta, rtol=0, atol=1e-13)
    assert o.visits.sum() == 150
    np.testing.assert_array_equal(o.visits, np.bincount(nodes.ravel(), minlength=12))
    assert o.n_evals == 150


@pytest.mark.parametrize("central", [True, False])
def test_rules_of_steps(central: bool) -> None:
    g, (a, b) = ring(9), quadratic(9, 3)
    loss = fm.walks.Quadratic(a, b)
    asked = Recorded(loss.gradient)
    rule: dict[str, Any] = {
        "momentum": 0.6,
        "average": 10,
        "clip": 0.5,
        "local_steps": 2,
        "sync": 7,
        "n_tokens": 4,
        "step_sizes": lambda t: 0.3 / np.sqrt(t),
        "projection": ("box", [-0.4, -9.0, -9.0], [0.4, 9.0, 0.2]),
        "init": np.arange(12.0).reshape(4, 3) / 10,
        "n_steps": 40,
        "rng": 1,
        "record_every": 8,
    }
    known = optimize(asked, g, **rule)
    o = known if central else optimize(loss, g, **rule)
    theta = np.arange(12.0).reshape(4, 3) / 10
    velocity, mean, records = np.zeros((4, 3)), np.zeros((4, 3)), [theta]
    for n in range(40):
        for local in range(2):
            gradient = loss.gradient(theta, asked.nodes[2 * n + local])
            norm = np.linalg.norm(gradient, axis=1, keepdims=True)
            velocity = 0.6 * velocity + gradient * np.minimum(1.0, 0.5 / norm)
            theta = theta - 0.3 / np.sqrt(n + 1) * velocity
            theta = np.clip(theta, [-0.4, -9.0, -9.0], [0.4, 9.0, 0.2])
        if n >= 10:
            mean = mean + (theta - mean) / (n - 9)
        if (n + 1) % 8 == 0:
            records.append(theta)
        if (n + 1) % 7 == 0:
            theta = np.tile(theta.mean(axis=0), (4, 1))
            velocity = np.tile(velocity.mean(axis=0), (4, 1))
    np.testing.assert_allclose(o.thetas, theta, rtol=0, atol=1e-12)
    assert o.averages is not None
    np.testing.assert_allclose(o.averages, mean, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(o.trace.steps, np.arange(0, 41, 8))
    np.testing.assert_allclose(o.trace.theta, np.swapaxes(records, 0, 1), rtol=0, atol=1e-12)
    assert o.stderr is None  # tokens that meet are not independent


def test_a_ball_holds_parameters() -> None:
    loss = fm.walks.Quadratic(1.0, np.full((6, 3), 5.0))
    o = optimize(loss, ring(6), n_steps=500, projection=("ball", 2.0))
    np.testing.assert_allclose(o.theta, 2.0 / np.sqrt(3.0), rtol=1e-12)


def test_all_forms_of_a_loss_agree() -> None:
    torch = pytest.importorskip("torch")
    g = ring(10)
    centers = np.column_stack([np.arange(10.0), -np.arange(10.0)])
    call: dict[str, Any] = {"graph": g, "n_steps": 300, "n_tokens": 5, "dim": 2, "rng": 2}
    built_in = optimize(fm.walks.Quadratic(1.0, centers), **call)

    def losses(theta: Any, nodes: Any) -> Any:
        away = theta - torch.from_numpy(centers)[nodes]
        return 0.5 * (away**2).sum(1)

    class Module(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, theta: Any, nodes: Any) -> Any:
            return losses(theta, nodes)

    for other in (
        pull,
        native_pull,
        fm.walks.NativeLoss(native_pull.address, 2),
        fm.walks.TorchLoss(losses, 2),
        fm.walks.TorchLoss(lambda t, n: t - torch.from_numpy(centers)[n], 2),
        Module(),
    ):
        o = optimize(other, **call)
        np.testing.assert_allclose(o.trace_theta, built_in.trace_theta, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(o.visits, built_in.visits)


@pytest.mark.parametrize("kind", ["same", "scalars", "diagonals", "full"])
@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 17])
def test_quadratic_values_and_gradients(kind: str, d: int) -> None:
    n = 6
    full, b = quadratic(n, d)
    a = {
        "same": np.float64(0.7),
        "scalars": np.linspace(0.5, 2, n),
        "diagonals": np.abs(b) + 0.1,
        "full": full,
    }[kind]
    matrices = full if kind == "full" else np.ones((n, d))[:, :, None] * np.eye(d)
    if kind != "full":
        matrices = matrices * np.reshape(a, np.shape(a) + (1,) * (3 - np.ndim(a)))
    loss = fm.walks.Quadratic(a, b)
    rng = np.random.default_rng(1)
    theta, nodes = rng.normal(size=(20, d)), rng.integers(0, n, 20)
    away = theta - b[nodes]
    slopes = np.einsum("nij,nj->ni", matrices[nodes], away)
    np.testing.assert_allclose(loss.gradient(theta, nodes), slopes, rtol=0, atol=1e-13 * d)
    values = 0.5 * (away * slopes).sum(axis=1)
    np.testing.assert_allclose(loss.value(theta, nodes), values, rtol=1e-12)
    weights = np.linspace(1, 2, n)
    at = loss.minimum(weights)
    mean = weights @ loss.gradient(np.tile(at, (n, 1)), np.arange(n))
    np.testing.assert_allclose(mean, 0.0, atol=1e-12)
    share = weights / weights.sum()
    each = [share @ loss.value(np.tile(row, (n, 1)), np.arange(n)) for row in theta[:3]]
    np.testing.assert_allclose(loss.objective(theta[:3], weights), each, rtol=1e-12)


@pytest.mark.parametrize("kind", ["LeastSquares", "Logistic"])
@pytest.mark.parametrize("d", [1, 5, 8, 11])
def test_losses_of_data(kind: str, d: int) -> None:
    x, y, nodes = data(7, d)
    y = y if kind == "LeastSquares" else (y > 0).astype(float)
    loss = getattr(fm.walks, kind)(x, y, nodes, ridge=0.3)
    rng = np.random.default_rng(1)
    theta, at = rng.normal(size=(15, d)), rng.integers(0, 7, 15)
    for row, node, value, slope in zip(
        theta, at, loss.value(theta, at), loss.gradient(theta, at), strict=True
    ):
        rows, z = nodes == node, x[nodes == node] @ row
        if kind == "LeastSquares":
            each, by_z = 0.5 * (z - y[rows]) ** 2, z - y[rows]
        else:
            sign = 2 * y[rows] - 1
            each, by_z = np.logaddexp(0, -sign * z), -sign / (1 + np.exp(sign * z))
        np.testing.assert_allclose(value, each.mean() + 0.15 * row @ row, rtol=1e-12)
        np.testing.assert_allclose(slope, by_z @ x[rows] / rows.sum() + 0.3 * row, atol=1e-12)
    np.testing.assert_array_equal(loss.sizes, np.bincount(nodes))
    for weights in (None, loss.sizes):
        best = loss.minimum(weights)
        share = np.ones(7) / 7 if weights is None else loss.sizes / len(y)
        mean = share @ loss.gradient(np.tile(best, (7, 1)), np.arange(7))
        np.testing.assert_allclose(mean, 0.0, atol=1e-10)
    order = np.argsort(nodes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(nodes))])
    sorted_already = getattr(fm.walks, kind)(x[order], y[order], starts, ridge=0.3)
    np.testing.assert_array_equal(sorted_already.gradient(theta, at), loss.gradient(theta, at))


def test_far_margins_neither_overflow_nor_lose_the_loss() -> None:
    loss = fm.walks.Logistic([[1.0], [1.0]], [1, -1], [0, 1])
    theta, nodes = np.array([[900.0], [900.0], [-900.0]]), np.array([0, 1, 0])
    np.testing.assert_array_equal(loss.value(theta, nodes), [0.0, 900.0, 900.0])
    np.testing.assert_array_equal(loss.gradient(theta, nodes), [[0.0], [1.0], [-1.0]])


def test_mini_batches_are_draws_of_the_rows() -> None:
    x, y, nodes = data(2, 3)
    loss = fm.walks.LeastSquares(x, y, nodes)
    g = fm.walks.as_graph(np.array([[0, 1]]))
    n, size = 4000, 3
    call: dict[str, Any] = {
        "n_steps": 1,
        "n_tokens": n,
        "step_sizes": [1.0],
        "base": "srw",
        "init_nodes": 0,
    }
    o = optimize(loss, g, batch_size=size, init=np.ones(3), rng=5, **call)
    found = 1.0 - o.thetas
    rows = nodes == 1
    slopes = (x[rows] @ np.ones(3) - y[rows])[:, None] * x[rows]
    variance = slopes.var(axis=0) / size
    z = (found.mean(axis=0) - slopes.mean(axis=0)) / np.sqrt(variance / n)
    assert (np.abs(z) < 5).all()
    np.testing.assert_allclose(found.var(axis=0), variance, rtol=0.2)
    whole = optimize(loss, g, batch_size=10**6, init=np.ones(3), **call)
    full = optimize(loss, g, init=np.ones(3), **call)
    np.testing.assert_array_equal(whole.thetas, full.thetas)


@pytest.mark.parametrize("kind", ["Quadratic", "LeastSquares", "Logistic"])
def test_tokens_come_to_the_minimum(kind: str) -> None:
    x, y, nodes = data(12, 3)
    if kind == "Quadratic":
        loss: Any = fm.walks.Quadratic(*quadratic(12, 3))
        weights = np.linspace(1, 3, 12)
    else:
        y = y if kind == "LeastSquares" else np.sign(y)
        loss = getattr(fm.walks, kind)(x, y, nodes, ridge=0.2)
        weights = loss.sizes.astype(float)
    o = optimize(
        loss, barbell(), c=3.0, n_steps=20_000, n_tokens=32, weights=weights, objective=True, rng=1
    )
    best = loss.minimum(weights)
    assert o.stderr is not None
    assert (np.abs(o.theta - best) < 5 * o.stderr).all()
    assert np.abs(o.theta - best).max() < 0.02
    assert o.trace.loss is not None
    least = loss.objective(best, weights)
    assert (o.trace.loss >= least - 1e-12).all()
    assert o.trace.loss[:, -1].mean() - least < 0.05 * (o.trace.loss[0, 0] - least)


@pytest.mark.parametrize("form", ["built-in", "native", "python", "batches"])
def test_threads_and_blocks_change_no_bit(form: str, thread_counts: tuple[int, ...]) -> None:
    x, y, nodes = data(9, 2)
    loss: Any = {
        "built-in": fm.walks.Quadratic(*quadratic(9, 2)),
        "native": native_pull,
        "python": pull,
        "batches": fm.walks.LeastSquares(x, y, nodes),
    }[form]
    call: dict[str, Any] = {
        "n_steps": 400,
        "n_tokens": 19,
        "dim": 2,
        "sync": 13,
        "average": True,
        "rng": 4,
    }
    if form == "batches":
        call["batch_size"] = 2
    first = optimize(loss, ring(9), plan=fm.Plan(n_threads=1), **call)
    for n_threads in thread_counts[1:]:
        # A callback cuts the run into blocks.
        o = optimize(
            loss,
            ring(9),
            plan=fm.Plan(n_threads=n_threads),
            callback=lambda *_: None,
            callback_every=7,
            **call,
        )
        np.testing.assert_array_equal(o.thetas, first.thetas)
        np.testing.assert_array_equal(o.averages, first.averages)
        np.testing.assert_array_equal(o.trace_theta, first.trace_theta)
        np.testing.assert_array_equal(o.visits, first.visits)


def test_divergence_says_where_and_keeps_what_was() -> None:
    curvature = np.full(30, 1.0)
    curvature[11] = 1e200
    loss = fm.walks.Quadratic(curvature, np.ones(30))
    found = []
    for form in (loss, lambda theta, nodes: loss.gradient(theta, nodes)):
        for n_threads in (1, 2):
            with pytest.raises(DivergedError, match="node 11") as info:
                optimize(
                    form, ring(30), n_steps=10**5, n_tokens=6, dim=1, record_every=1,
                    plan=fm.Plan(n_threads=n_threads),
                )  # fmt: skip
            error = info.value
            partial: Any = error.partial_result
            assert error.node == 11
            assert partial.status == "interrupted"
            assert partial.n_steps == error.step - 1
            assert np.isfinite(partial.thetas).all()
            np.testing.assert_array_equal(partial.trace_theta[:, -1], partial.thetas)
            found.append((error.step, error.token, partial.thetas.tobytes()))
    assert len(set(found)) == 1


def test_exceptions_of_a_gradient_pass_and_keep_what_was() -> None:
    def interrupted(theta: Array, nodes: Any) -> Array:
        if len(asked.nodes) == 100:
            raise KeyboardInterrupt
        return pull(theta, nodes)

    asked = Recorded(interrupted)
    with pytest.raises(KeyboardInterrupt) as info:
        optimize(asked, ring(5), n_steps=1000, n_tokens=2, dim=2)
    partial: Any = info.value.partial_result  # type: ignore[attr-defined]
    assert partial.n_steps == 99
    np.testing.assert_array_equal(partial.thetas, asked.thetas[-1])


def test_a_callback_sees_steps_and_ends_the_run() -> None:
    seen: list[int] = []

    def look(step: int, theta: Array) -> bool:
        assert theta.shape == (3, 2)
        seen.append(step)
        return step == 300

    loss = fm.walks.Quadratic(1.0, np.ones((5, 2)))
    o = optimize(loss, ring(5), n_steps=1000, n_tokens=3, callback=look, callback_every=100)
    assert seen == [100, 200, 300]
    assert o.n_steps == 300
    shorter = optimize(loss, ring(5), n_steps=300, n_tokens=3)
    np.testing.assert_array_equal(o.thetas, shorter.thetas)


def test_what_gains_nothing_is_warned_of() -> None:
    loss = fm.walks.Quadratic(1.0, np.arange(5.0))
    for a, b, word in ((0.9, 0.6, "nothing"), (0.8, 0.8, "little")):
        with pytest.warns(ConvergenceWarning, match=word) as caught:
            o = fm.walks.optimize(loss, ring(5), a=a, b=b, n_steps=10, rng=0)
        assert len(o.warnings) == 1
        assert caught[0].filename == __file__
    assert not optimize(loss, ring(5), alpha=0.0, a=0.9, b=0.6, n_steps=10).warnings


def test_results_are_shown_saved_and_drawn(tmp_path: Any) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    loss = fm.walks.Quadratic(1.0, np.arange(20.0).reshape(5, 4))
    o = optimize(loss, ring(5), n_steps=500, n_tokens=3, average=True, objective=True)
    assert repr(o).startswith("Optimum: (")
    assert "±" in repr(o)
    assert len(repr(o).splitlines()) <= 6
    assert "stderr" in str(o.summary())
    o.save(tmp_path / "o.safetensors")
    again = fm.walks.OptimizeResult.load(tmp_path / "o.safetensors")
    np.testing.assert_array_equal(again.trace.theta, o.trace.theta)
    np.testing.assert_array_equal(again.theta_average, o.theta_average)
    for ax in (o.plot(), o.plot(optimum=loss.minimum())):
        assert ax.get_xlabel() == "step + 1"
    plt.close("all")
    one = optimize(loss, ring(5), n_steps=0)
    assert one.theta.tolist() == [0.0] * 4
    assert one.trace.theta.shape == (1, 1, 4)
    assert "±" not in repr(one)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"a": 0.5}, "a: 0.5"),
        ({"b": 1.1}, "b: 1.1"),
        ({"b": True}, "b: the bool"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": True}, "alpha"),
        ({"n_steps": -1}, "n_steps"),
        ({"n_tokens": 0}, "n_tokens"),
        ({"momentum": 1.0}, "momentum"),
        ({"clip": 0.0}, "clip"),
        ({"sync": 5}, "sync"),
        ({"sync": 0, "n_tokens": 2}, "sync"),
        ({"c": -1.0}, "c: -1"),
        ({"batch_size": 3}, "batch_size"),
        ({"local_steps": 0}, "local_steps"),
        ({"init": [0.0, 1.0]}, "dim"),
        ({"init": [np.nan]}, "init"),
        ({"init": np.zeros((3, 1)), "n_tokens": 2}, "init"),
        ({"projection": ("ball", -1.0)}, "projection"),
        ({"projection": ("box", 1.0, 0.0)}, "box without points"),
        ({"projection": "ball"}, "projection"),
        ({"step_sizes": [1.0]}, "step_sizes"),
        ({"step_sizes": [-1.0] * 10}, "step_sizes"),
        ({"loss": 3}, "loss"),
        ({"loss": pull}, "dim: not given"),
        ({"loss": fm.walks.Quadratic(1.0, np.arange(4.0))}, "graph of 5 nodes"),
        ({"loss": pull, "dim": 2, "objective": True}, "objective"),
        ({"record_every": 0}, "record_every"),
        ({"init_nodes": 5}, "init_nodes: node 5"),
        ({"kernel": "other"}, "kernel"),
        ({"base": "srw", "weights": np.ones(5)}, "weights"),
    ],
)
def test_arguments_that_are_refused(given: dict[str, Any], words: str) -> None:
    call: dict[str, Any] = {"loss": fm.walks.Quadratic(1.0, np.arange(5.0)), "n_steps": 10}
    with pytest.raises(ArgumentError, match=words):
        optimize(graph=ring(5), **{**call, **given})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fm.walks.Quadratic(1.0, np.zeros((2, 2, 2))), "b: shape"),
        (lambda: fm.walks.Quadratic(np.ones(3), np.zeros((2, 2))), "A: shape"),
        (lambda: fm.walks.Quadratic([[[1.0, 2.0], [0.0, 1.0]]], np.zeros((1, 2))), "symmetric"),
        (lambda: fm.walks.Quadratic(np.inf, np.zeros(3)), "A: infinity"),
        (lambda: fm.walks.LeastSquares(np.ones((4, 2)), np.ones(3), [0, 4]), "y: shape"),
        (lambda: fm.walks.LeastSquares(np.ones((4, 2)), np.ones(4), [0, 2, 2, 4]), "node 1 has no"),
        (lambda: fm.walks.LeastSquares(np.ones((4, 2)), np.ones(4), [0, 0, 2, 2]), "node 1 has no"),
        (lambda: fm.walks.LeastSquares(np.ones((4, 2)), np.ones(4), [0, 3, 2, 4]), "never fall"),
        (lambda: fm.walks.LeastSquares(np.ones((4, 2)), np.ones(4), [0, 1]), "shards"),
        (lambda: fm.walks.LeastSquares([[1.0]], [1.0], [0], ridge=-1.0), "ridge"),
        (lambda: fm.walks.Logistic([[1.0], [2.0]], [1, 2], [0, 1]), "classes"),
        (lambda: fm.walks.NativeLoss(3.0, 1), "pointer"),
        (lambda: fm.walks.Quadratic(1.0, np.zeros(3)).gradient([[1.0]], [3]), "nodes"),
        (lambda: fm.walks.Quadratic(1.0, np.zeros(3)).value([1.0], [0]), "theta, nodes"),
        (lambda: fm.walks.Quadratic(1.0, np.zeros(3)).minimum([1.0, 0.0, 1.0]), "weights"),
    ],
)
def test_losses_that_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda theta, nodes: theta[:, 0], "shape"),
        (lambda theta, nodes: None, "None"),
        (lambda theta, nodes: theta + 1j, "complex"),
    ],
)
def test_gradients_that_are_no_gradients(f: Any, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        optimize(f, ring(5), n_steps=10, dim=2)
