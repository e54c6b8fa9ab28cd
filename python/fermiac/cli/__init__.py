"""The command line: posteriors of epsilon from counts, tables of counts, or scores."""

from __future__ import annotations

from fermiac.cli.commands import main

__all__ = ["main"]
