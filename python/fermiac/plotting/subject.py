"""The check that a plot is given what it draws."""

from __future__ import annotations

import sys

from fermiac.errors import ArgumentError

__all__ = ["of_class"]


def of_class(name: str, value: object, path: str) -> None:
    """Raise an ArgumentError unless a value is of the public class of this path.

    The class is looked up where it is already imported: a plot does not import a domain, and there
    is no result of a domain that is not imported.
    """
    module, _, kind = path.rpartition(".")
    if module not in sys.modules or not isinstance(value, getattr(sys.modules[module], kind)):
        raise ArgumentError(f"{name}: {type(value).__name__} given; a {path} is needed")
