"""Checks after the last draw, which lose no run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from natives import NUMBERS
from numba import types
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ConvergenceWarning, FermiacWarning, TargetError
from fermiac.mcmc import boundaries, jumps
from fermiac.mcmc import run as run_module
from fermiac.random import Stream
from fermiac.targets import as_target, native

Array = NDArray[np.float64]
GRADIENTS = types.intc(NUMBERS, types.intp, types.intp, NUMBERS, NUMBERS, types.voidptr)
#: Where the normal law of the first coordinate ends, in a tail of one part in a hundred.
END = 2.326


def normal_to(end: float, far: float = np.nan) -> Any:
    """A native normal law whose log-density is `end` in the tail, and `far` in a part of it."""

    @numba.cfunc(GRADIENTS)
    def density(x: Any, n: Any, d: Any, out: Any, slopes: Any, user: Any) -> int:
        for i in range(n):
            out[i] = 0.0
            for j in range(d):
                out[i] -= 0.5 * x[i * d + j] ** 2
                slopes[i * d + j] = -x[i * d + j]
            if x[i * d] > END:
                out[i] = far if 6 < x[i * d] < 9 else end
        return 0

    return native(density, 5, gradient=True)


def rosenbrock(scale: float) -> Any:
    """A native Rosenbrock density of two coordinates."""

    @numba.cfunc(GRADIENTS)
    def density(x: Any, n: Any, d: Any, out: Any, slopes: Any, user: Any) -> int:
        for i in range(n):
            a, b = x[2 * i], x[2 * i + 1]
            out[i] = -((1 - a) ** 2) - scale * (b - a * a) ** 2
            slopes[2 * i] = 2 * (1 - a) + 4 * scale * a * (b - a * a)
            slopes[2 * i + 1] = -2 * scale * (b - a * a)
        return 0

    return native(density, 2, gradient=True)


def in_numpy(end: float, far: float = np.nan) -> Any:
    """The same in NumPy."""

    def density(x: Array) -> Array:
        tail = np.where((x[:, 0] > 6) & (x[:, 0] < 9), far, end)
        values: Array = np.where(x[:, 0] > END, tail, -0.5 * (x**2).sum(axis=1))
        return values

    return as_target(density, 5, gradient=lambda x: -x)


def bent(scale: float) -> Any:
    def density(x: Array) -> tuple[Array, Array]:
        off = x[:, 1] - x[:, 0] ** 2
        slopes = np.column_stack([2 * (1 - x[:, 0]) + 4 * scale * x[:, 0] * off, -2 * scale * off])
        return -((1 - x[:, 0]) ** 2) - scale * off**2, slopes

    return as_target(density, 2, gradient=True)


def raising(x: Array) -> Array:
    if (x[:, 0] > 9).any():
        raise ZeroDivisionError
    return -0.5 * (x**2).sum(axis=1)


TARGETS: dict[str, Callable[[], Any]] = {
    "native NaN": lambda: normal_to(np.nan),
    "native -inf": lambda: normal_to(-np.inf),
    "native +inf": lambda: normal_to(np.nan, np.inf),
    "native Rosenbrock 50": lambda: rosenbrock(50.0),
    "native Rosenbrock 100": lambda: rosenbrock(100.0),
    "native Rosenbrock 1e6": lambda: rosenbrock(1e6),
    "NaN": lambda: in_numpy(np.nan),
    "-inf": lambda: in_numpy(-np.inf),
    "+inf": lambda: in_numpy(np.nan, np.inf),
    "Rosenbrock 50": lambda: bent(50.0),
    "Rosenbrock 100": lambda: bent(100.0),
    "Rosenbrock 500": lambda: bent(500.0),
}


def drawn(target: Any, seed: int, **how: Any) -> fm.mcmc.Chains:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        return fm.mcmc.sample(target, rng=seed, plan=fm.Plan(n_threads=1), **how)


@pytest.mark.parametrize("name", ["native NaN", "NaN"])
def test_a_tail_that_fails_costs_no_draws_and_is_found(name: str) -> None:
    s = drawn(TARGETS[name](), 0, n_warmup=300, n_draws=500)
    assert s.draws.shape == (4, 500, 5)
    assert any(f"above {END} in coordinate 0" in text for text in s.warnings)
    assert not any("check of the result failed" in text for text in s.warnings)


@pytest.mark.calibration
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("seed", range(5))
def test_runs_over_bad_targets_come_back(name: str, seed: int) -> None:
    # In the warm-up of this seed a chain itself meets +inf, which ends a run.
    if "+inf" in name and seed == 1:
        with pytest.raises(TargetError, match=r"transition \d+: the log-density is \+inf"):
            drawn(TARGETS[name](), seed)
        return
    s = drawn(TARGETS[name](), seed)
    assert s.status == "complete"
    assert not any("check of the result failed" in text for text in s.warnings)


def test_trajectories_that_fail_are_no_jumps() -> None:
    draws = 50 * Stream(3).normal((200, 2))
    assert 0 <= jumps.share_with_jumps(rosenbrock(100.0), draws, 0) <= 1
    native_tail = jumps.share_with_jumps(normal_to(np.nan), Stream(4).normal((200, 5)), 0)
    assert native_tail == 0


def test_a_point_that_fails_does_not_spoil_its_batch() -> None:
    for target in (normal_to(np.nan), in_numpy(np.nan), as_target(raising, 5)):
        x = np.zeros((9, 5))
        x[3, 0], x[7, 1] = 10.0, np.inf
        values, slopes = target._tolerantly(x, target.has_gradient)
        np.testing.assert_array_equal(np.isnan(values), np.isin(np.arange(9), [3, 7]))
        assert slopes is None or not slopes[0].any()


def test_a_check_that_raises_is_a_line_of_the_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("float division")

    how: dict[str, Any] = {"n_warmup": 300, "n_draws": 500}
    whole = drawn(in_numpy(np.nan), 1, **how)
    monkeypatch.setattr(boundaries, "at_draws", broken)
    with pytest.warns(FermiacWarning, match="check of the result failed.*ZeroDivisionError: float"):
        s = fm.mcmc.sample(in_numpy(np.nan), rng=1, **how)
    np.testing.assert_array_equal(s.draws, whole.draws)
    assert len(s.warnings) == len(whole.warnings)
    monkeypatch.setattr(run_module, "findings", broken)
    texts = drawn(in_numpy(np.nan), 1, **how).warnings
    assert "the target failed or gave NaN" in texts[0]
    assert len(texts) > 1
    assert all("ZeroDivisionError" in text for text in texts[1:])


def test_an_interrupt_of_a_check_keeps_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(boundaries, "at_draws", interrupted)
    with pytest.raises(KeyboardInterrupt) as stopped:
        drawn(in_numpy(np.nan), 1, n_warmup=100, n_draws=200)
    assert stopped.value.partial_result.draws.shape == (4, 200, 5)


def test_the_warnings_of_checks_are_typed() -> None:
    with pytest.warns(ConvergenceWarning, match="left the support"):
        fm.mcmc.sample(in_numpy(-np.inf), n_warmup=300, n_draws=500, rng=0)
