"""Several samples, priors, known values and names of variables in one figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plot_samples import chains

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning, UnknownNameError
from fermiac.plotting import plot_marginals, plot_pairs
from fermiac.plotting.style import RED, SEVERAL

NAMES = ["mu", "theta[0]", "theta[1]"]
PRIOR = fm.distributions.Product([fm.distributions.Normal(0.0, 5.0)] * 3)


def sample(seed: int = 0, names: list[str] | None = NAMES, d: int = 3) -> fm.Sample:
    return fm.Sample.from_arrays(fm.random.Stream(seed).normal((400, d)), names=names)


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def red(ax: Any) -> list[float]:
    lines = [line for line in ax.lines if line.get_color() == RED and line.get_linewidth() == 1]
    return [x for line in lines for x in {*line.get_xdata()[:1], *line.get_ydata()[:1]} if x]


def test_variables_by_name() -> None:
    s = sample()
    axes = s.plot_pairs(var_names="theta")
    assert [ax.get_xlabel() for ax in axes[1]] == NAMES[1:]
    axes = s.plot_marginals(var_names=["theta[1]", "mu"])
    assert [ax.get_xlabel() for ax in axes] == ["theta[1]", "mu"]
    c = chains()
    assert [ax.get_ylabel() for ax in c.plot_trace(var_names=["p2"])] == ["p2"]
    assert c.plot_ranks(var_names="p1")[0].get_title(loc="left") == "p1"
    assert c.plot_autocorrelation(var_names="p1").shape == (1,)
    for wrong, message in [
        ({"var_names": "nu"}, "no parameter 'nu'"),
        ({"var_names": "mu", "columns": [0]}, "both given"),
        ({"var_names": []}, "var_names"),
    ]:
        for plot in (s.plot_pairs, s.plot_marginals, c.plot_trace, c.plot_ranks):
            with pytest.raises(ArgumentError, match=message):
                plot(**wrong)  # type: ignore[operator]


def test_known_values_are_lines() -> None:
    s = sample()
    axes = s.plot_pairs(truths={"theta": [0.25, np.nan], "mu": 0.5})
    assert red(axes[0, 0]) == [0.5]
    assert sorted(red(axes[1, 0])) == [0.25, 0.5]
    assert red(axes[2, 2]) == []
    assert legend(axes[0, -1])[-1] == "known value"
    axes = s.plot_marginals(var_names="theta", truths=[0.25, 0.75])
    assert [red(ax) for ax in axes] == [[0.25], [0.75]]
    # Values of coordinates that are not drawn do not matter.
    assert red(s.plot_marginals(var_names="mu", truths={"theta": [1, 2], "mu": 3})[0]) == [3.0]
    axes = chains().plot_trace(truths={"p1": 0.5})
    dashed = [line.get_ydata()[0] for line in axes[1].lines if line.get_linestyle() == "--"]
    assert dashed == [0.5]
    for wrong, kind, message in [
        ([0.0], ArgumentError, "3 numbers are needed"),
        ({"nu": 0.0}, UnknownNameError, "no parameter 'nu'"),
        ({"theta": [1, 2, 3]}, ArgumentError, "3 numbers given for 'theta'; 2 are needed"),
        ("mu", ArgumentError, "truths"),
    ]:
        with pytest.raises(kind, match=message):
            s.plot_pairs(truths=wrong)  # type: ignore[arg-type]


def test_priors_are_densities() -> None:
    s = sample()
    for prior in (PRIOR, fm.Sample.from_arrays(PRIOR.sample(100_000, rng=1), names=NAMES[::-1])):
        ax = s.plot_marginals(prior=prior, var_names="mu")[0]
        heights, edges, _ = ax.patches[-1].get_data()
        exact = np.exp(fm.distributions.Normal(0.0, 5.0).log_density((edges[1:] + edges[:-1]) / 2))
        np.testing.assert_allclose(heights, exact, rtol=0.3)
        assert legend(ax) == ["prior"]
    # Far from the sample there is nothing to draw.
    far = fm.distributions.Product([fm.distributions.Normal(1e3, 1.0)] * 3)
    assert len(s.plot_marginals(prior=far)[0].patches) == len(s.plot_marginals()[0].patches)
    pairs = s.plot_pairs(prior=PRIOR)
    assert len(pairs[1, 1].patches) == 3
    nameless = fm.Sample.from_arrays(np.zeros((10, 2)))
    for wrong, message in [
        (fm.distributions.Normal(), "a law of 1 dimensions given; 3 are needed"),
        (nameless, "a sample of 2 coordinates given"),
        (3, "prior"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            s.plot_pairs(prior=wrong)  # type: ignore[arg-type]


def test_several_samples_have_colours_and_a_legend() -> None:
    a, b = sample(0), sample(1, NAMES[::-1])
    axes = plot_pairs([a, b], labels=["before", "after"])
    assert legend(axes[0, -1])[-2:] == ["before", "after"]
    colors = {tuple(np.round(c.get_edgecolor()[0], 3)) for c in axes[1, 0].collections}
    assert len(colors) == 2
    # The coordinates of the second are found by their names.
    low, high = axes[2, 2].get_xlim()
    assert low <= min(a.draws[:, 2].min(), b.draws[:, 0].min()) + 0.5
    assert high >= max(np.quantile(a.draws[:, 2], 0.99), np.quantile(b.draws[:, 0], 0.99))
    axes = plot_marginals([a, b])
    assert legend(axes[-1]) == ["sample 0", "sample 1"]
    assert legend(a.plot_pairs(labels="fit")[0, -1])[-1] == "fit"
    for given, how, message in [
        ([a, b], {"labels": ["one"]}, "2 texts are needed"),
        ([a, sample(1, ["mu", "nu", "xi"])], {}, "'theta\\[0\\]' is a coordinate of the first"),
        ([], {}, "sample: "),
        ([a] * (len(SEVERAL) + 1), {}, f"at most {len(SEVERAL)}"),
        ([a, 3], {}, r"sample\[1\]: int given"),
        ("a", {}, "sample: 'a' given"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            plot_pairs(given, **how)  # type: ignore[arg-type]


def test_many_coordinates_are_drawn_with_a_warning() -> None:
    s = sample(0, None, d=9)
    with pytest.warns(FermiacWarning, match="9 coordinates in one figure, of which 8") as caught:
        assert s.plot_pairs(labels="x").shape == (9, 9)
    assert caught[0].filename == __file__
    with pytest.warns(FermiacWarning, match="37 coordinates"):
        sample(0, None, d=37).plot_marginals()
