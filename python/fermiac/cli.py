"""The command line: posteriors of epsilon from counts, tables of counts, or scores."""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from fermiac import __version__, privacy
from fermiac.errors import FermiacError

__all__ = ["main"]

COUNTS = ("tp", "fp", "fn", "tn")
#: What a table gets behind its own columns.
COLUMNS = ("epsilon_median", "epsilon_lower", "epsilon_upper", "epsilon_mean", "prob_zero", "error")
_STRATEGIES = {
    "holdout": privacy.HoldOut,
    "multisplit": privacy.MultiSplit,
    "bonferroni": privacy.Bonferroni,
}


class _Refused(Exception):
    """What was given cannot be used; the message is for the user."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words behind the name of the program; those of the process by default.

    Returns
    -------
    int
        0, or 1 where rows of a table could not be used, or 2 where nothing could be done.

    Examples
    --------
    >>> from fermiac.cli import main
    >>> main(["epsilon", "--tp", "40", "--fp", "10", "--fn", "10", "--tn", "40"])
    EpsilonPosterior: 1.4912, 90 % interval 1.05323 to 2.00057 at delta 0
    ...
    0
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return _epsilon(options)
    except (_Refused, FermiacError) as error:
        print(f"{parser.prog} epsilon: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the table has had enough.
        sys.stderr.close()
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fermiac", description="Monte Carlo and statistics: the parts that need no program."
    )
    parser.add_argument("--version", action="version", version=f"fermiac {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    epsilon = commands.add_parser(
        "epsilon",
        help="the posterior of epsilon from the errors of an attack",
        description="The posterior of differential privacy's epsilon from the errors of an attack: "
        "from four counts, from a table of them, or from the scores of members and non-members.",
    )
    for name, long in zip(
        COUNTS,
        ("true positives", "false positives", "false negatives", "true negatives"),
        strict=True,
    ):
        epsilon.add_argument(f"--{name}", metavar="N", help=long)
    epsilon.add_argument(
        "--csv", metavar="FILE", help="a table with columns tp, fp, fn, tn and perhaps delta"
    )
    epsilon.add_argument(
        "--scores",
        nargs=2,
        metavar=("MEMBERS", "NONMEMBERS"),
        help="two files with a score a line; high scores mean member",
    )
    epsilon.add_argument("--delta", default="0", metavar="X", help="default 0")
    epsilon.add_argument("--prob", default="0.9", metavar="P", help="of intervals; default 0.9")
    epsilon.add_argument(
        "--kind", choices=("equal", "hpd", "lower", "upper"), default="equal", help="of intervals"
    )
    epsilon.add_argument(
        "--prior", choices=("jeffreys", "uniform"), default="jeffreys", help="of the error rates"
    )
    epsilon.add_argument(
        "--direction", choices=("both", "attack", "forward", "reverse"), default="both"
    )
    epsilon.add_argument("--claim", metavar="X", help="report P(epsilon > X)")
    epsilon.add_argument(
        "--threshold",
        default="holdout",
        metavar="T",
        help="of scores: a number, or holdout (default), multisplit, bonferroni",
    )
    epsilon.add_argument("--rng", default="0", metavar="N", help="seed of the splits; default 0")
    epsilon.add_argument("--out", metavar="FILE", help="where the table goes; default the screen")
    return parser


def _epsilon(options: argparse.Namespace) -> int:
    given = [name for name in COUNTS if getattr(options, name) is not None]
    ways = [bool(given), options.csv is not None, options.scores is not None]
    if sum(ways) != 1:
        raise _Refused(
            "one of these is needed: the four counts (--tp --fp --fn --tn), --csv FILE, or "
            "--scores MEMBERS NONMEMBERS"
        )
    if options.out is not None and options.csv is None:
        raise _Refused("--out goes with --csv")
    if options.csv is not None:
        return _table(options)
    if options.scores is not None:
        return _scores(options)
    missing = [f"--{name}" for name in COUNTS if name not in given]
    if missing:
        raise _Refused(f"{', '.join(missing)} not given; all four counts are needed")
    counts = [_number(f"--{name}", getattr(options, name)) for name in COUNTS]
    _print_posterior(counts, options)
    return 0


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"prior": options.prior, "direction": options.direction}


def _print_posterior(counts: Sequence[float], options: argparse.Namespace) -> None:
    posterior = privacy.epsilon_posterior(
        *counts, delta=_number("--delta", options.delta), **_settings(options)
    )
    prob = _number("--prob", options.prob)
    lower, upper = posterior.interval(prob, kind=options.kind)
    print(posterior)
    print(f"  {options.kind} {100 * prob:g} % interval {lower:.9g} to {upper:.9g}")
    print(f"  mean {posterior.mean:.9g}, sd {posterior.std:.6g}, mode {posterior.mode:.6g}")
    if options.claim is not None:
        claim = _number("--claim", options.claim)
        print(f"  P(epsilon > {claim:g}) = {posterior.prob_above(claim):.6g}")


def _scores(options: argparse.Namespace) -> int:
    members, nonmembers = (_column(Path(name)) for name in options.scores)
    if options.threshold in _STRATEGIES:
        threshold = _STRATEGIES[options.threshold]()
    else:
        threshold = privacy.Explicit(_number("--threshold", options.threshold))
    prob = _number("--prob", options.prob)
    if not 0 < prob < 1:
        raise _Refused(f"--prob: {prob:g} was given; a number between 0 and 1 is needed")
    seed = _number("--rng", options.rng)
    audit = privacy.audit_scores(
        members,
        nonmembers,
        threshold=threshold,
        delta=_number("--delta", options.delta),
        alpha=1 - prob,
        direction=options.direction,
        rng=int(seed) if seed.is_integer() else None,
    )
    print(audit.summary())
    if math.isfinite(audit.threshold):
        print("the posterior of these counts:")
    _print_posterior([audit.counts[name] for name in COUNTS], options)
    return 0


class _Row(NamedTuple):
    """A line of a table: its words, and its numbers or why they cannot be used."""

    line: int
    words: list[str]
    numbers: list[float]
    error: str


def _table(options: argparse.Namespace) -> int:
    path = Path(options.csv)
    delta = _number("--delta", options.delta)
    prob = _number("--prob", options.prob)
    header, rows = _read(path, delta)
    good = [row for row in rows if not row.error]
    numbers = np.array([row.numbers for row in good], dtype=np.float64).reshape(-1, 5).T
    posterior = privacy.epsilon_posterior(*numbers[:4], delta=numbers[4], **_settings(options))
    lower, upper = posterior.interval(prob, kind=options.kind)
    answers = iter(
        np.column_stack(
            [posterior.median, lower, upper, posterior.mean, posterior.prob_zero]
        ).reshape(-1, 5)
    )
    with _output(options.out) as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*header, *COLUMNS])
        for row in rows:
            # All lines of the table have all columns, those that are short or long too.
            words = (row.words + [""] * len(header))[: max(len(header), len(row.words))]
            found = [""] * 5 if row.error else [f"{x:.12g}" for x in next(answers)]
            writer.writerow([*words, *found, row.error])
    bad = [row for row in rows if row.error]
    for row in bad:
        print(f"{path}, line {row.line}: {row.error}", file=sys.stderr)
    if bad:
        print(
            f"{len(bad)} of {len(rows)} rows could not be used; they are in the table, with the "
            "reason",
            file=sys.stderr,
        )
    return 1 if bad else 0


def _read(path: Path, delta: float) -> tuple[list[str], list[_Row]]:
    with _opened(path) as file:
        reader = csv.reader(file)
        try:
            header = [word.strip() for word in next(reader, [])]
            places = {name.lower(): k for k, name in enumerate(header)}
            missing = [name for name in COUNTS if name not in places]
            if missing:
                raise _Refused(
                    f"{path}: no column {', '.join(missing)} in the first line, which has "
                    f"{', '.join(map(repr, header)) or 'nothing'}; columns tp, fp, fn and tn are "
                    "needed"
                )
            rows = [
                _row(reader.line_num, words, places, len(header), delta)
                for words in reader
                if any(word.strip() for word in words)
            ]
        except csv.Error as error:
            raise _Refused(f"{path}, line {reader.line_num}: {error}") from None
    return header, rows


def _row(line: int, words: list[str], places: dict[str, int], width: int, delta: float) -> _Row:
    try:
        if len(words) != width:
            raise _Refused(f"{len(words)} fields where the first line has {width}")
        numbers = [_number(name, words[places[name]]) for name in COUNTS]
        for name, number in zip(COUNTS, numbers, strict=True):
            if not 0 <= number < math.inf:
                raise _Refused(f"{name}: {number:g} was given; a count of at least 0 is needed")
        at = _number("delta", words[places["delta"]]) if "delta" in places else delta
        if not 0 <= at < 1:
            raise _Refused(f"delta: {at:g} was given; a number in [0, 1) is needed")
    except _Refused as error:
        return _Row(line, words, [], str(error))
    return _Row(line, words, [*numbers, at], "")


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _Refused(f"{name}: {text!r:.60} was given; a number is needed") from None
    if math.isnan(number):
        raise _Refused(f"{name}: {text!r:.60} was given; a number is needed")
    return number


def _column(path: Path) -> list[float]:
    """The numbers of a file, one a line; a first line that is no number is a title."""
    numbers, bad = [], []
    with _opened(path) as file:
        for line, text in enumerate(file, 1):
            word = text.strip().rstrip(",;")
            if not word:
                continue
            try:
                numbers.append(_number(f"{path}, line {line}", word))
            except _Refused as error:
                if line == 1 and word[0].isalpha() and word.lower() != "nan":
                    print(f"{path}, line 1: {word!r:.60} is taken as a title", file=sys.stderr)
                else:
                    bad.append(str(error))
    if bad:
        more = f"\nand {len(bad) - 10} more" if len(bad) > 10 else ""
        raise _Refused("\n".join(bad[:10]) + more + "\nnothing was computed: mend these lines")
    if not numbers:
        raise _Refused(f"{path}: no score in it; one number a line is needed")
    return numbers


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        # A byte-order mark, as spreadsheets write it, is no part of the first word.
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise _Refused(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise _Refused(f"{path}: this is no text in UTF-8") from None


@contextmanager
def _output(name: str | None) -> Iterator[TextIO]:
    if name is None:
        yield sys.stdout
        return
    try:
        with Path(name).open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise _Refused(f"{name}: {error.strerror or error}") from None
