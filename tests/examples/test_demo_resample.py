"""The demo's data of series and of a regression: published values, closed forms, one picture."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fermiac as fm

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = EXAMPLES / "data"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("_demo_resample")


def test_data_have_the_values_of_statsmodels(demo: ModuleType) -> None:
    data = demo.load(DATA)
    assert (data.growth.size, data.flow.size, data.food.size) == (202, 100, 235)
    assert (data.quarter[0], data.quarter[-1]) == (1959.25, 2009.5)
    assert (data.before.size, data.after.size) == (28, 72)
    assert data.growth.mean() == pytest.approx(3.10322509, abs=1e-8)
    assert data.flow.sum() == 91935
    assert data.income.sum() == pytest.approx(230881.165338, abs=1e-6)
    assert data.food.sum() == pytest.approx(146675.276159, abs=1e-6)


def test_errors_are_those_of_statsmodels_0_15(demo: ModuleType) -> None:
    data = demo.load(DATA)
    for n_lags, known in ((4, 0.33808222), (5, 0.34474857), (201, 0.28038893)):
        assert demo.hac(data.growth, n_lags) == pytest.approx(known, abs=1e-8)
    assert demo.hac(data.before, 27) == pytest.approx(13.24069384, abs=1e-8)
    assert demo.textbook(data.income, data.food) == pytest.approx(
        (0.48517842, 0.0143663817), abs=1e-8
    )
    wild = fm.resample.wild_bootstrap((data.income, data.food), n_resamples=99, rng=0)
    # The first kind of White's errors with a correction for the number of coefficients (HC1).
    np.testing.assert_allclose(wild.estimate, [147.47538852, 0.48517842], atol=1e-8)
    np.testing.assert_allclose(wild.stderr, [46.64775974, 0.05199414], atol=1e-8)
    lag = fm.resample.bootstrap(
        data.growth, "autocorrelation", scheme="sieve", n_resamples=99, rng=0
    )
    assert lag.estimate == pytest.approx(0.30168905, abs=1e-8)


def test_fixed_b_is_a_published_quantile_times_the_error_of_all_lags(demo: ModuleType) -> None:
    data = demo.load(DATA)
    for x in (data.growth, data.before, data.after):
        r = fm.resample.bootstrap(x, "mean", scheme="series", method="fixed_b")
        error = demo.hac(x, x.size - 1)
        assert (r.upper - r.lower) / 2 == pytest.approx(demo.FIXED_B * error, abs=5e-4 * error)


def test_p_value_of_the_nile_by_counting_all_groups(demo: ModuleType) -> None:
    data = demo.load(DATA)
    flow = (data.flow - data.flow.min()).astype(int)
    n = data.before.size
    observed = int(flow[:n].sum())
    # groups[k, s]: the number of groups of k years with the sum s; larger sums share the last cell.
    groups = np.zeros((n + 1, observed + 1))
    groups[0, 0] = 1.0
    for value in flow:
        less = groups[:-1].copy()
        groups[1:, value:] += less[:, : observed + 1 - value]
        groups[1:, observed] += less[:, observed + 1 - value :].sum(axis=1)
    known = 2 * groups[n, observed] / groups[n].sum()
    test = fm.resample.permutation_test((data.before, data.after))
    assert test.exact
    assert test.pvalue == pytest.approx(known, rel=1e-9)


def test_drawn_resamples_agree_with_all_resamples(demo: ModuleType) -> None:
    data = demo.load(DATA)
    pulls = np.array([[row.pull for row in demo.drawn_rows(data, seed)] for seed in range(30)])
    assert np.abs(pulls).max() < 4.5
    assert np.mean(np.abs(pulls) < 2) > 0.88
    # Without autocorrelations, as for blocks of one quarter, the error would be much smaller.
    assert demo.error_of_blocks(data.growth, 1.0) == pytest.approx(data.growth.std() / 202**0.5)
    assert demo.drawn_rows(data, 0)[0].known > 1.3 * data.growth.std() / 202**0.5


def test_section_has_rows_lines_and_a_picture(demo: ModuleType, tmp_path: Path) -> None:
    section = demo.run(tmp_path, DATA, seed=1986, n_repeats=1)
    assert len(section.rows) == 7
    assert all(abs(row.pull) < 3 for row in section.rows)
    assert all(len(row.quantity) <= 24 for row in section.rows)
    assert (tmp_path / "resample.png").stat().st_size > 20_000
    widths = {name: high - low for name, (low, high) in section.record["growth_intervals"].items()}
    assert widths["as if independent"] == min(widths.values())
    slopes = section.record["slope_intervals"]
    assert slopes["wild bootstrap"][0] < slopes["equal variances"][0] < 0.4852
    assert len(section.record["warnings"]) == 1
    assert "effective sample size" in section.record["warnings"][0]


def test_coverage_is_read_from_both_tables(demo: ModuleType) -> None:
    read: Any = importlib.import_module("_demo_evaluate").coverage_table
    names, columns = read(tuple(demo.METHODS))
    assert len(names) == 6
    assert names[0] == "φ = 0.0, n = 100"
    assert all(0.7 < value < 1 for column in columns.values() for value in column)
    names, columns = read(("auto", "SciPy BCa"))
    assert len(names) == len(columns["auto"]) == 13


def test_each_file_of_data_says_where_it_is_from() -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    files = [*DATA.glob("*.csv"), *DATA.glob("*.npz")]
    assert files
    for file in files:
        assert f"\n## {file.name}\n" in text, file.name
