"""The command line ``fermiac``."""

from __future__ import annotations

from fermiac.cli.commands import main

__all__ = ["main"]


def __dir__() -> list[str]:
    return sorted(__all__)
