"""The command ``fermiac doctor``: versions, threads, optional packages, and a self-test."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fermiac import _core
from fermiac._base.config import get_num_threads
from fermiac.cli.self_test import CHECKS, run
from fermiac.errors import FermiacError

__all__ = ["NEEDED", "OPTIONAL", "doctor"]

#: The packages that fermiac needs, with the least version.
NEEDED = {"numpy": "2.0", "scipy": "1.13"}
#: The packages that fermiac uses where they are installed: the extra that has them, if there is
#: one, and the least version.
OPTIONAL = {
    "arviz": ("arviz", "0.20"),
    "cffi": ("", ""),
    "dask": ("distributed", "2024.8"),
    "dynesty": ("", "3.0"),
    "igraph": ("", ""),
    "matplotlib": ("plot", "3.9"),
    "networkx": ("", ""),
    "numba": ("", "0.61"),
    "pandas": ("dataframe", "2.2"),
    "polars": ("", ""),
    "torch": ("torch", "2.4"),
    "tqdm": ("progress", "4.66"),
}
_VARIABLES = ("FERMIAC_NUM_THREADS", "RAYON_NUM_THREADS", "FERMIAC_ISA")


def doctor(options: argparse.Namespace) -> int:
    """Print a report on this installation, and return the exit code: 0 if all is well, else 1."""
    report = _report()
    if not options.json:
        _print_installation(report)
    report["self_test"] = tests = []
    if not options.no_test:
        if not options.json:
            print("self-test")
        for name in CHECKS:
            outcome = run(name)
            tests.append(outcome._asdict())
            if not outcome.ok:
                report["problems"].append(f"self-test of {name}: {outcome.text}")
            if not options.json:
                word = "ok" if outcome.ok else "WRONG"
                print(f"  {name:<11} {word:<6} {outcome.seconds:5.2f} s  {outcome.text}")
    problems: list[str] = report["problems"]
    if options.json:
        print(json.dumps(report, indent=2))
    elif problems:
        print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}:")
        for problem in problems:
            print(f"  {problem}")
    else:
        print("No problem was found.")
    return 1 if problems else 0


def _report() -> dict[str, Any]:
    """Return the facts that need no computation."""
    problems: list[str] = []
    try:
        n_threads = get_num_threads()
    except FermiacError as error:
        n_threads = 1
        problems.append(str(error))
    packages = {}
    for name, (extra, least) in {**{n: ("", v) for n, v in NEEDED.items()}, **OPTIONAL}.items():
        found = _version(name)
        packages[name] = {"version": found, "extra": extra, "at_least": least}
        if found is None and name in NEEDED:
            problems.append(f"{name} is not installed: pip install '{name}>={least}'")
        elif found is not None and least and _numbers(found) < _numbers(least):
            problems.append(
                f"{name} {found} is too old: pip install '{name}>={least}' (or remove it)"
            )
    return {
        "fermiac": _core.__version__,
        "path": str(Path(_core.__file__).parent),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "isa_level": _core.isa_level,
        "isa_levels": list(_core.isa_levels),
        "n_threads": n_threads,
        "n_cpus": os.cpu_count(),
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "packages": packages,
        "problems": problems,
    }


def _print_installation(report: dict[str, Any]) -> None:
    print(f"fermiac {report['fermiac']}, in {report['path']}")
    gil = "" if report["gil"] else ", without the GIL"
    print(f"  {report['implementation']} {report['python']}{gil} on {report['platform']}")
    levels = ", ".join(report["isa_levels"])
    print(f"  instruction-set level {report['isa_level']} (this build has {levels})")
    print(f"  {report['n_threads']} threads by default, {report['n_cpus']} CPUs")
    for name, value in report["environment"].items():
        print(f"  {name}={value}")
    print("packages")
    for name, entry in report["packages"].items():
        word = entry["version"]
        if word is None:
            extra = entry["extra"]
            word = "not installed"
            word += f" (pip install 'fermiac[{extra}]')" if extra else f" (pip install {name})"
        print(f"  {name:<11} {word}")


def _version(name: str) -> str | None:
    """Return the version of a package, without importing it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """Return the first numbers of a version."""
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0])[:3])
