"""Progress bars of long calls: by tqdm where it is installed, else one line of text."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from fermiac._base.validate import shown
from fermiac.errors import ArgumentError

__all__ = ["annotate", "check_progress", "finish", "reporter"]

Report = Callable[[int, int], object]

#: The time in seconds after which a bar appears.
_DELAY = 1.0
#: The files that code is in while it is timed, by %timeit of IPython and by the module timeit.
_TIMED = ("<magic-timeit>", "<timeit-src>")


class _Bar:
    """A callback (done, total) that draws a bar.

    Unless the user asked for a bar, code that is being timed draws none.
    """

    def __init__(self, label: str, unit: str, asked: bool = True) -> None:
        self._label, self._unit, self._asked = label, unit, asked
        self._start = time.monotonic()
        self._bar: Any = None
        self._plain = False
        self._silent = False
        self.note = ""

    def __call__(self, done: int, total: int) -> None:
        if self._silent:
            return
        if self._bar is None and not self._plain:
            if time.monotonic() - self._start < _DELAY:
                return
            if not self._asked and _is_timed():
                self._silent = True
                return
            tqdm = _tqdm()
            if tqdm is None:
                self._plain = True
            else:
                self._bar = tqdm(total=total, desc=self._label, unit=self._unit, unit_scale=True)
        if self._bar is not None:
            if self.note:
                self._bar.set_postfix_str(self.note, refresh=False)
            self._bar.total = total  # some methods only estimate it
            self._bar.update(done - self._bar.n)
        elif _is_watched():
            share = 100 * done // max(total, 1)
            note = f", {self.note}" if self.note else ""
            sys.stderr.write(f"\r{self._label}: {share} % of {total} {self._unit}{note}\x1b[K")
            sys.stderr.flush()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._plain and _is_watched():
            sys.stderr.write("\n")


def check_progress(progress: object) -> None:
    """Refuse what is no setting of the progress."""
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise ArgumentError(
            f"progress: {shown(progress)} given; it must be True, False, None or a callable that "
            "takes (done, total)"
        )


@contextmanager
def reporter(progress: bool | Report | None, label: str, unit: str) -> Iterator[Report | None]:
    """Give the callback of a call: the user's, a bar, or None.

    ``progress=None`` shows a bar on a terminal and in a notebook only, ``True`` always, ``False``
    never.
    """
    asked = progress is not None
    if progress is None:
        progress = _is_watched()
    if not isinstance(progress, bool):
        yield progress
    elif progress:
        bar = _Bar(label, unit, asked)
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield None


def _is_watched() -> bool:
    """Return whether the output is visible: on a terminal, or in a notebook."""
    # A program without a console has no sys.stderr.
    return sys.stderr is not None and (sys.stderr.isatty() or _is_in_notebook())


def _is_in_notebook() -> bool:
    """Return whether the process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _is_timed() -> bool:
    """Return whether %timeit or timeit makes the call; its bars would pile up."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename in _TIMED:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _tqdm() -> Any:
    """Return the class of the bars of tqdm, or None if it is not installed."""
    # Without ipywidgets, tqdm.auto warns in a notebook, and takes the bar of text itself.
    plain = _is_in_notebook() and find_spec("ipywidgets") is None
    try:
        return importlib.import_module("tqdm" if plain else "tqdm.auto").tqdm
    except ImportError:
        return None


def annotate(report: Report | None, note: str) -> None:
    """Set the text that a bar shows behind its progress."""
    if isinstance(report, _Bar):
        report.note = note


def finish(report: Report | None, total: int, result: object) -> None:
    """Report the end of a call; an interrupt at this moment carries the whole result."""
    if report is not None:
        try:
            report(total, total)
        except KeyboardInterrupt as late:
            late.partial_result = result  # type: ignore[attr-defined]
            raise
