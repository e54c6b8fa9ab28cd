"""Tests of samplers: Galilean Monte Carlo, options, and names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forms import DIM, builtin_density, formula, slope
from nested_runs import PRIOR, assert_same, run
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.nested import Galilean
from fermiac.nested.samplers import SAMPLERS

Array = NDArray[np.float64]
SHORT = Galilean(n_steps=8)
# Chains of the tests may be short.
pytestmark = pytest.mark.filterwarnings("ignore:(chains|families) :fermiac.errors.FermiacWarning")


def box(dim: int, low: float, high: float) -> Any:
    return fm.distributions.Uniform([low] * dim, [high] * dim)


def correlated() -> tuple[Any, Any, float]:
    cov = 0.4 + 0.6 * np.eye(5)
    law = fm.distributions.MultivariateNormal(np.linspace(-1, 1, 5), cov)
    return law, box(5, -10, 10), -5 * np.log(20)


def many() -> tuple[Any, Any, float]:
    return fm.distributions.Normal([0.0] * 20), box(20, -5, 5), -20 * np.log(10)


def at_walls() -> tuple[Any, Any, float]:
    """The peak lies in a corner of the prior."""
    return fm.distributions.Normal([0.0] * 4), box(4, 0, 8), -4 * np.log(16)


def bounded() -> tuple[Any, Any, float]:
    """A density that is 0, without a gradient, on one side of its peak."""
    laws = [fm.distributions.Exponential(0.5), fm.distributions.Gamma(2.0, 0.5)]
    return fm.distributions.Product(laws), box(2, -8, 12), -2 * np.log(20)


def curved() -> tuple[Any, Any, float]:
    """Under a prior of normals that are correlated, and of a law with one tail."""
    cov = np.array([[2.0, 0.8], [0.8, 1.0]])
    tail = fm.distributions.Exponential(2.0)
    prior = fm.distributions.Product([fm.distributions.MultivariateNormal([0.5, 0.0], cov), tail])
    law = fm.distributions.MultivariateNormal([1.0, 1.0, 1.0], np.diag([0.09, 0.04, 0.04]))
    plane = stats.multivariate_normal([0.5, 0.0], cov + np.diag([0.09, 0.04]))
    # The exponential law over a normal one, completed to a square.
    edge = stats.norm.logsf(-(1.0 - 0.5 * 0.04) / 0.2) + np.log(0.5) - 0.5 + 0.5 * 0.25 * 0.04
    return law, prior, float(plane.logpdf([1.0, 1.0]) + edge)


@pytest.mark.parametrize("make", [correlated, many, at_walls, bounded, curved])
def test_known_evidences(make: Any) -> None:
    law, prior, exact = make()
    n = 8 if law.dim == 20 else 12
    runs = [fm.nested.sample(law, prior, sampler="galilean", n_live=120, rng=k) for k in range(n)]
    z = np.array([(r.log_evidence - exact) / r.log_evidence_stderr for r in runs])
    assert abs(z.mean()) * np.sqrt(n) < 5, z
    assert np.abs(z).max() < 5, z


def test_periodic_and_mirrored_axes() -> None:
    def value(x: Array) -> tuple[Array, Array]:
        a, b = 2 * np.pi * x[:, 0], x[:, 1]
        gradient = np.column_stack([-8 * np.pi * np.sin(a), -50 * b])
        return 4 * np.cos(a) - 25 * b**2, gradient

    # The mean of exp(4 cos) over the circle is a Bessel function.
    exact = np.log(np.i0(4.0)) + np.log(np.sqrt(np.pi / 25) / 2)
    runs = [
        fm.nested.sample(
            value,
            box(2, 0, 1),
            gradient=True,
            sampler="galilean",
            n_live=100,
            periodic=[0],
            reflective=[1],
            rng=k,
        )
        for k in range(10)
    ]
    z = np.array([(r.log_evidence - exact) / r.log_evidence_stderr for r in runs])
    assert abs(z.mean()) * np.sqrt(10) < 5, z


def test_two_modes_keep_their_masses() -> None:
    near, far = ([s * 4.0] * 3 for s in (-1, 1))
    parts = [fm.distributions.Normal(m, [0.5] * 3) for m in (near, far)]
    law = fm.distributions.Mixture([0.25, 0.75], parts)
    r = [fm.nested.sample(law, box(3, -8, 8), sampler="galilean", rng=k) for k in range(4)]
    z = np.array([(one.log_evidence + 3 * np.log(16)) / one.log_evidence_stderr for one in r])
    assert np.abs(z).max() < 5, z
    share = np.array([one._weights()[one.draws[:, 0] < 0].sum() for one in r])
    assert abs(share.mean() - 0.25) < 0.12, share


def pair(x: Array) -> tuple[Array, Array]:
    return formula(x), slope(x)


def test_every_form_of_a_gradient() -> None:
    reference = run(formula, gradient=slope, sampler=SHORT)
    assert_same(reference, run(pair, gradient=True, sampler=SHORT))
    law = builtin_density()
    by_python = run(lambda x: law.log_density_and_gradient(x), gradient=True, sampler=SHORT)
    assert_same(run(law, sampler=SHORT), by_python)
    assert reference.log_evidence == pytest.approx(by_python.log_evidence, abs=1.0)


@pytest.mark.torch
def test_a_torch_likelihood() -> None:
    torch = pytest.importorskip("torch")

    def value(x: Any) -> Any:
        return -0.5 * (x**2).sum(-1) - 0.5 * DIM * float(np.log(2 * np.pi))

    target = fm.targets.torch(value, DIM, dtype=torch.float64)
    r = run(target, sampler=SHORT, dlogz=0.1)
    assert abs(r.log_evidence + DIM * np.log(18)) < 5 * r.log_evidence_stderr


@pytest.mark.parametrize("how", [{}, {"periodic": [0]}, {"sampler": Galilean(n_steps=9, step=0.7)}])
def test_threads_leave_the_bits(how: dict[str, Any]) -> None:
    law = builtin_density()
    runs = [
        run(law, plan=fm.Plan(n_threads=n), **{"sampler": SHORT, "n_live": 200, **how})
        for n in (1, 2, 3)
    ]
    assert_same(runs[0], runs[1])
    assert_same(runs[0], runs[2])


def test_resumed_runs_have_the_same_bits(tmp_path: Path) -> None:
    whole = run(pair, gradient=True, sampler=SHORT)
    left = {30, 31, 70, 151}
    calls = 0

    def stops(x: Array) -> tuple[Array, Array]:
        nonlocal calls
        calls += 1
        if calls in left:
            left.remove(calls)
            raise KeyboardInterrupt
        return pair(x)

    how = {"gradient": True, "sampler": SHORT, "store": tmp_path / "run"}
    resumed = None
    while resumed is None:
        try:
            resumed = run(stops, **how)
        except KeyboardInterrupt:
            continue
    assert not left
    assert_same(whole, resumed)


def test_steps_are_tuned() -> None:
    """One step in three meets the boundary and asks again."""
    law, prior, _ = correlated()
    r = fm.nested.sample(law, prior, sampler=Galilean(n_steps=20), rng=0)
    evals = 1 / np.asarray(r.trace["efficiency"])
    assert 24 < np.median(evals[len(evals) // 2 :]) < 30
    assert Galilean()._options(20)["n_moves"] == 45
    assert Galilean()._with_moves(90) == Galilean(n_steps=90)


def test_what_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"sampler: Galilean reflects.*give gradient="):
        run(formula, sampler="galilean")
    for prior in (lambda u: 18 * u - 8, [stats.gumbel_l()] * DIM):
        with pytest.raises(ArgumentError, match=r"prior: .*no derivative.*fermiac\.distributions"):
            fm.nested.sample(formula, prior, DIM, gradient=slope, sampler="galilean")
    with pytest.raises(ArgumentError, match="gradient: given with blobs"):
        fm.nested.sample(pair, PRIOR, gradient=True, blobs=1)
    with pytest.raises(ArgumentError, match="step: "):
        Galilean(step=0.0)
    with pytest.raises(ArgumentError, match="n_steps: 0"):
        Galilean(n_steps=0)
    with pytest.raises(TargetError, match="gradient"):
        run(formula, gradient=lambda x: np.full_like(x, np.nan), sampler="galilean")


def test_options_of_samplers() -> None:
    for make, message in [
        (lambda: fm.nested.Uniform(bootstrap=-1), "bootstrap: -1"),
        (lambda: fm.nested.Uniform(enlarge=0.9), r"enlarge: 0\.9 was given.*from 1 up"),
        (lambda: fm.nested.Uniform(enlarge="much"), "enlarge: 'much'"),  # type: ignore[arg-type]
        (lambda: fm.nested.Slice(n_slices=0), "n_slices: 0"),
        (lambda: fm.nested.Slice(direction="up"), "direction: 'up'.*'mixture'"),
        (lambda: fm.nested.Slice(step_out=1), "step_out: 1"),  # type: ignore[arg-type]
        (lambda: fm.nested.RandomWalk(n_steps=0), "n_steps: 0"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            make()


def test_names_of_samplers() -> None:
    assert SAMPLERS.resolve("unif") == SAMPLERS.resolve("uniform") == fm.nested.Uniform()
    assert SAMPLERS.resolve(SHORT) is SHORT
    for given, message in [
        ("slices", "sampler: 'slices' was given; did you mean 'slice'"),
        (fm.nested.Slice, "the class Slice was given"),
        (3, "sampler: 3 was given; an object such as"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            run(sampler=given)
