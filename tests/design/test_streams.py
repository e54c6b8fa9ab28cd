"""Samples of streams: totals and their errors, probabilities, shards, arguments."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.design import sample_stream
from fermiac.errors import ArgumentError

METHODS: Any = ("priority", "reservoir")
W = np.array([1.0, 2.0, 2.0, 3.0, 5.0, 9.0])
SIZE = 0.2 + np.asarray(fm.random.Stream(1).exponential(9000))


def test_all_reservoir_samples_have_the_same_probability() -> None:
    counts: dict[Any, int] = {}
    for seed in range(3000):
        s = sample_stream([W[:4], W[4:]], 2, method="reservoir", rng=seed)
        assert s.probabilities.tolist() == [1 / 3, 1 / 3]
        pair = tuple(s.units.tolist())
        counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 15
    share = np.array(list(counts.values())) / 3000
    assert (np.abs(share - 1 / 15) < 5 * np.sqrt(1 / 15 * 14 / 15 / 3000)).all()


def test_priorities_against_their_definition() -> None:
    u = fm.random.Stream(3, 0).uniform(6)
    order = np.argsort(-W / u)
    s = sample_stream([W], 3, rng=3)
    assert sorted(order[:3]) == s.units.tolist()
    threshold = (W / u)[order[3]]
    np.testing.assert_allclose(s.probabilities, np.minimum(1, W[s.units] / threshold))
    np.testing.assert_allclose(s.total(s.weights).value, np.maximum(W[s.units], threshold).sum())


@pytest.mark.parametrize("method", METHODS)
def test_totals_and_their_errors(method: Any) -> None:
    size = SIZE[:400]
    y = 2 * size + np.asarray(fm.random.Stream(2).normal(400))
    odd = np.arange(400) % 2 == 1
    pulls, errors = [], []
    for seed in range(400):
        s = sample_stream([size], 60, method=method, rng=seed)
        pair = s.total(y[s.units]), s.total((y * odd)[s.units])
        errors.append([pair[0].value - y.sum(), pair[1].value - y[odd].sum()])
        pulls.append([e / t.stderr for e, t in zip(errors[-1], pair, strict=True)])
    spread = np.std(errors, axis=0)
    assert (np.abs(np.mean(errors, axis=0)) < 5 * spread / 20).all()
    held = (np.abs(pulls) < 2).mean(axis=0)
    assert (held > 0.9).all()
    assert (held < 0.985).all()
    assert (0.85 < np.std(pulls, axis=0)).all()
    assert (np.std(pulls, axis=0) < 1.2).all()


@pytest.mark.parametrize("method", METHODS)
def test_blocks_and_shards_change_no_bit(method: Any, tmp_path: Path) -> None:
    values = np.column_stack([SIZE, np.arange(9000.0)])
    whole = sample_stream([(SIZE, values)], 100, method=method, rng=5)
    np.testing.assert_array_equal(whole.values, values[whole.units])
    np.testing.assert_array_equal(whole.weights, SIZE[whole.units])
    cuts = [0, 1, 2, 100, 5000, 5000, 8999, 9000]
    pairs = [(SIZE[a:b], values[a:b]) for a, b in itertools.pairwise(cuts)]
    again = sample_stream(iter(pairs), 100, method=method, rng=5)
    shards = [
        sample_stream([pair], 100, method=method, first=a, rng=5)
        for a, pair in zip(cuts, pairs, strict=False)
        if pair[0].size
    ]
    merged = shards[3].merge(*shards[:3], *shards[4:])
    for other in (again, merged):
        np.testing.assert_array_equal(other.units, whole.units)
        np.testing.assert_array_equal(other.values, whole.values)
        np.testing.assert_array_equal(other.probabilities, whole.probabilities)
        assert other.threshold == whole.threshold
        assert other.n_units == 9000
        assert other.total(other.values[:, 0]) == whole.total(whole.values[:, 0])
    merged.save(tmp_path / "s.safetensors")
    loaded = fm.load(tmp_path / "s.safetensors")
    assert loaded.to_dict() == merged.to_dict()
    assert "100 of 9000 units" in repr(merged)


def test_short_streams_and_units_without_weight() -> None:
    s = sample_stream([[0.0, 2.0, 0.0, 1.0]], 10, rng=0)
    assert s.units.tolist() == [1, 3]
    assert s.probabilities.tolist() == [1.0, 1.0]
    assert s.total(s.weights).value == 3.0
    r = sample_stream([W], 10, method="reservoir", rng=0)
    assert r.total(W) == (W.sum(), 0.0)
    one = sample_stream([W], 1, method="reservoir", rng=0)
    assert np.isinf(one.total([1.0]).stderr)
    assert sample_stream([W], 6, rng=0).total(W) == (W.sum(), 0.0)


def test_the_seed() -> None:
    assert sample_stream([SIZE], 4, rng=1).units.tolist() == [108, 3852, 8008, 8302]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": 3}, "blocks"),
        ({"blocks": []}, "blocks"),
        ({"blocks": [[-1.0]]}, "blocks"),
        ({"blocks": [[np.inf]]}, "blocks"),
        ({"blocks": [[0.0]]}, "positive weight"),
        ({"blocks": [([1.0], [1.0, 2.0])]}, "values"),
        ({"blocks": [([1.0], [1.0]), ([1.0], [[1.0]])]}, "all blocks"),
        ({"n": 0}, "n"),
        ({"method": "cube"}, "method"),
        ({"first": -1}, "first"),
        ({"first": 2**53}, "first"),
        ({"rng": -1}, "rng"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sample_stream(**{"blocks": [W], "n": 3, "rng": 0, **arguments})


def test_shards_that_do_not_fit() -> None:
    s = sample_stream([W], 3, rng=0)
    for other, message in [
        (s, "in common"),
        (sample_stream([W], 3, first=6, rng=1), "seed"),
        (sample_stream([W], 4, first=6, rng=0), "settings"),
        (sample_stream([(W, W[:, None])], 3, first=6, rng=0), "values"),
        (3, "StreamSample"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            s.merge(other)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="y"):
        s.total([1.0])
