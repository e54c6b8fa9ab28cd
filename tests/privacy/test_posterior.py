"""Posteriors of epsilon, delta and mu: reference values, closed forms, symmetries, batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from attacks import counts, deltas
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from plans import planned
from scipy.special import betaln
from scipy.stats import norm

import fermiac as fm

Array = NDArray[np.float64]


UNIFORM = ((1.0, 1.0), (1.0, 1.0))


#: Counts, delta, prior; quantiles at 2.5, 5, 50, 95 and 97.5 %; the atom at 0.
QUANTILES: list[tuple[tuple[float, ...], float, Any, tuple[float, ...], float | None]] = [
    ((400, 100, 100, 400), 1e-5, "jeffreys",
     (1.2593485029, 1.2849116427, 1.4224131908, 1.5689800785, 1.5984074053), None),
    ((40, 10, 10, 40), 0.0, "jeffreys",
     (0.97465847362, 1.0532349095, 1.4911964408, 2.0005690717, 2.1102033901), 0.0),
    ((100, 0, 0, 100), 0.0, "jeffreys",
     (4.5983881824, 4.8963871376, 7.251911234, 12.196073421, 13.595548199), 0.0),
    ((487, 512, 0, 1), 1e-5, "jeffreys",
     (0.066874443265, 0.14389495752, 1.7199876621, 6.4155956736, 7.8025351951), 0.00326638),
    ((250, 250, 250, 250), 0.0, "jeffreys",
     (0.0020307379667, 0.004063475739, 0.043712748203, 0.12713305484, 0.1454334887), 0.0),
    ((1e6, 0, 0, 1e6), 0.0, "jeffreys",
     (13.819430787, 14.115890347, 16.466348597, 21.409015679, 22.808426347), 0.0),
    ((300, 0, 200, 500), 1e-5, "uniform",
     (4.4009901964, 4.6088999701, 6.0718441965, 8.6753120223, 9.3813553196), None),
    ((90, 20, 10, 80), 0.0, ((1.0, 1.0), (2.0, 8.0)),
     (1.5267777477, 1.5992579125, 2.0286882477, 2.5572990063, 2.6709371208), 0.0),
]  # fmt: skip


POSTERIOR = fm.privacy.epsilon_posterior


@pytest.mark.parametrize(("n", "delta", "prior", "quantiles", "atom"), QUANTILES)
def test_published_quantiles(
    n: tuple[float, ...], delta: float, prior: Any, quantiles: tuple[float, ...], atom: float | None
) -> None:
    p = POSTERIOR(*n, delta=delta, prior=prior)
    levels = np.array([0.025, 0.05, 0.5, 0.95, 0.975])
    # The references have ten digits.
    np.testing.assert_allclose(p.ppf(levels), quantiles, rtol=6e-11)
    np.testing.assert_allclose(p.cdf(p.ppf(levels)), levels, rtol=0, atol=1e-13)
    if atom is not None:
        assert p.prob_zero == pytest.approx(atom, rel=1e-5, abs=1e-15)


def test_published_summaries() -> None:
    a = POSTERIOR(400, 100, 100, 400, delta=1e-5)
    b = POSTERIOR(40, 10, 10, 40)
    assert (a.mean, b.mean) == pytest.approx((1.42408912, 1.50441381), abs=5e-9)
    assert (a.mode, b.mode) == pytest.approx((1.41913, 1.46621), abs=5e-6)
    assert a.interval(0.9, kind="hpd") == pytest.approx((1.28166, 1.56551), abs=5e-6)
    assert b.interval(0.9, kind="hpd") == pytest.approx((1.02894, 1.97228), abs=5e-6)
    levels = [0.05, 0.5, 0.95]
    np.testing.assert_allclose(
        a.mu_posterior().ppf(levels), [1.534343, 1.68210073, 1.83141744], atol=5e-7
    )
    np.testing.assert_allclose(
        b.mu_posterior().ppf(levels), [1.21222792, 1.6716281, 2.14603663], atol=5e-8
    )
    assert a.mu_posterior().epsilon_quantile(0.5, delta=1e-5) == pytest.approx(8.093, abs=5e-4)


def test_closed_form_without_data() -> None:
    """Of two uniform rates P(epsilon > e) is 2 / (1 + exp(e))."""
    p = POSTERIOR(0, 0, 0, 0, prior="uniform")
    e = np.array([1e-3, 0.5, 3.0, 30.0, 500.0, 705.0])
    np.testing.assert_allclose(p.sf(e), 2 / (1 + np.exp(e)), rtol=1e-13)
    np.testing.assert_allclose(p.pdf(e), 2 / (1 + np.exp(e)) / (1 + np.exp(-e)), rtol=1e-12)
    assert p.median == pytest.approx(math.log(3), rel=1e-13)
    assert p.ppf([0.05, 0.95]) == pytest.approx([math.log(2 / 0.95 - 1), math.log(39)], rel=1e-12)
    assert p.mean == pytest.approx(2 * math.log(2), rel=1e-10)
    # The density is flat at its top, 0.
    assert p.mode == pytest.approx(0, abs=1e-7)
    assert p.interval(0.9, kind="hpd") == pytest.approx((0, math.log(19)), rel=1e-12)


def test_closed_form_of_one_direction() -> None:
    """Of two uniform rates P(ln((1 - X) / Y) > e) is exp(-e) / 2."""
    for direction in ("forward", "reverse"):
        p = POSTERIOR(0, 0, 0, 0, prior="uniform", direction=direction)
        e = np.array([0.0, 0.1, 4.0, 650.0])
        np.testing.assert_allclose(p.sf(e), np.exp(-e) / 2, rtol=1e-13)
        assert p.prob_zero == pytest.approx(0.5, rel=1e-13)
        assert p.ppf(0.3) == 0
    attack = POSTERIOR(0, 0, 0, 0, prior="uniform", direction="attack")
    np.testing.assert_allclose(attack.sf(e), 1 / (1 + np.exp(e)), rtol=1e-13)


@given(
    st.tuples(*[st.floats(0, 1e4) | st.integers(0, 3).map(float)] * 4),
    st.sampled_from([0.0, 1e-5, 0.05]),
    st.floats(0.01, 6),
)
def test_symmetries(n: tuple[float, ...], delta: float, e: float) -> None:
    tp, fp, fn, tn = n
    prior = ((0.5, 1.0), (2.0, 0.7))
    swapped = (prior[1], prior[0])
    flipped = (prior[0][::-1], prior[1][::-1])
    p = POSTERIOR(tp, fp, fn, tn, delta=delta, prior=prior)
    other = POSTERIOR(tn, fn, fp, tp, delta=delta, prior=swapped)
    inverted = POSTERIOR(fn, tn, tp, fp, delta=delta, prior=flipped)
    for twin in (other, inverted):
        assert twin.cdf(e) == pytest.approx(p.cdf(e), abs=1e-12)
        assert twin.pdf(e) == pytest.approx(p.pdf(e), rel=1e-9, abs=1e-12)


def test_monotone_in_delta_and_epsilon() -> None:
    n = counts(300, 7, 1e5)[:, :, None, None]
    e, delta = np.linspace(0, 8, 17)[:, None], np.array([0.0, 1e-4, 0.01, 0.1])
    f = POSTERIOR(*n, delta=delta).cdf(e)
    assert (np.diff(f, axis=1) >= -1e-13).all()
    assert (np.diff(f, axis=2) >= -1e-13).all()
    assert f.min() >= 0
    assert f.max() <= 1


@pytest.mark.parametrize("direction", ["both", "attack", "forward", "reverse"])
def test_density_is_the_derivative(direction: str) -> None:
    n = counts(200, 8, 1e4)
    p = POSTERIOR(*n, delta=deltas(200, 9), direction=direction)
    x, h = np.maximum(p.ppf(0.6), 0.1), 1e-5
    slope = (p.cdf(x + h) - p.cdf(x - h)) / (2 * h)
    np.testing.assert_allclose(p.pdf(x), slope, rtol=2e-5, atol=1e-7)


def test_delta_is_the_same_event() -> None:
    n = counts(300, 10, 1e4)
    e = np.random.default_rng(11).uniform(0, 3, 300)
    x = np.random.default_rng(12).uniform(0, 0.6, 300)
    d = fm.privacy.delta_posterior(*n, epsilon=e)
    np.testing.assert_allclose(d.cdf(x), POSTERIOR(*n, delta=x).cdf(e), rtol=1e-12, atol=1e-15)
    h = 1e-6
    np.testing.assert_allclose(
        d.pdf(x), (d.cdf(x + h) - d.cdf(x - h)) / (2 * h), rtol=1e-4, atol=1e-6
    )
    q = d.ppf(0.7)
    assert ((q >= 0) & (q < 1)).all()
    assert np.abs(d.cdf(q) - 0.7)[q > 0].max() < 1e-11
    assert d.sf(1.0).max() == 0
    few = fm.privacy.delta_posterior(40, 10, 10, 40, epsilon=0.5)
    draws = few.sample(200_000, rng=2)
    assert abs(draws.mean() - few.mean) < 5 * draws.std() / math.sqrt(200_000)


def test_mu_against_its_definition() -> None:
    """With equal symmetric rates known almost exactly, mu is twice a normal quantile."""
    p = fm.privacy.mu_posterior(8e7, 2e7, 2e7, 8e7)
    assert p.median == pytest.approx(2 * norm.ppf(0.8), abs=1e-6)
    few = fm.privacy.mu_posterior(40, 10, 8, 30)
    x, y = few.sample_rates(200_000, rng=3)
    mu = -(norm.ppf(x) + norm.ppf(y))
    for direction, values in (("both", np.abs(mu)), ("attack", np.maximum(mu, 0))):
        few = fm.privacy.mu_posterior(12, 10, 8, 13, direction=direction)
        x, y = few.sample_rates(200_000, rng=3)
        mu = -(norm.ppf(x) + norm.ppf(y))
        values = np.abs(mu) if direction == "both" else np.maximum(mu, 0)
        for m in (0.05, 0.6, 1.5):
            f = few.cdf(m)
            assert abs((values <= m).mean() - f) < 5 * math.sqrt(f * (1 - f) / 200_000)
        assert abs(values.mean() - few.mean) < 5 * values.std() / math.sqrt(200_000)
    h = 1e-5
    assert few.pdf(0.6) == pytest.approx((few.cdf(0.6 + h) - few.cdf(0.6 - h)) / (2 * h), rel=1e-6)


def test_shapes_and_privacy_curve() -> None:
    p = POSTERIOR([40, 50], 10, 10, [[40], [30], [20]], delta=0.01)
    assert p.shape == (3, 2)
    assert p.mean.shape == (3, 2)
    assert p.cdf(np.ones((4, 1, 1))).shape == (4, 3, 2)
    curve = p.privacy_curve([0.0, 0.01, 0.1], [0.1, 0.5])
    assert curve.shape == (2, 3, 3, 2)
    np.testing.assert_array_equal(curve[1, 1], p.median)
    one = POSTERIOR(40, 10, 10, 40)
    assert isinstance(one.mean, float)
    assert isinstance(one.ppf(0.5), float)
    assert POSTERIOR([], [], [], []).ppf(0.5).shape == (0,)


def test_atom() -> None:
    p = POSTERIOR(250, 250, 250, 250, delta=0.2)
    assert p.prob_zero == pytest.approx(1, abs=1e-8)
    assert p.ppf(0.999) == 0
    assert p.interval(0.9, kind="hpd") == (0, 0)
    assert p.sf(0.0) == pytest.approx(1 - p.prob_zero, rel=1e-10)
    assert p.cdf(-1e-9) == 0
    assert p.sf(-1.0) == 1
    assert p.mean < 1e-4


@pytest.mark.parametrize(
    "n", [(400, 100, 100, 400), (300, 0, 200, 500), (40, 10, 10, 40), (1e6, 5, 7, 1e5)]
)
def test_narrow_atom(n: tuple[float, ...]) -> None:
    """For small delta it is 2 delta times the density of X + Y at 1, a ratio of beta functions."""
    tp, fp, fn, tn = np.add(n, 0.5)
    log_density = betaln(fn + tn - 1, tp + fp - 1) - betaln(fn, tp) - betaln(fp, tn)
    p = POSTERIOR(*n, delta=1e-9)
    assert p.logcdf(0.0) == pytest.approx(math.log(2e-9) + log_density, rel=1e-7, abs=1e-6)


def test_no_atom_is_none_at_all() -> None:
    assert POSTERIOR(40, 10, 10, 40).prob_zero == 0
    assert POSTERIOR(40, 10, 10, 40).logsf(0.0) == 0
    assert fm.privacy.mu_posterior(40, 10, 10, 40).prob_zero == 0
    assert fm.privacy.delta_posterior(40, 10, 10, 40, epsilon=0).prob_zero == 0
    assert POSTERIOR(40, 10, 10, 40, delta=1e-9).prob_zero > 0


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_small_parameters_in_one_direction(direction: str) -> None:
    """A law with nearly all of its mass next to 0 is a long way from the other's axis."""
    prior = ((0.11, 3.5), (0.06, 0.5))
    p = POSTERIOR([885, 652_540], 0, 0, [1776, 0.1], delta=0.1, prior=prior, direction=direction)
    q = np.array([0.01, 0.55, 0.999999])[:, None]
    x = p.ppf(q)
    np.testing.assert_allclose(p.cdf(x)[x > 0], np.broadcast_to(q, x.shape)[x > 0], atol=1e-12)
    draws = p.sample(100_000, rng=5)
    assert abs((draws <= x[1]).mean(0) - p.cdf(x[1])).max() < 0.01


def test_mu_without_end() -> None:
    m = fm.privacy.mu_posterior(40, 10, 10, 40)
    for x in (71.0, 73.0, 1e300, math.inf):
        assert (m.cdf(x), m.sf(x), m.pdf(x)) == (1, 0, 0)


@pytest.mark.parametrize("epsilon", [340.0, 400.0, 650.0, 1e300, math.inf])
def test_delta_at_large_epsilon(epsilon: float) -> None:
    for direction in ("both", "attack", "forward", "reverse"):
        d = fm.privacy.delta_posterior(40, 10, 10, 40, epsilon=epsilon, direction=direction)
        assert d.prob_zero == 1
        assert d.ppf(0.5) == 0
        assert d.interval(0.9, kind="hpd") == (0, 0)


def test_region_of_one_epsilon() -> None:
    assert fm.privacy.privacy_region(math.inf)[1] == pytest.approx(0, abs=1e-300)
    with pytest.raises(fm.errors.ArgumentError, match="one number"):
        fm.privacy.privacy_region([1, 2])  # type: ignore[arg-type]


def test_plugin() -> None:
    assert POSTERIOR(400, 100, 100, 400).plugin_map == pytest.approx(
        math.log((1 - 99.5 / 499) / (99.5 / 499)), rel=1e-12
    )
    assert POSTERIOR(100, 0, 0, 100).plugin_map == math.inf


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tp": -1}, "tp: -1 was given"),
        ({"fn": math.nan}, "NaN"),
        ({"tn": True}, "booleans"),
        ({"fp": "12"}, "fp: '12' was given"),
        ({"delta": 1.0}, "delta"),
        ({"delta": -0.1}, "delta"),
        ({"prior": "haldane"}, "prior"),
        ({"prior": ((0, 1), (1, 1))}, "prior: 0 was given"),
        ({"prior": ((0.02, 1), (1, 1))}, "prior: 0.02 was given; parameters from 0.05"),
        ({"prior": ((1, 1e300), (1, 1))}, r"prior: 1e\+300 was given"),
        ({"n_threads": 0}, "n_threads: 0 was given"),
        ({"prior": (1, 1)}, "two pairs"),
        ({"direction": "up"}, "direction"),
        ({"tp": [1, 2, 3], "fp": [1, 2]}, r"tp \(3,\), fp \(2,\).* do not broadcast"),
        ({"fn": [1, 2], "prior": (([1, 1, 1], 1), (1, 1))}, r"fn \(2,\).*prior of fnr, a \(3,\)"),
        ({"tp": [1, 2, 3], "delta": [0.1, 0.2]}, r"tp \(3,\).*delta \(2,\)"),
        ({"tp": np.ma.masked_array([1.0, 2.0], [True, False])}, "masked"),
    ],
)
def test_refusals(arguments: dict[str, Any], words: str) -> None:
    given = {"tp": 40, "fp": 10, "fn": 10, "tn": 40} | arguments
    with pytest.raises(fm.errors.ArgumentError, match=words):
        POSTERIOR(**planned(**given))


def test_pictures() -> None:
    p = POSTERIOR(400, 100, 100, 400, delta=1e-5)
    ax = p.plot(claim=1.5)
    assert ax.get_xlabel() == "ε"
    assert p.plot_region().get_aspect() == 1
    assert p.mu_posterior().plot().get_xlabel() == "μ"
    assert POSTERIOR(100, 0, 0, 100).plot_region(epsilon=2.0) is not None


CALLS: list[Any] = [
    fm.privacy.epsilon_posterior,
    lambda *n, **k: fm.privacy.delta_posterior(*n, epsilon=1.0, **k),
    fm.privacy.mu_posterior,
    fm.privacy.epsilon_interval,
    fm.privacy.gdp_bound,
]


@pytest.mark.parametrize("call", CALLS)
def test_tables_of_a_named_layout_are_the_counts(call: Any) -> None:
    tp, fp, fn, tn = 40, 7, 12, 31
    expected = call(tp, fp, fn, tn).to_dict()
    expected.pop("wall_time")
    for cells in (
        {"tp": tp, "fp": fp, "fn": fn, "tn": tn},
        {"table": [[tn, fp], [fn, tp]], "layout": "sklearn"},
        {"table": np.array([[tp, fn], [fp, tn]]), "layout": "members-first"},
    ):
        found = call(**cells).to_dict()
        found.pop("wall_time")
        assert found == expected
    # The order of scikit-learn's ravel() is another table.
    other = call(tn, fp, fn, tp).to_dict()
    assert {k: v for k, v in other.items() if k != "wall_time"} != expected


def test_many_tables_at_once() -> None:
    tables = np.array([[[31, 7], [12, 40]], [[5, 1], [2, 9]]])
    p = fm.privacy.epsilon_posterior(table=tables, layout="sklearn")
    assert p.shape == (2,)
    assert p.median[1] == fm.privacy.epsilon_posterior(9, 1, 2, 5).median


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"tp": 1, "fp": 2}, "fn, tn: not given"),
        ({"table": [[1, 2], [3, 4]]}, "layout: not given with table="),
        ({"table": [[1, 2], [3, 4]], "layout": "scikit"}, "layout: 'scikit' was given"),
        ({"table": [1, 2, 3, 4], "layout": "sklearn"}, "table: an array of shape (4,)"),
        ({"table": [[1, 2], [3, 4]], "layout": "sklearn", "tp": 1}, "table: given with tp"),
        ({"tp": 1, "fp": 2, "fn": 3, "tn": 4, "layout": "sklearn"}, "layout: given without"),
    ],
)
def test_bad_tables_are_refused(call: Any, cells: dict[str, Any], words: str) -> None:
    with pytest.raises(fm.errors.ArgumentError) as caught:
        call(**cells)
    assert words in str(caught.value)
