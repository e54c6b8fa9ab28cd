"""Summaries: their text, numbers by name, tables, arguments; those of all domains."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from samples import gaussian

import fermiac as fm
from fermiac.errors import ArgumentError, UnknownNameError
from fermiac.results import Summary
from fermiac.results.summary import of_figures

NAMES = ["mu", "theta[0]", "theta[1]"]
LAW = fm.distributions.Normal([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])


def chains() -> fm.Sample:
    x = LAW.sample(4000, rng=0).reshape(4, 1000, 3)
    return fm.Sample.from_arrays(x, names=NAMES)


def weighted() -> fm.Sample:
    x = LAW.sample(2000, rng=0)
    return fm.Sample.from_arrays(x, np.zeros(2000), names=NAMES)


@pytest.mark.parametrize("make", [chains, weighted])
def test_numbers_by_name(make: Callable[[], fm.Sample]) -> None:
    s = make()
    table = s.summary()
    assert isinstance(table, Summary)
    assert table.names == tuple(NAMES)
    assert list(table) == NAMES
    assert len(table) == 3
    assert "theta" in table
    assert "theta[1]" in table
    assert "nu" not in table
    row = table["mu"]
    assert row["mean"] == pytest.approx(s.mean[0], abs=1e-14)
    assert isinstance(row["mean"], float)
    np.testing.assert_allclose(table["theta"]["mean"], s.mean[1:], rtol=1e-12)
    np.testing.assert_array_equal(table["50%"], s.quantile(0.5))
    np.testing.assert_allclose(table["sd"], np.sqrt(np.diag(s.cov)), rtol=1e-10)
    with pytest.raises(UnknownNameError, match="did you mean 'theta'"):
        table["thetta"]
    assert table.get("nu") is None


@pytest.mark.parametrize("make", [chains, weighted])
def test_the_text_holds_the_numbers(make: Callable[[], fm.Sample]) -> None:
    table = make().summary()
    text = str(table)
    assert repr(table) == text
    titles, row = text.splitlines()[1:3]
    assert titles.split()[1:] == list(table.columns)
    shown = np.array(row.split()[1:], float)
    np.testing.assert_allclose(shown, list(table["mu"].values()), rtol=1e-3, atol=0.5)
    assert table == make().summary()
    assert table != make().summary(prob=0.5)
    assert hash(table) == hash(make().summary())


@pytest.mark.parametrize("make", [chains, weighted])
def test_arguments(make: Callable[[], fm.Sample]) -> None:
    s = make()
    table = s.summary(prob=0.5, var_names="theta")
    assert table.names == ("theta[0]", "theta[1]")
    np.testing.assert_array_equal(table["25%"], s.quantile(0.25)[1:])
    assert "mu " not in str(table).replace("mean", "")
    table = s.summary(kind="hdi", var_names=["theta[1]", "mu"])
    assert table.names == ("theta[1]", "mu")
    low, high = s.interval(0.9, kind="hdi")
    np.testing.assert_array_equal(table["hdi_low"], low[[2, 0]])
    np.testing.assert_array_equal(table["hdi_high"], high[[2, 0]])
    for wrong, message in [
        ({"prob": 1.0}, "prob"),
        ({"prob": [0.5]}, "prob"),
        ({"kind": "hpd"}, "kind: 'hpd' was given; did you mean 'hdi'"),
        ({"var_names": "nu"}, "no parameter 'nu'"),
        ({"var_names": []}, "var_names"),
        ({"var_names": [0]}, "var_names"),
        ({"var_names": ["theta", "theta[0]"]}, "comes twice"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            s.summary(**wrong)  # type: ignore[arg-type]


def test_tables_of_other_libraries() -> None:
    table = chains().summary()
    assert json.loads(json.dumps(table.to_dict()))["mu"]["rhat"] == table["mu"]["rhat"]
    pytest.importorskip("pandas")
    frame = table.to_dataframe(library="pandas")
    assert frame.loc["theta[1]", "mean"] == table["theta[1]"]["mean"]
    assert list(frame.columns) == list(table.columns)
    polars = pytest.importorskip("polars")
    frame = table.to_dataframe(library="polars")
    assert isinstance(frame, polars.DataFrame)
    assert frame["name"].to_list() == NAMES


def test_long_tables_show_a_part_and_hold_all() -> None:
    x = fm.random.Stream(0).normal((4, 500, 90))
    s = fm.Sample.from_arrays(x)
    table = s.summary()
    assert len(str(table).splitlines()) == 44
    assert len(table) == 90
    np.testing.assert_allclose(table["mean"], s.mean, atol=1e-14)
    one = s.summary(var_names="x[77]")
    assert one["x[77]"] == pytest.approx(table["x[77]"], rel=1e-9)
    assert str(pickle.loads(pickle.dumps(table))) == str(table)
    assert table._repr_html_().count("<tr>") == 41


def test_html_is_escaped() -> None:
    s = fm.Sample.from_arrays(gaussian(50, 0).draws[:, :1], names=["<script>&"])
    for shown in (s.summary()._repr_html_(), s._repr_html_()):
        assert "<script>" not in shown
        assert "&lt;script&gt;&amp;" in shown


def test_results_without_a_table_have_their_figures() -> None:
    audit = fm.privacy.audit_one_run(100, 50, 40)
    table = audit.summary()
    assert str(table) == repr(audit)
    assert table["epsilon_lower"] == {"value": audit.epsilon_lower}
    assert "seed" not in table
    assert of_figures({"a": 1, "b": None}, ["head"], foot=["foot"]).to_dict() == {
        "a": {"value": 1.0}
    }


def test_every_domain_has_a_table() -> None:
    z = fm.importance.evidence(LAW, LAW, n=2000, rng=0)
    assert z.summary()["stage[0]"]["power"] == 1.0
    e = z.sample.expect(lambda x: x, names=NAMES)
    assert e.summary()["theta"]["stderr"].tolist() == e.stderr[1:].tolist()
    prior = fm.distributions.Uniform([-20.0] * 3, [20.0] * 3)
    r = fm.nested.sample(LAW, prior, n_live=100, rng=0, names=NAMES)
    table = r.summary(prob=0.5)
    assert table.figures["log_evidence"] == r.log_evidence
    assert "25%" in table["mu"]
    p = fm.privacy.epsilon_posterior([50, 40], 3, 4, 60, delta=1e-5)
    table = p.summary(prob=0.5, kind="hdi")
    low, high = p.interval(0.5, kind="hpd")
    np.testing.assert_array_equal(table["ε"]["hdi_low"], low)
    np.testing.assert_array_equal(table["ε"]["hdi_high"], high)
    np.testing.assert_array_equal(p.summary()["5%"], p.ppf(0.05))
    w = fm.walks.walk(fm.walks.graphs.random_regular(12, 3, rng=0), n_steps=2000, rng=0)
    assert w.summary()["coverage"]["value"] == w.coverage
    assert "total variation" in str(w.summary())
