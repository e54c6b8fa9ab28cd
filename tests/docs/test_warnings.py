"""The page on warnings explains every class of `fermiac.errors`."""

from __future__ import annotations

from pathlib import Path

import pytest

import fermiac as fm

PAGE = (Path(__file__).parents[2] / "docs" / "warnings.md").read_text(encoding="utf-8")
CLASSES = [getattr(fm.errors, name) for name in fm.errors.__all__]
WARNINGS = [kind for kind in CLASSES if issubclass(kind, Warning)]
ERRORS = [kind for kind in CLASSES if kind not in WARNINGS and kind is not fm.errors.FermiacError]


@pytest.mark.parametrize("kind", WARNINGS)
def test_warning_has_a_section_at_its_anchor(kind: type[fm.errors.FermiacWarning]) -> None:
    page, _, anchor = kind.anchor.partition("#")
    assert page == "warnings"
    assert f"\n({anchor})=\n## {kind.__name__}\n" in PAGE
    assert str(kind("what was seen")) == f"what was seen [docs: {kind.anchor}]"


@pytest.mark.parametrize("kind", ERRORS)
def test_error_has_a_row(kind: type[Exception]) -> None:
    assert f"\n| `{kind.__name__}` | " in PAGE
