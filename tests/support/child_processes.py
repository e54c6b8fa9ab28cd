"""Child processes that run a piece of Python."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap


def child(code: str, **environment: str) -> subprocess.Popen[str]:
    """A process that imports what this one can import, the helpers of the tests too."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


def output(process: subprocess.Popen[str], timeout: float = 60) -> list[str]:
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return out.split()
