"""Draws given an observation: exact posteriors of mixtures, and every method beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse.linalg import aslinearoperator

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

# Lines of descent are few and uneven, which is told; their errors are right all the same.
pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.WeightWarning")

Array = NDArray[np.float64]
#: The mixture of the documentation.
MODEL = fm.score.GaussianMixture(
    [0.5, 0.3, 0.2],
    [[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0]],
    [np.diag([0.25, 0.25]), [[0.36, 0.12], [0.12, 0.16]], np.diag([0.09, 0.64])],
)
SEEN = fm.score.Linear([[1.0, 0.5]], noise=0.3)
RANGE = (0.01, 40.0)
LAW = fm.score.Gaussian([0.5, -0.5, 1.0], [[1.0, 0.6, 0.0], [0.6, 0.8, 0.1], [0.0, 0.1, 0.3]])
#: Two rows, the singular values of which differ.
ROWS = fm.score.Linear([[1.0, 0.5, 0.0], [0.0, 2.0, 1.0]], noise=0.4)
BALL = fm.score.Gaussian(np.zeros(3), 0.49)
HALF = fm.score.Linear([True, False, True], noise=0.05)


def test_the_posterior_of_a_mixture_is_a_mixture() -> None:
    """Figures to ten digits, computed apart."""
    law, log_evidence = SEEN.posterior_of(MODEL, [1.0])
    np.testing.assert_allclose(law.weights, [0.93882321, 0.00944235, 0.05173444], atol=5e-9)
    np.testing.assert_allclose(law.weights @ law.means, [0.51226657, 0.52150289], atol=5e-9)
    assert log_evidence == pytest.approx(-2.3361635569, abs=1e-10)


def test_particles_draw_from_it() -> None:
    law, log_evidence = SEEN.posterior_of(MODEL, [1.0])
    mean = law.weights @ law.means
    for seed in range(5):
        s = fm.score.posterior(
            MODEL, SEEN, [1.0], 2000, method="particles", n_steps=60, sigma_range=RANGE, rng=seed
        )
        e = s.expect(lambda x: x)
        assert (np.abs(e.mean - mean) < 5 * e.stderr).all()
        assert abs(s.log_evidence - log_evidence) < 5 * s.log_evidence_stderr
        assert s.bias == ()
        assert s.mode == "particles"
    np.testing.assert_allclose(s.residuals[:, 0], 1.0 - s.draws @ [1.0, 0.5])


@pytest.mark.parametrize("twist", [True, False])
def test_particles_without_densities_say_that_they_are_biased(twist: bool) -> None:
    method = fm.score.Particles(twist=twist, correct=False)
    s = fm.score.posterior(
        MODEL, SEEN, [1.0], 4000, method=method, n_steps=400, sigma_range=RANGE, rng=0
    )
    law, log_evidence = SEEN.posterior_of(MODEL, [1.0])
    e = s.expect(lambda x: x)
    assert (np.abs(e.mean - law.weights @ law.means) < 5 * e.stderr + 0.02).all()
    assert abs(s.log_evidence - log_evidence) < 5 * s.log_evidence_stderr + 0.05
    assert s.is_biased


def given(model: Any, o: Any, y: Any, method: Any, **options: Any) -> Any:
    options = {"n": 4000, "n_steps": 200, "sigma_range": RANGE, "rng": 0} | options
    return fm.score.posterior(model, o, y, method=method, **options)


def test_tmpd_is_exact_for_a_normal_law() -> None:
    y = [1.5, -0.5]
    law, _ = ROWS.posterior_of(LAW, y)
    s = given(LAW, ROWS, y, "tmpd", n_steps=400)
    error = np.sqrt(np.diag(law.covariances[0]) / 4000)
    assert (np.abs(s.draws.mean(axis=0) - law.means[0]) < 5 * error + 0.004).all()
    np.testing.assert_allclose(np.cov(s.draws.T), law.covariances[0], atol=0.03)
    # By the equation without noise its error is that of an integrator.
    m = fm.score.observed(LAW, ROWS, y, rule="tmpd")
    y0 = np.zeros((1, 3)) + 40 * np.array([[0.3, -0.2, 0.1]])
    exact = fm.score.integrate(law, y0, [40.0, 0.02], "dop853")
    far = [
        np.abs(fm.score.integrate(m, y0, fm.score.karras(k, 0.02, 40.0), "heun") - exact).max()
        for k in (40, 80)
    ]
    assert far[1] < 0.02
    assert far[1] < far[0] / 3


def test_pigdm_is_exact_for_a_ball() -> None:
    """With the true variance of an isotropic normal law nothing is approximated."""
    y = [1.5, -0.5]
    law, _ = ROWS.posterior_of(BALL, y)
    s = given(BALL, ROWS, y, "pigdm", n_steps=400)
    error = np.sqrt(np.diag(law.covariances[0]) / 4000)
    assert (np.abs(s.draws.mean(axis=0) - law.means[0]) < 5 * error + 0.004).all()
    np.testing.assert_allclose(np.cov(s.draws.T), law.covariances[0], atol=0.03)


@pytest.mark.parametrize("method", ["ddrm", "daps", "diffpir", "inpaint", "pigdm", "tmpd"])
def test_sharp_observations_are_met_and_the_rest_is_drawn(method: str) -> None:
    """A ball's coordinates are independent: what is not seen keeps its law N(0, 0.49)."""
    s = given(BALL, HALF, [0.7, -0.3], method, n=2000)
    assert np.abs(s.residuals).max() < 0.6
    assert np.abs(s.residuals.mean(axis=0)).max() < 0.02
    assert abs(s.draws[:, 1].mean()) < 5 * 0.7 / np.sqrt(2000)
    # DAPS adds the variance of each level to what is not seen.
    assert 0.6 < s.draws[:, 1].std() < (0.95 if method == "daps" else 0.8)
    assert s.is_biased
    assert s.mode == method
    assert s.log_weights is None
    assert np.isnan(s.log_evidence)


@pytest.mark.filterwarnings("ignore:sigma_range")
def test_dps_goes_down_the_residual() -> None:
    """One step by hand."""
    grid, y = [2.0, 0.5, 0.0], np.array([1.0])
    s = fm.score.posterior(MODEL, SEEN, y, 4, method=fm.score.DPS(0.3), schedule=grid, rng=0)
    z = [
        fm._core.score_noise(0, purpose, 0, 4, draw, 2, 0)[0] for purpose, draw in ((1, 0), (0, 0))
    ]
    x = 2.0 * z[0]

    def slope(x: Array, level: float) -> Array:
        away = y - MODEL.denoise(x, level) @ SEEN.matrix.T
        return (MODEL.jacobian(x, level) @ (np.sign(away) @ SEEN.matrix)[..., None])[..., 0]

    d = MODEL.denoise(x, 2.0)
    mean = d + 0.25**2 * (x - d)
    x = mean + 0.25 * np.sqrt(4 - 0.25) * z[1] + 0.3 * slope(x, 2.0)
    np.testing.assert_allclose(s.draws, MODEL.denoise(x, 0.5) + 0.3 * slope(x, 0.5), rtol=1e-10)


def test_a_measured_observation() -> None:
    """A linear one given as functions has the law of `Linear`, by particles and by Langevin."""
    o = fm.score.Measured(
        lambda x: x @ ROWS.matrix.T,
        lambda f, y: -0.5 * np.square((f - y) / ROWS.noise).sum(axis=1),
        lambda x, y: (y - x @ ROWS.matrix.T) @ ROWS.matrix / ROWS.noise**2,
    )
    y = np.array([1.5, -0.5])
    law, log_evidence = ROWS.posterior_of(LAW, y)
    s = given(LAW, o, y, "particles", n_steps=60)
    e = s.expect(lambda x: x)
    assert (np.abs(e.mean - law.means[0]) < 5 * e.stderr).all()
    scale = np.log(2 * np.pi * ROWS.noise**2)
    assert abs(s.log_evidence - scale - log_evidence) < 5 * s.log_evidence_stderr
    exact = given(LAW, ROWS, y, "daps", n_steps=40)
    steps = given(LAW, o, y, fm.score.DAPS(n_langevin=60), n_steps=40, n=2000)
    assert np.abs(steps.draws.mean(axis=0) - exact.draws.mean(axis=0)).max() < 0.1


def test_forms_of_a_linear_observation() -> None:
    dense = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for form in (dense, aslinearoperator(dense), [True, False, True]):
        o = fm.score.Linear(form, noise=0.1)
        np.testing.assert_array_equal(o.matrix, dense)
    mask = np.array([[True, False], [False, True]])
    o = fm.score.Linear(mask, noise=0.1)
    # An image under its mask: what is hidden is not read.
    np.testing.assert_array_equal(o._observed(np.arange(4.0).reshape(2, 2)), [0.0, 3.0])


def test_bits_and_checkpoints(tmp_path: Any) -> None:
    def run(**options: Any) -> Any:
        return given(MODEL, SEEN, [1.0], fm.score.DAPS(2), n=3000, n_steps=12, **options)

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    whole = run(n_threads=1)
    np.testing.assert_array_equal(run(n_threads=3).draws, whole.draws)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(progress=stop, checkpoint=tmp_path / "run")
    assert caught.value.partial_result.draws.shape == (3000, 2)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(run(checkpoint=tmp_path / "run").draws, whole.draws)
    with pytest.raises(fm.errors.CheckpointError, match="observed"):
        given(MODEL, SEEN, [2.0], fm.score.DAPS(2), n=3000, n_steps=12, checkpoint=tmp_path / "run")


NETWORK = fm.score.ScoreModel(lambda y, s: y, dim=3, sigma_range=(0.1, 10.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fm.score.Linear([[1.0]], noise=0.0), "noise"),
        (lambda: fm.score.Linear([[np.inf]], noise=1.0), "matrix: infinity"),
        (lambda: fm.score.Linear([1.0], noise=1.0), "matrix: shape"),
        (lambda: fm.score.Linear([False], noise=1.0), "without any True"),
        (lambda: given(MODEL, ROWS, [1.0, 1.0], "pigdm"), "3 columns"),
        (lambda: given(MODEL, SEEN, [1.0, 1.0], "pigdm"), "y: 2 numbers"),
        (lambda: given(MODEL, SEEN, [np.inf], "pigdm"), "y: infinity"),
        (lambda: given(MODEL, 3, [1.0], "pigdm"), "observation: 3"),
        (lambda: given(MODEL, SEEN, [1.0], "dpss"), "method"),
        (lambda: given(MODEL, SEEN, [1.0], "inpaint"), "mask"),
        (lambda: given(NETWORK, ROWS, [1.0, 1.0], "dps"), "'ddrm', 'daps'"),
        (lambda: fm.score.observed(NETWORK, ROWS, [1.0, 1.0]), "needs the derivative"),
        (
            lambda: given(MODEL, fm.score.Measured(np.sum, np.sum), 1.0, "pigdm"),
            "for a Linear observation",
        ),
        (lambda: given(MODEL, fm.score.Measured(np.sum, np.sum), 1.0, "daps"), "gradient"),
        (lambda: fm.score.DPS(step=-1), "step"),
        (lambda: fm.score.DDRM(eta=2), "eta"),
        (lambda: fm.score.DAPS(n_ode=0), "n_ode"),
        (lambda: fm.score.DiffPIR(penalty=0), "penalty"),
        (lambda: fm.score.RePaint(0), "n_repeats"),
        (lambda: fm.score.Particles(twist=3), "twist"),
        (lambda: SEEN.posterior_of(NETWORK, [1.0]), "a GaussianMixture or Gaussian is needed"),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_impossible_observations_are_told() -> None:
    never = fm.score.Measured(lambda x: x, lambda f, y: np.full(len(f), -np.inf))
    with pytest.raises(TargetError, match="all 50 are 0"):
        given(MODEL, never, 1.0, "particles", n=50, n_steps=5)


@pytest.mark.torch
def test_products_with_the_derivative_of_a_torch_module() -> None:
    torch = pytest.importorskip("torch")
    cov = np.array(LAW.covariance)

    class Network(torch.nn.Module):  # type: ignore[misc]
        """The denoised points of the normal law."""

        def forward(self, y: Any, s: Any) -> Any:
            mean, c = torch.tensor(LAW.mean.tolist()).double(), torch.tensor(cov)
            noisy = c + s[:, None, None] ** 2 * torch.eye(3, dtype=torch.float64)
            away = torch.linalg.solve(noisy, (y - mean)[..., None])
            return mean + (c @ away)[..., 0]

    network = fm.score.ScoreModel(Network(), "x0", dim=3, dtype=torch.float64, max_batch=7)
    y = [1.5, -0.5]
    for method in ("dps", "tmpd", fm.score.PiGDM(prior_variance=0.7)):
        found = given(network, ROWS, y, method, n=20, n_steps=12).draws
        wanted = given(LAW, ROWS, y, method, n=20, n_steps=12).draws
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-8)
