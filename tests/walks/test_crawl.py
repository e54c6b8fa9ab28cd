"""Crawls: the steps of walks on the whole graph, what is asked for, what happens on errors."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError

Ids = NDArray[np.int64]

GRAPH = fm.walks.graphs.barabasi_albert(300, 3, rng=1)
#: The names of the nodes outside.
NAMES = np.random.default_rng(2).permutation(2**40 + np.arange(300) * 7) - 2**39
NUMBERS = {name: i for i, name in enumerate(NAMES.tolist())}
WEIGHTS = 2.0 ** np.random.default_rng(3).integers(-3, 4, 300)
pytestmark = pytest.mark.filterwarnings("ignore:walkers with history")

START = np.resize([5, 5, 17, 200], 24)


class Site:
    """Knows the graph, remembers who asked, and fails when it is told to."""

    def __init__(self, *, ragged: bool = False, fails: int = -1) -> None:
        self.asked: list[int] = []
        self.calls = 0
        self.ragged = ragged
        self.fails = fails

    def __call__(self, nodes: Ids) -> Any:
        self.calls += 1
        if self.calls == self.fails:
            raise ConnectionError("the site is down")
        self.asked += nodes.tolist()
        rows = [NAMES[GRAPH.neighbors(NUMBERS[name])] for name in nodes.tolist()]
        if self.ragged:
            return np.cumsum([0, *map(len, rows)]), np.concatenate(rows)
        return [row.tolist() for row in rows]


def weigh(nodes: Ids) -> Any:
    return WEIGHTS[[NUMBERS[name] for name in nodes.tolist()]]


def named(case: object) -> str:
    """A name of a case that every process gives it."""
    return re.sub(r" at 0x\w+", "", str(case))


CASES: list[dict[str, Any]] = [
    {"kernel": "hdt"},
    {"weights": weigh, "kernel": "hdt", "base": "mhda"},
    {"weights": "degree", "kernel": "hdt", "base": "mhrw"},
    {"kernel": "hdt", "base": fm.walks.MTM(3), "weights": weigh},
    {"kernel": "srrw", "base": "mhrw", "alpha": 2.0},
    {"kernel": "srrw", "base": "srw"},
    {"kernel": "none", "base": "nbrw"},
    {"kernel": "none", "base": "srw", "restart": 0.1},
    {"kernel": "none", "base": fm.walks.Node2Vec(0.5, 2.0)},
    {"kernel": "none", "base": fm.walks.Lazy("srw", 0.3)},
]


def crawler(site: Any, **how: Any) -> fm.walks.Crawler:
    return fm.walks.Crawler(site, init=NAMES[START], n_walkers=24, rng=4, **how)


@pytest.mark.parametrize("how", CASES, ids=named)
@pytest.mark.parametrize("ragged", [False, True])
def test_crawls_are_walks_on_the_whole_graph(how: dict[str, Any], ragged: bool) -> None:
    site = Site(ragged=ragged)
    run = crawler(site, **how)
    w = run.run(60, record="path")
    others = dict(how)
    if how.get("weights") is weigh:
        # Pseudo-counts in proportion to the target, 1 at the first start.
        others |= {"weights": WEIGHTS, "pseudo_counts": WEIGHTS / WEIGHTS[5]}
    elif how.get("weights") == "degree" or (how.get("base") == "srw" and "kernel" in how):
        others["pseudo_counts"] = GRAPH.degrees / GRAPH.degrees[5]
    if how.get("kernel") == "none":
        others.pop("pseudo_counts", None)
    settings = {"init": START, "n_walkers": 24, "n_steps": 60, "rng": 4, "record": "path"}
    others.setdefault("kernel", "none")
    whole = fm.walks.walk(GRAPH, **settings, **others, burn_in=0)
    np.testing.assert_array_equal(w.nodes[w.paths], NAMES[whole.paths])
    assert w.acceptance == whole.acceptance
    # Nobody is asked for twice, and rows of all that were visited are known.
    assert len(set(site.asked)) == len(site.asked) == run.n_asked
    np.testing.assert_array_equal(
        run.graph.degrees[w.visited], GRAPH.degrees[[NUMBERS[x] for x in w.nodes[w.visited]]]
    )


def test_runs_go_on() -> None:
    one, two = crawler(Site(), kernel="hdt"), crawler(Site(), kernel="hdt")
    whole = one.run(80, record="path")
    first, second = two.run(30, record="path"), two.run(50, record="path", thin=5)
    np.testing.assert_array_equal(whole.nodes[whole.paths[:, :30]], first.nodes[first.paths])
    np.testing.assert_array_equal(whole.nodes[whole.paths[:, 34::5]], second.nodes[second.paths])
    visits = crawler(Site(), kernel="hdt")
    visits.run(30)
    later = visits.run(50)
    np.testing.assert_array_equal(
        later.visits, np.bincount(whole.paths[:, 30:].reshape(-1), minlength=later.n_nodes)
    )
    assert later.n_steps == 50


@pytest.mark.parametrize("how", CASES[:6], ids=named)
def test_walkers_stand_where_the_last_step_has_led_when_the_site_is_down(
    how: dict[str, Any],
) -> None:
    whole = crawler(Site(), **how).run(40, record="path")
    site = Site(fails=5)
    run = crawler(site, **how)
    with pytest.raises(ConnectionError, match="down") as caught:
        run.run(40, record="path")
    done, partial = run.n_done, caught.value.partial_result  # type: ignore[attr-defined]
    assert 0 < done < 40
    np.testing.assert_array_equal(partial.nodes[partial.paths], whole.nodes[whole.paths[:, :done]])
    other = crawler(site, **how)
    other.restore(run.state)
    for again in (run, other):
        rest = again.run(40 - done, record="path")
        np.testing.assert_array_equal(rest.nodes[rest.paths], whole.nodes[whole.paths[:, done:]])


def test_averages() -> None:
    def degrees(nodes: Ids) -> Any:
        return GRAPH.degrees[[NUMBERS[name] for name in nodes.tolist()]]

    run = crawler(Site(ragged=True))
    run.run(100)
    w = run.run(2000)
    e = w.expect(degrees)
    assert abs(e.mean - GRAPH.degrees.mean()) < 5 * e.stderr
    e = crawler(Site(), base="srw").run(2000).expect(degrees, "uniform")
    assert abs(e.mean - GRAPH.degrees.mean()) < 5 * e.stderr
    e = crawler(Site(), weights=weigh).run(3000).expect(degrees)
    assert abs(e.mean - WEIGHTS @ GRAPH.degrees / WEIGHTS.sum()) < 5 * e.stderr
    assert "discovered" in str(w.summary())
    assert "Crawl" in repr(w)
    for name in ("tvd", "walker_tvd", "coverage", "history_noise"):
        with pytest.raises(ArgumentError, match=name):
            getattr(w, name)
    with pytest.raises(ArgumentError, match="include_prior"):
        w.expect(degrees, include_prior=True)


def test_walk_takes_oracles(tmp_path: Any) -> None:
    oracle = fm.walks.Graph.from_oracle(Site())
    settings = {"init": NAMES[START], "n_steps": 50, "n_walkers": 24, "rng": 4}
    with pytest.warns(ConvergenceWarning, match="high degree") as found:
        w = fm.walks.walk(oracle, "hdt", burn_in=20, **settings)
    assert len(found) == 1  # of the whole, and not of the burn-in
    assert w.warnings
    run = crawler(Site(), kernel="hdt")
    run.run(20)
    same = run.run(30)
    np.testing.assert_array_equal(w.visits, same.visits)
    w.save(tmp_path / "crawl.safetensors")
    kept = fm.walks.Crawl.load(tmp_path / "crawl.safetensors")
    np.testing.assert_array_equal(kept.nodes, w.nodes)
    np.testing.assert_array_equal(kept.visits, w.visits)
    with pytest.raises(ArgumentError, match="history"):
        fm.walks.walk(oracle, history="shared_sync", **settings)
    with pytest.raises(ArgumentError, match="cannot be continued"):
        fm.walks.extend(w, 10)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"kernel": "tsaw", "base": "mhrw"}, "kernel"),
        ({"base": "maxdeg", "kernel": "none"}, "maxdeg"),
        ({"base": "weighted", "kernel": "none"}, "weighted"),
        ({"init": None}, "init"),
        ({"init": 1.5}, "init"),
        ({"init": [1, 2, 3]}, "init"),
        ({"weights": np.ones(3)}, "weights"),
        ({"weights": weigh, "base": "srw", "kernel": "none"}, "weights"),
        ({"restart": 0.1, "base": "mhrw"}, "restart"),
        ({"on_stuck": "error"}, "on_stuck"),
    ],
    ids=named,
)
def test_arguments(how: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        fm.walks.Crawler(Site(), **{"init": int(NAMES[0]), "n_walkers": 8, "rng": 1, **how})
    with pytest.raises(ArgumentError, match="neighbors"):
        fm.walks.Oracle(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda nodes: [[1, 2]] * (len(nodes) + 1), "arrays for"),
        (lambda nodes: ([0, 1], [1, 2]), "limit"),
        (lambda nodes: ([0, 1, 2, 3], [1, 2], 3), "tuple of 3"),
        (lambda nodes: [[0.5]] * len(nodes), "whole numbers"),
        (lambda nodes: [[True]] * len(nodes), "whole numbers"),
        (lambda nodes: [[]] * len(nodes), "no neighbours"),
    ],
)
def test_answers_that_cannot_be_used(answer: Any, text: str) -> None:
    run = fm.walks.Crawler(answer, init=0, n_walkers=8, rng=1)
    with pytest.raises(TargetError, match=text):
        run.run(5)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_weights_that_cannot_be_used(bad: float) -> None:
    site = Site()
    how = {"init": int(NAMES[0]), "n_walkers": 8, "rng": 1}
    run = fm.walks.Crawler(site, weights=lambda nodes: np.full(len(nodes), bad), **how)
    with pytest.raises(TargetError, match="weight"):
        run.run(5)


def test_arcs_that_lead_nowhere() -> None:
    """A walker stays in a sink, or goes back."""

    def line(nodes: Ids) -> Any:
        return [[i + 1] if i < 3 else [] for i in nodes.tolist()]

    how = {"kernel": "none", "base": "srw", "init": 0, "n_walkers": 8, "rng": 1}
    w = fm.walks.Crawler(line, **how).run(6, record="path")
    assert w.nodes[w.paths[0]].tolist() == [1, 2, 3, 3, 3, 3]
    w = fm.walks.Crawler(line, on_stuck="restart", **how).run(6, record="path")
    assert w.nodes[w.paths[0]].tolist() == [1, 2, 3, 0, 1, 2]


def test_degrees_go_with_the_numbers_of_their_discovery() -> None:
    def neighbours(nodes: Any) -> list[list[int]]:
        chord = {1000: [1004], 1004: [1000]}
        return [[1000 + (i + k - 1000) % 9 for k in (-1, 1)] + chord.get(i, []) for i in nodes]

    crawler = fm.walks.Crawler(fm.walks.Oracle(neighbours), init=1004, n_walkers=16, rng=0)
    walk = crawler.run(500)
    mean = walk.estimate_mean_degree()
    assert abs(mean.mean - 20 / 9) < 5 * mean.stderr
    assert walk.degree_distribution().names == ("2", "3")
