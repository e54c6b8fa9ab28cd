"""Labels of classes as numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fermiac._base.classes import encoded


@pytest.mark.parametrize("kind", ["?", "i1", "u8", "f8"])
@pytest.mark.parametrize("n_labels", [1, 2, 3])
def test_numbers_are_encoded_as_their_texts_are(kind: str, n_labels: int) -> None:
    # Texts are always sorted; two whole numbers are not.
    rng = np.random.default_rng(n_labels)
    pair = [rng.integers(0, n_labels, n).astype(kind) for n in (50, 30)]
    labels, codes = encoded("y", pair)
    texts, expected = encoded("y", [array.astype(str) for array in pair])
    assert [str(label) for label in labels] == texts
    for code, other in zip(codes, expected, strict=True):
        assert code.dtype == np.float64
        np.testing.assert_array_equal(code, other)


def test_labels_of_two_types_have_their_common_type() -> None:
    labels, codes = encoded("y", [np.array([True, False]), np.array([1, 0])])
    assert labels == [0, 1]
    assert {type(label) for label in labels} == {int}
    np.testing.assert_array_equal(codes, [[1.0, 0.0], [1.0, 0.0]])
