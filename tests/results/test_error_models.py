"""Error models: the registry, control variates and their errors."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning, TargetError, WeightWarning
from fermiac.results import error_models

MEAN = np.array([1.0, -2.0, 0.5])
COV = np.array([[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]])


def correlated(n: int, seed: int, weighted: bool) -> fm.Sample:
    """Points for N(MEAN, COV), drawn from it or from a wider t law."""
    target = fm.distributions.MultivariateNormal(MEAN, COV)
    law = fm.distributions.MultivariateT(5.0, MEAN + 0.3, 1.3 * COV) if weighted else target
    x = law.sample(n, rng=seed)
    log_weights = target.log_density(x) - law.log_density(x) if weighted else None
    return fm.Sample.from_arrays(x, log_weights, gradients=-(x - MEAN) @ np.linalg.inv(COV))


@pytest.mark.parametrize("weighted", [False, True])
def test_quadratics_under_a_gaussian_are_exact(weighted: bool) -> None:
    s = correlated(50, 0, weighted)
    a = np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 0.5], [0.3, 0.0, 4.0]])
    e = s.expect(lambda x: np.einsum("ni,ij,nj->n", x, a, x) + x[:, 1] + 7, controls="stein")
    exact = MEAN @ a @ MEAN + np.trace(a @ COV) + MEAN[1] + 7
    assert e.mean == pytest.approx(exact, rel=1e-9)
    assert e.stderr < 1e-9 * exact
    assert e.method == "stein"
    assert e.settings["degree"] == 2


@pytest.mark.parametrize("degree", [1, 3, 4])
def test_polynomials_of_other_degrees_are_exact(degree: int) -> None:
    # Under N(0, 4): E x = 0, E x² = 4, E x⁴ = 48.
    x = fm.distributions.Normal(0.0, 2.0).sample(60, rng=1)
    s = fm.Sample.from_arrays(x, gradients=-x / 4)
    moment = {1: 0.0, 3: 0.0, 4: 48.0}[degree]
    e = s.expect(lambda x: x[:, 0] ** degree + 1, controls="stein", degree=degree)
    assert e.mean == pytest.approx(moment + 1, rel=1e-9)


def test_the_intercept_is_that_of_weighted_least_squares() -> None:
    s = correlated(300, 2, True)
    h = np.column_stack([s.draws[:, 0] - 1, np.sin(s.draws[:, 1] + 2)])
    y = np.exp(0.3 * s.draws[:, 2])
    e = s.expect(y, controls=h)
    root = np.sqrt(s.weights)
    design = np.column_stack([np.ones(300), h])
    fit = np.linalg.lstsq(root[:, None] * design, root * y, rcond=None)[0]
    assert e.mean == pytest.approx(fit[0], rel=1e-12)
    # Leaving each point out in turn.
    without = []
    for i in range(300):
        r = root.copy()
        r[i] = 0
        without.append(np.linalg.lstsq(r[:, None] * design, r * y, rcond=None)[0][0])
    assert e.stderr == pytest.approx(np.sqrt(np.sum((np.array(without) - fit[0]) ** 2)), rel=1e-9)
    assert e.method == "controls"
    assert s.expect(y, controls=lambda x: h).mean == e.mean


@pytest.mark.parametrize("weighted", [False, True])
def test_errors_with_controls_are_calibrated_and_smaller(weighted: bool) -> None:
    inside, gain = 0, []
    exact = np.exp(0.4 * MEAN + 0.08 * np.diag(COV))
    for seed in range(200):
        s = correlated(1000, seed, weighted)
        e = s.expect(lambda x: np.exp(0.4 * x), controls="stein")
        inside += int(np.sum(np.abs(e.mean - exact) < 2 * np.asarray(e.stderr)))
        plain = s.expect(lambda x: np.exp(0.4 * x))
        gain.append(np.asarray(plain.stderr) / np.asarray(e.stderr))
    assert 0.90 <= inside / 600 <= 0.99
    assert np.median(gain) > 5


def test_many_controls_do_not_make_the_error_too_small() -> None:
    # Half as many controls as points, all of them useless.
    pulls, in_sample = [], []
    for seed in range(300):
        stream = fm.random.Stream(seed)
        y, h = stream.normal((60,)), stream.normal((60, 30))
        s = fm.Sample.from_arrays(y)
        with pytest.warns(FermiacWarning):
            e = s.expect(y, controls=h)
        pulls.append(e.mean / e.stderr)
        design = np.column_stack([np.ones(60), h])
        residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        in_sample.append(e.mean / np.sqrt(np.mean(residual**2) / 60))
    assert np.mean(np.abs(pulls) < 2) >= 0.9
    assert np.mean(np.abs(in_sample) < 2) < 0.8


def test_centre_and_scale_of_the_points_do_not_matter() -> None:
    # In other units of the coordinate the controls span the same space.
    x = fm.distributions.Gamma(3.0).sample(400, rng=0)
    gradient = 2 / x - 1
    one = fm.Sample.from_arrays(x, gradients=gradient)
    other = fm.Sample.from_arrays(1e6 + 1e-3 * x, gradients=1e3 * gradient)
    y = np.sqrt(x[:, 0])
    a, b = (s.expect(y, controls="stein") for s in (one, other))
    assert a.mean == pytest.approx(b.mean, rel=1e-8)
    assert a.stderr == pytest.approx(b.stderr, rel=1e-6)


def test_redundant_and_constant_controls_are_left_out() -> None:
    s = correlated(200, 3, True)
    h = s.draws[:, :1] - 1
    y = s.draws[:, 0] ** 2
    one = s.expect(y, controls=h)
    three = s.expect(y, controls=np.hstack([h, np.zeros_like(h), -2 * h]))
    assert three.mean == pytest.approx(one.mean, rel=1e-11)
    assert three.stderr == pytest.approx(one.stderr, rel=1e-9)


def test_doubts_are_announced() -> None:
    s = correlated(50, 4, False)
    with pytest.warns(FermiacWarning, match="9 controls for an effective sample size of 50"):
        s.expect(lambda x: np.sin(x[:, 0]), controls="stein")
    stream = fm.random.Stream(1)
    y = stream.normal((100,))
    noise = stream.normal((100, 9)) ** 3
    with pytest.warns(FermiacWarning, match="the controls increase the standard error of 1 of 1"):
        fm.Sample.from_arrays(y).expect(y, controls=noise)
    spike = np.zeros((100, 1))
    spike[3] = 1.0
    with pytest.warns(WeightWarning, match="a single point nearly determines a coefficient"):
        fm.Sample.from_arrays(y).expect(y, controls=spike)


def test_arguments_are_checked() -> None:
    s = correlated(30, 5, False)
    bare = fm.Sample.from_arrays(s.draws)
    holes = fm.Sample.from_arrays(s.draws, gradients=np.full((30, 3), np.nan))
    f = fm.targets.linear([1.0, 0.0, 0.0])
    for call, message in (
        (lambda: bare.expect(f, controls="stein"), "needs the gradients"),
        (lambda: s.expect(f, controls="other"), "controls: 'other'"),
        (lambda: s.expect(f, controls="stein", degree=0), "degree: 0"),
        (lambda: s.expect(f, controls="stein", degree=4), "controls: more columns"),
        (lambda: s.expect(f, controls="stein", degree=100), "controls: more columns"),
        (lambda: s.expect(f, controls=np.zeros((30, 29))), "controls: more columns"),
        (lambda: s.expect(f, controls=np.zeros(7)), "controls: a ndarray of shape"),
        (lambda: s.expect(f, controls=1j * np.ones(30)), "complex"),
        (lambda: holes.expect(f, controls="stein"), "gradient of draw 0 is not finite"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()
    with pytest.raises(TargetError, match="the controls gave inf at draw 0"):
        s.expect(f, controls=lambda x: np.full(len(x), np.inf))
    with pytest.raises(TargetError, match=r"the function of the controls .*vectorize"):
        s.expect(f, controls=lambda x: np.full(30, 1.0))


def test_controls_whose_mean_is_not_zero_are_announced() -> None:
    x = fm.random.Stream(0).normal((1000, 1))
    f = fm.targets.powers([1])
    # The density of |x| does not vanish at 0, so that the control -x has the mean -0.8.
    half = fm.Sample.from_arrays(np.abs(x), gradients=-np.abs(x))
    scaled = fm.Sample.from_arrays(x, gradients=-2 * x)
    moved = fm.Sample.from_arrays(x + 1, gradients=-x - 1)
    for s in (half, scaled, moved):
        with pytest.warns(FermiacWarning) as given:
            s.expect(f, controls="stein")
        assert re.search("from zero, .* biased: the gradients are not", str(given[0].message))
    with pytest.warns(FermiacWarning, match="from zero, .* give functions of mean zero"):
        scaled.expect(fm.targets.powers([2]), controls=x**2)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_controls_have_no_units(scale: float) -> None:
    x = fm.random.Stream(0).normal((400, 2))
    s = fm.Sample.from_arrays(x)
    f = fm.targets.linear([1.0, 1.0])
    one, other = (s.expect(f, controls=c * x[:, :1]) for c in (1.0, scale))
    assert other.mean == pytest.approx(one.mean, rel=1e-12)
    assert other.stderr == pytest.approx(one.stderr, rel=1e-12)


def test_no_columns_are_refused() -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((400, 2)))
    with pytest.raises(ArgumentError, match="f: no columns"):
        s.expect(np.zeros((400, 0)))
    with pytest.raises(ArgumentError, match="controls: no columns"):
        s.expect(lambda x: x, controls=np.zeros((400, 0)))


def test_models_have_attributes_by_name() -> None:
    points = fm.Sample.from_arrays(np.arange(6.0))
    chains = fm.Sample.from_arrays(np.arange(6.0).reshape(2, 3, 1))
    weighted = fm.Sample.from_arrays(np.arange(6.0), np.zeros(6))
    found = [error_models.error_model_of(sample) for sample in (points, weighted, chains)]
    assert [model.of_chains for model in found] == [False, False, True]
    assert [model.reweighted for model in found] == ["weighted", "weighted", "chains"]


def test_unknown_models_are_refused_where_they_matter() -> None:
    s = replace(fm.Sample.from_arrays(np.arange(6.0), log_densities=np.zeros(6)), error_model="own")
    assert repr(s) == "Sample of 6 points in 1 dimension"
    with pytest.raises(ArgumentError, match=r"'own' given, which is not registered; .*chains, iid"):
        s.expect(lambda x: x)
    for call in (lambda: s.reweight(np.zeros(6)), lambda: s.merge(s)):
        with pytest.raises(ArgumentError, match="error model 'own'"):
            call()


def test_a_registered_model_computes_the_averages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_models, "_MODELS", dict(error_models._MODELS))

    def average(sample, values, controls, law, n_threads):  # type: ignore[no-untyped-def]
        k = values.shape[1]
        return error_models.Average(
            mean=np.full(k, 2.0), cov=4 * np.eye(k), ess=np.ones(k), khat=np.full(k, -np.inf)
        )

    error_models.register("twos", average, reweighted="weighted")
    s = replace(fm.Sample.from_arrays(np.arange(6.0)), error_model="twos")
    e = s.expect(lambda x: 0.5 + x[:, 0] / 20, names=["two"])
    assert (e.mean, e.stderr, e.settings["error_model"]) == (2.0, 2.0, "twos")
    assert s.reweight(np.zeros(6), old=np.zeros(6)).error_model == "weighted"
