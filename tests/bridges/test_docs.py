"""The examples of docs/models.md run in order; those in JAX as well."""

from __future__ import annotations

import doctest
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def blocks(language: str) -> list[tuple[int, str]]:
    """The blocks of code in one language, each with its first line number."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, block.start(1)), block[1]) for block in found]


@pytest.mark.skipif(find_spec("pymc") is None, reason="needs PyMC")
@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_examples_run_in_order() -> None:
    names: dict[str, object] = {}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags)
    for line, text in blocks("python"):
        if text.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(text, names, PAGE.name, None, line)
            said: list[str] = []
            assert not runner.run(test, out=said.append, clear_globs=False).failed, "".join(said)
            names.update(test.globs)
        else:
            exec(compile("\n" * line + text, str(PAGE), "exec"), names)
    if find_spec("numpyro") is not None:
        for line, text in blocks("py"):
            if "bridgestan" not in text:
                exec(compile("\n" * line + text, str(PAGE), "exec"), names)
