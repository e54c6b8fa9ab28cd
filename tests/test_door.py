"""Panics of the core: every binding turns them into exceptions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BINDINGS = HERE.parent / "rust" / "fermiac-py" / "src"
EXPORTED = re.compile(r"^ *#\[(pyfunction|pymethods)\b", re.MULTILINE)


def test_every_binding_has_the_door() -> None:
    n_seen = 0
    for source in BINDINGS.rglob("*.rs"):
        text = source.read_text(encoding="utf-8")
        for found in EXPORTED.finditer(text):
            before = text[: found.start()].rstrip().rpartition("\n")[2].strip()
            line = text.count("\n", 0, found.start()) + 1
            assert before == "#[door]", f"{source.relative_to(BINDINGS)}:{line}"
            n_seen += 1
    assert n_seen > 60


@pytest.mark.skipif(os.name != "posix", reason="forks, limits and timers of POSIX are needed")
def test_hostile_arguments_raise_exceptions_and_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, HERE / "support" / "hostile.py"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    *found, last = done.stdout.splitlines()
    assert not found
    assert int(last.split()[0]) > 180
