"""Calls in child processes, which may crash, hang or run out of memory without harm.

A child is a fork, so it has everything that the parent made. It notes the number of each job in
shared memory before it begins, so that the parent knows which job a dead child was at.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["GIB", "Dead", "limit_memory", "run_jobs", "silenced"]

# No window for pictures.
os.environ.setdefault("MPLBACKEND", "Agg")

GIB = 2**30
_NOTE = struct.Struct("<qd")

#: A death of a child: the number of the job, "crash" or "hang", and what was said about it.
Dead = tuple[int, str, str]


def _address_space() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def limit_memory(memory: int) -> None:
    """Let this process allocate that many bytes more, write no core and no large file."""
    if used := _address_space():
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (GIB // 4, GIB // 4))


def silenced(errors: Path) -> None:
    """Send what this process prints to nowhere, and its errors, with crashes, to a file."""
    stderr = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(stderr, 2)
    faulthandler.enable(2)


def _last_lines(path: Path) -> str:
    """The lines of a standard error that tell most: a panic, an abort, the innermost frames."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    telling = ("panicked", "FATAL", "Fatal", "memory allocation", "Error", "File")
    told = [
        line.strip() for line in lines if line.lstrip().startswith(telling) or telling[0] in line
    ]
    return " | ".join(told[:4] or [line.strip() for line in lines[-3:]])


def run_jobs(
    jobs: Sequence[Any],
    call: Callable[[Any], dict[str, Any] | None],
    *,
    memory: int,
    hang: float,
    until: float,
) -> tuple[int, list[dict[str, Any]], list[Dead]]:
    """Run jobs in one child after another, a new one after each death.

    Parameters
    ----------
    jobs : sequence
        The arguments of `call`, one by one. Results other than None are written as JSON.
    call : callable
        Runs one job.
    memory : int
        Bytes that a child may allocate beyond what the parent has.
    hang : float
        Seconds after which a job hangs, and its child is killed.
    until : float
        The time (of `time.monotonic`) at which no further job begins.

    Returns
    -------
    tuple
        How many jobs were run, what they returned, and the deaths.
    """
    records: list[dict[str, Any]] = []
    deaths: list[Dead] = []
    first = 0
    while first < len(jobs) and time.monotonic() < until:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            done, status = _one_child(jobs, first, call, folder, memory, hang, until)
            written = folder / "records"
            if written.exists():
                lines = written.read_text(encoding="utf-8").splitlines()
                records += [json.loads(line) for line in lines if line.endswith("}")]
            if status:
                deaths.append((done - 1, *status, _last_lines(folder / "stderr")))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        first = done
    return first, records, deaths


def _one_child(
    jobs: Sequence[Any],
    first: int,
    call: Callable[[Any], dict[str, Any] | None],
    folder: Path,
    memory: int,
    hang: float,
    until: float,
) -> tuple[int, tuple[str] | None]:
    note = mmap.mmap(-1, _NOTE.size)
    note[:] = _NOTE.pack(first, time.monotonic())
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(jobs, first, call, folder, memory, until, note)
    status = None
    kind = ""
    while status is None:
        time.sleep(0.02)
        ended, code = os.waitpid(pid, os.WNOHANG)
        number, begun = _NOTE.unpack(note[:])
        if ended:
            status = code
        elif time.monotonic() - begun > hang and not kind:
            kind = "hang"
            os.kill(pid, signal.SIGABRT)  # faulthandler writes where it stands
        elif time.monotonic() - begun > hang + 5:
            os.kill(pid, signal.SIGKILL)
    number, _ = _NOTE.unpack(note[:])
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return number, None
    if not kind:
        code = os.waitstatus_to_exitcode(status)
        kind = f"crash ({signal.Signals(-code).name if code < 0 else f'exit {code}'})"
    return number + 1, (kind,)


def _child(
    jobs: Sequence[Any],
    first: int,
    call: Callable[[Any], dict[str, Any] | None],
    folder: Path,
    memory: int,
    until: float,
    note: mmap.mmap,
) -> None:
    """Run jobs and leave the process, without the parent's handlers at exit."""
    code = 9
    try:
        silenced(folder / "stderr")
        (folder / "work").mkdir()
        os.chdir(folder / "work")
        limit_memory(memory)
        with open(folder / "records", "w", encoding="utf-8", buffering=1) as out:
            for number in range(first, len(jobs)):
                note[:] = _NOTE.pack(number, time.monotonic())
                if time.monotonic() > until:
                    break
                record = call(jobs[number])
                if record is not None:
                    out.write(json.dumps(record) + "\n")
            else:
                note[:] = _NOTE.pack(len(jobs), time.monotonic())
        code = 0
    except BaseException:
        traceback.print_exc(file=open(2, "w", closefd=False))
    finally:
        os._exit(code)
