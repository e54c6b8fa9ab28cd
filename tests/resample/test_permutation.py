"""Permutation tests: reference values, exact laws against enumeration, level, many columns."""

from __future__ import annotations

import math
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.resample import permutation_laws as laws
from fermiac.resample import permutation_test

Array = NDArray[np.float64]
MICE = [94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0]
CONTROL = [52.0, 104.0, 146.0, 10.0, 51.0, 30.0, 40.0, 27.0, 46.0]
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_reference_values() -> None:
    p = permutation_test((MICE, CONTROL), alternative="greater")
    assert p.statistic == pytest.approx(30.634920634920633)
    assert p.pvalue == pytest.approx(0.140996503497, abs=1e-12)
    assert p.exact
    assert permutation_test(MAIZE).pvalue == 1726 / 32768
    assert permutation_test([0.1, 0.2, -0.3], alternative="greater").pvalue == 0.625
    x = np.arange(1.0, 21.0)
    x[3::4] *= -1
    assert permutation_test(x, alternative="greater").pvalue == 0.048653602600097656
    p = permutation_test(np.arange(1.0, 101.0), alternative="greater")
    assert p.pvalue == pytest.approx(2.0**-100, rel=1e-9)
    p = permutation_test(([1, 2, 2, 3, 5], [2, 3, 3, 4, 6, 6]), "rank")
    assert p.pvalue == pytest.approx(80 / 462, rel=1e-13)
    assert p.method == "enumeration"


def test_studentised_mice() -> None:
    p = permutation_test(
        (MICE, CONTROL), alternative="greater", studentise=True, n_resamples=40_000, rng=1
    )
    assert not p.exact
    assert abs(p.pvalue - 0.144231) < 5 * math.sqrt(0.144 * 0.856 / 40_000)


@pytest.mark.parametrize("name", ["mean", "rank", "ansari_bradley", "median"])
def test_two_samples_against_brute_force(name: str) -> None:
    from scipy.stats import rankdata

    a, b = np.array([1.0, 2.0, 2.0, 3.5]), np.array([2.0, 3.0, 7.0, 4.0, 0.0])
    pooled = np.concatenate([a, b])
    scores = pooled
    if name == "rank":
        scores = rankdata(pooled)
    elif name == "median":
        scores = (pooled > np.median(pooled)).astype(float)
    elif name == "ansari_bradley":
        flat = np.minimum(np.arange(1, 10), np.arange(9, 0, -1)).astype(float)
        ordered = np.sort(pooled)
        scores = np.array([flat[ordered == v].mean() for v in pooled])
    sums = np.array([scores[list(c)].sum() for c in combinations(range(9), 4)])
    observed = scores[:4].sum()
    for side, known in (
        ("greater", (sums >= observed - 1e-9).mean()),
        ("less", (sums <= observed + 1e-9).mean()),
    ):
        p = permutation_test((a, b), name, alternative=side)
        assert p.pvalue == pytest.approx(known, rel=1e-12)
    swapped = permutation_test((b, a), name, alternative="less")
    if name != "ansari_bradley":
        assert swapped.pvalue == pytest.approx(
            permutation_test((a, b), name, alternative="greater").pvalue
        )


def test_the_shift_algorithm_is_enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = fm.random.Stream(4)
    a, b = np.floor(stream.uniform(9) * 6) / 10, np.floor(stream.uniform(12) * 6) / 10
    design = ("groups", [0, 21], [9], None)
    for first in (9, 12):
        problem = laws.problem_of("independent", "mean", ("groups", [0, 21], [first], None),
                                  np.concatenate([a, b]), first)  # fmt: skip
        known = laws.exact_tails(problem, True)
        monkeypatch.setattr(laws, "_MOST_OUTCOMES", 10)
        monkeypatch.setattr(laws, "_MOST_IN_GROUPS", 10)
        found = laws.exact_tails(problem, True)
        monkeypatch.undo()
        assert known is not None
        assert found is not None
        assert (known.method, found.method) == ("enumeration", "shift")
        assert found.upper == pytest.approx(known.upper, rel=1e-11)
        assert found.lower == pytest.approx(known.lower, rel=1e-11)
    assert design[1][-1] == 21


@pytest.mark.parametrize("law", ["normal", "exponential", "outlier"])
def test_the_series_of_two_samples_meets_all_groups(
    law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laws, "_MOST_IN_GROUPS", 0)
    methods = set()
    for n, m, key in ((30, 15, 1), (36, 12, 2), (40, 20, 3)):
        stream = fm.random.Stream(key)
        y = stream.normal(n) if law == "normal" else stream.exponential(n)
        y[0] = 30.0 if law == "outlier" else y[0]
        for shift in (-1.5, -0.4, 0.0, 0.3, 1.0, 2.0):
            # The group of the test is the one of the largest or smallest sums, or any.
            a, b = y[:m] + shift, y[m:]
            pooled = np.concatenate([a, b])
            problem = laws.problem_of("independent", "mean", ("groups", [0, n], [m], None),
                                      pooled, m)  # fmt: skip
            known = fm._core.resample_tails(
                "middle", None, problem.y, m, problem.observed, problem.near
            )
            found = laws.exact_tails(problem, True)
            if found is None:  # few outcomes, and too many to count
                assert min(known) * math.comb(n, m) < 2e7
                continue
            methods.add(found.method)
            assert found.upper == pytest.approx(known[0], rel=1e-4)
            assert found.lower == pytest.approx(known[1], rel=1e-4)
    assert methods == {"series", "counting"} or law == "outlier"


def test_the_law_of_two_large_samples() -> None:
    stream = fm.random.Stream(5)
    a, b = stream.exponential(300), stream.exponential(400) - 0.12
    p = permutation_test((a, b))
    assert (p.exact, p.method) == (True, "series")
    drawn = permutation_test((a, b), exact=False, n_resamples=20_000, rng=1)
    assert abs(p.pvalue - drawn.pvalue) < 5 * math.sqrt(2 * p.pvalue / 20_000)
    assert permutation_test((b, a)).pvalue == pytest.approx(p.pvalue, rel=1e-6)
    # By importance sampling with 200,000 tilted groups it is 2.61e-24 ± 0.11e-24; the t-test has
    # 1.6e-23.
    tiny = permutation_test((a + 0.6, b), alternative="greater")
    assert tiny.exact
    assert tiny.pvalue == pytest.approx(2.61e-24, abs=0.33e-24)
    assert tiny.log_pvalue == pytest.approx(math.log(tiny.pvalue))
    # Whole numbers: the law on their lattice is that of the shift algorithm.
    x, y = np.floor(3 * a), np.floor(3 * b)
    known = permutation_test((x, y), alternative="greater")
    assert known.method == "shift"
    problem = laws.problem_of("independent", "mean", ("groups", [0, 700], [300], None),
                              np.concatenate([x, y]), 300)  # fmt: skip
    series = laws._group_tails(problem, 1.0)
    assert series is not None
    assert series.upper == pytest.approx(known.pvalue, rel=1e-6)
    less = permutation_test((x, y), alternative="less")
    assert series.lower == pytest.approx(less.pvalue, rel=1e-6)


def test_few_distinct_values_are_sampled() -> None:
    values = np.sqrt(np.arange(1.0, 4.0))
    y = np.tile(values, 30)
    p = permutation_test((y[:40], y[40:]), n_resamples=99, rng=0)
    assert p.method == "sampled"


def test_signs_against_brute_force() -> None:
    from scipy.stats import rankdata

    d = np.array([0.3, -1.2, 2.5, 0.3, 1.1, -0.4, 0.0])
    for name, used in (("mean", d), ("rank", np.sign(d[:-1]) * rankdata(np.abs(d[:-1])))):
        sums = np.array([np.dot(s, np.abs(used)) for s in product((-1, 1), repeat=used.size)])
        known = (sums >= used.sum() - 1e-9).mean()
        assert permutation_test(d, name, alternative="greater").pvalue == pytest.approx(known)


def test_pairs_against_brute_force() -> None:
    x, y = np.array([1.0, 2.0, 5.0, 3.0, 2.5, 0.0]), np.array([2.0, 2.0, 6.0, 1.0, 4.0, 1.5])
    sums = np.array([np.dot(x[list(o)], y) for o in permutations(range(6))])
    known = (sums >= x @ y - 1e-9).mean()
    p = permutation_test((x, y), kind="pairs", alternative="greater")
    assert p.pvalue == pytest.approx(known)
    assert p.statistic == pytest.approx(np.corrcoef(x, y)[0, 1])


@pytest.mark.parametrize(
    ("x", "more"),
    [
        ((MICE, CONTROL), {}),
        ((MICE, CONTROL), {"statistic": "rank"}),
        ((MICE, CONTROL), {"statistic": lambda a, b: a.mean(1) - b.mean(1)}),
        (MAIZE, {}),
        (MAIZE, {"statistic": lambda d: d.mean(1)}),
        ((MICE, CONTROL[:7]), {"kind": "pairs"}),
        ((MICE, CONTROL[:7]), {"kind": "pairs", "statistic": lambda a, b: (a * b).mean(1)}),
    ],
)
def test_sampled_tests_are_those_of_all_permutations(x: Any, more: dict[str, Any]) -> None:
    named = {k: v for k, v in more.items() if not callable(v)}
    known = permutation_test(x, alternative="greater", **named)
    exact = None if callable(more.get("statistic")) else False
    p = permutation_test(x, alternative="greater", n_resamples=6000, exact=exact, rng=1, **more)
    assert known.exact
    assert not p.exact
    assert p.pvalue_lower <= p.pvalue <= p.pvalue_upper
    error = math.sqrt(known.pvalue * (1 - known.pvalue) / 6000)
    assert abs(p.pvalue - known.pvalue) < 5 * error + 1e-3


def test_permutations_stay_in_their_blocks() -> None:
    stream = fm.random.Stream(2)
    blocks = np.arange(40) % 2
    y = 100.0 * blocks + stream.normal(40)
    a, b = y[:10], y[10:]
    p = permutation_test(
        (a, b), blocks=(blocks[:10], blocks[10:]), n_resamples=500, exact=False, rng=0
    )
    # Without blocks the difference of the means would have a spread of 15.
    assert p.null.std() < 1.0


def test_p_values_are_valid_and_nearly_uniform() -> None:
    for kind in ("independent", "signs", "pairs"):
        found = []
        for key in range(400):
            x = fm.random.Stream(key).exponential(24) if kind != "signs" else (
                fm.random.Stream(key).normal(24)
            )  # fmt: skip
            data = x if kind == "signs" else (x[:12], x[12:])
            p = permutation_test(
                data, kind=kind, alternative="greater", n_resamples=199, exact=False, rng=key,
                plan=fm.Plan(n_threads=1),
            )  # fmt: skip
            found.append(p.pvalue)
        for u in (0.05, 0.1, 0.5):
            share = np.mean(np.array(found) <= u)
            assert share <= u + 3 * math.sqrt(u * (1 - u) / 400)
            assert share >= u - 4 * math.sqrt(u * (1 - u) / 400)


#: A test of data without an effect: its data, its arguments, its method, and whether its p-values
#: have (nearly) all values.
NULLS: dict[str, tuple[Any, dict[str, Any], str, bool]] = {
    "groups, enumerated": (lambda g: (g.normal(6), g.normal(6)), {}, "enumeration", False),
    "groups, from halves": (lambda g: (g.exponential(13), g.exponential(13)), {},
                            "enumeration", True),
    "groups, series": (lambda g: (g.exponential(30), g.exponential(25)), {}, "series", True),
    "ranks with ties": (
        lambda g: (np.floor(g.exponential(20)), np.floor(g.exponential(30))),
        {"statistic": "rank"}, "shift", False,
    ),
    "signs, halves": (lambda g: g.normal(20), {}, "enumeration", True),
    "signs, series": (lambda g: g.student_t(3.0, 60), {}, "series", True),
    "signed ranks": (lambda g: np.round(g.normal(30), 1), {"statistic": "rank"}, "enumeration",
                     False),
    "pairs": (lambda g: (g.normal(8), g.normal(8)), {"kind": "pairs"}, "enumeration", True),
    "Spearman": (lambda g: (g.normal(15), g.normal(15)),
                 {"kind": "pairs", "statistic": "spearman", "n_resamples": 199}, "sampled", True),
    "studentised": (lambda g: (g.normal(20), g.normal(20)),
                    {"studentise": True, "n_resamples": 199}, "sampled", True),
    "blocks": (lambda g: (g.normal(20) + LEVELS, g.normal(20) + LEVELS),
               {"blocks": (np.arange(20) % 2, np.arange(20) % 2), "n_resamples": 199}, "sampled",
               True),
    "function": (lambda g: g.normal(15), {"statistic": lambda d: np.median(d, axis=1),
                                          "n_resamples": 199}, "sampled", False),
}  # fmt: skip
LEVELS = 5.0 * (np.arange(20) % 2)


@pytest.mark.parametrize("name", NULLS)
def test_p_values_under_the_null(name: str) -> None:
    draw, more, method, continuous = NULLS[name]
    sets = 300
    found: dict[Any, list[float]] = {"two-sided": [], "greater": []}
    methods = []
    for key in range(sets):
        data = draw(fm.random.Stream(key, index=11))
        for side, p in found.items():
            r = permutation_test(data, alternative=side, rng=key, plan=fm.Plan(n_threads=1), **more)
            p.append(float(r.pvalue))
            methods.append(r.method)
    # Few outcomes beyond the observed one are counted.
    assert np.mean([m == method for m in methods]) > 0.97
    for side, p in found.items():
        for u in (0.01, 0.05, 0.1, 0.5):
            share, error = np.mean(np.array(p) <= u), math.sqrt(u * (1 - u) / sets)
            assert share <= u + 3.5 * error, (side, u)
            if continuous and u >= 0.05:
                assert share >= u - 4 * error, (side, u)


def test_the_family_wise_error_of_max_t() -> None:
    rejected = 0
    for key in range(200):
        table = fm.random.Stream(key, index=12).normal((15, 8))
        table[:, 4:] += table[:, :1]  # columns that depend on each other
        p = permutation_test(
            table, adjust="max-t", n_resamples=199, rng=key, plan=fm.Plan(n_threads=1)
        )
        assert p.pvalue_adjusted is not None
        rejected += p.pvalue_adjusted.min() <= 0.05
    assert 0.005 < rejected / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_max_t_against_all_columns() -> None:
    stream = fm.random.Stream(6)
    x = stream.normal((12, 5))
    x[:, 2] += 1.5
    p = permutation_test(x, adjust="max-t", n_resamples=4000, rng=0)
    assert p.pvalue_adjusted is not None
    # The law of the largest |t| over all 4096 flips of signs.
    signs = np.array(list(product((-1, 1), repeat=12)))

    def t_of(s: Array) -> Array:
        sums = s @ x
        return np.abs(sums / np.sqrt(12)) / np.sqrt((x**2).sum(0) - sums**2 / 12)

    null, observed = t_of(signs), t_of(np.ones((1, 12)))[0]
    order = np.argsort(-observed)
    known = np.empty(5)
    least = 0.0
    for k, j in enumerate(order):
        share = (null[:, order[k:]].max(1) >= observed[j] - 1e-9).mean()
        least = max(least, share)
        known[j] = least
    np.testing.assert_allclose(p.pvalue_adjusted, known, atol=5 * 0.5 / math.sqrt(4000))
    single = [permutation_test(c).pvalue for c in x.T]
    np.testing.assert_allclose(p.pvalue, single, atol=5 * 0.5 / math.sqrt(4000))
    assert (p.pvalue_adjusted >= p.pvalue - 1e-12).all()


def test_bits_do_not_depend_on_threads(thread_counts: tuple[int, ...]) -> None:
    stream = fm.random.Stream(6)
    x = stream.normal((30, 300))
    for data, more in ((x, {"adjust": "max-t"}), (x[:, 0], {"exact": False}),
                       ((x[:10, 0], x[10:, 0]), {"exact": False})):  # fmt: skip
        one = permutation_test(data, n_resamples=300, rng=3, plan=fm.Plan(n_threads=1), **more)
        for n in thread_counts:
            other = permutation_test(
                data, n_resamples=300, rng=3, plan=fm.Plan(n_threads=n), **more
            )
            assert np.array_equal(one.null, other.null)
            assert np.array_equal(one.pvalue, other.pvalue)


def test_draws_are_pinned() -> None:
    y = np.arange(12.0)
    p = permutation_test((y[:4], y[4:]), exact=False, n_resamples=3, rng=5)
    np.testing.assert_allclose(p.null, PINNED["groups"], rtol=1e-13)
    p = permutation_test(y - 4, exact=False, n_resamples=3, rng=5)
    np.testing.assert_allclose(p.null, PINNED["signs"], rtol=1e-13)
    p = permutation_test((y, y**2), kind="pairs", exact=False, n_resamples=3, rng=5)
    np.testing.assert_allclose(p.null, PINNED["pairs"], rtol=1e-13)


PINNED = {
    "groups": [-0.375, 1.5, 2.625],
    "signs": [-0.6666666666666666, 0.3333333333333333, 1.0],
    "pairs": [0.03368983629656445, -0.19907630538878995, -0.121283410667632],
}


@pytest.mark.parametrize(
    ("x", "more"),
    [
        ([1.0], {}),
        ([1.0, 2.0], {"kind": "independent"}),
        (([1.0, 2.0], [3.0, 4.0]), {"kind": "signs"}),
        (([1.0, 2.0], [3.0, 4.0, 5.0]), {"kind": "pairs"}),
        (([1.0, 2.0], [3.0, 4.0], [5.0, 6.0]), {}),
        ([1.0, 2.0], {"alternative": "both"}),
        ([1.0, 2.0], {"statistic": "pearson"}),
        ([1.0, 2.0], {"n_resamples": 0}),
        ([1.0, 2.0], {"blocks": [1, 2, 3]}),
        ([1.0, np.nan], {}),
        ([0.0, 0.0], {"statistic": "rank"}),
        (([1.0, 1.0], [3.0, 4.0]), {"kind": "pairs"}),
        (np.ones((4, 2)), {"exact": True}),
        ([1.0, 2.0], {"statistic": lambda d: d.mean(1), "exact": True}),
        ([1.0, 2.0], {"batch": 3}),
    ],
)  # fmt: skip
def test_wrong_arguments(x: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        permutation_test(x, rng=0, **more)


def test_wrong_callables() -> None:
    for f in (lambda d: 1.0, lambda d: d, lambda d: "text", lambda d: d.mean(1) * np.nan):
        with pytest.raises(TargetError):
            permutation_test([1.0, 2.0, 3.0], f, rng=0)
