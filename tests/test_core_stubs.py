"""Types of the compiled module that its main stub takes in from others, held against it.

stubtest takes names that a stub imports for those of a module that it checks elsewhere; these
stubs have no module of their own.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fermiac
from fermiac import _core

STUBS = sorted(Path(fermiac.__file__).parent.glob("_core_*.pyi"))


def _declared(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, Any]]:
    """Each function and method that is declared, with what has its name in the module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node, getattr(_core, node.name)
        elif isinstance(node, ast.ClassDef):
            owner = getattr(_core, node.name)
            methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            public = {name for name in vars(owner) if not name.startswith("_")}
            assert public == {m.name for m in methods} - {"__new__", "__len__"}, node.name
            for method in methods:
                kinds = {d.id for d in method.decorator_list if isinstance(d, ast.Name)}
                if "property" not in kinds and not method.name.startswith("__"):
                    yield method, getattr(owner, method.name)
                elif method.name == "__new__":
                    yield method, owner


@pytest.mark.parametrize("stub", STUBS, ids=lambda path: path.stem)
def test_declared_signatures_are_those_of_the_module(stub: Path) -> None:
    seen = 0
    for node, found in _declared(ast.parse(stub.read_text(encoding="utf-8"))):
        arguments = node.args.posonlyargs + node.args.args
        names = [a.arg for a in arguments if a.arg not in ("self", "cls")]
        signature = inspect.signature(found).parameters
        assert names == [name for name in signature if name != "self"], node.name
        defaults = [p.default for p in signature.values() if p.default is not p.empty]
        assert [ast.literal_eval(d) for d in node.args.defaults] == defaults, node.name
        seen += 1
    assert seen > 0
