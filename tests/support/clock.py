"""Waiting of tests for events, the only place of the tests that reads a clock or sleeps to wait.

A test says what it waits for. How long that takes is the machine's affair: one generous limit ends
a hang. What a call does meanwhile is counted in its work, by `steady` for instance.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

import fermiac as fm

T = TypeVar("T")
#: Seconds, below the limit of pytest for one test, so that the message is that of `until`.
LIMIT = 90.0


def until(event: Callable[[], T], what: str) -> T:
    """Return the first true value of a function that is asked again and again.

    Raises
    ------
    TimeoutError
        With what was awaited, if it has not come in `LIMIT` seconds.
    """
    end = time.monotonic() + LIMIT
    while not (value := event()):
        if time.monotonic() > end:
            raise TimeoutError(f"awaited for {LIMIT:g} s and not seen: {what}")
        time.sleep(0.002)
    return value


def steady(value: Callable[[], object]) -> bool:
    """Whether a value stays the same while another call works.

    The other call makes 32 reports of 4096 points, each a turn for all other threads. Whatever
    still runs gets on meanwhile, however slow the machine is.
    """
    before = value()

    def turn(x: np.ndarray) -> np.ndarray:
        time.sleep(0.002)
        return x[:, 0]

    law = fm.distributions.Normal()
    fm.importance.expect(
        turn, law, n=32 * 65_536, method="mc", plan=fm.Plan(n_threads=1), rng=0, check=False
    )
    return value() == before


@contextmanager
def ctrl_c(event: Callable[[], object], what: str) -> Iterator[None]:
    """Send a SIGINT to this process once something has come, while the block runs."""

    def press() -> None:
        until(event, what)
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        yield
    finally:
        pressing.join()


def some_moment(rng: random.Random, most: float) -> None:
    """Let a random time pass before a kill, which may come at any moment: no test relies on it."""
    time.sleep(rng.uniform(0.0, most))
