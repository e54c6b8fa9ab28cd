"""Draws of score models as samples: arrays, images and tensors, files and functions of NumPy."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_forms import exact

import fermiac as fm

IMAGES = fm.score.GaussianMixture([0.5, 0.5], [[1.0] * 4, [-1.0] * 4], 0.1)


def test_draws_have_a_seed_and_settings() -> None:
    x = fm.score.sample(exact(), 50, n_steps=7, integrator="heun", rng=3)
    assert isinstance(x, fm.Sample)
    assert (x.seed, x.error_model, x.status, x.warnings) == (3, "iid", "complete", ())
    assert x.n_evals == 50 * 13
    assert x.settings["n_steps"] == 7
    assert x.settings["sigma_range"] == exact()._sampling_range()
    again = fm.score.sample(exact(), 50, n_steps=7, integrator="heun", rng=x.seed)
    np.testing.assert_array_equal(x, again)
    drawn = fm.score.sample(exact(), 5, rng=None)
    np.testing.assert_array_equal(drawn, fm.score.sample(exact(), 5, rng=drawn.seed))
    counted = fm.score.sample(exact(), 5, integrator="dop853", final="min", rng=0)
    assert counted.n_evals > 5 * 12


def test_functions_of_numpy_take_draws_as_an_array() -> None:
    x = fm.score.sample(exact(), 200, rng=1)
    plain = np.asarray(x)
    assert plain.shape == (200, 2)
    np.testing.assert_array_equal(np.mean(x, axis=0), plain.mean(axis=0))
    np.testing.assert_array_equal(np.std(x), plain.std())
    np.testing.assert_array_equal(np.concatenate([x, plain]), np.concatenate([plain, plain]))
    np.testing.assert_array_equal(np.sum(x, axis=(0, 1)), plain.sum())


def test_averages_have_errors() -> None:
    x = fm.score.sample(exact(), 4000, n_steps=30, rng=1)
    e = x.expect(lambda x: x)
    assert (np.abs(e.mean - [0.1, -0.55]) < 5 * e.stderr).all()
    np.testing.assert_array_equal(x.mean, e.mean)


def test_images_keep_their_shape(tmp_path: Path) -> None:
    x = fm.score.sample(IMAGES, 300, (2, 2), rng=0)
    flat = fm.score.sample(IMAGES, 300, rng=0)
    assert x.draws.shape == (300, 2, 2)
    np.testing.assert_array_equal(x.draws.reshape(300, 4), flat.draws)
    assert (len(x), x.dim, x.n_draws, list(x)) == (300, 4, 300, ["x"])
    np.testing.assert_array_equal(x["x"], x.draws)
    np.testing.assert_array_equal(x["x[1, 0]"], flat.draws[:, 2])
    np.testing.assert_array_equal(x.expect(lambda x: x).stderr, flat.expect(lambda x: x).stderr)
    assert x[:20].n_draws == 20
    assert fm.merge([x, fm.score.sample(IMAGES, 10, (2, 2), rng=1)]).n_draws == 310
    x.save(tmp_path / "x")
    for back in (fm.load(tmp_path / "x"), pickle.loads(pickle.dumps(x))):
        assert type(back) is type(x)
        np.testing.assert_array_equal(back, x)  # type: ignore[arg-type]


def test_the_way_of_the_draws_and_none_at_all() -> None:
    x = fm.score.sample(exact(), 6, n_steps=4, return_trajectory=True, rng=0)
    assert x.trajectory.shape == (5, 6, 2)
    np.testing.assert_array_equal(x.trajectory[-1], fm.score.sample(exact(), 6, n_steps=4, rng=0))
    none = fm.score.sample(exact(), 0)
    assert (len(none), none.dim, repr(none)) == (0, 2, "Sample of 0 points in 2 dimensions")


def test_rows_that_were_frozen_are_told() -> None:
    class Broken(fm.score.Model):
        dim = 1

        def _denoise(self, y: Any, sigma: Any) -> Any:
            return np.where((y > 0) & (len(y) == 4), np.nan, 0 * y)

    with pytest.warns(fm.errors.FermiacWarning, match="rows were frozen") as told:
        x = fm.score.sample(Broken(), 4, sigma_range=(0.1, 1.0), on_nan="freeze", rng=0)
    assert len(told) == len(x.warnings) == 1
    assert told[0].message.result is x  # type: ignore[union-attr]


@pytest.mark.torch
def test_tensors_are_averaged_and_saved(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    x = fm.score.sample(exact(), 100, rng=0, as_tensor=True)
    plain = fm.score.sample(exact(), 100, rng=0)
    assert isinstance(x.draws, torch.Tensor)
    np.testing.assert_array_equal(x.mean, plain.mean)
    x.save(tmp_path / "x")
    np.testing.assert_array_equal(fm.load(tmp_path / "x"), plain)  # type: ignore[arg-type]
