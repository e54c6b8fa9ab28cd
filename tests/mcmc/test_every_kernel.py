"""What every kernel owes to runs: the same bits whoever drives it, however it is cut and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcmc_help import assert_same, driver
from numpy.typing import NDArray

import fermiac as fm
from fermiac.mcmc.run import ChainLoop
from fermiac.runs.loop import Budget

Array = NDArray[np.float64]
M = fm.mcmc
MEAN = np.array([0.5, -1.0, 2.0])
LAW = fm.distributions.MultivariateNormal(
    MEAN, np.array([[1.0, 0.4, 0.0], [0.4, 0.5, -0.3], [0.0, -0.3, 3.0]])
)
pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")


def last(x: Array, rng: Any) -> Array:
    """The third coordinate given the others."""
    shift = np.linalg.solve([[1.0, 0.4], [0.4, 0.5]], [0.0, -0.3])
    mean = 2.0 + (x[:, 0] - MEAN[0]) * shift[0] + (x[:, 1] - MEAN[1]) * shift[1]
    return mean + np.sqrt(3.0 + 0.3 * shift[1]) * rng.normal()


KERNELS = {
    "RWM": M.RWM(),
    "MALA": M.MALA(),
    "Barker": M.Barker(),
    "ULA": M.ULA(),
    "Underdamped": M.UnderdampedLangevin(),
    "MCLMC": M.MCLMC(),
    "HMC": M.HMC(),
    "NUTS": M.NUTS(),
    "NUTS dense": M.NUTS(metric="dense"),
    "Slice": M.Slice(),
    "Stretch": M.Stretch(),
    "DE": M.DE(),
    "Gibbs": M.Gibbs(
        [("x", M.NUTS()), ("s", M.Conditional(last))], blocks={"x": slice(0, 2), "s": 2}
    ),
    "Mixture": M.Mixture([(M.MALA(), 0.7), (M.RWM(), 0.3)]),
}


def run(kernel: Any, **more: Any) -> M.Chains:
    given: dict[str, Any] = {"n_chains": 8, "n_warmup": 60, "n_draws": 20, "rng": 3}
    return M.sample(LAW, kernel=kernel, **{**given, **more})


@pytest.mark.parametrize("name", KERNELS)
def test_a_run_has_one_result(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = KERNELS[name]
    whole = run(kernel)
    assert whole.draws.shape == (8, 20, 3)
    assert np.isfinite(whole.draws).all()
    for threads, who in ((1, "lock"), (3, "free"), (2, "auto")):
        if who != "free" or "Gibbs" not in name:  # a draw in Python has its thread
            with driver(who):
                assert_same(whole, run(kernel, n_threads=threads))
    assert_same(whole, M.extend(run(kernel, n_draws=13), 7))
    # Stopped in the middle of whatever it does, written, and read again.
    target, calls, limit = fm.targets.law_density(LAW), 0, 0

    def density(x: Array) -> tuple[Array, Array]:
        nonlocal calls
        calls += 1
        if calls == limit:
            raise LookupError("stop")
        return target.log_density_and_gradient(x)

    given: dict[str, Any] = {"dim": 3, "gradient": True, "check_gradient": False}
    given |= {"n_chains": 8, "n_warmup": 40, "n_draws": 6, "rng": 3, "kernel": kernel}
    reference = M.sample(density, **given)
    third = calls // 3
    for limit in (third, third, 0):
        calls = 0
        if limit:
            with pytest.raises(LookupError, match="stop"):
                M.sample(density, checkpoint=tmp_path / "state", **given)
        else:
            assert_same(reference, M.sample(density, checkpoint=tmp_path / "state", **given))
    # Cut wherever a look at the clock falls.
    monkeypatch.setattr(ChainLoop, "budget", lambda self: Budget(0.0, 1))
    assert_same(whole, run(kernel))
    assert_same(reference, M.sample(density, **given))
