"""Calls with a plan in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fermiac as fm


def on_threads(n_threads: int, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Return the value of a call that takes its number of threads from the context."""
    with fm.Plan(n_threads=n_threads):
        return call(*args, **kwargs)
