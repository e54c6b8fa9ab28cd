"""Watermark tests: brute force, null p-values, power after edits, hostile arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.privacy import ExponentialKey, InverseTransformKey, detect_watermark

Array = NDArray[np.float64]
Key = ExponentialKey | InverseTransformKey
KINDS: dict[str, Callable[..., Any]] = {"exp": ExponentialKey, "its": InverseTransformKey}


# --- the statistic, by its definition ------------------------------------------------------------


def distances(text: NDArray[Any], key: Key, rank_norm: str = "size") -> Array:
    """Of every token (row) from every key row (column)."""
    if isinstance(key, ExponentialKey):
        return np.log1p(-key.columns(text)).T
    scale = key.vocab_size - (rank_norm == "last")
    return np.abs(key.ranks[text][:, None] / scale - key.uniforms)


def edit_cost(d: Array, gamma: float) -> float:
    """Of a square array of distances, by the recursion over prefixes."""
    k = len(d)
    cost = np.zeros((k + 1, k + 1))
    cost[0] = cost[:, 0] = np.arange(k + 1) * gamma
    for a in range(1, k + 1):
        for b in range(1, k + 1):
            gaps = min(cost[a - 1, b], cost[a, b - 1]) + gamma
            cost[a, b] = min(gaps, cost[a - 1, b - 1] + d[a - 1, b - 1])
    return float(cost[k, k])


def brute_force(d: Array, k: int, gamma: float | None) -> Array:
    """The cost of every block of tokens (row) at every key row (column)."""
    m, n = d.shape
    out = np.empty((m - k + 1, n))
    for i in range(m - k + 1):
        for j in range(n):
            block = d[i : i + k][:, (j + np.arange(k)) % n]
            out[i, j] = np.trace(block) if gamma is None else edit_cost(block, gamma)
    return out


@given(
    m=st.integers(1, 13),
    n=st.integers(1, 40),
    vocab_size=st.integers(2, 30),
    gamma=st.sampled_from([None, 0.0, 0.1, 0.4, -0.3]),
    kind=st.sampled_from(["exp", "its"]),
    rank_norm=st.sampled_from(["size", "last"]),
    data=st.data(),
)
def test_the_statistic_is_that_of_the_definition(
    m: int,
    n: int,
    vocab_size: int,
    gamma: float | None,
    kind: str,
    rank_norm: str,
    data: st.DataObject,
) -> None:
    k = data.draw(st.integers(1, m))
    text = np.random.default_rng([m, n, k]).integers(0, vocab_size, m)
    key = KINDS[kind](n, vocab_size, rng=3)
    expected = brute_force(distances(text, key, rank_norm), k, gamma)
    test = detect_watermark(
        text, key, block_size=k, gamma=gamma, n_null=0, rank_norm=rank_norm, rng=0
    )
    np.testing.assert_allclose(test.statistic, expected.min(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(expected[tuple(test.alignment)], expected.min(), atol=1e-12)
    assert (test.p_value, test.null_statistics.shape) == (1.0, (0,))


@pytest.mark.parametrize("gamma", [None, 0.3])
def test_equal_costs_give_the_earliest_alignment(gamma: float | None) -> None:
    key = InverseTransformKey.from_arrays(np.full(37, 0.5), [0, 1, 2, 3])
    test = detect_watermark([2] * 9, key, block_size=3, gamma=gamma, n_null=5, rng=0)
    assert test.alignment.tolist() == [0, 0]
    assert test.statistic == 0.0


def test_sums_that_slide_over_a_long_text_stay_exact() -> None:
    rng = np.random.default_rng(5)
    xi = rng.random((7, 50))
    xi[rng.random(xi.shape) < 0.1] = 1 - 2.0**-53
    key = ExponentialKey.from_array(xi)
    text = rng.integers(0, 50, 20_000)
    test = detect_watermark(text, key, block_size=40, n_null=0, rng=0)
    d = distances(text, key)
    i, j = test.alignment
    block = d[np.arange(i, i + 40), (j + np.arange(40)) % 7]
    assert abs(test.statistic - block.sum()) < 1e-12 * abs(block.sum())
    sums = np.stack([d[np.arange(20_000), (c + np.arange(20_000)) % 7] for c in range(7)])
    windows = np.lib.stride_tricks.sliding_window_view(sums, 40, axis=1).sum(axis=2)
    np.testing.assert_allclose(test.statistic, windows.min(), rtol=1e-13)


def test_a_long_edit_block_agrees_with_whole_rows_at_once() -> None:
    # The recursion over whole diagonals, for a block longer than the key.
    k, n, gamma = 150, 41, 0.2
    key = InverseTransformKey(n, 1000, rng=8)
    text = np.random.default_rng(2).integers(0, 1000, k)
    d = distances(text, key)[:, np.arange(n + k) % n]
    best = np.inf
    for j in range(n):
        above = np.arange(k + 1) * gamma
        for a in range(k):
            match = above[:-1] + d[a, j : j + k]
            row = np.concatenate([[above[0] + gamma], np.minimum(match, above[1:] + gamma)])
            steps = np.arange(k + 1) * gamma
            above = np.minimum.accumulate(row - steps) + steps
        best = min(best, above[-1])
    test = detect_watermark(text, key, gamma=gamma, n_null=0, rng=0)
    np.testing.assert_allclose(test.statistic, best, rtol=1e-12)


# --- the law of the p-value ----------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [None, 0.3])
@pytest.mark.parametrize("kind", list(KINDS))
def test_p_values_are_uniform_where_there_is_no_watermark(kind: str, gamma: float | None) -> None:
    runs, T = 1500, 9
    # Tokens that are often repeated: the null keys must give equal tokens equal numbers.
    text = np.random.default_rng(0).integers(0, 6, 12)
    if gamma is not None:
        gamma = {"its": 0.3, "exp": -0.2}[kind]
    p = np.array(
        [
            detect_watermark(
                text,
                KINDS[kind](10, 8, rng=s),
                block_size=8,
                gamma=gamma,
                n_null=T,
                rng=s,
                plan=fm.Plan(n_threads=1),
            ).p_value
            for s in range(runs)
        ]
    )
    counts = np.bincount(np.rint(p * (T + 1)).astype(int), minlength=T + 2)[1:]
    z = (counts - runs / (T + 1)) / np.sqrt(runs / (T + 1) * T / (T + 1))
    assert np.all(np.abs(z) < 5)
    below = np.cumsum(counts) - runs * np.arange(1, T + 2) / (T + 1)
    assert np.all(np.abs(below) < 5 * np.sqrt(runs / 4))


@pytest.mark.parametrize("kind", list(KINDS))
def test_null_statistics_have_the_law_of_those_of_fresh_keys(kind: str) -> None:
    text = np.random.default_rng(4).integers(0, 15, 30)
    null = detect_watermark(text, KINDS[kind](20, 40, rng=0), n_null=4000, rng=1).null_statistics
    fresh = [
        detect_watermark(text, KINDS[kind](20, 40, rng=s), n_null=0, rng=0).statistic
        for s in range(1000)
    ]
    spread = np.hypot(np.std(null) / np.sqrt(null.size), np.std(fresh) / np.sqrt(len(fresh)))
    assert abs(np.mean(null) - np.mean(fresh)) < 5 * spread
    for q in (0.1, 0.5, 0.9):
        below = np.mean(np.asarray(fresh) <= np.quantile(null, q))
        assert abs(below - q) < 5 * np.sqrt(q * (1 - q) * (1 / 1000 + 1 / 4000))


def test_p_values_count_null_statistics_as_low() -> None:
    key = InverseTransformKey(16, 50, rng=0)
    text = np.random.default_rng(1).integers(0, 50, 20)
    test = detect_watermark(text, key, n_null=99, rng=2)
    low = np.sum(test.null_statistics <= test.statistic)
    assert test.p_value == (1 + low) / 100
    share = detect_watermark(text, key, n_null=99, rng=2, plain=True)
    assert share.p_value == low / 99
    assert share.statistic == test.statistic


def test_leaving_everything_out_is_a_tie_that_counts() -> None:
    # Nothing costs less than -0.001, so that all costs are those of leaving out all.
    key = InverseTransformKey(8, 50, rng=0)
    test = detect_watermark(np.arange(10), key, gamma=-0.001, n_null=49, rng=2)
    assert test.statistic == -0.02
    assert test.p_value == 1.0


# --- power ---------------------------------------------------------------------------------------


def watermarked(kind: str, m: int = 120) -> tuple[Key, NDArray[np.int64]]:
    key = KINDS[kind](64, 300, rng=11)
    table = np.random.default_rng(7).exponential(size=(m, 300)) ** 3
    return key, key.sample(table, offset=17)


@pytest.mark.parametrize(("kind", "gamma", "every"), [("its", 0.2, 8), ("exp", -0.5, 3)])
def test_watermarks_are_found_after_edits(kind: str, gamma: float, every: int) -> None:
    key, text = watermarked(kind)
    whole = detect_watermark(text, key, n_null=199, rng=0)
    assert whole.p_value == 1 / 200
    assert whole.alignment.tolist() == [0, 17]
    rng = np.random.default_rng(3)
    replaced = text.copy()
    at = rng.choice(text.size, 40, replace=False)
    replaced[at] = rng.integers(0, 300, 40)
    assert detect_watermark(replaced, key, n_null=199, rng=0).p_value == 1 / 200
    # Without gaps, deletions break the alignment; with gaps they do not.
    cut = np.delete(text, np.arange(2, text.size, every))
    with_gaps = detect_watermark(cut, key, gamma=gamma, n_null=199, rng=0)
    without = detect_watermark(cut, key, n_null=199, rng=0)
    assert with_gaps.p_value == 1 / 200 < without.p_value
    other = KINDS[kind](64, 300, rng=12)
    assert detect_watermark(text, other, n_null=199, rng=0).p_value > 0.01


def test_a_block_finds_a_part_of_a_text() -> None:
    key, text = watermarked("exp", 40)
    hidden = np.random.default_rng(0).integers(0, 300, 200)
    hidden[70:110] = text
    test = detect_watermark(hidden, key, block_size=40, n_null=99, rng=0)
    assert test.p_value == 0.01
    assert test.alignment.tolist() == [70, 17]


# --- invariances ---------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [None, 0.1])
@pytest.mark.parametrize("kind", list(KINDS))
def test_threads_and_batches_change_no_bit(
    kind: str, gamma: float | None, thread_counts: tuple[int, ...]
) -> None:
    key = KINDS[kind](50, 100, rng=0)
    texts = np.random.default_rng(0).integers(0, 100, (3, 60))
    options: dict[str, Any] = {"block_size": 20, "gamma": gamma, "n_null": 70, "rng": 5}
    many = [
        detect_watermark(texts, key, plan=fm.Plan(n_threads=t), **options) for t in thread_counts
    ]
    for other in many[1:]:
        np.testing.assert_array_equal(many[0].null_statistics, other.null_statistics)
        np.testing.assert_array_equal(many[0].statistic, other.statistic)
    ragged = detect_watermark([texts[0], texts[1][:45], texts[2]], key, **options)
    assert many[0].statistic.shape == many[0].p_value.shape == (3,)
    assert many[0].alignment.shape == (3, 2)
    for t, text in enumerate(texts):
        one = detect_watermark(text, key, **options)
        for batch in [many[0]] if t == 1 else [many[0], ragged]:
            assert one.statistic == batch.statistic[t]
            assert one.p_value == batch.p_value[t]
            np.testing.assert_array_equal(one.null_statistics, batch.null_statistics[t])
            np.testing.assert_array_equal(one.alignment, batch.alignment[t])


def test_work_that_is_cut_into_pieces_gives_what_the_whole_does(
    thread_counts: tuple[int, ...],
) -> None:
    # 1.3e8 costs a key: several pieces.
    key = ExponentialKey(64, 100, rng=0)
    text = np.random.default_rng(0).integers(0, 100, 250)
    cut = [
        detect_watermark(
            text, key, block_size=130, gamma=-0.4, n_null=1, rng=1, plan=fm.Plan(n_threads=t)
        )
        for t in thread_counts[:2]
    ]
    np.testing.assert_array_equal(cut[0].null_statistics, cut[1].null_statistics)
    parts = [
        detect_watermark(text[i : i + 130 + 9], key, block_size=130, gamma=-0.4, n_null=0, rng=1)
        for i in range(0, 121, 10)
    ]
    best = min(range(len(parts)), key=lambda i: parts[i].statistic)
    assert parts[best].statistic == cut[0].statistic
    i, j = parts[best].alignment
    assert [i + 10 * best, j] == cut[0].alignment.tolist()


def test_no_texts_give_no_values() -> None:
    key = ExponentialKey(5, 9, rng=0)
    test = detect_watermark(np.empty((0, 4), dtype=int), key, n_null=3)
    assert (test.p_value.shape, test.null_statistics.shape) == ((0,), (0, 3))
    assert repr(test).startswith("WatermarkTest: no texts")


def test_seeds_reproduce() -> None:
    key, text = watermarked("its")
    test = detect_watermark(text, key, n_null=20)
    again = detect_watermark(text, key, n_null=20, rng=test.seed)
    np.testing.assert_array_equal(test.null_statistics, again.null_statistics)


# --- references, results -------------------------------------------------------------------------


def test_a_reference_of_the_text_itself_gives_the_same_p_value() -> None:
    key, text = watermarked("its")
    options: dict[str, Any] = {"block_size": 50, "gamma": 0.2}
    table = fm.privacy.watermark_reference(text, key, n_null=40, rng=3, **options)
    direct = detect_watermark(text, key, n_null=40, rng=3, **options)
    np.testing.assert_array_equal(table.statistics, np.sort(direct.null_statistics))
    known = detect_watermark(text, key, reference=table, **options)
    assert known.p_value == direct.p_value
    assert known.seed is None
    again = detect_watermark(text, key, reference=table.statistics[::-1], plain=True, **options)
    assert again.p_value == np.mean(table.statistics <= direct.statistic)
    # Ties with the table count.
    tie = detect_watermark(text, key, reference=[direct.statistic] * 3, **options)
    assert tie.p_value == 1.0


def test_texts_of_a_reference_have_keys_of_their_own() -> None:
    key = ExponentialKey(20, 30, rng=0)
    text = np.random.default_rng(0).integers(0, 30, 25)
    table = fm.privacy.watermark_reference([text, text], key, n_null=10, rng=0)
    assert len(np.unique(table.statistics)) == 20


def test_a_reference_must_fit() -> None:
    key, text = watermarked("its")
    table = fm.privacy.watermark_reference(text, key, n_null=9, rng=0)
    with pytest.raises(ArgumentError, match=r"made with gamma None, while 0\.1"):
        detect_watermark(text, key, reference=table, gamma=0.1)
    with pytest.raises(ArgumentError, match="made with key 'InverseTransformKey'"):
        detect_watermark(text, ExponentialKey(64, 300), reference=table)
    with pytest.raises(ArgumentError, match="texts of 120 tokens, while one has 119"):
        detect_watermark(text[1:], key, reference=table)
    ragged = fm.privacy.watermark_reference([text, text[1:]], key, n_null=9, rng=0)
    assert detect_watermark(text[2:], key, reference=ragged).p_value == 1 / 19


def test_results_are_saved_and_shown(tmp_path: Path) -> None:
    key, text = watermarked("exp")
    one = detect_watermark(text, key, n_null=19, rng=0)
    many = detect_watermark([text, text[:50]], key, n_null=19, rng=0)
    table = fm.privacy.watermark_reference(text, key, n_null=19, rng=0)
    for result in (one, many, table):
        result.save(tmp_path / "result")
        loaded = fm.load(tmp_path / "result")
        assert loaded.to_dict() == result.to_dict()
        assert len(repr(result).splitlines()) <= 6
    assert repr(one).startswith("WatermarkTest: p = 0.05, statistic -")
    assert one.n_evals == 20
    assert many.n_evals == 40
    assert repr(many).startswith("WatermarkTest: 2 texts, p from 0.05 to")
    assert isinstance(one.p_value, float)
    assert isinstance(one.statistic, float)


def test_an_interrupt_leaves_what_was_done() -> None:
    key = ExponentialKey(256, 1000, rng=0)
    text = key.sample(np.ones(1000), 150)

    def stop(done: int, total: int) -> None:
        assert total == 10_001
        if done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        detect_watermark(
            text,
            key,
            block_size=60,
            gamma=-0.5,
            n_null=10_000,
            rng=0,
            plan=fm.Plan(n_threads=2, progress=stop),
        )
    partial = caught.value.partial_result
    T = partial.null_statistics.size
    assert 3 <= T < 10_000
    assert partial.status == "interrupted"
    assert partial.p_value == (1 + np.sum(partial.null_statistics <= partial.statistic)) / (1 + T)
    first = detect_watermark(text, key, block_size=60, gamma=-0.5, n_null=3, rng=0)
    np.testing.assert_array_equal(partial.null_statistics[:3], first.null_statistics)


# --- hostile arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": [0, 1, 10]}, "tokens: 10 given; the vocabulary of the key has 0 to 9"),
        ({"tokens": [0, -1]}, "tokens: -1 given"),
        ({"tokens": []}, "tokens: an empty array"),
        ({"tokens": [0.0, 1.0]}, "tokens: an array of type float64"),
        ({"tokens": [True, False]}, "tokens: an array of type bool"),
        ({"tokens": "abc"}, "tokens: 'abc' was given"),
        ({"tokens": None}, "tokens: None was given"),
        ({"tokens": 3}, r"tokens: an array of shape \(\) given for a text"),
        ({"tokens": np.zeros((2, 2, 2), int)}, "given for a text"),
        ({"tokens": [[1, 2], "ab"]}, "tokens: 'ab' was given"),
        ({"tokens": np.ma.masked_equal([1, 2], 2)}, "tokens: an array with masked values"),
        ({"key": 5}, "key: a int given"),
        ({"block_size": 5}, "block_size: 5 given for a text of 4 tokens"),
        ({"block_size": 0}, "block_size: 0 was given"),
        ({"block_size": 2.0}, "block_size: a float"),
        ({"gamma": np.nan}, "gamma: nan was given"),
        ({"gamma": np.inf}, "gamma: inf was given"),
        ({"gamma": True}, "gamma: the bool True"),
        ({"gamma": "0.4"}, "gamma: '0.4' was given"),
        ({"n_null": -1}, "n_null: -1 was given"),
        ({"n_null": True}, "n_null: the bool"),
        ({"n_null": 0, "plain": True}, "plain: True given without null keys"),
        ({"plain": 1}, "plain: 1 given"),
        ({"rank_norm": "V"}, "rank_norm: 'V' was given"),
        ({"rng": -1}, "rng: -1 was given"),
        ({"reference": [[1.0]]}, "reference: an array of shape"),
        ({"reference": [1.0, np.nan]}, "reference: NaN"),
        ({"n_threads": 0}, "n_threads: 0 was given"),
        ({"progress": 3}, "progress: 3 given"),
    ],
)
def test_bad_arguments(change: dict[str, Any], message: str) -> None:
    arguments = {"tokens": [1, 2, 3, 4], "key": InverseTransformKey(5, 10, rng=0)} | change
    with pytest.raises(ArgumentError, match=message):
        detect_watermark(arguments.pop("tokens"), arguments.pop("key"), **planned(**arguments))
