"""Named parameters: shapes from names, and the places of variables in a point."""

import numpy as np
import pytest

from fermiac._base.variables import Variables
from fermiac.errors import ArgumentError

SHAPES = {"mu": (), "theta": (3,), "m": (2, 2)}
NAMES = ("mu", "theta[0]", "theta[1]", "theta[2]", "m[0, 0]", "m[0, 1]", "m[1, 0]", "m[1, 1]")


def test_names_and_shapes_tell_each_other():
    assert Variables(SHAPES).names == NAMES
    assert Variables.of_names(NAMES).shapes == SHAPES
    assert Variables.of_names([n.replace(", ", ",") for n in NAMES]).shapes == SHAPES
    assert Variables(SHAPES).dim == 8


@pytest.mark.parametrize(
    "names",
    [
        ["x[1]", "x[2]"],
        ["x[0]", "x[2]"],
        ["x[1]", "x[0]"],
        ["x", "x[0]"],
        ["x[0]", "y", "x[1]"],
        ["m[0, 0]", "m[0, 1]", "m[1, 0]"],
        ["x[0]", "x[0, 0]"],
    ],
)
def test_incomplete_arrays_stay_scalars(names):
    found = Variables.of_names(names)
    assert found.names == tuple(names)
    assert set(found.shapes.values()) == {()}


def test_split_and_join_are_inverse():
    x = np.arange(48.0).reshape(2, 3, 8)
    parts = Variables(SHAPES).split(x)
    assert {name: a.shape for name, a in parts.items()} == {
        "mu": (2, 3),
        "theta": (2, 3, 3),
        "m": (2, 3, 2, 2),
    }
    np.testing.assert_array_equal(Variables(SHAPES).join(parts), x)
    np.testing.assert_array_equal(
        Variables(SHAPES).join({"mu": 1, "theta": [1, 2, 3], "m": np.ones((5, 2, 2))})[4],
        [1, 1, 2, 3, 1, 1, 1, 1],
    )


def test_one_coordinate_and_unknown_names():
    x = np.arange(8.0)
    assert Variables(SHAPES).pick(x, "m[1,0]") == 6.0
    assert Variables(SHAPES).columns("theta") == [1, 2, 3]
    with pytest.raises(KeyError, match="did you mean 'theta'"):
        Variables(SHAPES).pick(x, "thetta")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mu": 0, "theta": [0, 0, 0]}, "'m' is missing"),
        ({"mu": 0, "theta": [0, 0, 0], "m": np.eye(2), "nu": 1}, "no parameter 'nu'"),
        ({"mu": 0, "theta": [0, 0], "m": np.eye(2)}, "last axes must be"),
        ({"mu": [0, 0, 0], "theta": np.ones((2, 3)), "m": np.eye(2)}, "do not broadcast"),
    ],
)
def test_values_that_do_not_fit(values, message):
    with pytest.raises(ArgumentError, match=message):
        Variables(SHAPES).join(values, "init")
