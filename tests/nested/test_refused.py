"""What nested sampling refuses, and what it warns of: each with what was given and is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from forms import DIM, formula, native_density, native_moments
from nested_runs import PRIOR, run
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning, TargetError
from fermiac.nested.checks import findings

Array = NDArray[np.float64]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"n_live": 9}, r"n_live: 9 was given; 10 or more are needed in 3 dimensions: 2 d \+ 2"),
        ({"n_live": 0}, "n_live: 0"),
        ({"n_live": 50.5}, r"n_live: a float, 50\.5"),
        ({"n_live": "many"}, "n_live: a str, 'many'"),
        ({"batch": 31}, "batch: 31 was given; from 1 to half of n_live = 60 points"),
        ({"batch": 0}, "batch: 0"),
        ({"batch": True}, "batch: the bool True"),
        ({"sampler": "hmc"}, "sampler: 'hmc' was given; one of 'auto', 'unif'"),
        ({"sampler": fm.nested.Slice}, "sampler: .* was given"),
        ({"bound": "ball"}, "bound: 'ball'.*'multi'"),
        ({"nan": "ignore"}, "nan: 'ignore'.*'raise'"),
        ({"dlogz": 0.0}, r"dlogz: 0\.0"),
        ({"dlogz": float("nan")}, "dlogz: nan"),
        ({"likelihood_tol": -1.0}, r"likelihood_tol: -1\.0"),
        ({"likelihood_tol": "x"}, "likelihood_tol: 'x'"),
        ({"likelihood_tol": float("inf")}, "likelihood_tol: inf"),
        ({"max_evals": 0}, "max_evals: 0"),
        ({"max_iter": -1}, "max_iter: -1"),
        ({"max_time": 0}, "max_time: 0"),
        ({"max_time": float("inf")}, "max_time: inf"),
        ({"max_init_blocks": 0}, "max_init_blocks: 0"),
        ({"periodic": [3]}, "periodic: 3 given; numbers of axes from 0 to 2, their names, or 3"),
        ({"periodic": ["x"]}, "periodic: 'x' given"),
        ({"periodic": [True, False]}, "periodic: True given"),
        ({"periodic": [0.5]}, r"periodic: 0\.5 given"),
        ({"periodic": 3}, "periodic: 3 given"),
        ({"periodic": True}, "periodic: True given"),
        ({"periodic": [[0, 1]]}, r"periodic: \[0, 1\] given"),
        ({"reflective": [-4]}, "reflective: -4 given"),
        ({"periodic": [1], "reflective": [-2]}, "periodic, reflective: axis 1 is in both"),
        ({"names": ["a", "b"]}, r"names: \['a', 'b'\] given; a sequence of 3 different names"),
        ({"names": ["a", "b", "a"]}, "names: .* 3 different names"),
        ({"names": "abc"}, "names: 'abc' given"),
        ({"blobs": -1}, "blobs: -1"),
        ({"blobs": ["a", "a"]}, "blobs: .* different names"),
        ({"blobs": 1.5}, r"blobs: 1\.5 given; how many numbers"),
        ({"blobs": 1, "f": native_density}, "blobs: 1 given, and a native function of 3 coord"),
        ({"blobs": 2, "f": native_moments}, "blobs: 2 given.*gives 2 numbers.*give 3"),
        ({"blobs": 1, "f": lambda: fm.distributions.Normal([0.0] * 3)}, "blobs: given with Normal"),
        ({"n_threads": 0}, "n_threads: 0"),
        ({"rng": -1}, "rng"),
        ({"dim": 4}, "dim: 4 given for a prior of dimension 3"),
        ({"dim": 0}, "dim: 0"),
        ({"prior": []}, "prior: no law was given"),
        ({"prior": 3.0}, "prior: float given; a function from the unit cube"),
        ({"prior": "uniform"}, "prior: str given"),
        ({"prior": lambda u: u}, "dim: not given; a prior that is a function does not tell"),
        ({"prior": fm.distributions.Mixture([0.5, 0.5], [PRIOR, PRIOR])}, "unit cube"),
        ({"prior": stats.norm(0.0, 1.0), "f": native_density}, "3"),
        ({"f": lambda: fm.distributions.Normal([0.0] * 2)}, "2"),
        ({"f": lambda: 3.0}, "float"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_arguments(how: dict[str, Any], message: str) -> None:
    given = {k: v() if k == "f" else v for k, v in how.items()}
    with pytest.raises(ArgumentError, match=message):
        run(**given)


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
        ({"f": lambda x: np.where(x[:, 0] > 0, np.nan, 0)}, 'NaN at theta = .*pass nan="-inf"'),
        ({"f": lambda x: np.where(x[:, 0] > 0, np.inf, 0)}, "inf at theta = .*must be finite or"),
        ({"f": lambda x: np.full(len(x), np.inf), "nan": "-inf"}, "inf at theta = "),
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

    with pytest.warns(FermiacWarning, match=r"NaN at \d+ points, which were taken for") as caught:
        r = run(values, nan="-inf", sampler=sampler)
    assert f"NaN at {n_nan} points" in str(caught[0].message)
    expected = run(lambda x: np.where(x[:, 0] < 0, -np.inf, formula(x)), sampler=sampler)
    np.testing.assert_array_equal(r.draws, expected.draws)
    assert r.log_evidence == expected.log_evidence
    assert r.n_evals == expected.n_evals
    # A run above the level of NaN meets them too.
    with pytest.raises(TargetError, match="NaN"):
        run(values, sampler=sampler)


def test_numbers_that_stand_for_impossible() -> None:
    def values(x: Array) -> Array:
        return np.where(x[:, 0] < 0, -1e300, formula(x))

    with pytest.warns(FermiacWarning, match=r"below -1e200 at \d+ points.*give -inf instead"):
        r = run(values, sampler="unif")
    # A plateau like any other: its points die at first, and the run goes on.
    expected = run(lambda x: np.where(x[:, 0] < 0, -np.inf, formula(x)), n_live=200)
    assert r.status == "complete"
    error = np.hypot(r.log_evidence_stderr, expected.log_evidence_stderr)
    assert abs(r.log_evidence - expected.log_evidence) < 5 * error


def test_options_of_samplers() -> None:
    for make, message in [
        (lambda: fm.nested.Uniform(bootstrap=-1), "bootstrap: -1"),
        (lambda: fm.nested.Uniform(enlarge=0.9), r"enlarge: 0\.9 given.*from 1 up"),
        (lambda: fm.nested.Uniform(enlarge="much"), "enlarge: 'much'"),  # type: ignore[arg-type]
        (lambda: fm.nested.Slice(n_slices=0), "n_slices: 0"),
        (lambda: fm.nested.Slice(direction="up"), "direction: 'up'.*'mixture'"),
        (lambda: fm.nested.Slice(step_out=1), "step_out: 1"),  # type: ignore[arg-type]
        (lambda: fm.nested.RandomWalk(n_steps=0), "n_steps: 0"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            make()


def test_ways_to_name_axes() -> None:
    names = ["a", "b", "c"]
    for given in ("b", 1, -2, [1], ["b"], [np.int64(1), "b"], {1}, (False, True, False), iter([1])):
        r = run(periodic=given, names=names, sampler="unif")
        assert r.settings["periodic"] == [1]
    flags = np.array([True, False, True])
    assert run(reflective=flags, sampler="unif").settings["reflective"] == [0, 2]


@pytest.mark.filterwarnings("ignore:chains ")
def test_a_bound_that_hardly_bounds() -> None:
    """It is told of, but not where it was left for chains."""
    for sampler, told in (("unif", 1), ("slice", 0)):
        r = run(sampler=sampler)
        state = {"radius_scale": 4.25, "n_coded": 0, "n_nan": 0}
        found = [text for _, text in findings(r, state, None) if "the bound had to be" in text]
        assert len(found) == told
        assert all("4.2 times as wide" in text and "raise n_live" in text for text in found)


def test_warnings_that_are_errors_cost_nothing() -> None:
    with pytest.raises(ConvergenceWarning, match="max_evals") as caught:
        run(max_evals=100)
    assert caught.value.partial_result.status == "stopped"  # type: ignore[attr-defined]
