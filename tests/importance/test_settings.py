"""Arguments of `importance.expect` and `evidence`: what is refused, and the message."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from evidence_targets import (
    run_evidence,
    small,
    wide,
)
from numpy.typing import NDArray
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError

Array = NDArray[np.float64]


LAW = fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2))


def f(x: Array) -> Array:
    return x[:, 0] ** 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n: 0 was given; a whole number from 1"),
        ({"n": -5}, "n: -5 was given"),
        ({"n": 1e4}, "n: a float"),
        ({"n": True}, "n: the bool"),
        ({"n": 59}, "n: 59 given; 2 dimensions need at least 20"),
        ({"weights": [-1.0]}, "weight 0 is -1"),
        ({"weights": [0.0]}, "all are 0"),
        ({"weights": [1.0, 2.0]}, "2 given for 1 expectations"),
        ({"weights": [np.nan]}, "weight 0 is NaN"),
        ({"weights": "large"}, "'relative', 'absolute' or an array"),
        ({"weights": ["a"]}, "weights: text was given"),
        ({"weights": [[1.0]]}, "it must be"),
        (
            {"method": "magic"},
            "method: 'magic' was given; did you mean 'aiscv'? one of the names 'aiscv', 'paper'",
        ),
        ({"controls": "al"}, "controls: 'al' was given; did you mean 'all'? one of 'own'"),
        ({"controls": "some"}, "controls"),
        ({"family": "cauchy"}, "family"),
        ({"covariance": "none"}, "covariance"),
        ({"on_nan": "drop"}, "on_nan"),
        ({"family": "t", "df": 0.0}, "df: 0 given; it must be a finite number, 0.1 at least"),
        ({"df": "many"}, "df"),
        ({"n_stages": 0}, "n_stages"),
        ({"n_stages": 2.5}, "n_stages"),
        ({"adapt_fraction": 1.0}, "adapt_fraction: 1 given; it must be from 0.01 to 0.9"),
        ({"defensive": -0.1}, "defensive"),
        ({"defensive_base": np.nan}, "defensive_base"),
        ({"method": "mc", "defensive": 0.1}, "given with method='mc'"),
        ({"names": ["a", "b"]}, "names: 2 given for 1"),
        ({"names": "a"}, "different names"),
        ({"names": ["a", "a"]}, "different names"),
        ({"n": 2**70}, "n: 1180591620717411303424 was given"),
        ({"n_stages": -3}, "n_stages: -3 was given"),
        ({"rng": -1}, "rng"),
        ({"rng": "seed"}, "rng"),
        ({"n_threads": 0}, "n_threads"),
        ({"n_threads": 10_000}, "n_threads"),
        ({"progress": "yes"}, "progress"),
    ],
    ids=lambda x: "-".join(f"{k}={v}" for k, v in x.items()) if isinstance(x, dict) else "",
)
def test_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message.replace("(", r"\(").replace("?", r"\?")):
        fm.importance.expect(f, LAW, **planned(**{"n": 1_000, "rng": 0, **arguments}))


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ([], "an empty sequence"),
        (3.0, "law"),
        ([fm.distributions.Normal(), LAW], r"dimensions \[1, 2\]"),
        ([LAW, "normal"], r"law\[1\]"),
    ],
)
def test_laws(law: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fm.importance.expect(f, law, n=1_000, rng=0)


def test_a_law_without_its_dimension() -> None:
    class Lost(fm.distributions.Law):
        pass

    with pytest.raises(ArgumentError, match="Lost has no dim"):
        fm.importance.expect(f, Lost(), n=1_000, rng=0)


def test_names_are_checked_before_the_budget_is_spent() -> None:
    seen: list[int] = []

    def g(x: Array) -> Array:
        seen.append(len(x))
        return x

    with pytest.raises(ArgumentError, match="names: 3 given for 2 expectations"):
        fm.importance.expect(g, LAW, n=100_000, rng=0, names=["a", "b", "c"])
    assert seen[:3] == [2, 1, 1]  # the comparison of rows
    assert len(seen) == 4


def test_a_complex_integrand_takes_no_array_of_weights() -> None:
    with pytest.raises(ArgumentError, match="weights: an array given with a complex f"):
        fm.importance.expect(lambda x: f(x) + 0j, LAW, n=1_000, rng=0, weights=[1.0])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"n": 50}, "n:"),
        ({"scheme": "mc"}, "scheme"),
        ({"family": "cauchy"}, "family"),
        ({"n_stages": 0}, "n_stages"),
        ({"n_components": 0}, "n_components"),
        ({"n_components": 1.5}, "n_components"),
        ({"df": 2.0}, "df"),
        ({"df": "many"}, "df"),
        ({"defensive": 1.0}, "defensive"),
        ({"defensive": -0.1}, "defensive"),
        ({"names": ["a"]}, "names"),
        ({"names": ["a", "a", "b"]}, "names"),
        ({"rng": -1}, "rng"),
        ({"progress": 3}, "progress"),
    ],
)
def test_bad_arguments(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(fm.errors.ArgumentError, match=match):
        run_evidence(small(), **planned(**settings))


def test_bad_laws_and_targets() -> None:
    with pytest.raises(fm.errors.ArgumentError, match="law"):
        fm.importance.evidence(small().log_density, "normal")
    with pytest.raises(fm.errors.ArgumentError):
        fm.importance.evidence(3.0, wide(2, 1.0))
    with pytest.raises(fm.errors.ArgumentError):
        fm.importance.evidence(wide(3, 1.0), wide(2, 1.0))


def test_laws_of_the_coordinates_are_no_list_of_laws() -> None:
    laws = [fm.distributions.Normal(), fm.distributions.Gamma(2.0)]

    def product(x: Array) -> Array:
        return np.asarray(x[:, 0] * x[:, 1])

    with pytest.raises(ArgumentError, match=r"2 laws of 1 coordinate .*Product\(\[") as caught:
        fm.importance.expect(product, laws, n=1_000, rng=0)
    assert isinstance(caught.value.__cause__, IndexError)
    e = fm.importance.expect(product, fm.distributions.Product(laws), n=1_000, rng=0)
    assert e.n_evals == 1_000
    with pytest.raises(ArgumentError, match=r"dimensions \[1, 2\].*Product"):
        fm.importance.expect(product, [laws[0], fm.distributions.Normal([0.0, 0.0])], n=1000)

    # A function that fails on points of any width passes its exception on.
    def broken(x: Array) -> Array:
        raise IndexError("its own")

    with pytest.raises(IndexError, match="its own"):
        fm.importance.expect(broken, laws, n=1_000, rng=0)


@pytest.mark.parametrize("names", [itertools.count(), 3, "ab", ["a", "a"], True])
def test_names_that_are_none(names: Any) -> None:
    with pytest.raises(ArgumentError, match=r"names: .* different names"):
        fm.importance.expect(lambda x: x, LAW, n=1_000, rng=0, names=names)
