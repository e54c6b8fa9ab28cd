"""Labels of the axes of variables: their checks, and their way through the methods of a sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError

NAMES = ["mu", "theta[0]", "theta[1]", "theta[2]"]
COORDS = {"school": ["a", "b", "c"], "pupil": np.arange(5)}


def labelled(seed: int = 0, flat: bool = False) -> fm.Sample:
    x = fm.random.Stream(seed).normal((200, 4) if flat else (4, 500, 4))
    likelihood = {"y": x[..., :1] * np.arange(5.0) - 10}
    return fm.Sample.from_arrays(
        x,
        np.zeros(200) if flat else None,
        names=NAMES,
        coords=COORDS,
        dims={"theta": ["school"], "y": "pupil"},
        log_likelihood=likelihood,
        observed_data={"y": [1, 2, 3, 4, 5]},
        seed=seed,
    )


def test_labels_are_plain_and_saved(tmp_path: Path) -> None:
    s = labelled()
    assert s.coords == {"school": ("a", "b", "c"), "pupil": (0, 1, 2, 3, 4)}
    assert s.dims == {"theta": ("school",), "y": ("pupil",)}
    assert {type(label) for label in s.coords["pupil"]} == {int}
    s.save(tmp_path / "s.safetensors")
    t = fm.Sample.load(tmp_path / "s.safetensors")
    assert (t.coords, t.dims) == (s.coords, s.dims)
    np.testing.assert_array_equal(t.log_likelihood["y"], s.log_likelihood["y"])
    np.testing.assert_array_equal(t.observed_data["y"], [1, 2, 3, 4, 5])
    dates = replace(s, coords={"school": np.array(["2020-01-01"] * 3, "datetime64[D]")})
    assert dates.coords["school"][0] == "2020-01-01"


def test_labels_go_through_every_method() -> None:
    chains, flat, other = labelled(), labelled(flat=True), labelled(1)
    law = fm.distributions.MultivariateNormal(np.zeros(4), np.eye(4))
    made = [
        chains[10:],
        chains[[0, 2], ::2],
        flat[5:],
        flat.resample(50, rng=0),
        flat.reweight(law, old=law),
        chains.merge(other),
        flat.select_law(0),
    ]
    for s in made:
        assert (s.coords, s.dims) == (chains.coords, chains.dims)
        assert s.log_likelihood["y"].shape == (*s.draws.shape[:-1], 5)
        np.testing.assert_allclose(
            s.log_likelihood["y"], s.draws[..., :1] * np.arange(5.0) - 10, rtol=1e-15
        )
        np.testing.assert_array_equal(s.observed_data["y"], [1, 2, 3, 4, 5])
    with pytest.raises(ArgumentError, match="merge: the labels of axes of sample 1"):
        chains.merge(replace(other, coords={"school": ["x", "y", "z"]}))


def test_longer_runs_keep_labels() -> None:
    law = fm.distributions.Normal([0.0, 1.0])
    s = fm.mcmc.sample(law, kernel=fm.mcmc.MALA(), n_draws=1500, rng=0)
    labels = {"coords": {"i": (5, 6)}, "dims": {"x": ("i",)}}
    for name, value in labels.items():
        object.__setattr__(s, name, value)
    assert fm.mcmc.extend(s, 500).dims == {"x": ("i",)}
    prior = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
    r = fm.nested.sample(law, prior, n_live=50, rng=0)
    for name, value in labels.items():
        object.__setattr__(r, name, value)
    longer = r.extend(n_live=50)
    assert longer.coords == {"i": (5, 6)}
    assert longer.reweight(law).dims == {"x": ("i",)}
    assert longer.split(2, rng=0)[0].dims == {"x": ("i",)}


def test_some_coordinates_keep_the_labels_of_whole_variables() -> None:
    s = labelled()
    assert s._coordinates([1, 2, 3]).dims == {"theta": ("school",), "y": ("pupil",)}
    part = s._coordinates([0, 1, 2])
    assert part.variables.shapes == {"mu": (), "theta": (2,)}
    assert "theta" not in part.dims
    assert "school" not in part.coords


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": {"thta": ["school"]}}, "dims: 'thta' given; did you mean 'theta'"),
        ({"dims": {"mu": ["school"]}}, "1 dimensions given for mu"),
        ({"dims": {"theta": ["pupil"]}}, "'pupil' has 5 labels, and theta has 3"),
        ({"dims": {"theta": [3]}}, "a sequence of names of dimensions"),
        ({"dims": {"theta": ["draw"]}}, "'draw' given for 'theta', which is the axis of the draws"),
        ({"dims": [1]}, r"dims: \[1\] given; a mapping"),
        ({"coords": {"school": 3}}, "coords: 3 given for 'school'"),
        ({"coords": {3: ["a"]}}, "a mapping from names"),
        ({"log_likelihood": {"y": np.zeros((4, 49))}}, r"\(4, 500\) is needed"),
        ({"log_likelihood": {"y": np.full((4, 500), np.nan)}}, "nan given"),
        ({"log_likelihood": 3}, "log_likelihood: 3 given; a mapping"),
        ({"observed_data": {"y": ["a"]}}, "'y' is not an array of real numbers"),
        ({"observed_data": {"y": [1.0]}}, "'pupil' has 5 labels, and y has 1"),
    ],
)
def test_labels_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        replace(labelled(), **change)
