"""Blocks of constrained coordinates: their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fermiac import targets
from fermiac.errors import ArgumentError
from fermiac.targets import transforms


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: transforms.bounded(1.0, 1.0), "above low"),
        (lambda: transforms.bounded(1.0, np.nextafter(1.0, 2.0)), "between"),
        (lambda: transforms.bounded(-1e308, 1e308), "high - low finite"),
        (lambda: transforms.above(np.inf), "low"),
        (lambda: transforms.below("x"), "high"),  # type: ignore[arg-type]
        (lambda: transforms.simplex(1), "a whole number from 2"),
        (lambda: transforms.ordered(0), "a whole number from 1"),
        (lambda: targets.transformed(lambda x: x, {}), "as_target"),  # type: ignore[arg-type]
    ],
)
def test_arguments_are_checked(call: Callable[[], Any], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        call()
