"""Fixtures and settings that all tests share."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# The same examples on every run and machine, without a deadline, for busy machines.
settings.register_profile("fermiac", derandomize=True, deadline=None, database=None)
settings.load_profile("fermiac")


# Ctrl-C is ignored by what a shell starts in the background, and by all that this starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Helpers without tests.
collect_ignore = ["support"]


@pytest.fixture(scope="session")
def thread_counts() -> tuple[int, ...]:
    """Numbers of threads for which every result must have the same bits."""
    return (1, 2, 3, 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore convergence warnings of the short chains in tests of mcmc."""
    short = pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
    for item in items:
        if item.path.parent.name == "mcmc":
            item.add_marker(short)
