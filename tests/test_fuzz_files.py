"""The fuzzer of files: some damaged files of the kinds whose indices reach the core or SciPy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "fuzz" / "files.py"
CASES = "WalkResult,checkpoint of nested,checkpoint of walk,folder"


def test_damaged_files_are_refused_or_loaded() -> None:
    command = [sys.executable, str(SCRIPT), "--n", "80", "--seed", "5", "--cases", CASES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "80 files" in done.stdout
    assert "refused" in done.stdout
