"""The command ``fermiac doctor``: its report, its JSON, its exit code."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from commands_help import Captured

import fermiac as fm
from fermiac.cli import doctor as module
from fermiac.cli import main
from fermiac.cli.self_test import CHECKS, Outcome

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test has tests of its own."""
    monkeypatch.setattr(module, "run", lambda name: Outcome(name, True, "one is 1, known 1", 0.5))
    for name in module._VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_report(capsys: Captured) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"fermiac {fm.__version__}, in {Path(fm.__file__).parent}\n")
    assert f"instruction-set level {fm.isa_level()} " in out
    assert f"{fm.get_num_threads()} threads by default" in out
    for name in CHECKS:
        assert re.search(rf"^  {name} +ok +0\.50 s  one is 1, known 1$", out, re.M)
    assert out.endswith("No problem was found.\n")


def test_the_same_as_json(capsys: Captured) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["fermiac"] == fm.__version__
    assert report["packages"]["numpy"]["version"]
    assert report["problems"] == []
    assert {test["name"] for test in report["self_test"]} == CHECKS.keys()
    assert main(["doctor", "--json", "--no-test"]) == 0
    assert json.loads(capsys.readouterr().out)["self_test"] == []


def test_problems_have_an_exit_code(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run", lambda name: Outcome(name, name != "mcmc", "bad", 0.0))
    monkeypatch.setenv("FERMIAC_NUM_THREADS", "many")
    versions = {"numpy": "1.26.4", "scipy": None, "torch": "2.3.1+cpu"}
    monkeypatch.setattr(module, "_version", versions.get)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "  FERMIAC_NUM_THREADS=many\n" in out
    assert "  mcmc        WRONG" in out
    assert "arviz       not installed (pip install 'fermiac[arviz]')" in out
    assert "igraph      not installed (pip install igraph)" in out
    found = out.partition("5 problems:\n")[2].splitlines()
    starts = ("FERMIAC_NUM_THREADS: 'many'", "numpy 1.26.4 is too old", "scipy is not installed",
              "torch 2.3.1+cpu is too old", "self-test of mcmc: bad")  # fmt: skip
    assert [line.strip().startswith(start) for line, start in zip(found, starts, strict=True)]
    assert main(["doctor", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 5


@pytest.mark.parametrize(
    ("text", "numbers"), [("2.0", (2, 0)), ("2.4.1+cpu", (2, 4, 1)), ("1.0.0rc1", (1, 0, 0))]
)
def test_numbers_of_versions(text: str, numbers: tuple[int, ...]) -> None:
    assert module._numbers(text) == numbers


@pytest.mark.skipif(not PROJECT.exists(), reason="an installed package has no pyproject.toml")
def test_the_packages_are_those_of_the_project() -> None:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    needed = dict(line.split(">=") for line in project["dependencies"])
    assert needed == module.NEEDED
    extras = project["optional-dependencies"]
    for name, (extra, least) in module.OPTIONAL.items():
        if extra:
            lines = [line.replace("[distributed]", "") for line in extras[extra]]
            assert f"{name}>={least}" in lines
