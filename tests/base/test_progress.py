"""Progress of calls: bars, plain lines, callbacks of users, interrupts at the end."""

from __future__ import annotations

import io
import sys
import timeit
from types import SimpleNamespace
from typing import Any

import pytest

import fermiac as fm
from fermiac._base import progress
from fermiac.errors import ArgumentError


class Terminal(io.StringIO):
    """A text stream that claims to be a terminal."""

    is_one = True

    def isatty(self) -> bool:
        return self.is_one


class FakeTqdm:
    """A bar that records its calls."""

    made: list[FakeTqdm] = []  # noqa: RUF012  # cleared by the fixture

    def __init__(self, total: int, **options: Any) -> None:
        self.total, self.options, self.n, self.note, self.closed = total, options, 0, "", False
        self.made.append(self)

    def update(self, n: int) -> None:
        self.n += n

    def set_postfix_str(self, note: str, refresh: bool) -> None:
        self.note = note

    def close(self) -> None:
        self.closed = True


class TextTqdm(FakeTqdm):
    """The bar of text."""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    # The stream of the process itself is exchanged by pytest before each test.
    own = SimpleNamespace(stderr=stream, modules=sys.modules, _getframe=sys._getframe)
    monkeypatch.setattr(progress, "sys", own)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr(progress, "_DELAY", 0.0)
    return stream


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[FakeTqdm]:
    FakeTqdm.made.clear()
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(auto=None, tqdm=TextTqdm))
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=FakeTqdm))
    return FakeTqdm.made


@pytest.fixture
def _no_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tqdm", "tqdm.auto"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]


def test_callbacks_of_users_are_passed_on() -> None:
    def mine(done: int, total: int) -> None: ...

    with progress.reporter(mine, "label", "draws") as report:
        assert report is mine


@pytest.mark.parametrize("bad", [1, "yes", 0.5, [True]])
def test_what_is_no_progress(bad: Any) -> None:
    with pytest.raises(
        ArgumentError, match=r"progress: .* given; it must be True, False, None or a"
    ):
        fm.Plan(progress=bad)


def test_bars_only_on_terminals_by_default(terminal: Terminal) -> None:
    with progress.reporter(None, "label", "draws") as report:
        assert report is not None
    with progress.reporter(False, "label", "draws") as report:
        assert report is None
    terminal.is_one = False
    with progress.reporter(None, "label", "draws") as report:
        assert report is None
    with progress.reporter(True, "label", "draws") as report:
        assert report is not None


def test_a_bar_follows_the_work(terminal: Terminal, bars: list[FakeTqdm]) -> None:
    with progress.reporter(True, "sampling", "draws") as report:
        assert report is not None
        report(10, 100)
        progress.annotate(report, "R-hat 1.02")
        report(60, 120)
        (bar,) = bars
        assert bar.options["desc"] == "sampling"
        assert bar.options["unit"] == "draws"
        assert (bar.n, bar.total, bar.note) == (60, 120, "R-hat 1.02")
        assert not bar.closed
    assert bar.closed


def test_short_calls_show_nothing(
    terminal: Terminal, bars: list[FakeTqdm], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_DELAY", 1e6)
    with progress.reporter(True, "label", "draws") as report:
        assert report is not None
        report(1, 2)
    assert not bars
    assert not terminal.getvalue()


@pytest.mark.usefixtures("_no_tqdm")
def test_without_tqdm_there_is_one_line(terminal: Terminal) -> None:
    with progress.reporter(True, "sampling", "draws") as report:
        assert report is not None
        report(1, 3)
        progress.annotate(report, "τ 12")
        report(3, 3)
        report(0, 0)
    lines = terminal.getvalue().split("\r")
    assert lines[1:] == [
        "sampling: 33 % of 3 draws\x1b[K",
        "sampling: 100 % of 3 draws, τ 12\x1b[K",
        "sampling: 0 % of 0 draws, τ 12\x1b[K\n",
    ]


def test_notes_are_for_bars_alone() -> None:
    progress.annotate(None, "note")
    progress.annotate(print, "note")


def test_the_last_report_carries_the_result_of_an_interrupt() -> None:
    seen = []
    progress.finish(lambda done, total: seen.append((done, total)), 7, "result")
    assert seen == [(7, 7)]
    progress.finish(None, 7, "result")

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        progress.finish(interrupted, 7, "result")
    assert caught.value.partial_result == "result"  # type: ignore[attr-defined]


@pytest.fixture
def notebook(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A stream that is no terminal, in the kernel of a notebook."""
    monkeypatch.setattr(terminal, "is_one", False, raising=False)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    return terminal


def work() -> None:
    with progress.reporter(None, "sampling", "draws") as report:
        if report is not None:
            for done in (1, 2, 3):
                report(done, 3)


@pytest.mark.usefixtures("notebook")
def test_notebooks_have_bars(bars: list[FakeTqdm]) -> None:
    work()
    assert [(bar.n, bar.closed) for bar in bars] == [(3, True)]


@pytest.mark.usefixtures("_no_tqdm")
def test_notebooks_without_tqdm_have_a_line(notebook: Terminal) -> None:
    work()
    assert notebook.getvalue().endswith("\rsampling: 100 % of 3 draws\x1b[K\n")


@pytest.mark.usefixtures("notebook", "bars")
@pytest.mark.parametrize("there", [True, False])
def test_bars_of_notebooks_need_ipywidgets(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(progress, "find_spec", lambda name: there or None)
    assert progress._tqdm() is (FakeTqdm if there else TextTqdm)


@pytest.mark.usefixtures("terminal")
def test_timed_calls_have_no_bar_unless_it_is_asked_for(bars: list[FakeTqdm]) -> None:
    timeit.timeit(work, number=2)
    exec(compile("work()", "<magic-timeit>", "exec"), {"work": work})
    assert bars == []

    def asked() -> None:
        with progress.reporter(True, "sampling", "draws") as report:
            assert report is not None
            report(1, 1)

    timeit.timeit(asked, number=2)
    assert len(bars) == 2
    work()
    assert len(bars) == 3


def test_programs_without_a_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress.reporter(None, "sampling", "draws") as report:
        assert report is None
