"""Tables of scripts in pages of the documentation, between two comments."""

from __future__ import annotations

from pathlib import Path

__all__ = ["into_page"]


def into_page(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end of name -->``."""
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    content = page.read_text()
    if any(content.count(mark) != 1 for mark in marks):
        raise SystemExit(f"{page}: the lines {marks[0]} and {marks[1]} are needed once each")
    before, _, rest = content.partition(marks[0])
    after = rest.partition(marks[1])[2]
    page.write_text(f"{before}{marks[0]}\n\n{text.strip()}\n\n{marks[1]}{after}")
