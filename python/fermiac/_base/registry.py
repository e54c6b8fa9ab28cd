"""Functions of higher layers that results call by name: pictures, and folders of draws.

An import of a higher layer would make a circle. `fermiac` itself tells here which module has what.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["function", "load_domains", "register"]

_MODULES: dict[str, str] = {}
_DOMAINS: list[str] = []


def register(modules: dict[str, str], domains: list[str]) -> None:
    """Take the modules of named groups of functions, and the modules that define results."""
    _MODULES.update(modules)
    _DOMAINS.extend(domains)


def function(group: str, name: str) -> Callable[..., Any]:
    """Return a function of a registered group, whose module is imported now."""
    found: Callable[..., Any] = getattr(import_module(_MODULES[group]), name)
    return found


def load_domains() -> None:
    """Import all domains, so that the classes of their results are known."""
    for module in _DOMAINS:
        import_module(module)
