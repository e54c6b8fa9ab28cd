"""The command line ``fermiac``."""

from __future__ import annotations

from fermiac.cli.commands import main

__all__ = ["main"]
