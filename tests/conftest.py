"""Fixtures and settings that all tests share."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import site
import tempfile
from pathlib import Path

#: Homes, and where libraries keep files of a user: settings, fonts, compiled code, stamps.
HOMES = {
    "HOME": "",
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "IPYTHONDIR": ".ipython",
    "JUPYTER_CONFIG_DIR": ".jupyter",
    "MPLCONFIGDIR": ".cache/matplotlib",
    "NUMBA_CACHE_DIR": ".cache/numba",
    "DASK_CONFIG": ".config/dask",
}


def _new_home() -> None:
    """Give this process and its children a home of their own, which is removed at the end.

    Processes of pytest-xdist are children of the first one and share its home. Packages that pip
    has installed into the home of the user stay where they are.
    """
    if os.path.isdir(os.environ.get("FERMIAC_TEST_HOME", "")):
        return
    home = Path(tempfile.mkdtemp(prefix="fermiac-tests-"))
    os.environ |= {"FERMIAC_TEST_HOME": str(home), "PYTHONUSERBASE": site.getuserbase()}
    for name, folder in HOMES.items():
        (home / folder).mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(home / folder)
    owner = os.getpid()
    atexit.register(lambda: owner == os.getpid() and shutil.rmtree(home, ignore_errors=True))


_new_home()  # before a library is imported that looks for its files

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

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
