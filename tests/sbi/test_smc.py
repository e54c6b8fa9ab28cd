"""Sequential ABC: a posterior that is known for each distance, bits, resumed runs, arguments."""

from __future__ import annotations

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import (
    ArgumentError,
    CheckpointError,
    ConvergenceWarning,
    FermiacWarning,
    TargetError,
    WeightWarning,
)
from fermiac.sbi import abc_smc

PRIOR = fm.distributions.Normal(0.0, 2.0)
pytestmark = pytest.mark.filterwarnings("ignore:.* particles are few")


def simulate(theta: Any, stream: Any) -> Any:
    return theta + stream.normal(theta.size)


def known(epsilon: float) -> tuple[float, float]:
    """Mean and variance given |s - 1.5| <= epsilon, by quadrature."""
    from scipy.stats import norm

    x = np.linspace(-12, 12, 20_001)
    w = norm.pdf(x, 0, 2) * (norm.cdf(1.5 + epsilon - x) - norm.cdf(1.5 - epsilon - x))
    w /= w.sum()
    mean = float(w @ x)
    return mean, float(w @ (x - mean) ** 2)


def far(summaries: Any, observed: Any) -> Any:
    return np.full(len(summaries), 3.0)


def run(**more: Any) -> Any:
    options: dict[str, Any] = {"rng": 1, "min_acceptance": 0.2, **more}
    return abc_smc(simulate, PRIOR, 1.5, options.pop("n_particles", 200), **options)


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_the_posterior_for_each_distance(rounds: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        s = run(n_particles=1000, max_rounds=rounds, scale="none")
    assert len(s.rounds) == rounds
    mean, variance = known(s.epsilon if rounds > 1 else 1e3)
    e = s.expect(lambda x: np.column_stack([x[:, 0], (x[:, 0] - mean) ** 2]))
    assert (abs(e.mean - [mean, variance]) < 5 * e.stderr).all()
    assert (s.distances <= s.epsilon).all()
    assert [r["epsilon"] for r in s.rounds] == sorted(
        (r["epsilon"] for r in s.rounds), reverse=True
    )
    assert s.n_simulations == sum(r["n_simulations"] for r in s.rounds) == s.n_evals


def test_errors_are_calibrated() -> None:
    pulls = []
    for seed in range(1000, 1040):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", WeightWarning)  # k-hat of few points is rough
            s = run(n_particles=100, rng=seed, max_rounds=3, scale="none")
            e = s.expect(lambda x: x[:, 0])
        pulls.append((e.mean - known(s.epsilon)[0]) / e.stderr)
    assert np.mean(np.abs(pulls) < 2) >= 0.85
    assert abs(np.mean(pulls)) < 5 / math.sqrt(40)
    assert 0.75 < np.std(pulls) < 1.35


def test_workers_and_their_speed_change_no_bit() -> None:
    import time

    def slow(theta: Any, stream: Any) -> Any:
        if theta[0] > 1:  # simulations with large parameters arrive late
            time.sleep(0.002)
        return simulate(theta, stream)

    a = run(n_particles=60)
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as pool:
            b = abc_smc(
                slow,
                PRIOR,
                1.5,
                60,
                rng=1,
                min_acceptance=0.2,
                plan=fm.Plan(executor=pool, progress=False),
            )
        np.testing.assert_array_equal(a.draws, b.draws)
        np.testing.assert_array_equal(a.log_weights, b.log_weights)
        assert a.rounds == b.rounds
        assert a.n_simulations == b.n_simulations


def test_pinned() -> None:
    s = run(n_particles=60)
    assert s.epsilon == pytest.approx(0.10463136805283547, rel=1e-12)
    assert float(s.mean[0]) == pytest.approx(1.4250267119166324, rel=1e-9)


class _Stop:
    """A progress callback that interrupts at a number of accepted simulations."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, done: int, total: int) -> None:
        if done >= self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("at", [30, 150, 230])
def test_a_resumed_run_has_the_same_bits(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fermiac.runs import loop

    monkeypatch.setattr(loop, "_REPORT", 0.0)
    whole = run(n_particles=60)
    file = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(n_particles=60, plan=fm.Plan(store=file, progress=_Stop(at)))
    part = stopped.value.partial_result
    assert (part is None) == (at < 60)
    if part is not None:
        assert part.status == "interrupted"
        assert len(part) == 60
    again = run(n_particles=60, plan=fm.Plan(store=file))
    np.testing.assert_array_equal(again.draws, whole.draws)
    np.testing.assert_array_equal(again.log_weights, whole.log_weights)
    assert again.rounds == whole.rounds
    # The file of the complete run gives the result without a simulation.
    calls = []

    def counted(theta: Any, stream: Any) -> Any:
        calls.append(1)
        return simulate(theta, stream)

    done = abc_smc(
        counted, PRIOR, 1.5, 60, min_acceptance=0.2, plan=fm.Plan(store=file, progress=False)
    )
    assert not calls
    assert done.seed == 1
    np.testing.assert_array_equal(done.draws, whole.draws)
    with pytest.raises(CheckpointError, match="quantile"):
        run(n_particles=60, plan=fm.Plan(store=file), quantile=0.3)


def test_another_simulator_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fermiac.runs import loop

    monkeypatch.setattr(loop, "_REPORT", 0.0)
    file = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(n_particles=60, plan=fm.Plan(store=file, progress=_Stop(70)))
    with pytest.raises(CheckpointError, match="the simulator gives"):
        abc_smc(
            lambda theta, stream: simulate(theta, stream) + 0.1, PRIOR, 1.5, 60, rng=1,
            min_acceptance=0.2, plan=fm.Plan(store=file, progress=False),
        )  # fmt: skip


def test_a_prior_with_bounds_and_names() -> None:
    prior = {"rate": fm.distributions.Gamma(2.0), "share": fm.distributions.Uniform(0.0, 1.0)}

    def counts(theta: Any, stream: Any) -> Any:
        assert theta[0] > 0
        assert 0 < theta[1] < 1
        x = stream.exponential(20) / theta[0]
        return [x.mean(), (stream.uniform(50) < theta[1]).mean()]

    s = abc_smc(counts, prior, [0.5, 0.3], 200, min_acceptance=0.15, rng=0)
    assert s["share"].shape == (200,)
    # The posterior of a share after 15 of 50 is Beta(16, 36), of mean 0.308.
    e = s.expect("share")
    assert abs(float(e.mean) - 16 / 52) < 5 * float(e.stderr) + 0.01


def test_the_end_of_a_run() -> None:
    assert run(epsilon=0.5, scale="none").epsilon == 0.5
    with pytest.warns(ConvergenceWarning, match="before it reached epsilon"):
        run(n_particles=50, epsilon=1e-6)
    with pytest.warns(ConvergenceWarning, match="2 rounds"):
        assert len(run(max_rounds=2).rounds) == 2
    with pytest.warns(ConvergenceWarning, match="simulations"):
        s = run(max_simulations=500)
    assert s.n_simulations == 500
    whole = lambda theta, stream: np.round(simulate(theta, stream))  # noqa: E731
    s = abc_smc(whole, PRIOR, 1.0, 100, min_acceptance=0.05, rng=0)
    assert s.epsilon == 0.0
    assert s.settings["ended"] == "epsilon"
    same = lambda theta, stream: 1.0 + 0.0 * theta  # noqa: E731
    assert abc_smc(same, PRIOR, 0.0, 30, rng=0, distance=far).settings["ended"] == "stalled"


def test_doubts() -> None:
    with pytest.warns(FermiacWarning, match="60 particles are few"):
        assert run(n_particles=60).warnings

    def bounded(theta: Any, stream: Any) -> Any:
        return np.abs(simulate(theta, stream))

    with pytest.warns(ConvergenceWarning, match="may not be able"):
        abc_smc(bounded, PRIOR, -1.0, 60, rng=0, min_acceptance=0.3)

    def fails(theta: Any, stream: Any) -> Any:
        return simulate(theta, stream) if theta[0] > -1 else [np.nan]

    with pytest.warns(ConvergenceWarning, match="gave NaN"):
        abc_smc(fails, PRIOR, 1.5, 60, rng=0, min_acceptance=0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_particles": 10}, "n_particles"),
        ({"quantile": 0.0}, "quantile"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"min_acceptance": 1.0}, "min_acceptance"),
        ({"max_rounds": 0}, "max_rounds"),
        ({"max_simulations": 0}, "max_simulations"),
        ({"scale": [1.0, 1.0]}, "scale"),
        ({"distance": "l2"}, "distance"),
        ({"names": ["a", "b"]}, "names"),
        ({"rng": -1}, "rng"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        run(**arguments)


def test_simulators_and_priors_that_cannot_be_used() -> None:
    with pytest.raises(ArgumentError, match="simulate"):
        abc_smc(3, PRIOR, 1.5, rng=0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="whole numbers"):
        abc_smc(simulate, fm.distributions.Poisson(2.0), 1.5, rng=0)
    with pytest.raises(ArgumentError, match="prior"):
        abc_smc(simulate, "normal", 1.5, rng=0)
    for wrong, message in [
        (lambda theta, stream: [1.0, 2.0], "2 summaries"),
        (lambda theta, stream: "x", "not numbers"),
        (lambda theta, stream: np.nan, "gave finite"),
    ]:
        with pytest.raises(TargetError, match=message):
            abc_smc(wrong, PRIOR, 1.5, 20, rng=0)

    def broken(theta: Any, stream: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as found:
        abc_smc(broken, PRIOR, 1.5, 20, rng=0)
    assert any("parameters" in note for note in found.value.__notes__)


def test_files_and_background_runs(tmp_path: Path) -> None:
    s = run(n_particles=60)
    s.save(tmp_path / "s.safetensors")
    loaded = fm.load(tmp_path / "s.safetensors")
    assert isinstance(loaded, fm.sbi.AbcSample)
    assert loaded.to_dict() == s.to_dict()
    handle = fm.sbi.start(abc_smc, simulate, PRIOR, 1.5, 60, rng=1, min_acceptance=0.2)
    np.testing.assert_array_equal(handle.result().draws, s.draws)
