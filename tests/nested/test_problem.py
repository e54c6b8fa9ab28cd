"""Tests of priors and likelihoods: valid return values, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from forms import DIM, formula
from nested_runs import run
from numpy.typing import NDArray
from scipy import integrate, special, stats

import fermiac as fm
from fermiac.errors import FermiacWarning, TargetError

Array = NDArray[np.float64]


def nothing(x: Array) -> Array:
    return np.full(len(x), -np.inf)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"f": lambda x: float(x[0, 0])}, r"float|shape \(\)"),
        ({"f": lambda x: formula(x[:1])}, r"shape \(1,\).*\(60,\)"),
        ({"f": lambda x: -(x**2)}, r"shape \(60, 3\)"),
        ({"f": lambda x: formula(x) + 1j}, "complex"),
        ({"f": lambda x: ["a"] * len(x)}, "array of type <U1; it must hold numbers"),
        ({"f": lambda x: (formula(x), x)}, "gave a pair"),
        ({"f": lambda x: None}, "gave None; it must return its values"),
        ({"f": nothing, "max_init_blocks": 7}, "0 of 420 draws from the prior.*60 are needed"),
        (
            {"f": lambda x: np.where(x[:, 0] > 9.8, 0.0, -np.inf), "max_init_blocks": 3},
            r"\d of 180 draws from the prior have a likelihood above 0, and 60 are needed",
        ),
        (
            {"f": formula, "blobs": 2},
            "gave ndarray where blobs were asked for; it must give a pair",
        ),
        (
            {"f": lambda x: (formula(x), x), "blobs": 2},
            r"shapes \(60,\) and \(60, 3\); .*\(60, 2\)",
        ),
        ({"f": lambda x: (formula(x[1:]), x), "blobs": 3}, r"shapes \(59,\) and \(60, 3\)"),
        ({"prior": lambda u: u[:, :2]}, r"prior gave an array of shape \(60, 2\).*\(60, 3\)"),
        ({"prior": lambda u: u[0]}, r"prior gave an array of shape \(3,\).*vectorize"),
        ({"prior": lambda u: "nothing"}, "the prior gave str; an array of numbers"),
        ({"prior": lambda u: np.where(u > 0.5, np.nan, u)}, "the prior gave NaN at u = "),
        ({"f": lambda x: np.where(x[:, 0] > 0, np.nan, 0)}, 'NaN at theta = .*pass on_nan="-inf"'),
        ({"f": lambda x: np.where(x[:, 0] > 0, np.inf, 0)}, "inf at theta = .*must be finite or"),
        ({"f": lambda x: np.full(len(x), np.inf), "on_nan": "-inf"}, "inf at theta = "),
    ],
    ids=range(19),
)
@pytest.mark.parametrize("sampler", ["unif", "slice"])
def test_targets(how: dict[str, Any], message: str, sampler: str) -> None:
    with pytest.raises(TargetError, match=message):
        run(**{"dim": DIM, "sampler": sampler, **how})


def test_a_function_of_one_point_is_told_how_to_be_one_of_many() -> None:
    def one(x: Array) -> float:
        assert x.shape == (DIM,), f"{x.shape} is not one point"
        return -0.5 * float(x @ x)

    with pytest.raises(AssertionError, match="is not one point"):
        run(one)
    with pytest.raises(TargetError, match=r"is not one point.*vectorize") as caught:
        run(one, check=True)
    assert isinstance(caught.value.__cause__, AssertionError)
    assert run(fm.targets.vectorize(one)).converged
    # The usual mistake: a formula of x[0], x[1], ..., which takes rows for coordinates.
    with pytest.raises(TargetError, match="vectorize"):
        run(lambda x: -0.5 * (x[0] ** 2 + x[1] ** 2 + x[2] ** 2))


@pytest.mark.parametrize("sampler", ["unif", "slice", "rwalk"])
def test_nan_as_impossible(sampler: str) -> None:
    """Points that are let pass are counted, and the run is that of -inf in their place."""
    n_nan = 0

    def values(x: Array) -> Array:
        nonlocal n_nan
        wrong = x[:, 0] < 0
        n_nan += int(wrong.sum())
        return np.where(wrong, np.nan, formula(x))

    with pytest.warns(FermiacWarning, match=r"NaN at \d+ points, which counted as") as caught:
        r = run(values, on_nan="-inf", sampler=sampler)
    assert f"NaN at {n_nan} points" in str(caught[0].message)
    expected = run(lambda x: np.where(x[:, 0] < 0, -np.inf, formula(x)), sampler=sampler)
    np.testing.assert_array_equal(r.draws, expected.draws)
    assert r.log_evidence == expected.log_evidence
    assert r.n_evals == expected.n_evals
    # A run above the level of NaN meets them too.
    with pytest.raises(TargetError, match="NaN"):
        run(values, sampler=sampler)


def test_priors_of_scipy() -> None:
    frozen = [stats.norm(0.5, 1.0), stats.gamma(3.0), stats.uniform(-2.0, 4.0)]
    given = run(prior=frozen, n_live=100, dlogz=0.1)
    # Their ppf, and each coordinate after the one before.
    u = given.unit_draws
    assert u is not None
    expected = np.column_stack([law.ppf(u[:, j]) for j, law in enumerate(frozen)])
    np.testing.assert_allclose(given.draws, expected, rtol=1e-12)

    def hierarchical(u: Array) -> Array:
        scale = 0.5 + u[:, :1]
        return np.column_stack([scale, scale * special.ndtri(u[:, 1:])])

    runs = [
        fm.nested.sample(lambda x: x[:, 1] - 0.5, hierarchical, 3, rng=seed, n_live=100)
        for seed in range(10)
    ]
    # E[exp(s z)] over z normal and s uniform on [0.5, 1.5].
    exact = np.log(integrate.quad(lambda s: np.exp(0.5 * s * s), 0.5, 1.5)[0]) - 0.5
    z = np.array([(r.log_evidence - exact) / r.log_evidence_stderr for r in runs])
    assert abs(z.mean()) < 1.2
    assert np.abs(z).max() < 5
