"""Check of the stubs of the compiled module by stubtest.

Each folder of bindings has its own stub. They are joined into one file first, since stubtest takes
imported names for those of another module.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def joined() -> str:
    """Return all stubs in one text, without their imports from each other."""
    lines: dict[str, None] = {}
    for path in sorted((ROOT / "python/fermiac/_core").glob("*.pyi")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fermiac")):
                lines[ast.unparse(node)] = None  # several stubs have the same type aliases
    return "\n".join(lines)


def main() -> int:
    """Run stubtest, and return its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "fermiac"
        package.mkdir()
        (package / "__init__.pyi").touch()
        (package / "_core.pyi").write_text(joined(), encoding="utf-8")
        settings = Path(folder) / "mypy.ini"
        settings.write_text("[mypy]\n")
        command = [sys.executable, "-m", "mypy.stubtest", "--mypy-config-file", settings]
        return subprocess.run(
            [*command, "fermiac._core"], env={**os.environ, "MYPYPATH": folder}, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
