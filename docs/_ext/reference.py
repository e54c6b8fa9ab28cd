"""The pages of the API reference: one for each public name, written before each build."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from inspect import getdoc, isclass, ismodule
from pathlib import Path
from types import ModuleType

import numpy as np

#: Modules without a page of their own: their names belong to the module that exports them.
ROOT = "fermiac"


def modules(path: str = ROOT) -> Iterator[tuple[str, ModuleType]]:
    """Yield the public modules below a path, each as the path that users type and itself."""
    parent, _, name = path.rpartition(".")
    module = getattr(import_module(parent), name) if parent else import_module(path)
    yield path, module
    for name in module.__all__:
        if ismodule(getattr(module, name)):
            yield from modules(f"{path}.{name}")


def names(module: ModuleType) -> list[str]:
    """Return the public names of a module that are no modules, functions before classes."""
    found = [name for name in module.__all__ if not ismodule(getattr(module, name))]
    return sorted(found, key=lambda name: (isclass(getattr(module, name)), name.lower(), name))


def pages() -> dict[str, object]:
    """Return all public names with the objects that they name, by the path that users type."""
    return {
        f"{path}.{name}": getattr(module, name)
        for path, module in modules()
        for name in names(module)
    }


def documents() -> dict[str, str]:
    """Return the document of each public name.

    Two names that differ by case alone get documents that do not, as some file systems ignore case.
    """
    taken: set[str] = set()
    found = {}
    for path in sorted(pages(), key=lambda path: (not path.rpartition(".")[2][0].isupper(), path)):
        document = path if path.lower() not in taken else f"{path}-function"
        taken.add(document.lower())
        found[path] = document
    return found


def page(path: str, thing: object) -> str:
    """Return the text of the page of a public name."""
    name = path.rpartition(".")[2]
    head = f"{name}\n{'=' * len(name)}\n\n"
    if isclass(thing):
        # The members of exceptions and of arrays are those of Python and of NumPy.
        foreign = issubclass(thing, BaseException | np.ndarray)
        inherited = "" if foreign else "   :inherited-members:\n"
        return f"{head}.. autoclass:: {path}\n   :members:\n{inherited}"
    return f"{head}.. {'autofunction' if callable(thing) else 'autodata'}:: {path}\n"


def contents(path: str, module: ModuleType, document: dict[str, str]) -> str:
    """Return the text of the page of a public module: its docstring, and a table of its names."""
    below = [f"{path}.{name}" for name in module.__all__ if ismodule(getattr(module, name))]
    public = [f"{path}.{name}" for name in names(module)]
    text = [path, "=" * len(path), "", f".. module:: {path}", "", getdoc(module) or "", ""]
    for title, wanted in (("Functions", False), ("Classes", True)):
        kind = [p for p in public if isclass(getattr(module, p.rpartition(".")[2])) is wanted]
        if kind:
            text += [title, "-" * len(title), "", ".. autosummary::", ""]
            text += [f"   {p.rpartition('.')[2]}" for p in kind] + [""]
    text += [".. toctree::", "   :hidden:", ""]
    text += [f"   {p}" for p in below if path != ROOT]
    text += [f"   {document[p]}" for p in public]
    return "\n".join(text) + "\n"


def write(folder: Path) -> None:
    """Write the reference to a folder; files that have not changed keep their times."""
    folder.mkdir(exist_ok=True)
    document = documents()
    texts = {f"{document[path]}.rst": page(path, thing) for path, thing in pages().items()}
    listed = []
    for path, module in modules():
        texts[f"{path}.rst"] = contents(path, module, document)
        if path.count(".") < 2:
            listed.append(path)
    rows = "\n".join(f"   {path}" for path in listed)
    texts["index.rst"] = (
        "API reference\n=============\n\n"
        "Every public name has a page, with its formula, arguments, errors, an example and "
        "sources.\n\n"
        f".. toctree::\n   :maxdepth: 1\n\n{rows}\n"
    )
    for old in folder.glob("*.rst"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
