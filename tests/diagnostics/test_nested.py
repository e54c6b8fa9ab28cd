"""Nested R-hat: its definition, its ends, and the judgement of superchains by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import fermiac as fm
from fermiac.diagnostics import nested_rhat
from fermiac.diagnostics.nested import superchain_rhat
from fermiac.errors import ArgumentError


def by_definition(x: Any, k: int) -> float:
    groups = x.reshape(k, len(x) // k, -1)
    means = groups.mean(axis=2)
    between = means.mean(axis=1).var(ddof=1)
    among = means.var(axis=1, ddof=1) if means.shape[1] > 1 else 0.0
    within = groups.var(axis=2, ddof=1).mean(axis=1) if groups.shape[2] > 1 else 0.0
    return float(np.sqrt(1 + between / np.mean(among + within)))


def scores(x: Any) -> Any:
    ranks = stats.rankdata(x).reshape(x.shape)
    return stats.norm.ppf((ranks - 0.375) / (x.size + 0.25))


@pytest.mark.parametrize("shape", [(12, 5), (12, 1), (6, 7)])
def test_it_is_that_of_the_definition(shape: tuple[int, int]) -> None:
    x = np.round(fm.random.Stream(1).normal(shape), 1)  # with equal values
    x[:2] += 1
    k = 6
    assert nested_rhat(x, k, method="unsplit") == pytest.approx(by_definition(x, k), rel=1e-12)
    bulk, folded = by_definition(scores(x), k), by_definition(scores(abs(x - np.median(x))), k)
    assert nested_rhat(x, k, method="folded") == pytest.approx(folded, rel=1e-10)
    assert nested_rhat(x, k) == pytest.approx(max(bulk, folded), rel=1e-10)
    many = np.stack([x, x**2, -x], axis=2)
    found = nested_rhat(many, k)
    assert found.shape == (3,)
    assert found[0] == nested_rhat(x, k)
    assert nested_rhat(many.reshape(*shape, 3, 1), k).shape == (3, 1)


def test_its_ends() -> None:
    assert nested_rhat(np.full((8, 5), 0.1), 4) == 1.0
    assert nested_rhat(np.repeat(np.arange(4.0), 2)[:, None] * np.ones(5), 4) == np.inf
    big = fm.random.Stream(2).normal((8, 5))
    plain = nested_rhat(big, 4, method="unsplit")
    assert nested_rhat(1e300 * big, 4, method="unsplit") == pytest.approx(plain)


@pytest.mark.parametrize(
    ("x", "k", "more", "message"),
    [
        (np.zeros(8), 2, {}, "chains, draws"),
        (np.zeros((8, 0)), 2, {}, "with a draw at least"),
        (np.zeros((8, 5)), 3, {}, "a divisor"),
        (np.zeros((8, 5)), 1, {}, "n_superchains"),
        (np.zeros((8, 5)), 2.5, {}, "n_superchains"),
        (np.full((8, 5), np.nan), 2, {}, "finite"),
        (np.zeros((8, 5)), 2, {"method": "split"}, "method"),
    ],
)
def test_arguments_are_checked(x: Any, k: Any, more: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        nested_rhat(x, k, **more)


def test_differences_by_chance_are_no_finding() -> None:
    # With few draws nested R-hat is above 1.01 by chance, in nearly all of these columns.
    x = fm.random.Stream(3).normal((64, 3, 1000))
    plain = nested_rhat(x, 16)
    judged = superchain_rhat(x, 16, 0.01)
    assert (plain > 1.01).mean() > 0.9
    wrong = judged > 1.01
    assert wrong.mean() < 0.04  # of two figures each
    assert (judged[wrong] == plain[wrong]).all()
    x[:4] += 3.0
    assert (superchain_rhat(x, 16, 0.01) > 1.01).mean() > 0.9
