"""Simulation-based calibration: known ranks, right and wrong samplers, samples of all kinds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError
from fermiac.evaluate import sbc

PRIOR = fm.distributions.Normal([0.0, 0.0], [1.0, 1.0])


def simulate(theta: Any, stream: Any) -> Any:
    return theta + stream.normal(theta.size)


def posterior(y: Any, rng: int, shift: float = 0.0, scale: float = 1.0, n: int = 99) -> Any:
    """Draw from the posterior, which is normal with mean y / 2 and variance 1/2."""
    noise = fm.random.Stream(rng).normal((n, len(y)))
    return y / 2 + shift + scale * 0.5**0.5 * noise


def test_a_right_sampler() -> None:
    c = sbc(PRIOR, simulate, posterior, 300, rng=1, names=["a", "b"])
    assert c.ranks.shape == (300, 2)
    assert c.ranks.min() >= 0
    assert c.ranks.max() <= 99
    assert (c.pvalue > 0.01).all()
    assert (c.chi2_pvalue > 0.01).all()
    ecdf = c.ecdf()
    inside = (c.lower[:, None] - 1e-12 <= ecdf) & (ecdf <= c.upper[:, None] + 1e-12)
    assert (inside.all(0) == (c.pvalue > 0.05)).all()
    assert c.summary()["a"]["spread"] == pytest.approx(1.0, abs=0.1)
    assert c.n_evals == 300


@pytest.mark.parametrize(("more", "column", "side"), [
    ({"scale": 0.7}, "spread", 1), ({"scale": 1.4}, "spread", -1), ({"shift": 0.3}, "mean", -1)
])  # fmt: skip
def test_wrong_samplers_are_found(more: dict[str, float], column: str, side: int) -> None:
    c = sbc(PRIOR, simulate, lambda y, rng: posterior(y, rng, **more), 300, rng=2)
    assert (c.pvalue < 1e-3).all()
    assert (c.chi2_pvalue < 1e-3).all()
    known = {"spread": 1.0, "mean": 0.5}[column]
    assert (np.sign(c.summary()[column] - known) == side).all()


def test_the_level_is_exact() -> None:
    """P-values of uniform ranks, drawn here, against their exact law."""
    from fermiac.evaluate.ecdf import band_of

    band = band_of(100, 99, 0.9)
    p = np.array([
        band.pvalue(np.asarray(fm.random.Stream(key).integers(100, 100))) for key in range(400)
    ])  # fmt: skip
    for at in (0.05, 0.2, 0.5):
        assert abs((p <= at).mean() - at) < 4 * np.sqrt(at * (1 - at) / 400)
    assert band._stays(band._level) >= 0.9
    assert band._stays(band._level) < 0.93  # the counts are whole


def test_the_law_of_three_ranks_by_enumeration() -> None:
    from itertools import product

    from fermiac.evaluate.ecdf import band_of

    band = band_of(3, 3, 0.9)
    all_ranks = [np.array(r) for r in product(range(4), repeat=3)]
    tails = np.array([
        band._tails[np.arange(3), np.searchsorted(np.sort(r), band.below)].min() for r in all_ranks
    ])  # fmt: skip
    for ranks, tail in zip(all_ranks, tails, strict=True):
        known = (tails <= tail * (1 + 1e-9)).mean() if tail < 1 else 1.0
        assert band.pvalue(ranks) == pytest.approx(known, abs=1e-12)


def test_ties_are_broken_evenly() -> None:
    """A parameter of two values, and a sampler that draws from its prior as data say nothing."""

    def coin(stream: Any) -> Any:
        return float(stream.integers(2))

    def draws(_: Any, rng: int) -> Any:
        return np.asarray(fm.random.Stream(rng).integers(2, 99), float)

    c = sbc(coin, lambda theta, stream: None, draws, 300, rng=0)
    assert c.pvalue[0] > 0.01


def test_samples_of_chains_of_weights_and_of_islands() -> None:
    def chains(y: Any, rng: int) -> Any:
        return fm.Sample.from_arrays(posterior(y, rng, n=400).reshape(4, 100, -1))

    def weighted(y: Any, rng: int) -> Any:
        wide = posterior(y, rng, scale=1.5, n=2000)
        z = (wide - y / 2) / 0.5**0.5
        return fm.Sample.from_arrays(wide, (-0.5 * z**2 + 0.5 * (z / 1.5) ** 2).sum(1))

    def islands(y: Any, rng: int) -> Any:
        return fm.mcmc.smc(lambda x: -0.5 * ((y - x) ** 2).sum(1), PRIOR, 1024, rng=rng)

    for sampler in (chains, weighted, islands):
        c = sbc(PRIOR, simulate, sampler, 200, rng=3)
        assert (c.pvalue > 0.01).all()
        assert c.n_short < 10


def test_chains_that_hardly_move_are_a_warning() -> None:
    def slow(y: Any, rng: int) -> Any:
        x = np.repeat(posterior(y, rng, n=20), 25, axis=0)
        return fm.Sample.from_arrays(x.reshape(2, 250, -1))

    with pytest.warns(ConvergenceWarning, match="below 99"):
        c = sbc(PRIOR, simulate, slow, 60, rng=3)
    assert c.n_short == 60
    assert (c.summary()["spread"] > 1).all()


def test_executors_and_files(tmp_path: Any) -> None:
    a = sbc(PRIOR, simulate, posterior, 60, rng=4)
    with ThreadPoolExecutor(2) as pool:
        b = sbc(PRIOR, simulate, posterior, 60, rng=4, plan=pool)
    assert (a.ranks == b.ranks).all()
    longer = sbc(PRIOR, simulate, posterior, 80, rng=4)
    assert (longer.ranks[:60] == a.ranks).all()
    a.save(tmp_path / "c.safetensors")
    assert fm.load(tmp_path / "c.safetensors").to_dict() == a.to_dict()
    assert "60 simulations" in repr(a)


def test_an_interrupt_carries_the_simulations_so_far() -> None:
    calls = 0

    def stops(y: Any, rng: int) -> Any:
        nonlocal calls
        calls += 1
        if calls == 31:
            raise KeyboardInterrupt
        return posterior(y, rng)

    with pytest.raises(KeyboardInterrupt) as caught:
        sbc(PRIOR, simulate, stops, 100, rng=4)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert (partial.ranks == sbc(PRIOR, simulate, posterior, 30, rng=4).ranks).all()


def test_errors_of_the_functions() -> None:
    with pytest.raises(TargetError, match=r"\(m, 2\)"):
        sbc(PRIOR, simulate, lambda y, rng: np.zeros((99, 3)), 3)
    with pytest.raises(TargetError, match="99 draws"):
        sbc(PRIOR, simulate, lambda y, rng: np.zeros((9, 2)), 3)
    with pytest.raises(TargetError, match="NaN"):
        sbc(PRIOR, simulate, lambda y, rng: np.full((99, 2), np.nan), 3)
    with pytest.raises(TargetError, match="finite"):
        sbc(lambda stream: np.nan, simulate, posterior, 3)
    with pytest.raises(TargetError, match="same number"):
        sbc(lambda stream: np.zeros(1 + stream.integers(3)), simulate, posterior, 20, rng=0)

    def fails(y: Any, rng: int) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sbc(PRIOR, simulate, fails, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"prior": 3.0},
        {"simulate": None},
        {"sample": None},
        {"n_simulations": 1},
        {"n_draws": 0},
        {"prob": 1.0},
        {"names": ["a"]},
        {"rng": -1},
        {"executor": 3},
    ],
)
def test_wrong_arguments(change: dict[str, Any]) -> None:
    given = {"prior": PRIOR, "simulate": simulate, "sample": posterior, **change}
    given = {"n_simulations": 5, **given}
    with pytest.raises(ArgumentError):
        sbc(**planned(**given))
