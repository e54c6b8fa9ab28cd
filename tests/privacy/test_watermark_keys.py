"""Keys of watermarks: pinned values, addresses, the tokens that they choose, hostile arguments."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from plans import on_threads
from tests.privacy.test_watermark import KINDS, Array, Key, watermarked

from fermiac.errors import ArgumentError
from fermiac.privacy import ExponentialKey, InverseTransformKey, detect_watermark


def test_exponential_keys_are_functions_of_their_address() -> None:
    key = ExponentialKey(101, 50_000, rng=5)
    all_of_them = key.columns(np.arange(200))
    np.testing.assert_array_equal(key.columns([7, 150, 7]), all_of_them[:, [7, 150, 7]])
    np.testing.assert_array_equal(
        ExponentialKey(40, 60_000, rng=5).columns([7]), all_of_them[:40, [7]]
    )
    assert len(np.unique(all_of_them)) == all_of_them.size
    z = (all_of_them.mean() - 0.5) * np.sqrt(12 * all_of_them.size)
    assert abs(z) < 5
    assert np.all(np.abs(np.corrcoef(all_of_them.T)[np.triu_indices(200, 1)]) < 0.6)


def test_keys_and_null_keys_stay_what_they_are() -> None:
    exp, its = ExponentialKey(3, 50_000, rng=2024), InverseTransformKey(2, 9, rng=2024)
    assert exp.columns([0, 49_999]).tolist() == [
        [0.9551242695453924, 0.6712770111724248],
        [0.1011199122448968, 0.9788069135371024],
        [0.016011916749849253, 0.532559192702868],
    ]
    assert its.uniforms.tolist() == [0.5047059682255614, 0.5158206873668257]
    assert its.ranks.tolist() == [3, 6, 2, 7, 1, 0, 8, 5, 4]
    text = [3, 1, 4, 1, 5]
    null = [
        detect_watermark(text, key, n_null=2, rng=7).null_statistics
        for key in (its, ExponentialKey(2, 9, rng=2024))
    ]
    expected = [[0.8039433132859108, 1.0840760391692548], [-9.632380070608813, -4.592773651738729]]
    np.testing.assert_allclose(null, expected, rtol=1e-13)


@pytest.mark.parametrize("kind", list(KINDS))
def test_keys_from_arrays_are_like_derived_ones(kind: str) -> None:
    key, text = watermarked(kind)
    if isinstance(key, ExponentialKey):
        same: Key = ExponentialKey.from_array(key.columns(np.arange(300)))
    else:
        same = InverseTransformKey.from_arrays(key.uniforms, key.ranks)
    assert same.seed is None
    for gamma in (None, 0.1):
        a, b = (detect_watermark(text, k, gamma=gamma, n_null=5, rng=0) for k in (key, same))
        assert a.statistic == b.statistic
        np.testing.assert_array_equal(a.null_statistics, b.null_statistics)
    table = np.random.default_rng(7).exponential(size=(120, 300)) ** 3
    np.testing.assert_array_equal(same.sample(table, offset=17), text)


@pytest.mark.parametrize("kind", list(KINDS))
def test_samples_follow_the_key_and_the_law(kind: str) -> None:
    p = np.array([0.1, 0.0, 0.4, 0.2, 0.3])
    key = KINDS[kind](2000, 5, rng=2)
    text = key.sample(p, 2000)
    counts = np.bincount(text, minlength=5)
    assert counts[1] == 0
    assert np.all(np.abs(counts - 2000 * p) <= 5 * np.sqrt(2000 * p * (1 - p)))
    if isinstance(key, ExponentialKey):
        with np.errstate(divide="ignore"):
            expected = np.argmin(-np.log(key.columns(np.arange(5))) / p, axis=1)
    else:
        order = np.argsort(key.ranks)
        reached = np.cumsum(p[order])
        expected = order[[int(np.argmax(reached >= u)) for u in key.uniforms]]
    np.testing.assert_array_equal(text, expected)
    np.testing.assert_array_equal(key.sample(np.tile(p, (30, 1)), offset=1990)[10:], text[:20])
    np.testing.assert_array_equal(on_threads(3, key.sample, 10 * p, 30), text[:30])
    seen = []

    def law(tokens: NDArray[np.int64]) -> Array:
        seen.append(tokens)
        return p

    np.testing.assert_array_equal(key.sample(law, 4, offset=5), text[5:9])
    assert [s.tolist() for s in seen] == [text[5 : 5 + i].tolist() for i in range(4)]


@pytest.mark.parametrize("make", [InverseTransformKey, ExponentialKey])
def test_the_scale_of_probabilities_does_not_matter(make: Callable[..., Key]) -> None:
    key, p = make(200, 4, rng=3), np.array([1.0, 2.0, 0.0, 4.0])
    expected = key.sample(p, 200)
    for scale in (2.0**1021, 2.0**-1074, 2.0**-1000):
        assert np.array_equal(key.sample(p * scale, 200), expected)


@pytest.mark.parametrize("kind", list(KINDS))
def test_keys_are_frozen_and_travel(kind: str) -> None:
    key, text = watermarked(kind)
    for other in (
        pickle.loads(pickle.dumps(key)),
        copy.deepcopy(key),
        KINDS[kind](64, 300, rng=11),
    ):
        assert detect_watermark(text, other, n_null=0).statistic == (
            detect_watermark(text, key, n_null=0).statistic
        )
    with pytest.raises(AttributeError, match="frozen"):
        key.n = 3  # type: ignore[misc]
    assert repr(key) == f"{type(key).__name__}(64, 300, rng=11)"


def test_no_key_is_as_large_as_the_vocabulary() -> None:
    wide = ExponentialKey(256, 2**31 - 1, rng=0)
    assert detect_watermark([0, 2**31 - 2, 5], wide, n_null=9, rng=0).p_value > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ExponentialKey(0, 5), "n: 0 was given"),
        (lambda: ExponentialKey(5, 2**31), "vocab_size: 2147483648 was given"),
        (lambda: InverseTransformKey(5, True), "vocab_size: the bool"),
        (lambda: ExponentialKey.from_array([[0.5, 1.0]]), "from 0.5 to 1 given"),
        (lambda: ExponentialKey.from_array([[0.5, np.nan]]), "xi: NaN"),
        (lambda: ExponentialKey.from_array([0.5]), "xi: an array of shape"),
        (lambda: ExponentialKey.from_array("x"), "xi: 'x' was given"),
        (lambda: InverseTransformKey.from_arrays([0.5, 1.5], [0, 1]), "uniforms: an array"),
        (lambda: InverseTransformKey.from_arrays([np.nan], [0, 1]), "uniforms: NaN"),
        (lambda: InverseTransformKey.from_arrays([0.5], [1, 2]), "ranks: an array"),
        (lambda: InverseTransformKey.from_arrays([0.5], [0.0, 1.0]), "ranks: an array of type"),
        (lambda: ExponentialKey(5, 3).columns([3]), "tokens: 3 given"),
        (lambda: ExponentialKey(5, 3).sample([0.5, 0.5], 4), r"shape \(2,\) given"),
        (lambda: ExponentialKey(5, 3).sample([0.5, -0.5, 1], 4), "not negative"),
        (lambda: ExponentialKey(5, 3).sample([0, 0, 0], 4), "all are 0"),
        (lambda: ExponentialKey(5, 3).sample([np.nan, 0, 1], 4), "probabilities: NaN"),
        (lambda: ExponentialKey(5, 3).sample([1, 1, 1]), "m: None given"),
        (lambda: ExponentialKey(5, 3).sample(lambda _: [1, 1, 1]), "m: None given"),
        (lambda: ExponentialKey(5, 3).sample(np.ones((2, 3)), 3), "m: 3 given"),
        (lambda: ExponentialKey(5, 3).sample([1, 1, 1], 4, offset=-1), "offset: -1"),
        (lambda: detect_watermark([0], InverseTransformKey(5, 1), rank_norm="last"), "one token"),
    ],
)
def test_bad_keys(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
