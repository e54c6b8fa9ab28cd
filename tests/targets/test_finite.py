"""Gradients by central differences: their error, cost and behaviour at bounds."""

import pickle

import numpy as np
import pytest
from natives import total

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.targets import finite
from fermiac.targets.finite import central_differences


def test_the_error_is_that_of_the_rule():
    x = np.array([[0.3, -2.0, 500.0], [1.0, 0.0, -3.0]])
    values, slopes = central_differences(lambda x: np.sin(x).sum(axis=1), x)
    np.testing.assert_array_equal(values, np.sin(x).sum(axis=1))
    step = finite.STEP * np.maximum(abs(x), 1)
    limit = step**2 / 6 + 3 * np.finfo(float).eps * abs(values[:, None]) / step + 1e-10
    assert (abs(slopes - np.cos(x)) <= limit).all()
    # Slopes of a quadratic have no truncation error.
    _, slopes = central_differences(lambda x: (x**2).sum(axis=1), x[1:])
    np.testing.assert_allclose(slopes, 2 * x[1:], atol=1e-8)


def test_a_batch_is_one_call_and_large_ones_are_cut(monkeypatch):
    sizes = []

    def f(x):
        sizes.append(len(x))
        return -0.5 * (x**2).sum(axis=1)

    x = np.random.default_rng(0).normal(size=(7, 5))
    whole = central_differences(f, x)
    assert sizes == [7 * 11]
    for most in (200, 60, 23, 1):
        monkeypatch.setattr(finite, "_MOST", most)
        cut = central_differences(f, x)
        np.testing.assert_array_equal(cut[0], whole[0])
        np.testing.assert_array_equal(cut[1], whole[1])


def test_slopes_next_to_a_bound_and_without_density():
    def f(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(x[:, 0] >= 0, -3.0 * x[:, 0], -np.inf)

    values, slopes = central_differences(f, np.array([[0.0], [1.0], [-1.0], [np.inf]]))
    np.testing.assert_array_equal(values, [0.0, -3.0, -np.inf, -np.inf])
    np.testing.assert_allclose(slopes[:, 0], [-3.0, -3.0, 0.0, 0.0], atol=1e-9)
    _, alone = central_differences(lambda x: np.where(x[:, 0] == 0, 0.0, -np.inf), np.zeros((1, 1)))
    assert alone[0, 0] == 0.0


def test_targets_of_all_forms():
    x = np.array([[0.5, 0.25], [1.0, -1.0]])
    rate = fm.targets.as_target(lambda x: -(x**2).sum(axis=1), 2, "finite")
    assert rate.has_gradient
    assert rate.form == "python"
    again = pickle.loads(pickle.dumps(fm.targets.as_target(np.ravel, 1, "finite")))
    assert again.has_gradient
    np.testing.assert_allclose(rate.log_density_and_gradient(x)[1], -2 * x, atol=1e-8)
    native = fm.targets.as_target(total, 2, "finite")
    assert native.form == "native"
    np.testing.assert_allclose(native.log_density_and_gradient(x)[1], 1.0, atol=1e-9)
    law = fm.distributions.Product([_Plain(), _Plain()])
    target = fm.targets.as_target(law, gradient="finite")
    np.testing.assert_allclose(target.log_density_and_gradient(x)[1], -x, atol=1e-8)


class _Plain(fm.distributions.Law):
    """A normal law without a gradient."""

    dim = 1

    def log_density(self, x):
        return -0.5 * x[:, 0] ** 2 - 0.5 * np.log(2 * np.pi)


def test_refusals():
    f = lambda x: -(x**2).sum(axis=1)  # noqa: E731
    with pytest.raises(ArgumentError, match="did you mean 'finite'"):
        fm.targets.as_target(f, 2, "finit")
    with pytest.raises(ArgumentError, match="has its own"):
        fm.targets.as_target(fm.targets.banana(), gradient="finite")
    with pytest.raises(ArgumentError, match="gradient='finite'"):
        fm.targets.as_target(f, 2).log_density_and_gradient([[0.0, 0.0]])


def _run(**more):
    given = {"n_chains": 4, "n_warmup": 150, "n_draws": 600, "rng": 2, **more}
    return fm.mcmc.sample(lambda x: -0.5 * ((x - 1) ** 2).sum(axis=1), 2, "finite", **given)


def test_all_evaluations_are_counted():
    s = _run(check_gradient=False)
    given = fm.mcmc.sample(
        lambda x: -0.5 * ((x - 1) ** 2).sum(axis=1),
        2,
        lambda x: 1 - x,
        n_warmup=150,
        n_draws=600,
        rng=2,
        check_gradient=False,
    )
    # The paths differ by rounding alone, and so not at all in their lengths.
    assert s.n_evals == 5 * given.n_evals
    np.testing.assert_allclose(s.draws[:, :5], given.draws[:, :5], atol=1e-6)
    more = fm.mcmc.extend(s, 50)
    assert (more.n_evals - s.n_evals) % 5 == 0
    assert more.n_evals > s.n_evals


def test_a_resumed_run_counts_all_evaluations(tmp_path):
    whole = _run()
    kept = fm.Plan(store=tmp_path)
    with pytest.warns(fm.errors.ConvergenceWarning):
        _run(plan=kept, n_draws=30)
    resumed = _run(plan=kept)
    np.testing.assert_array_equal(resumed.draws, whole.draws)
    starts = 3  # at which a resumable run keeps values
    assert resumed.n_evals == whole.n_evals + starts


def test_differences_are_unconstrained_with_transforms():
    def f(x):
        assert (x > 0).all()  # no step crosses the bound
        return 2 * np.log(x[:, 0]) - x[:, 0]

    target = fm.targets.transformed(fm.targets.as_target(f, 1, "finite"), {0: "log"})
    z = np.array([[-20.0], [0.0], [2.0]])
    _, slopes = target.log_density_and_gradient(z)
    np.testing.assert_allclose(slopes, 3 - np.exp(z), atol=1e-7)
    s = fm.mcmc.sample(f, 1, "finite", transforms={0: "log"}, n_draws=2000, rng=0)
    e = s.expect(lambda x: x[:, 0])
    assert abs(e.mean - 3) < 5 * e.stderr


def test_evidence_counts_the_points_of_gradients():
    law = fm.distributions.MultivariateNormal(np.zeros(2), 4 * np.eye(2))
    f = lambda x: -0.5 * (x**2).sum(axis=1)  # noqa: E731
    plain = fm.importance.evidence(f, law, n=2000, rng=0)
    z = fm.importance.evidence(f, law, n=2000, rng=0, gradient="finite")
    assert z.log_evidence == plain.log_evidence
    assert z.n_evals == plain.n_evals + 5 * len(z.sample.draws)
    np.testing.assert_allclose(z.sample.gradients, -z.sample.draws, atol=1e-8)


def test_differences_of_something_else_are_refused():
    with pytest.raises(ArgumentError, match="a function was given; a log-density is needed"):
        finite.FiniteDensity(lambda x: x)
