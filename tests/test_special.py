"""Special functions against mpmath: values computed here and those of make_special_values.py."""

from __future__ import annotations

from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from plans import on_threads

from fermiac import special as s
from fermiac.errors import ArgumentError

VALUES = np.load(Path(__file__).with_name("support") / "special_values.npz")
BETA, GAMMA = VALUES["beta"].T, VALUES["gamma"].T


def ulps(value, function, x):
    """Errors in units in the last place, against mpmath with 40 digits."""
    with mp.workdps(40):
        out = []
        for v, t in zip(value, x, strict=True):
            truth = function(mp.mpf(float(t)))
            out.append(
                float(abs(mp.mpf(float(v)) - truth) / mp.mpf(float(np.spacing(float(truth)))))
            )
    return np.array(out)


def quantile(p):
    """The normal quantile by Newton's steps on erfc."""
    if p == 0.5:
        return mp.mpf(0)
    tail = min(p, 1 - p)
    z = mp.sqrt(-2 * mp.log(tail)) if tail < 0.1 else mp.mpf(1)
    for _ in range(60):
        ratio = mp.erfc(z / mp.sqrt(2)) / 2
        step = mp.log(ratio / tail) * ratio / (mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi))
        z += step
        if abs(step) < mp.mpf(10) ** -30 * abs(z):
            break
    return -z if p < 0.5 else z


RNG = np.random.default_rng(5)
KERNELS = {
    "exp": (mp.exp, np.concatenate([RNG.uniform(-708, 709, 400), RNG.uniform(-1, 1, 400)])),
    "log": (mp.log, np.concatenate([10 ** RNG.uniform(-307, 308, 400), RNG.uniform(0.5, 2, 400)])),
    "erf": (mp.erf, np.concatenate([RNG.uniform(-6, 6, 400), 10 ** RNG.uniform(-300, 0, 400)])),
    "erfc": (mp.erfc, np.concatenate([RNG.uniform(-6, 6, 400), RNG.uniform(0, 26.5, 400)])),
    "ndtr": (mp.ncdf, np.concatenate([RNG.uniform(-5, 5, 400), RNG.uniform(-37.5, 0, 400)])),
    "ndtri": (quantile, np.concatenate([RNG.random(300), 10 ** RNG.uniform(-300, 0, 300)])),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_within_one_and_a_half_units(name):
    function, x = KERNELS[name]
    assert ulps(getattr(s, name)(x), function, x).max() <= 1.5


def test_normal_tails():
    x = np.array([-30.0, -37.0, -8.0, -1.0, 2.0])
    with mp.workdps(40):
        truth = [float(mp.log(mp.ncdf(mp.mpf(v)))) for v in x]
    np.testing.assert_allclose(s.log_ndtr(x), truth, rtol=1e-15)
    # Far in the tail, by the asymptotic series of Mills' ratio.
    z = 1e5
    far = -0.5 * z * z - np.log(z) - 0.5 * np.log(2 * np.pi) + np.log1p(-1 / z**2)
    np.testing.assert_allclose(s.log_ndtr(-z), far, rtol=1e-15)
    np.testing.assert_array_equal(s.ndtr([-np.inf, 0.0, np.inf]), [0.0, 0.5, 1.0])
    assert s.ndtr(-38.4) > 0.0


def test_gamma_functions():
    x = np.concatenate([10 ** RNG.uniform(-8, 8, 300), RNG.uniform(0.5, 3, 200)])
    with mp.workdps(40):
        digamma = np.array([float(mp.digamma(mp.mpf(v))) for v in x])
        ln_gamma = np.array([float(mp.loggamma(mp.mpf(v))) for v in x])
        negative = np.array([float(mp.digamma(mp.mpf(v))) for v in (-0.3, -2.6, -10.1)])
        ln_negative = np.array([float(mp.log(abs(mp.gamma(mp.mpf(v))))) for v in (-0.3, -2.6)])
    np.testing.assert_allclose(s.digamma(x), digamma, rtol=4e-15)
    np.testing.assert_allclose(s.gammaln(x), ln_gamma, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(s.digamma([-0.3, -2.6, -10.1]), negative, rtol=1e-13)
    np.testing.assert_allclose(s.gammaln([-0.3, -2.6]), ln_negative, rtol=1e-14)
    a, b = 10 ** RNG.uniform(-3, 8, (2, 300))
    with mp.workdps(40):
        ln_beta = [
            float(mp.loggamma(p) + mp.loggamma(q) - mp.loggamma(mp.mpf(p) + mp.mpf(q)))
            for p, q in zip(map(mp.mpf, map(float, a)), map(mp.mpf, map(float, b)), strict=True)
        ]
    np.testing.assert_allclose(s.betaln(a, b), ln_beta, rtol=2e-14, atol=2e-14)


def beta_ln_condition(a, b, x, ln_tail):
    """Logarithm of a tail's relative condition number, in the nearer of x and 1 - x."""
    ln_y = np.log1p(-x)
    ln_density = a * np.log(x) + b * ln_y - s.betaln(a, b)  # over the logit
    return ln_density - np.maximum(np.log(x), ln_y) - ln_tail


def gamma_ln_condition(a, x, ln_tail):
    """Logarithm of a tail's relative condition number in x."""
    return a * np.log(x) - x - s.gammaln(a) - ln_tail


def check_tails(rows, ln_condition, values, logs):
    """Compare values and logarithms of both tails with a table.

    The bar is 1e-13 of the smaller tail, times its condition number where that exceeds 1. The
    larger tail is its complement, right to the last places.
    """
    truths, ln_truths = rows[-4:-2], rows[-2:]
    is_small = [truths[0] <= truths[1], truths[0] > truths[1]]
    ln_small = np.minimum(*ln_truths)
    with np.errstate(over="ignore"):
        bar = 1e-13 * np.maximum(np.exp(ln_condition(*rows[:-4], ln_small)), 1.0)
    for value, log, truth, ln_truth, small in zip(
        values, logs, truths, ln_truths, is_small, strict=True
    ):
        tail = small & (truth > 1e-300)
        judge(np.abs(value / np.where(tail, truth, 1.0) - 1.0), bar, tail, rows)
        judge(np.abs(value - truth), np.maximum(2.3e-16, bar * np.exp(ln_small)), ~small, rows)
        # The error of a logarithm is a relative error of the tail, of one unit at least.
        judge(np.abs(log - ln_truth), np.maximum(bar, 1e-15 * np.abs(ln_truth)), small, rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.where(ln_truth == 0.0, np.abs(log), np.abs(log / ln_truth - 1.0))
        judge(off, bar, ~small & (ln_truth < -1e-300), rows)


def judge(error, bar, where, rows):
    assert where.any()
    ratio = np.where(where, error / bar, 0.0)
    worst = np.argmax(np.where(np.isnan(ratio), np.inf, ratio))
    assert ratio[worst] <= 1.0, (rows[:, worst], error[worst], bar[worst])


def test_incomplete_beta():
    arguments = BETA[:3]
    values = [s.betainc(*arguments), s.betaincc(*arguments)]
    logs = [s.log_betainc(*arguments), s.log_betaincc(*arguments)]
    check_tails(BETA, beta_ln_condition, values, logs)


def test_incomplete_gamma():
    arguments = GAMMA[:2]
    values = [s.gammainc(*arguments), s.gammaincc(*arguments)]
    logs = [s.log_gammainc(*arguments), s.log_gammaincc(*arguments)]
    check_tails(GAMMA, gamma_ln_condition, values, logs)


# The least parameters for a number of terms of the expansion, and the largest z.
BORDERS = [(15.9, 4.4), (16.0, 4.4), (39.9, 6.9), (40.0, 5.2), (399.0, 16.2), (400.0, 7.0)]


def around_the_border(mode, width, reach):
    """Points up to the border on both sides and just beyond, by their logarithm or logit."""
    z = np.concatenate([np.linspace(-1.0, 1.0, 21), [-1.2, -1.02, -0.98, 0.98, 1.02, 1.2]])
    return mode + width * reach * z


@pytest.mark.parametrize(("least", "reach"), BORDERS)
@pytest.mark.parametrize("ratio", [1.0, 30.0])
def test_beta_tails_at_the_borders_of_the_expansion(least, reach, ratio):
    a, b = (least, least * ratio) if ratio < 2.0 else (least * ratio, least)
    logit = around_the_border(np.log(a / b), np.sqrt(1.0 / a + 1.0 / b), reach)
    rows = []
    with mp.workdps(150):  # tails are differences there
        for x in map(float, 1.0 / (1.0 + np.exp(-logit))):
            lower, upper = (mp.betainc(a, b, *ends, True) for ends in ((0, x), (x, 1)))
            rows.append([a, b, x, *map(float, (lower, upper, mp.log(lower), mp.log(upper)))])
    rows = np.array(rows).T
    values = [s.betainc(*rows[:3]), s.betaincc(*rows[:3])]
    logs = [s.log_betainc(*rows[:3]), s.log_betaincc(*rows[:3])]
    check_tails(rows, beta_ln_condition, values, logs)


@pytest.mark.parametrize(("least", "reach"), BORDERS)
def test_gamma_tails_at_the_borders_of_the_expansion(least, reach):
    rows = []
    with mp.workdps(150):  # tails are differences there
        for x in map(float, np.exp(around_the_border(np.log(least), least**-0.5, reach))):
            lower, upper = (mp.gammainc(least, *ends, True) for ends in ((0, x), (x, mp.inf)))
            rows.append([least, x, *map(float, (lower, upper, mp.log(lower), mp.log(upper)))])
    rows = np.array(rows).T
    values = [s.gammainc(*rows[:2]), s.gammaincc(*rows[:2])]
    logs = [s.log_gammainc(*rows[:2]), s.log_gammaincc(*rows[:2])]
    check_tails(rows, gamma_ln_condition, values, logs)


def test_the_table_agrees_with_live_quadrature():
    """Some rows of moderate size agree with the functions of mpmath, a third method."""
    moderate = (BETA[:2].max(axis=0) < 200) & (BETA[2] > 1e-15)
    for a, b, x, lower, upper, *_ in BETA.T[moderate][:60]:
        with mp.workdps(40):
            p, q, z = mp.mpf(a), mp.mpf(b), mp.mpf(x)
            truth = [mp.betainc(p, q, 0, z, True), mp.betainc(q, p, 0, 1 - z, True)]
            for value, t in zip((lower, upper), truth, strict=True):
                assert abs(value - float(t)) <= 3e-16 * float(t) + 1e-300
    for a, x, lower, upper, *_ in GAMMA.T[(GAMMA[0] < 200)][:60]:
        with mp.workdps(40):
            p, z = mp.mpf(a), mp.mpf(x)
            truth = [mp.gammainc(p, 0, z, True), mp.gammainc(p, z, mp.inf, True)]
            for value, t in zip((lower, upper), truth, strict=True):
                assert abs(value - float(t)) <= 3e-16 * float(t) + 1e-300


P = np.concatenate([10 ** RNG.uniform(-300, 0, 400), RNG.random(400)])


def test_quantiles_of_the_beta_law_invert_both_tails():
    a, b = 10 ** RNG.uniform(-1, 8, (2, 800))
    for inverse, log_tail in ((s.betaincinv, s.log_betainc), (s.betainccinv, s.log_betaincc)):
        x = inverse(a, b, P)
        assert ((x >= 0.0) & (x <= 1.0)).all()
        inside = (x > 1e-300) & (x < 1.0)
        assert inside.mean() > 0.6
        a_, b_, x, p = a[inside], b[inside], x[inside], P[inside]
        # A quantile is accurate to a unit in the last place of x, or of 1.
        ln_density = a_ * np.log(x) + b_ * np.log1p(-x) - s.betaln(a_, b_)
        condition = np.exp(ln_density - np.log1p(-x) - np.log(np.minimum(p, 1 - p)))
        error = np.abs(np.expm1(log_tail(a_, b_, x) - np.log(p)))
        bar = 1e-13 + 1e-15 * condition * np.minimum(p, 1 - p) / p
        bar += 3e-16 * np.abs(np.log(p))
        judge(error, bar, np.ones_like(p, bool), np.stack([a_, b_, x, p]))


def test_quantiles_of_the_gamma_law_invert_both_tails():
    a = 10 ** RNG.uniform(-1, 8, 800)
    for inverse, log_tail in ((s.gammaincinv, s.log_gammainc), (s.gammainccinv, s.log_gammaincc)):
        x = inverse(a, P)
        inside = (x > 1e-300) & (x < np.inf)
        assert inside.mean() > 0.6
        a_, x, p = a[inside], x[inside], P[inside]
        condition = np.exp(a_ * np.log(x) - x - s.gammaln(a_) - np.log(p))
        error = np.abs(np.expm1(log_tail(a_, x) - np.log(p)))
        bar = 1e-13 + 1e-15 * condition + 3e-16 * np.abs(np.log(p))
        judge(error, bar, np.ones_like(p, bool), np.stack([a_, x, p]))


def test_closed_forms():
    a = 10 ** np.linspace(-2, 7, 40)
    np.testing.assert_allclose(s.betainc(a, a, 0.5), 0.5, rtol=1e-14)
    # The error of a quantile is that of the probability over the density, about a at ½ for small a.
    assert (np.abs(s.betaincinv(a, a, 0.5) - 0.5) <= 1e-15 * (5.0 + 1.0 / a)).all()
    x = np.linspace(0.01, 0.99, 30)
    np.testing.assert_allclose(s.betaincc(1.0, 7.5, x), (1 - x) ** 7.5, rtol=1e-13)
    np.testing.assert_allclose(s.gammaincc(1.0, 50 * x), np.exp(-50 * x), rtol=1e-14)
    np.testing.assert_allclose(s.gammaincc(0.5, x), s.erfc(np.sqrt(x)), rtol=1e-14)
    # Binomial sums for counts at which series are too long: P(X >= 1) of 1e8 trials.
    np.testing.assert_allclose(
        s.betainc(1.0, 1e8, 1e-9), -np.expm1(1e8 * np.log1p(-1e-9)), rtol=1e-14
    )


NAN = np.nan


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("betainc", (2.0, 3.0, [0.0, 1.0, -0.1, 1.1, NAN]), [0.0, 1.0, NAN, NAN, NAN]),
        ("betaincc", (2.0, 3.0, [0.0, 1.0, -0.1, 1.1, NAN]), [1.0, 0.0, NAN, NAN, NAN]),
        ("log_betainc", (2.0, 3.0, [0.0, 1.0]), [-np.inf, 0.0]),
        ("betainc", ([0.0, -1.0, NAN, np.inf], 1.0, 0.5), [NAN] * 4),
        ("betaincinv", (2.0, 3.0, [0.0, 1.0, -0.1, 1.1, NAN]), [0.0, 1.0, NAN, NAN, NAN]),
        ("betainccinv", (2.0, 3.0, [0.0, 1.0, -0.1, 1.1, NAN]), [1.0, 0.0, NAN, NAN, NAN]),
        ("gammainc", (2.0, [0.0, np.inf, -0.1, NAN]), [0.0, 1.0, NAN, NAN]),
        ("gammaincc", (2.0, [0.0, np.inf, -0.1, NAN]), [1.0, 0.0, NAN, NAN]),
        ("log_gammaincc", (2.0, [0.0, np.inf]), [0.0, -np.inf]),
        ("gammainc", ([0.0, -1.0, NAN, np.inf], 1.0), [NAN] * 4),
        ("gammaincinv", (2.0, [0.0, 1.0, -0.1, 1.1]), [0.0, np.inf, NAN, NAN]),
        ("gammainccinv", (2.0, [0.0, 1.0, -0.1, 1.1]), [np.inf, 0.0, NAN, NAN]),
        ("digamma", ([0.0, -1.0, np.inf, NAN],), [-np.inf, NAN, np.inf, NAN]),
        ("gammaln", ([0.0, -1.0, np.inf, NAN],), [np.inf, np.inf, np.inf, NAN]),
        ("ndtri", ([0.0, 1.0, -0.1, 1.1],), [-np.inf, np.inf, NAN, NAN]),
        ("log", ([0.0, -1.0, np.inf],), [-np.inf, NAN, np.inf]),
    ],
)
def test_edges(name, arguments, expected):
    np.testing.assert_array_equal(getattr(s, name)(*arguments), expected)


def test_shapes_and_threads(thread_counts):
    assert isinstance(s.betainc(2.0, 3.0, 0.5), float)
    assert np.ndim(s.betainc(2, 3, 0.5)) == 0
    assert s.betainc(np.ones((4, 1)), np.ones(3), 0.5).shape == (4, 3)
    assert s.erf(np.zeros((0, 2))).shape == (0, 2)
    assert s.gammainc([2.0], [1.0]).shape == (1,)
    x = RNG.random((2, 10_001))
    one = on_threads(1, s.betainc, x * 50, 3.0, x[:, ::-1])
    for n in thread_counts:
        np.testing.assert_array_equal(on_threads(n, s.betainc, x * 50, 3.0, x[:, ::-1]), one)
    # A value depends neither on its batch nor on whether all rows share a law.
    rows = slice(0, 4100)
    np.testing.assert_array_equal(
        s.betainc(40.0, 3.0, x[0, rows]), s.betainc(np.full(4100, 40.0), 3.0, x[0, rows])
    )
    np.testing.assert_array_equal(
        s.betaincc(70.0, 50.0, x[0, rows]), s.betaincc(np.full(4100, 70.0), 50.0, x[0, rows])
    )
    np.testing.assert_array_equal(
        s.gammainc(40.0, 60 * x[0, rows]), s.gammainc(np.full(4100, 40.0), 60 * x[0, rows])
    )
    assert one[1, 77] == s.betainc(x[1, 77] * 50, 3.0, x[1, ::-1][77])
    with pytest.raises(ArgumentError, match="broadcast"):
        s.betainc(np.ones(2), np.ones(3), 0.5)
    with pytest.raises(ArgumentError, match="numbers"):
        s.erf("text")
    with pytest.raises(ArgumentError, match="n_threads"):
        on_threads(0, s.erf, 1.0)
