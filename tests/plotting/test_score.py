"""Plots of score models."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_images_lie_beside_each_other() -> None:
    pixels = np.arange(5 * 6, dtype=float).reshape(5, 6)
    ax = fm.plotting.plot_images(pixels, (2, 3), n_columns=2)
    drawn = ax.images[0].get_array()
    assert drawn.shape == (3 * 3 - 1, 2 * 4 - 1)
    np.testing.assert_allclose(drawn[0:2, 0:3].ravel(), pixels[0] / 29)
    np.testing.assert_allclose(drawn[3:5, 4:7].ravel(), pixels[3] / 29)
    assert drawn.mask[2].all()
    assert drawn.mask[:, 3].all()
    # Nothing is drawn where the last row has no image.
    assert drawn.mask[6:, 4:].all()
    # Squares by default, and as many rows as columns.
    assert fm.plotting.plot_images(np.zeros((9, 16))).images[0].get_array().shape == (14, 14)
    _, own = plt.subplots()
    colours = fm.random.Stream(0).uniform((4, 3, 2, 2))
    assert fm.plotting.plot_images(colours, ax=own, limits=(0.0, 1.0)) is own
    np.testing.assert_allclose(own.images[0].get_array()[0, 0], colours[0, :, 0, 0])


@pytest.mark.parametrize(
    ("shape", "images", "match"),
    [
        (None, (4, 5), "shape"),
        ((2, 2), (4, 5), "shape"),
        (None, (4, 2, 3, 3), "images"),
        (None, (0, 4), "images"),
    ],
)
def test_shapes_that_are_no_images(
    shape: tuple[int, ...] | None, images: tuple[int, ...], match: str
) -> None:
    with pytest.raises(ArgumentError, match=match):
        fm.plotting.plot_images(np.zeros(images), shape)


def test_trajectories_are_scaled_by_their_levels() -> None:
    levels = np.array([8.0, 1.0, 0.0])
    points = fm.random.Stream(0).normal((3, 100, 4))
    ax = fm.plotting.plot_trajectory(points, levels, columns=(1, 3))
    assert len(ax.lines) == 60
    np.testing.assert_allclose(
        ax.lines[0].get_xydata(), points[:, 0][:, [1, 3]] / np.sqrt(1 + levels**2)[:, None]
    )
    np.testing.assert_allclose(ax.collections[-1].get_offsets(), points[-1][:, [1, 3]])
    plain = fm.plotting.plot_trajectory(points[:, :7])
    assert len(plain.lines) == 7
    assert plain.get_xlabel() == "x0"
    for arguments, match in (
        ((points[0],), "trajectory"),
        ((points, levels[:2]), "sigmas"),
    ):
        with pytest.raises(ArgumentError, match=match):
            fm.plotting.plot_trajectory(*arguments)
    with pytest.raises(ArgumentError, match="columns"):
        fm.plotting.plot_trajectory(points, columns=(0, 4))


def test_schedules() -> None:
    one, two = fm.score.karras(4, 0.1, 10.0), fm.score.karras(6, 0.1, 10.0, final="zero")
    ax = fm.plotting.plot_schedules({"one": one, "two": two})
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), one)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), two[:-1])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    assert fm.plotting.plot_schedules(one).get_legend() is None
    with pytest.raises(ArgumentError, match="for 'bad'"):
        fm.plotting.plot_schedules({"bad": [1.0, -1.0, 0.0]})


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")  # chains are short
def test_levels_of_chains() -> None:
    model = fm.score.GaussianMixture([0.5, 0.5], [[-1.0] * 4, [1.0] * 4], [0.1, 0.1])
    result = fm.score.langevin_gibbs(
        model, sigma_range=(0.05, 20.0), n_chains=8, n_draws=20, rng=0, plan=fm.Plan(progress=False)
    )
    shares, trace = fm.plotting.plot_levels(result)
    for patch in shares.patches:
        height, edges, _ = patch.get_data()
        assert np.sum(height * np.diff(edges)) == pytest.approx(1)
    # What is meant is even in log s, and so are the bars.
    assert np.ptp(height) < 1e-6
    np.testing.assert_allclose(trace.lines[-2].get_ydata(), result.stats["log_sigma"].mean(axis=0))
    assert trace.lines[-1].get_ydata()[0] == pytest.approx(result.log_sigma_expected)
    given = plt.subplots(2)[1]
    assert fm.plotting.plot_levels(result, given)[1] is given[1]
