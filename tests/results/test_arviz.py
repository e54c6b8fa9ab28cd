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
    s = weighted(["a", "v[1]", "v[0]"])
    data = s.to_arviz(rng=5)
    same = s.resample(rng=5)
    posterior = data["posterior"]
    np.testing.assert_array_equal(posterior["a"].values, same.draws[None, :, 0])
    np.testing.assert_array_equal(posterior["v"].values, same.draws[None][:, :, [2, 1]])
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
    s = fm.mcmc.sample(law, n_chains=2, n_warmup=30, n_draws=200, keep_warmup=True, rng=0)
    warmup = s.to_arviz()["warmup_posterior"]
    np.testing.assert_array_equal(warmup["x"].values, s.warmup_draws)


def test_odd_names_stay_names() -> None:
    s = fm.Sample.from_arrays(np.zeros((3, 4)), names=["v", "v[0]", "w[1]", "u[0]"])
    assert set(s.to_arviz()["posterior"].data_vars) == {"v", "v[0]", "w[1]", "u"}
    # The name of the axis of a vector must not hide a coordinate.
    s = fm.Sample.from_arrays(np.zeros((3, 2)), names=["v[0]", "v_dim_0"])
    assert set(s.to_arviz()["posterior"].data_vars) == {"v[0]", "v_dim_0"}
    for name in ("chain", "draw"):
        axis = fm.Sample.from_arrays(np.zeros((3, 2)), names=["a", name])
        with pytest.raises(ArgumentError, match=f"names: '{name}' is the name of an axis"):
            axis.to_arviz()


def test_without_arviz_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r"fermiac\[arviz\]"):
        weighted().to_arviz()
