"""The check of arguments that name files and folders."""

from __future__ import annotations

import os

from fermiac.errors import ArgumentError

__all__ = ["path_of"]


def path_of(name: str, value: object) -> str:
    """Return a path as text; an ArgumentError names what is none."""
    try:
        path = os.fsdecode(os.fspath(value))  # type: ignore[call-overload]
    except TypeError:
        raise ArgumentError(
            f"{name}: {type(value).__name__} given; a path is needed, as str or os.PathLike"
        ) from None
    if "\0" in path:
        raise ArgumentError(f"{name}: {path!r:.60} given; a path holds no null character")
    return path
