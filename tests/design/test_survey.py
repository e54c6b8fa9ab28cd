"""Samples of a population: inclusion probabilities, totals with errors, arguments."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.design import sample
from fermiac.errors import ArgumentError

METHODS: Any = ("conditional_poisson", "systematic", "poisson", "pareto", "successive", "balanced")
W = np.array([1.0, 2.0, 2.0, 3.0, 5.0, 9.0])


def by_enumeration(w: Any, n: int) -> Any:
    """The inclusion probabilities of successive draws, over all orders."""
    pi = np.zeros(len(w))
    for order in itertools.permutations(range(len(w)), n):
        left, chance = sum(w), 1.0
        for i in order:
            chance *= w[i] / left
            left -= w[i]
        pi[list(order)] += chance
    return pi


def test_reference_values() -> None:
    s = sample([1.0, 2.0, 3.0], 2, method="successive", rng=0)
    np.testing.assert_allclose(s.probabilities, [5 / 12, 11 / 15, 17 / 20], rtol=1e-9)
    for n in (1, 3, 4, 6):
        got = sample(W, n, method="successive", rng=0).probabilities
        np.testing.assert_allclose(got, by_enumeration(W, n), rtol=1e-9)


def test_probabilities_of_many_units() -> None:
    w = np.asarray(fm.random.Stream(1).exponential(200)) + 0.05
    pi = sample(w, 20, method="successive", rng=0).probabilities
    assert pi.sum() == pytest.approx(20)
    # Rosén's approximation: arrivals before the time at which 20 are expected.
    low, high = 0.0, 100.0
    for _ in range(80):
        t = 0.5 * (low + high)
        low, high = (t, high) if -np.expm1(-w * t).sum() < 20 else (low, t)
    np.testing.assert_allclose(pi, -np.expm1(-w * t), rtol=0.02)


def test_certain_units() -> None:
    s = sample(W, 4, rng=0)
    exact = sample(W, 4, method="pareto", rng=0)
    assert (exact.probabilities[4:] == 1).all()
    # 4 · 9 / 22 and 3 · 5 / 13 exceed 1; the others share 2.
    np.testing.assert_allclose(s.probabilities, [0.25, 0.5, 0.5, 0.75, 1.0, 1.0])
    assert {4, 5} <= set(s.units.tolist())
    for method in METHODS:
        assert sample(W, 6, method=method, rng=0).units.tolist() == list(range(6))


@pytest.mark.parametrize("method", METHODS)
def test_units_come_with_their_probabilities(method: Any) -> None:
    runs = 300 if method in ("successive", "pareto") else 1000
    counts = np.zeros(6)
    for seed in range(runs):
        s = sample(W, 3, method=method, rng=seed)
        assert method == "poisson" or s.units.size == 3
        counts[s.units] += 1
    pi = s.probabilities
    error = np.sqrt(pi * (1 - pi) / runs) + 1e-12
    assert (np.abs(counts / runs - pi) < 5 * error).all()
    assert pi.sum() == pytest.approx(3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["horvitz_thompson", "hajek"])
def test_totals_and_their_errors(method: Any, kind: Any) -> None:
    st = fm.random.Stream(5)
    size = 0.3 + st.exponential(60)
    y = (2 * size if kind == "horvitz_thompson" else 5.0) + st.normal(60)
    pulls, errors = [], []
    runs = 100
    for seed in range(runs):
        s = sample(size, 15, method=method, rng=seed)
        t = s.total(y[s.units], kind)
        errors.append(t.value - y.sum())
        pulls.append(errors[-1] / t.stderr)
    spread = np.std(errors)
    assert abs(np.mean(errors)) < 5 * spread / np.sqrt(runs) + (
        0.1 * spread if kind == "hajek" else 0
    )
    assert 0.87 <= np.mean(np.abs(pulls) < 2) <= 1.0


def test_probabilities_of_pareto_samples() -> None:
    # Two units of three with odds a, b, c: unit 1 is left out if its rank is the largest.
    w = np.array([1.0, 2.0, 2.5])
    pi = 2 * w / w.sum()
    odds = pi / (1 - pi)
    t = np.geomspace(1e-9, 1e9, 200_001)
    got = sample(w, 2, method="pareto", rng=0).probabilities
    for i in range(3):
        others = np.prod([t * odds[j] / (1 + t * odds[j]) for j in range(3) if j != i], axis=0)
        density = odds[i] / (1 + t * odds[i]) ** 2
        assert got[i] == pytest.approx(1 - np.trapezoid(density * others * t, np.log(t)), abs=1e-8)
    size = 0.3 + np.asarray(fm.random.Stream(2).exponential(300))
    many = sample(size, 60, method="pareto", rng=0).probabilities
    assert many.sum() == pytest.approx(60)
    np.testing.assert_allclose(many, sample(size, 60, rng=0).probabilities, rtol=0.02)


def test_balanced_samples() -> None:
    stream = fm.random.Stream(7)
    size = 0.5 + stream.exponential(300)
    x = np.column_stack([stream.normal(300), stream.exponential(300), size**2])
    errors: dict[Any, Any] = {"balanced": [], "systematic": []}
    for seed in range(40):
        for method, found in errors.items():
            more = {"balance": x} if method == "balanced" else {}
            s = sample(size, 60, method=method, rng=seed, **more)
            assert s.units.size == 60
            found.append((x[s.units] / s.probabilities[s.units, None]).sum(0) - x.sum(0))
    ratio = np.std(errors["balanced"], axis=0) / np.std(errors["systematic"], axis=0)
    assert (ratio < 0.5).all()
    # A variable of the strata fixes the number of units of each, if these are whole numbers.
    group = np.repeat([0.0, 1.0], [20, 40])
    for seed in range(20):
        s = sample(np.ones(60), 15, method="balanced", balance=group, rng=seed)
        assert group[s.units].sum() == 10
    # Values that the variables explain have no error.
    t = s.total(3 + 2 * group[s.units])
    assert t.value == pytest.approx(3 * 60 + 2 * 40)
    assert t.stderr == pytest.approx(0, abs=1e-9)


def test_the_errors_of_balanced_samples() -> None:
    stream = fm.random.Stream(8)
    size = 0.5 + stream.exponential(200)
    x = stream.normal((200, 2))
    y = 2 * size + x @ [3.0, -2.0] + stream.normal(200)
    pulls, errors = [], []
    for seed in range(200):
        s = sample(size, 50, method="balanced", balance=x, rng=seed)
        t = s.total(y[s.units])
        errors.append(t.value - y.sum())
        pulls.append(errors[-1] / t.stderr)
    assert abs(np.mean(errors)) < 5 * np.std(errors) / np.sqrt(200)
    assert 0.87 <= np.mean(np.abs(pulls) < 2) <= 1.0


def test_proportional_values_have_no_error() -> None:
    for method in ("conditional_poisson", "systematic", "balanced"):
        s = sample(W, 3, method=method, rng=1)  # type: ignore[arg-type]
        with pytest.warns(fm.errors.ConvergenceWarning, match="values of y / π are equal"):
            t = s.total(7 * s.probabilities[s.units])
        assert t.value == pytest.approx(21)
        assert t.stderr == pytest.approx(0, abs=1e-9)
    # A large unit was not drawn.
    s = sample(np.ones(1000), 50, rng=1)
    y = np.ones(1000)
    y[np.setdiff1d(np.arange(1000), s.units)[0]] = 1e6
    with pytest.warns(fm.errors.ConvergenceWarning, match=r"all 50 values .* up to 5\.8 %"):
        assert s.total(y[s.units]).value == pytest.approx(1000)
    whole = sample(W, 6, rng=0)
    assert whole.total(W) == (W.sum(), 0.0)
    one = sample(W, 1, rng=0)
    assert np.isinf(one.total([3.0]).stderr)


def test_pairs_of_conditional_poisson_samples() -> None:
    """Joint probabilities are those of the Poisson sample given its size."""
    w = W[:4]
    pi = sample(w, 2, rng=0).probabilities
    from fermiac.design.survey import _working

    p = _working(pi, 2)
    odds = p / (1 - p)
    pairs = list(itertools.combinations(range(4), 2))
    known = np.array([odds[i] * odds[j] for i, j in pairs])
    known /= known.sum()
    counts = dict.fromkeys(pairs, 0)
    for seed in range(1000):
        counts[tuple(sample(w, 2, rng=seed).units.tolist())] += 1  # type: ignore[index]
    got = np.array(list(counts.values())) / 1000
    assert (np.abs(got - known) < 5 * np.sqrt(known * (1 - known) / 1000)).all()
    sums = [sum(k for k, pair in zip(known, pairs, strict=True) if i in pair) for i in range(4)]
    np.testing.assert_allclose(sums, pi, rtol=1e-9)


def test_the_seed_files_and_limits(tmp_path: Path) -> None:
    s = sample(W, 3, rng=4)
    assert s.units.tolist() == sample(W, 3, rng=4).units.tolist() == [0, 2, 5]
    s.save(tmp_path / "s.safetensors")
    loaded = fm.load(tmp_path / "s.safetensors")
    assert isinstance(loaded, fm.design.SurveySample)
    assert loaded.to_dict() == s.to_dict()
    b = sample(W, 3, method="balanced", balance=W**2, rng=4)
    b.save(tmp_path / "b.safetensors")
    assert fm.load(tmp_path / "b.safetensors").to_dict() == b.to_dict()
    for method in ("successive", "pareto"):
        with pytest.raises(ArgumentError, match="systematic"):
            sample(np.ones(6000), 10, method=method, rng=0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="systematic"):
        sample(np.ones(10**6), 1000, rng=0)
    assert sample(np.ones(10**6), 1000, method="systematic", rng=0).units.size == 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": [1.0, 0.0]}, "weights"),
        ({"weights": [[1.0]]}, "weights"),
        ({"weights": []}, "weights"),
        ({"n": 7}, "n"),
        ({"n": 0}, "n"),
        ({"method": "cube"}, "method"),
        ({"balance": W}, "balance"),
        ({"balance": W[:3], "method": "balanced"}, "balance"),
        ({"balance": W * np.inf, "method": "balanced"}, "balance"),
        ({"balance": np.ones((6, 3)), "method": "balanced"}, "q < 3"),
        ({"rng": -1}, "rng"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sample(**{"weights": W, "n": 3, "rng": 0, **arguments})
    s = sample(W, 3, rng=0)
    for y, kind in [([1.0], "hajek"), ([1.0, np.nan, 2.0], "hajek"), ([1.0, 2.0, 3.0], "ratio")]:
        with pytest.raises(ArgumentError):
            s.total(y, kind)  # type: ignore[arg-type]
