"""Conversion between NumPy arrays and torch tensors, without an import of torch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["is_tensor", "like", "to_numpy"]

Array = NDArray[np.float64]


def is_tensor(value: Any) -> bool:
    """Return whether `value` is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_numpy(value: Any) -> Any:
    """Return a tensor as an array, and any other value as it is."""
    return value.detach().cpu().double().numpy() if is_tensor(value) else value


def like(given: Any, array: Array) -> Any:
    """Return `array` in the form of `given`: a tensor of its type and device, or an array."""
    if not is_tensor(given):
        return array
    torch = sys.modules["torch"]
    dtype = given.dtype if given.is_floating_point() else torch.float64
    return torch.from_numpy(array).to(device=given.device, dtype=dtype)
