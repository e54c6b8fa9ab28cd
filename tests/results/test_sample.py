"""Samples: checks of arrays and arguments, several laws, statistics of transitions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from samples import gaussian, run

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError


def test_several_laws_are_taken_one_at_a_time() -> None:
    laws = [fm.distributions.Normal(0.0, 1.0), fm.distributions.Normal(1.0, 1.0)]
    kept = fm.importance.expect(lambda x: x[:, 0], laws, n=4_000, rng=0, keep_draws=True)
    s = kept.sample
    assert s is not None
    assert s.n_laws == 2
    for j in range(2):
        e = s.expect(lambda x: x[:, 0], law=j)
        assert abs(e.mean - j) < 5 * e.stderr
        one = s.select_law(j)
        assert one.expect(lambda x: x[:, 0]).mean == e.mean
        assert one.ess == np.asarray(s.ess)[j]
        np.testing.assert_allclose(one.mean, e.mean, rtol=1e-13)
    for call in (lambda: s.mean, lambda: s.quantile(0.5), lambda: s.resample(10), s.summary):
        with pytest.raises(ArgumentError, match=r"2 laws: choose one by sample\.select_law"):
            call()


def test_arrays_are_checked() -> None:
    x = np.zeros((5, 2))
    bad: list[tuple[Callable[[], object], str]] = [
        (lambda: fm.Sample.from_arrays(np.zeros((0, 2))), "shape \\(0, 2\\)"),
        (lambda: fm.Sample.from_arrays(["text"]), "text was given"),
        (lambda: fm.Sample.from_arrays([[1.0, np.nan]]), "draws: nan given at \\(0, 1\\)"),
        (lambda: fm.Sample.from_arrays(x, np.zeros(4)), "log_weights: an array of shape \\(4,\\)"),
        (lambda: fm.Sample.from_arrays(x, np.full(5, np.inf)), "log_weights: inf given"),
        (lambda: fm.Sample.from_arrays(x, log_densities=np.full(5, np.nan)), "log_densities: nan"),
        (lambda: fm.Sample.from_arrays(x, gradients=np.zeros(5)), "gradients: an array of shape"),
        (lambda: fm.Sample.from_arrays(x, names=["a"]), "names: .* 2 different names"),
        (lambda: fm.Sample.from_arrays(x, seed=-1), "seed"),
    ]
    for call, message in bad:
        with pytest.raises(ArgumentError, match=message):
            call()


def test_arguments_are_checked() -> None:
    s = gaussian(50, 0)
    none = fm.Sample.from_arrays([1.0, 2.0], [-np.inf, -np.inf])
    far = fm.distributions.Uniform(10.0, 11.0)
    box = fm.distributions.Uniform(0.0, 1.0)
    points = fm.Sample.from_arrays([0.5, 1.5])
    bad: list[tuple[Callable[[], object], str]] = [
        (lambda: s.expect(np.zeros(7)), "f: a ndarray of shape \\(7,\\)"),
        (lambda: s.expect(lambda x: x, names=["a"]), "names: .* 2 different"),
        (lambda: s.expect(lambda x: x, law=1), "law: 1 was given"),
        (lambda: s.quantile(1.5), "q: 1.5"),
        (lambda: s.quantile(0.5, kind="other"), "kind: 'other'"),
        (lambda: s.quantile([0, 0.5], return_stderr=True), "the ends"),
        (lambda: s.resample(0), "n: 0"),
        (lambda: s.resample(method="other"), "method: 'other'"),
        (lambda: none.expect(lambda x: x), "no point of this sample has weight"),
        (lambda: fm.Sample.from_arrays([1.0]).expect(lambda x: x), "1 draw of positive weight"),
        (lambda: points.reweight(far), "does not hold the log-densities"),
        (lambda: points.reweight(fm.distributions.Normal(), old=box), "density is 0 at draw 1"),
        (lambda: points.reweight(far, old=fm.distributions.Normal()), "0 at every draw"),
        (lambda: s.merge(3), "a int given"),  # type: ignore[arg-type]
    ]
    for call, message in bad:
        with pytest.raises(ArgumentError, match=message):
            call()
    with pytest.raises(TargetError, match="new log-density has shape"):
        s.reweight(np.zeros(3))
    with pytest.raises(TargetError, match="new log-density is nan at draw 0"):
        s.reweight(np.full(50, np.nan))


def test_statistics_are_kept_and_checked(tmp_path: Path) -> None:
    flags = np.arange(4000).reshape(4, 1000) % 7 == 0
    depth = np.arange(4000, dtype=np.int32).reshape(4, 1000)
    s = replace(run(diverging=flags, tree_depth=depth), warmup_stats={"step_size": np.ones((4, 9))})
    s.save(tmp_path / "s.safetensors")
    t = fm.Sample.load(tmp_path / "s.safetensors")
    for name, array in s.stats.items():
        np.testing.assert_array_equal(t.stats[name], array)
        assert t.stats[name].dtype == array.dtype
    np.testing.assert_array_equal(t.warmup_stats["step_size"], np.ones((4, 9)))
    known = json.loads(json.dumps(s.to_dict()))
    assert known["stats"]["diverging"][0][0] is True
    assert run().stats == {}
    for wrong, message in [
        ({"a": np.zeros((4, 999))}, r"'a' has shape \(4, 999\); \(4, 1000\) is needed"),
        ({"a": np.array([["x"] * 1000] * 4)}, "'a' is not an array of real numbers"),
        ([1], "a list given; a mapping"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            replace(s, stats=wrong)
    with pytest.raises(ArgumentError, match=r"'a' has shape \(3, 5\); \(4, n_warmup\) is needed"):
        replace(s, warmup_stats={"a": np.zeros((3, 5))})
    with pytest.raises(ArgumentError, match="arrays of different lengths"):
        replace(s, warmup_stats={"a": np.zeros((4, 5)), "b": np.zeros((4, 6))})
    points = fm.Sample.from_arrays(np.zeros((5, 2)))
    with pytest.raises(ArgumentError, match="not those of chains"):
        replace(points, stats={"a": np.zeros((5, 1))})
