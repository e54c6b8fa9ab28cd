"""Input of the command line: numbers, tables of counts, files of scores."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TextIO

from fermiac.privacy.checks import MOST

__all__ = [
    "COUNTS",
    "PRIORS",
    "Refused",
    "Row",
    "Table",
    "count_of",
    "delta_of",
    "fraction_of",
    "number_of",
    "read_scores",
    "read_table",
]

COUNTS = ("tp", "fp", "fn", "tn")
#: The parameter of the beta prior by its name.
PRIORS = {"jeffreys": 0.5, "uniform": 1.0}
_MISSING = ("nan", "na", "n/a", "none", "null")


class Refused(Exception):
    """Unusable input; the message is for the user."""


def number_of(name: str, text: str, needed: str = "a number is") -> float:
    """Return `text` as a number; an error message uses `name`."""
    number = math.nan
    # float() also accepts 1_000 and the digits of all scripts.
    if text.isascii() and "_" not in text:
        with suppress(ValueError):
            number = float(text)
    if math.isnan(number):
        raise Refused(f"{name}: {text!r:.60} was given; {needed} needed")
    return number


def _checked(needed: str, good: Callable[[float], bool]) -> Callable[[str, str], float]:
    def read(name: str, text: str) -> float:
        number = number_of(name, text, needed)
        if not good(number):
            raise Refused(f"{name}: {text.strip():.60} was given; {needed} needed")
        return number

    return read


count_of = _checked(f"a count from 0 to {MOST:g} is", lambda x: 0 <= x <= MOST)
delta_of = _checked("a number in [0, 1) is", lambda x: 0 <= x < 1)
fraction_of = _checked("a number between 0 and 1 is", lambda x: 0 < x < 1)


class Row(NamedTuple):
    """A row of a table: its first line, its fields, and its numbers or the error in them."""

    line: int
    words: list[str]
    #: The counts, delta, and the parameter of the prior.
    numbers: list[float]
    error: str


class Table(NamedTuple):
    """A table of counts."""

    header: list[str]
    rows: list[Row]
    delimiter: str


def read_table(path: Path, delta: float, prior: str) -> Table:
    """Return the table in a file; `delta` and `prior` are used where it lacks these columns."""
    with _opened(path) as file:
        first = file.readline()
        delimiter = max(",;\t|", key=lambda mark: len(set(COUNTS) & set(_names(first, mark))))
        reader = csv.reader(chain([first], file), delimiter=delimiter, strict=True)
        line = 1
        try:
            header = [word.strip() for word in next(reader, [])]
            places = _places(path, header)
            rows = []
            line = reader.line_num + 1
            for words in reader:
                # A line without a field is no row.
                if len(words) > 1 or any(map(str.strip, words)):
                    rows.append(_row(line, words, places, len(header), delta, prior))
                line = reader.line_num + 1
        except csv.Error as error:
            raise Refused(
                f"{path}, line {line}: the row that begins here is not CSV ({error}), so that "
                "where others begin is unknown; nothing was computed: fix its quotes"
            ) from None
    return Table(header, rows, delimiter)


def _names(line: str, delimiter: str) -> list[str]:
    return [word.strip(' "\r\n').lower() for word in line.split(delimiter)]


def _places(path: Path, header: list[str]) -> dict[str, int]:
    """Return the positions of the columns that are read."""
    names = [name.lower() for name in header]
    missing = [name for name in COUNTS if name not in names]
    if missing:
        raise Refused(
            f"{path}: no column {', '.join(missing)} in the first line, which has "
            f"{', '.join(map(repr, header)) or 'nothing'}; columns tp, fp, fn and tn are needed"
        )
    known = (*COUNTS, "delta", "prior")
    twice = [name for name in known if names.count(name) > 1]
    if twice:
        raise Refused(f"{path}: more than one column {', '.join(twice)}; one of each is needed")
    return {name: names.index(name) for name in known if name in names}


def _row(
    line: int, words: list[str], places: dict[str, int], width: int, delta: float, prior: str
) -> Row:
    try:
        if len(words) != width:
            raise Refused(f"{len(words)} fields where the first line has {width}")
        numbers = [count_of(name, words[places[name]]) for name in COUNTS]
        if "delta" in places:
            delta = delta_of("delta", words[places["delta"]])
        if "prior" in places:
            prior = words[places["prior"]].strip().lower()
        if prior not in PRIORS:
            raise Refused(f"prior: {prior!r:.60} was given; {' or '.join(PRIORS)} is needed")
    except Refused as error:
        return Row(line, words, [], str(error))
    return Row(line, words, [*numbers, delta, PRIORS[prior]], "")


def read_scores(path: Path) -> list[float]:
    """Return the numbers in a file, one a line; the first line may be a title."""
    numbers, bad = [], []
    with _opened(path) as file:
        for line, text in enumerate(file, 1):
            word = text.strip().rstrip(",;").strip('"')
            if not word:
                continue
            try:
                numbers.append(number_of(f"{path}, line {line}", word))
            except Refused as error:
                title = word.lstrip("# ")[:1].isalpha() and word.lower() not in _MISSING
                if line == 1 and title:
                    print(f"{path}, line 1: {word!r:.60} is taken as a title", file=sys.stderr)
                else:
                    bad.append(str(error))
    if bad:
        more = f"\nand {len(bad) - 10} more" if len(bad) > 10 else ""
        raise Refused("\n".join(bad[:10]) + more + "\nnothing was computed: fix these lines")
    if not numbers:
        raise Refused(f"{path}: no score in it; one number a line is needed")
    return numbers


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        # The encoding removes the byte-order mark that spreadsheets write.
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Refused(f"{path}: this is not text in UTF-8; save it as such") from None
