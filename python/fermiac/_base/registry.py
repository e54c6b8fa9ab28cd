"""Functions of higher layers that results call: plots, folders of draws, and executors.

Results lie below plotting and the domains and cannot import them. `fermiac` registers the names of
their modules here, and a module is imported when one of its functions is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["function", "load_domains", "register"]

_MODULES: dict[str, str] = {}
_DOMAINS: list[str] = []


def register(modules: Mapping[str, str], domains: Iterable[str]) -> None:
    """Add the module of each group of functions, and the modules that define result classes."""
    _MODULES.update(modules)
    _DOMAINS.extend(domains)


def function(group: str, name: str) -> Callable[..., Any]:
    """Return a function of a registered group; its module is imported if necessary."""
    found: Callable[..., Any] = getattr(import_module(_MODULES[group]), name)
    return found


def load_domains() -> None:
    """Import all domains, so that the classes of their results are known."""
    for module in _DOMAINS:
        import_module(module)
