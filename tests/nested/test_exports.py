"""Tests of conversions of runs to the formats of other programs."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nested_reference as reference
import numpy as np
import pytest
from nested_help import result_of

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.nested import NestedResult

GAUSSIAN = reference.gaussian(3, 0.1)
NAMES = ("alpha", "b_1", "c[2]")


@pytest.fixture(scope="module")
def run() -> NestedResult:
    return result_of(GAUSSIAN, 1, 100, 10, names=NAMES)


@pytest.fixture(scope="module")
def forbidden() -> NestedResult:
    return result_of(reference.half_forbidden(), 2, 50, 5)


def test_arviz(run: NestedResult) -> None:
    with warnings.catch_warnings():
        # Its last versions before 1 announce the next on import.
        warnings.simplefilter("ignore", FutureWarning)
        pytest.importorskip("arviz")
    data = run.to_arviz(rng=3)
    same = run.resample(rng=3)
    np.testing.assert_array_equal(data["posterior"]["alpha"].values, same.draws[None, :, 0])
    for attrs in (data.attrs, data["posterior"].attrs):
        assert attrs["log_evidence"] == run.log_evidence
        assert attrs["log_evidence_stderr"] == run.log_evidence_stderr
        assert attrs["information"] == run.information
    weighted = run.to_arviz(resample=False)["sample_stats"]["log_weight"].values
    np.testing.assert_array_equal(weighted, run.log_weights[None])  # type: ignore[index]


def test_files_of_getdist(run: NestedResult, tmp_path: Path) -> None:
    spaced = result_of(GAUSSIAN, 1, 100, 10, names=("a b", "c*", "d_e"))
    assert spaced.to_getdist(tmp_path / "s", ranges={"a b": (-1, None), "d_e": (0.5, 2)}) is None
    assert (tmp_path / "s.ranges").read_text() == "a_b -1.0 N\nc_ N N\nd_e 0.5 2.0\n"
    assert (tmp_path / "s.paramnames").read_text() == "a_b a b\nc_ c*\nd_e d\\_e\n"
    run.to_getdist(tmp_path / "chain")
    names = (tmp_path / "chain.paramnames").read_text()
    assert names == "alpha alpha\nb_1 b\\_1\nc[2] c_{2}\n"
    table = np.loadtxt(tmp_path / "chain.txt")
    weights, minus_ell, draws = table[:, 0], table[:, 1], table[:, 2:]
    assert weights.max() == 1
    assert weights.min() > 0
    used = run.weights > 0
    np.testing.assert_array_equal(draws, run.draws[used])
    np.testing.assert_array_equal(minus_ell, -run.log_likelihoods[used])
    np.testing.assert_allclose(weights / weights.sum(), run.weights[used], rtol=1e-12)
    with pytest.raises(ArgumentError, match="'x' given, which is the name of no"):
        run.to_getdist(tmp_path / "chain", ranges={"x": (0, 1)})


def test_getdist(run: NestedResult, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = SimpleNamespace(MCSamples=lambda **given: given)
    monkeypatch.setitem(sys.modules, "getdist", taken)  # type: ignore[arg-type]
    got = run.to_getdist(ranges={"alpha": (-1, 1)})
    np.testing.assert_allclose(got["weights"] @ got["samples"] / got["weights"].sum(), run.mean)
    assert got["names"] == ["alpha", "b_1", "c[2]"]
    assert got["sampler"] == "nested"
    assert got["ranges"] == {"alpha": (-1, 1), "b_1": (None, None), "c[2]": (None, None)}


def test_anesthetic(forbidden: NestedResult, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = SimpleNamespace(NestedSamples=lambda **given: given)
    monkeypatch.setitem(sys.modules, "anesthetic", taken)  # type: ignore[arg-type]
    got = forbidden.to_anesthetic()
    np.testing.assert_array_equal(got["data"], forbidden.draws)
    np.testing.assert_array_equal(got["logL_birth"], forbidden.births)
    # Above -1e30, where points would be dropped, and the volume with them.
    assert got["logL"].min() == -1e29
    assert got["columns"] == ["x[0]", "x[1]"]
    assert got["labels"] == ["$x_{0}$", "$x_{1}$"]


@pytest.mark.parametrize("name", ["getdist", "anesthetic", "dynesty"])
def test_what_is_not_installed(
    run: NestedResult, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, f"{name}.results", raising=False)
    with pytest.raises(ImportError, match=f"pip install {name}"):
        getattr(run, f"to_{name}")()


def test_dynesty(run: NestedResult) -> None:
    got = run.to_dynesty(as_dict=True)
    assert "nlive" not in got
    assert got["niter"] == run.n_draws
    assert got["logz"][-1] == pytest.approx(run.log_evidence, abs=1e-10)
    assert got["logzerr"][-1] == pytest.approx(run.log_evidence_stderr, rel=1e-6)
    assert got["information"][-1] == pytest.approx(run.information, rel=1e-6)
    np.testing.assert_allclose(np.exp(got["logwt"] - got["logz"][-1]), run.weights, atol=1e-14)
    for name, array in (
        ("logl", run.log_likelihoods),
        ("logvol", run.log_x),
        ("samples", run.draws),
        ("samples_u", run.unit_draws),
        ("samples_id", run.lineages),
        ("samples_n", run.n_alive),
    ):
        np.testing.assert_array_equal(got[name], array)
    assert got["ncall"].sum() == run.n_evals
    assert got["eff"] == pytest.approx(100 / 3)
    # Of its own births: the level of the death that it came after.
    later = got["samples_it"] > 0
    np.testing.assert_array_equal(
        run.log_likelihoods[got["samples_it"][later] - 1], run.births[later]
    )
    assert (run.births[~later] == -np.inf).all()
    # What is known after some deaths is what the points until then say.
    k = int(np.searchsorted(np.cumsum(run.weights), 0.5))
    part = np.exp(got["logwt"][: k + 1] - got["logz"][k])
    expected = part @ run.log_likelihoods[: k + 1] - got["logz"][k]
    assert got["information"][k] == pytest.approx(max(expected, 0), abs=1e-9)


def test_dynesty_of_one_death_at_a_time() -> None:
    r = result_of(GAUSSIAN, 1, 40, 1)
    got = r.to_dynesty(as_dict=True)
    assert (got["nlive"], got["niter"]) == (40, r.n_draws - 40)
    assert np.isnan(bare().to_dynesty(as_dict=True)["samples_u"]).all()


def bare() -> NestedResult:
    """A run that does not know its points of the unit cube."""
    raw = reference.perfect_run(GAUSSIAN, 40, 1, 1)
    del raw["unit_draws"]
    return result_of(GAUSSIAN, 1, raw=raw)


@pytest.fixture(scope="module")
def plots() -> Any:
    """The plots of dynesty, without a display."""
    pytest.importorskip("dynesty")
    pytest.importorskip("matplotlib").use("Agg")
    return importlib.import_module("dynesty.plotting")


@pytest.mark.parametrize(
    "make",
    [
        lambda: result_of(GAUSSIAN, 1, 100, 10, names=NAMES),
        lambda: result_of(GAUSSIAN, 1, 40, 1),
        lambda: result_of(reference.half_forbidden(), 2, 50, 5),
        bare,
    ],
    ids=["dynamic", "static", "forbidden", "without the unit cube"],
)
def test_dynesty_draws_the_run(make: Callable[[], NestedResult], plots: Any) -> None:
    run = make()
    got = run.to_dynesty()
    assert got.isdynamic() == ("nlive" not in run.to_dynesty(as_dict=True))
    np.testing.assert_allclose(got.importance_weights(), run.weights, atol=1e-12)
    pyplot = importlib.import_module("matplotlib.pyplot")
    try:
        for name in ("runplot", "traceplot", "cornerplot"):
            figure, _ = getattr(plots, name)(got)
            figure.canvas.draw()
            assert sum(axes.has_data() for axes in figure.axes) >= run.dim
    finally:
        pyplot.close("all")


def test_tools_of_dynesty_take_the_run(
    run: NestedResult, plots: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = importlib.import_module("dynesty.utils")
    got = run.to_dynesty()
    got.summary()
    assert f"niter: {run.n_draws}" in capsys.readouterr().out
    spread = [tools.jitter_run(got, rstate=np.random.default_rng(k)).logz[-1] for k in range(50)]
    assert np.std(spread) == pytest.approx(run.log_evidence_stderr, rel=0.4)
    again = tools.reweight_run(got, got.logl + 1.0)
    assert again.logz[-1] == pytest.approx(run.log_evidence + 1.0, abs=1e-4)


def test_dynesty_without_likelihood(forbidden: NestedResult) -> None:
    got = forbidden.to_dynesty(as_dict=True)
    assert got["logl"].min() == -1e300
    assert np.isfinite(got["logzerr"]).all()
    assert got["logzerr"][-1] == pytest.approx(forbidden.log_evidence_stderr, rel=1e-6)


@pytest.mark.parametrize("which", ["run", "forbidden"])
def test_dead_birth(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source: NestedResult = request.getfixturevalue(which)
    source.write_dead_birth(tmp_path / "r")
    table = np.loadtxt(tmp_path / "r_dead-birth.txt")
    assert table.shape == (source.n_draws, source.dim + 2)
    assert table[:, -1].min() == -1e30
    for path in (tmp_path / "r", tmp_path / "r_dead-birth.txt"):
        got = fm.nested.read_dead_birth(path)
        for name in ("draws", "log_likelihoods", "births", "n_alive", "log_weights"):
            np.testing.assert_array_equal(getattr(got, name), getattr(source, name))
        assert got.names == source.names
        assert got.log_evidence == source.log_evidence
        assert np.unique(got.lineages).size == np.unique(source.lineages).size
    spread = np.std(got.bootstrap(200, rng=0))
    assert spread == pytest.approx(np.std(source.bootstrap(200, rng=0)), rel=0.3)


def test_dead_birth_with_live_points(run: NestedResult, tmp_path: Path) -> None:
    run.write_dead_birth(tmp_path / "r")
    lines = (tmp_path / "r_dead-birth.txt").read_text().splitlines(keepends=True)
    # A run that was stopped: the last points are alive, and some of them told twice.
    (tmp_path / "r_dead-birth.txt").write_text("".join(lines[:-40]))
    (tmp_path / "r_phys_live-birth.txt").write_text("".join(lines[-60:]))
    (tmp_path / "r.paramnames").unlink()
    got = fm.nested.read_dead_birth(tmp_path / "r")
    assert got.names == ()
    np.testing.assert_array_equal(got.draws, run.draws)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cannot be read"):
        fm.nested.read_dead_birth(tmp_path / "none")
    (tmp_path / "a_dead-birth.txt").write_text("1 2\n")
    with pytest.raises(ArgumentError, match="2 columns"):
        fm.nested.read_dead_birth(tmp_path / "a")
    (tmp_path / "b_dead-birth.txt").write_text("1 2 -1e30\n")
    (tmp_path / "b.paramnames").write_text("p q\nr s\n")
    with pytest.raises(ArgumentError, match="2 names for 1 parameters"):
        fm.nested.read_dead_birth(tmp_path / "b")
    (tmp_path / "c_dead-birth.txt").write_text("1 2 3\n")
    with pytest.raises(ArgumentError, match="births"):
        fm.nested.read_dead_birth(tmp_path / "c")


def test_results_without_names_keep_none(forbidden: NestedResult, tmp_path: Any) -> None:
    forbidden.write_dead_birth(f"{tmp_path}/r")
    assert fm.nested.read_dead_birth(f"{tmp_path}/r").names == ()
