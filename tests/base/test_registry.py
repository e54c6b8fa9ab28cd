"""The registry of functions of higher layers: every registered name exists."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fermiac as fm
from fermiac._base import registry, store

ROOT = Path(fm.__file__).parent


def calls() -> set[tuple[str, str]]:
    """The groups and names of all calls of `registry.function` in the package."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "registry.function":
                group, name = map(ast.literal_eval, node.args)
                found.add((group, name))
    return found


def test_all_functions_that_results_call_exist() -> None:
    found = calls()
    assert len(found) > 15
    for group, name in sorted(found):
        assert callable(registry.function(group, name)), f"{group}: {name}"
    # Every plot that a method of a result draws is public.
    assert {name for group, name in found if group == "plotting"} <= set(fm.plotting.__all__)


def test_unknown_groups_and_names_are_errors() -> None:
    with pytest.raises(KeyError):
        registry.function("painting", "plot_trace")
    with pytest.raises(AttributeError):
        registry.function("plotting", "plot_nothing")


def test_all_domains_have_their_classes_known_to_files() -> None:
    registry.load_domains()
    for domain in ("importance", "mcmc", "nested", "privacy", "score", "walks"):
        assert f"fermiac.{domain}" in sys.modules
        assert any(
            kind.__module__.startswith(f"fermiac.{domain}.") for kind in store._KINDS.values()
        )


def test_a_fresh_process_loads_results_of_any_domain(tmp_path: Path) -> None:
    path = tmp_path / "posterior"
    fm.privacy.epsilon_posterior(40, 10, 10, 40).save(path)
    code = f"""
import sys, fermiac as fm
assert "fermiac.privacy" not in sys.modules
print(type(fm.load({str(path)!r})).__name__)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert shown.stdout == "EpsilonPosterior\n", shown.stderr
