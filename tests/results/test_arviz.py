"""Samples in ArviZ: groups, names, weights and provenance, for version 1 and those before."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError


@pytest.fixture(scope="module", autouse=True)
def _arviz() -> Any:
    with warnings.catch_warnings():
        # The last versions before 1 warn of the next one on import.
        warnings.simplefilter("ignore", FutureWarning)
        return pytest.importorskip("arviz")


def weighted(names: list[str] | None = None) -> fm.Sample:
    x = fm.distributions.MultivariateNormal([0, 0, 0], 2 * np.eye(3)).sample(2000, rng=0)
    target = fm.distributions.MultivariateNormal([0, 0, 0], np.eye(3))
    log_density = target.log_density(x)
    return fm.Sample.from_arrays(
        x, np.sum(x**2, axis=1) / -4, log_densities=log_density, names=names, seed=2**64 - 1
    )


def test_weights_are_resampled() -> None:
    s = weighted(["a", "v[0]", "v[1]"])
    data = s.to_arviz(rng=5)
    same = s.resample(rng=5)
    posterior = data["posterior"]
    np.testing.assert_array_equal(posterior["a"].values, same.draws[None, :, 0])
    np.testing.assert_array_equal(posterior["v"].values, same.draws[None][:, :, 1:])
    assert posterior["v"].dims == ("chain", "draw", "v_dim_0")
    stats = data["sample_stats"]
    np.testing.assert_array_equal(stats["lp"].values, same.log_densities[None])
    assert "log_weight" not in stats
    for attrs in (data.attrs, posterior.attrs):
        assert attrs["seed"] == str(2**64 - 1)
        assert attrs["inference_library"] == "fermiac"
        assert attrs["inference_library_version"] == fm.__version__
        assert attrs["method"] == "weighted"
        assert attrs["sampling_time"] == 0.0
    assert s.to_arviz(n=100)["posterior"].sizes["draw"] == 100


def test_weights_are_kept_on_demand() -> None:
    s = weighted()
    data = s.to_arviz(resample=False)
    np.testing.assert_array_equal(data["posterior"]["x"].values, s.draws[None])
    np.testing.assert_array_equal(data["sample_stats"]["log_weight"].values, s.log_weights[None])


def test_chains_stay_chains() -> None:
    x = fm.random.Stream(0).normal((4, 50, 2))
    s = fm.Sample.from_arrays(x, names=["a", "b"])
    data = s.to_arviz()
    assert data["posterior"]["b"].shape == (4, 50)
    np.testing.assert_array_equal(data["posterior"]["b"].values, x[:, :, 1])
    groups = data.groups() if callable(data.groups) else data.groups
    assert not any("sample_stats" in group for group in groups)


def test_what_the_kernel_says_comes_along() -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((4, 50, 2)), seed=3)
    flags = np.arange(200).reshape(4, 50) % 7 == 0
    s = replace(
        s,
        log_densities=np.arange(200.0).reshape(4, 50),
        stats={"energy": s.draws[..., 0], "diverging": flags, "reached_max_depth": flags},
        warmup_stats={"step_size": np.ones((4, 20)), "x.reached_max_depth": np.zeros((4, 20))},
        settings={"n_warmup": 20},
    )
    data = s.to_arviz()
    stats, warmup = data["sample_stats"], data["warmup_sample_stats"]
    assert set(stats.data_vars) == {"lp", "energy", "diverging", "reached_max_tree_depth"}
    assert stats["diverging"].dims == ("chain", "draw")
    assert stats["diverging"].dtype == bool
    np.testing.assert_array_equal(stats["energy"].values, s.draws[..., 0])
    np.testing.assert_array_equal(stats["lp"].values, s.log_densities)
    assert set(warmup.data_vars) == {"step_size", "x.reached_max_tree_depth"}
    assert warmup["step_size"].shape == (4, 20)
    assert data["posterior"].attrs["tuning_steps"] == 20


def test_draws_of_the_warmup_come_along() -> None:
    law = fm.distributions.Normal([0.0, 1.0])
    s = fm.mcmc.sample(law, n_chains=2, n_warmup=30, n_draws=200, keep_warmup=True, rng=4)
    warmup = s.to_arviz()["warmup_posterior"]
    np.testing.assert_array_equal(warmup["x"].values, s.warmup_draws)


def test_odd_names_stay_names() -> None:
    s = fm.Sample.from_arrays(np.zeros((3, 4)), names=["v", "v[0]", "w[1]", "u[0]"])
    assert set(s.to_arviz()["posterior"].data_vars) == {"v", "v[0]", "w[1]", "u"}
    # The name of the axis of a vector must not hide a coordinate.
    s = fm.Sample.from_arrays(np.zeros((3, 2)), names=["v[0]", "v_dim_0"])
    posterior = s.to_arviz()["posterior"]
    assert set(posterior.data_vars) == {"v", "v_dim_0"}
    assert posterior["v"].dims == ("chain", "draw", "v_dim_0_")
    # Only a complete array in C order is a variable.
    s = fm.Sample.from_arrays(np.zeros((3, 2)), names=["v[1]", "v[0]"])
    assert set(s.to_arviz()["posterior"].data_vars) == {"v[1]", "v[0]"}
    for name in ("chain", "draw"):
        axis = fm.Sample.from_arrays(np.zeros((3, 2)), names=["a", name])
        with pytest.raises(ArgumentError, match=f"names: '{name}' is the name of an axis"):
            axis.to_arviz()


def eight_observations() -> fm.Sample:
    """Return draws of a normal mean, with the log-likelihoods of eight observations."""
    y = fm.distributions.Normal().sample(8, rng=1)[:, 0]
    mu = y.mean() + fm.random.Stream(0).normal((4, 500, 1)) / np.sqrt(8)
    names = ["mu", *(f"m[{i}, {j}]" for i in range(2) for j in range(3))]
    return fm.Sample.from_arrays(
        np.concatenate([mu, np.broadcast_to(np.arange(6.0), (4, 500, 6))], axis=-1),
        names=names,
        coords={"row": ["a", "b"], "obs": list("stuvwxyz")},
        dims={"m": ["row", "column"], "y": ["obs"]},
        log_likelihood={"y": -0.5 * (y - mu) ** 2 - 0.5 * np.log(2 * np.pi)},
        observed_data={"y": y},
    )


def test_variables_have_their_shapes_and_labels() -> None:
    s = eight_observations()
    posterior = s.to_arviz()["posterior"]
    assert posterior["m"].dims == ("chain", "draw", "row", "column")
    np.testing.assert_array_equal(posterior["m"].sel(row="b")[0, 0], [3.0, 4.0, 5.0])


def test_leave_one_out_works() -> None:
    import arviz

    s = eight_observations()
    data = s.to_arviz()
    assert data["log_likelihood"]["y"].dims == ("chain", "draw", "obs")
    np.testing.assert_array_equal(data["observed_data"]["y"], s.observed_data["y"])
    loo = arviz.loo(data)
    # Leave-one-out densities of a normal mean with a flat prior and known variance.
    y = s.observed_data["y"]
    others = (y.sum() - y) / 7
    variance = 1 + 1 / 7
    exact = -0.5 * np.log(2 * np.pi * variance) - 0.5 * (y - others) ** 2 / variance
    elpd = getattr(loo, "elpd_loo", None) or loo.elpd
    assert abs(float(elpd) - exact.sum()) < 0.1


def test_groups_can_be_given() -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((300, 2)), np.zeros(300), names=["a", "b"])
    data = s.to_arviz(
        n=50,
        rng=3,
        log_likelihood={"y": s.draws[:, 0]},
        observed_data={"y": 3.0},
        prior={"a": np.zeros(10)},
    )
    same = s.resample(50, rng=3)
    np.testing.assert_array_equal(data["log_likelihood"]["y"][0], same.draws[:, 0])
    assert data["prior"]["a"].shape == (1, 10)
    assert data["observed_data"]["y"].values.tolist() in ([3.0], 3.0)
    chains = s.to_arviz(prior={"b": np.ones((2, 5))})
    assert chains["prior"]["b"].shape == (2, 5)
    law = fm.Sample.from_arrays(np.zeros((7, 2)), names=["a", "b"])
    assert s.to_arviz(prior=law)["prior"]["b"].shape == (1, 7)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"prior": 3}, "prior: 3 given; a sample is needed"),
        ({"prior": {"a": 3.0}}, r"'a' has the shape \(\)"),
        ({"log_likelihood": {"y": np.zeros(3)}}, r"\(300,\) is needed"),
        ({"observed_data": [1]}, "observed_data"),
    ]
    for wrong, message in bad:
        with pytest.raises(ArgumentError, match=message):
            s.to_arviz(**wrong)


def test_without_arviz_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r"fermiac\[arviz\]"):
        weighted().to_arviz()
