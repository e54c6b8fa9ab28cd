"""Conversion between arrays and tensors, with and without torch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from fermiac._base import tensors


@pytest.fixture
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)


@pytest.mark.usefixtures("_no_torch")
@pytest.mark.parametrize("value", [np.ones(3), [1.0], 2.5, None, "text"])
def test_without_torch_nothing_is_a_tensor(value: Any) -> None:
    assert not tensors.is_tensor(value)
    assert tensors.to_numpy(value) is value
    array = np.zeros(2)
    assert tensors.like(value, array) is array
    assert "torch" not in sys.modules


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_tensors_there_and_back(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    given = torch.arange(3, dtype=getattr(torch, dtype))
    assert tensors.is_tensor(given)
    array = tensors.to_numpy(given)
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, [0.0, 1.0, 2.0])
    back = tensors.like(given, array + 0.5)
    assert back.dtype == (given.dtype if given.is_floating_point() else torch.float64)
    assert back.tolist() == [0.5, 1.5, 2.5]
