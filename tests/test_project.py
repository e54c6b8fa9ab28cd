"""The metadata of the project: versions, addresses, keywords and extras that agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import fermiac as fm

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="the files of the project are not here"
)
#: The extras of developers; all others are for users.
OF_DEVELOPERS = {"cluster", "test", "demo", "bench", "dev", "docs", "bridges"}


def project() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)["project"]
    return found


def citation() -> str:
    return (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_citation_is_of_this_version() -> None:
    assert f"\nversion: {fm.__version__}\n" in citation()
    for name in ("title", "abstract", "authors", "license", "url", "repository-code"):
        assert f"\n{name}:" in citation()


def test_keywords_are_the_same_in_both_files() -> None:
    listed = re.findall(r'^  - "(.+)"$', citation().partition("\nkeywords:\n")[2], re.M)
    assert listed == project()["keywords"]
    assert listed == sorted(listed, key=str.lower)


def test_addresses_begin_alike() -> None:
    urls = project()["urls"]
    address = urls["Homepage"]
    assert all(url.startswith(address) for url in urls.values())
    assert re.findall(r'^(?:url|repository-code): "(.+)"$', citation(), re.M) == [address] * 2
    workflow = ROOT / ".github/workflows/release.yml"
    if workflow.exists():  # not part of source distributions
        assert f"\n  PLACEHOLDER: {address}\n" in workflow.read_text(encoding="utf-8")


def test_all_has_every_extra_for_users() -> None:
    extras = project()["optional-dependencies"]
    (everything,) = extras["all"]
    match = re.fullmatch(r"fermiac\[(.+)\]", everything)
    assert match is not None
    assert match[1].split(",") == sorted(extras.keys() - OF_DEVELOPERS - {"all"})
    others = [line for name, lines in extras.items() if name != "all" for line in lines]
    assert not any(line.startswith("fermiac[") for line in others)
