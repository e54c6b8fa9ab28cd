"""Tests of runs with learnt densities."""

from __future__ import annotations

import math
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning, TargetError
from fermiac.nested.learnt import LearntLoop

Array = NDArray[np.float64]
SMALL = fm.nested.Learnt(n_effective=1000)
BOX = fm.distributions.Uniform([-5.0] * 3, [5.0] * 3)
#: The evidence of a standard normal density in the box, which cuts off 2e-6 of it.
NORMAL = -3.0 * math.log(10.0)


def normal(x: Array) -> Array:
    out: Array = -0.5 * (x**2).sum(axis=1) - 1.5 * math.log(2 * math.pi)
    return out


def run(f: Any = normal, prior: Any = BOX, **more: Any) -> fm.nested.LearntResult:
    given = {"sampler": SMALL, "n_live": 200, "rng": 0} | more
    return fm.nested.sample(f, prior, **planned(**given))  # type: ignore[return-value]


def same(a: Any, b: Any) -> bool:
    pairs = [(a.draws, b.draws), (a.log_weights, b.log_weights)]
    return a.log_evidence == b.log_evidence and all(np.array_equal(x, y) for x, y in pairs)


def test_the_evidence_and_moments_of_a_normal_law() -> None:
    r = run()
    assert abs(r.log_evidence - NORMAL) < 5 * r.log_evidence_stderr < 0.1
    assert r.status == "complete"
    assert r.converged
    assert not r.warnings
    assert r.ess > 900
    assert r.n_evals < 5000
    mean, square = r.expect(lambda x: x), r.expect(lambda x: x**2)
    assert np.all(np.abs(mean.mean) < 5 * mean.stderr)
    assert np.all(np.abs(square.mean - 1) < 5 * square.stderr)
    exact = 3.0 * (math.log(10.0) - 0.5 * math.log(2 * math.pi * math.e))
    assert abs(r.information - exact) < 0.2


def test_the_fields_are_those_of_an_importance_sample() -> None:
    r = run()
    assert r.importance is not None
    assert r.importance.is_fitted
    assert r.importance.log_evidence == r.log_evidence == r.log_evidence_volumes
    assert len(r.importance.sample.draws) == r.n_draws
    assert abs(r.importance.ess / r.ess - 1) < 1e-9
    assert np.all(np.diff(r.log_likelihoods) >= 0)
    logs = r.log_prior_masses + r.log_likelihoods
    assert abs(np.logaddexp.reduce(logs) - r.log_evidence) < 1e-9
    assert np.all(np.diff(r.log_x) <= 0)
    assert r.unit_draws is not None
    assert np.allclose(10 * r.unit_draws - 5, r.draws)
    apart = abs(r.importance.log_evidence_tests - r.log_evidence)
    assert apart < 5 * r.importance.log_evidence_tests_stderr
    assert set(r.trace) == {"power", "n_points", "efficiency", "defence", "level"}
    assert r.trace["n_points"].sum() == r.n_evals
    assert r.trace["power"][0] == 0
    assert r.trace["power"][-1] == 1


def test_the_name_and_the_class_are_one() -> None:
    a = run(sampler=fm.nested.Learnt())
    assert a.settings["sampler"] == "Learnt(n_effective=10000)"
    assert same(a, run(sampler="learnt"))


def test_threads_executors_and_forms_do_not_change_the_bits() -> None:
    law = fm.distributions.Normal([0.0] * 3)
    expected = run(law)
    assert same(expected, run(law, plan=fm.Plan(n_threads=2)))

    def f(x: Array) -> Array:
        return law.log_density(x)

    plain = run(f)
    with ThreadPoolExecutor(2) as pool:
        assert same(plain, run(f, plan=pool))
    assert same(expected, plain)


def test_rounds_are_single_batches() -> None:
    sizes: list[int] = []

    def f(x: Array) -> Array:
        sizes.append(len(x))
        return normal(x)

    r = run(f, check=False)
    # The last sample comes in blocks.
    assert len(sizes) < 25
    assert sum(sizes) == r.n_evals


def test_a_run_resumes_with_the_same_bits(tmp_path: Any) -> None:
    expected, calls = run(), 0

    def breaks(x: Array) -> Array:
        nonlocal calls
        calls += len(x)
        if calls > 1100:
            raise RuntimeError("broken")
        return normal(x)

    path = tmp_path / "run"
    with pytest.raises(RuntimeError, match="broken") as caught:
        run(breaks, store=path, check=False)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert not partial.converged
    evals = 0

    def counted(x: Array) -> Array:
        nonlocal evals
        evals += len(x)
        return normal(x)

    resumed = run(counted, store=path, check=False)
    assert same(expected, resumed)
    assert resumed.n_evals == expected.n_evals
    assert evals < expected.n_evals - partial.n_evals + 10
    # Complete: nothing is evaluated but the check of a few points.
    evals = 0
    assert same(expected, run(counted, store=path, check=False))
    assert evals < 10


def test_limits_end_a_run_that_can_go_on() -> None:
    with pytest.warns(ConvergenceWarning, match="before its last sample"):
        short = run(max_evals=500)
    assert short.status == "stopped"
    assert not short.converged
    assert 500 <= short.n_evals < 800
    assert short.importance is None
    assert same(short.extend(), run())
    whole = run()
    with pytest.warns(ConvergenceWarning, match="in its last sample"):
        short = run(sampler=fm.nested.Learnt(n_effective=3000), max_evals=whole.n_evals + 300)
    assert abs(short.log_evidence - NORMAL) < 5 * short.log_evidence_stderr
    with pytest.warns(ConvergenceWarning, match="max_time"):
        run(plan=fm.Plan(max_time=1e-9))


def test_ctrl_c_carries_the_points_so_far() -> None:
    calls = 0

    def f(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return normal(x)

    with pytest.raises(KeyboardInterrupt) as caught:
        run(f, check=False)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.n_draws > 400
    assert np.isfinite(partial.log_evidence)


def test_two_modes_and_points_without_likelihood() -> None:
    law = fm.distributions.Mixture(
        [0.7, 0.3],
        [
            fm.distributions.Normal([2.0] * 3, [0.4] * 3),
            fm.distributions.Normal([-2.0] * 3, [0.3] * 3),
        ],
    )
    r = run(law)
    assert abs(r.log_evidence + 3 * math.log(10.0)) < 5 * r.log_evidence_stderr
    share = r.expect(lambda x: x[:, 0] > 0)
    assert abs(share.mean - 0.7) < 5 * share.stderr

    def half(x: Array) -> Array:
        return np.where(x[:, 0] > x[:, 1], normal(x), -np.inf)

    r = run(half)
    assert abs(r.log_evidence - NORMAL + math.log(2.0)) < 5 * r.log_evidence_stderr
    assert np.all(r.draws[r._weights() > 0][:, 0] > r.draws[r._weights() > 0][:, 1])


def test_no_mode_of_many_is_lost() -> None:
    """Eighteen peaks, of which ten lie on the edge of the square."""

    def eggbox(u: Array) -> Array:
        half = 5.0 * math.pi * u
        return np.asarray((2.0 + np.cos(half[:, 0]) * np.cos(half[:, 1])) ** 5)

    prior = fm.distributions.Uniform([0.0] * 2, [1.0] * 2)
    sampler = fm.nested.Learnt(n_effective=2000)
    r = run(eggbox, prior, sampler=sampler, n_live=500, rng=0)
    assert abs(r.log_evidence - 235.8559403) < 5 * r.log_evidence_stderr < 0.15
    # The 18 modes by the parts of the square; those on an edge have a half of the mass, the two
    # in a corner a quarter.
    cells, w = np.rint(5.0 * r.draws).astype(int), r._weights()
    for i, j in [(a, b) for a in range(6) for b in range(a % 2, 6, 2)]:
        mine = w[(cells == [i, j]).all(axis=1)]
        mass = 0.08 / (1 + (i in (0, 5))) / (1 + (j in (0, 5)))
        assert abs(mine.sum() - mass) < 6 * math.sqrt(mine @ mine), (i, j)
        # The share of the draws is not that of the mass, but a lost mode has next to none.
        assert len(mine) > 0.2 * mass * len(w), (i, j)


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_a_mode_among_many_maxima_is_not_lost() -> None:
    """A sinusoid, observed at whole times: three frequencies have a third of the posterior each.

    Rounds do not find the peak of one of them, climbs from the tops of basins with few points do.
    A run that a limit ends within these climbs goes on with the same bits.
    """
    times, noise = np.arange(24.0), 0.4 * np.random.default_rng(7).normal(size=24)
    observed = 0.5 + np.sin(2.0 * math.pi * 0.2 * times) + noise
    sizes: list[int] = []

    def sinusoid(x: Array) -> Array:
        sizes.append(len(x))
        wave = np.sin(2.0 * math.pi * np.outer(x[:, 0], times) + x[:, 1:2])
        return np.asarray(-((x[:, 2:3] * wave + x[:, 3:] - observed) ** 2).sum(axis=1) / 0.32)

    prior = fm.distributions.Uniform([0.0, 0.0, 0.0, -4.0], [1.5, 2.0 * math.pi, 4.0, 4.0])

    r = run(sinusoid, prior, periodic=[1], rng=1)
    for frequency in (0.2, 0.8, 1.2):
        mine = r._weights()[np.abs(r.draws[:, 0] - frequency) < 0.1]
        assert abs(mine.sum() - 1.0 / 3.0) < 5.0 * math.sqrt(mine @ mine)
    # Climbs are made in small batches, rounds and the last sample in larger ones.
    last = max(k for k in range(len(sizes) - 10) if max(sizes[k : k + 10]) <= 100)
    short = run(sinusoid, prior, periodic=[1], rng=1, max_evals=sum(sizes[: last + 5]))
    assert short.status == "stopped"
    assert short.n_evals < 0.9 * r.n_evals
    assert same(short.extend(), r)


def funnel(x: Array) -> Array:
    """The log-density of a funnel in four dimensions."""
    squares = (x[:, 1:] ** 2).sum(axis=1)
    logs = -(x[:, 0] ** 2) / 8.0 - 1.5 * x[:, 0] - 0.5 * squares * np.exp(-x[:, 0])
    return np.asarray(logs - 2.0 * math.log(2 * math.pi) - math.log(2.0))


FUNNEL = fm.distributions.Uniform([-6.0, *[-15.0] * 3], [6.0, *[15.0] * 3])


def run_funnel(f: Any = funnel, **more: Any) -> fm.nested.LearntResult:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        return run(f, FUNNEL, **({"sampler": fm.nested.Learnt(n_effective=2000)} | more))


def test_the_neck_of_a_funnel_is_filled() -> None:
    v = np.linspace(-6.0, 6.0, 4001)
    inside = np.array([math.erf(15.0 / math.exp(a / 2) / math.sqrt(2)) ** 3 for a in v])
    density = np.exp(-(v**2) / 8.0) / math.sqrt(8 * math.pi) * inside
    volume = math.log(12.0) + 3 * math.log(30.0)
    exact = math.log(float(((density[1:] + density[:-1]) / 2).sum() * (v[1] - v[0]))) - volume
    for seed in (0, 1):
        r = run_funnel(n_live=300, rng=seed)
        assert abs(r.log_evidence - exact) < 4 * r.log_evidence_stderr < 0.08
        assert r.n_evals < 10_000
        # The regression is of the density in straightened coordinates; without them 0.79 and 0.82.
        assert r.trace["efficiency"][-1] > 0.88


def test_a_warning_if_rounds_lacked_places_again_and_again() -> None:
    for n_lacking in (3, 4):
        info = {"n_open": 0, "n_given_up": 0, "is_open_above": False, "n_lacking": n_lacking}
        loop: Any = SimpleNamespace(info=info)
        found = LearntLoop._of_search(loop)
        assert [kind for kind, _ in found] == [ConvergenceWarning] * (n_lacking == 4)
        assert all("4 rounds for the posterior found places" in text for _, text in found)


def test_straightened_coordinates_do_not_change_the_bits(tmp_path: Any) -> None:
    """A run on a funnel, and one that resumes while the neck is filled, with more threads."""
    given: dict[str, Any] = {"sampler": fm.nested.Learnt(n_effective=300)}
    expected, calls = run_funnel(**given, plan=fm.Plan(n_threads=1)), 0

    def breaks(x: Array) -> Array:
        nonlocal calls
        calls += len(x)
        if calls > 3000:
            raise RuntimeError("broken")
        return funnel(x)

    path = tmp_path / "run"
    with pytest.raises(RuntimeError, match="broken"):
        run_funnel(breaks, **given, store=path, check=False)
    assert same(expected, run_funnel(**given, plan=fm.Plan(n_threads=2), store=path, check=False))


def test_the_share_that_may_be_unseen_is_stated() -> None:
    r = run()
    assert (1 - r.unseen_share) ** 200 == pytest.approx(0.05)
    assert f"basins above {r.unseen_share:.2g} of the prior mass" in str(r.summary())


def test_circles_and_mirrors() -> None:
    kappa = 4.0
    prior = fm.distributions.Uniform([-math.pi, 0.0], [math.pi, 1.0])

    def f(x: Array) -> Array:
        # A peak at the end of the circle; a decay from the mirror at 0.
        return kappa * np.cos(x[:, 0] - math.pi) - 8.0 * x[:, 1]

    bessel = float(np.mean(np.exp(kappa * np.cos(np.linspace(0, 2 * math.pi, 4096, False)))))
    exact = math.log(bessel) + math.log(-math.expm1(-8.0) / 8.0)
    for edges in ({}, {"periodic": [0], "reflective": [1]}):
        r = run(f, prior, **edges)
        assert abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr, edges


def test_plateaus() -> None:
    with pytest.warns(ConvergenceWarning, match="values of the log-likelihood are equal"):
        r = run(lambda x: np.full(len(x), -1.5))
    assert abs(r.log_evidence + 1.5) < max(5 * r.log_evidence_stderr, 1e-9)
    r = run(lambda x: np.where((np.abs(x) < 2).all(axis=1), 0.0, -3.0))
    exact = math.log(0.064 + 0.936 * math.exp(-3.0))
    assert abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr


def test_blobs_and_names_come_along() -> None:
    r = run(lambda x: (normal(x), x[:, :1] + 1.0), blobs=1, names=("a", "b", "c"))
    assert r.blobs is not None
    assert np.allclose(r.blobs[:, 0], r.draws[:, 0] + 1.0)
    assert r.names == ("a", "b", "c")


def test_results_are_saved_pickled_and_summed_up(tmp_path: Any) -> None:
    r = run()
    path = tmp_path / "r.fermiac"
    r.save(path)
    assert same(r, fm.load(path))
    assert same(r, pickle.loads(pickle.dumps(r)))
    text = str(r.summary())
    assert "log evidence" in text
    assert "rounds" in text
    assert repr(r).startswith("LearntResult: log Z")
    assert r.posterior(100, rng=0).draws.shape == (100, 3)
    assert len(r.log_evidence_samples) == 200
    assert r.log_evidence_unbiased == r.log_evidence
    wider = r.reweight(lambda x: -0.4 * (x**2).sum(axis=1))
    assert wider.n_draws == r.n_draws


def test_what_needs_births_is_refused(tmp_path: Any) -> None:
    r = run()
    for call in (
        lambda: r.bootstrap(),
        lambda: r.merge(r),
        lambda: r.split(2),
        lambda: r.to_dynesty(),
        lambda: r.to_anesthetic(),
        lambda: r.write_dead_birth(tmp_path / "x"),
        lambda: r.extend(n_live=100),
        lambda: r.extend(dlogz=1e-3),
        lambda: r.extend(dynamic=fm.nested.Dynamic()),
    ):
        with pytest.raises(ArgumentError):
            call()


@pytest.mark.parametrize(
    "given",
    [
        {"batch": 10},
        {"bound": "single"},
        {"dynamic": True},
        {"dlogz": 0.1},
        {"likelihood_tol": 0.1},
        {"max_iter": 10},
        {"validate": True},
        {"surrogate": fm.nested.Surrogate()},
        {"runs": 2},
        {"n_live": 60},
        {"n_live": 2**31 - 1},
        {"sampler": fm.nested.Learnt(n_effective=2**31 - 1)},
    ],
)
def test_arguments_that_do_not_fit_are_refused(given: dict[str, Any]) -> None:
    name = next(iter(given)) if "sampler" not in given else "n_effective"
    with pytest.raises((ArgumentError, MemoryError), match=name):
        run(**given)


@pytest.mark.parametrize("n", [0, -1, 2.5, "many", None, math.inf])
def test_sizes_that_are_none_are_refused(n: Any) -> None:
    with pytest.raises(ArgumentError, match="n_effective"):
        fm.nested.Learnt(n_effective=n)


def test_hostile_likelihoods() -> None:
    with pytest.raises(TargetError, match="likelihood above 0"):
        run(lambda x: np.full(len(x), -np.inf), max_init_blocks=3)
    with pytest.raises(TargetError):
        run(lambda x: np.full(len(x), np.nan))
    with pytest.warns(FermiacWarning, match="NaN"):
        run(lambda x: np.where(x[:, 0] > 4, np.nan, normal(x)), on_nan="-inf")
    with pytest.raises(TargetError):
        run(lambda x: np.full(len(x), np.inf))
    huge = run(lambda x: 1e6 * normal(x))
    assert np.isfinite(huge.log_evidence)


def test_threads_of_other_calls_do_not_disturb() -> None:
    found: list[Any] = []
    workers = [threading.Thread(target=lambda: found.append(run())) for _ in range(2)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    assert same(found[0], found[1])


@pytest.mark.calibration
def test_pulls_over_seeds() -> None:
    """Errors of log Z hold: 16 runs on a skew law in closed form."""
    scale = np.array([0.05, 0.2, 0.1])
    exact = float(np.log(scale * -np.expm1(-1.0 / scale)).sum())
    prior = fm.distributions.Uniform([0.0] * 3, [1.0] * 3)
    sampler = fm.nested.Learnt(n_effective=500)
    pulls = []
    for seed in range(16):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            r = run(
                lambda x: -(x / scale).sum(axis=1), prior, sampler=sampler, rng=seed, n_live=150
            )
        pulls.append((r.log_evidence - exact) / r.log_evidence_stderr)
    within = np.mean(np.abs(pulls) < 2)
    assert within > 0.85
    assert abs(np.mean(pulls)) < 5 / math.sqrt(16)
    assert np.max(np.abs(pulls)) < 5
