"""Rows for which a model gives no number: refused, frozen, or gone on with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_forms import LEVELS, Numbers, points

import fermiac as fm
from fermiac.errors import FermiacWarning, TargetError

Array = NDArray[np.float64]


class Broken(Numbers):
    """Row 3 becomes NaN below a level."""

    def _denoise(self, y: Array, sigma: Array) -> Array:
        out = super()._denoise(y, sigma)
        if sigma[0] < 1.0:
            out[3, 1] = np.nan
        return out


def test_numbers_that_are_not_finite() -> None:
    y0 = points(10)
    with pytest.raises(TargetError, match=r"row 3.*coordinate 1 at sigma") as caught:
        fm.score.integrate(Broken(), y0, LEVELS)
    reached = caught.value.partial_result  # type: ignore[attr-defined]
    first = int(np.argmax(LEVELS < 1.0))
    assert f"step {first + 1}," in str(caught.value)
    assert (reached.sigma == LEVELS[first]).all()
    good = fm.score.integrate(Numbers(), y0, LEVELS, return_trajectory=True)
    np.testing.assert_array_equal(reached.y, good[first])
    with pytest.warns(FermiacWarning, match="1 of 10 rows were frozen"):
        frozen = fm.score.integrate(Broken(), y0, LEVELS, on_nan="freeze")
    with pytest.warns(FermiacWarning, match="1 of 10 rows were frozen"):
        told = fm.score.integrate(
            Broken(), y0, LEVELS, on_nan="freeze", callback=lambda *given: None
        )
    np.testing.assert_array_equal(told, frozen)
    rest = np.arange(10) != 3
    np.testing.assert_array_equal(frozen[rest], good[-1][rest])
    np.testing.assert_array_equal(frozen[3], good[first][3])
    assert np.isnan(fm.score.integrate(Broken(), y0, LEVELS, on_nan="ignore")[3]).any()


def test_frozen_rows_say_where_they_stand() -> None:
    y0 = points(10)
    how: dict[str, Any] = {"on_nan": "freeze", "return_trajectory": True}
    with pytest.warns(FermiacWarning, match="1 of 10 rows were frozen"):
        path = fm.score.integrate(Broken(), y0, LEVELS, "heun", **how)
    assert np.isfinite(path).all()
    run = fm.score.stepper(Broken(), y0, LEVELS, "heun", on_nan="freeze")
    run.run()
    still = LEVELS[int(np.argmax((path[:, 3] == path[-1, 3]).all(axis=1)))]
    np.testing.assert_array_equal(run.sigma, np.where(np.arange(10) == 3, still, 0.0))


@pytest.mark.filterwarnings("ignore:.*were frozen")
def test_adaptive_rows_that_freeze_stay_at_all_levels_below() -> None:
    y0 = points(10)

    class Row(Broken):
        """Rows by their place, wherever they are in a batch."""

        def _denoise(self, y: Array, sigma: Array) -> Array:
            out = Numbers._denoise(self, y, sigma)
            out[(y[:, 0] > 0) & (np.broadcast_to(sigma, len(y)) < 1.0)] = np.nan
            return out

    with pytest.warns(FermiacWarning, match="of 10 rows were frozen"):
        path = fm.score.integrate(
            Row(), y0, LEVELS, "rk45", on_nan="freeze", return_trajectory=True
        )
    with pytest.warns(FermiacWarning, match="of 10 rows were frozen"):
        last = fm.score.integrate(Row(), y0, LEVELS, "rk45", on_nan="freeze")
    assert np.isfinite(path).all()
    np.testing.assert_array_equal(path[-1], last)


def test_norms_of_the_batch_are_those_of_the_rows_that_move() -> None:
    how = fm.score.Euler(langevin=fm.score.Langevin(norm="batch"))

    class Half(Numbers):
        def _denoise(self, y: Array, sigma: Array) -> Array:
            out = super()._denoise(y, sigma)
            out[len(y) // 2 :] = np.nan
            return out

    y0 = points(20)
    alone = fm.score.integrate(Numbers(), y0[:10], LEVELS, how, rng=1)
    with pytest.warns(FermiacWarning, match="10 of 20 rows were frozen"):
        beside = fm.score.integrate(Half(), y0, LEVELS, how, rng=1, on_nan="freeze")
    np.testing.assert_allclose(beside[:10], alone, rtol=1e-12)
    np.testing.assert_array_equal(beside[10:], y0[10:])
