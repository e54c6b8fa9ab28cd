"""Tests of the arguments of `sample` and their error messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from forms import native_density, native_moments
from nested_runs import PRIOR, run
from numpy.typing import NDArray
from plans import planned
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError

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
        ({"sampler": "hmc"}, "sampler: 'hmc' was given; an object such as .*'auto', 'unif'"),
        ({"sampler": fm.nested.Slice}, "sampler: .* was given"),
        ({"bound": "ball"}, "bound: 'ball'.*'multi'"),
        ({"on_nan": "ignore"}, "on_nan: 'ignore'.*'raise'"),
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
        run(**planned(**given))


def test_ways_to_name_axes() -> None:
    names = ["a", "b", "c"]
    for given in ("b", 1, -2, [1], ["b"], [np.int64(1), "b"], {1}, (False, True, False), iter([1])):
        r = run(periodic=given, names=names, sampler="unif")
        assert r.settings["periodic"] == [1]
    flags = np.array([True, False, True])
    assert run(reflective=flags, sampler="unif").settings["reflective"] == [0, 2]
