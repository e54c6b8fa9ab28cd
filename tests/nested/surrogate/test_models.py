"""Tests of surrogate models, their region of trust, and torch modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nested_surrogates import DIM, EXACT, WIDTH, gaussian, sampled
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ArgumentError, TargetError

Array = NDArray[np.float64]

SHORT = {"max_epochs": 40, "widths": [32, 32]}


def rippled(u: Array, rate: float = 0.5) -> Array:
    """A Gaussian in the middle of the cube with a ripple of 0.8 nats."""
    z = (u - 0.5) / 0.07
    ripple = 0.8 * np.sin(2.0 * rate * z[:, 0]) * np.cos(1.5 * rate * z[:, 1])
    return np.asarray(-0.5 * np.sum(z**2, axis=1) + ripple)


def points(n: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    u = 0.5 + 0.07 * rng.uniform(1.0, 2.5, (n, 1)) * rng.standard_normal((n, 3))
    return np.clip(u, 1e-9, 1 - 1e-9)


def trained(n_threads: int = 1, rate: float = 0.5) -> _core.Surrogate:
    u = points(1500, 1)
    return _core.Surrogate.train(u, rippled(u, rate), SHORT, 7, n_threads)


def test_a_smooth_likelihood_passes_the_gate_and_a_rough_one_fails() -> None:
    fresh = points(500, 2)
    for rate, passes in ((0.5, True), (30.0, False)):
        ell = rippled(fresh, rate)
        mean, spread = trained(rate=rate).predict(fresh, 1)
        judged = _core.nested_gate(mean - ell, ell, 0.0, 3, 0.3)
        assert judged["passed"] is passes
        near = ell > -11.5
        error = (mean - ell)[near]
        assert judged["n"] == near.sum()
        np.testing.assert_allclose(judged["sd"], error.std(ddof=1))
        np.testing.assert_allclose(judged["median"], np.median(error))
        assert np.all(spread >= 0.0)
        shifted = _core.nested_gate(mean - ell + 1e3, ell, 0.0, 3, 0.3)
        assert shifted["passed"] is passes


def test_threads_change_no_bit(thread_counts: tuple[int, ...]) -> None:
    surrogate = trained()
    assert surrogate.dim == 3
    u = points(5000, 3)
    mean, spread = surrogate.predict(u, 1)
    for n_threads in thread_counts:
        again = trained(n_threads)
        assert again.epochs == surrogate.epochs
        assert again.validation_errors == surrogate.validation_errors
        other, wide = again.predict(u, n_threads)
        np.testing.assert_array_equal(other, mean)
        np.testing.assert_array_equal(wide, spread)
    part, _ = surrogate.predict(u[100:107], 1)
    np.testing.assert_array_equal(part, mean[100:107])


def test_the_truth_is_asked_where_the_surrogate_is_not_trusted() -> None:
    surrogate, asked = trained(), []

    def truth(u: Array, with_gradient: bool) -> tuple[Array, None]:
        assert not with_gradient
        asked.append(u.copy())
        return rippled(u) + 1000.0, None

    u = points(1500, 1)
    guarded = _core.GuardedDensity(surrogate, u, rippled(u), (truth, 3, False))
    cube = np.vstack([u[:50], np.random.default_rng(5).uniform(size=(200, 3))])
    values = guarded.log_density(cube)
    mean, spread = surrogate.predict(cube, 1)
    ours = guarded.trusts(cube) & (spread < 1.0)
    assert ours[:20].any()
    assert not ours.all()
    np.testing.assert_array_equal(values[ours], mean[ours])
    np.testing.assert_array_equal(values[~ours], rippled(cube[~ours]) + 1000.0)
    assert len(asked) == 1
    np.testing.assert_array_equal(asked[0], cube[~ours])
    assert guarded.n_true == (~ours).sum()


def test_what_the_truth_raises_reaches_the_caller() -> None:
    def broken(u: Array, with_gradient: bool) -> tuple[Array, None]:
        raise ZeroDivisionError("no likelihood today")

    u = points(1500, 1)
    guarded = _core.GuardedDensity(trained(), u, rippled(u), (broken, 3, False))
    with pytest.raises(ZeroDivisionError, match="today"):
        guarded.log_density(np.full((2, 3), 0.01))
    with pytest.raises(ArgumentError, match="coordinates"):
        _core.GuardedDensity(trained(), u, rippled(u), (broken, 4, False))


def test_genetic_searches() -> None:
    calls = []

    def two_peaks(u: Array) -> Array:
        calls.append(len(u))
        wide = -np.sum((u - 0.2) ** 2, axis=1) / 0.02
        narrow = 5.0 - np.sum((u - 0.8) ** 2, axis=1) / 0.01
        return np.asarray(np.maximum(wide, narrow))

    best, value = _core.nested_maximize(two_peaks, 3, 3)
    assert sum(calls) <= 60 * 51
    assert value == two_peaks(np.array([best]))[0]
    np.testing.assert_allclose(best, 0.8, atol=0.05)
    with pytest.raises(TargetError, match="NaN"):
        _core.nested_maximize(lambda u: np.full(len(u), np.nan), 3, 3)

    u = points(400, 1)
    search = {"population": 3, "generations": 1, "epochs": 3}
    best = _core.nested_architecture(u, rippled(u), SHORT, search, 1, 1)
    assert best == _core.nested_architecture(u, rippled(u), SHORT, search, 1, 2)
    assert best["loss"] < 1.0
    assert 3 <= best["n_trials"] <= 6
    usable = {key: best[key] for key in ("widths", "learning_rate", "batch")}
    _core.Surrogate.train(u, rippled(u), {**usable, "max_epochs": 2}, 1, 1)


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["trained", "here", "fit"])
def test_torch_modules(kind: str) -> None:
    torch = pytest.importorskip("torch")

    class Quadratic(torch.nn.Module):  # type: ignore[misc]
        """A quadratic that is known, learnt, or fitted by least squares."""

        def __init__(self) -> None:
            super().__init__()
            known = kind == "trained"
            scale = -0.5 / WIDTH**2 if known else -0.1
            self.scale = torch.nn.Parameter(torch.full((DIM,), scale, dtype=torch.float64))
            self.slope = torch.nn.Parameter(torch.zeros(DIM, dtype=torch.float64))
            # A constant that is wrong is harmless.
            self.level = torch.nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

        def forward(self, x: Any) -> Any:
            return (x**2 * self.scale + x * self.slope).sum(1) + self.level

        if kind == "fit":

            def fit(self, x: Any, y: Any) -> None:
                design = np.column_stack([x**2, x, np.ones(len(x))])
                near = y > y.max() - 30
                found = np.linalg.lstsq(design[near], y[near])[0]
                with torch.no_grad():
                    self.scale[:] = torch.as_tensor(found[:DIM])
                    self.slope[:] = torch.as_tensor(found[DIM:-1])
                    self.level.fill_(found[-1])

    r = sampled(gaussian, n_live=100, module=Quadratic(), trained=kind == "trained")
    s = r.surrogate
    assert not s.rejected
    assert s.architecture["module"] == "Quadratic"
    assert s.n_surrogate > 1000
    assert abs(r.log_evidence - EXACT) < 5 * r.log_evidence_stderr
