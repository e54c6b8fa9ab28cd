"""Results in notebooks: well-formed HTML, pictures, and the draws that they read."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import fermiac as fm
from fermiac.results import html

X = fm.random.Stream(0).normal((4, 500, 8))
LAW = fm.distributions.Normal([0.0, 1.0])


def parsed(shown: str) -> ElementTree.Element:
    return ElementTree.fromstring(shown.replace("&nbsp;", " "))


def count(shown: str, tag: str) -> int:
    return sum(element.tag.rpartition("}")[2] == tag for element in parsed(shown).iter())


def test_samples_show_histograms() -> None:
    s = fm.Sample.from_arrays(X)
    assert count(s._repr_html_(), "svg") == 6
    assert "and 2 more" in s._repr_html_()
    one = fm.Sample.from_arrays(X[0, :1])
    assert count(one._repr_html_(), "svg") == 0
    same = fm.Sample.from_arrays(np.ones((5, 1)))
    assert count(same._repr_html_(), "svg") == 0
    none = fm.Sample.from_arrays([1.0, 2.0], [-np.inf, -np.inf])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parsed(none._repr_html_())
    several = fm.Sample.from_arrays(X[0], np.zeros((500, 3)))
    assert count(several._repr_html_(), "svg") == 6


def test_a_histogram_has_the_shape_of_its_weights() -> None:
    x = np.repeat(np.arange(30.0), 2)
    path = parsed(html.histogram(x, x + 1)).find(".//{*}path")
    assert path is not None
    heights = [float(part.split("H")[0]) for part in path.get("d", "").split("V")[1:-1]]
    assert (np.diff(heights) < 0).all()  # downwards is positive


def test_estimates_show_intervals_on_one_scale() -> None:
    e = fm.Sample.from_arrays(X[0]).expect(lambda x: x[:, :3], names=["<a>", "b", "c"])
    assert count(e._repr_html_(), "circle") == 3
    assert "&lt;a&gt;" in e._repr_html_()
    one = fm.Sample.from_arrays(X[0]).expect(lambda x: x[:, 0])
    assert count(one._repr_html_(), "circle") == 1
    assert count(replace(e, stderr=np.array([np.inf, 1, 1]))._repr_html_(), "circle") == 2
    many = fm.Sample.from_arrays(X[0]).expect(lambda x: x)
    assert "and 2 more" in many._repr_html_()
    is_complex = fm.Sample.from_arrays(X[0]).expect(lambda x: x[:, 0] * 1j)
    assert count(is_complex._repr_html_(), "circle") == 0


def test_posteriors_show_their_density() -> None:
    p = fm.privacy.epsilon_posterior(50, 3, 4, 60, delta=1e-5)
    assert count(p._repr_html_(), "polyline") == 1
    assert count(p._repr_html_(), "polygon") == 1
    several = fm.privacy.epsilon_posterior([50, 40], 3, 4, 60, delta=1e-5)
    assert count(several._repr_html_(), "svg") == 0


def test_curves_of_rates_are_shown() -> None:
    x = fm.random.Stream(0).normal((2, 5000))
    curve = fm.privacy.roc(x[0] + 1, x[1])
    line = parsed(curve._repr_html_()).find(".//{*}polyline")
    assert line is not None
    corners = [corner.split(",") for corner in line.get("points", "").split()]
    assert len(corners) == 200
    assert corners[0] == ["0.0", "68.0"]
    assert corners[-1] == ["68.0", "0.0"]
    audit = fm.privacy.audit_scores(x[0] + 1, x[1])
    assert count(audit._repr_html_(), "polyline") == 1


def test_other_results_are_text_that_is_escaped() -> None:
    audit = fm.privacy.audit_one_run(100, 50, 40)
    assert "epsilon &gt;=" in audit._repr_html_()
    parsed(audit._repr_html_())
    parsed(audit.summary()._repr_html_())
    doubtful = replace(fm.Sample.from_arrays(X[0]), warnings=("<b>; more",))
    assert "color" in doubtful._repr_html_()
    assert "<b>" not in doubtful._repr_html_()


class Sliced:
    """An array of which slices can be read alone; their numbers are counted."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.shape, self.ndim, self.size, self.n_read = x, x.shape, x.ndim, x.size, 0

    def __getitem__(self, where: Any) -> np.ndarray:
        self.n_read += self.x[where].size
        return self.x[where]

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise AssertionError("all draws are read")


@pytest.mark.parametrize("shape", [(4, 20_000, 30), (100_000, 30)])
def test_pictures_read_few_of_many_draws(shape: tuple[int, ...]) -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal(shape))
    s._repr_html_()  # the headline is kept
    draws = Sliced(s.draws)
    object.__setattr__(s, "draws", draws)
    assert count(s._repr_html_(), "svg") == 6
    assert 0 < draws.n_read <= 6 * 20_000
