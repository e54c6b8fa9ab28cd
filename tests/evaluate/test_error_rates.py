"""Error rates from losses: reference values, the formulas, the standard error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.evaluate import error_from_losses
from fermiac.evaluate.error_rates import combined
from fermiac.evaluate.losses import Loss


def test_reference_value() -> None:
    assert combined(0.0, 0.4, 0.5, "632+").estimate == pytest.approx(0.3582766440, abs=1e-10)
    # Without overfitting it is the rule .632, and at full overfitting the out-of-bag error.
    assert combined(0.2, 0.2, 0.5, "632+").estimate == pytest.approx(0.2)
    assert combined(0.0, 0.5, 0.5, "632+").estimate == pytest.approx(0.5)
    assert combined(0.1, 0.3, 0.5, "632").estimate == pytest.approx(0.0368 + 0.1896)
    # No division by zero where the no-information rate is that of the training set.
    assert combined(0.5, 0.6, 0.5, "632+").overfitting == 0.0
    assert combined(0.3, 0.2, 0.5, "632+").overfitting == 0.0


@pytest.mark.parametrize(
    "rates", [(0.1, 0.3, 0.5), (0.0, 0.2, 0.5), (0.1, 0.6, 0.5), (0.3, 0.1, 0.5)]
)
def test_derivatives(rates: tuple[float, float, float]) -> None:
    h = 1e-6
    e, o, gamma = rates
    rate = combined(e, o, gamma, "632+")
    by_e = (
        combined(e + h, o, gamma, "632+").estimate - combined(e - h, o, gamma, "632+").estimate
    ) / (2 * h)
    by_o = (
        combined(e, o + h, gamma, "632+").estimate - combined(e, o - h, gamma, "632+").estimate
    ) / (2 * h)
    assert rate.by_resubstitution == pytest.approx(by_e, abs=1e-6)
    assert rate.by_out_of_bag == pytest.approx(by_o, abs=1e-6)


def _case(n: int = 25, resamples: int = 400) -> tuple[Any, ...]:
    stream = fm.random.Stream(4)
    splits = fm.evaluate.splits.out_of_bag(n, resamples, rng=4)
    counts = np.array([np.bincount(train, minlength=n) for train, _ in splits], float)
    losses = stream.uniform((resamples, n)) + 0.3 * (counts[:, :5].sum(1, keepdims=True) - 5)
    training = 0.8 * stream.uniform(n)
    return training, losses, counts


def test_estimate_and_standard_error_by_their_formulas() -> None:
    training, losses, counts = _case()
    out = counts == 0
    e = error_from_losses(training, np.where(out, losses, np.nan), counts, 0.7)
    each = (losses * out).sum(0) / out.sum(0)
    assert e.out_of_bag == pytest.approx(each.mean())
    assert e.losses == pytest.approx(each)
    known = combined(training.mean(), each.mean(), 0.7, "632+")
    assert e.estimate == pytest.approx(known.estimate)
    assert e.overfitting == pytest.approx(known.overfitting)
    plain = error_from_losses(training, losses, counts, 0.7, method="out-of-bag")
    n, b = 25, 400
    q = (losses * out).sum(1) / n
    share = out.mean()
    cov = ((counts - counts.mean(0)) * q[:, None]).mean(0)
    influence = (2 + 1 / (n - 1)) * (each - each.mean()) / n + cov / share
    noise = n * q.var(ddof=1) / (b * share**2)
    assert plain.stderr == pytest.approx(np.sqrt((influence**2).sum() - noise), rel=1e-10)
    assert plain.mc_error == pytest.approx(q.std(ddof=1) / np.sqrt(b) / share)


def test_influence_is_the_derivative_of_the_ideal_bootstrap() -> None:
    """All 27 resamples of three examples, each with its probability: no noise to be removed."""
    values = np.array([0.3, 1.1, 2.0])
    rows = np.array(np.meshgrid([0, 1, 2], [0, 1, 2], [0, 1, 2])).reshape(3, -1).T
    counts = np.array([np.bincount(row, minlength=3) for row in rows], float)
    losses = (values[rows].mean(1)[:, None] - values) ** 2

    def rate(weights: Any) -> float:
        chance = np.prod(weights[rows], axis=1)
        out = counts == 0
        each = (chance[:, None] * out * losses).sum(0) / (chance[:, None] * out).sum(0)
        return float(weights @ each)

    h, third = 1e-6, np.full(3, 1 / 3)
    known = [
        (rate(third + h * (np.eye(3)[i] - third)) - rate(third - h * (np.eye(3)[i] - third)))
        / (2 * h) / 3
        for i in range(3)
    ]  # fmt: skip
    each = (losses * (counts == 0)).sum(0) / (counts == 0).sum(0)
    q = (losses * (counts == 0)).sum(1) / 3
    share = (counts == 0).mean()
    cov = ((counts - 1) * q[:, None]).mean(0)
    ours = 2.5 * (each - each.mean()) / 3 + cov / share
    np.testing.assert_allclose(ours, known, rtol=1e-7)


def test_warnings() -> None:
    counts = np.tile([2, 1, 0], (4, 1))
    with pytest.warns(FermiacWarning, match="in all"):
        e = error_from_losses(
            [0.0, 0.1, 0.2], np.full((4, 3), 0.4), counts, 0.5, method="out-of-bag"
        )
    assert np.isnan(e.losses[:2]).all()
    assert e.out_of_bag == pytest.approx(0.4)


def test_interval_and_files(tmp_path: Any) -> None:
    e = error_from_losses(*_case(), 0.7)
    low, high = e.interval(0.9)
    assert (low + high) / 2 == pytest.approx(e.estimate)
    assert high - low == pytest.approx(2 * 1.6448536 * e.stderr)
    e.save(tmp_path / "e.safetensors")
    again = fm.load(tmp_path / "e.safetensors")
    assert isinstance(again, fm.evaluate.ErrorRate)
    assert again.to_dict() == e.to_dict()
    assert "632+" in repr(e)
    assert e.summary()["out_of_bag"]["value"] == e.out_of_bag


def test_no_information_rates_against_all_pairs() -> None:
    stream = fm.random.Stream(2)
    y, f = np.floor(4 * stream.uniform(30)), np.floor(5 * stream.uniform(30))
    assert Loss("zero-one").no_information(y, f, 0) == pytest.approx((y[:, None] != f).mean())
    y, f = stream.normal(30), stream.normal(30) + 0.5
    pairs = y[:, None] - f
    assert Loss("squared").no_information(y, f, 0) == pytest.approx((pairs**2).mean())
    assert Loss("absolute").no_information(y, f, 0) == pytest.approx(np.abs(pairs).mean())
    own = Loss(lambda y, f: np.abs(y - f))
    assert own.no_information(y, f, 0) == pytest.approx(np.abs(pairs).mean())
    texts = np.array(["a", "b", "a"])
    assert Loss("zero-one").no_information(texts, np.array(["a", "a", "a"]), 0) == pytest.approx(
        1 / 3
    )


@pytest.mark.parametrize(
    ("training", "losses", "counts", "gamma"),
    [
        ([0.1], [[0.1]], [[0]], 0.5),
        ([0.1, 0.2], [[0.1, 0.2]], [[0, 1], [1, 0]], 0.5),
        ([0.1, 0.2], [[0.1, 0.2]], [[0, -1]], 0.5),
        ([0.1, 0.2], [[0.1, 0.2]], 1, 0.5),
        ([0.1, 0.2], np.zeros((0, 2)), np.zeros((0, 2)), 0.5),
        ([0.1, 0.2], [[0.1, 0.2]], [[0, 0.5]], 0.5),
        ([0.1, 0.2], [[0.1, 0.2]], [[1, 1]], 0.5),
        ([0.1, 0.2], [[np.nan, 0.2]], [[0, 1]], 0.5),
        ([0.1, np.nan], [[0.1, 0.2]], [[0, 1]], 0.5),
        ([0.1, 0.2], [[0.1, 0.2]], [[0, 1]], np.nan),
        ("text", [[0.1, 0.2]], [[0, 1]], 0.5),
    ],
)
def test_wrong_arguments(training: Any, losses: Any, counts: Any, gamma: Any) -> None:
    with pytest.raises(ArgumentError):
        error_from_losses(training, losses, counts, gamma)
