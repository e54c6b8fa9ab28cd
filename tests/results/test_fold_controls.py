"""Controls with coefficients from a pilot: exact cases, errors that hold, refusals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning

Array = NDArray[np.float64]
d = fm.distributions
NORMAL = d.MultivariateNormal(np.zeros(3), np.eye(3))
CUBE = d.Uniform(np.zeros(3), np.ones(3))


def normal(n: int, seed: int, law: Any = NORMAL) -> fm.Sample:
    x = law.sample(n, rng=seed)
    return fm.Sample.from_arrays(x, gradients=-x)


def cubic(x: Array) -> Array:
    return np.column_stack([x[:, 0] ** 3 + x[:, 1] * x[:, 2], 2 + x[:, 0] * x[:, 1] * x[:, 2]])


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_sums_of_stein_controls_are_exact(penalty: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = normal(900, 0).expect(cubic, controls="stein", degree=3, penalty=penalty)
    np.testing.assert_allclose(e.mean, [0.0, 2.0], atol=1e-12)
    assert np.all(e.stderr < 1e-12)
    assert e.method == "stein"
    assert e.settings["penalty"] == penalty
    assert e.settings["chosen"] == ["degree 3", "degree 3"]


@pytest.mark.parametrize("penalty", [None, "ridge", "lasso"])
def test_polynomials_of_the_law_are_exact(penalty: Any) -> None:
    s = fm.Sample.from_arrays(CUBE.sample(1200, rng=1))
    e = s.expect(
        lambda x: x[:, 0] ** 4 + x[:, 1] * x[:, 2], controls="polynomial", degree=4, law=CUBE,
        penalty=penalty,
    )  # fmt: skip
    assert abs(e.mean - 0.45) < 1e-12
    assert e.method == "controls"
    assert e.settings["controls"] == "polynomial"
    law = d.Product([d.Gamma(2.0), d.LogNormal(), d.Exponential()])
    t = fm.Sample.from_arrays(law.sample(600, rng=1))
    e = t.expect(lambda x: x[:, 0] * x[:, 2], controls="polynomial", law=law, penalty=penalty)
    assert abs(e.mean - 2.0) < 1e-10


def test_a_weighted_sample_is_exact_for_its_own_law() -> None:
    wide = d.Normal(0.0, 1.5)
    x = wide.sample(900, rng=2)
    s = fm.Sample.from_arrays(x, d.Normal().log_density(x) - wide.log_density(x))
    e = s.expect(lambda x: 3 * x[:, 0] + x[:, 0] ** 2, controls="polynomial", law=d.Normal())
    # The mean of a control under the weights is not exactly 0, but its part is subtracted.
    assert abs(e.mean - 1) < 1e-12


def test_controls_that_do_not_help_are_left_out() -> None:
    s = normal(600, 3)
    f = lambda x: np.sin(40 * x[:, 0])  # noqa: E731
    plain = s.expect(f)
    for settings in (
        {"controls": "stein", "degree": 3, "penalty": "ridge"},
        {"controls": "stein", "degree": 3, "penalty": "lasso"},
        {"controls": "polynomial", "law": NORMAL, "degree": 4},
    ):
        e = s.expect(f, **settings)  # type: ignore[arg-type]
        assert e.settings["chosen"] == ["none"]
        assert (e.mean, e.stderr, e.ess) == (plain.mean, plain.stderr, plain.ess)
    # Of some functions, those that gain have controls.
    both = s.expect(
        lambda x: np.column_stack([f(x), x[:, 0]]), controls="polynomial", law=NORMAL, degree=1
    )
    assert both.settings["chosen"] == ["none", "degree 1"]
    assert both.stderr[0] == pytest.approx(plain.stderr, rel=1e-12)
    assert both.stderr[1] < 1e-12


def smooth(x: Array) -> Array:
    return np.column_stack([np.cos(x.sum(axis=1)), np.exp(0.3 * x[:, 0]), np.tanh(x[:, 1])])


SMOOTH = np.array([math.exp(-1.5), math.exp(0.045), 0.0])


def chains(seed: int) -> fm.Sample:
    """Return four autoregressive chains with standard normal coordinates."""
    noise = NORMAL.sample(4 * 800, rng=seed).reshape(4, 800, 3)
    x = noise.copy()
    for t in range(1, 800):
        x[:, t] = 0.6 * x[:, t - 1] + 0.8 * noise[:, t]
    return fm.Sample.from_arrays(x, gradients=-x)


def weighted(seed: int) -> fm.Sample:
    wide = d.MultivariateNormal(np.zeros(3), 2 * np.eye(3))
    x = wide.sample(1500, rng=seed)
    return fm.Sample.from_arrays(x, NORMAL.log_density(x) - wide.log_density(x), gradients=-x)


@pytest.mark.parametrize(
    ("draw", "settings"),
    [
        (lambda seed: normal(900, seed), {"controls": "stein", "degree": 3, "penalty": "ridge"}),
        (lambda seed: normal(900, seed), {"controls": "stein", "degree": 3, "penalty": "lasso"}),
        (lambda seed: normal(900, seed), {"controls": "polynomial", "degree": 3, "law": NORMAL}),
        (chains, {"controls": "stein", "degree": 2, "penalty": "ridge"}),
        (weighted, {"controls": "stein", "degree": 2, "penalty": "ridge"}),
    ],
)
def test_errors_hold(draw: Callable[[int], fm.Sample], settings: dict[str, Any]) -> None:
    held, gains = [], []
    for seed in range(1000, 1050):
        s = draw(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FermiacWarning)
            e, plain = s.expect(smooth, **settings), s.expect(smooth)
        low, high = e.interval(0.95)
        held.append((low <= SMOOTH) & (SMOOTH <= high))
        gains.append((plain.stderr / e.stderr) ** 2)
    # Of 50 intervals with 0.95 each, fewer than 42 hold in 1 of 300 cases.
    assert np.all(np.mean(held, axis=0) >= 0.84)
    assert np.mean(held) > 0.9
    assert np.median(gains, axis=0)[1] > 4


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_one_function_does_not_depend_on_the_others() -> None:
    s = normal(900, 5)
    settings: dict[str, Any] = {"controls": "stein", "degree": 2, "penalty": "ridge"}
    all_of_them = s.expect(smooth, **settings)
    for k in range(3):
        one = s.expect(lambda x, k=k: smooth(x)[:, k], **settings)
        assert one.mean == pytest.approx(all_of_them.mean[k], rel=1e-9)
        assert one.stderr == pytest.approx(all_of_them.stderr[k], rel=1e-6)


def test_many_functions() -> None:
    x = CUBE.sample(500, rng=9)
    powers = np.linspace(0.5, 2.0, 150)
    e = fm.Sample.from_arrays(x).expect(x[:, :1] ** powers, controls="polynomial", law=CUBE)
    assert np.all(np.abs(e.mean - 1 / (1 + powers)) < 5 * e.stderr)
    assert e.settings["chosen"][-1] == "degree 2"


def test_draws_of_another_law_are_announced() -> None:
    s = fm.Sample.from_arrays(d.Normal(0.5, 1.0).sample(2000, rng=6))
    with pytest.warns(FermiacWarning, match="not from the law that was given"):
        s.expect(lambda x: x[:, 0], controls="polynomial", law=d.Normal())


def test_arguments_are_checked() -> None:
    s = normal(200, 7)
    f = lambda x: x[:, 0]  # noqa: E731
    with pytest.raises(ArgumentError, match="needs the law"):
        s.expect(f, controls="polynomial")
    with pytest.raises(ArgumentError, match="without controls='polynomial'"):
        s.expect(f, controls="stein", law=NORMAL)
    with pytest.raises(ArgumentError, match="penalty"):
        s.expect(f, penalty="ridge")
    with pytest.raises(ArgumentError, match="lasso"):
        s.expect(f, controls="stein", penalty="laso")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="dimensions"):
        s.expect(f, controls="polynomial", law=d.Normal())
    with pytest.raises(ArgumentError, match="not known"):
        s.expect(f, controls="polynomial", law=d.Product([d.StudentT(3.0)] * 3))
    with pytest.raises(ArgumentError, match="at most 500"):
        s.expect(f, controls="stein", degree=20, penalty="ridge")
    with pytest.raises(ArgumentError, match="degree"):
        s.expect(f, controls="polynomial", law=NORMAL, degree=21)
    replicas = replace(s, draws=s.draws.reshape(8, -1, 3), gradients=None, error_model="replicas")
    with pytest.raises(ArgumentError, match="'replicas'"):
        replicas.expect(f, controls="polynomial", law=NORMAL)


def test_hostile_samples() -> None:
    few = fm.Sample.from_arrays([[0.0], [1.0]], gradients=[[0.0], [-1.0]])
    e = few.expect(lambda x: x[:, 0], controls="stein", penalty="lasso")
    assert e.mean == 0.5
    x = np.full((50, 2), 3.0)
    same = fm.Sample.from_arrays(x, gradients=x)
    with pytest.warns(FermiacWarning):
        same.expect(lambda x: 0 * x[:, 0], controls="stein", penalty="ridge")
    huge = fm.Sample.from_arrays([[1e200], [-1e200]] * 30, gradients=[[1e200], [1e-200]] * 30)
    with pytest.raises(ArgumentError, match="beyond the range"):
        huge.expect(lambda x: np.sign(x[:, 0]), controls="stein", degree=3, penalty="ridge")
    waves = normal(600, 8).expect(
        lambda x: np.exp(1j * x[:, 0]), controls="stein", degree=2, penalty="ridge"
    )
    assert abs(waves.mean - math.exp(-0.5)) < 5 * waves.stderr
    assert len(waves.settings["chosen"]) == 2
