"""Random streams: laws of the samplers, pinned values, sizes, positions, threads, messages."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fermiac.errors import ArgumentError, FermiacError
from fermiac.random import Stream, key_of

N = 200_000


def stream(index: int = 7, block: int = 3) -> Stream:
    return Stream(20_240_229, index, block)


SAMPLERS: list[tuple[str, Callable[..., Any], Any]] = [
    ("uniform", lambda s, n: s.uniform(n), stats.uniform()),
    ("normal", lambda s, n: s.normal(n), stats.norm()),
    ("exponential", lambda s, n: s.exponential(n), stats.expon()),
    *[
        (f"gamma({a})", lambda s, n, a=a: s.gamma(a, n), stats.gamma(a))
        for a in (0.05, 0.3, 0.999, 1.0, 1.7, 12.0, 1e4)
    ],
    *[
        (f"beta({a}, {b})", lambda s, n, a=a, b=b: s.beta(a, b, n), stats.beta(a, b))
        for a, b in ((0.5, 0.5), (0.3, 4.0), (1.0, 1.0), (2.0, 5.0), (800.0, 30.0))
    ],
    *[
        (f"t({df})", lambda s, n, df=df: s.student_t(df, n), stats.t(df))
        for df in (0.5, 1.0, 2.5, 7.0, 300.0)
    ],
    ("t(inf)", lambda s, n: s.student_t(np.inf, n), stats.norm()),
]
NAMES = [name for name, _, _ in SAMPLERS]


@pytest.mark.parametrize(("name", "draw", "law"), SAMPLERS, ids=NAMES)
def test_each_sampler_has_its_law(name: str, draw: Callable[..., Any], law: Any) -> None:
    x = draw(stream(index=NAMES.index(name)), N)
    # 6e-7 is the two-sided probability of five standard deviations.
    assert stats.kstest(x, law.cdf).pvalue > 6e-7


@pytest.mark.parametrize(("name", "draw", "law"), SAMPLERS, ids=NAMES)
def test_sizes_give_the_same_numbers(name: str, draw: Callable[..., Any], law: Any) -> None:
    flat = draw(stream(), 60)
    assert flat.shape == (60,)
    assert flat.dtype == np.float64
    assert np.array_equal(draw(stream(), (3, 4, 5)), flat.reshape(3, 4, 5))
    assert np.array_equal(draw(stream(), [np.int64(60)]), flat)
    one = stream()
    assert [draw(one, None) for _ in range(60)] == flat.tolist()
    assert isinstance(draw(one, None), float)
    parts = stream()
    pieces = [draw(parts, n) for n in (7, 0, 40, 13)]
    assert np.array_equal(np.concatenate(pieces), flat)


def test_values_are_pinned() -> None:
    pinned = {
        "uniform": [0.7756521586304198, 0.7337152158432484, 0.022014844563814084],
        "normal": [0.7392000563899461, 0.7958689543487841, -1.1105935944386012],
        "exponential": [1.0308078857546752, 1.4618578486371367, 0.023028923946923924],
    }
    for name, values in pinned.items():
        np.testing.assert_allclose(getattr(stream(), name)(3), values, rtol=1e-14)
    np.testing.assert_allclose(
        stream().gamma(2.5, 3), [3.4470416952562855, 0.9085893622910559, 2.702459655921015], 1e-14
    )
    np.testing.assert_allclose(
        stream().beta(2, 3, 3), [0.6953572136877517, 0.25085048190730647, 0.3955824457302349], 1e-14
    )
    np.testing.assert_allclose(
        stream().student_t(5, 3),
        [0.6192793764929989, 0.3015230623557644, 1.4483686585750795],
        1e-14,
    )
    assert stream().integers(10**6, 4).tolist() == [775652, 733715, 22014, 858264]
    assert stream().categorical([1, 2, 0, 4, 0.5], 8).tolist() == [3, 3, 0, 4, 3, 3, 4, 3]


@pytest.mark.parametrize("n", [1, 2, 10, 1000, 2**62 + 1, 2**63])
def test_integers_are_uniform(n: int) -> None:
    x = stream().integers(n, N)
    assert x.dtype == np.int64
    assert x.min() >= 0
    assert int(x.max()) < n
    counts = np.bincount((x.astype(np.float64) / n * min(n, 50)).astype(int), minlength=min(n, 50))
    if n > 1:
        assert stats.chisquare(counts).pvalue > 6e-7
    scalar = stream()
    assert [scalar.integers(n) for _ in range(20)] == x[:20].tolist()
    assert type(scalar.integers(n)) is int


def test_categorical_has_the_weights() -> None:
    weights = np.array([5.0, 0.0, 1.0, 0.25, 3.0])
    x = stream().categorical(weights, N)
    assert x.dtype == np.int64
    counts = np.bincount(x, minlength=5)
    assert counts[1] == 0
    keep = weights > 0
    expected = weights[keep] / weights.sum() * N
    assert stats.chisquare(counts[keep], expected).pvalue > 6e-7
    one = stream()
    assert [one.categorical(weights) for _ in range(20)] == x[:20].tolist()
    assert np.array_equal(stream().categorical(weights[::-1][::-1], (4, 5)).ravel(), x[:20])


def test_tiny_shapes() -> None:
    x = stream().beta(1e-300, 3e-300, N)
    assert set(np.unique(x)) == {0.0, 1.0}
    assert abs(x.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / N)
    g = stream().gamma(1e-3, N)
    assert np.all(g >= 0)
    assert abs(g.mean() - 1e-3) < 5 * np.sqrt(1e-3 / N)


def test_streams_of_different_addresses_differ() -> None:
    keys = (0, 1, 2**64 - 1)
    parts = [(i, b) for i in (0, 1, 2**64 - 1) for b in (0, 1, 2**28, 2**32 - 1)]
    positions = {tuple(Stream(k, i, b).position) for k in keys for i, b in parts}
    assert len(positions) == len(keys) * len(parts)


@given(taken=st.integers(0, 3000), n=st.integers(0, 1000))
@settings(max_examples=50, derandomize=True, deadline=None)
def test_a_position_brings_the_stream_back(taken: int, n: int) -> None:
    s = stream()
    s.normal(taken)
    position = s.position
    assert position.shape == (33,)
    assert position.dtype == np.uint64
    assert position[32] < 8
    others = [Stream.from_position(position), copy.deepcopy(s), pickle.loads(pickle.dumps(s))]
    expected = s.exponential(n)
    for other in others:
        assert np.array_equal(other.exponential(n), expected)
        assert np.array_equal(other.position, s.position)


def test_threads_may_share_a_stream() -> None:
    shared = stream()
    parts: list[np.ndarray] = []

    def work() -> None:
        parts.extend(shared.uniform(1000) for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Together the threads drew each number of the stream once.
    drawn = np.sort(np.concatenate(parts))
    assert np.array_equal(drawn, np.sort(stream().uniform(200_000)))


def test_key_of() -> None:
    assert key_of(0) == 0
    assert key_of(2**64 - 1) == 2**64 - 1
    assert key_of(np.uint64(2**64 - 1)) == 2**64 - 1
    assert type(key_of(np.int8(3))) is int
    sequence = np.random.SeedSequence(5)
    assert key_of(sequence) == key_of(sequence) == int(sequence.generate_state(1, np.uint64)[0])
    generator, same = np.random.default_rng(5), np.random.default_rng(5)
    expected = [int(k) for k in same.integers(0, 2**64, 2, dtype=np.uint64)]
    assert [key_of(generator), key_of(generator)] == expected
    drawn = {key_of(None) for _ in range(20)}
    assert len(drawn) == 20
    assert all(0 <= k < 2**64 for k in drawn)
    assert np.array_equal(Stream(sequence).normal(5), Stream(key_of(sequence)).normal(5))
    assert repr(Stream(5, index=2)) == "Stream(key=5, index=2, block=0)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: key_of(-1), r"rng: -1 was given; a whole number from 0 to 18446744073709551615"),
        (lambda: key_of(2**64), "rng: 18446744073709551616 was given"),
        (lambda: key_of(True), "rng: the bool True was given"),
        (lambda: key_of(1.0), "rng: a float, 1.0, was given.*SeedSequence"),  # type: ignore[arg-type]
        (lambda: key_of("7"), "rng: a str, '7', was given"),  # type: ignore[arg-type]
        (lambda: Stream(0, index=-1), "index: -1 was given"),
        (lambda: Stream(0, block=2**32), "block: 4294967296 was given"),
        (lambda: stream().uniform(-1), "size: -1 was given"),
        (lambda: stream().normal((2, 1.5)), "size: a float, 1.5, was given"),  # type: ignore[arg-type]
        (lambda: stream().exponential(True), "size: the bool True"),
        (lambda: stream().gamma(0.0), "shape: 0.0 was given; a positive, finite number"),
        (lambda: stream().gamma(np.nan, 3), "shape: nan was given"),
        (lambda: stream().gamma(np.inf), "shape: inf was given"),
        (lambda: stream().beta(1.0, -2.0), "b: -2.0 was given"),
        (lambda: stream().beta("x", 1.0), "a: 'x' was given"),  # type: ignore[call-overload]
        (lambda: stream().student_t(0), "df: 0.0 was given; a positive number is needed"),
        (lambda: stream().integers(0), "n: 0 was given; a whole number from 1 to"),
        (lambda: stream().integers(2**63 + 1), "n: 9223372036854775809 was given"),
        (lambda: stream().integers(2.0), "n: a float, 2.0, was given"),  # type: ignore[call-overload]
        (lambda: stream().categorical([]), "weights: 0 weights were given"),
        (lambda: stream().categorical([1, -1]), r"weights: weights\[1\] is -1"),
        (lambda: stream().categorical([np.nan]), r"weights: weights\[0\] is NaN"),
        (lambda: stream().categorical([0, 0]), "weights: all are zero"),
        (lambda: stream().categorical([[1.0]]), r"weights: an array of shape \(1, 1\)"),
        (lambda: stream().categorical(1.0), r"weights: an array of shape \(\)"),
        (
            lambda: stream().categorical(["a"]),
            "weights: text was given",
        ),
        (lambda: Stream.from_position(np.zeros(33)), "position: an array of float64"),
        (lambda: Stream.from_position(np.zeros(3, np.uint64)), r"shape \(3,\) was given"),
        (lambda: Stream.from_position(np.zeros(33, np.uint64)), "position: lane 0 is all zeros"),
        (
            lambda: Stream.from_position(np.full(33, 8, np.uint64)),
            "position: its last word, the offset, is 8; 0 to 7 is needed",
        ),
    ],
)
def test_messages(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        call()
    assert isinstance(caught.value, (FermiacError, ValueError))
