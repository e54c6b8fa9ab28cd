"""Hostile calls of every public callable.

A call is a valid one, recorded from the examples of the docstrings (`entries.py`), of which one or
two arguments are replaced by hostile values (`hostile.py`). It runs in a child process of limited
memory and time (`children.py`). It may return, or raise an exception of fermiac, a MemoryError, an
OSError, or an exception of the caller's own function. Everything else is a finding.

    python fuzz/calls.py --seconds 60
    python fuzz/calls.py --n 100000 --only walks
    python fuzz/calls.py --replay fermiac.walks.walk@17
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import random
import re
import signal
import sys
import time
import traceback
import types
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from children import GIB, run_jobs
from entries import Corpus, Recorded, corpus_of, fresh
from hostile import Planted, ReadForEver, evaluate, expressions, is_lossy, times_called

__all__ = ["SEVERE", "Caller", "campaign", "main", "report"]

#: Classes of findings, from the worst to the mildest.
CLASSES = {
    "crash": "the process died",
    "hang": "the call heard no signal",
    "panic": "a panic of Rust reached the caller",
    "internal": "InternalError, a defect by definition",
    "accepted": "complex, datetime or structured values were taken for numbers",
    "endless": "an endless iterable was read for ever",
    "recursion": "RecursionError",
    "foreign": "an exception that is not ours",
    "late": "the call heard a signal after more than 2 s",
}
#: Those that make the program fail.
SEVERE = ("crash", "hang", "panic", "internal")

#: Seconds after the signal at which a call is late.
_LATE = 2.0
_SIGNATURE = re.compile(
    r"unexpected keyword|required (positional|keyword-only) argument|positional arguments? but"
    r"|multiple values for|missing a required|too many positional"
)
#: Exceptions that a call may raise besides ours. ImportError names an optional dependency.
_ALLOWED = (MemoryError, OSError, ImportError, KeyboardInterrupt, Planted)
_HERE = str(Path(__file__).resolve().parent)


class Plan:
    """One call: the entry, its receiver and arguments, and which of them are hostile."""

    def __init__(self, corpus: Corpus, token: str) -> None:
        name, _, _ = token.partition("@")
        self.token = token
        self.entry = corpus.entries[name]
        choice = random.Random(token)
        call = self._base(corpus, choice)
        self.owner = call.owner
        self.arguments = call.arguments
        self.changes: dict[str, str] = {}
        kinds = {p.name: p.kind for p in self.entry.parameters}
        names = [p.name for p in self.entry.parameters]
        if len(call.arguments) > 1 and choice.random() < 0.04:
            a, b = choice.sample(sorted(call.arguments), 2)
            if kinds[a] == kinds[b]:
                values = self.arguments
                values[a], values[b] = values[b], values[a]
                self.changes = {a: f"<{b}>", b: f"<{a}>"}
                return
        # Arguments of the valid call are changed more often than defaults.
        weights = [3 if name in call.arguments else 1 for name in names]
        for name in dict.fromkeys(choice.choices(names, weights, k=1 + (choice.random() < 0.25))):
            self._change(name, kinds[name], choice)

    def _base(self, corpus: Corpus, choice: random.Random) -> Recorded:
        entry = self.entry
        if entry.calls:
            call = choice.choice(entry.calls)
            return Recorded(call.owner, dict(call.arguments))
        objects = corpus.objects.get(entry.class_name, [])
        owner = choice.choice(objects) if objects and entry.function is None else None
        arguments = {}
        for parameter in entry.parameters:
            optional = parameter.default is not inspect.Parameter.empty
            variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if not optional and not variadic:
                known = corpus.values.get(parameter.name)
                arguments[parameter.name] = choice.choice(known) if known else 1
        return Recorded(owner, arguments)

    def _change(self, name: str, kind: Any, choice: random.Random) -> None:
        value = self.arguments.get(name)
        if kind is inspect.Parameter.VAR_POSITIONAL:
            items = list(value or ())
            place = choice.randrange(len(items) + 1)
            items[place:] = [self._hostile(f"*{name}", [*items, None][place], choice)]
            self.arguments[name] = tuple(items)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            items = dict(value or {"other": None})
            key = choice.choice(sorted(items))
            items[key] = self._hostile(key, items[key], choice)
            self.arguments[name] = items
        else:
            self.arguments[name] = self._hostile(name, value, choice)

    def _hostile(self, name: str, value: Any, choice: random.Random) -> Any:
        common, derived = expressions(value)
        for _ in range(20):
            expression = choice.choice(derived if choice.random() < 0.5 else common)
            try:
                made = evaluate(expression, fresh(value))
            except Exception:
                continue  # it does not apply to this value
            self.changes[name] = expression
            return made
        self.changes[name] = "None"
        return None

    @property
    def lossy(self) -> bool:
        """Whether a number is replaced by one that can't be read without a loss."""
        if self.entry.name.rpartition(".")[2] in ("__eq__", "__contains__"):
            return False
        return any(is_lossy(expression) for expression in self.changes.values())

    def bound(self) -> inspect.BoundArguments:
        """The arguments as they are passed."""
        given = {
            p.name: fresh(self.arguments[p.name])
            for p in self.entry.parameters
            if p.name in self.arguments
        }
        return inspect.BoundArguments(inspect.Signature(self.entry.parameters), given)  # type: ignore[arg-type]

    def text(self) -> str:
        """The call as one can read it; V is the value of the example."""
        parts = []
        for name, value in self.arguments.items():
            changed = self.changes.get(name) or self.changes.get(f"*{name}")
            shown = changed or _shown(value)
            if changed and "V" in re.findall(r"\w+", changed):
                shown += " # V = " + _shown(self._valid(name))
            parts.append(f"{name}={shown}")
        return f"{self.entry.name}({', '.join(parts)})"

    def _valid(self, name: str) -> Any:
        values = [call.arguments[name] for call in self.entry.calls if name in call.arguments]
        return values[0] if values else None


def _shown(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except BaseException:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else f"{text[:57]}..."


class Caller:
    """Runs planned calls in this process, and judges what they do."""

    def __init__(self, package: types.ModuleType, corpus: Corpus, limit: float) -> None:
        self.package = package
        self.corpus = corpus
        self.limit = limit
        self.root = str(Path(package.__file__ or "").resolve().parent)
        errors = getattr(package, "errors", None)
        self.ours: type = getattr(errors, "FermiacError", Planted)
        self.internal: type = getattr(errors, "InternalError", ReadForEver)
        self._active = False
        self._rung = 0.0

    def _ring(self, *_: object) -> None:
        if self._active:
            self._rung = self._rung or time.monotonic()
            raise KeyboardInterrupt

    def __call__(self, token: str) -> dict[str, Any] | None:
        """Run one call; returns a finding, or None."""
        signal.signal(signal.SIGALRM, self._ring)
        try:
            plan = Plan(self.corpus, token)
        except Exception as error:
            return {"token": token, "class": "unplanned", "message": _shown(error)}
        found = self._run(plan)
        if found is None or not (plan.entry.documented or found["class"] in SEVERE):
            return None  # what a user does not call may trust its caller
        return {"token": token, "entry": plan.entry.name, "call": plan.text(), **found}

    def _run(self, plan: Plan) -> dict[str, Any] | None:
        self._rung, out, found = 0.0, None, None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                try:
                    self._active = True
                    signal.setitimer(signal.ITIMER_REAL, self.limit, 0.5)
                    given, before = plan.bound(), times_called()
                    out = plan.entry.bound(plan.owner)(*given.args, **given.kwargs)
                    returned = time.monotonic()
                    self._use(out, random.Random(plan.token))
                finally:
                    self._active = False
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except BaseException as error:
                returned = time.monotonic()
                found = self.judge(error)
            else:
                if plan.lossy and self._numeric(plan, times_called() > before + 1):
                    found = {"class": "accepted", "type": "", "message": "", "where": ""}
        if found is None and self._rung and returned - self._rung > _LATE:
            found = {"class": "late", "type": "", "message": "", "where": ""}
            found["message"] = f"{returned - self._rung:.1f} s after the signal"
        return found

    def _numeric(self, plan: Plan, called: bool) -> bool:
        """Whether what was made lossy was a number or an array, or a function and was called."""
        import numpy as np

        for name, expression in plan.changes.items():
            if not is_lossy(expression) or name in ("progress", "rng", "stop_when", "names"):
                continue
            for call in plan.entry.calls:
                value = call.arguments.get(name)
                if isinstance(value, (int, float, np.ndarray)) and not isinstance(value, bool):
                    return True
                if (
                    isinstance(value, (list, tuple))
                    and value
                    and isinstance(value[0], (int, float))
                ):
                    return True
                if callable(value) and called:
                    return True
        return False

    def _use(self, out: Any, choice: random.Random) -> None:
        """Read a result as a user would: its repr, and one property or method without arguments."""
        if hasattr(type(out), "abort"):
            out.abort()
            out.wait(1)
        path = type(out).__module__
        if path.partition(".")[0] != self.package.__name__:
            return
        repr(out)
        readable = [
            name
            for name in dir(type(out))
            if not name.startswith("_")
            and isinstance(inspect.getattr_static(type(out), name), property)
        ]
        for name in choice.sample(readable, min(2, len(readable))):
            getattr(out, name)

    def judge(self, error: BaseException) -> dict[str, Any] | None:
        """Return the finding for an exception, or None if the exception is allowed."""
        kind = ""
        if type(error).__name__ == "PanicException":
            kind = "panic"
        elif isinstance(error, self.internal):
            kind = "internal"
        elif isinstance(error, ReadForEver):
            kind = "endless"
        elif isinstance(error, (self.ours, *_ALLOWED)):
            return None
        elif self._is_users(error):
            return None
        elif isinstance(error, TypeError) and _SIGNATURE.search(str(error)):
            return None
        elif isinstance(error, RecursionError):
            kind = "recursion"
        else:
            kind = "foreign"
        try:
            message = " ".join(str(error).split())
        except BaseException:
            message = "<no message>"
        found = {"class": kind, "type": type(error).__name__, "message": message[:200]}
        return {**found, "where": self._where(error)}

    def _frames(self, error: BaseException) -> list[traceback.FrameSummary]:
        summary = traceback.StackSummary.extract(
            traceback.walk_tb(error.__traceback__), lookup_lines=False
        )
        return list(reversed(summary))

    def _is_users(self, error: BaseException) -> bool:
        """Whether the innermost frame that is the package's or the user's is the user's."""
        for frame in self._frames(error):
            if frame.filename.startswith(self.root):
                return False
            if frame.filename.startswith(("<doctest", "<string>", _HERE + "/hostile.py")):
                return True
        return False

    def _where(self, error: BaseException) -> str:
        for frame in self._frames(error):
            if frame.filename.startswith(self.root):
                return f"{os.path.relpath(frame.filename, self.root)}:{frame.lineno}"
        return ""


def _head(message: str) -> str:
    return re.sub(r"[\d.]+|0x\w+|'[^']*'|<[^>]*>", "*", message)[:60]


def campaign(
    caller: Caller,
    *,
    seconds: float,
    n: int,
    seed: int = 0,
    only: str = "",
    memory: int = 2 * GIB,
    hang: float = 20.0,
    batch: int = 300,
) -> tuple[int, list[dict[str, Any]]]:
    """Make calls until the time or the number is used up; returns their number and the findings."""
    names = [e.name for e in caller.corpus.callable_entries() if only in e.name]
    if not names:
        raise SystemExit(f"no public callable has {only!r} in its name")
    until = time.monotonic() + seconds
    calls, findings, turn = 0, [], seed
    waiting: list[str] = []
    while calls < n and time.monotonic() < until:
        while len(waiting) < batch:
            tokens = [f"{name}@{turn}" for name in names]
            random.Random(turn).shuffle(tokens)
            waiting += tokens
            turn += 1
        jobs = waiting[: min(batch, n - calls)]
        done, records, deaths = run_jobs(jobs, caller, memory=memory, hang=hang, until=until)
        waiting = waiting[max(done, 1) :]
        calls += done
        findings += records
        for number, kind, told in deaths:
            # A death is the call's own if it happens again in a child of its own.
            _, _, again = run_jobs(
                [jobs[number]], caller, memory=memory, hang=hang, until=until + 2 * hang
            )
            text = told if again else f"{told} (not alone: after {number} other calls)"
            findings.append(_death(caller, jobs[number], kind, text))
    return calls, findings


def _death(caller: Caller, token: str, kind: str, told: str) -> dict[str, Any]:
    plan = Plan(caller.corpus, token)
    name, _, detail = kind.partition(" ")
    return {
        "token": token,
        "entry": plan.entry.name,
        "call": plan.text(),
        "class": name,
        "type": detail.strip("()"),
        "message": told,
        "where": "",
    }


def report(calls: int, findings: list[dict[str, Any]], *, lines: int = 400) -> str:
    """The findings, one line for each class and site in the code, with a call to replay."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    callables: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    counts: Counter[tuple[str, str, str]] = Counter()
    distinct: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for finding in findings:
        kind = finding["class"]
        if kind not in CLASSES:
            continue
        site = finding["where"] or finding["entry"]
        key = (kind, finding["type"], site)
        found.setdefault(key, finding)
        callables[key].add(finding["entry"])
        counts[key] += 1
        distinct[kind].add((finding["entry"], finding["type"], _head(finding["message"])))
    out = [
        f"{calls} calls",
        "",
        f"{'class':<10} {'calls':>6} {'distinct':>8} {'sites':>6}  meaning",
    ]
    for kind, meaning in CLASSES.items():
        total = sum(count for key, count in counts.items() if key[0] == kind)
        sites = sum(key[0] == kind for key in counts)
        out.append(f"{kind:<10} {total:>6} {len(distinct[kind]):>8} {sites:>6}  {meaning}")
    order = list(CLASSES)
    for key in sorted(found, key=lambda key: (order.index(key[0]), -counts[key], key))[:lines]:
        kind, name, site = key
        finding = found[key]
        out += [
            "",
            f"{kind} {name} at {site}: {counts[key]} calls of {len(callables[key])} callables",
            f"    {finding['message']}" if finding["message"] else f"    {finding['entry']}",
            f"    {finding['call']}",
            f"    python fuzz/calls.py --replay {finding['token']}",
        ]
    return "\n".join(out)


def _import_optional() -> None:
    """Import what the package imports late: a child has neither the memory nor the time."""
    for name in ("torch", "arviz", "matplotlib.pyplot", "networkx", "scipy.stats"):
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed: what needs it is not called")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # its pool doesn't survive a fork


def _replay(caller: Caller, token: str) -> int:
    plan = Plan(caller.corpus, token)
    print(plan.text(), flush=True)
    given = plan.bound()
    out = plan.entry.bound(plan.owner)(*given.args, **given.kwargs)
    print("returned", _shown(out))
    caller._use(out, random.Random(token))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run a campaign or replay one call; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    option = parser.add_argument
    option(
        "--seconds", type=float, default=float("inf"), help="time, that of the examples included"
    )
    option("--n", type=int, default=10**9, help="number of calls")
    option("--seed", type=int, default=0, help="the first turn over the callables")
    option("--only", default="", help="a part of the names of the callables")
    option("--package", default="fermiac", help="the package that is called")
    option("--limit", type=float, default=1.0, help="seconds until a call gets a signal")
    option("--memory", type=float, default=2.0, help="GiB that a child may allocate")
    option("--hang", type=float, default=20.0, help="seconds until a call is killed")
    option("--strict", action="store_true", help="fail at any finding, not only the severe")
    option("--replay", default="", help="one call, as a report names it, in this process")
    options = parser.parse_args(arguments)
    if options.seconds == float("inf") and options.n == 10**9:
        options.seconds = 60.0
    begun = time.monotonic()
    package = importlib.import_module(options.package)
    if options.package == "fermiac":
        _import_optional()
    corpus = corpus_of(package)
    entries = corpus.callable_entries()
    print(
        f"{len(entries)} public callables ({sum(e.documented for e in entries)} of them documented "
        f"or in an example), {corpus.examples} docstrings with examples run in "
        f"{time.monotonic() - begun:.0f} s",
        flush=True,
    )
    caller = Caller(package, corpus, options.limit)
    if options.replay:
        return _replay(caller, options.replay)
    left = options.seconds - (time.monotonic() - begun)
    calls, findings = campaign(
        caller,
        seconds=max(left, options.seconds / 3),
        n=options.n,
        seed=options.seed,
        only=options.only,
        memory=int(options.memory * GIB),
        hang=options.hang,
    )
    print(report(calls, findings))
    failing = [f for f in findings if options.strict or f["class"] in SEVERE]
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
