"""The reference and the temperatures that pilot runs of `Tempered` learn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches.mcmc import modes
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError

Array = NDArray[np.float64]


def mixture(means: Array, weights: Array, df: float | None = None) -> Any:
    """Normal or Student components of unit scale, each times its weight, not normalised."""
    return modes.mixture("", means, weights, df).target


def two(d: int) -> Array:
    """Modes 20 standard deviations apart."""
    means = np.zeros((2, d))
    means[:, 0] = -10, 10
    return means


def owners(s: fm.mcmc.Chains, means: Array) -> Array:
    return ((s.draws[..., None, :] - means) ** 2).sum(axis=-1).argmin(axis=-1)


def pulls(s: fm.mcmc.Chains, means: Array, weights: Array) -> Array:
    """The errors of the weights of the modes, in units of their standard errors."""
    mine = owners(s, means)
    each = [(mine == j).astype(float) for j in range(len(weights))]
    errors = [float(fm.diagnostics.mcse(e, kind="mean")) for e in each]
    return np.array([(e.mean() - w) / se for e, w, se in zip(each, weights, errors, strict=True)])


@pytest.mark.parametrize("d", [10, 50])
@pytest.mark.parametrize("df", [None, 5.0])
def test_two_modes_of_unequal_weight_without_arguments(d: int, df: float | None) -> None:
    means, weights = two(d), np.array([0.7, 0.3])
    s = fm.mcmc.sample(mixture(means, weights, df), kernel=fm.mcmc.Tempered(), n_warmup=300, rng=1)
    assert (np.abs(pulls(s, means, weights)) < 5).all()
    z = fm.mcmc.log_evidence(s)
    half = 0.5 * d * math.log(2 * math.pi)
    if df is not None:
        half = math.lgamma(df / 2) - math.lgamma((df + d) / 2) + 0.5 * d * math.log(df * math.pi)
    assert abs(z.mean - half) < 5 * z.stderr
    assert z.stderr < 0.1


@pytest.mark.parametrize("d", [10, 50])
def test_eight_modes(d: int) -> None:
    means = np.random.default_rng(0).normal(size=(8, d)) * (10 if d == 10 else 5)
    weights = np.full(8, 0.125)
    s = fm.mcmc.sample(mixture(means, weights), kernel=fm.mcmc.Tempered(), n_warmup=300, rng=1)
    assert (np.abs(pulls(s, means, weights)) < 5).all()
    z = fm.mcmc.log_evidence(s)
    assert abs(z.mean - 0.5 * d * np.log(2 * np.pi)) < 5 * z.stderr


def test_the_eggbox_in_its_box_without_a_gradient() -> None:
    size = 10 * np.pi

    def egg(x: Array) -> Array:
        inside = ((x > 0) & (x < size)).all(axis=1)
        return np.where(inside, (2 + np.cos(x[:, 0] / 2) * np.cos(x[:, 1] / 2)) ** 5, -np.inf)

    box = fm.targets.transforms.bounded(0, size, 2)
    s = fm.mcmc.sample(
        egg, 2, kernel=fm.mcmc.Tempered(), transforms=[box], n_warmup=200, n_draws=500, rng=0
    )
    assert s.settings["tempered"]["kernel"] == "Slice"
    z = fm.mcmc.log_evidence(s)
    # The integral over the box, 235.8559 + 2 log(10 π), by the trapezoidal rule.
    assert abs(z.mean - 242.7506) < 5 * z.stderr
    assert z.stderr < 0.05


def test_a_given_reference_gets_as_many_temperatures_as_it_needs() -> None:
    target = mixture(two(5), np.array([0.5, 0.5]))
    numbers = []
    for scale in (12.0, 40.0):
        wide = fm.distributions.Normal(np.zeros(5), scale)
        s = fm.mcmc.sample(
            target, kernel=fm.mcmc.Tempered(reference=wide), n_warmup=100, n_draws=100, rng=2
        )
        numbers.append(s.settings["n_temperatures"])
        assert "Normal" in s.settings["reference"]
    assert 4 < numbers[0] < numbers[1]


def test_the_pilot_does_not_depend_on_the_number_of_chains_and_threads() -> None:
    target = mixture(two(3), np.array([0.5, 0.5]))
    options: dict[str, Any] = {"kernel": fm.mcmc.Tempered(), "n_warmup": 50, "n_draws": 50}
    runs = [
        fm.mcmc.sample(target, **options, pool=False, n_chains=n, plan=fm.Plan(n_threads=k), rng=3)
        for n, k in ((4, 1), (4, 3), (2, 1))
    ]
    np.testing.assert_array_equal(runs[0].draws, runs[1].draws)
    np.testing.assert_array_equal(runs[0].draws[:2], runs[2].draws)
    assert runs[0].n_evals == runs[1].n_evals


def test_a_run_continues_from_its_store_and_is_extended(tmp_path: Path) -> None:
    target = mixture(two(3), np.array([0.5, 0.5]))
    options: dict[str, Any] = {"kernel": fm.mcmc.Tempered(), "n_warmup": 50, "rng": 4}
    whole = fm.mcmc.sample(target, **options, n_draws=60)
    kept = fm.Plan(store=tmp_path)
    fm.mcmc.sample(target, **options, n_draws=20, plan=kept)
    again = fm.mcmc.sample(target, **options, n_draws=60, plan=kept)
    np.testing.assert_array_equal(again.draws, whole.draws)
    longer = fm.mcmc.extend(fm.mcmc.sample(target, **options, n_draws=20), 40)
    np.testing.assert_array_equal(longer.draws, whole.draws)


def test_a_part_of_another_kernel_must_name_its_reference() -> None:
    target = mixture(two(2), np.array([0.5, 0.5]))
    kernel = fm.mcmc.Cycle([fm.mcmc.Tempered(), fm.mcmc.RWM()])
    with pytest.raises(ArgumentError, match="as the kernel of a whole run"):
        fm.mcmc.sample(target, kernel=kernel, rng=0)
