"""The import contract: packages import lower layers only, also inside functions and for typing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import fermiac

ROOT = Path(fermiac.__file__).parent
#: Packages by layer, from the lowest; a package may import from lower layers only.
LAYERS = [
    {"_core", "errors"},
    {"_base"},
    {"random", "special"},
    {"distributions"},
    {"targets"},
    {"diagnostics"},
    {"results"},
    {"runs"},
    {
        "design",
        "evaluate",
        "importance",
        "mcmc",
        "nested",
        "privacy",
        "resample",
        "sbi",
        "score",
        "walks",
    },
    {"plotting"},
    {"cli"},
]
LEVEL = {package: level for level, layer in enumerate(LAYERS) for package in layer}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the package of every import of a file, including those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("fermiac."):
                yield node.lineno, name.split(".")[1]


def test_arrows_between_packages_point_down() -> None:
    wrong = []
    # The two files at the top may import everything.
    for path in sorted(ROOT.rglob("*.py")):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if own in ("__init__", "__main__"):
            continue
        wrong += [
            f"{path.relative_to(ROOT)}:{line} imports {package}"
            for line, package in imports(path)
            if package != own and LEVEL.get(package, len(LAYERS)) >= LEVEL[own]
        ]
    assert not wrong, "\n".join(wrong)


def test_every_package_has_a_layer() -> None:
    found = {path.parent.name for path in ROOT.glob("*/*.py*")} - {"__pycache__"}
    assert found <= LEVEL.keys()
