"""The tests wait for events and count work: none of them depends on the speed of the machine."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: The only file that may wait by the clock.
WAITS = TESTS / "support" / "clock.py"
CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "thread_time"}
CLOCKS |= {f"{name}_ns" for name in CLOCKS}
SUSPECT = re.compile(r"\b(time\.|timeit|sleep|Timer|wait\()")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def parents(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def inner(tree: ast.AST) -> Iterator[tuple[int, ast.Module]]:
    """The programs of child processes in the strings of a program, with their lines."""
    nodes = list(ast.walk(tree))
    parts = {part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            text = "".join(v.value if isinstance(v, ast.Constant) else "_" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            text = node.value
        else:
            continue
        if "\n" in text and SUSPECT.search(text):
            for code in (text, re.sub(r"\{[^{}\n]*\}", "_", text)):
                try:
                    yield node.lineno, ast.parse(textwrap.dedent(code))
                    break
                except SyntaxError:
                    continue


@cache
def programs(source: str) -> list[tuple[int, ast.Module]]:
    tree = ast.parse(source)
    return [(0, tree), *inner(tree)]


def handed_over(source: str) -> set[str]:
    """Names of functions that are used as values: callbacks, if they are functions."""
    found: set[str] = set()
    for _, tree in programs(source):
        called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name | ast.Attribute) and node not in called:
                found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def is_callback(node: ast.AST, up: dict[ast.AST, ast.AST], values: set[str]) -> bool:
    """Whether a call stands in a method or a callback, and not in a loop, which would wait."""
    while (node := up.get(node)) is not None:  # type: ignore[assignment]
        if isinstance(node, ast.While | ast.For):
            return False
        if isinstance(node, FUNCTIONS):
            named = not isinstance(node, ast.Lambda) and node.name in values
            return named or isinstance(node, ast.Lambda) or isinstance(up[node], ast.ClassDef)
    return False


def called(node: ast.AST | None) -> str:
    """The last word of the name of the function that an expression calls."""
    if not isinstance(node, ast.Call):
        return ""
    name = node.func
    return name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")


def waits(node: ast.AST | None) -> bool:
    """Whether an expression waits for some time: `x.wait(3)`, `x.join(timeout=3)`."""
    timed = isinstance(node, ast.Call) and bool(node.args or node.keywords)
    return timed and isinstance(node.func, ast.Attribute) and called(node) in ("wait", "join")


def denied(node: ast.AST) -> Iterator[ast.AST]:
    """What an assertion says to be false."""
    for part in ast.walk(node):
        if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not):
            yield part.operand
        if isinstance(part, ast.Compare) and any(
            isinstance(one, ast.Constant) and one.value is False for one in part.comparators
        ):
            yield part.left


def faults(source: str, elsewhere: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """What depends on the speed of the machine, with its line; `elsewhere` names callbacks."""
    values = handed_over(source) | elsewhere
    found: list[str] = []
    for first, tree in programs(source):
        up = parents(tree)
        modules = {
            one.asname or one.name: one.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for one in node.names
        }
        for node in ast.walk(tree):
            says = ""
            if isinstance(node, ast.ImportFrom) and node.module in ("time", "timeit"):
                if CLOCKS & {one.name for one in node.names} or node.module == "timeit":
                    says = "reads a clock"
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = modules.get(node.value.id)
                # A call of timeit whose answer nobody reads is no measurement.
                is_read = not isinstance(up.get(up[node]), ast.Expr)
                if (module == "timeit" and is_read) or (module == "time" and node.attr in CLOCKS):
                    says = "reads a clock"
            elif called(node) in ("sleep", "Timer") and not is_callback(node, up, values):
                says = f"calls {called(node)} outside of a callback, or in a loop"
            elif isinstance(node, ast.Assert) and any(map(waits, denied(node.test))):
                says = "asserts that something has not ended in time"
            elif isinstance(node, ast.Expr) and called(node.value) == "wait" and waits(node.value):
                says = "waits for a time"
            if says:
                found.append(f"line {first + node.lineno}: {says}")
    return found


def test_no_test_depends_on_the_speed_of_the_machine() -> None:
    sources = {
        path: path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py") if path != WAITS
    }
    suspects = {path: text for path, text in sources.items() if SUSPECT.search(text)}
    # Functions of the modules of targets are handed over in other files.
    values = {name for text in sources.values() for name in re.findall(r"\btargets\.(\w+)", text)}
    found = {
        str(path.relative_to(TESTS)): said
        for path, text in suspects.items()
        if path != Path(__file__) and (said := faults(text, values))
    }
    assert not found, "wait by clock.until and count work:\n" + "\n".join(
        f"{path}: {line}" for path, lines in sorted(found.items()) for line in lines
    )


@pytest.mark.parametrize(
    "code",
    [
        "import time\nbegun = time.monotonic()\nf()\nassert time.monotonic() - begun < 2",
        "import time as t\nbegun = t.perf_counter()",
        "from time import process_time",
        "import timeit\nassert timeit.timeit(f) < 1",
        "import time\ndef test():\n    time.sleep(0.2)",
        "import time\ndef test():\n    while not done():\n        time.sleep(0.01)",
        "import time\ndef late():\n    for _ in range(9):\n        time.sleep(0.01)\nrun(late)",
        "from time import sleep\nsleep(3)",
        "def test():\n    threading.Timer(0.3, press).start()",
        "assert not run.wait(timeout=0.5)",
        "assert run.wait(0.5) is False",
        "assert (a and run.wait(0.5)) and not b.wait(timeout=1)",
        "run.wait(0.3)",
        "child('''\n    import time\n    f()\n    time.sleep(0.1)\n''')",
        "child(f'''\n    import time\n    {f}\n    print(time.time())\n''')",
        "child('''\n    import time\n    call({m!r})\n    time.time()\n'''.format(m=2))",
    ],
)
def test_planted_faults_are_found(code: str) -> None:
    assert len(faults(code)) >= 1


@pytest.mark.parametrize(
    "code",
    [
        "import time\ndef slow(x):\n    time.sleep(0.01)\n    return x\nrun(slow)",
        "import time\nclass Slow:\n    def __call__(self, x):\n        time.sleep(0.01)",
        "child('''\n    import time\n    def f(x):\n        time.sleep(0.1)\n    run(f)\n''')",
        "import timeit\ntimeit.timeit(work, number=2)",
        "assert called.wait(20)\nassert not found\nprocess.wait()\n', '.join(words)",
        "until(lambda: run.state == 'paused', 'the pause')",
    ],
)
def test_events_and_slow_callbacks_are_allowed(code: str) -> None:
    assert faults(code) == []
