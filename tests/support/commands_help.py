"""Calls of the command line, in this process and as one."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import pytest

from fermiac.cli import main

Captured = pytest.CaptureFixture[str]


def process(*words: str, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "fermiac", "epsilon", *words],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more},
    )


def epsilon(capsys: Captured, *words: object) -> tuple[int, str, str]:
    """Run the command, and return its exit code, output and errors."""
    code = main(["epsilon", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys: Captured, *words: object) -> str:
    """Run a command that is refused, and return its errors."""
    code, out, err = epsilon(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("fermiac epsilon: ")
    return err


def table(text: str, delimiter: str = ",") -> list[list[str]]:
    """The rows of a printed table."""
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    assert len({len(row) for row in rows}) == 1
    return rows
