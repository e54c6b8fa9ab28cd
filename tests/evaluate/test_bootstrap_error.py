"""Error rates of learners: against loops, executors, checkpoints, errors, calibration."""

from __future__ import annotations

import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning, TargetError
from fermiac.evaluate import bootstrap_error, error_from_losses

#: One nearest neighbour is taken where its errors are easily computed.
pytestmark = pytest.mark.filterwarnings("ignore:the learner overfits")


def nearest(x: Any, y: Any) -> Any:
    """Fit one nearest neighbour."""
    return lambda new: y[((new[:, None] - x) ** 2).sum(-1).argmin(1)]


def nearest_mean(x: Any, y: Any) -> Any:
    """Fit the nearest of two means."""
    means = np.stack([x[y == k].mean(axis=0) for k in (0, 1)])
    return lambda new: ((new[:, None] - means) ** 2).sum(-1).argmin(1)


def data(key: int, n: int, shift: float = 1.0) -> tuple[Any, Any]:
    y = np.arange(n) % 2
    return fm.random.Stream(key).normal((n, 2)) + shift * y[:, None], y


def same(a: Any, b: Any) -> bool:
    return bool(a.estimate == b.estimate and a.stderr == b.stderr and (a.losses == b.losses).all())


def test_it_is_the_loop_over_resamples() -> None:
    x, y = data(1, 80)
    e = bootstrap_error(nearest, x, y, n_resamples=50, rng=3)
    splits = fm.evaluate.splits.out_of_bag(80, 50, rng=3)
    losses, counts = np.zeros((50, 80)), np.zeros((50, 80))
    for b, (train, test) in enumerate(splits):
        losses[b, test] = nearest(x[train], y[train])(x[test]) != y[test]
        counts[b] = np.bincount(train, minlength=80)
    known = error_from_losses(np.zeros(80), losses, counts, 0.5)
    assert e.estimate == pytest.approx(known.estimate, rel=1e-14)
    assert e.stderr == pytest.approx(known.stderr, rel=1e-12)
    assert e.resubstitution == 0.0
    assert e.no_information == 0.5
    assert e.n_evals == 51


def test_labels_of_any_kind_and_predictions_of_any_shape() -> None:
    x, y = data(1, 80)
    names = np.array(["no", "yes"])[y]
    a = bootstrap_error(nearest, x, y, n_resamples=40, rng=0)
    b = bootstrap_error(nearest, x, names, n_resamples=40, rng=0)
    assert same(a, b)

    def probabilities(x: Any, y: Any) -> Any:
        share = y.mean()
        return lambda new: np.tile([1 - share, share], (len(new), 1))

    def brier(y: Any, p: Any) -> Any:
        return ((p - np.eye(2)[y]) ** 2).sum(1) / 2

    # All examples are alike: the standard error is zero, and what is left is noise.
    with pytest.warns(FermiacWarning, match="mostly the noise"):
        e = bootstrap_error(probabilities, x, y, loss=brier, rng=0)
    assert e.noise_share > 0.9
    assert e.estimate == pytest.approx(0.25, abs=0.02)
    assert e.loss == "brier"
    mean = bootstrap_error(
        lambda x, y: lambda new: np.full(len(new), y.mean()), x, x[:, 0], loss="squared", rng=0
    )
    assert mean.estimate == pytest.approx(x[:, 0].var() * (1 + 1 / 80), rel=0.05)


class Estimator:
    """An estimator in the style of scikit-learn."""

    def fit(self, x: Any, y: Any) -> Estimator:
        self.f = nearest(x, y)
        return self

    def predict(self, x: Any) -> Any:
        return self.f(x)


def test_estimators_are_copied() -> None:
    x, y = data(1, 80)
    model = Estimator()
    a = bootstrap_error(model, x, y, n_resamples=40, rng=0)
    assert same(a, bootstrap_error(nearest, x, y, n_resamples=40, rng=0))
    assert not hasattr(model, "f")


def test_executors_and_seeds_change_no_bit() -> None:
    x, y = data(2, 60)
    a = bootstrap_error(nearest_mean, x, y, n_resamples=150, rng=11)
    with ThreadPoolExecutor(2) as pool:
        assert same(a, bootstrap_error(nearest_mean, x, y, n_resamples=150, rng=11, plan=pool))
    assert same(a, bootstrap_error(nearest_mean, x, y, n_resamples=150, rng=a.seed))
    b = bootstrap_error(nearest_mean, x, y, n_resamples=150, rng=12)
    assert a.estimate != b.estimate


def test_processes() -> None:
    x, y = data(2, 60)
    a = bootstrap_error(Estimator(), x, y, n_resamples=100, rng=11)
    with ProcessPoolExecutor(1) as pool:
        assert same(a, bootstrap_error(Estimator(), x, y, n_resamples=100, rng=11, plan=pool))


def test_a_run_that_was_killed_goes_on(tmp_path: Any) -> None:
    x, y = data(3, 60)
    kept = fm.Plan(store=tmp_path / "run", every=1e-9)
    calls = 0

    def failing(x: Any, y: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 122:
            raise KeyboardInterrupt
        return nearest_mean(x, y)

    with pytest.raises(KeyboardInterrupt) as caught:
        bootstrap_error(failing, x, y, n_resamples=150, rng=5, plan=kept)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert partial.n_resamples == 120  # the first call is that of the whole fit
    first = bootstrap_error(nearest_mean, x, y, n_resamples=120, rng=5)
    assert same(first, partial)
    whole = bootstrap_error(failing, x, y, n_resamples=150, plan=kept)
    assert same(whole, bootstrap_error(nearest_mean, x, y, n_resamples=150, rng=5))
    more = bootstrap_error(nearest_mean, x, y, n_resamples=160, plan=kept)
    assert same(more, bootstrap_error(nearest_mean, x, y, n_resamples=160, rng=5))
    for change in ({"loss": "absolute"}, {"rng": 6}, {"n_resamples": 30}):
        with pytest.raises(CheckpointError):
            bootstrap_error(nearest_mean, x, y, **{"n_resamples": 120, "plan": kept, **change})
    with pytest.raises(CheckpointError):
        bootstrap_error(nearest_mean, x + 1, y, n_resamples=160, plan=kept)
    with pytest.raises(CheckpointError, match="learner"):
        bootstrap_error(nearest, x, y, n_resamples=160, plan=kept)


def test_the_rate_of_overfitting_keeps_632_plus_in_its_range() -> None:
    """Random labels, one neighbour: the truth is 1/2, and .632 is far below it."""
    x, y = data(7, 100, shift=0.0)
    with pytest.warns(FermiacWarning, match="rule of thumb"):
        plus = bootstrap_error(nearest, x, y, rng=0)
    assert abs(plus.estimate - 0.5) < 2 * plus.stderr
    with pytest.warns(FermiacWarning, match="overfits"):
        rule = bootstrap_error(nearest, x, y, method="632", rng=0)
    assert rule.estimate < 0.4
    constant = bootstrap_error(
        lambda x, y: lambda new: np.zeros(len(new), int), x, y, n_resamples=50, rng=0
    )
    assert constant.estimate == pytest.approx(0.5, abs=1e-12)  # no division by zero


def test_few_errors_are_a_warning() -> None:
    x, y = data(1, 30, shift=3.0)
    with pytest.warns(FermiacWarning, match="errors in 30"):
        bootstrap_error(nearest_mean, x, y, rng=0)


def test_errors_of_the_learner() -> None:
    x, y = data(1, 20)
    with pytest.raises(TargetError, match="function predict"):
        bootstrap_error(lambda x, y: None, x, y)
    with pytest.raises(TargetError, match="shape"):
        bootstrap_error(lambda x, y: lambda new: np.zeros((len(new), 2)), x, y)
    with pytest.raises(TargetError, match="finite"):
        bootstrap_error(nearest, x, y, loss=lambda y, f: np.full(len(y), np.nan))
    with pytest.raises(TargetError, match="shape"):
        bootstrap_error(nearest, x, y, loss=lambda y, f: 1.0)
    with pytest.raises(TargetError, match="numbers"):
        bootstrap_error(nearest, x, np.array(["a", "b"])[y], loss="squared")

    with pytest.raises(TargetError, match="same labels"):
        bootstrap_error(lambda x, y: lambda new: np.zeros(len(new)), x, np.array(["a", "b"])[y])
    mixed = np.array([1, "a"] * 10, object)
    with pytest.raises(TargetError, match="compared"):
        bootstrap_error(nearest, x, mixed)

    def fails(x: Any, y: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bootstrap_error(fails, x, y)


@pytest.mark.parametrize(
    "change",
    [
        {"fit": None},
        {"fit": "nearest"},
        {"y": [0, 1]},
        {"y": [[0, 1]] * 20},
        {"X": 1.0},
        {"y": [np.nan] * 20},
        {"y": np.arange(20).astype("M8[s]")},
        {"loss": "hinge"},
        {"loss": None},
        {"method": "0.632"},
        {"n_resamples": 1},
        {"n_resamples": 2.5},
        {"rng": "seed"},
        {"executor": 3},
    ],
)
def test_wrong_arguments(change: dict[str, Any]) -> None:
    x, y = data(1, 20)
    given = {"fit": nearest, "X": x, "y": y, **change}
    with pytest.raises(ArgumentError):
        bootstrap_error(given.pop("fit"), given.pop("X"), given.pop("y"), **planned(**given))


def test_the_standard_error_is_that_of_data_sets() -> None:
    """The share of 150 data sets within two standard errors of the mean error of the learner."""
    truth = 0.2454  # of nearest means of 60 examples, in 4000 data sets
    found = []
    for key in range(150):
        x, y = data(key + 100, 60)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FermiacWarning)
            e = bootstrap_error(nearest_mean, x, y, n_resamples=100, rng=key)
        found.append((e.estimate, e.stderr))
    estimate, stderr = np.array(found).T
    held = np.abs(estimate - truth) < 2 * stderr
    assert 0.9 < held.mean() <= 1.0
    assert abs(estimate.mean() - truth) < 5 * estimate.std() / np.sqrt(150) + 0.01
    assert 0.8 < np.sqrt((stderr**2).mean()) / estimate.std() < 1.3
