"""Tests of the programs in fuzz/: they run, and find what was planted."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs fork")
ROOT = Path(__file__).resolve().parent.parent

PLANTED = '''
    """Functions with faults."""

    import itertools, os
    import numpy as np

    __all__ = ["crashes", "drops", "leaks", "never_ends", "sound"]


    def sound(x, f=None):
        """The sum.

        Parameters
        ----------
        x : array

        Examples
        --------
        >>> sound([1.0, 2.0], f=lambda y: y)
        3.0
        """
        if type(x) is not list or not all(type(v) is float for v in x):
            raise OSError("no list of floats")
        if type(f) is type(sound):
            f(x)
        return sum(x)


    def leaks(n):
        """An attribute.

        Examples
        --------
        >>> leaks(1)
        1
        """
        return n.real


    def crashes(n):
        """One more.

        Examples
        --------
        >>> crashes(1)
        2
        """
        if type(n) is int:
            if n < 0:
                os.abort()
            return n + 1


    def drops(x):
        """The real part.

        Examples
        --------
        >>> drops(np.ones(2)).shape
        (2,)
        """
        if type(x) is np.ndarray and x.dtype.kind == "c":
            return x.real
        return np.ones(2)


    def never_ends(n):
        """One.

        Examples
        --------
        >>> never_ends(1)
        1
        """
        while isinstance(n, str):
            try:
                while True:
                    pass
            except KeyboardInterrupt:
                continue
        return 1
'''


def fuzz(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    paths = [str(path)] if path else []
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*paths, str(ROOT / "python")])},
    )


def test_calls_find_what_was_planted(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(textwrap.dedent(PLANTED), encoding="utf-8")
    options = ["--package", "planted", "--n", "200", "--limit", "0.05", "--hang", "0.3"]
    ended = fuzz("fuzz/calls.py", *options, path=tmp_path)
    assert ended.returncode == 1, ended.stderr
    lines = ended.stdout.splitlines()
    found = {line.split(":")[0] for line in lines if " at planted." in line}
    assert "crash SIGABRT at planted.crashes" in found
    assert "hang  at planted.never_ends" in found
    assert "accepted  at planted.drops" in found
    at = next(
        i for i, s in enumerate(lines) if s.startswith("foreign AttributeError at planted.py")
    )
    assert "sound" not in ended.stdout
    # A replay is the same call.
    word = lines[at + 3].split()[-1]
    again = fuzz("fuzz/calls.py", "--package", "planted", "--replay", word, path=tmp_path)
    assert again.returncode == 1
    assert "AttributeError" in again.stderr


def test_kills_compare_all_bits() -> None:
    ended = fuzz("fuzz/kills.py", "--n", "1", "--only", "mcmc mala", "--seconds", "20")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    kills, _, resumed, same = map(int, ended.stdout.splitlines()[-1].split()[1:])
    assert kills >= 1
    assert resumed == same


def test_processes_are_judged() -> None:
    ended = fuzz("fuzz/processes.py", "--only", "free_threaded")
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.startswith("free_threaded")
