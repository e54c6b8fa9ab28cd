"""Kernels as objects: settings, equality, provenance, and single transitions."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
from gibbs_help import Run, conditional, gradient, log_density

import fermiac as fm
from fermiac import mcmc
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError
from fermiac.random import Stream
from fermiac.targets import as_target

LAW = fm.distributions.Normal([0.0, 1.0])


@pytest.mark.parametrize("kind", [mcmc.NUTS, mcmc.RWM, mcmc.Slice])
@pytest.mark.parametrize(
    "metric",
    [
        [[1.0, 2.0], [2.0, 1.0]],
        np.ones((2, 2)),
        np.zeros((2, 2)),
        [[1.0, 0.0], [0.0, np.inf]],
    ],
)
def test_a_metric_that_is_no_covariance_is_refused(kind: Any, metric: Any) -> None:
    with pytest.raises(ArgumentError, match="positive definite"):
        mcmc.sample(LAW, kernel=kind(metric=metric), rng=0)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (mcmc.ULA, {"tamed": "no"}),
        (mcmc.UnderdampedLangevin, {"metropolis": 1}),
        (mcmc.MCLMC, {"adjusted": 1}),
        (mcmc.Discrete, {"support": [0, 1], "metropolised": "no"}),
        (mcmc.Gibbs, {"kernels": [("x", mcmc.RWM())], "overlap": "no"}),
    ],
)
def test_flags_are_flags(kind: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="True or False"):
        kind(**given)


@pytest.mark.parametrize(
    ("name", "place", "text"),
    [
        (0, {"x": [0, 1]}, "for a name"),
        (["x", ["y"]], {"x": 0, "y": 1}, "for a name"),
        ("x", [0, 1], "a dict"),
        ("x", {"x": [0, 0, 1]}, "twice"),
        ("x", {"x": [-1, 0, 1]}, "twice"),
        (["x", "x"], {"x": [0, 1]}, "twice"),
        ("x", {"x": slice("a")}, "whole numbers"),
        ("x", {"x": slice(0, 2.0)}, "whole numbers"),
    ],
)
def test_blocks_that_name_no_coordinates_are_refused(name: Any, place: Any, text: str) -> None:
    def run() -> None:
        mcmc.sample(LAW, kernel=mcmc.Gibbs([(name, mcmc.RWM())], blocks=place), n_draws=1, rng=0)

    with pytest.raises(ArgumentError, match=text):
        run()


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_two_kernels_may_share_a_block_where_overlap_is_allowed() -> None:
    kernels = [("x", mcmc.RWM()), ("x", mcmc.NUTS())]
    with pytest.raises(ArgumentError, match="overlap=True"):
        mcmc.sample(LAW, kernel=mcmc.Gibbs(kernels, blocks={"x": [0, 1]}), rng=0)
    kernel = mcmc.Gibbs(kernels, blocks={"x": [0, 1]}, overlap=True)
    s = mcmc.sample(LAW, kernel=kernel, n_warmup=20, n_draws=5, rng=0)
    assert {"x.acceptance_rate", "x#2.acceptance_rate"} <= set(s.stats)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (mcmc.RWM(metric=np.array([1.0, 2.0])), mcmc.RWM(metric=np.array([1.0, 3.0]))),
        (mcmc.NUTS(metric=np.eye(2)), mcmc.HMC(metric=np.eye(2))),
        (mcmc.Discrete(np.arange(3)), mcmc.Discrete(np.arange(4))),
        (
            mcmc.Gibbs([("x", mcmc.RWM())], blocks={"x": np.arange(2)}),
            mcmc.Gibbs([("x", mcmc.RWM())], blocks={"x": np.arange(3)}),
        ),
        (mcmc.Cycle([mcmc.RWM(metric=np.ones(2))]), mcmc.Cycle([mcmc.RWM(metric=np.zeros(2))])),
        (
            mcmc.Tempered(mcmc.RWM(), reference=LAW, betas=[1.0, 0.0]),
            mcmc.Tempered(mcmc.RWM(), reference=LAW, betas=[1.0, 0.5, 0.0]),
        ),
    ],
)
def test_kernels_are_equal_by_their_fields(one: mcmc.Kernel, other: mcmc.Kernel) -> None:
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert one == twin
        assert hash(one) == hash(twin)
    assert one != other
    assert one != 3


def test_provenance_keeps_numbers_of_numpy_as_numbers() -> None:
    kernel = mcmc.HMC(n_steps=np.int64(3), step_size=np.float32(0.5))  # type: ignore[arg-type]
    settings = json.loads(json.dumps(kernel._settings()))
    assert (settings["n_steps"], settings["step_size"]) == (3, 0.5)
    blocks = mcmc.Gibbs([("x", kernel)], blocks={"x": slice(0, 2)})._settings()
    assert blocks["coordinates"] == {"x": "slice(0, 2, None)"}


def test_walkers_that_arrive_late_are_told() -> None:
    def narrow(x: Any) -> Any:
        return -0.5 * ((x / 1e-4) ** 2).sum(axis=1)

    with pytest.warns(ConvergenceWarning, match="farther out"):
        s = mcmc.sample(narrow, 1, kernel=mcmc.DE(), n_chains=32, n_warmup=20, rng=1)
    assert s.draws.std() > 1e-3
    near = 1e-4 * np.random.default_rng(0).normal(size=(32, 1))
    s = mcmc.sample(narrow, 1, kernel=mcmc.DE(), n_chains=32, init=near, n_warmup=0, rng=0)
    assert s.warnings == ()


def test_a_likelihood_is_not_mixed_up_with_a_posterior() -> None:
    prior = fm.distributions.Normal()
    likely, whole = mcmc.EllipticalSlice(prior), mcmc.EllipticalSlice(prior, "posterior")
    with pytest.raises(ArgumentError, match="'posterior'"):
        mcmc.Cycle([likely, mcmc.RWM()])
    with pytest.raises(ArgumentError, match="'posterior'"):
        mcmc.Gibbs([("x", mcmc.Cycle([likely])), ("y", mcmc.Discrete([0, 1]))])
    with pytest.raises(ArgumentError, match="'posterior'"):
        mcmc.Tempered(likely, reference=LAW)
    mcmc.Cycle([whole, mcmc.RWM()])
    mcmc.Tempered(whole, reference=LAW)
    # An exact draw asks nobody for a density.
    mcmc.Gibbs([("x", likely), ("y", mcmc.Conditional(lambda x, rng: rng.normal(x[:, 0])))])


def test_what_a_user_s_function_gives_is_checked() -> None:
    singular = mcmc.conditionals.MultivariateNormal(lambda x: ([0.0], [[0.0]]))
    with pytest.raises(ArgumentError, match="not positive definite"):
        mcmc.sample(None, 1, kernel=singular, rng=0)

    class Empty:
        def init(self, target: Any, x0: Any) -> Any:
            return x0

        def step(self, rng: Any, state: Any) -> Any:
            return (), None

    with pytest.raises(fm.errors.TargetError, match=r"a point of shape \(\)"):
        mcmc.sample(LAW, kernel=Empty(), rng=0)


mcmc = fm.mcmc


TARGET = as_target(log_density, 2, gradient)


@pytest.mark.parametrize(
    "kernel",
    [
        mcmc.RWM(scale=1.0),
        mcmc.MALA(step_size=1.0),
        mcmc.Gibbs(
            [("x", mcmc.MALA(step_size=1.0)), ("y", mcmc.Conditional(conditional(1)))],
            blocks={"x": 0, "y": 1},
        ),
    ],
)
def test_steps_are_those_of_a_run(kernel: Any) -> None:
    start = np.array([0.3, -0.2])
    rng = Stream(7)
    first = state = kernel.init(TARGET, start)
    assert state.log_density == log_density(start[None])[0]
    states = []
    for _ in range(20):
        state, info = kernel.step(rng, state)
        states.append(state)
    run = Run(kernel, start[None], TARGET)
    run.sampler.set_stream_position(Stream(7).position)
    draws, values, stats = run.go(20)
    np.testing.assert_array_equal([s.x for s in states], draws[0])
    np.testing.assert_array_equal([s.log_density for s in states], values[0])
    assert info == {name: column[0, -1] for name, column in stats.items()}
    # A state does not change; the stream does.
    assert not np.array_equal(kernel.step(rng, first)[0].x, states[0].x)
    np.testing.assert_array_equal(kernel.step(Stream(7), first)[0].x, states[0].x)


def test_bad_steps() -> None:
    kernel = mcmc.MALA()
    with pytest.raises(ArgumentError, match="gradient"):
        kernel.init(log_density, [0.0, 0.0])
    with pytest.raises(ArgumentError, match="x0"):
        kernel.init(TARGET, 0.0)
    with pytest.raises(TargetError, match="density is 0"):
        mcmc.RWM().init(lambda x: np.full(len(x), -np.inf), [0.0])
    state = kernel.init(TARGET, [0.0, 0.0])
    with pytest.raises(ArgumentError, match="rng"):
        kernel.step(3, state)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="state"):
        kernel.step(Stream(0), [0.0])  # type: ignore[arg-type]
