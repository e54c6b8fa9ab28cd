"""Pages made from files at the root of the repository, and the list of papers."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import reference

DOI = re.compile(r"(?<![\w/])doi:(10\.\d{4,9}/\S+?)(?=[.,;]?(?:\s|$))")
ARXIV = re.compile(r"(?<![\w/])arXiv:(\d{4}\.\d{4,5})")
ENTRY = re.compile(r"^\.\. \[\d+\] ", re.MULTILINE)
SECTION = re.compile(r"\n\n[A-Z][A-Za-z ]+\n-{4,}\n")


def linked(text: str) -> str:
    """Turn links of a page at the root into links of the site; files that it lacks are named."""
    text = re.sub(r"\]\(docs/([\w/-]+\.md)\)", r"](../\1)", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?:|\.\./)[^)]*\)", r"\1", text)


def sources() -> dict[str, tuple[str, list[str]]]:
    """Return the sources in the docstrings by their numbers, with the names that cite them."""
    found: dict[str, tuple[str, list[str]]] = {}
    for path, thing in reference.pages().items():
        _, _, rest = (inspect.getdoc(thing) or "").partition("\nReferences\n----------\n")
        for entry in ENTRY.split(SECTION.split(rest)[0]):
            text = " ".join(entry.split())
            number = DOI.search(text) or ARXIV.search(text)
            if number:
                old, names = found.get(number[0], (text, []))
                found[number[0]] = (max(old, text, key=len), [*names, path])
    return found


def papers() -> str:
    """Return the page that lists the sources of all methods, by first author."""
    document = reference.documents()
    rows = []
    for text, names in sources().values():
        shown = DOI.sub(r"[doi:\1](https://doi.org/\1)", text)
        shown = ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", shown).replace("*", r"\*")
        used = ", ".join(
            f"[{name.removeprefix('fermiac.')}](../reference/{document[name]}.rst)"
            for name in sorted(names)
        )
        author = re.sub(r"^(?:[A-ZÉØ]\.[- ]?)+", "", text)
        rows.append((author.lower(), f"- {shown} Used by {used}."))
    return (
        "# Papers\n\n"
        "Please cite the paper of a method that you use. This list is made from the references of "
        "all public names.\n\n" + "\n".join(row for _, row in sorted(rows)) + "\n"
    )


def write(folder: Path) -> None:
    """Write the pages to a folder."""
    folder.mkdir(exist_ok=True)
    root = folder.parents[1]
    texts = {"papers.md": papers()}
    for name in ("CONTRIBUTING", "CHANGELOG"):
        texts[f"{name.lower()}.md"] = linked((root / f"{name}.md").read_text(encoding="utf-8"))
    for name, text in texts.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
