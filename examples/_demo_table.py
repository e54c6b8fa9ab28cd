"""The table of the demo, with a section for each problem and a row for each quantity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One line of the table."""

    quantity: str
    estimate: float
    stderr: float
    known: float
    n_evals: int

    @property
    def pull(self) -> float:
        """The error over its standard error."""
        return (self.estimate - self.known) / self.stderr


class Section(NamedTuple):
    """One problem: rows, notes below them, numbers for results.json, and further lines."""

    title: str
    rows: list[Row]
    notes: list[str]
    record: dict[str, Any]
    lines: Sequence[str] = ()


def format_table(sections: Sequence[Section]) -> str:
    """Return the table as text."""
    head = (
        f"{'quantity':<26}{'estimate':>12}   {'± stderr':<9}{'known':>13}"
        f"{'error/stderr':>15}{'evaluations':>13}"
    )
    lines = [head, "-" * len(head)]
    for section in sections:
        lines.append(section.title)
        lines += [
            f"  {row.quantity:<24}{row.estimate:>12.6f} ± {row.stderr:<9.1e}{row.known:>13.6f}"
            f"{row.pull:>+15.2f}{row.n_evals:>13,}"
            for row in section.rows
        ]
        lines += section.lines
        lines += [f"  * {note}" for note in section.notes]
        lines.append("-" * len(head))
    return "\n".join(lines)
