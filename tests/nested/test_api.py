"""Tests of `sample` on problems with known evidences: samplers, bounds, and edges of axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from benches.nested.problem import Problem
from benches.nested.problems import problem
from numpy.typing import NDArray
from plans import planned
from scipy import special, stats

import fermiac as fm
from fermiac.errors import ConvergenceWarning

Array = NDArray[np.float64]
Runs = Sequence[fm.nested.NestedResult]
N_SEEDS = 10
# Few live points and short chains: what a run says of them has tests of its own below.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{text}:fermiac.errors.FermiacWarning")
    for text in ("chains ", "families of points", "the weighted values of", "the bound had to be")
]


def box(dim: int, low: float = 0.0, high: float = 1.0) -> Any:
    return fm.distributions.Uniform([low] * dim, [high] * dim)


def runs_of(f: Callable[[Array], Any], prior: Any, n: int = N_SEEDS, **how: Any) -> Runs:
    return [
        fm.nested.sample(f, prior, **planned(**{"n_live": 100, "n_threads": 1, **how}), rng=seed)
        for seed in range(n)
    ]


def of_problem(p: Problem, **how: Any) -> Runs:
    return runs_of(p.values, p.prior, **{"periodic": p.periodic, **how})


def check(runs: Runs, exact: float, means: Any = None, status: str = "complete") -> None:
    """Evidences without bias and within their errors; means of the posterior without bias."""
    z = np.array([(r.log_evidence - exact) / r.log_evidence_stderr for r in runs])
    assert abs(z.mean()) < 1.0, z
    assert np.abs(z).max() < 5, z
    assert {r.status for r in runs} == {status}
    if means is not None:
        found = np.array([r._weights() @ r.draws for r in runs])
        error = found.std(axis=0, ddof=1) / math.sqrt(len(runs))
        assert np.abs((found.mean(axis=0) - means) / error).max() < 5, found


def check_errors(runs: Runs, means: Any) -> None:
    """The errors of posterior means are those that they say."""
    found = [r.expect(lambda x: x) for r in runs]
    apart = np.array([(e.mean - means) / e.stderr for e in found])
    assert np.abs(apart).max() < 6, apart
    assert np.abs(apart.mean(axis=0)).max() < 4 / math.sqrt(len(runs)), apart.mean(axis=0)
    assert 0.6 < apart.std() < 1.6, apart.std()


CASES: list[tuple[str, dict[str, Any]]] = [
    *[("gauss5", {"sampler": "unif", "bound": b}) for b in ("single", "multi", "friends")],
    *[("gauss5", {"sampler": "slice", "bound": b}) for b in ("none", "multi")],
    *[("gauss5", {"sampler": "rwalk", "bound": b}) for b in ("single", "friends")],
    ("gauss5", {"sampler": "auto", "batch": 1}),
    ("gauss5", {"sampler": "auto", "batch": 50}),
    ("shells2", {"sampler": "unif", "bound": "none"}),
    ("wedding_cake", {"sampler": "unif"}),
    ("wedding_cake", {"sampler": "slice"}),
    ("wedding_cake", {"sampler": "rwalk"}),
    ("ordered", {"sampler": "auto"}),
    ("ordered", {"sampler": "slice", "batch": 40}),
    ("ordered", {"sampler": "rwalk", "bound": "none"}),
    ("von_mises", {"sampler": "unif"}),
    ("von_mises", {"sampler": "unif", "bound": "friends"}),
    ("von_mises", {"sampler": "slice"}),
    ("von_mises", {"sampler": "rwalk"}),
]
#: With several modes, between which chains do not go. All points of bounds give log Z to 0.01, and
#: one of 18 modes is 0.06 of it: with 22 live points a mode, one run in ten loses one.
MODES: list[tuple[str, dict[str, Any]]] = [
    ("eggbox", {"sampler": "unif", "bound": "multi", "n_live": 800}),
    ("eggbox", {"sampler": "unif", "bound": "friends", "n_live": 800}),
    ("eggbox", {"sampler": "slice"}),
    ("eggbox", {"sampler": "auto", "n_live": 200}),
    *[("shells2", {"sampler": "unif", "bound": b}) for b in ("single", "multi", "friends")],
    ("shells2", {"sampler": "slice", "bound": "friends"}),
    ("shells2", {"sampler": "rwalk"}),
]


def named(cases: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [pytest.param(n, h, id="-".join(map(str, [n, *h.values()]))) for n, h in cases]


@pytest.mark.parametrize(("name", "how"), named(CASES))
def test_known_evidences(name: str, how: dict[str, Any]) -> None:
    p = problem(name)
    runs = of_problem(p, **how)
    check(runs, p.log_evidence, p.means)
    check_errors(runs, p.means)
    if how["sampler"] == "unif":
        assert not any(r.warnings for r in runs)


@pytest.mark.parametrize(("name", "how"), named(MODES))
def test_several_modes(name: str, how: dict[str, Any]) -> None:
    p = problem(name)
    runs = of_problem(p, **how)
    check(runs, p.log_evidence, p.means)
    if how["sampler"] == "unif":
        check_errors(runs, p.means)


@pytest.mark.parametrize(
    "how", [{"n_live": 50}, {"n_live": 40, "batch": 1}, {"batch": 40}], ids=str
)
def test_the_error_is_that_of_many_runs(how: dict[str, Any]) -> None:
    """Bias and scatter over thirty runs, with a bound and with chains."""
    law = fm.distributions.Normal([0.3, -0.2, 0.0], [0.5, 0.4, 1.0])
    for sampler in ("unif", fm.nested.Slice(n_slices=12)):
        runs = runs_of(law, box(3, -10.0, 10.0), 30, **{"n_live": 80, **how, "sampler": sampler})
        z = np.array([(r.log_evidence + 3 * math.log(20)) / r.log_evidence_stderr for r in runs])
        assert abs(z.mean()) < 5 / math.sqrt(30), z.mean()
        assert 0.65 < z.std() < 1.5, z.std()
        ranks = np.array([r.rank_z for r in runs])
        assert abs(ranks.mean()) < 5 / math.sqrt(30), ranks.mean()
        assert 0.65 < ranks.std() < 1.5, ranks.std()


def test_a_constant_likelihood_is_integrated_exactly() -> None:
    for c in (-1.5, 0.0, 1e5, -3e7):
        for how in ({}, {"batch": 1}, {"sampler": "rwalk"}, {"n_live": 10, "sampler": "slice"}):
            with pytest.warns(ConvergenceWarning, match="values of the log-likelihood are equal"):
                r = runs_of(lambda x, c=c: np.full(len(x), c), box(2), 1, **how)[0]
            assert r.log_evidence == pytest.approx(c, rel=1e-15, abs=1e-14)
            assert r.status == "plateau"
            assert not r.converged
            assert r.information == pytest.approx(0, abs=1e-9)
            assert r.n_evals == r.n_draws == 100 * how.get("n_live", 100)
            with pytest.warns(ConvergenceWarning, match="all 350 values"):
                runs_of(lambda x: np.zeros(len(x)), box(2), 1, n_live=50, max_evals=350)


@pytest.mark.parametrize("sampler", ["auto", "slice"])
def test_a_peak_that_the_first_points_miss(sampler: str) -> None:
    """Most sets of 100 points have none in the region of the peak, whose prior mass is 8e-4."""
    exact = math.log(0.0008 + 0.9992 * math.exp(-20))

    def values(x: Array) -> Array:
        return np.where(np.abs(x - 0.7).max(axis=1) < 0.5 * math.sqrt(0.0008), 0.0, -20.0)

    for r in runs_of(values, box(2), 20, sampler=sampler):
        assert abs(r.log_evidence - exact) < 4 * r.log_evidence_stderr


def test_a_plateau_at_the_top() -> None:
    """A third of the prior has the largest likelihood: its points have it in equal parts."""

    def values(x: Array) -> Array:
        return np.where(x[:, 0] < 1 / 3, 2.0, 3.0 * x[:, 0] - 3.0)

    # The plateau, and the integral of exp(3 x - 3) from 1/3 to 1.
    exact = math.log(math.exp(2.0) / 3 + (1 - math.exp(-2.0)) / 3)
    for sampler in ("unif", "slice", "rwalk"):
        runs = runs_of(values, box(2), sampler=sampler, dlogz=1e-9)
        check(runs, exact, status="plateau")
        for r in runs:
            top = r.log_likelihoods == 2.0
            assert top[-80:].all()
            assert r.births.max() < 2.0


@pytest.mark.parametrize("sampler", ["unif", "slice", "rwalk"])
@pytest.mark.parametrize("batch", [1, 12])
@pytest.mark.filterwarnings("ignore:all .* values of the log-likelihood are equal")
def test_nothing_but_a_corner_is_possible(sampler: str, batch: int) -> None:
    """-inf over 23/24 of the prior, and one value on the rest: its share is all there is."""

    def values(x: Array) -> Array:
        return np.where((np.diff(x, axis=1) > 0).all(axis=1), 0.0, -np.inf)

    runs = runs_of(values, box(4), 40, sampler=sampler, batch=batch)
    assert {r.status for r in runs} == {"plateau"}
    z = np.array([(r.log_evidence + math.log(24)) / r.log_evidence_stderr for r in runs])
    assert abs(z.mean()) < 5 / math.sqrt(40)
    assert np.abs(z).max() < 5
    r = runs[0]
    impossible = r.log_likelihoods == -np.inf
    # The live points are all equal, and 100 blocks are drawn.
    assert 9400 < impossible.sum() < 9750
    assert (r.log_prior_masses[impossible] > -np.inf).all()
    assert (r.log_weights[impossible] == -np.inf).all()
    assert r.n_live == 100
    np.testing.assert_array_equal(r.n_alive, np.arange(r.n_draws, 0, -1))


KAPPA = 40.0


def angles(x: Array) -> Array:
    """A peak at the joint of the first axis, and a slope along the second."""
    return KAPPA * (np.cos(x[:, 0]) - 1.0) + 2.0 * x[:, 1]


#: The mean of exp(κ (cos x - 1)) over the circle, times that of exp(2 y).
ANGLES = math.log(special.ive(0, KAPPA)) + math.log(math.expm1(2.0) / 2.0)
CIRCLE = fm.distributions.Product(
    [fm.distributions.Uniform(0.0, 2 * math.pi), fm.distributions.Uniform(0.0, 1.0)]
)


@pytest.mark.parametrize("periodic", [(0,), ("angle",), (True, False), ()], ids=str)
@pytest.mark.parametrize(
    "how",
    [{"bound": "single"}, {"bound": "multi"}, {"bound": "friends"}, "slice", "axes", "rwalk"],
    ids=lambda how: how if isinstance(how, str) else how["bound"],
)
def test_a_periodic_axis(how: Any, periodic: tuple[Any, ...]) -> None:
    samplers = {"axes": fm.nested.Slice(direction="axes", n_slices=12)}
    if isinstance(how, str):
        how = {"sampler": samplers.get(how, how)}
    else:
        how = {"sampler": "unif", **how}
    runs = runs_of(angles, CIRCLE, periodic=periodic, names=["angle", "slope"], **how)
    check(runs, ANGLES, [math.pi, 1 / (1 - math.exp(-2.0)) - 0.5])
    for r in runs[:3]:
        # Both ends of the circle, with like weight.
        share = r.expect(lambda x: x[:, 0] < math.pi)
        assert share.mean == pytest.approx(0.5, abs=5 * share.stderr if periodic else 0.35)
        assert ((r.unit_draws > 0) & (r.unit_draws < 1)).all()
        np.testing.assert_allclose(r.draws, r.unit_draws * [2 * math.pi, 1.0], rtol=1e-15)
    if periodic and how["sampler"] == "unif":
        # One piece where the circle is closed, so that the bound is no wider than need be.
        assert np.mean([r.n_evals for r in runs]) < 2500


@pytest.mark.parametrize("sampler", ["unif", "slice", "rwalk"])
def test_reflective_axes(sampler: str) -> None:
    """Half-normal peaks at an end of each of two axes, and a whole one on the third."""
    scale = np.array([0.02, 0.05, 0.1])
    centre = np.array([0.0, 1.0, 0.5])
    law = fm.distributions.Normal(centre, scale)
    exact = math.log(0.5 * 0.5) + math.log1p(-2 * stats.norm.sf(5.0))
    half = math.sqrt(2 / math.pi)
    means = [scale[0] * half, 1 - scale[1] * half, 0.5]
    mirrored = runs_of(law, box(3), sampler=sampler, reflective=[0, 1])
    check(mirrored, exact, means)
    check_errors(mirrored, means)
    assert all(((r.unit_draws >= 0) & (r.unit_draws <= 1)).all() for r in mirrored)
    check(runs_of(law, box(3), sampler=sampler, reflective=[-1], periodic=[1]), exact, means)


@pytest.mark.parametrize(
    "how", [{"sampler": "unif", "bound": b} for b in ("multi", "friends")], ids=str
)
def test_two_modes_far_apart(how: dict[str, Any]) -> None:
    """Two laws with 0.7 and 0.3 of the mass: the shares of the modes, as well as the evidence."""
    dim = 3
    laws = [
        fm.distributions.MultivariateNormal(np.full(dim, at), 0.25 * np.eye(dim))
        for at in (3.0, -3.0)
    ]
    mixture = fm.targets.law_density(fm.distributions.Mixture([0.7, 0.3], laws))
    runs = runs_of(mixture, box(dim, -10.0, 10.0), n_live=200, **how)
    check(runs, -dim * math.log(20), [1.2] * dim)
    shares = [r.expect(lambda x: x[:, 0] > 0) for r in runs]
    apart = np.array([(e.mean - 0.7) / e.stderr for e in shares])
    assert abs(apart.mean()) < 4 / math.sqrt(len(runs))
    assert np.abs(apart).max() < 5


def loggamma(x: Array) -> Array:
    """The first three factors of Beaujean and Caldwell (2013): four modes with heavy tails."""
    low, high = 30 * x - 10, 30 * x - 20
    one = np.logaddexp(low[:, 0] - np.exp(low[:, 0]), high[:, 0] - np.exp(high[:, 0]))
    two = np.logaddexp(-0.5 * low[:, 1] ** 2, -0.5 * high[:, 1] ** 2)
    constant = 3 * math.log(30) - 2 * math.log(2) - 0.5 * math.log(2 * math.pi)
    out: Array = one + two + high[:, 2] - np.exp(high[:, 2]) + constant
    return out


@pytest.mark.parametrize("sampler", ["unif", "slice", "auto"])
def test_heavy_tails(sampler: str) -> None:
    # The tails beyond the box have less than 1e-4 of the mass.
    check(runs_of(loggamma, box(3), sampler=sampler, n_live=150), 0.0)


def spike_and_slab(x: Array) -> Array:
    """A narrow law with 100 times the mass of a wide one, after Skilling (2006)."""
    dim, (wide, narrow) = x.shape[1], (0.1, 0.01)
    near, far = ((x - 0.03) ** 2).sum(axis=1), (x**2).sum(axis=1)
    slab = -0.5 * far / wide**2 - dim * math.log(wide)
    spike = -0.5 * near / narrow**2 - dim * math.log(narrow) + math.log(100)
    out: Array = np.logaddexp(slab, spike) - 0.5 * dim * math.log(2 * math.pi) - math.log(101)
    return out


def test_a_spike_on_a_slab() -> None:
    """Runs that are patient enough find the spike; those that are not end on the slab."""
    prior = box(8, -0.5, 0.5)
    # The mean error of eight runs has a standard deviation of 0.35 of their errors.
    runs = runs_of(spike_and_slab, prior, 8, sampler="slice", dlogz=1e-10)
    check(runs, 0.0, [0.03 * 100 / 101] * 8)
    hasty = runs_of(spike_and_slab, prior, 6, sampler="slice", dlogz=0.5)
    errors = np.array([(r.log_evidence + math.log(101)) / r.log_evidence_stderr for r in hasty])
    assert np.abs(errors).max() < 5
    assert all(r.converged for r in hasty)


@pytest.mark.parametrize(
    ("limit", "what"),
    [
        ({"max_evals": 2000}, "max_evals"),
        ({"max_iter": 7}, "max_iter"),
        ({"max_time": 1e-9}, "max_time"),
    ],
)
def test_limits(limit: dict[str, Any], what: str) -> None:
    p = problem("gauss5")
    with pytest.warns(
        ConvergenceWarning, match=rf"ended by {what}.* before it had converged"
    ) as caught:
        r = fm.nested.sample(p.values, p.prior, rng=0, n_live=100, **planned(**limit))
    assert len(caught) == 1
    assert r.status == "stopped"
    assert not r.converged
    assert r.warnings == (caught[0].message.args[0],)
    assert r.settings[what] == limit[what]
    # The live points are counted in.
    assert np.isfinite(r.log_evidence)
    assert r.n_alive[-1] == 1
    if what == "max_iter":
        assert len(r.trace["log_x"]) == 7
    if what == "max_evals":
        assert 2000 <= r.n_evals < 2000 + 1500


def test_likelihood_tol_ends_a_run() -> None:
    r = runs_of(lambda x: -x[:, 0], box(2), 1, likelihood_tol=0.3, dlogz=1e-12)[0]
    assert r.status == "plateau"
    assert np.ptp(r.log_likelihoods[-100:]) < 0.3


def test_what_is_known_of_a_run() -> None:
    p = problem("gauss5")
    r = of_problem(p, n=1, names=list("abcde"), sampler="slice", dlogz=0.1)[0]
    assert r.names == tuple("abcde")
    assert r.seed == 0
    assert r.n_live == 100
    assert r.settings["batch"] == 12
    assert "Slice" in r.settings["sampler"]
    assert r.n_evals > r.n_draws
    assert 0 < r.timings["target"] < r.timings["total"]
    assert r.blobs is None
    assert {len(t) for t in r.trace.values()} == {len(r.trace["level"])}
    assert (np.diff(r.trace["log_x"]) < 0).all()
    assert (np.diff(r.trace["level"]) > 0).all()
    assert (np.diff(r.log_likelihoods) > 0).all()
    assert (r.births < r.log_likelihoods).all()
    assert set(r.births) - {-np.inf} <= set(r.log_likelihoods)
    # Each slot was filled again after it died, until the last points.
    assert set(r.lineages) == set(range(100))
    for lineage in range(100):
        own = r.lineages == lineage
        assert r.births[own][0] == -np.inf
        # Reborn at the level of the batch in which the one before died.
        assert (r.births[own][1:] >= r.log_likelihoods[own][:-1]).all()
    assert set(r.families) <= set(range(100))
    np.testing.assert_array_equal(r.log_densities, p.values(r.draws))
    np.testing.assert_array_equal(r.draws, r.unit_draws * 20.0 - 10.0)
    assert (r.n_alive <= 100).all()
    assert (r.n_alive[-100:] == np.arange(100, 0, -1)).all()
    left = np.logaddexp(r.log_x[-101] + r.log_likelihoods[-1], r.log_evidence) - r.log_evidence
    assert left < 0.1


def test_ranks_of_single_points_are_tested_in_windows() -> None:
    prior = fm.distributions.Uniform(np.zeros(3), np.ones(3))

    def f(x: Array) -> Array:
        return -200 * ((x - 0.5) ** 2).sum(axis=1)

    how = {"n_live": 60, "sampler": "unif"}
    found = [fm.nested.sample(f, prior, batch=1, rng=k, **how).rank_p_value for k in range(5)]
    assert all(1e-4 < p <= 1 for p in found), found
    assert len(set(found)) > 1
    assert np.isnan(fm.nested.sample(f, prior, rng=0, **how).rank_p_value)


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
@pytest.mark.parametrize("name", ["corner", "log-gamma"])
def test_one_mode_that_is_no_ellipsoid(name: str) -> None:
    """A bound cuts such a mode into parts; chains must not take them for modes."""

    def f(x: Array) -> Array:
        y = 200 * x if name == "corner" else 200 * (x - 0.7)
        return (-y if name == "corner" else y - np.exp(y)).sum(axis=1)

    exact = -5 * np.log(200)
    prior = fm.distributions.Uniform(np.zeros(5), np.ones(5))
    runs = [fm.nested.sample(f, prior, n_live=200, sampler="slice", rng=k) for k in range(6)]
    z = np.array([(r.log_evidence - exact) / r.log_evidence_stderr for r in runs])
    assert abs(z.mean()) < 1, z
    assert np.abs(z).max() < 5, z
