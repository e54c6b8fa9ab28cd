"""Likelihoods of the probability-flow equation: closed forms, traces, and refused arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_flow_help import Mixture, Single, exact_a, model_a

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.score import Gaussian, Likelihood, log_likelihood

Array = NDArray[np.float64]

LOW, HIGH = 0.05, 400.0


def noise_density(y: Array, sigma: float) -> Array:
    """The log-density of noise alone."""
    dim = y.shape[1]
    return np.asarray(Single(np.zeros(dim), np.zeros(dim)).log_p(y, sigma))


@pytest.fixture(scope="module")
def points() -> Array:
    rng = np.random.default_rng(8)
    return np.vstack([rng.normal([0.5, 1.0], size=(12, 2)), [[6.0, -5.0], [-4.0, 4.0]]])


@pytest.mark.parametrize("method", ["dopri5", "dop853"])
def test_the_mixture_has_its_own_density(method: str, points: Array) -> None:
    model = model_a()
    wanted = model.log_density(points, LOW)
    for rtol in (1e-5, 1e-8):
        found = log_likelihood(
            model, points, (LOW, 10.0), rtol=rtol, atol=rtol, method=method, terminal="model"
        )
        assert np.abs(found.log_density - wanted).max() < 300 * rtol
        assert found.trace == "exact"
        assert found.stderr is None
    # Taken for noise alone at the highest level, the law is off by what it is off there.
    far = log_likelihood(model, points, (LOW, HIGH), rtol=1e-8, atol=1e-8)
    off = noise_density(far.latent, HIGH) - model.log_density(far.latent, HIGH)
    np.testing.assert_allclose(far.log_density, wanted + off, atol=1e-5)


def test_compiled_models_give_the_same_bits_on_any_threads(points: Array) -> None:
    x = np.tile(points, (20, 1))
    model = exact_a()
    one, two = (
        log_likelihood(
            model, x, (LOW, 10.0), rtol=1e-8, atol=1e-8, terminal="model", plan=fm.Plan(n_threads=n)
        )
        for n in (1, 2)
    )
    assert one.trace == "exact"
    np.testing.assert_array_equal(one.log_density, two.log_density)
    np.testing.assert_allclose(one.log_density, model.log_density(x, LOW), atol=3e-6)
    # More coordinates than are differenced one by one: the model knows its own trace.
    wide = log_likelihood(Gaussian(np.zeros(40), 0.5), np.ones((2, 40)), (0.1, 1e3), rtol=1e-7)
    assert wide.trace == "exact"
    wanted = -20.0 * np.log(2 * np.pi * 0.51) - 20.0 / 0.51
    np.testing.assert_allclose(wide.log_density, wanted, atol=1e-3)


@pytest.mark.parametrize("dim", [1, 5, 17])
def test_one_normal_law_by_differences(dim: int) -> None:
    rng = np.random.default_rng(dim)
    model = Single(rng.normal(size=dim), rng.uniform(0.01, 4.0, dim))
    x = 2.0 * rng.normal(size=(6, dim))
    found = log_likelihood(model, x, (0.01, 1e4), rtol=1e-8, atol=1e-8, trace="exact")
    end = model.flow(x, 0.01, 1e4)
    wanted = model.log_p(x, 0.01) + noise_density(end, 1e4) - model.log_p(end, 1e4)
    np.testing.assert_allclose(found.log_density, wanted, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(found.latent, end, rtol=1e-6)
    assert found.n_evals == found.n_row_evals.sum()


def test_differences_are_as_good_as_derivatives(points: Array) -> None:
    known, differenced = (
        log_likelihood(model_a(knows), points, (LOW, HIGH), rtol=1e-7, atol=1e-7)
        for knows in ("dlt", "d")
    )
    np.testing.assert_allclose(differenced.log_density, known.log_density, atol=1e-6)
    assert differenced.n_evals > 4 * known.n_evals


@pytest.mark.parametrize("knows", ["d", "p"])
def test_probes_are_unbiased_and_know_their_error(knows: str) -> None:
    class Probed(Mixture):
        def _with_probe(self, y: Array, sigma: Array, probes: Array) -> tuple[Array, Array]:
            h = 1e-5 * sigma[:, None]
            slope = (
                self._denoise(y + h * probes, sigma) - self._denoise(y - h * probes, sigma)
            ) / (2 * h)
            return self._denoise(y, sigma), (slope * probes).sum(axis=1)

    kind = Probed if knows == "p" else Mixture
    a = np.array([[1.0, 0.6, 0.0], [0.6, 0.5, 0.1], [0.0, 0.1, 0.2]])
    model = kind([0.4, 0.6], [(0, 0, 0), (2, 1, 0)], [a, 0.3 * a], "dt" if knows == "p" else "d")
    x = np.tile([[0.7, 0.2, 0.1]], (150, 1))
    exact = log_likelihood(model, x[:1], (LOW, HIGH), trace="exact").log_density[0]
    found = log_likelihood(model, x, (LOW, HIGH), trace="hutchinson", n_probes=2, rng=5)
    assert found.trace == "hutchinson"
    assert found.stderr is not None
    n = len(x)
    spread = found.log_density.std(ddof=1)
    assert spread > 0.01
    assert abs(found.log_density.mean() - exact) / (spread / np.sqrt(n)) < 5
    # The variance of the mean of two, and its estimate from the two.
    estimated = np.square(found.stderr)
    gap = estimated.mean() - found.log_density.var(ddof=1)
    error = np.hypot(estimated.std() / np.sqrt(n), spread**2 * np.sqrt(2 / n))
    assert abs(gap) / error < 5


def test_probes_belong_to_rows_and_keys(points: Array) -> None:
    def run(x: Array, rng: int, n_probes: int = 2) -> Any:
        return log_likelihood(
            model_a("d"), x, (LOW, 20.0), trace="hutchinson", n_probes=n_probes, rng=rng
        )

    whole = run(points[:6], 3)
    np.testing.assert_array_equal(run(points[:2], 3).log_density, whole.log_density[:2])
    assert (run(points[:6], 4).log_density != whole.log_density).any()
    assert whole.seed == 3
    single = run(points[:2], 3, n_probes=1)
    assert np.isnan(single.stderr).all()


def test_points_may_have_a_shape() -> None:
    law = Gaussian(np.zeros(6), 0.5)
    x = np.random.default_rng(1).normal(size=(4, 3, 2))
    shaped = log_likelihood(law, x, (0.1, 1e3))
    flat = log_likelihood(law, x.reshape(4, 6), (0.1, 1e3))
    np.testing.assert_array_equal(shaped.log_density, flat.log_density)
    np.testing.assert_array_equal(shaped.latent, flat.latent.reshape(4, 3, 2))
    np.testing.assert_array_equal(shaped.bits_per_dim(), flat.bits_per_dim())


def test_bits_are_code_lengths(points: Array) -> None:
    result = log_likelihood(model_a(), points, (LOW, HIGH))
    bits = result.bits_per_dim()
    np.testing.assert_allclose(bits, -result.log_density / (2 * np.log(2)))
    np.testing.assert_allclose(result.bits_per_dim(2 / 256), bits + 7.0)
    with pytest.raises(ArgumentError, match="bin_width"):
        result.bits_per_dim(0.0)


def test_results_say_what_they_are_and_can_be_kept(points: Array, tmp_path: Any) -> None:
    result = log_likelihood(model_a(), points, (LOW, HIGH), rng=1)
    assert "14 points in 2 dimensions" in repr(result)
    result.save(tmp_path / "l.safetensors")
    again = Likelihood.load(tmp_path / "l.safetensors")
    np.testing.assert_array_equal(again.log_density, result.log_density)
    assert again.sigma_range == result.sigma_range == (LOW, HIGH)
    assert result.status == "complete"


def test_an_interrupt_keeps_the_rows_that_were_done(points: Array) -> None:
    class Stops(Mixture):
        def _with_trace(self, y: Array, sigma: Array) -> tuple[Array, Array]:
            if self.calls > 60:
                raise KeyboardInterrupt
            return super()._with_trace(y, sigma)

    model = Stops([1.0], [(0.0, 0.0)], [np.eye(2)])
    with pytest.raises(KeyboardInterrupt) as caught:
        log_likelihood(model, points, (LOW, HIGH), rtol=1e-9, atol=1e-9)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert np.isnan(partial.log_density).any()
    assert partial.n_evals >= 60


def test_no_points_have_no_density() -> None:
    for trace in ("exact", "hutchinson"):
        result = log_likelihood(model_a("d"), np.empty((0, 2)), (LOW, HIGH), trace=trace, rng=0)
        assert result.log_density.shape == (0,)
        assert result.n_evals == 0
        assert repr(result)


def test_a_coarse_model_is_not_differenced(points: Array) -> None:
    class Coarse(Mixture):
        def _denoise(self, y: Array, sigma: Array) -> Array:
            return super()._denoise(y, sigma).astype(np.float32).astype(float)

    model = Coarse([1.0], [(0.0, 0.0)], [np.eye(2)], "d")
    for trace in ("exact", "hutchinson"):
        with pytest.raises(ArgumentError, match="too coarse for differences"):
            log_likelihood(model, points, (LOW, HIGH), trace=trace)


def test_values_that_are_not_finite_are_told_of(points: Array) -> None:
    class Broken(Mixture):
        def _with_trace(self, y: Array, sigma: Array) -> tuple[Array, Array]:
            denoised, trace = super()._with_trace(y, sigma)
            trace[(y[:, 0] > 5) & (sigma > 1)] = np.nan
            return denoised, trace

    model = Broken([1.0], [(0.0, 0.0)], [np.eye(2)])
    with pytest.raises(TargetError, match="trace that is not finite for row 12 at level"):
        log_likelihood(model, points[:13], (LOW, HIGH))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma_range": None}, "sigma_range"),
        ({"sigma_range": (1.0, 0.5)}, "sigma_range"),
        ({"sigma_range": (0.0, 1.0)}, "sigma_range"),
        ({"sigma_range": 3.0}, "sigma_range"),
        ({"x": np.zeros((2, 3))}, "x:"),
        ({"x": np.zeros(2)}, "x:"),
        ({"trace": "skilling"}, "trace"),
        ({"terminal": "flat"}, "terminal"),
        ({"terminal": "model", "model": model_a("d")}, "terminal"),
        ({"n_probes": 0}, "n_probes"),
        ({"rtol": -1.0}, "rtol"),
        ({"model": "score"}, "model"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_arguments_outside_their_domains_are_refused(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "model": model_a(),
        "x": np.zeros((1, 2)),
        "sigma_range": (LOW, HIGH),
        **options,
    }
    with pytest.raises(ArgumentError, match=message):
        log_likelihood(**given)
