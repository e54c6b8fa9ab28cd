"""ABC from a table: the reference table, regressions against least squares, doubts, arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning, TargetError
from fermiac.sbi import abc

LINE = np.arange(4.0)


def gaussian(n: int, seed: int = 1, k: int = 10) -> tuple[Any, Any]:
    """Parameters from N(0, 1), and the means of k observations from N(theta, 1)."""
    st = fm.random.Stream(seed)
    theta = st.normal(n)
    return theta, theta + st.normal(n) / np.sqrt(k)


def test_the_reference_table() -> None:
    with pytest.warns(FermiacWarning, match="are few"):
        s = abc((LINE, LINE), 1.4, n_accept=3)
    assert s.rows is not None
    assert s.rows.tolist() == [1, 2, 0]
    np.testing.assert_allclose(np.exp(s.log_weights), [0.9183673, 0.8163265, 0.0], atol=5e-8)
    np.testing.assert_allclose(s.draws[:, 0], 1.4, rtol=1e-14)
    np.testing.assert_allclose(s.distances, [0.4, 0.6, 1.4])
    assert s.epsilon == pytest.approx(1.4)
    plain = abc((LINE, LINE), 1.4, n_accept=3, method="rejection")
    assert plain.draws[:, 0].tolist() == [1.0, 2.0, 0.0]
    assert plain.log_weights is None


@pytest.mark.parametrize("method", ["local_linear", "ridge"])
def test_the_gaussian_posterior(method: Any) -> None:
    s = abc(gaussian(50_000), 0.5, method=method, n_accept=2000)
    e = s.expect(lambda x: np.column_stack([x[:, 0], (x[:, 0] - 5 / 11) ** 2]))
    assert (abs(e.mean - [5 / 11, 1 / 11]) < 5 * e.stderr).all()
    assert s.summary() is not None


def test_rejection_has_the_law_for_its_epsilon() -> None:
    """The moments given that the mean is within epsilon of the observed one, by quadrature."""
    from scipy.stats import norm

    s = abc(gaussian(50_000), 0.5, method="rejection", n_accept=5000, scale="none")
    x = np.linspace(-5, 6, 20_001)
    sd = np.sqrt(0.1)
    near = norm.cdf((0.5 + s.epsilon - x) / sd) - norm.cdf((0.5 - s.epsilon - x) / sd)
    w = norm.pdf(x) * near
    w /= w.sum()
    mean = w @ x
    e = s.expect(lambda t: np.column_stack([t[:, 0], (t[:, 0] - mean) ** 2]))
    assert (abs(e.mean - [mean, w @ (x - mean) ** 2]) < 5 * e.stderr).all()


def test_errors_are_calibrated() -> None:
    pulls = []
    for seed in range(1000, 1150):
        e = abc(gaussian(4000, seed), 0.5, n_accept=200).expect(lambda x: x[:, 0])
        pulls.append((e.mean - 5 / 11) / e.stderr)
    assert 0.90 <= np.mean(np.abs(pulls) < 2) <= 0.99
    assert abs(np.mean(pulls)) < 5 / np.sqrt(150)


def test_regressions_against_weighted_least_squares() -> None:
    st = fm.random.Stream(2)
    s = st.normal((500, 3)) * [1.0, 10.0, 0.1]
    theta = np.stack([s @ [1.0, 0.2, -3.0] + st.normal(500), s[:, 0] ** 2], axis=1)
    got = abc((theta, s), [0.1, 1.0, 0.0], n_accept=120)
    assert got.rows is not None
    w = np.exp(got.log_weights)
    x = np.column_stack([np.ones(120), s[got.rows] - got.observed])
    root = np.sqrt(w)[:, None]
    beta = np.linalg.lstsq(root * x, root * theta[got.rows], rcond=None)[0]
    known = theta[got.rows] - x[:, 1:] @ beta[1:]
    np.testing.assert_allclose(got.draws, known, rtol=1e-9, atol=1e-9)
    # A ridge with almost no penalty is the same; with a huge one nothing is adjusted.
    ridge = abc((theta, s), got.observed, n_accept=120, method="ridge", penalty=1e-14)
    np.testing.assert_allclose(ridge.draws, known, rtol=1e-6, atol=1e-6)
    none = abc((theta, s), got.observed, n_accept=120, method="ridge", penalty=1e14)
    np.testing.assert_allclose(none.draws, theta[got.rows], rtol=1e-6, atol=1e-6)


def test_many_summaries_take_a_ridge() -> None:
    st = fm.random.Stream(3)
    theta = st.normal(3000)
    s = np.column_stack([theta + 0.3 * st.normal(3000), st.normal((3000, 80))])
    observed = np.zeros(81)
    with pytest.raises(ArgumentError, match="ridge"):
        abc((theta, s), observed, n_accept=60)
    ridge = abc((theta, s), observed, n_accept=60, method="ridge")
    plain = abc((theta, s), observed, n_accept=60, method="rejection")
    assert float(ridge.cov[0, 0]) < float(plain.cov[0, 0])
    assert isinstance(ridge.settings["penalty"], float)


def test_bounds_are_kept() -> None:
    st = fm.random.Stream(4)
    theta = np.stack([st.uniform(5000), st.exponential(5000), 2 - st.exponential(5000)], axis=1)
    s = theta + 0.5 * st.normal((5000, 3))
    bounds = [(0, 1), (0, np.inf), (-np.inf, 2)]
    got = abc((theta, s), [0.0, 0.05, 1.95], n_accept=500, bounds=bounds)
    low, high = np.array(bounds).T
    assert ((got.draws > low) & (got.draws < high)).all()
    free = abc((theta, s), [0.0, 0.05, 1.95], n_accept=500)
    assert not ((free.draws > low) & (free.draws < high)).all()


def test_scales_distances_and_failures() -> None:
    theta, s = gaussian(2000)
    wide = np.column_stack([s, 1000 * fm.random.Stream(5).normal(2000)])
    by_mad = abc((theta, wide), [0.5, 0.0])
    other = abc((theta, wide * [1.0, 1e-3]), [0.5, 0.0])
    np.testing.assert_array_equal(by_mad.rows, other.rows)
    mine = abc((theta, wide), [0.5, 0.0], scale=[1.0, 1e9])
    alone = abc((theta, s), 0.5, scale="none")
    np.testing.assert_array_equal(np.sort(mine.rows), np.sort(alone.rows))

    def first(a: Any, b: Any) -> Any:
        return np.abs(a[:, 0] - b[0])

    called = abc((theta, wide), [0.5, 0.0], distance=first)
    np.testing.assert_array_equal(called.rows, alone.rows)
    failed = wide.copy()
    failed[by_mad.rows[0]] = np.nan
    again = abc((theta, failed), [0.5, 0.0], scale=by_mad.scale)
    assert by_mad.rows[0] not in again.rows
    constant = abc((theta, np.column_stack([s, np.ones(2000)])), [0.5, 1.0])
    assert constant.scale[1] == 1.0
    equal = abc((theta, np.ones(2000)), 1.0)  # all distances are 0
    assert equal.rows.tolist() == list(range(100))


def test_files(tmp_path: Path) -> None:
    s = abc(gaussian(2000), 0.5, names=["mu"])
    s.save(tmp_path / "s.safetensors")
    loaded = fm.load(tmp_path / "s.safetensors")
    assert isinstance(loaded, fm.sbi.AbcSample)
    assert loaded.to_dict() == s.to_dict()
    assert s["mu"].shape == (100,)
    assert "epsilon" in repr(s)


def test_doubts() -> None:
    with pytest.warns(ConvergenceWarning, match="outside of the range"):
        abc(gaussian(2000), 9.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "neural"}, "method"),
        ({"n_accept": 1}, "n_accept"),
        ({"n_accept": 10**6}, "n_accept"),
        ({"scale": "iqr"}, "scale"),
        ({"scale": [0.0]}, "scale"),
        ({"scale": [1.0, 2.0]}, "scale"),
        ({"distance": 3}, "distance"),
        ({"penalty": 0.0}, "penalty"),
        ({"bounds": [(0, 1)]}, "outside"),
        ({"bounds": [0, 1]}, "bounds"),
        ({"names": ["a", "b"]}, "names"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        abc(gaussian(200), 0.5, **arguments)


def test_tables_that_cannot_be_used() -> None:
    theta, s = gaussian(200)
    for table, observed, message in [
        (theta, 0.5, "pair"),
        ((theta, s[:-1]), 0.5, "row for each"),
        ((theta, s), [0.5, 0.5], "as many"),
        ((theta, s), np.nan, "NaN"),
        ((theta, s), [[0.5]], "observed"),
        ((theta * np.nan, s), 0.5, "NaN"),
        ((theta, s * np.nan), 0.5, "finite summaries"),
        ((theta[:1], s[:1]), 0.5, "row for each"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            abc(table, observed)  # type: ignore[arg-type]
    for wrong in (lambda a, b: a, lambda a, b: -np.ones(len(a)), lambda a, b: "x"):
        with pytest.raises(TargetError, match="distance"):
            abc((theta, s), 0.5, distance=wrong)
