"""Progress bars of long calls: tqdm where it is installed, else one line on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fermiac._base.validate import shown
from fermiac.errors import ArgumentError

__all__ = ["annotate", "finish", "reporter"]

Report = Callable[[int, int], object]

#: The time in seconds after which a bar appears.
_DELAY = 1.0


class _Bar:
    """A callback (done, total) that draws a bar."""

    def __init__(self, label: str, unit: str) -> None:
        self._label, self._unit = label, unit
        self._start = time.monotonic()
        self._bar: Any = None
        self._plain = False
        self.note = ""

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None and not self._plain:
            if time.monotonic() - self._start < _DELAY:
                return
            try:
                from tqdm.auto import tqdm
            except ImportError:
                self._plain = True
            else:
                self._bar = tqdm(total=total, desc=self._label, unit=self._unit, unit_scale=True)
        if self._bar is not None:
            if self.note:
                self._bar.set_postfix_str(self.note, refresh=False)
            self._bar.total = total  # some methods only estimate it
            self._bar.update(done - self._bar.n)
        elif sys.stderr.isatty():
            share = 100 * done // max(total, 1)
            note = f", {self.note}" if self.note else ""
            sys.stderr.write(f"\r{self._label}: {share} % of {total} {self._unit}{note}\x1b[K")
            sys.stderr.flush()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._plain and sys.stderr.isatty():
            sys.stderr.write("\n")


@contextmanager
def reporter(progress: bool | Report | None, label: str, unit: str) -> Iterator[Report | None]:
    """Give the callback of a call: the user's, a bar, or None.

    ``progress=None`` shows a bar on a terminal only, ``True`` always, ``False`` never.
    """
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise ArgumentError(
            f"progress: {shown(progress)} given; it must be True, False, None or a callable that "
            "takes (done, total)"
        )
    if progress is None:
        progress = sys.stderr.isatty()
    if not isinstance(progress, bool):
        yield progress
    elif progress:
        bar = _Bar(label, unit)
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield None


def annotate(report: Report | None, note: str) -> None:
    """Set the text that a bar shows behind its progress."""
    if isinstance(report, _Bar):
        report.note = note


def finish(report: Report | None, total: int, result: object) -> None:
    """Report the end of a call; an interrupt at this point carries the whole result."""
    if report is not None:
        try:
            report(total, total)
        except KeyboardInterrupt as late:
            late.partial_result = result  # type: ignore[attr-defined]
            raise
