"""Arrays of NumPy and tensors of torch, which is not imported for them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["is_tensor", "like", "to_numpy"]

Array = NDArray[np.float64]


def is_tensor(value: Any) -> bool:
    """Whether `value` is a torch tensor; torch is not imported for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_numpy(value: Any) -> Any:
    """Give a tensor's numbers as an array, and all else as it is."""
    return value.detach().cpu().double().numpy() if is_tensor(value) else value


def like(given: Any, array: Array) -> Any:
    """Give `array` as what was given is: a tensor of its type on its device, or an array."""
    if not is_tensor(given):
        return array
    torch = sys.modules["torch"]
    dtype = given.dtype if given.is_floating_point() else torch.float64
    return torch.from_numpy(array).to(device=given.device, dtype=dtype)
