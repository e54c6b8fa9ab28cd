"""Draws given an observation: exact posteriors of mixtures, and every method beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse.linalg import aslinearoperator

import fermiac as fm
from fermiac.errors import ArgumentError, CallError, TargetError

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


def test_pigdm_is_exact_for_a_ball() -> None:
    """With the true variance of an isotropic normal law nothing is approximated."""
    y = [1.5, -0.5]
    law, _ = ROWS.posterior_of(BALL, y)
    s = given(BALL, ROWS, y, "pigdm", n_steps=400)
    error = np.sqrt(np.diag(law.covariances[0]) / 4000)
    assert (np.abs(s.draws.mean(axis=0) - law.means[0]) < 5 * error + 0.004).all()
    np.testing.assert_allclose(np.cov(s.draws.T), law.covariances[0], atol=0.03)
    # By the equation without noise its error is that of an integrator.
    m = fm.score.observed(BALL, ROWS, y)
    y0 = np.zeros((1, 3)) + 40 * np.array([[0.3, -0.2, 0.1]])
    exact = fm.score.integrate(law, y0, [40.0, 0.02], "dop853")
    far = [
        np.abs(fm.score.integrate(m, y0, fm.score.karras(k, 0.02, 40.0), "heun") - exact).max()
        for k in (40, 80)
    ]
    assert far[1] < 0.02
    assert far[1] < far[0] / 3


@pytest.mark.parametrize("method", ["ddrm", "daps", "pigdm"])
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


def test_bits_and_stores(tmp_path: Any) -> None:
    def run(**options: Any) -> Any:
        return given(MODEL, SEEN, [1.0], fm.score.DAPS(2), n=3000, n_steps=12, **options)

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    whole = run(plan=fm.Plan(n_threads=1))
    np.testing.assert_array_equal(run(plan=fm.Plan(n_threads=3)).draws, whole.draws)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(plan=fm.Plan(progress=stop, store=tmp_path))
    assert caught.value.partial_result.draws.shape == (3000, 2)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(run(plan=fm.Plan(store=tmp_path)).draws, whole.draws)
    with pytest.raises(fm.errors.CheckpointError, match="observed"):
        given(
            MODEL, SEEN, [2.0], fm.score.DAPS(2), n=3000, n_steps=12, plan=fm.Plan(store=tmp_path)
        )


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
        (lambda: given(MODEL, SEEN, [1.0], "dps"), "one of the names 'pigdm', 'ddrm'"),
        (lambda: given(NETWORK, ROWS, [1.0, 1.0], "pigdm"), "'ddrm', 'daps' and"),
        (lambda: fm.score.observed(NETWORK, ROWS, [1.0, 1.0]), "needs the derivative"),
        (
            lambda: given(MODEL, fm.score.Measured(np.sum, np.sum), 1.0, "pigdm"),
            "for a Linear observation",
        ),
        (lambda: given(MODEL, fm.score.Measured(np.sum, np.sum), 1.0, "daps"), "gradient"),
        (lambda: fm.score.DDRM(eta=2), "eta"),
        (lambda: fm.score.DAPS(n_ode=0), "n_ode"),
        (lambda: fm.score.Particles(twist=3), "twist"),
        (lambda: SEEN.posterior_of(NETWORK, [1.0]), "a GaussianMixture or Gaussian is needed"),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_the_removed_rule_names_its_successor() -> None:
    with pytest.raises(CallError, match="rule: removed; the rule is that of PiGDM"):
        fm.score.observed(LAW, ROWS, [1.5, -0.5], rule="tmpd")  # type: ignore[call-arg]


class Network(fm.score.Model):
    """A model of which only the denoised points are known, and their derivative if asked for."""

    def __init__(self, model: Any, derivative: bool) -> None:
        self._inner, self.dim, self._derivative = model, model.dim, derivative

    def _sampling_range(self) -> tuple[float, float]:
        return self._inner._sampling_range()

    def _denoise(self, y: Array, sigma: Array) -> Array:
        return self._inner._denoise(y, sigma)

    @property
    def has_vjp(self) -> bool:
        return self._derivative

    def _vjp(self, y: Array, sigma: Array, vectors: Array) -> Array:
        return self._inner._vjp(y, sigma, vectors)


def closed_forms() -> dict[str, tuple[Any, Any, Any]]:
    """Laws, observations and observed numbers with a posterior in closed form."""
    at = 2 * np.pi * np.arange(24) / 24
    circle = fm.score.GaussianMixture(
        np.full(24, 1 / 24), np.column_stack([np.cos(at), np.sin(at)]), 0.15**2
    )
    r = np.random.default_rng(1)
    a, means = r.normal(size=(2, 4)), 1.5 * r.normal(size=(3, 4))
    four = fm.score.GaussianMixture([0.2, 0.3, 0.5], means, 0.2)
    return {
        "normal law": (LAW, ROWS, [1.5, -0.5]),
        "mixture on a line": (
            fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], 0.04),
            fm.score.Linear([[1.0]], 2.0),
            [-1.0],
        ),
        "mixture in a plane": (MODEL, SEEN, [1.0]),
        "circle of 24": (circle, fm.score.Linear([[1.0, 0.0]], 0.1), [1.0]),
        "mixture in four dimensions": (four, fm.score.Linear(a, 0.5), a @ means[1] + 0.3),
    }


@pytest.mark.parametrize("name", closed_forms())
def test_the_default_draws_from_closed_forms(name: str) -> None:
    """Means, squares and the evidence, within four of their errors."""
    model, o, y = closed_forms()[name]
    law, log_evidence = o.posterior_of(model, y)
    mean = law.weights @ law.means
    squares = np.array([np.diag(c) for c in law.covariances]) + np.square(law.means)
    away = []
    for seed in range(4):
        s = fm.score.posterior(model, o, y, 1000, rng=seed)
        assert (s.mode, s.bias) == ("particles", ())
        assert "biased" not in repr(s)
        one, two = s.expect(lambda x: x), s.expect(lambda x: x**2)
        away += [*(one.mean - mean) / one.stderr]
        away += [*(two.mean - law.weights @ squares) / two.stderr]
        away += [(s.log_evidence - log_evidence) / s.log_evidence_stderr]
    assert np.abs(away).max() < 4
    assert np.sqrt(np.mean(np.square(away))) < 1.6


@pytest.mark.filterwarnings("ignore:n_steps")
@pytest.mark.parametrize("derivative", [True, False])
def test_the_evidence_of_networks_has_an_error_of_its_steps(derivative: bool) -> None:
    for name, (model, o, y) in closed_forms().items():
        log_evidence = o.posterior_of(model, y)[1]
        for seed in range(3):
            s = fm.score.posterior(Network(model, derivative), o, y, 600, rng=seed)
            assert abs(s.log_evidence - log_evidence) < 4 * s.log_evidence_stderr, name
            assert (s.mode, s.is_biased) == ("particles", True)
            assert "biased" in repr(s).split("\n")[0]
            # The particles, half of them with half the steps, and the draws for the variance.
            assert s.n_evals == 600 * 100 + 300 * 50 + 64 * 20


def test_too_few_steps_are_told() -> None:
    model, o = Network(fm.score.Gaussian([0.0], 1.0), True), fm.score.Linear([[1.0]], 1.0)
    with pytest.warns(fm.errors.ConvergenceWarning, match="n_steps: the log normaliser") as told:
        s = fm.score.posterior(model, o, [2.0], 500, n_steps=20, rng=0)
    assert s.warnings == (str(told[0].message).split(" [docs")[0],)
    assert fm.score.posterior(model, o, [2.0], 500, n_steps=400, rng=0).warnings == ()


def test_a_rule_takes_the_place_of_particles_that_collapse() -> None:
    """A sharp observation of half of 40 coordinates leaves one line of descent."""
    r = np.random.default_rng(0)
    model = fm.score.GaussianMixture(np.full(4, 0.25), 2 * r.normal(size=(4, 40)), 0.5)
    o, y = fm.score.Linear(np.arange(40) < 20, 0.01), model.means[0, :20]
    for derivative, mode in ((True, "pigdm"), (False, "ddrm")):
        s = fm.score.posterior(Network(model, derivative), o, y, 100, n_steps=40, rng=0)
        assert (s.mode, s.is_biased, s.log_weights) == (mode, True, None)
    few = fm.score.posterior(Network(LAW, True), ROWS, [1.5, -0.5], 5, n_steps=10, rng=0)
    assert few.mode == "pigdm"


def test_the_variance_of_a_network_is_estimated() -> None:
    s = fm.score.posterior(Network(LAW, True), ROWS, [1.5, -0.5], 50, method="pigdm", rng=0)
    own = float(s.settings["method"].split("prior_variance=")[1].split(",")[0])
    assert own == pytest.approx(2.1 / 3, rel=0.3)


def test_the_observation_tells_the_coordinates() -> None:
    model = fm.score.ScoreModel(
        lambda y, s: y / (1 + s**2)[:, None], "x0", sigma_range=(0.01, 50.0)
    )
    assert fm.score.posterior(model, ROWS, [1.5, -0.5], 50, n_steps=9, rng=0).dim == 3


@pytest.mark.torch
def test_the_layers_of_a_module_tell_the_coordinates() -> None:
    torch = pytest.importorskip("torch")

    class Perceptron(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.time = torch.nn.Linear(1, 8)
            self.first, self.last = torch.nn.Linear(11, 8), torch.nn.Linear(8, 3)

        def forward(self, y: Any, s: Any) -> Any:
            seen = torch.cat([y, self.time(s[:, None].to(y))], 1)
            return self.last(torch.tanh(self.first(seen)))

    model = fm.score.ScoreModel(Perceptron(), "x0", sigma_range=(0.01, 50.0))
    assert fm.score.sample(model, 5, rng=0).draws.shape == (5, 3)
    convolution = fm.score.ScoreModel(torch.nn.Conv2d(1, 1, 3), "x0", sigma_range=(0.01, 50.0))
    with pytest.raises(ArgumentError, match="dim: not given"):
        fm.score.sample(convolution, 5)


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
    method = fm.score.PiGDM(prior_variance=0.7)
    found = given(network, ROWS, y, method, n=20, n_steps=12).draws
    wanted = given(LAW, ROWS, y, method, n=20, n_steps=12).draws
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-8)
