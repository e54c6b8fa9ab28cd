"""The picture of the page on benchmarks has the figures of its tables."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (DOCS / "benchmarks.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
]
RATIOS = runpy.run_path(str(DOCS / "_static" / "benchmarks.py"), run_name="picture")["RATIOS"]


@pytest.mark.parametrize("ratio", RATIOS, ids=lambda ratio: ratio.label)
def test_figures_are_those_of_the_table(ratio: Any) -> None:
    (row,) = [row for row in ROWS if row[0].strip("| ").startswith(ratio.task)]
    for figure, cell in zip((ratio.ours, ratio.theirs), row[1:], strict=True):
        assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d.,]*\d)", cell), cell
