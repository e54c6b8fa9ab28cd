"""The scripts for users of other libraries run; each compares its results with known answers."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples" / "coming_from").glob("*.py"))
#: What a script cannot run without.
NEEDS = {
    "networkx_graphs": ["networkx"],
    "openturns": ["scipy"],
    "pandas_scipy": ["pandas", "scipy"],
    "privacy_auditing": ["scipy"],
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_agrees_with_the_known_answers(
    script: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in NEEDS.get(script.stem, []):
        pytest.importorskip(module)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    assert "±" in capsys.readouterr().out


def test_each_background_has_a_script_that_is_short_and_linked() -> None:
    assert len(SCRIPTS) == 6
    page = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"examples/coming_from/(\w+)\.py", page))
    assert linked == {path.stem for path in SCRIPTS}
    for path in SCRIPTS:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 75, path.name
