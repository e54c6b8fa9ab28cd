"""The evidence of unnormalised densities: known constants, error bars that hold, hard targets."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import gammaln

import fermiac as fm

Array = NDArray[np.float64]
Density = Callable[[Array], Array]
LOG_2PI = math.log(2 * math.pi)


class Target(NamedTuple):
    """A density, where to start, and the logarithm of its integral."""

    log_density: Density
    law: Any
    log_evidence: float


def wide(dim: int, variance: float) -> Any:
    return fm.distributions.MultivariateNormal(np.zeros(dim), variance * np.eye(dim))


def _squares(dim: int) -> tuple[Callable[[Array], Array], float]:
    """Squared Mahalanobis distances about a shifted centre with correlations, and log det / 2."""
    j = np.arange(dim)
    factor = np.linalg.cholesky(0.6 ** np.abs(np.subtract.outer(j, j)))
    inverse = np.linalg.inv(factor)
    centre = np.linspace(-2.0, 2.0, dim)
    return (
        lambda x: np.sum(((x - centre) @ inverse.T) ** 2, axis=1),
        float(np.log(np.diag(factor)).sum()),
    )


def gaussian(dim: int = 10) -> Target:
    squares, log_det = _squares(dim)
    return Target(lambda x: -0.5 * squares(x), wide(dim, 9.0), dim / 2 * LOG_2PI + log_det)


def student(dim: int = 10, df: float = 5.0) -> Target:
    squares, log_det = _squares(dim)
    constant = math.lgamma(df / 2) - math.lgamma((df + dim) / 2) + dim / 2 * math.log(df * math.pi)
    return Target(
        lambda x: -0.5 * (df + dim) * np.log1p(squares(x) / df), wide(dim, 9.0), constant + log_det
    )


def banana(dim: int = 10) -> Target:
    def f(x: Array) -> Array:
        bent = x[:, 1] + 0.1 * (x[:, 0] ** 2 - 9.0)
        rest = np.sum(x[:, 2:] ** 2, axis=1)
        return -0.5 * (x[:, 0] ** 2 / 9.0 + bent**2 + rest)

    return Target(f, wide(dim, 16.0), dim / 2 * LOG_2PI + math.log(3.0))


def narrow(dim: int = 10) -> Target:
    """Twenty times narrower than the law, and five of its standard deviations off in each."""
    return Target(
        lambda x: -0.5 * np.sum(((x - 5.0) / 0.05) ** 2, axis=1),
        wide(dim, 1.0),
        dim * (LOG_2PI / 2 + math.log(0.05)),
    )


def two_modes(dim: int = 4) -> Target:
    def f(x: Array) -> Array:
        return np.logaddexp(
            -0.5 * np.sum((x - 4.0) ** 2, axis=1), -0.5 * np.sum((x + 4.0) ** 2, axis=1)
        )

    return Target(f, wide(dim, 16.0), math.log(2.0) + dim / 2 * LOG_2PI)


def small() -> Target:
    return Target(
        lambda x: -50.0 * np.sum((x - 1.0) ** 2, axis=1),
        wide(3, 1.0),
        1.5 * (LOG_2PI - math.log(100.0)),
    )


def run(target: Target, **settings: Any) -> fm.importance.Evidence:
    return fm.importance.evidence(target.log_density, target.law, **settings)


def pull(target: Target, z: fm.importance.Evidence) -> float:
    return (z.log_evidence - target.log_evidence) / z.log_evidence_stderr


def pulls(target: Target, seeds: range, **settings: Any) -> Array:
    with warnings.catch_warnings():
        # Some of the banana's tails are heavy, and said to be; here it is the numbers that count.
        warnings.simplefilter("ignore", fm.errors.WeightWarning)
        return np.array([pull(target, run(target, rng=s, **settings)) for s in seeds])


# --- known constants, error bars that hold -------------------------------------------------------


@pytest.mark.timeout(600)
@pytest.mark.parametrize("make", [gaussian, student, banana])
def test_error_bars_are_calibrated(make: Callable[[], Target]) -> None:
    pull = pulls(make(), range(120), n=50_000)
    assert 0.90 <= np.mean(np.abs(pull) < 2) <= 0.99
    assert abs(pull.mean()) < 5 / math.sqrt(120)


@pytest.mark.parametrize("scheme", ["amis", "pmc", "snis"])
@pytest.mark.parametrize("family", ["t", "gaussian"])
def test_error_bars_are_calibrated_for_every_scheme(scheme: str, family: str) -> None:
    target = Target(
        lambda x: -2.0 * np.sum((x - 1.0) ** 2, axis=1), wide(2, 4.0), LOG_2PI - math.log(4.0)
    )
    pull = pulls(target, range(200), n=2000, scheme=scheme, family=family)
    assert 0.90 <= np.mean(np.abs(pull) < 2) <= 0.99
    assert abs(pull.mean()) < 5 / math.sqrt(200)


def test_the_mean_of_the_weights_is_unbiased() -> None:
    target = small()
    ratio, variance = [], []
    for seed in range(200):
        z = run(target, n=2000, rng=seed)
        ratio.append(math.exp(z.log_evidence - target.log_evidence))
        variance.append((ratio[-1] * z.log_evidence_stderr) ** 2)
    z_score = (np.mean(ratio) - 1.0) / math.sqrt(np.sum(variance) / 200**2)
    assert abs(z_score) < 5


@pytest.mark.parametrize("scheme", ["amis", "pmc"])
@pytest.mark.parametrize("make", [narrow, two_modes, small])
def test_targets_far_from_the_law_are_found(make: Callable[[], Target], scheme: str) -> None:
    target = make()
    for seed in range(5):
        z = run(target, rng=seed, scheme=scheme)
        assert z.converged
        assert abs(pull(target, z)) < 5
        assert z.log_evidence_stderr < 0.01


def test_both_modes_carry_the_weight_that_they_have() -> None:
    z = run(two_modes(), rng=3)
    sample = z.sample
    assert sample.log_weights is not None
    w = np.exp(sample.log_weights - sample.log_weights.max())
    upper = np.sum(w[sample.draws.sum(axis=1) > 0]) / w.sum()
    assert abs(upper - 0.5) < 5 * 0.5 / math.sqrt(z.ess)
    assert len(z.stages[-1]["shares"]) >= 2


@pytest.mark.parametrize("scheme", ["amis", "pmc"])
def test_bounded_supports(scheme: str) -> None:
    d = fm.distributions
    law = d.Product([d.Exponential(1.0), d.Uniform(0.0, 1.0), d.Normal()])

    def f(x: Array) -> Array:
        a, b, c = x.T
        return 40 * np.log(a) - 20 * a + 40 * np.log(b) + 60 * np.log1p(-b) - 0.5 * (c - 2) ** 2

    truth = gammaln(41) - 41 * math.log(20) + gammaln(41) + gammaln(61) - gammaln(102)
    target = Target(f, law, float(truth) + LOG_2PI / 2)
    assert np.all(np.abs(pulls(target, range(10), n=20_000, scheme=scheme)) < 5)
    draws = run(target, rng=0, scheme=scheme).sample.draws
    assert draws[:, 0].min() > 0
    assert draws[:, 1].min() > 0
    assert draws[:, 1].max() < 1


def test_a_normalised_law_has_evidence_one() -> None:
    law = wide(3, 2.0)
    z = fm.importance.evidence(law, law, n=5000, rng=0)
    assert abs(z.log_evidence) < 5 * z.log_evidence_stderr
    # The law is what it starts from: every weight is 1 without adaptation.
    z = fm.importance.evidence(law, law, n=5000, rng=0, scheme="snis")
    assert abs(z.log_evidence) < 1e-14
    assert z.khat == -np.inf


def test_scales_do_not_matter() -> None:
    target = Target(
        lambda x: -0.5 * (((x - [1e6, -1e-7]) / [1e4, 1e-9]) ** 2).sum(axis=1),
        fm.distributions.MultivariateNormal(np.zeros(2), np.diag([1e12, 1e-14])),
        LOG_2PI + math.log(1e4) + math.log(1e-9),
    )
    z = run(target, rng=1)
    assert z.converged
    assert abs(pull(target, z)) < 5
    # A constant factor shifts the answer and nothing else.
    moved = run(target._replace(log_density=lambda x: target.log_density(x) - 1e4), rng=1)
    assert abs(moved.log_evidence + 1e4 - z.log_evidence) < 1e-10
    assert abs(moved.log_evidence_stderr / z.log_evidence_stderr - 1) < 1e-6


# --- the same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["amis", "pmc", "snis"])
def test_threads_do_not_change_a_bit(scheme: str, thread_counts: tuple[int, ...]) -> None:
    target = banana(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.WeightWarning)
        runs = [run(target, n=30_000, rng=5, scheme=scheme, n_threads=t) for t in thread_counts]
    for z in runs[1:]:
        assert z.log_evidence == runs[0].log_evidence
        assert z.log_evidence_stderr == runs[0].log_evidence_stderr
        np.testing.assert_array_equal(z.sample.draws, runs[0].sample.draws)
        np.testing.assert_array_equal(z.sample.log_weights, runs[0].sample.log_weights)


def test_the_seed_reproduces_the_result() -> None:
    z = run(small(), n=2000)
    again = run(small(), n=2000, rng=z.seed)
    assert again.log_evidence == z.log_evidence
    assert run(small(), n=2000, rng=z.seed ^ 1).log_evidence != z.log_evidence


class _Laplace(fm.distributions.Law):
    """A law in Python, which runs on the calling thread."""

    dim = 1

    def log_density(self, x: Array) -> Array:
        return -np.abs(x[:, 0]) - math.log(2.0)

    def from_unit(self, u: Array) -> Array:
        v = u - 0.5
        return -np.sign(v) * np.log1p(-2 * np.abs(v))


def test_a_law_in_python(thread_counts: tuple[int, ...]) -> None:
    target = Target(lambda x: -0.5 * (x[:, 0] - 3) ** 2, _Laplace(), LOG_2PI / 2)
    runs = [run(target, n=20_000, rng=2, n_threads=t) for t in thread_counts]
    assert abs(pull(target, runs[0])) < 5
    assert len({z.log_evidence for z in runs}) == 1


# --- the result ----------------------------------------------------------------------------------


def test_the_sample_is_on_the_absolute_scale() -> None:
    target = small()
    z = run(target, n=5000, rng=0, names=["a", "b", "c"])
    sample = z.sample
    assert sample.names == ("a", "b", "c")
    assert sample.error_model == "weighted"
    log_w = sample.log_weights
    assert log_w is not None
    assert abs(np.logaddexp.reduce(log_w) - math.log(len(log_w)) - z.log_evidence) < 1e-12
    w = np.exp(log_w - log_w.max())
    assert abs(w.sum() ** 2 / np.sum(w**2) / z.ess - 1) < 1e-12
    assert abs(sample.ess / z.ess - 1) < 1e-12
    _, khat = fm.diagnostics.psis(log_w)
    assert z.khat == khat
    mean = w @ sample.draws / w.sum()
    assert np.all(np.abs(mean - 1.0) < 5 * 0.1 / math.sqrt(z.ess))


def test_the_stages_add_up_to_the_budget() -> None:
    calls: list[int] = []

    def f(x: Array) -> Array:
        calls.append(len(x))
        return small().log_density(x)

    z = run(small()._replace(log_density=f), n=30_001, rng=0)
    assert sum(calls) == z.n_evals == 30_001
    assert sum(s["n_evals"] for s in z.stages) == z.stages[-1]["used"] == 30_001
    assert z.stages[-1]["n_evals"] == len(z.sample.draws) >= 15_000
    powers = [s["power"] for s in z.stages]
    assert 0 < powers[0] < 1
    assert powers[-2:] == [1.0, 0.0]
    assert z.stages[0]["shares"].size == 0
    assert all(abs(s["shares"].sum() - 1) < 1e-12 for s in z.stages[1:])


def test_texts() -> None:
    z = run(small(), n=5000, rng=0)
    assert repr(z).startswith("Evidence: log Z = ")
    assert len(repr(z).splitlines()) <= 6
    assert "seed 0" in z.summary()
    assert z.to_dict()["sample"]["log_weights"][0] == z.sample.log_weights[0]  # type: ignore[index]


def test_the_number_of_components_is_what_is_asked_for() -> None:
    z = run(two_modes(), n=20_000, rng=0, n_components=1, n_stages=8)
    assert {len(s["shares"]) for s in z.stages[1:]} == {1}
    assert len(z.stages) <= 9
    z = run(two_modes(), n=20_000, rng=0, n_components=3)
    assert len(z.stages[-1]["shares"]) == 3


# --- doubt and errors ----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["amis", "pmc", "snis"])
def test_a_target_that_is_zero_everywhere_is_announced(scheme: str) -> None:
    with pytest.warns(fm.errors.ConvergenceWarning, match="is 0 at all"):
        z = fm.importance.evidence(
            lambda x: np.full(len(x), -np.inf), wide(2, 1.0), n=1000, rng=0, scheme=scheme
        )
    assert z.log_evidence == -np.inf
    assert z.log_evidence_stderr == np.inf
    assert not z.converged
    assert z.ess == 0
    assert z.warnings


def test_a_target_that_is_zero_nearly_everywhere_is_found() -> None:
    def f(x: Array) -> Array:
        return np.where(np.all(np.abs(x - 2.0) < 0.25, axis=1), 0.0, -np.inf)

    target = Target(f, wide(2, 1.0), 2 * math.log(0.5))
    # A share 6e-4 of the law has density at all.
    assert np.all(np.abs(pulls(target, range(20), n=20_000)) < 5)


def test_a_budget_that_does_not_reach_the_target_is_announced() -> None:
    with pytest.warns(fm.errors.ConvergenceWarning, match="on its way to the target"):
        z = run(narrow(), n=1000, rng=0)
    assert not z.converged
    assert z.stages[-2]["power"] < 1


def test_heavy_weights_are_announced() -> None:
    with pytest.warns(fm.errors.WeightWarning) as caught:
        z = run(narrow(2), n=5000, rng=0, scheme="snis")
    assert not z.converged
    assert any("points only" in str(w.message) for w in caught)
    # Weights exp(0.9 x) under an exponential law have a Pareto tail of shape 0.9.
    law = fm.distributions.Exponential(1.0)
    with pytest.warns(fm.errors.WeightWarning, match="k-hat is"):
        z = fm.importance.evidence(lambda x: -0.1 * x[:, 0], law, n=200_000, rng=0, scheme="snis")
    # A shape k fitted to m values has the standard error (1 + k) / sqrt(m).
    assert abs(z.khat - 0.9) < 5 * 1.9 / math.sqrt(3 * math.sqrt(200_000))


def test_heavy_tails_are_told_from_uneven_weights() -> None:
    # A posterior cut off by its prior: k-hat is above 0.7 in most runs, and the error bars hold.
    target = Target(
        lambda x: -50.0 * x[:, 0] ** 2,
        fm.distributions.Uniform(0.0, 1.0),
        LOG_2PI / 2 - math.log(20.0),
    )
    runs = [run(target, n=5000, rng=seed) for seed in range(40)]
    assert np.mean([z.khat > 0.7 for z in runs]) > 0.4
    assert not any(z.warnings for z in runs)
    pull = np.array([(z.log_evidence - target.log_evidence) / z.log_evidence_stderr for z in runs])
    assert abs(np.mean(pull**2) - 1) < 5 * math.sqrt(2 / 40)
    # Few points have weight at all, so there is no k-hat; theirs has a Pareto tail of shape 0.9.
    prior = fm.distributions.Uniform(0.0, 1.0)
    with pytest.warns(fm.errors.WeightWarning, match="no fit, since most"):
        fm.importance.evidence(
            lambda x: np.where(x[:, 0] < 0.007, -0.9 * np.log(x[:, 0]), -np.inf),
            prior,
            n=50_000,
            rng=0,
            scheme="snis",
        )
    # Two degrees of freedom, and no sampler with such tails: the variance is infinite.
    for seed in range(5):
        with pytest.warns(fm.errors.WeightWarning, match="of the variance"):
            fm.importance.evidence(
                lambda x: -1.5 * np.log1p(x[:, 0] ** 2 / 2), wide(1, 9.0), n=50_000, rng=seed
            )


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"n": 50}, "n:"),
        ({"scheme": "mc"}, "scheme"),
        ({"family": "cauchy"}, "family"),
        ({"n_stages": 0}, "n_stages"),
        ({"n_components": 0}, "n_components"),
        ({"n_components": 1.5}, "n_components"),
        ({"df": 2.0}, "df"),
        ({"df": "many"}, "df"),
        ({"defensive": 1.0}, "defensive"),
        ({"defensive": -0.1}, "defensive"),
        ({"names": ["a"]}, "names"),
        ({"names": ["a", "a", "b"]}, "names"),
        ({"rng": -1}, "rng"),
        ({"progress": 3}, "progress"),
    ],
)
def test_bad_arguments(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(fm.errors.ArgumentError, match=match):
        run(small(), **settings)


def test_bad_laws_and_targets() -> None:
    with pytest.raises(fm.errors.ArgumentError, match="law"):
        fm.importance.evidence(small().log_density, "normal")
    with pytest.raises(fm.errors.ArgumentError):
        fm.importance.evidence(3.0, wide(2, 1.0))
    with pytest.raises(fm.errors.ArgumentError):
        fm.importance.evidence(wide(3, 1.0), wide(2, 1.0))


def test_values_that_cannot_be_used_are_named() -> None:
    def f(x: Array) -> Array:
        y = small().log_density(x)
        y[np.abs(x[:, 0]) > 1.5] = np.nan
        return y

    with pytest.raises(fm.errors.TargetError, match=r"nan|NaN"):
        run(small()._replace(log_density=f), n=2000, rng=0)
    with pytest.raises(fm.errors.TargetError):
        run(small()._replace(log_density=lambda x: x), n=2000, rng=0)


def test_the_exception_of_a_target_passes_through() -> None:
    def f(x: Array) -> Array:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(small()._replace(log_density=f), n=2000, rng=0)
