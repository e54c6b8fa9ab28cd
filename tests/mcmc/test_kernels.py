"""The table of kernels: their names, their laws, and the same bits however a run is driven."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcmc_chains import law_is_kept
from mcmc_help import assert_same, driver
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.mcmc.composition import Composite
from fermiac.mcmc.conjugate import ConjugateBlock
from fermiac.mcmc.kernel import GradientKernel, Kernel
from fermiac.mcmc.kernels import KERNELS as TABLE
from fermiac.mcmc.python_kernel import as_kernel
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
    "ULA": M.ULA(),
    "Underdamped": M.UnderdampedLangevin(),
    "MCLMC": M.MCLMC(),
    "HMC": M.HMC(),
    "ChEES": M.ChEES(),
    "ChEES snaper": M.ChEES(criterion="snaper", metric="diag"),
    "NUTS": M.NUTS(),
    "NUTS dense": M.NUTS(metric="dense"),
    "Slice": M.Slice(),
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
                assert_same(whole, run(kernel, plan=fm.Plan(n_threads=threads)))
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
    third, kept = calls // 3, fm.Plan(store=tmp_path)
    for limit in (third, third, 0):
        calls = 0
        if limit:
            with pytest.raises(LookupError, match="stop"):
                M.sample(density, plan=kept, **given)
        else:
            assert_same(reference, M.sample(density, plan=kept, **given))
    # Cut wherever a look at the clock falls.
    monkeypatch.setattr(ChainLoop, "budget", lambda self: Budget(0.0, 1))
    assert_same(whole, run(kernel))
    assert_same(reference, M.sample(density, **given))


#: The kernels that can be given by their names.
DEFAULTS = [
    name for name, kind in TABLE.items() if all(f.default is not MISSING for f in fields(kind))
]


def test_the_table_has_every_kernel() -> None:
    def concrete(kind: type) -> set[type]:
        return {kind}.union(*map(concrete, kind.__subclasses__()))

    found = {
        kind
        for kind in concrete(Kernel)
        if kind.__module__.startswith("fermiac.mcmc.")
        and kind.__name__ not in M.conditionals.__all__
        and not kind.__name__.startswith("_")
    }
    others = {Kernel, GradientKernel, Composite, ConjugateBlock, M.conditionals.Law, M.PythonKernel}
    assert found - others == set(TABLE.values())
    assert {kind.__name__ for kind in TABLE.values()} <= set(M.__all__)
    page = (Path(__file__).parents[2] / "docs" / "mcmc.md").read_text(encoding="utf-8")
    rows = page.partition("## Which kernel")[2].partition("##")[0]
    assert all(f"`{kind.__name__}" in rows for kind in TABLE.values())


def test_kernels_by_their_names() -> None:
    for name in DEFAULTS:
        assert as_kernel(name) == TABLE[name]()
    assert_same(run("mala"), run(M.MALA()))
    blocks = {"x": [0, 1], "y": 2}
    assert M.Gibbs([("x", "mala"), ("y", "slice")], blocks=blocks) == M.Gibbs(
        [("x", M.MALA()), ("y", M.Slice())], blocks=blocks
    )
    assert M.Cycle(["mala", "rwm"]) == M.Cycle([M.MALA(), M.RWM()])
    assert M.Mixture([("mala", 2.0), ("rwm", 1.0)]) == M.Mixture([(M.MALA(), 2.0), (M.RWM(), 1.0)])
    assert M.Tempered("rwm", LAW) == M.Tempered(M.RWM(), LAW)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mela", "did you mean 'mala'"),
        ("NUTS", "did you mean 'nuts'"),
        ("underdamped_langevin", "did you mean 'underdamped'"),
        ("xyz", "one of the names 'nuts', 'hmc'"),
        ("gibbs", r"no default for kernels; an object, fermiac.mcmc.Gibbs\(...\)"),
        (M.NUTS, "call the class"),
        (3, "methods init"),
    ],
)
def test_what_is_no_kernel_is_refused(given: Any, message: str) -> None:
    for make in (run, lambda kernel: M.Cycle([kernel]), lambda kernel: M.Gibbs([("x", kernel)])):
        with pytest.raises(ArgumentError, match=message):
            make(given)


#: Ensembles have tests of their own, and so has `Tempered`, which learns its reference first.
SINGLE = [n for n in DEFAULTS if as_kernel(n)._n_points(2) == 1 and n != "tempered"]


@pytest.mark.parametrize("name", SINGLE)
def test_default_kernels_keep_the_law(name: str) -> None:
    if "bias" in run(name, n_draws=1, n_warmup=0, n_chains=1).settings:
        pytest.skip("it has a bias of the discretisation")
    law_is_kept(as_kernel(name), "normal", n=10_000)
