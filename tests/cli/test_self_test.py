"""The self-test: it covers every domain, passes here, and finds what is wrong."""

from __future__ import annotations

import pytest

import fermiac
from fermiac.cli import self_test
from fermiac.cli.self_test import CHECKS, Answer, run


@pytest.mark.parametrize("name", CHECKS)
def test_answers_are_known(name: str) -> None:
    outcome = run(name)
    assert outcome.ok, outcome.text
    assert outcome.name == name
    assert "known" in outcome.text
    assert 0 <= outcome.seconds < 30


def test_every_domain_is_covered() -> None:
    assert set(fermiac._DOMAINS) <= CHECKS.keys()


def test_answers_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> list[Answer]:
        return [Answer("one", 1.0, 1.0, 0.0), Answer("two", 2.5, 2.0, 0.25)]

    def fails() -> list[Answer]:
        raise OSError("no room\nand more")

    monkeypatch.setitem(self_test.CHECKS, "wrong", wrong)
    monkeypatch.setitem(self_test.CHECKS, "fails", fails)
    assert run("wrong")[:3] == ("wrong", False, "two is 2.5, known 2 (within 0.25)")
    assert run("fails")[:3] == ("fails", False, "OSError: no room")
    assert not Answer("none", float("nan"), 1.0, 1.0).is_right
