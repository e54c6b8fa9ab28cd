"""Chains as units: the same bits on workers, by parts, and from a store."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nested_targets as targets
import numpy as np
import pytest
from plans import by_units, planned

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning, FermiacWarning

KERNELS = [fm.mcmc.MALA(), fm.mcmc.NUTS(), fm.mcmc.RWM()]


def run(**given: Any) -> Any:
    settings = {"n_chains": 6, "n_warmup": 60, "n_draws": 40, "pool": False, "rng": 3}
    return fm.mcmc.sample(
        targets.bowl, 2, targets.slope, **{**settings, "kernel": KERNELS[0], **given}
    )


def same(a: Any, b: Any, evals: bool = True) -> bool:
    names = ("draws", "log_densities", "gradients", "warmup_draws")
    return (
        all(
            getattr(a, name) is getattr(b, name) is None
            or np.array_equal(getattr(a, name), getattr(b, name))
            for name in names
        )
        and all(np.array_equal(a.stats[name], b.stats[name]) for name in a.stats)
        and a.adaptation["step_sizes"] == b.adaptation["step_sizes"]
        and (not evals or a.n_evals == b.n_evals)
        and (a.seed, a.warnings, a.status) == (b.seed, b.warnings, b.status)
    )


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
@pytest.mark.parametrize(
    "init", [None, "pathfinder", fm.distributions.Normal([0.0, 0.0]), "points"]
)
def test_the_same_bits_by_parts(kernel: Any, init: Any) -> None:
    given = (
        np.arange(12.0).reshape(6, 2) / 12 if isinstance(init, str) and init == "points" else init
    )
    settings = {"kernel": kernel, "init": given, "keep_warmup": True}
    whole = run(**settings)
    for n in (1, 2, 6):
        parts = [run(**settings, plan=fm.Plan(part=(i, n))) for i in range(n)]
        assert same(fm.merge(parts), whole)
        assert same(fm.merge(parts[::-1]), whole)
    assert parts[2].draws.shape == (1, 40, 2)


def test_later_chains() -> None:
    whole = run()
    first, second = run(n_chains=2, first_chain=0), run(n_chains=4, first_chain=2)
    assert same(fm.merge([second, first]), whole)
    with pytest.raises(ArgumentError, match="both hold chain 2"):
        run(n_chains=3, first_chain=0).merge(second)
    with pytest.warns(FermiacWarning, match="1 of 6 chains are missing: 2"):
        fm.merge([first, run(n_chains=3, first_chain=3)])
    with pytest.raises(ArgumentError, match="first_chain= needs chains that are made one by one"):
        run(pool=True, first_chain=2)


def test_the_same_bits_on_workers() -> None:
    whole = run()
    for n in (1, 2, 8):
        with ThreadPoolExecutor(n) as threads:
            assert same(run(plan=threads), whole)
            assert same(run(plan=fm.executor.Sharded(threads, rows=4)), whole)
            assert same(run(plan=by_units(threads, "points")), whole)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        assert same(run(plan=pool), whole)
        with pytest.raises(ArgumentError, match="cannot be continued"):
            fm.mcmc.extend(run(plan=pool), 10)


def test_chains_that_adapt_together_stay_together() -> None:
    whole = run(pool=True)
    with ThreadPoolExecutor(2) as threads:
        assert same(run(pool=True, plan=threads), whole)


def test_the_same_bits_from_a_store(tmp_path: Path) -> None:
    whole = run()
    store = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt) as caught:
        run(plan=fm.Plan(store=store, part=(0, 1), progress=targets.interrupts_after(2)))
    assert caught.value.partial_result.status == "interrupted"  # type: ignore[attr-defined]
    n = len(list(store.iterdir()))
    assert 0 < n < 6
    with pytest.warns(FermiacWarning, match="of 6 chains are missing"):
        assert len(fm.merge(store).draws) == n
    with ThreadPoolExecutor(2) as threads:
        assert same(run(plan=fm.Plan(executor=threads, store=store)), whole)
    assert same(fm.merge(store), whole)
    with pytest.raises(CheckpointError, match="belongs to another call"):
        run(plan=fm.Plan(store=store), n_draws=41)
    for i in range(4):
        run(plan=fm.Plan(store=tmp_path / "array", part=(i, 4)))
    assert same(fm.merge(tmp_path / "array"), whole)


def test_warnings_are_about_all_chains() -> None:
    def apart(x: Any) -> Any:
        return -50.0 * (np.abs(x[:, 0]) - 3.0) ** 2 - 0.5 * x[:, 1] ** 2

    start = np.array([[3.0, 0.0], [-3.0, 0.0]] * 2)
    settings: dict[str, Any] = {
        "n_chains": 4, "init": start, "kernel": fm.mcmc.RWM(), "pool": False, "rng": 0,
    }  # fmt: skip
    with pytest.warns(ConvergenceWarning) as local:
        whole = fm.mcmc.sample(apart, 2, **settings)
    parts = [fm.mcmc.sample(apart, 2, **settings, plan=fm.Plan(part=(i, 4))) for i in range(4)]
    with pytest.warns(ConvergenceWarning) as joined:
        merged = fm.merge(parts)
    assert merged.warnings == whole.warnings
    assert [str(w.message) for w in joined] == [str(w.message) for w in local]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"part": (0, 2), "pool": True}, "give pool=False, or store= alone"),
        ({"part": (0, 2), "max_time": 3.0}, "max_time: given, which applies to all chains"),
        ({"part": (0, 2), "kernel": "de"}, "moves all chains together"),
        ({"part": (0, 7)}, "this part is empty"),
        ({"part": (2, 2)}, "part"),
        ({"part": (0, 2), "store": "x", "rng": None}, "store: given without rng="),
    ],
)
def test_hostile_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        run(**planned(**given))


def test_parts_that_do_not_fit() -> None:
    part = run(plan=fm.Plan(part=(0, 2)))
    with pytest.raises(ArgumentError, match="both hold chain 0"):
        part.merge(run(plan=fm.Plan(part=(0, 3))))
    with pytest.raises(ArgumentError, match="the draws of part 1"):
        part.merge(run(plan=fm.Plan(part=(1, 2)), n_draws=30))
    with pytest.raises(ArgumentError, match="merge"):
        part.merge(3)
    other = run(rng=4)
    assert len(part.merge(other).draws) == 9
