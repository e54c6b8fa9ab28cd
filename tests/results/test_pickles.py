"""Pickles and copies of results whose targets cannot be pickled, and `Result.converged`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning, WarningText
from fermiac.results.result import Result

pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
BOX = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
LAW = fm.distributions.Normal([0.0, 0.0])


def chains() -> fm.Sample:
    return fm.mcmc.sample(
        lambda x: -0.5 * (x**2).sum(1), 2, gradient=lambda x: -x, n_warmup=50, n_draws=60, rng=0
    )


def nested() -> fm.Sample:
    return fm.nested.sample(lambda x: -0.5 * (x**2).sum(1), BOX, n_live=50, rng=0)


def walk() -> fm.Sample:
    graph = fm.walks.graphs.cycle(10)
    return fm.walks.walk(graph, f=lambda i: 1.0 * i, record="path", n_steps=50, n_walkers=4, rng=0)


def gibbs() -> fm.Sample:
    model = fm.score.ScoreModel(
        lambda y, sigma: y * (sigma / (1 + sigma**2))[:, None], prediction="eps", kind="ve",
        sigma_range=(0.01, 2.0),
    )  # fmt: skip
    return fm.score.langevin_gibbs(
        model, 2, n_chains=4, n_draws=20,
        noise_predictor=fm.score.LevelEstimate(force=True), rng=0,
    )  # fmt: skip


SAMPLES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "mcmc": (chains, lambda s: fm.mcmc.extend(s, 10)),
    "nested": (nested, lambda s: s.extend(n_live=20)),
    "walks": (walk, lambda s: fm.walks.extend(s, 10)),
    "score": (gibbs, lambda s: s.extend(10)),
}


@pytest.mark.parametrize("domain", SAMPLES)
def test_samples_travel_without_a_target_that_cannot_be_pickled(domain: str) -> None:
    draw, extend = SAMPLES[domain]
    s = draw()
    back = pickle.loads(pickle.dumps(s))
    assert type(back) is type(s)
    np.testing.assert_array_equal(back.draws, s.draws)
    assert (back.seed, back.warnings, back.converged) == (s.seed, s.warnings, s.converged)
    f = (lambda i: i % 2) if domain == "walks" else (lambda x: x[:, 0])
    assert back.expect(f).mean == s.expect(f).mean
    assert repr(back) == repr(s)
    for other in (copy.copy(s), copy.deepcopy(s)):
        assert len(extend(other).draws.ravel()) == len(extend(s).draws.ravel()) > s.draws.size
    if domain != "walks":
        assert not np.shares_memory(copy.deepcopy(s).draws, s.draws)
    if domain != "walks":  # a graph can be pickled
        with pytest.raises(ArgumentError, match=r"cannot be continued.* give the \w+ again"):
            extend(back)


@pytest.mark.parametrize(
    "call",
    [
        lambda: fm.importance.expect(lambda x: x**2, LAW, n=1000, rng=0, keep_draws=True),
        lambda: fm.importance.evidence(lambda x: -(x**2).sum(1), LAW, n=1000, rng=0),
        lambda: fm.importance.failure_probability(lambda x: 2 - x[:, 0], LAW, n=1000, rng=0),
        lambda: fm.resample.bootstrap(
            np.arange(9.0), lambda x: x.mean(axis=1), n_resamples=99, rng=0
        ),
        lambda: fm.walks.walk(
            fm.walks.Oracle(lambda nodes: [[i - 1, i + 1] for i in nodes]),
            init=0,
            n_steps=50,
            rng=0,
        ),
    ],
    ids=["expect", "evidence", "failure", "bootstrap", "crawl"],
)
def test_other_results_travel(call: Callable[[], Any]) -> None:
    result = call()
    back = pickle.loads(pickle.dumps(result))
    assert repr(back) == repr(copy.deepcopy(result)) == repr(result)
    assert back.warnings == result.warnings


class Nowhere:
    """An object that can be pickled, and not be made again."""

    def __reduce__(self) -> Any:
        return int, ("the module of this target is unknown here",)


def test_a_target_that_is_unknown_where_it_arrives_is_left_out() -> None:
    e = fm.importance.expect(lambda x: x, fm.distributions.Normal(), n=100, rng=0)
    e.__dict__["_target"] = Nowhere()
    back = pickle.loads(pickle.dumps(e))
    assert back.mean == e.mean
    assert not hasattr(back, "_target")


DOUBTFUL: dict[str, Callable[[], Any]] = {
    "mcmc": chains,
    "nested": lambda: fm.nested.sample(LAW, BOX, n_live=50, max_evals=100, rng=0),
    "importance": lambda: fm.importance.expect(
        lambda x: x, fm.distributions.Normal(), n=1000, rtol=1e-9, rng=0
    ),
    "walks": lambda: fm.walks.walk(
        fm.walks.graphs.cycle(5000), n_steps=9, n_walkers=4, record="path", rng=0
    ).estimate_size(),
    "score": gibbs,
}


@pytest.mark.parametrize("domain", DOUBTFUL)
def test_a_convergence_warning_is_in_the_first_line(domain: str, tmp_path: Path) -> None:
    with pytest.warns(ConvergenceWarning):
        result = DOUBTFUL[domain]()
    assert result.converged is False
    assert result.status in ("complete", "stopped")
    assert "not converged" in repr(result).split("\n")[0]
    if isinstance(result, fm.Sample):
        assert "not converged" in str(result.summary())
    assert result.to_dict()["converged"] is False
    result.save(tmp_path / "result")
    back = fm.load(tmp_path / "result")
    assert back.converged is False
    assert repr(back) == repr(result)
    assert [t.category for t in back.warnings] == [t.category for t in result.warnings]  # type: ignore[attr-defined]


def test_other_warnings_are_no_doubt_about_convergence() -> None:
    s = fm.Sample.from_arrays(np.zeros((4, 1)))
    assert s.converged is True
    for category, expected in ((FermiacWarning, True), (ConvergenceWarning, False)):
        object.__setattr__(s, "warnings", (WarningText("a text", category),))
        assert s.converged is expected
    # Texts of old files have no class.
    object.__setattr__(s, "warnings", ("the chains have not converged",))
    assert s.converged is True
    assert isinstance(s, Result)
    e = fm.Sample.from_arrays(np.arange(4.0)).expect(lambda x: x[:, 0] + 1)
    assert e.converged is None  # there was no tolerance
