"""Errors of events that no point met, or that happened at every point: none is 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ConvergenceWarning, FermiacWarning

Array = NDArray[np.float64]
d, i = fm.distributions, fm.importance
RARE = 3.4e-6


@pytest.mark.parametrize("scale", [1.0, 2.5, -1.0])
@pytest.mark.parametrize(
    "settings",
    [{}, {"method": "mc"}, {"points": "sobol"}, {"controls": "all"}, {"pool": "all"}, {"rtol": 0.1},
     {"covariance": "diag"}, {"method": "mc", "points": "sobol"}],
    ids=str,
)  # fmt: skip
def test_an_event_at_every_point(settings: dict[str, Any], scale: float) -> None:
    with pytest.warns(ConvergenceWarning, match=r"values of f for E\[0\] are equal"):
        e = i.expect(lambda x: scale * (x[:, 0] < 4.5), d.Normal(), n=2000, rng=1, **settings)
    assert abs(e.mean - scale) < 0.1
    assert e.stderr > abs(scale) * 3 / 2000 * 0.99
    assert abs(e.mean - scale * (1 - RARE)) < 4 * e.stderr
    low, high = e.interval(0.95)
    assert np.isclose(np.sqrt(np.ravel(e.cov)[0]), e.stderr)
    if e.stderr == e.unseen:
        assert low <= scale * (1 - RARE) <= high
        assert min(abs(low - e.mean), abs(high - e.mean)) == 0


def test_constants_beside_other_functions_are_exact() -> None:
    with pytest.warns(ConvergenceWarning, match=r"values of f for E\[0\] are equal"):
        e = i.expect(lambda x: np.hstack([np.ones_like(x), np.exp(x)]), d.Normal(), n=2000, rng=1)
    assert abs(e.mean[0] - 1) < 1e-12
    assert e.stderr[0] < 1e-12
    with pytest.warns(FermiacWarning, match=r"all 2000 values of f for E\[1\] are equal"):
        e = i.expect(lambda x: np.hstack([x < 0, x < 6]), d.Normal(), n=2000, method="mc", rng=1)
    assert e.stderr[1] == 3 / 2000


def test_equal_weights_of_an_evidence() -> None:
    law = d.Normal()
    with pytest.warns(FermiacWarning, match="all 2000 values of the weights are equal"):
        z = i.evidence(
            lambda x: np.where(x[:, 0] < 4.5, law.log_density(x), -np.inf), law, 2000,
            scheme="snis", rng=1,
        )  # fmt: skip
    assert 0 < z.log_evidence_stderr <= 3 / 1000
    low, high = z.interval()
    assert low < math.log1p(-RARE) < high


def test_sobol_indices_of_models_without_variance_or_effect() -> None:
    law = d.Uniform([0.0, 0.0], [1.0, 1.0])
    with pytest.warns(FermiacWarning, match="constant"):
        s = i.sobol_indices(lambda x: (x[:, 0] > 1 - 1e-6).astype(float), law, 2000, rng=1)
    assert 1e-6 < s.mean_stderr < 0.01
    assert 1e-6 < s.variance_stderr < 0.01
    # The second input has an effect on one point in a million.
    for controls in ("auto", "none"):
        s = i.sobol_indices(
            lambda x: x[:, 0] + (x[:, 1] > 1 - 1e-6), law, 2000, controls=controls, rng=1
        )  # type: ignore[call-overload]
        assert abs(s.total_order[1] - 12e-6) < s.total_order_stderr[1] < 0.1
        assert (s.first_order_stderr > 0).all()
    # The replicates of a net of one step agree.
    s = i.sobol_indices(lambda x: (x[:, 0] > 0.5).astype(float), law, 2000, controls="none", rng=1)
    assert min(s.mean_stderr, s.variance_stderr, *s.total_order_stderr) > 0


def test_outputs_of_any_size_have_errors() -> None:
    law = d.Uniform([0.0, 0.0], [1.0, 1.0])
    s = i.sobol_indices(lambda x: 1e200 * x[:, :1] * [1.0, 1e-300], law, 2000, rng=1)
    assert (s.total_order_stderr > 0).all()


@pytest.mark.parametrize("method", ["auto", "mfmc", "acv", "mc"])
def test_events_of_models(method: Any) -> None:
    law = d.Uniform(0.0, 1.0)
    models = [lambda x: x[:, 0] > 1 - 1e-6, lambda x: x[:, 0] > 1 - 1e-5]
    with pytest.warns(FermiacWarning, match="values of the first model are equal"):
        m = i.multifidelity(models, law, 500, [1.0, 0.01], method=method, rng=0)
    low, high = m.interval(0.95)
    assert m.mean == low == 0
    assert 1e-6 < high < 0.01
    with pytest.warns(FermiacWarning, match="values of the first model are equal"):
        m = i.multifidelity([lambda x: x[:, 0] < 1 - 1e-6], law, 500, [1.0], method=method, rng=0)
    low, high = m.interval(0.95)
    assert 0.99 < low < 1 - 1e-6 < high == m.mean == 1


@pytest.mark.parametrize(
    ("value", "settings"),
    # With debias=True the number of paths is random, and so is the mean of a constant.
    [(0.0, {}), (0.0, {"points": "sobol"}), (0.0, {"debias": True, "beta": 2.0}),
     (1.0, {}), (1.0, {"points": "sobol"})],
)  # fmt: skip
def test_events_of_levels(value: float, settings: dict[str, Any]) -> None:
    def level(at: int, n: int, stream: Any) -> tuple[Array, Array | None]:
        fine = np.where(stream.uniform(n) < 1e-7, 1 - value, value)
        return fine, fine if at else None

    with pytest.warns(FermiacWarning, match="values of the quantity are equal"):
        m = i.multilevel(level, 0.05, rng=0, **settings)
    low, high = m.interval(0.95)
    truth = abs(value - 1e-7)
    assert low < truth < high or abs(truth - value) < 1e-6
    assert not m.converged
    assert m.stderr > 1e-4
