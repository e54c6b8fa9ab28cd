"""R-hat, effective sample sizes and standard errors: values of ArviZ, invariances, edge cases."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from plans import on_threads

import fermiac as fm
from fermiac.diagnostics import bfmi, ess, mcse, rhat
from fermiac.errors import ArgumentError, FermiacWarning

Array = NDArray[np.float64]


def lehmer() -> Array:
    """Four chains of 250 draws with correlations 0.7^t, from a congruential generator."""
    state, u = 12345, np.empty(1000)
    for i in range(1000):
        state = (1664525 * state + 1013904223) % 2**32
        u[i] = (state + 0.5) / 2**32
    x = fm.special.ndtri(u).reshape(4, 250)
    for t in range(1, 250):
        x[:, t] = 0.7 * x[:, t - 1] + np.sqrt(0.51) * x[:, t]
    return x


def waves() -> Array:
    c, t = np.arange(4)[:, None], np.arange(100)
    x: Array = np.sin(1.7 * t + 0.9 * c) + 0.5 * np.sin(0.31 * t + 2.1 * c) + 0.1 * c
    return x + 0.2 * (t // 7 % 3)


def walks(chains: int, draws: int, rho: float, *, seed: int) -> Array:
    x = fm.random.Stream(seed).normal((chains, draws))
    for t in range(1, draws):
        x[:, t] += rho * x[:, t - 1]
    return x


#: Values of ArviZ 1.3.0, to the digits kept.
LEHMER: list[tuple[Callable[[Array], Any], float]] = [
    (lambda x: rhat(x), 1.021261083),
    (lambda x: rhat(x, method="split"), 1.020743127),
    (lambda x: rhat(x, method="folded"), 1.004536317),
    (lambda x: rhat(x, method="unsplit"), 1.008337844),
    (lambda x: ess(x), 126.6777293),
    (lambda x: ess(x, kind="tail"), 355.6648326),
    (lambda x: ess(x, kind="mean"), 128.4983306),
    (lambda x: ess(x, kind="sd"), 401.7593077),
    (lambda x: ess(x, kind="median"), 213.0855583),
    (lambda x: ess(x, kind="mad"), 611.0399889),
    (lambda x: ess(x, kind="quantile", prob=0.25), 170.6151783),
    (lambda x: ess(x, kind="local", prob=(0.1, 0.3)), 544.4777054),
    (lambda x: ess(x, kind="unsplit"), 124.2627564),
    (lambda x: mcse(x), 0.08636559356),
    (lambda x: mcse(x, kind="sd"), 0.03619785008),
    (lambda x: mcse(x, kind="median"), 0.09545633076),
    (lambda x: mcse(x, kind="quantile", prob=0.05), 0.1003448537),
    (lambda x: mcse(x, kind="quantile", prob=0.95), 0.1150681065),
]
WAVES: list[tuple[Callable[[Array], Any], float]] = [
    (lambda x: rhat(x), 1.004663752),
    (lambda x: ess(x), 322.2126113),
    (lambda x: ess(x, kind="tail"), 459.0691344),
    (lambda x: ess(x, kind="mean"), 339.9570446),
    (lambda x: ess(x, kind="sd"), 1040.823997),
    (lambda x: mcse(x), 0.043466109),
    (lambda x: mcse(x, kind="sd"), 0.01262861081),
]

ALL: list[Callable[[Array], Any]] = [call for call, _ in LEHMER]


def test_values_are_those_of_arviz() -> None:
    for x, cases in ((lehmer(), LEHMER), (waves(), WAVES)):
        for call, value in cases:
            assert isinstance(call(x), float)
            np.testing.assert_allclose(call(x), value, rtol=1e-9)
    np.testing.assert_allclose(
        bfmi(lehmer() ** 2 / 2), [1.145149119, 1.510126285, 1.179933033, 0.9279653394], rtol=1e-9
    )


def _arviz(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[Array], Any]]:
    az = pytest.importorskip("arviz.stats.diagnostics")
    # With Numba ArviZ returns arrays, or fails with NumPy 2.4.
    monkeypatch.setattr(az.Numba, "numba_flag", False)
    calls = {f"rhat {m}": lambda x, m=m: getattr(az, f"_rhat_{m}")(x) for m in ("split", "folded")}
    calls |= {"rhat rank": az._rhat_rank, "rhat unsplit": az._rhat_identity}
    calls |= {
        f"ess {k}": lambda x, k=k: getattr(az, f"_ess_{k}")(x)
        for k in ("bulk", "tail", "mean", "sd", "median", "mad")
    }
    calls |= {"ess unsplit": az._ess_identity, "mcse mean": az._mcse_mean, "mcse sd": az._mcse_sd}
    calls |= {"mcse median": az._mcse_median}
    for p in (0.03, 0.5, 0.9):
        calls |= {f"ess quantile {p}": lambda x, p=p: az._ess_quantile(x, p)}
        calls |= {f"mcse quantile {p}": lambda x, p=p: az._mcse_quantile(x, p)}
    return calls | {"ess local 0.8": lambda x: az._ess_local(x, (0.1, 0.9))}


def _ours(name: str, x: Array) -> Any:
    what, kind, *prob = name.split()
    if what == "rhat":
        return rhat(x, method=kind)
    call: Any = ess if what == "ess" else mcse
    return call(x, kind=kind, prob=float(prob[0])) if prob else call(x, kind=kind)


def _inputs() -> dict[str, Array]:
    """Arrays (chains, draws, columns) of many kinds."""
    normal = fm.random.Stream(3).normal
    inputs = {
        f"{m} chains of {n}, {rho}": np.stack(
            [walks(m, n, rho, seed=s) for s in range(columns)], axis=2
        )
        for m, n, columns in ((1, 4, 1), (2, 5, 2), (2, 9, 2), (4, 100, 2), (3, 333, 1))
        for rho in (-0.9, 0.0, 0.8, 0.99)
    }
    inputs["slow"] = walks(2, 2001, 0.999, seed=9)[:, :, None]
    inputs["cauchy"] = normal((4, 200, 2)) / normal((4, 200, 2))
    inputs["ties"] = np.floor(2 * normal((4, 150, 2)))
    inputs["two values"] = (normal((4, 150, 2)) > 0.7).astype(float)
    inputs["alternating"] = np.where(np.arange(60)[:, None] % 2, 1.0, -1.0) + 0.1 * normal(
        (4, 60, 2)
    )
    inputs["apart"] = normal((4, 100, 2)) + np.arange(4)[:, None, None]
    return inputs


def test_every_value_is_that_of_arviz(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, calls = _inputs(), _arviz(monkeypatch)
    for label, x in inputs.items():
        for name, call in calls.items():
            if name.startswith("rhat") and len(x) == 1:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = np.ravel([call(column) for column in np.moveaxis(x, 2, 0)])
                found = _ours(name, x)
            assert found.shape == (x.shape[2],)
            np.testing.assert_allclose(found, expected, rtol=1e-10, err_msg=f"{name}: {label}")


def test_energies_are_those_of_arviz() -> None:
    az = pytest.importorskip("arviz")
    energy = walks(3, 500, 0.9, seed=1)
    np.testing.assert_allclose(bfmi(energy), az.bfmi(energy), rtol=1e-12)
    assert bfmi(energy[1]) == bfmi(energy)[1]


def test_ess_of_an_autoregression() -> None:
    for rho in (-0.5, 0.0, 0.9):
        worth = 4 * 50_000 * (1 - rho) / (1 + rho)
        x = walks(4, 50_000, rho, seed=2)
        assert abs(ess(x, kind="mean") / worth - 1) < 0.1
        sd = 1 / np.sqrt(1 - rho**2)
        assert abs(mcse(x) / (sd / np.sqrt(worth)) - 1) < 0.05


def test_a_standard_error_is_the_spread_of_the_estimates() -> None:
    x = np.stack([walks(4, 400, 0.5, seed=s) for s in range(500)], axis=2)
    flat = x.reshape(1600, 500)
    for kind, estimate in (
        ("mean", flat.mean(0)),
        ("sd", flat.std(0)),
        ("median", np.median(flat, 0)),
        ("quantile", np.quantile(flat, 0.9, axis=0)),
    ):
        assert abs(mcse(x, kind=kind).mean() / estimate.std() - 1) < 5 / np.sqrt(2 * 500)


def test_quantities_are_on_their_own_on_any_number_of_threads() -> None:
    x = np.stack([walks(4, 120, rho, seed=7) for rho in np.linspace(-0.9, 0.99, 20)], axis=2)
    for call in (rhat, ess, mcse):
        one = on_threads(1, call, x)
        for n_threads in (2, 5):
            np.testing.assert_array_equal(on_threads(n_threads, call, x), one)
        np.testing.assert_array_equal(call(x.reshape(4, 120, 5, 4)), one.reshape(5, 4))
        assert [call(x[:, :, j]) for j in range(20)] == list(one)
        assert call(x[:, :, :0]).shape == (0,)


def test_the_order_of_the_chains_does_not_matter() -> None:
    x = lehmer()
    for call in ALL:
        np.testing.assert_allclose(call(x[[2, 0, 3, 1]]), call(x), rtol=1e-12)


def test_ranks_see_only_the_order() -> None:
    x = lehmer()
    assert ess(np.exp(3 * x)) == ess(x)
    assert ess(np.exp(3 * x), kind="median") == ess(x, kind="median")


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-70, 2.0**1020])
def test_the_unit_does_not_matter(scale: float) -> None:
    x = lehmer()
    for call, _ in LEHMER[:13]:
        assert call(scale * x) == call(x)
    for call, _ in LEHMER[13:]:
        assert call(scale * x) == scale * call(x)


def test_a_far_origin_costs_no_digits() -> None:
    x = np.round(2**20 * lehmer()) / 2**20
    for call in ALL:
        np.testing.assert_allclose(call(x + 2.0**30), call(x), rtol=1e-9)


def test_alternating_chains_are_worth_more_than_their_draws_up_to_a_bound() -> None:
    x = walks(4, 1000, -0.5, seed=4)
    assert 2 < ess(x, kind="mean") / 4000 < 3.5
    x = np.tile([1.0, -1.0], (4, 500)) + 1e-3 * x
    np.testing.assert_allclose(ess(x, kind="mean"), 4000 * np.log10(4000), rtol=1e-14)


def test_constant_draws() -> None:
    for x in (np.full((4, 51), 0.1), np.zeros((4, 10)), np.full((2, 4), 1e300)):
        draws = x.shape[0] * (x.shape[1] // 2 * 2)
        for method in ("rank", "split", "folded", "unsplit"):
            assert rhat(x, method=method) == 1
        for kind in ("bulk", "tail", "mean", "sd", "median", "mad", "quantile", "local"):
            assert ess(x, kind=kind) == draws
        for kind in ("mean", "sd", "median", "quantile"):
            assert mcse(x, kind=kind) == 0
    assert np.isnan(bfmi(np.ones((2, 9)))).all()


def test_chains_that_stand_still_apart() -> None:
    x = np.repeat([[0.1], [0.2], [0.3]], 50, axis=1)
    assert rhat(x) == rhat(x, method="split") == np.inf
    assert ess(x) < 4


def test_signs_of_equal_size_have_no_spread_to_speak_of() -> None:
    """The squares of the draws differ only by rounding."""
    x = np.where(fm.random.Stream(6).uniform((4, 100)) < 0.5, -1.0, 1.0)
    x[:, 50:] = -x[:, :50]
    assert ess(0.1 * x + 0.7, kind="sd") == 400


def test_a_quantile_between_equal_values_is_that_value() -> None:
    x = np.full((4, 25), 0.1)
    x[:, ::5] = 7.0
    indicator = (x <= 0.1).astype(float)
    for p in (0.3, 0.37, 0.6):
        assert ess(x, kind="quantile", prob=p) == ess(indicator, kind="mean")


def test_one_chain() -> None:
    x = lehmer()[0]
    assert ess(x) == ess(x[None])
    assert mcse(x) == mcse(x[None])
    with pytest.warns(FermiacWarning, match="at least 2 chains"):
        assert np.isnan(rhat(x))


def test_too_few_draws() -> None:
    for call in (rhat, ess, mcse):
        with pytest.warns(FermiacWarning, match="at least 4 draws"):
            assert np.isnan(call(np.ones((4, 3, 2)))).all()
    with pytest.warns(FermiacWarning, match="energy"):
        assert np.isnan(bfmi(np.ones((4, 3)))).tolist() == [True] * 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    x = np.ones((4, 10, 3))
    x[2, 5, 1] = bad
    for call in (rhat, ess, mcse):
        with pytest.raises(ArgumentError, match="draw 5 of chain 2, of quantity 1, is"):
            call(x)
    with pytest.raises(ArgumentError, match="energy"):
        bfmi(x[:, :, 1])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda x: rhat(x, method="z"), "method: 'z' was given"),
        (lambda x: ess(x, kind="z"), "kind: 'z' was given"),
        (lambda x: ess(x, kind=["bulk"]), "kind"),
        (lambda x: mcse(x, kind="bulk"), "kind: 'bulk' was given"),
        (lambda x: ess(x, kind="tail", prob=1.0), "prob"),
        (lambda x: ess(x, kind="tail", prob=(0.9, 0.1)), "prob"),
        (lambda x: ess(x, kind="quantile", prob=(0.1, 0.9)), "one probability"),
        (lambda x: ess(x, kind="quantile", prob=True), "prob"),
        (lambda x: mcse(x, kind="quantile", prob="0.5"), "prob"),
        (lambda x: mcse(x, kind="quantile", prob=np.nan), "prob"),
        (lambda _: ess(3.0), "shape"),
        (lambda _: ess(np.ones((0, 10))), "shape"),
        (lambda _: ess("draws"), "x: 'draws'"),
        (lambda _: ess(np.ma.masked_less(np.arange(8.0), 3)), "masked"),
        (lambda _: bfmi(np.ones((2, 9, 2))), "energy"),
        (lambda x: on_threads(0, rhat, x), "n_threads"),
    ],
)
def test_bad_arguments_are_errors(call: Callable[[Array], Any], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        call(waves())
